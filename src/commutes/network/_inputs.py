"""Encoded inputs of a network: what its module is called with, and the values that they came from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch

from commutes.errors import NetworkError


@dataclass(frozen=True, eq=False)
class Inputs:
    """`n` examples, ready to be fed: tensors with the batch first."""

    args: tuple[torch.Tensor, ...]
    kwargs: Mapping[str, torch.Tensor]
    values: Mapping[str, np.ndarray]
    n: int

    def rows(self, index: torch.Tensor) -> Inputs:
        """The examples at `index`, repeated and reordered as it says."""
        where = index.cpu().numpy()
        return Inputs(
            tuple(a[index] for a in self.args),
            {k: a[index] for k, a in self.kwargs.items()},
            {k: v[where] for k, v in self.values.items()},
            len(index),
        )


def encoded(answer: object, values: Mapping[str, np.ndarray], device: torch.device) -> Inputs:
    """Check what `encode` returned and put it on the network's device."""
    n = len(next(iter(values.values())))
    args: tuple[torch.Tensor, ...] = ()
    kwargs: dict[str, torch.Tensor] = {}
    if isinstance(answer, torch.Tensor):
        args = (answer,)
    elif isinstance(answer, Mapping):
        kwargs = {str(key): value for key, value in answer.items()}
    elif isinstance(answer, tuple | list):
        args = tuple(answer)
    else:
        raise NetworkError(
            "encode must return tensors",
            got=type(answer).__name__,
            expected="a tensor, a tuple of tensors, or a dict of tensors by argument name",
        )
    named = [(f"argument {i}", a) for i, a in enumerate(args)] + list(kwargs.items())
    for name, tensor in named:
        if not isinstance(tensor, torch.Tensor) or tensor.ndim == 0 or tensor.shape[0] != n:
            found = tuple(tensor.shape) if isinstance(tensor, torch.Tensor) else type(tensor).__name__
            raise NetworkError(
                "encode must return one row per input",
                where=name,
                got=f"{found} for {n} inputs",
                expected=f"a tensor whose first axis has length {n}",
                fix="encode gets arrays by input name, one entry per example: return the batch first",
            )
    return Inputs(
        tuple(a.to(device) for a in args), {k: a.to(device) for k, a in kwargs.items()}, dict(values), n
    )

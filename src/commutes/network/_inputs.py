"""Encoded inputs of a network: what its module is called with, and the values that they came from."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from commutes.errors import NetworkError


class Columns(dict[str, np.ndarray]):
    """Values by name, and what was found out about each example: prompts are tokenised once, whoever asks."""

    def __init__(
        self, values: Mapping[str, np.ndarray], found: Mapping[object, list[Any]] | None = None
    ) -> None:
        super().__init__(values)
        self._found = dict(found or {})

    def once(self, key: object, find: Callable[[], list[Any]]) -> list[Any]:
        """What `find` answers, one member per example; of a `key` that was asked for before, what it answered then."""
        if key not in self._found:
            self._found[key] = find()
        return self._found[key]

    def rows(self, where: np.ndarray) -> Columns:
        """The examples at `where`, with what is known of them."""
        found = {key: [known[i] for i in where] for key, known in self._found.items()}
        return Columns({name: column[where] for name, column in self.items()}, found)


@dataclass(frozen=True, eq=False)
class Inputs:
    """`n` examples, ready to be fed: tensors with the batch first."""

    args: tuple[torch.Tensor, ...]
    kwargs: Mapping[str, torch.Tensor]
    values: Columns
    n: int

    def rows(self, index: torch.Tensor) -> Inputs:
        """The examples at `index`, repeated and reordered as it says."""
        return Inputs(
            tuple(a[index] for a in self.args),
            {k: a[index] for k, a in self.kwargs.items()},
            self.values.rows(index.cpu().numpy()),
            len(index),
        )

    def forgetful(self) -> Inputs:
        """The same without what was found out about the examples, which may take more memory than they do."""
        return replace(self, values=Columns(self.values))


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
        tuple(a.to(device) for a in args),
        {k: a.to(device) for k, a in kwargs.items()},
        values if isinstance(values, Columns) else Columns(values),
        n,
    )

"""Bytes that a run takes for as long as it lasts: counted, not guessed."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


def bytes_of(run: Callable[[], object]) -> int:
    """Bytes of the tensors that a run makes and that are there at the same time, at most."""
    with _Counting() as counting:
        run()
    return counting.most


def runs_within(budget: int, usual: int, run: Callable[[], object]) -> int:
    """How many rows are run at once, without gradients: one at least, `usual` at most.

    Args:
        budget: Bytes.
        usual: As many as would be run if memory were no matter.
        run: Runs one row.
    """
    with torch.no_grad():
        each = bytes_of(run)
    return max(1, min(usual, budget // max(1, each)))


class _Counting(TorchDispatchMode):
    """Bytes of the tensors that are made inside and there at the same time, at most."""

    def __init__(self) -> None:
        super().__init__()
        self.now = self.most = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        returned = func(*args, **(kwargs or {}))
        given = {
            _storage(leaf)._cdata for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, torch.Tensor)
        }
        for leaf in tree_leaves(returned):
            # Views and what was written in place lie where they lay.
            if isinstance(leaf, torch.Tensor) and _storage(leaf)._cdata not in given:
                storage = _storage(leaf)
                given.add(storage._cdata)
                self.now += storage.nbytes()
                weakref.finalize(storage, self._gone, storage.nbytes())
        self.most = max(self.most, self.now)
        return returned

    def _gone(self, size: int) -> None:
        self.now -= size


def _storage(tensor: torch.Tensor) -> Any:
    return tensor.untyped_storage()

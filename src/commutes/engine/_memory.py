"""How many pairs are run at once: the bytes that one needs where nothing is differentiated are counted, not guessed."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from commutes.engine._forward import forward
from commutes.engine._interchange import Unmapped
from commutes.engine._prepared import Prepared
from commutes.network import Inputs, Network


def rows_within(prepared: Prepared, budget: int, *, slots: int = 1) -> int:
    """How many pairs a run without gradients takes at once, by its memory: one at least, as many as usual at most.

    What is kept anyway is not counted. Of networks that are no language models as many as usual are run.

    Args:
        prepared: On which they are run, by `Prepared.batch` and `Prepared.logits`.
        budget: Bytes.
        slots: Sources of every pair.
    """
    usual = prepared.network.batch_size(prepared.inputs)
    if prepared.network.language is None:
        return usual
    # Of a base whose states are computed again, where there is one: they are the last.
    base = torch.zeros(1, dtype=torch.long) if prepared.cone is None else prepared.cone.kept.last_base()
    there = (prepared.source_row >= 0).nonzero().flatten()
    source = there[torch.arange(slots, device=there.device) % len(there)].to(base.device).unsqueeze(0)
    maps = [Unmapped()] * len(prepared.plan)
    masks = [
        torch.zeros(1, slots, layout.width, dtype=torch.bool, device=prepared.network.device)
        for layout in prepared.plan.values()
    ]
    return _within(budget, usual, lambda: prepared.logits(prepared.batch(base, source), maps, masks))


def clean_rows_within(network: Network, inputs: Inputs, budget: int) -> int:
    """The same of runs without edits."""
    usual = network.batch_size(inputs)
    if network.language is None:
        return usual
    one = inputs.rows(torch.zeros(1, dtype=torch.long))
    return _within(budget, usual, lambda: forward(network, one.args, one.kwargs, taps={}))


def bytes_of(run: Callable[[], object]) -> int:
    """Bytes of the tensors that a run makes and that are there at the same time, at most."""
    with _Counting() as counting:
        run()
    return counting.most


def _within(budget: int, usual: int, run: Callable[[], torch.Tensor]) -> int:
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

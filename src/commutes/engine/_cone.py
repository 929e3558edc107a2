"""The causal cone of an edit in a decoder: from the first edited block and the first edited position on.

Edited runs that share a forward are lanes: each lane's rows join the batch behind the last block that its edits
cannot change, with the states of their base runs, and see earlier positions through the base's keys and values.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import nn
from torch.utils._pytree import tree_map

from commutes.engine._interchange import SiteEdit, interchange
from commutes.engine._kept import Kept, States
from commutes.engine._patched import patched
from commutes.engine._prefix import Prefix, prefixed
from commutes.network import Network


@dataclass(frozen=True, eq=False)
class Lane:
    """Base inputs of one set of edits, and where their runs begin to differ from the base's."""

    block: int
    """The last block whose output no edit can change but at its very output; -1 where that is before the first."""
    rows: torch.Tensor
    """Inputs that are the bases.  # shape: (n,)"""
    edits: tuple[SiteEdit, ...]
    """With positions counted in whole prompts."""


@dataclass(frozen=True, eq=False)
class _Confluence:
    """A start of `forward`: rows join at their blocks, in ascending order, and earlier positions are a prefix."""

    start: int
    """First position that is run."""
    total: int
    """Rows in the end."""
    running: tuple[int, ...]
    """By block, the rows that run through it; the first ones of the batch."""
    joining: Mapping[int, torch.Tensor]
    """By block, the states with which further rows join behind it."""
    prefixes: tuple[Prefix | None, ...]
    """By layer, keys and values of the rows that run through it."""

    @property
    def options(self) -> Mapping[str, object]:
        """What the model is called with beside tensors."""
        return {"past_key_values": prefixed(self.start, self.prefixes)} if self.start else {}

    @contextmanager
    def entered(self, network: Network) -> Iterator[None]:
        """Every block runs the rows that have joined so far, and passes on those with them that join now."""
        changes: list[tuple[nn.Module, Any]] = []
        for index, path in enumerate(network.blocks):
            module = network.module.get_submodule(path)
            if self.running[index] < self.total:
                changes.append((module, self._forward(index, module.forward)))
        with patched(changes):
            yield

    def _forward(self, index: int, own: Any) -> Any:
        running, joining = self.running[index], self.joining.get(index)

        def cut(value: Any) -> Any:
            # One axis is no batch of states: positions that all rows share.
            batched = isinstance(value, torch.Tensor) and value.ndim > 1 and value.shape[0] == self.total
            return value[:running] if batched else value

        def run(hidden: Any, *args: Any, **named: Any) -> Any:
            if not running:
                # A copy: what comes next may write into it in place, and the states are kept for other runs.
                return hidden if joining is None else joining.clone()
            out = own(hidden[:running], *tree_map(cut, args), **tree_map(cut, named))
            return out if joining is None else torch.cat([out, joining.to(out.device)])

        return run


def run_lanes(
    kept: Kept, start: int, lanes: Sequence[Lane], *, columns: torch.Tensor | None = None
) -> tuple[list[int], torch.Tensor]:
    """Logits of the lanes' bases after their edits, by one forward, and in which order the lanes come in them.

    Args:
        kept: Base states of the inputs: outputs of the lanes' blocks, keys and values of the layers behind them.
        start: First position that any of the edits, or of what is read, concerns.
        lanes: What is edited.
        columns: Of the logits; all by default.
    """
    order = sorted(range(len(lanes)), key=lambda i: lanes[i].block)
    ordered = [lanes[i] for i in order]
    rows = torch.cat([lane.rows for lane in ordered])
    states, where = kept.states.of(rows)
    inputs = kept.inputs
    kwargs = {
        name: tensor[rows] if name == "attention_mask" else tensor[rows, start:]
        for name, tensor in inputs.kwargs.items()
    }
    edits = []
    begin = 0
    for lane in ordered:
        part = slice(begin, begin + len(lane.rows))
        begin = part.stop
        edits.extend(_moved(edit, start, part) for edit in lane.edits)
    begun = _confluence(kept, states, where, start, ordered)
    with _without_gradients(kept.parameters):
        return order, interchange(kept.network, (), kwargs, edits, start=begun, columns=columns)


@contextmanager
def _without_gradients(parameters: Sequence[nn.Parameter]) -> Iterator[None]:
    """Of the weights: what they alone would need for theirs is neither kept nor computed."""
    changed = [p for p in parameters if p.requires_grad]
    try:
        for parameter in changed:
            parameter.requires_grad_(False)
        yield
    finally:
        for parameter in changed:
            parameter.requires_grad_(True)


def _confluence(
    kept: Kept, states: States, where: torch.Tensor, start: int, lanes: Sequence[Lane]
) -> _Confluence:
    depth = len(kept.network.blocks)
    running = tuple(sum(len(lane.rows) for lane in lanes if lane.block < j) for j in range(depth))
    joining: dict[int, torch.Tensor] = {}
    begin = 0
    for lane in lanes:
        here = where[begin : begin + len(lane.rows)]
        begin += len(lane.rows)
        if lane.block >= 0:
            output = states.outputs[lane.block].index_select(0, here)
            state = output[:, start - kept.wanted.outputs[lane.block] :]
            known = joining.get(lane.block)
            joining[lane.block] = state if known is None else torch.cat([known, state])
    prefixes = tuple(
        Prefix(states.pairs[j], where[: running[j]]) if start and running[j] else None for j in range(depth)
    )
    return _Confluence(start, len(where), running, joining, prefixes)


def _moved(edit: SiteEdit, start: int, rows: slice) -> SiteEdit:
    positions = tuple(None if table is None else table - start for table in edit.positions)
    return replace(edit, positions=positions, rows=rows)

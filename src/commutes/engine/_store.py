"""What clean runs leave of inputs, a row each: computed once as far as a budget goes, and again beyond it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch.utils._pytree import tree_leaves, tree_map

# Host memory that an accelerator's store may spill into, in units of its own budget.
_SPILL = 4

Run = Callable[[torch.Tensor], Any]
"""Computes a tree of tensors, of which every first axis is the inputs that it is given.  # (n,) -> (n, ...) each"""


@dataclass(frozen=True, eq=False)
class Store:
    """Trees of tensors, a row for every input."""

    run: Run
    """Of any number of inputs."""
    slots: torch.Tensor
    """Place of every input in the order in which they are kept.  # shape: (m,)"""
    announced: int
    """Inputs that will be asked for; theirs are the first places."""
    device: torch.device
    tiers: tuple[Any, ...]
    """Trees on the device, then in host memory."""
    bounds: tuple[int, ...]
    """First place behind each tier."""
    here: int
    """How many are on the device."""
    each: int
    """Bytes of a row."""

    def knows(self, rows: torch.Tensor) -> torch.Tensor:
        """Which inputs were announced; -1 is none.  # same shape"""
        return (rows >= 0) & (self.slots[rows] < self.announced)

    def of(self, rows: torch.Tensor) -> tuple[Any, torch.Tensor]:
        """A tree that holds the rows of these inputs, and where in it each is.  # any shape -> the same"""
        slots = self.slots[rows]
        if self.tiers and int(slots.max()) < self.bounds[0]:
            return self.tiers[0], slots
        unique, where = torch.unique(slots, return_inverse=True)
        return joined(self._parts(unique), len(unique), self.device), where

    def _parts(self, slots: torch.Tensor) -> Iterator[Any]:
        begin = 0
        for tier, end in zip(self.tiers, self.bounds, strict=True):
            # In ascending order, so that the parts come in the order of the tiers.
            inside = slots[(slots >= begin) & (slots < end)]
            if len(inside):
                yield rows_of(tier, inside - begin, self.device)
            begin = end
        beyond = slots[slots >= begin]
        if len(beyond):
            yield self.run(torch.argsort(self.slots)[beyond])

    @property
    def taken(self) -> int:
        """Bytes of the device."""
        return self.each * self.here

    @property
    def asked(self) -> int:
        """Bytes that a row takes beside these when it is asked for: none if all are there."""
        return 0 if self.here == self.announced else self.each

    @property
    def first(self) -> torch.Tensor:
        """The announced input that comes first.  # shape: (1,)"""
        return (self.slots == 0).nonzero().flatten()

    @property
    def last(self) -> torch.Tensor:
        """The announced input that would be the last to be kept.  # shape: (1,)"""
        return (self.slots == max(self.announced, 1) - 1).nonzero().flatten()


def store(
    run: Run,
    n: int,
    rows: torch.Tensor,
    *,
    each: int,
    at_once: int,
    budget: int,
    device: torch.device,
    fill: Run | None = None,
    again: bool = False,
) -> Store:
    """Run inputs once, in order, and keep what the budget allows.

    Args:
        run: Of a few inputs.
        n: How many inputs there are.
        rows: Those that will be asked for.
        each: Bytes that a row of them takes.
        at_once: How many are run together.
        budget: Bytes on the device; an accelerator spills into host memory.
        device: Of what is kept.
        fill: Does the same now, where more is at hand than later.
        again: Whether several ask for the same inputs one after the other: what was computed last is then at hand.
    """
    rows = rows.to(device)
    slots = torch.full((n,), -1, device=device)
    slots[rows] = torch.arange(len(rows), device=device)
    others = (slots < 0).nonzero().squeeze(1)
    slots[others] = torch.arange(len(rows), n, device=device)
    on_device = min(len(rows), max(0, budget) // each)
    spills = device.type != "cpu"
    on_host = min(len(rows) - on_device, _SPILL * max(0, budget) // each) if spills else 0

    def parts(run: Run, rows: torch.Tensor) -> Iterator[Any]:
        return (run(part) for part in rows.split(at_once))

    def whole(rows: torch.Tensor) -> Any:
        return joined(parts(run, rows), len(rows), device)

    tiers, bounds, begin = [], [], 0
    for count, place in ((on_device, device), (on_host, torch.device("cpu"))):
        if count:
            tiers.append(joined(parts(fill or run, rows[begin : begin + count]), count, place))
            bounds.append(begin + count)
            begin += count
    run_again = _latest(whole) if again else whole
    return Store(run_again, slots, len(rows), device, tuple(tiers), tuple(bounds), on_device, each)


def joined(parts: Iterator[Any], count: int, device: torch.device) -> Any:
    """All rows, written part by part into tensors of their final size: never twice in memory."""
    whole: Any = None
    begin = 0
    for part in parts:
        first = tree_leaves(part)[0]
        if len(first) == count and first.device == device:
            return part
        if whole is None:
            whole = tree_map(lambda t: torch.empty(count, *t.shape[1:], dtype=t.dtype, device=device), part)
        for target, source in zip(tree_leaves(whole), tree_leaves(part), strict=True):
            target[begin : begin + len(source)] = source.to(device)
        begin += len(first)
    assert whole is not None
    return whole


def rows_of(tree: Any, index: torch.Tensor, device: torch.device) -> Any:
    """The rows at `index`, on a device."""
    return tree_map(lambda tensor: tensor[index.to(tensor.device)].to(device), tree)


def bytes_of_tree(tree: Any) -> int:
    """Of its tensors."""
    return sum(tensor.numel() * tensor.element_size() for tensor in tree_leaves(tree))


def _latest(run: Run) -> Run:
    last: dict[tuple[int, ...], Any] = {}

    def found(rows: torch.Tensor) -> Any:
        key = tuple(rows.tolist())
        if key not in last:
            # Let go before the next is made: the two are never there together.
            last.clear()
            last[key] = run(rows)
        return last[key]

    return found

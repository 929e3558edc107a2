"""Mechanisms as hidden units: one per row of a table of values, or steps along a number."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from commutes.algorithm._values import key
from commutes.testing.compiler._program import Map, SelectorWidth, SequenceMap
from commutes.testing.compiler._weights import Builder


@dataclass(eq=False)
class Hidden:
    """The hidden units of one block's network."""

    width: int
    reads: list[torch.Tensor] = field(default_factory=list)
    biases: list[float] = field(default_factory=list)
    writes: list[torch.Tensor] = field(default_factory=list)
    constant: torch.Tensor = field(init=False)
    """What is written whatever is read.  # shape: (width,)"""

    def __post_init__(self) -> None:
        self.constant = torch.zeros(self.width, dtype=torch.float64)

    def unit(self, read: torch.Tensor, bias: float, write: torch.Tensor) -> None:
        """One more: `write` times ReLU(read · x + bias) is added to the stream."""
        self.reads.append(read)
        self.biases.append(bias)
        self.writes.append(write)

    def steps(self, read: torch.Tensor, levels: Sequence[tuple[float, torch.Tensor]]) -> None:
        """Write the vector of the level at which the number `read · x` stands.

        Half-way between two levels one vector turns into the next, along half of the distance: near a level nothing
        changes, so that the rounding of the number is not passed on.
        """
        ascending = sorted(levels, key=lambda level: level[0])
        self.constant += ascending[0][1]
        for (low, before), (high, after) in itertools.pairwise(ascending):
            slope, middle = 2.0 / (high - low), (low + high) / 2.0
            self.unit(slope * read, 0.5 - slope * middle, after - before)
            self.unit(slope * read, -0.5 - slope * middle, before - after)


def hidden_units(builder: Builder, block: int) -> Hidden:
    """The hidden units of a block's network."""
    step, units = 2 * block + 2, Hidden(builder.schedule.width)
    for op, computed in builder.schedule.computed.items():
        if isinstance(op, SelectorWidth) and computed == step - 1:
            raw = builder.schedule.storage(op, raw=True).columns
            levels = [(1.0 / (1 + count), builder.vector(op, count)) for count in builder.graph.values(op)]
            units.steps(builder.rows(raw)[0], levels)
        elif isinstance(op, Map | SequenceMap) and computed == step:
            _tabulate(builder, op, units)
    return units


def _tabulate(builder: Builder, op: Map | SequenceMap, units: Hidden) -> None:
    rows = _rows(builder, op)
    if isinstance(op, Map) and op.of.numerical:
        (column,) = builder.schedule.columns(op.of)
        levels = [(float(value), builder.vector(op, result)) for (value,), result in rows]
        units.steps(builder.rows([column])[0], levels)
        return
    for values, result in rows:
        # All of them there: their sum is their number, and one less for each that is not.
        read = builder.zero()
        for operand, value in zip(op.operands, values, strict=True):
            read += builder.vector(operand, value)
        units.unit(read, 1.0 - len(values), builder.vector(op, result))


def _rows(builder: Builder, op: Map | SequenceMap) -> list[tuple[tuple[Any, ...], Any]]:
    """The values of the operands that can come together, and what is made of them."""
    found: dict[object, tuple[tuple[Any, ...], Any]] = {}
    for other, position in builder.graph.domains:
        if other is op:
            domains = [builder.graph.domains[operand, position] for operand in op.operands]
            for values in itertools.product(*domains):
                given = dict(zip(op.operands, values, strict=True))
                read = (op.of,) if isinstance(op, Map) else op.of
                found[key(values)] = values, op.f(*(given[operand] for operand in read))
    return list(found.values())

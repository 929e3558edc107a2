"""The weights that carry a schedule out, in float64 and in the program's own coordinates.

Values are one-hot, numbers stand in one coordinate. Attention scores are 0 or multiples of `GAP`, so that softmax is
exact but for rounding: what is not selected gets exp(-GAP) of the weight.
See Tracr: Compiled Transformers as a Laboratory for Interpretability, arXiv 2301.05062.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from commutes.algorithm._values import key
from commutes.testing.compiler._nodes import Graph
from commutes.testing.compiler._program import Aggregate, SelectorWidth, SOp, Tokens
from commutes.testing.compiler._schedule import Schedule

# exp(-40) is 4e-18: below the rounding of float64, and far below that of float32.
GAP = 40.0


@dataclass(eq=False)
class Head:
    """One head: score(query, key) = (Q x_q + b) · (K x_k), and where its value comes from and goes to."""

    query: torch.Tensor
    query_bias: torch.Tensor
    key: torch.Tensor
    value: torch.Tensor
    out: torch.Tensor
    sink_score: float
    sink_value: torch.Tensor


@dataclass(frozen=True, eq=False)
class Builder:
    """Vectors of the residual stream for the values of a program."""

    graph: Graph
    schedule: Schedule

    def zero(self) -> torch.Tensor:
        """# shape: (width,)"""
        return torch.zeros(self.schedule.width, dtype=torch.float64)

    def vector(self, op: SOp, value: Any) -> torch.Tensor:
        """How a value stands in the stream.  # shape: (width,)"""
        found, columns = self.zero(), self.schedule.columns(op)
        if op.numerical:
            found[columns[0]] = float(value)
        else:
            found[columns[self.code(op, value)]] = 1.0
        return found

    def code(self, op: SOp, value: Any) -> int:
        """The place of a value among the operation's."""
        return [key(v) for v in self.graph.values(op)].index(key(value))

    def rows(self, columns: Sequence[int]) -> torch.Tensor:
        """The map that reads these coordinates.  # shape: (columns, width)"""
        return torch.eye(self.schedule.width, dtype=torch.float64)[list(columns)]

    def tokens(self) -> torch.Tensor:
        """# shape: (alphabet, width)"""
        op = next(op for op in self.graph.program.operations if isinstance(op, Tokens))
        return torch.stack([self.vector(op, symbol) for symbol in self.graph.program.alphabet])

    def positions(self) -> torch.Tensor:
        """# shape: (length, width)"""
        return self.rows(self.schedule.positions)

    def heads(self, block: int) -> list[Head]:
        """The heads of a block."""
        step = 2 * block + 1
        found = []
        for op, computed in self.schedule.computed.items():
            if computed == step and isinstance(op, Aggregate | SelectorWidth):
                found.append(self._width(op) if isinstance(op, SelectorWidth) else self._aggregate(op))
        return found

    def readout(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Weights and biases of the logits: how much of each answer stands at the output positions.

        The logit of a number v is 2 x v - v², largest for the v that is nearest to x.
        # shapes: (answers, positions * width), (answers,)
        """
        outputs = self.graph.program.outputs
        weights, biases = [], []
        for answer in self.graph.answers():
            values = (answer,) if len(outputs) == 1 else answer
            parts = {position: self.zero() for _, position in outputs}
            bias = 0.0
            for (op, position), value in zip(outputs, values, strict=True):
                parts[position] += self.vector(op, 2 * value if op.numerical else value)
                bias -= float(value) ** 2 if op.numerical else 0.0
            weights.append(torch.cat([parts[p] for p in sorted(parts)]))
            biases.append(bias)
        return torch.stack(weights), torch.tensor(biases, dtype=torch.float64)

    def _aggregate(self, op: Aggregate) -> Head:
        length = self.graph.program.length
        columns, values = self.schedule.columns(op), self.schedule.columns(op.values)
        # Of several values the first selected position's is taken: earlier positions score higher by a gap each,
        # and everything that is selected higher than the sink, everything else lower.
        first = not op.numerical
        selected = GAP * (length + 1) if first else 2 * GAP
        head = self._selector(op, selected, first=first)
        head.value = self.rows(values)
        head.out = torch.zeros(self.schedule.width, len(values), dtype=torch.float64)
        head.sink_score = GAP * length if first else GAP
        head.sink_value = torch.zeros(len(values), dtype=torch.float64)
        if op.numerical:
            head.out[columns[0], 0] = 1.0
            head.sink_value[0] = float(op.default or 0.0)
            return head
        for code, value in enumerate(self.graph.values(op.values)):
            if self._known(op, value):
                head.out[columns[self.code(op, value)], code] = 1.0
        if self._known(op, op.default):
            # The sink's own value: one more coordinate of the head.
            head.value = torch.cat([head.value, self.zero()[None]])
            head.out = torch.cat([head.out, self.vector(op, op.default)[:, None]], dim=1)
            head.sink_value = torch.cat([head.sink_value, torch.ones(1, dtype=torch.float64)])
        return head

    def _known(self, op: SOp, value: Any) -> bool:
        return key(value) in [key(v) for v in self.graph.values(op)]

    def _width(self, op: SelectorWidth) -> Head:
        # Every selected position weighs as much as the sink, whose share is 1 / (1 + width).
        head = self._selector(op, GAP, first=False)
        head.sink_score = GAP
        head.value = self.zero()[None]
        head.out = torch.zeros(self.schedule.width, 1, dtype=torch.float64)
        head.out[self.schedule.storage(op, raw=True).columns[0], 0] = 1.0
        head.sink_value = torch.ones(1, dtype=torch.float64)
        return head

    def _selector(self, op: Aggregate | SelectorWidth, selected: float, *, first: bool) -> Head:
        """Queries and keys whose product is `selected` where the predicate holds and 0 elsewhere."""
        selector, zero = op.selector, self.zero()
        keys = self.schedule.columns(selector.keys)
        table = torch.zeros(len(keys), self.schedule.width, dtype=torch.float64)
        asked = self.schedule.columns(selector.queries)
        for i, found in enumerate(self.graph.values(selector.keys)):
            for j, query in enumerate(self.graph.values(selector.queries)):
                if selector.predicate(found, query):
                    table[i, asked[j]] = selected
        query, key_map = table, self.rows(keys)
        bias = torch.zeros(len(keys) + first, dtype=torch.float64)
        if first:
            length = self.graph.program.length
            earlier = torch.arange(length - 1, -1, -1, dtype=torch.float64) * GAP
            query = torch.cat([query, zero[None]])
            key_map = torch.cat([key_map, (earlier @ self.positions())[None]])
            bias[-1] = 1.0
        return Head(query, bias, key_map, zero, zero, 0.0, zero)

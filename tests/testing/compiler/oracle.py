"""Programs run by hand, with one value replaced at one moment: what a swap at any place of the network must do."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from commutes.testing.compiler import (
    Aggregate,
    Compiled,
    Home,
    Indices,
    Map,
    SelectorWidth,
    SequenceMap,
    SOp,
    Tokens,
)


@dataclass(frozen=True)
class Edit:
    """From its step on, whoever reads this place finds this value."""

    home: Home
    value: Any


class Run:
    """One sequence, run with at most one edit.

    Args:
        compiled: Whose schedule says when each operation reads its operands and when its own value is there.
        tokens: The sequence.
        edit: What is replaced.
    """

    def __init__(self, compiled: Compiled, tokens: tuple[Any, ...], edit: Edit | None = None) -> None:
        self.compiled, self.tokens, self.edit = compiled, tokens, edit
        self.known: dict[tuple[SOp, int], Any] = {}

    def answer(self) -> Any:
        last = len(self.compiled.steps)
        found = tuple(self.seen(op, p, last) for op, p in self.compiled.program.outputs)
        return found if len(found) > 1 else found[0]

    def seen(self, op: SOp, position: int, step: int) -> Any:
        """What a reader in this step finds."""
        if self._edited(op, position, raw=False) and step > self.edit.home.step:
            return self.edit.value
        return self.own(op, position)

    def own(self, op: SOp, position: int) -> Any:
        if (op, position) not in self.known:
            self.known[op, position] = self._own(op, position)
        return self.known[op, position]

    def _own(self, op: SOp, position: int) -> Any:
        step = self.compiled.schedule.computed[op]
        if isinstance(op, Tokens):
            return self.tokens[position]
        if isinstance(op, Indices):
            return position
        if isinstance(op, Map):
            return op.f(self.seen(op.of, position, step))
        if isinstance(op, SequenceMap):
            return op.f(*[self.seen(o, position, step) for o in op.of])
        query = self.seen(op.selector.queries, position, step)
        there = range(position + 1) if self.compiled.program.causal else range(len(self.tokens))
        chosen = [k for k in there if op.selector.predicate(self.seen(op.selector.keys, k, step), query)]
        if isinstance(op, SelectorWidth):
            # The width is read once more, in its raw form, by the step that turns it into a value.
            if self._edited(op, position, raw=True) and self.edit.home.step == step:
                return self.edit.value
            return len(chosen)
        assert isinstance(op, Aggregate)
        if not chosen:
            return op.default
        if not op.values.numerical:
            return self.seen(op.values, chosen[0], step)
        total = sum((Fraction(self.seen(op.values, k, step)) for k in chosen), Fraction(0))
        return float(total / len(chosen))

    def _edited(self, op: SOp, position: int, *, raw: bool) -> bool:
        """Whether the edit is of this place, and not made before there is something to replace."""
        if self.edit is None:
            return False
        home = self.edit.home
        if home.op is not op or home.position != position or home.raw is not raw:
            return False
        storages = self.compiled.schedule.storages
        return home.step >= next(s.made for s in storages if s.op is op and s.raw is raw)

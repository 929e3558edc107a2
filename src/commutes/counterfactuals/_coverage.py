"""Which rivals of a claim the data can tell apart, known before any network is run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from commutes.algorithm import Algorithm, Columns, Finite, Variable
from commutes.counterfactuals._admit import refuse_other_inputs
from commutes.counterfactuals._strata import differs
from commutes.counterfactuals._swap import Swap
from commutes.counterfactuals._value import Counterfactuals
from commutes.errors import DataError, similar

__all__ = ["ALL", "Coverage", "Share", "best_constant", "coverage_of"]

ALL = "all swaps"
"""The row of the union of the swap sets."""
_CANDIDATES = 257
"""Numbers that are tried as a constant answer where the output is real-valued."""


@dataclass(frozen=True)
class Share:
    """How many of n pairs."""

    count: int
    n: int

    @property
    def share(self) -> float:
        """count / n; nan where there is no pair."""
        return self.count / self.n if self.n else float("nan")

    def __str__(self) -> str:
        return f"{self.share:.0%} ({self.count:,})" if self.n else "-"


@dataclass(frozen=True, eq=False)
class Coverage:
    """Per swap set, and over the union of them, the pairs on which each rival expects another answer.

    Args:
        table: Swap label (or `ALL`) -> rival -> share. A rival that has nothing to say about a swap set (a
            second source where there is one, another variable that is among the swapped) is not in its row.
    """

    table: Mapping[str, Mapping[str, Share]]

    @property
    def union(self) -> Mapping[str, Share]:
        """The row over all swaps: what adequacy is judged by."""
        return self.table[ALL]

    def short(self, share: float = 0.2, pairs: int = 59) -> tuple[str, ...]:
        """The rivals that the data does not tell apart: below this share, or fewer pairs, over all swaps."""
        return tuple(name for name, got in self.union.items() if got.count < pairs or not got.share >= share)

    def __getitem__(self, label: str) -> Mapping[str, Share]:
        return self.table[label]

    def __str__(self) -> str:
        rivals = list(self.union)
        width = max(len(r) for r in ("expects another answer", *rivals))
        heads = list(self.table)
        lines = ["  ".join([f"{'expects another answer':<{width}}", *(f"{h:>16}" for h in heads)])]
        for rival in rivals:
            cells = [str(self.table[h][rival]) if rival in self.table[h] else "-" for h in heads]
            lines.append("  ".join([f"{rival:<{width}}", *(f"{c:>16}" for c in cells)]))
        return "\n".join(lines)


def coverage_of(
    pairs: Counterfactuals,
    rivals: Mapping[str, Algorithm],
    against: Mapping[str, Mapping[str, str | Sequence[str]]],
) -> Coverage:
    """See `Counterfactuals.coverage`."""
    for name in against:
        if name not in rivals:
            close = similar(name, rivals)
            raise DataError(
                f"no rival {name!r}",
                where="coverage(against=)",
                got=repr(name),
                expected="one of " + ", ".join(rivals) if rivals else "a rival named in rivals=",
                fix=f"write {close!r}" if close else "name it in rivals=",
            )
    claimed = _disagreements(pairs)
    for name, rival in rivals.items():
        rival.check()
        refuse_other_inputs(pairs.algorithm, rival, f"coverage, rival {name!r}")
        label = name if name not in claimed else f"{name} (declared)"
        claimed[label] = _declared(pairs, rival, against.get(name, {}))
    if pairs.expected.dtype.kind != "f":
        claimed["best constant"] = (~best_constant(pairs), np.ones(len(pairs), dtype=bool))
    table: dict[str, dict[str, Share]] = {}
    for label, rows in [*((s.label, pairs.swap == i) for i, s in enumerate(pairs.swaps)), (ALL, None)]:
        mask = np.ones(len(pairs), dtype=bool) if rows is None else rows
        row: dict[str, Share] = {}
        for rival, (another, speaks) in claimed.items():
            n = int((speaks & mask).sum())
            if n:
                row[rival] = Share(int((another & speaks & mask).sum()), n)
        table[label] = row
    return Coverage(table)


def _disagreements(pairs: Counterfactuals) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Per rival of our own: where it expects another answer, and on which pairs it says anything."""
    everywhere = np.ones(len(pairs), dtype=bool)
    found = {"do nothing": (pairs.effective, everywhere)}
    slots = pairs.source.shape[1]
    for slot in range(slots):
        there = pairs.source[:, slot] >= 0
        name = "swap all" if slots == 1 else f"swap all, source {slot + 1}"
        found[name] = (_another(pairs, pairs.expected, pairs.answers[pairs.source[:, slot]]), there)
    for variable in pairs.algorithm.inner_variables:
        another, speaks = np.zeros(len(pairs), dtype=bool), np.zeros(len(pairs), dtype=bool)
        for index, swap in enumerate(pairs.swaps):
            if swap.variables == (variable,):
                continue
            rows = np.flatnonzero(pairs.swap == index)
            slot = next((k for k, vs in enumerate(swap.slots) if variable in vs), 0)
            answer = _answers(pairs, pairs.algorithm, rows, {variable: slot})
            another[rows] = _another(pairs, pairs.expected[rows], answer)
            speaks[rows] = True
        if speaks.any():
            found[f"swap {variable.name} instead"] = (another, speaks)
    return found


def _another(pairs: Counterfactuals, expected: np.ndarray, answer: np.ndarray) -> np.ndarray:
    return differs(expected, answer, pairs._tolerance)


def _answers(
    pairs: Counterfactuals, algorithm: Algorithm, rows: np.ndarray, do: Mapping[Variable, int]
) -> np.ndarray:
    """The answers of `algorithm` on these pairs with each variable of `do` taken from that source slot."""
    clean = pairs.columns if algorithm is pairs.algorithm else algorithm.run(pairs.inputs)
    base: Columns = {v.name: pairs.inputs[v.name][pairs.base[rows]] for v in algorithm.input_variables}
    values = {v: clean[v.name][pairs.source[rows, slot]] for v, slot in do.items()}
    return algorithm.run(base, values)[algorithm.output_variable.name]


def _declared(
    pairs: Counterfactuals, rival: Algorithm, against: Mapping[str, str | Sequence[str]]
) -> tuple[np.ndarray, np.ndarray]:
    """By the rival's own interchange: of its variables of the same names, or those set against them."""
    for name in against:
        pairs.algorithm[name]
    recode = _recoding(pairs.algorithm, rival)
    another = np.zeros(len(pairs), dtype=bool)
    for index, swap in enumerate(pairs.swaps):
        rows = np.flatnonzero(pairs.swap == index)
        answer = recode(_answers(pairs, rival, rows, _counterparts(swap, rival, against)))
        another[rows] = _another(pairs, pairs.expected[rows], answer)
    return another, np.ones(len(pairs), dtype=bool)


def _counterparts(
    swap: Swap, rival: Algorithm, against: Mapping[str, str | Sequence[str]]
) -> dict[Variable, int]:
    do: dict[Variable, int] = {}
    for slot, variables in enumerate(swap.slots):
        for variable in variables:
            named = against.get(variable.name, (variable.name,) if variable.name in rival else ())
            for name in (named,) if isinstance(named, str) else named:
                do[rival[name]] = slot
    return do


def _recoding(algorithm: Algorithm, rival: Algorithm):
    """From the rival's answer column to the algorithm's codes, by value; -1 for what it does not know."""
    ours = algorithm.domain(algorithm.output_variable)
    theirs = rival.domain(rival.output_variable)
    if not isinstance(ours, Finite):
        return lambda column: column
    if not isinstance(theirs, Finite):
        return lambda column: ours.attempt(theirs.decode(column))[0]
    place = ours.attempt(theirs.values)[0]
    return lambda column: place[column]


def best_constant(pairs: Counterfactuals) -> np.ndarray:
    """Hits of the one answer per swap set that does best: of equally good ones the first in order.  # shape: (n,)"""
    hits = np.zeros(len(pairs), dtype=bool)
    for index in range(len(pairs.swaps)):
        rows = np.flatnonzero(pairs.swap == index)
        if not len(rows):
            continue
        expected = pairs.expected[rows]
        values, counts = np.unique(expected, axis=0, return_counts=True)
        if expected.dtype.kind != "f":
            hits[rows] = expected == values[int(counts.argmax())]
            continue
        # Near the middle of many numbers a constant does best; candidates are the numbers themselves.
        candidates = values[np.unique(np.linspace(0, len(values) - 1, _CANDIDATES).astype(int))]
        alike = (~_another(pairs, expected, np.broadcast_to(c, expected.shape)) for c in candidates)
        hits[rows] = max(alike, key=lambda own: own.sum())
    return hits

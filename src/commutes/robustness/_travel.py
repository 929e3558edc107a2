"""A claim on one shift: what was drawn, what the network answered, and where a failure lies."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from commutes.algorithm import Algorithm
from commutes.counterfactuals import (
    Counterfactuals,
    Design,
    Distribution,
    Fresh,
    census,
    drawn_without,
)
from commutes.errors import DataError
from commutes.evaluation import GATED, Bench, bench, cell_rows, is_effective, is_gated, not_excluded, rate_of
from commutes.robustness._case import ALPHA, Case
from commutes.robustness._changes import Changed, changed
from commutes.robustness._mending import Mended, mended
from commutes.robustness._replay import pair_record
from commutes.robustness._rungs import Rung
from commutes.stats import Answer, Rate, gate, rate

# A domain of no more pairs is measured whole: of so few inputs a sample would have too many twice.
WHOLE = 10_000


class CellRate(NamedTuple):
    """A gated cell under a shift."""

    swap: str
    stratum: str
    rate: Rate


@dataclass(frozen=True, eq=False)
class _Part:
    """Some pairs of a shift, with what came of them."""

    bench: Bench
    answered: np.ndarray
    hits: np.ndarray
    left_out: int
    share: float

    @property
    def pairs(self) -> Counterfactuals:
        return self.bench.pairs


@dataclass(frozen=True, eq=False)
class Travelled:
    """A claim on one shift."""

    rung: Rung
    target: float
    floor: float
    changed: Changed | None
    """What the shift changes; None where it is not shown to change anything."""
    parts: tuple[_Part, ...] = ()
    trouble: str = ""
    """Why there are no pairs."""
    gone: tuple[str, ...] = ()
    """Cells that the claim's own pairs have and the shift makes impossible."""
    mended: Mended | None = None
    """Where the network fails: what it answers with the claim's own coordinates."""

    @property
    def name(self) -> str:
        """What the card calls the shift."""
        return self.rung.shift.name

    @property
    def counts(self) -> bool:
        """Whether the shift is one: not where it is not shown to change anything."""
        return self.changed is not None or bool(self.trouble)

    @cached_property
    def accuracy(self) -> Rate:
        """The network against the algorithm on the shift's distinct inputs, nothing swapped."""
        return self._behaviour(ALPHA)

    def _behaviour(self, alpha: float) -> Rate:
        ids = np.concatenate([part.pairs.ids for part in self.parts])
        right = np.concatenate([part.bench.right for part in self.parts])
        first = np.unique(ids, return_index=True)[1]
        return rate(right[first], census=all(part.pairs.complete for part in self.parts), alpha=alpha)

    @property
    def network_fails(self) -> bool:
        """Whether the network, nothing swapped, does not answer as the algorithm does."""
        return bool(self.parts) and gate(self.accuracy, self.floor) is Answer.REFUTED

    @cached_property
    def _gated(self) -> list[tuple[str, str, _Part, np.ndarray]]:
        return [
            (swap, stratum, part, rows)
            for part in self.parts
            for swap, stratum, rows in cell_rows(part.pairs)
            if is_gated(part.pairs, rows)
        ]

    @cached_property
    def cells(self) -> tuple[CellRate, ...]:
        """The gated cells."""
        return tuple(CellRate(w, t, rate_of(part.hits, part.pairs, rows)) for w, t, part, rows in self._gated)

    @property
    def worst(self) -> CellRate | None:
        """The gated cell with the lowest rate."""
        return min(self.cells, key=lambda cell: cell.rate.rate, default=None)

    @property
    def lower(self) -> float:
        """Lower bound of the worst cell."""
        return min((cell.rate.lower for cell in self.cells), default=0.0)

    def upper(self, alpha: float) -> float:
        """Upper bound of the worst cell, each cell at an error rate of alpha."""
        return min(
            (
                rate(p.hits[rows], p.pairs.members[rows], census=p.pairs.complete, alpha=alpha).upper
                for *_, p, rows in self._gated
            ),
            default=1.0,
        )

    @property
    def ungated(self) -> list[str]:
        """Cells where the answer must change, which the shift gives weight and too few pairs or inputs."""
        gated = {(swap, stratum) for swap, stratum, *_ in self._gated}
        return [
            f"{swap} · {stratum}"
            for part in self.parts
            for swap, stratum, _ in cell_rows(part.pairs)
            if is_effective(stratum)
            and part.pairs.weights[swap, stratum] > 0
            and (swap, stratum) not in gated
        ]

    @property
    def short(self) -> float | None:
        """By how much the smallest of these cells falls short of what a gate asks for; None where there is none."""
        sizes = [
            len(rows)
            for part in self.parts
            for swap, stratum, rows in cell_rows(part.pairs)
            if f"{swap} · {stratum}" in self.ungated
        ]
        return 2 * GATED / min(sizes) if sizes and min(sizes) else None

    @cached_property
    def not_excluded(self) -> dict[str, list[str]]:
        """Per swapped set, the trivial rivals that the shift's pairs cannot tell from the claim."""
        found: dict[str, list[str]] = {}
        for part in self.parts:
            found |= {swap: names for swap, names in not_excluded(part.pairs, self.target).items() if names}
        return found

    def answer(self, alpha: float, tests: int) -> tuple[Answer, str]:
        """What this shift says of the alignment, and why where that is nothing.

        Args:
            alpha: Error rate of a refutation by any of the tests.
            tests: How many there are, over all shifts.
        """
        if not self.parts:
            return Answer.VACUOUS, self.trouble
        if self.network_fails:
            return self._failing(alpha / tests)
        behaves = gate(self.accuracy, self.floor)
        if self.upper(alpha / tests) < self.target:
            if behaves is Answer.SUPPORTED:
                return Answer.REFUTED, "the network answers rightly and the alignment fails"
            return Answer.INCONCLUSIVE, "whether the network or the alignment fails is not decided"
        if self.ungated:
            return Answer.INCONCLUSIVE, f"too few pairs or inputs to gate: {', '.join(self.ungated)}"
        if self.not_excluded:
            swap, names = next(iter(self.not_excluded.items()))
            return Answer.VACUOUS, f"for {swap} no gated stratum excludes: {', '.join(names)}"
        held = self.lower >= self.target and behaves is Answer.SUPPORTED
        return (
            (Answer.SUPPORTED, "") if held else (Answer.INCONCLUSIVE, "the bounds hold the gate between them")
        )

    def _failing(self, alpha: float) -> tuple[Answer, str]:
        """A failure of the network is one of the alignment where it goes once the coordinates are mended."""
        if self.mended is not None:
            fails = gate(self._behaviour(alpha), self.floor) is Answer.REFUTED
            if fails and gate(self.mended.rate(alpha), self.floor) is Answer.SUPPORTED:
                return Answer.REFUTED, "the network's failure lies in the aligned coordinates"
        return Answer.VACUOUS, "the network itself fails there"

    @property
    def forward_passes(self) -> int:
        """Inputs that the network was run on."""
        mended = 0 if self.mended is None else len(self.mended.right)
        return sum(len(part.pairs.ids) + len(part.pairs) for part in self.parts) + mended

    @property
    def left_out(self) -> int:
        """Inputs of the shift that were fitted or selected on."""
        return max((part.left_out for part in self.parts), default=0)

    @property
    def share(self) -> float:
        """Their probability under the shift."""
        return max((part.share for part in self.parts), default=0.0)

    def record(self, alpha: float) -> dict[str, Any]:
        """Plain values."""
        found: dict[str, Any] = {
            "name": self.name,
            "shift": self.rung.shift.words,
            "changed": None
            if self.changed is None
            else {"what": self.changed.what, "by": self.changed.distance},
        }
        if not self.parts:
            return found
        cell = self.worst
        return found | {
            "pairs": sum(len(part.pairs) for part in self.parts),
            "left_out": {"inputs": self.left_out, "share": self.share},
            "accuracy": self.accuracy.as_dict(),
            "overall": float(np.concatenate([part.hits for part in self.parts]).mean()),
            "worst": None
            if cell is None
            else {"swap": cell.swap, "stratum": cell.stratum, "rate": cell.rate.rate},
            "lower": self.lower if self.cells else None,
            "upper": self.upper(alpha) if self.cells else None,
            "cells": len(self.cells),
            "too_small": self.ungated,
            "impossible": list(self.gone),
            "not_excluded": self.not_excluded,
            "mended": None if self.mended is None else self.mended.rate(ALPHA).as_dict(),
            "failing": self._failing_pair(),
        }

    def _failing_pair(self) -> dict[str, Any] | None:
        """The first pair that fails in the worst cell, with which the failure can be shown again."""
        cell = self.worst
        for swap, stratum, part, rows in self._gated:
            missed = rows[~part.hits[rows]]
            if cell is not None and (swap, stratum) == (cell.swap, cell.stratum) and len(missed):
                return pair_record(part.pairs, int(missed[0]), part.answered, part.bench.right)
        return None


def travelled(case: Case, rung: Rung, number: int) -> Travelled:
    """Draw the pairs of a shift from inputs that were neither fitted nor selected on, and measure the claim on them.

    Args:
        case: The claim.
        rung: The shift.
        number: Its place among the declared ones, for the seed.
    """
    seed = int(np.random.default_rng([case.seed, 31, number]).integers(2**31))
    base = Travelled(rung, case.thresholds.target, case.thresholds.behaviour, None)
    try:
        what = changed(rung, case.test, seed)
        if what is None:
            return base
        fresh = _drawn(case, rung, seed)
    except DataError as error:
        return replace(base, trouble=error.what + (f" ({error.got})" if error.got else ""))
    parts = []
    for one in fresh:
        measured = bench(rung.alignment, one.pairs)
        answered = measured.answered(rung.alignment.featurizers)
        hits = measured.answers.match(answered, one.pairs.expected)
        parts.append(_Part(measured, answered, hits, one.left_out, one.share))
    found = Travelled(
        rung,
        base.target,
        base.floor,
        what,
        tuple(parts),
        gone=tuple(_gone(case.test, [p.pairs for p in parts])),
    )
    if not found.network_fails:
        return found
    return replace(found, mended=mended(case, rung, [part.bench for part in parts], seed))


def _drawn(case: Case, rung: Rung, seed: int) -> list[Fresh]:
    test, alignment = case.test, rung.alignment
    seen = np.union1d(alignment.fitted_ids, alignment.selected_ids)
    n = len(test)
    if test.complete:
        # As many as a sample of the same cells would need.
        n = 2 * GATED * sum(weight > 0 for weight in test.weights.values())
    return [
        _whole(alignment.algorithm, design, seen) or drawn_without(alignment.algorithm, design, seen)
        for design in rung.designs(test.design, n, seed)
    ]


def _whole(algorithm: Algorithm, design: Design, seen: np.ndarray) -> Fresh | None:
    """All pairs there are, where they are few, none of the inputs was seen, and all inputs are meant."""
    count = algorithm.input_count
    slots = max(1 if shared else len(names) for names, shared in design.swaps)
    if count is None or isinstance(design.distribution, Distribution) or design.flip is not None:
        return None
    if len(design.swaps) * count ** (1 + slots) > WHOLE:
        return None
    if np.isin(algorithm.input_ids(algorithm.enumerate_inputs()), seen).any():
        return None
    return Fresh(census(algorithm, swap=list(design.swaps_of(algorithm))), 0, 0.0)


def _gone(test: Counterfactuals, parts: Sequence[Counterfactuals]) -> list[str]:
    """Cells to which the claim's own distribution gives weight and the shift none."""
    weights = {key: weight for pairs in parts for key, weight in pairs.weights.items()}
    return [
        f"{swap} · {stratum}"
        for (swap, stratum), weight in test.weights.items()
        if weight > 0 and (swap, stratum) in weights and weights[swap, stratum] == 0
    ]

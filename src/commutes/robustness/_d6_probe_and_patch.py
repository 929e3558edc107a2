"""D6: is what can be read there also what is used?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from commutes.algorithm import Variable
from commutes.robustness._case import ALPHA, Case, Outcome, said
from commutes.robustness._decoding import Decoding, clean, decoding, read_as_sources, undecodable
from commutes.stats import Answer, Interval, Rate, gate, paired_gap, rate, show


@dataclass(frozen=True, eq=False)
class _Found:
    """Reading and patching of one variable, pair by pair."""

    name: str
    rows: np.ndarray
    """Effective pairs that swap it alone, by their numbers in the test part."""
    read: np.ndarray
    """Whether its value decodes from the source's clean state."""
    everywhere: Rate
    """The same on all pairs that swap it alone, effective or not."""
    patched: np.ndarray
    """Whether the swap gives the expected answer."""
    members: np.ndarray
    chance: float
    """What the commonest value would read on all of those."""
    on: str
    complete: bool

    def gap(self, alpha: float) -> Interval:
        return paired_gap(self.read, self.patched, self.members, census=self.complete, alpha=alpha)

    def rate(self, hits: np.ndarray) -> Rate:
        return rate(hits, self.members, census=self.complete)

    @property
    def powerless(self) -> bool:
        """Whether it reads no better than by chance."""
        return not self.everywhere.lower > self.chance

    def record(self) -> dict[str, Any]:
        alone = self.rows[self.read & ~self.patched]
        return {
            "reads": self.rate(self.read).as_dict(),
            "reads_on_all_pairs": self.everywhere.as_dict(),
            "chance": self.chance,
            "patches": self.rate(self.patched).as_dict(),
            "gap": self.gap(ALPHA).as_dict(),
            "fitted_on": self.on,
            "pairs_that_read_and_do_not_patch": alone[:10].tolist(),
        }


def probe_and_patch(case: Case) -> Outcome:
    """How often a variable's value reads from its coordinates, minus how often swapping them gives the new answer.

    Both on the effective pairs that swap the variable alone; it is read where the source is read. The variable with
    the largest gap counts.

    See Probing the Probing Paradigm: Does Probing Accuracy Entail Task Relevance?, arXiv 2005.00719.
    """
    most = case.thresholds.unused
    found, without, passes = _measured(case)
    figures = {"variables": {one.name: one.record() for one in found}, "most": most, "without": without}
    reason = "; ".join(without.values())
    if not found:
        return Outcome(Answer.VACUOUS, "no variable reads", figures, reason=reason, forward_passes=passes)
    worst = max(found, key=lambda one: one.gap(ALPHA).value)
    answer = _answer(found, most, ALPHA)
    if without and answer is not Answer.REFUTED:
        answer = Answer.VACUOUS
    return Outcome(
        answer,
        f"{worst.name} reads in {worst.rate(worst.read)} and patches in {worst.rate(worst.patched)} of effective"
        f" pairs{_among(found)}: gap {said(worst.gap(ALPHA))}, below {show(most)} is asked for",
        figures,
        n_to_decide=_needed(case, found, most) if answer is Answer.INCONCLUSIVE else None,
        reason=reason if answer is Answer.VACUOUS else None,
        forward_passes=passes,
        refuted_at=lambda alpha: _answer(found, most, alpha) is Answer.REFUTED,
    )


def _measured(case: Case) -> tuple[list[_Found], dict[str, str], int]:
    """What was found of each variable, why nothing was of the others, and inputs that the network was run on."""
    fitted, found, without = clean(case), [], {}
    for variable, coordinates in read_as_sources(case).items():
        rows = case.rows(variable.name)
        why = undecodable(case, variable, coordinates)
        if not case.test.effective[rows].any():
            why = why or f"no effective pair swaps {variable.name} alone"
        if why:
            without[variable.name] = why
            continue
        one = _of_variable(case, variable, rows, decoding(case, fitted, variable), coordinates)
        if one.powerless:
            reads = f"{variable.name} reads in {one.everywhere}"
            without[variable.name] = f"{reads}, no better than by chance ({show(one.chance)})"
        else:
            found.append(one)
    return found, without, len(fitted.inputs)


def _of_variable(
    case: Case, variable: Variable, rows: np.ndarray, decoders: Decoding, coordinates: torch.Tensor
) -> _Found:
    pairs = case.test
    sources, values = pairs.source_of(variable)[rows], pairs.source_value(variable)[rows]
    read = decoders.decode(coordinates[torch.from_numpy(sources)], sources) == values
    effective = pairs.effective[rows]
    return _Found(
        variable.name,
        rows[effective],
        read[effective],
        rate(read, pairs.members[rows], census=pairs.complete),
        case.evaluation.hits[rows[effective]],
        pairs.members[rows[effective]],
        float(np.bincount(values).max() / len(rows)),
        decoders.on,
        pairs.complete,
    )


def _answer(found: Sequence[_Found], most: float, alpha: float) -> Answer:
    """Support needs every variable; any one refutes, at its share of the error rate."""
    if any(gate(one.gap(alpha / len(found)), most, side="<") is Answer.REFUTED for one in found):
        return Answer.REFUTED
    each = {gate(one.gap(alpha), most, side="<") for one in found}
    return Answer.SUPPORTED if each == {Answer.SUPPORTED} else Answer.INCONCLUSIVE


def _needed(case: Case, found: Sequence[_Found], most: float) -> int | None:
    """Pairs in all at which the half-width, which falls with the root of n, would leave the gate to one side."""
    undecided = [gap for gap in (one.gap(ALPHA) for one in found) if gap.lower < most <= gap.upper]
    if case.test.complete or any(gap.value == most for gap in undecided):
        return None
    widths = [
        (gap.upper - gap.value if gap.value < most else gap.value - gap.lower) / abs(most - gap.value)
        for gap in undecided
    ]
    return max(len(case.test) + 1, int(np.ceil(max(widths) ** 2 * len(case.test))))


def _among(found: Sequence[_Found]) -> str:
    return f", the worst of {len(found)} variables" if len(found) > 1 else ""

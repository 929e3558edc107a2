"""Hits by swapped set and stratum, as A2 gates them: what a verdict on a claim rests on, however hits came about."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from commutes.counterfactuals import Counterfactuals
from commutes.evaluation import cell_rows, is_effective, is_gated
from commutes.robustness._case import ALPHA
from commutes.robustness._worst import Part, Worst, lowest
from commutes.stats import Answer, gate


@dataclass(frozen=True, eq=False)
class Gated:
    """The cells that have enough pairs and inputs for a gate."""

    parts: tuple[Part, ...]
    ungated: tuple[str, ...]
    """Cells where the answer must change, which have weight, and too little data for a gate."""

    def worst(self, alpha: float = ALPHA) -> Worst | None:
        """The worst cell; None where none is gated."""
        return lowest(self.parts, alpha) if self.parts else None

    def answer(self, target: float, *, alpha: float = ALPHA, family: int = 1) -> Answer:
        """Whether the worst cell clears the target.

        Args:
            target: What it has to clear.
            alpha: Error rate of each bound.
            family: How many such answers are given, of which any may refute: each has its share of the error.
        """
        if not self.parts:
            return Answer.INCONCLUSIVE
        answer = gate((lowest(self.parts).lower, lowest(self.parts, alpha / family).upper), target)
        return Answer.INCONCLUSIVE if self.ungated and answer is Answer.SUPPORTED else answer


def gated(
    hits: np.ndarray,
    pairs: Counterfactuals,
    *,
    members: np.ndarray | None = None,
    usable: np.ndarray | None = None,
) -> Gated:
    """The cells of some hits.

    Args:
        hits: Whether each pair came out as expected.  # shape: (n,)
        pairs: What was measured.
        members: The inputs of each pair, where they are others than its own.  # shape: (n, members)
        usable: Which pairs count; all by default.  # shape: (n,)
    """
    inputs = pairs.members if members is None else members
    parts: list[Part] = []
    ungated: list[str] = []
    for swap, stratum, rows in cell_rows(pairs):
        own, name = rows if usable is None else rows[usable[rows]], f"{swap} · {stratum}"
        if is_gated(pairs, own):
            parts.append(Part(name, hits[own], inputs[own], pairs.complete))
        elif is_effective(stratum) and pairs.weights[swap, stratum] > 0:
            ungated.append(name)
    return Gated(tuple(parts), tuple(ungated))

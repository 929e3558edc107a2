"""What a fit has found so far: of every start the best parameters, and the curves that led there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from commutes.training._members import Banks
from commutes.training._selection import PERFECT


@dataclass(eq=False)
class Found:
    """The best parameters of every unit. A unit is one start of one claim; units are numbered claim by claim."""

    starts: int
    banks: Banks
    raws: list[torch.Tensor]
    score: np.ndarray
    """Of the kept parameters: worst cell plus mean over cells.  # shape: (units,)"""
    step: np.ndarray
    """At which they were.  # shape: (units,)"""
    losses: list[tuple[int, np.ndarray]]
    scores: list[tuple[int, np.ndarray]]

    @classmethod
    def nothing(cls, raws: Sequence[torch.Tensor], banks: Banks, units: int, starts: int) -> Found:
        """Before the first measurement."""
        kept = [raw.detach().clone() for raw in raws]
        return cls(starts, banks, kept, np.full(units, -np.inf), np.zeros(units, int), [], [])

    def note(
        self,
        step: int,
        raws: Sequence[torch.Tensor],
        score: np.ndarray,
        *,
        choose: bool,
        patience: int | None,
    ) -> None:
        """Keep the units that have improved; without a selection split, keep the latest.

        Args:
            step: How far the fit is.
            raws: Where it is.
            score: Worst cell and mean over cells.  # shape: (units, 2)
            choose: Whether a selection split chooses the step.
            patience: Measurements without a gain after which a unit is over.
        """
        over = self._over(patience)
        self.scores.append((step, score))
        total = score.sum(axis=1)
        # Of masks that do equally well the later one is the sparser.
        gains = np.where(self.cools, total >= self.score, total > self.score)
        better = gains & ~over if choose else np.ones_like(over)
        self.score[better], self.step[better] = total[better], step
        for kept, new, claims in zip(self.raws, raws, self.banks.claims, strict=True):
            where = torch.from_numpy(np.nonzero(better.reshape(-1, self.starts)[list(claims)].ravel())[0])
            kept[where] = new[where]

    @property
    def cools(self) -> np.ndarray:
        """Of every unit, whether its maps become harder while they are fitted.  # shape: (units,)"""
        claims = [any(self.banks.parts[bank][1].cools for bank, _ in where) for where in self.banks.where]
        return np.repeat(claims, self.starts)

    def _over(self, patience: int | None) -> np.ndarray:
        """Of every unit, whether it has gone without a gain for long enough.  # shape: (units,)"""
        if patience is None:
            return np.zeros(len(self.score), dtype=bool)
        since = np.array([sum(step > kept for step, _ in self.scores) for kept in self.step])
        return since >= patience

    def settled(self, patience: int | None) -> bool:
        """Whether no later step can be chosen: every claim has a perfect start, or none that is still waited for."""
        perfect = ((self.score >= PERFECT) & ~self.cools).reshape(-1, self.starts).any(axis=1)
        over = self._over(patience).reshape(-1, self.starts).all(axis=1)
        return bool((perfect | over).all())

    def best(self, claim: int) -> tuple[int, list[torch.Tensor]]:
        """The start that does best for a claim, and its parameters."""
        first = claim * self.starts
        # Of starts that do equally well the one that got there first, then the first one.
        order = [(-self.score[first + i], self.step[first + i], i) for i in range(self.starts)]
        start = min(order)[2]
        return start, self.banks.of(self.raws, claim, start, self.starts)

    def history(self, claim: int, start: int) -> dict[str, Any]:
        """The curves of the chosen start (the selection split's mean over cells, and its worst cell), the mean's curve
        of every start, the sum of the two that every start reached, and at which step it did."""
        first = claim * self.starts
        member = first + start
        return {
            "loss": [[step, float(loss[member])] for step, loss in self.losses],
            "selection": [[step, float(score[member, 1])] for step, score in self.scores],
            "selection_worst": [[step, float(score[member, 0])] for step, score in self.scores],
            "chosen_start": start,
            "chosen_step": int(self.step[member]),
            "last_step": self.losses[-1][0] if self.losses else 0,
            "measured": len(self.scores),
            "start_curves": [
                [[step, float(score[first + i, 1])] for step, score in self.scores]
                for i in range(self.starts)
            ],
            "start_scores": [float(s) for s in self.score[first : first + self.starts]],
            "start_steps": [int(s) for s in self.step[first : first + self.starts]],
        }

"""How well every member of a cohort does on the selection split: hard interchange-intervention accuracy."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from commutes.alignment import Alignment
from commutes.counterfactuals import Counterfactuals
from commutes.evaluation import cell_rows, is_gated
from commutes.training._cohort import Cohort, cohort

PERFECT = 2.0
"""Worst plus mean where every cell is at 1: no score is higher."""


class Selection:
    """Pairs on which the step and the start of each claim are chosen."""

    def __init__(
        self,
        fitted: Cohort,
        alignments: Sequence[Alignment],
        pairs: Sequence[Counterfactuals],
        *,
        budget: int,
    ) -> None:
        same = all(m.pairs is p for m, p in zip(fitted.members, pairs, strict=True))
        self.cohort = fitted if same else cohort(alignments, pairs, budget=budget)
        self.rows = [cells_of(one) for one in pairs]

    def scores(
        self, raws: Sequence[torch.Tensor], starts: int, *, progress: float | None = None
    ) -> np.ndarray:
        """Worst cell and mean over cells, per member.  # shape: (members, 2)

        Members are chosen by the sum of the two: the worst is what is claimed, the mean tells ties apart.
        """
        found = self.cohort.hits(raws, starts, progress)
        return np.array([score(self.rows[member // starts], hits) for member, hits in enumerate(found)])


def cells_of(pairs: Counterfactuals) -> list[np.ndarray]:
    """Rows of the cells by which something is chosen."""
    cells = [rows for *_, rows in cell_rows(pairs) if len(rows)]
    # A cell of a few pairs is no ground for a choice, unless there is no other.
    return [rows for rows in cells if is_gated(pairs, rows)] or cells


def score(cells: Sequence[np.ndarray], hits: np.ndarray) -> tuple[float, float]:
    """Worst cell and mean over cells."""
    rates = [float(hits[rows].mean()) for rows in cells]
    return min(rates), sum(rates) / len(rates)

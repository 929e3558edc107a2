"""How well every member of a cohort does on the selection split: hard interchange-intervention accuracy."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from commutes.alignment import Alignment
from commutes.counterfactuals import Counterfactuals
from commutes.evaluation import cell_rows, hits, is_gated
from commutes.features import orthonormal
from commutes.training._cohort import Cohort, cohort

# Pairs per forward and member, where the network is small enough for so many.
_CHUNK = 2048

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
        self.pairs = list(pairs)
        self.chunk = min(_CHUNK, *(alignment.network.chunk for alignment in alignments))
        self.rows: list[list[np.ndarray]] = []
        for one in pairs:
            cells = [rows for *_, rows in cell_rows(one) if len(rows)]
            # A cell of a few pairs is no ground for a choice, unless there is no other.
            self.rows.append([rows for rows in cells if is_gated(one, rows)] or cells)

    def scores(self, raws: Sequence[torch.Tensor], starts: int) -> np.ndarray:
        """Worst cell and mean over cells, per member.  # shape: (members, 2)

        Members are chosen by the sum of the two: the worst is what is claimed, the mean tells ties apart.
        """
        bases = [orthonormal(raw) for raw in raws]
        longest = max(len(p) for p in self.pairs)
        found: list[list[np.ndarray]] = [[] for _ in range(len(self.pairs) * starts)]
        with torch.no_grad():
            for begin in range(0, longest, self.chunk):
                # Claims may have different numbers of pairs: a short one repeats its last, and the rest is cut off.
                rows = [torch.arange(begin, begin + self.chunk).clamp(max=len(p) - 1) for p in self.pairs]
                size = min(self.chunk, longest - begin)
                rows = [r[:size] for r in rows]
                logits = self.cohort.logits(bases, rows, starts)
                for member in range(len(found)):
                    targets = self.cohort.members[member // starts].targets[rows[member // starts]]
                    found[member].append(hits(logits[member], targets).cpu().numpy())
        return np.array([self._score(member // starts, np.concatenate(h)) for member, h in enumerate(found)])

    def _score(self, claim: int, hits: np.ndarray) -> tuple[float, float]:
        rates = [float(hits[: len(self.pairs[claim])][rows].mean()) for rows in self.rows[claim]]
        return min(rates), sum(rates) / len(rates)

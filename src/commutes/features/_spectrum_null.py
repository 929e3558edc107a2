"""How many dimensions a contrast has: its spectrum against that of shuffled labels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from commutes.errors import FitError
from commutes.features._contrast import Contrast, contrast
from commutes.features._moments import moments
from commutes.features._spectra import Map


@dataclass(frozen=True, eq=False)
class ChosenSize:
    """The number of dimensions that a spectrum suggests, and what it was seen beside."""

    k: int
    """0 where no eigenvalue exceeds its null: nothing at this site goes with the variable alone."""
    values: torch.Tensor
    """The eigenvalues of the contrast, falling.  # shape: (d,)"""
    null: torch.Tensor
    """Those of each draw.  # shape: (draws, d)"""

    @property
    def above(self) -> int:
        """How many leading eigenvalues exceed the largest of their null."""
        exceeds = self.values > self.null.max(dim=0).values
        return int(exceeds.long().cumprod(dim=0).sum())


def null_spectrum(
    flips: torch.Tensor,
    holds: torch.Tensor,
    *,
    labels: np.ndarray | None = None,
    draws: int = 20,
    seed: int,
    map: Map = "oblique",
    ridge: float | None = None,
) -> torch.Tensor:
    """Eigenvalues of the contrast when which pairs changed the variable is shuffled.

    Args:
        flips: Differences over controlled pairs.  # shape: (n, ..., d)
        holds: Differences over pairs that hold the variable.  # shape: (m, ..., d)
        labels: The transition of each controlled pair, where there are several.  # shape: (n,)
        draws: Shuffles.
        seed: Of the shuffles.
        map: As for `contrast`.
        ridge: As for `contrast`.

    Returns:
        Shape (draws, d), falling in each row.

    Raises:
        FitError: As `contrast`, or no draws.
    """
    if isinstance(draws, bool) or not isinstance(draws, int) or draws < 1:
        raise FitError("draws is a count", got=repr(draws), expected="a whole number from 1")
    together = torch.cat([flips.detach(), holds.detach()])
    rows = []
    for draw in range(draws):
        order = torch.from_numpy(np.random.default_rng([seed, draw]).permutation(len(together)))
        mixed = together[order.to(together.device)]
        rows.append(_values(mixed[: len(flips)], mixed[len(flips) :], labels, map, ridge).values)
    return torch.stack(rows)


def choose_size(
    flips: torch.Tensor,
    holds: torch.Tensor,
    *,
    labels: np.ndarray | None = None,
    draws: int = 20,
    seed: int,
    map: Map = "oblique",
    ridge: float | None = None,
) -> ChosenSize:
    """The k at which the spectrum, in multiples of the mean of its null, falls by the largest factor on its way to 1.

    Only leading eigenvalues above everything that the null reached at their rank are candidates. Nothing in the library
    goes by it: where more changes with the variable than what carries it, it can say far too many, and
    `commutes.training.smallest_size` lets the selection split decide.

    The pairs that hold the variable should be of the kind nuisance="all": flips move the variable's own ancestors too,
    and unless S0 knows of those they are counted with the variable.

    Args and errors as for `null_spectrum`.
    """
    found = _values(flips, holds, labels, map, ridge)
    null = null_spectrum(flips, holds, labels=labels, draws=draws, seed=seed, map=map, ridge=ridge)
    chosen = ChosenSize(0, found.values, null)
    # Below its null an eigenvalue says nothing, and none of them falls further: a scatter without full rank has zeros.
    ratio = (found.values / null.mean(dim=0).clamp(min=torch.finfo(null.dtype).tiny)).clamp(min=1).log()
    falls = ratio[:-1] - ratio[1:]
    candidates = min(chosen.above, len(falls))
    if not candidates:
        return ChosenSize(chosen.above, found.values, null)
    return ChosenSize(int(falls[:candidates].argmax()) + 1, found.values, null)


def _values(
    flips: torch.Tensor, holds: torch.Tensor, labels: np.ndarray | None, map: Map, ridge: float | None
) -> Contrast:
    return contrast(moments(flips, labels), moments(holds), map=map, ridge=ridge)

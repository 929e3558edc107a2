"""The lowest of several rates, with the bounds of the minimum: how a claim that must hold everywhere is gated."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np

from commutes.robustness._case import ALPHA
from commutes.stats import Rate, rate

Key = TypeVar("Key", bound=Hashable)
Cells = Mapping[Key, tuple[np.ndarray, np.ndarray]]
"""By key, the hits of each pair and the inputs of each pair.  # shapes: (n,), (n, members)"""


@dataclass(frozen=True)
class Lowest(Generic[Key]):
    """The cell with the lowest rate."""

    key: Key
    rate: Rate
    lower: float
    """Minimum over the cells of their lower bounds at .05."""
    upper: float
    """Minimum over the cells of their upper bounds at .05 over their number."""
    cells: int


def lowest(cells: Cells[Key], *, census: bool, family: int = 1) -> Lowest[Key]:
    """The lowest of at least one rate.

    Args:
        cells: What is rated.
        census: Whether the pairs are all there are.
        family: How many such minima are looked at together, any of which may refute.
    """
    rates = {key: rate(hits, members, census=census) for key, (hits, members) in cells.items()}
    key = min(rates, key=lambda k: (rates[k].rate, rates[k].lower))
    return Lowest(
        key,
        rates[key],
        min(found.lower for found in rates.values()),
        upper_of_lowest(cells, census=census, alpha=ALPHA / family),
        len(cells),
    )


def upper_of_lowest(cells: Cells[Key], *, census: bool, alpha: float) -> float:
    """Upper bound of the minimum: the lowest of the cells' upper bounds at `alpha` over their number."""
    share = alpha / len(cells)
    return min(rate(hits, members, census=census, alpha=share).upper for hits, members in cells.values())

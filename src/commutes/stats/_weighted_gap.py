"""The weighted gap between two outcomes of the same pairs."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from commutes.errors import StatisticsError
from commutes.stats._checks import checked_hits, checked_members
from commutes.stats._intervals import Interval
from commutes.stats._weighted import weighted_share

__all__ = ["weighted_gap"]


def weighted_gap(
    first: npt.ArrayLike,
    second: npt.ArrayLike,
    weights: npt.ArrayLike,
    cells: npt.ArrayLike,
    members: npt.ArrayLike | None = None,
    *,
    census: bool = False,
    level: float = 0.95,
    alpha: float = 0.05,
) -> Interval:
    """sum_d w_d (h_d - g_d) / sum_d w_d, where every pair d has both outcomes h and g.

    The 2n outcomes h_1 ... h_n, 1 - g_1 ... 1 - g_n have the weighted share (1 + gap) / 2 of hits. Its interval takes
    the two outcomes of a pair as sharing all of their inputs, and so allows for whatever the two have to do with each
    other: claims of which one is right where the other is wrong have a wider interval than independent ones.

    Args:
        first: Whether each pair came out as expected.  # shape: (n,)
        second: What is taken from it, of the same pairs.  # shape: (n,)
        weights: Of each pair, not negative; only their proportions matter.  # shape: (n,)
        cells: The cell of each pair, from 0, as in `weighted_share`.  # shape: (n,)
        members: Ids of the pair's inputs, base and sources, -1 where absent; None: disjoint.  # shape: (n, m)
        census: The pairs are all there are: the gap is exact and has no interval.
        level: Coverage of the two-sided interval.
        alpha: Error rate of each one-sided bound.

    Raises:
        StatisticsError: the two are not of the same pairs, or as `weighted_share`.

    See The formation of risk sharing networks (Fafchamps and Gubert, 2007).

    >>> print(weighted_gap([True] * 48 + [False] * 2, [True] * 26 + [False] * 24, [1] * 50, [0] * 50))
    .440 [.245, .601], n = 50
    """
    one, other = checked_hits(first), checked_hits(second)
    n = len(one)
    if len(other) != n:
        raise StatisticsError(
            "a weighted gap is between two outcomes of the same pairs",
            got=f"{n:,} and {len(other):,} pairs",
            expected="as many of both",
        )
    weight, cell = np.asarray(weights, dtype=np.float64), np.asarray(cells, dtype=np.int64)
    shared = np.arange(n)[:, None] if members is None else checked_members(members, n)
    both = weighted_share(
        np.concatenate([one, ~other]),
        np.concatenate([weight, weight]),
        # What each of the two reaches in a cell is a rate of its own.
        np.concatenate([2 * cell, 2 * cell + 1]),
        np.concatenate([shared, shared]),
        census=census,
        level=level,
        alpha=alpha,
    )
    value, low, high, lower, upper = (
        2 * share - 1 for share in (both.value, both.low, both.high, both.lower, both.upper)
    )
    return Interval(value, low, high, lower, upper, n)

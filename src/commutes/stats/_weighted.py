"""The weighted share of hits where pairs were drawn in cells of fixed sizes."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from commutes.errors import StatisticsError
from commutes.stats._binomial import score_bound, t_quantile
from commutes.stats._checks import (
    BoolArray,
    FloatArray,
    IntArray,
    checked_alpha,
    checked_hits,
    checked_level,
    checked_members,
)
from commutes.stats._dyadic import Sharing
from commutes.stats._intervals import Interval

__all__ = ["weighted_share"]


def weighted_share(
    hits: npt.ArrayLike,
    weights: npt.ArrayLike,
    cells: npt.ArrayLike,
    members: npt.ArrayLike | None = None,
    *,
    census: bool = False,
    level: float = 0.95,
    alpha: float = 0.05,
) -> Interval:
    """sum_d w_d h_d / sum_d w_d for pairs that were drawn in cells: how many are in each is no accident.

    The variance is sum w_d w_e r_d r_e over all (d, e) that share an input, r the residuals about the rate of
    the cell (about the whole where a pair is alone in its cell). The interval is the score interval for
    n_eff = p (1 - p) / V pairs, n_eff at most 1 / sum w^2: cells without a miss are no certainty.

    Args:
        hits: Whether each pair came out as expected.  # shape: (n,)
        weights: Of each pair, not negative; only their proportions matter.  # shape: (n,)
        cells: The cell of each pair, from 0.  # shape: (n,)
        members: Ids of the pair's inputs, -1 where absent; None: disjoint.  # shape: (n, m)
        census: The pairs are all there are: the share is exact and has no interval.
        level: Coverage of the two-sided interval.
        alpha: Error rate of each one-sided bound.

    Raises:
        StatisticsError: the lengths differ, a weight is negative or none is positive, or as `rate`.

    See The formation of risk sharing networks (Fafchamps and Gubert, 2007); Survey Sampling (Kish, 1965).

    >>> print(weighted_share([True] * 30 + [False] * 10, [1] * 40, [0] * 20 + [1] * 20))
    .750 [.593, .861], n = 40
    """
    level, alpha = checked_level(level), checked_alpha(alpha)
    array, share, cell = _checked(hits, weights, cells)
    n = len(array)
    value = float((share * array).sum() / share.sum())
    share = share / share.sum()
    if census:
        return Interval(value, value, value, value, value, n)
    sharing = None if members is None else Sharing.of(checked_members(members, n))
    if sharing is not None and sharing.disjoint:
        sharing = None
    cover = n if sharing is None else sharing.cover
    most = float(1 / (share**2).sum())
    units = min(cover, most)
    if units < 2:
        return Interval(value, 0.0, 1.0, 0.0, 1.0, n)
    there = array[share > 0]
    effective = min(most, float(cover * (1 + min(there.sum(), (~there).sum()))))
    variance = _variance(array, share, cell, value, sharing)
    if variance > 0:
        effective = min(effective, value * (1 - value) / variance)

    def ends(probability: float) -> tuple[float, float]:
        quantile = t_quantile(probability, units - 1)
        low = float(score_bound(value, effective, quantile)) if value > 0 else 0.0
        return low, float(score_bound(value, effective, -quantile)) if value < 1 else 1.0

    return Interval(value, *ends(0.5 + level / 2), *ends(1 - alpha), n)


def _checked(
    hits: npt.ArrayLike, weights: npt.ArrayLike, cells: npt.ArrayLike
) -> tuple[BoolArray, FloatArray, IntArray]:
    array = checked_hits(hits)
    share, cell = np.asarray(weights, dtype=np.float64), np.asarray(cells, dtype=np.int64)
    if share.shape != array.shape or cell.shape != array.shape:
        raise StatisticsError(
            "hits, weights and cells differ in length",
            got=f"{len(array)} hits, weights of shape {share.shape}, cells of shape {cell.shape}",
            expected="one weight and one cell per hit",
            fix="select the same rows of all three",
        )
    if not (share >= 0).all() or not np.isfinite(share.sum()) or not share.sum() > 0:
        raise StatisticsError(
            "weights are shares of a distribution",
            got=f"{int((~(share >= 0)).sum())} of {len(share)} negative or no number, sum {share.sum():g}",
            expected="finite weights of 0 or more, at least one of them positive",
            fix="leave the share out where a cell that has weight was not measured",
        )
    return array, share, cell


def _variance(
    hits: BoolArray, share: FloatArray, cell: IntArray, value: float, sharing: Sharing | None
) -> float:
    size = np.bincount(cell)[cell]
    of_cell, hit = np.bincount(cell, weights=share), np.bincount(cell, weights=share * hits)
    rate = np.divide(hit, of_cell, out=np.zeros_like(hit), where=of_cell > 0)[cell]
    alone = size == 1
    # Residuals about a cell's own rate are too small by one unit in its size; a lone pair has none of its own.
    scale = np.sqrt(size / np.maximum(size - 1, 1))
    residuals = share * np.where(alone, hits - value, (hits - rate) * scale)
    if sharing is None:
        return float(residuals @ residuals)
    return sharing.cover / (sharing.cover - 1) * float(residuals @ sharing.sums(residuals))

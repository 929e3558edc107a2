"""The mean of one number per pair, with bounds that respect shared inputs."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from commutes.errors import StatisticsError
from commutes.stats._binomial import t_quantile
from commutes.stats._checks import checked_alpha, checked_level, checked_members
from commutes.stats._dyadic import Sharing
from commutes.stats._intervals import Interval

__all__ = ["mean_of_pairs"]


def mean_of_pairs(
    values: npt.ArrayLike,
    members: npt.ArrayLike | None = None,
    *,
    level: float = 0.95,
    alpha: float = 0.05,
) -> Interval:
    """mean ± t sqrt(V) of one number per pair, V the dyadic-robust variance and at least that of disjoint pairs.

    t has cover - 1 degrees of freedom, where cover is how many inputs it takes to touch every pair.

    Args:
        values: Finite numbers.  # shape: (n,)
        members: Ids of the pair's inputs, -1 where absent; None: all disjoint.  # shape: (n, m)
        level: Coverage of the two-sided interval.
        alpha: Error rate of each one-sided bound.

    Raises:
        StatisticsError: A value that is not finite, or members of another length.

    See Cluster-robust variance estimation for dyadic data (Aronow, Samii and Assenova, 2015), arXiv 1312.3398.

    >>> print(mean_of_pairs([1.0, 2.0, 3.0, 4.0]))
    2.500 [.446, 4.554], n = 4
    """
    level, alpha = checked_level(level), checked_alpha(alpha)
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 1 or not np.isfinite(array).all():
        raise StatisticsError(
            "a mean over pairs takes one finite number per pair",
            got=f"shape {array.shape}, {int((~np.isfinite(array)).sum())} values that are not finite",
            expected="shape (n,), every value finite",
            fix="say beside the mean which pairs have no number; never average them in",
        )
    n = len(array)
    mean = float(array.mean()) if n else math.nan
    sharing = None if members is None else Sharing.of(checked_members(members, n))
    cover = n if sharing is None or sharing.disjoint else sharing.cover
    if cover < 2:
        return Interval(mean, -math.inf, math.inf, -math.inf, math.inf, n)
    residuals = array - mean
    # Among pairs that share inputs the estimate may come out small, or negative.
    shared = 0.0 if sharing is None else float(residuals @ sharing.sums(residuals))
    error = math.sqrt(max(shared, float(residuals @ residuals)) * cover / (cover - 1)) / n
    two, one = t_quantile(0.5 + level / 2, cover - 1) * error, t_quantile(1 - alpha, cover - 1) * error
    return Interval(mean, mean - two, mean + two, mean - one, mean + one, n)

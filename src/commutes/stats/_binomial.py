"""Bounds of a share: Wilson's score interval, Clopper and Pearson's exact bounds, quantiles of t."""

from __future__ import annotations

import math
from typing import overload

import numpy as np

from commutes.stats._checks import FloatArray, checked_alpha, checked_count, checked_level

__all__ = ["clopper_pearson", "normal_quantile", "score_bound", "t_quantile", "wilson"]


def normal_quantile(probability: float) -> float:
    """The quantile of the standard normal distribution."""
    from scipy.special import ndtri

    return float(ndtri(probability))


def t_quantile(probability: float, df: float) -> float:
    """The quantile of Student's t; infinite, with its sign, where there are no degrees of freedom."""
    from scipy.special import stdtrit

    if df <= 0:
        return math.copysign(math.inf, probability - 0.5)
    return float(stdtrit(df, probability))


@overload
def score_bound(share: float, n: float, quantile: float) -> float: ...
@overload
def score_bound(share: FloatArray, n: FloatArray, quantile: float) -> FloatArray: ...
def score_bound(share: float | FloatArray, n: float | FloatArray, quantile: float) -> float | FloatArray:
    """The root L of (share - L)^2 = quantile^2 L (1 - L) / n below `share`; above if `quantile` is negative.

    Both are Wilson's bounds for n independent pairs. The lower one rises with n at a fixed share, because the
    right-hand side falls at every L.
    """
    square = quantile * quantile
    centre = share + square / (2 * n)
    spread = quantile * np.sqrt(share * (1 - share) / n + square / (4 * n * n))
    return np.clip((centre - spread) / (1 + square / n), 0.0, 1.0)


def wilson(hits: float, n: float, *, level: float = 0.95) -> tuple[float, float]:
    """Wilson's two-sided interval of a share of `hits` among `n` independent pairs; (0, 1) where n is 0.

    Raises:
        StatisticsError: n is negative, hits are not among n, or level is outside (0, 1).

    See Probable inference, the law of succession, and statistical inference (Wilson, 1927).

    >>> tuple(round(bound, 3) for bound in wilson(9, 10))
    (0.596, 0.982)
    """
    checked_count(hits, n)
    quantile = normal_quantile(0.5 + checked_level(level) / 2)
    if n == 0:
        return 0.0, 1.0
    low = float(score_bound(hits / n, n, quantile)) if hits > 0 else 0.0
    high = float(score_bound(hits / n, n, -quantile)) if hits < n else 1.0
    return low, high


def clopper_pearson(hits: float, n: float, *, alpha: float = 0.05) -> tuple[float, float]:
    """Two exact one-sided bounds, each at error rate `alpha`, for `hits` among `n` independent pairs.

    The lower bound is the share under which `hits` or more have probability alpha; (0, 1) where n is 0.

    Raises:
        StatisticsError: n is negative, hits are not among n, or alpha is outside (0, .5).

    See The use of confidence or fiducial limits illustrated in the case of the binomial (Clopper and Pearson,
    1934).

    >>> tuple(round(bound, 4) for bound in clopper_pearson(59, 59))
    (0.9505, 1.0)
    """
    from scipy.special import betaincinv

    checked_count(hits, n)
    alpha = checked_alpha(alpha)
    lower = float(betaincinv(hits, n - hits + 1, alpha)) if hits > 0 else 0.0
    upper = float(betaincinv(hits + 1, n - hits, 1 - alpha)) if hits < n else 1.0
    return lower, upper

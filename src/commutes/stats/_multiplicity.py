"""Asking more than once: Holm's correction, and p-values from random draws."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from commutes.errors import StatisticsError
from commutes.stats._checks import FloatArray, checked_count

__all__ = ["holm", "monte_carlo_p"]


def holm(pvalues: npt.ArrayLike) -> FloatArray:
    """Holm's adjusted p-values, in the order given: reject where one is at most alpha.

    The k-th smallest of m becomes the largest of (m - i + 1) p_(i) over i <= k, at most 1.

    Raises:
        StatisticsError: a p-value is nan or outside [0, 1].

    See A simple sequentially rejective multiple test procedure (Holm, 1979).

    >>> holm([0.04, 0.01, 0.03]).tolist()
    [0.06, 0.03, 0.06]
    """
    array = np.asarray(pvalues, dtype=np.float64)
    if array.ndim != 1 or not ((array >= 0) & (array <= 1)).all():
        raise StatisticsError(
            "Holm's correction takes one p-value per question",
            got=f"shape {array.shape}, values {array.tolist()}",
            expected="shape (m,), every value from 0 to 1",
            fix="leave out the checks that did not run",
        )
    order = np.argsort(array, kind="stable")
    steps = np.arange(len(array), 0, -1) * array[order]
    adjusted = np.empty_like(array)
    adjusted[order] = np.minimum(np.maximum.accumulate(steps), 1.0)
    return adjusted


def monte_carlo_p(hits: int, draws: int) -> float:
    """(1 + hits) / (1 + draws), where `hits` of `draws` under the null are at least as extreme; never 0.

    Raises:
        StatisticsError: draws is negative, or hits are not among the draws.

    See Permutation p-values should never be zero (Phipson and Smyth, 2010), arXiv 1603.05766.

    >>> monte_carlo_p(0, 99)
    0.01
    """
    checked_count(hits, draws)
    return (1 + hits) / (1 + draws)

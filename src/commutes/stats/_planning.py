"""How many disjoint pairs a gate needs."""

from __future__ import annotations

import math

import numpy as np

from commutes.errors import StatisticsError
from commutes.stats._binomial import normal_quantile
from commutes.stats._checks import BoolArray, IntArray, checked_alpha, checked_share

__all__ = ["pairs_to_pass"]

# Beyond this nobody runs pairs, and the counts still fit where they are scanned.
_MOST = 10**7
_LARGEST_CHUNK = 1 << 16


def pairs_to_pass(
    target: float, truth: float = 1.0, *, alpha: float = 0.05, power: float = 0.8
) -> int | None:
    """The fewest disjoint pairs with which a gate at `target` is decided with probability `power`.

    For truth above target: supported, the exact lower bound clears the target. For truth below: refuted, the
    exact upper bound misses it. With `truth` the rate that was observed this is the n that stands beside
    "inconclusive". Where inputs recur more are needed.

    Args:
        target: The gate, strictly between 0 and 1.
        truth: The rate that is supposed.
        alpha: Error rate of the bound.
        power: Probability of the decision, strictly between 0 and 1.

    Returns:
        The number of pairs; None where truth and target are equal, or so close that 10^7 pairs do not decide.

    Raises:
        StatisticsError: a share is out of range.

    >>> pairs_to_pass(0.95), pairs_to_pass(0.90, 0.95), pairs_to_pass(0.90, 0.90)
    (59, 179, None)
    """
    alpha, truth = checked_alpha(alpha), checked_share("truth", truth)
    for name, value in (("target", target), ("power", power)):
        if checked_share(name, value) in (0.0, 1.0):
            raise StatisticsError(
                f"no sample reaches a {name} of {value:g}",
                got=f"{name} = {value!r}",
                expected="a number above 0 and below 1",
                fix="lower it, or run the complete domain: a census is gated on its value",
            )
    refute = truth < target
    if refute:
        # Hits and misses change places: a refutation is support for the share of misses.
        target, truth = 1 - target, 1 - truth
    if truth - target < 1e-12:
        return None
    unbroken = math.log(alpha) / math.log(target)
    # A bound that lies on the target supports but does not refute.
    fewest = math.floor(unbroken + 1e-9) + 1 if refute else math.ceil(unbroken - 1e-9)
    if truth == 1:
        return fewest
    spread = target * (1 - target), truth * (1 - truth)
    quantiles = normal_quantile(1 - alpha), normal_quantile(power)
    about = ((quantiles[0] * spread[0] ** 0.5 + quantiles[1] * spread[1] ** 0.5) / (truth - target)) ** 2
    if about > _MOST:
        return None
    # The power climbs in teeth about sqrt(n / (p (1 - p))) wide; the scan starts several teeth early.
    start = fewest if about < 20_000 else max(fewest, int(about - 6 * math.sqrt(about / min(spread))))
    chunk = 1 << 10
    while start <= 2 * _MOST:
        n = np.arange(start, start + chunk, dtype=np.int64)
        passed = np.flatnonzero(_passes(n, target, truth, alpha, power))
        if passed.size:
            return int(n[passed[0]])
        start, chunk = start + chunk, min(2 * chunk, _LARGEST_CHUNK)
    return None


def _passes(n: IntArray, target: float, truth: float, alpha: float, power: float) -> BoolArray:
    """Whether the exact lower bound reaches `target` with probability `power`, for each number of pairs."""
    from scipy.special import bdtr, bdtrc, bdtrik

    # The bound reaches the target from the fewest hits of probability at most alpha under it: one above k.
    k = np.ceil(bdtrik(1 - alpha, n, target))
    k = np.where((k > 0) & (bdtr(k - 1, n, target) >= 1 - alpha), k - 1, k)
    return (k < n) & (bdtrc(np.minimum(k, n), n, truth) >= power)

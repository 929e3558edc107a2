"""Intervals that are not of one rate: the mean of a few seeds, and the gap between two quantities."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from commutes.errors import StatisticsError
from commutes.stats._binomial import t_quantile
from commutes.stats._checks import checked_alpha, checked_hits, checked_level
from commutes.stats._rate import Rate, rate, show

__all__ = ["Interval", "gap", "mean_interval", "paired_gap"]


@dataclass(frozen=True)
class Interval:
    """A number with the two-sided interval that is displayed and the two one-sided bounds that gates take."""

    value: float
    """The estimate; nan where n is 0."""
    low: float
    high: float
    lower: float
    upper: float
    n: int
    """What the estimate rests on: seeds for a mean, the smaller number of pairs or seeds for a gap."""

    def __str__(self) -> str:
        return f"{show(self.value)} [{show(self.low)}, {show(self.high)}], n = {self.n:,}"

    def as_dict(self) -> dict[str, Any]:
        """Plain values for a record; None for what is not a finite number."""
        return {
            name: None if isinstance(value, float) and not math.isfinite(value) else value
            for name, value in asdict(self).items()
        }

    @classmethod
    def from_dict(cls, record: Mapping[str, Any]) -> Interval:
        """The inverse of `as_dict`: a missing value is nan, a missing bound infinite."""
        unknown = {
            "value": math.nan,
            "low": -math.inf,
            "high": math.inf,
            "lower": -math.inf,
            "upper": math.inf,
        }
        return cls(
            n=int(record["n"]),
            **{
                name: other if record[name] is None else float(record[name])
                for name, other in unknown.items()
            },
        )


def mean_interval(
    values: npt.ArrayLike,
    *,
    level: float = 0.95,
    alpha: float = 0.05,
    limits: tuple[float, float] = (-math.inf, math.inf),
) -> Interval:
    """mean ± t s / sqrt(n) for a few independent seeds, kept within `limits`.

    One value has no spread to judge by: its bounds are the limits. The spread is that of the values alone;
    values that are equal by accident give an interval of no width, so the number of seeds stands beside it.

    Args:
        values: One number per seed.  # shape: (n,)
        level: Coverage of the two-sided interval.
        alpha: Error rate of each one-sided bound.
        limits: The range of the quantity, (0, 1) for rates.

    Raises:
        StatisticsError: values are not one finite number per seed, or level or alpha is out of range.

    >>> print(mean_interval([0.50, 0.52, 0.54], limits=(0, 1)))
    .520 [.470, .570], n = 3
    """
    level, alpha = checked_level(level), checked_alpha(alpha)
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 1 or not np.isfinite(array).all():
        raise StatisticsError(
            "a mean takes one finite number per seed",
            got=f"shape {array.shape}, {int((~np.isfinite(array)).sum())} values that are not finite",
            expected="shape (n,), every value finite",
            fix="say beside the mean how many seeds failed; never average them in",
        )
    n = len(array)
    bottom, top = float(limits[0]), float(limits[1])
    mean = float(array.mean()) if n else math.nan
    if n < 2:
        return Interval(mean, bottom, top, bottom, top, n)
    error = float(array.std(ddof=1)) / math.sqrt(n)
    two, one = t_quantile(0.5 + level / 2, n - 1) * error, t_quantile(1 - alpha, n - 1) * error
    return Interval(
        mean, max(mean - two, bottom), min(mean + two, top), max(mean - one, bottom), min(mean + one, top), n
    )


def gap(first: Rate | Interval, second: Rate | Interval) -> Interval:
    """first - second, its bounds recovered from theirs: (a - b) - sqrt((a - l_a)^2 + (u_b - b)^2), and above.

    The two must be independent (other inputs, or other fits); for quantities that rise together it is too
    wide. The two-sided ends come from the two-sided ends, the one-sided bounds from the one-sided bounds, so
    each keeps the level that its parts have.

    Args:
        first: A rate, or a mean of seeds.
        second: What is taken from it.

    See Interval estimation for the difference between independent proportions (Newcombe, 1998); Construction
    of confidence limits about effect measures: a general approach (Zou and Donner, 2008).

    >>> from commutes.stats import rate
    >>> print(gap(rate([True] * 48 + [False] * 2), rate([True] * 26 + [False] * 24)))
    .440 [.278, .578], n = 50
    """
    a, b = _value(first), _value(second)
    low, high = _recovered(a, b, (first.low, first.high), (second.low, second.high))
    lower, upper = _recovered(a, b, (first.lower, first.upper), (second.lower, second.upper))
    return Interval(a - b, low, high, lower, upper, min(first.n, second.n))


def paired_gap(
    first: npt.ArrayLike,
    second: npt.ArrayLike,
    members: npt.ArrayLike | None = None,
    *,
    census: bool = False,
    level: float = 0.95,
    alpha: float = 0.05,
) -> Interval:
    """first - second over the same pairs: the share that only the first has, minus the share that only the second has.

    Each of the two shares gets half of the error, so that the bounds hold however the two depend on one another.

    Args:
        first: Whether each pair came out so.  # shape: (n,)
        second: What is taken from it, of the same pairs.  # shape: (n,)
        members: Ids of the pairs' inputs, -1 where absent; None: disjoint.  # shape: (n, m)
        census: The pairs are all there are.
        level: Coverage of the two-sided interval.
        alpha: Error rate of each one-sided bound.

    Raises:
        StatisticsError: as `rate`, or the two are not of the same pairs.

    >>> print(paired_gap([True] * 50, [True] * 40 + [False] * 10))
    .200 [.012, .351], n = 50
    """
    one, other = checked_hits(first), checked_hits(second)
    if len(one) != len(other):
        raise StatisticsError(
            "a paired gap is between two outcomes of the same pairs",
            got=f"{len(one):,} and {len(other):,} pairs",
            expected="as many of both",
        )
    level, alpha = checked_level(level), checked_alpha(alpha)
    only, instead = (
        rate(hits, members, census=census, level=(1 + level) / 2, alpha=alpha / 2)
        for hits in (one & ~other, other & ~one)
    )
    return Interval(
        only.rate - instead.rate,
        only.low - instead.high,
        only.high - instead.low,
        only.lower - instead.upper,
        only.upper - instead.lower,
        len(one),
    )


def _value(quantity: Rate | Interval) -> float:
    return quantity.rate if isinstance(quantity, Rate) else quantity.value


def _recovered(
    a: float, b: float, ends_a: tuple[float, float], ends_b: tuple[float, float]
) -> tuple[float, float]:
    if math.isnan(a) or math.isnan(b):
        # Without an estimate there is only the range of what is possible.
        return ends_a[0] - ends_b[1], ends_a[1] - ends_b[0]
    below = math.hypot(a - ends_a[0], ends_b[1] - b)
    above = math.hypot(ends_a[1] - a, b - ends_b[0])
    return a - b - below, a - b + above

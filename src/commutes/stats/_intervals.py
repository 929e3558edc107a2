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
from commutes.stats._checks import checked_alpha, checked_level
from commutes.stats._rate import Rate, show

__all__ = ["Interval", "gap", "mean_interval"]


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

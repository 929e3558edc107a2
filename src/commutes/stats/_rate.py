"""A rate with its n, its interval and its bounds."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy.typing as npt

from commutes.stats._binomial import clopper_pearson, wilson
from commutes.stats._checks import BoolArray, checked_alpha, checked_hits, checked_level, checked_members
from commutes.stats._dyadic import Sharing, dyadic_bound, dyadic_interval

__all__ = ["Rate", "lower_bound", "rate", "show", "upper_bound"]

Method = Literal["disjoint", "dyadic", "census", "none"]


def show(value: float) -> str:
    """A share in three digits without its leading zero; never rounded up to a certainty.

    >>> show(0.9534), show(0.99996), show(1.0), show(-0.02), show(0.0001)
    ('.953', '>.999', '1.000', '-.020', '<.001')
    """
    if not math.isfinite(value):
        return "n/a" if math.isnan(value) else ("inf" if value > 0 else "-inf")
    if 0.9995 <= value < 1:
        return ">.999"
    if 0 < value < 0.0005:
        return "<.001"
    text = f"{value:.3f}"
    if text == "-0.000":
        text = "0.000"
    return text.replace("0.", ".", 1) if abs(value) < 1 else text


@dataclass(frozen=True)
class Rate:
    """A share of hits, with the interval that is displayed and the two bounds that gates take."""

    hits: int
    n: int
    rate: float
    """hits / n; nan where n is 0."""
    low: float
    """Lower end of the two-sided interval, for display."""
    high: float
    """Upper end of the two-sided interval."""
    lower: float
    """One-sided lower bound, for gates."""
    upper: float
    """One-sided upper bound, for gates."""
    method: Method
    """"disjoint", "dyadic" (inputs recur), "census" (complete domain, exact) or "none" (no pairs)."""
    clusters: int
    """What varies independently: the pairs where they are disjoint, else the distinct inputs."""

    def __str__(self) -> str:
        if self.method == "none":
            return "n/a, n = 0"
        if self.method == "census":
            return f"{show(self.rate)}, n = {self.n:,}, complete domain"
        return f"{show(self.rate)} [{show(self.low)}, {show(self.high)}], n = {self.n:,}"

    def as_dict(self) -> dict[str, Any]:
        """Plain values for a record; None for the rate of no pairs, since JSON has no nan."""
        record = asdict(self)
        if math.isnan(self.rate):
            record["rate"] = None
        return record

    @classmethod
    def from_dict(cls, record: Mapping[str, Any]) -> Rate:
        """The inverse of `as_dict`."""
        values = {name: record[name] for name in cls.__dataclass_fields__}
        if values["rate"] is None:
            values["rate"] = math.nan
        return cls(**values)


def rate(
    hits: npt.ArrayLike,
    members: npt.ArrayLike | None = None,
    *,
    census: bool = False,
    level: float = 0.95,
    alpha: float = 0.05,
) -> Rate:
    """The share of hits, with a two-sided interval at `level` and one-sided bounds at `alpha`.

    Where no input occurs in two pairs: Wilson's interval, Clopper and Pearson's bounds. Where inputs recur:
    dyadic-robust variance, an input being one cluster whatever its role, and bounds that one more miss never
    raises. The interval is for the population that the inputs are drawn from, not for these inputs alone.

    Args:
        hits: Whether each pair came out as expected.  # shape: (n,)
        members: Ids of the pair's inputs, base and sources, -1 where absent; None: disjoint.  # shape: (n, m)
        census: The pairs are all there are: the rate is exact and has no interval.
        level: Coverage of the two-sided interval.
        alpha: Error rate of each one-sided bound.

    Raises:
        StatisticsError: hits are not booleans, members do not match them, or level or alpha is out of range.

    See Cluster-robust variance estimation for dyadic data (Aronow, Samii and Assenova, 2015),
    arXiv 1312.3398.

    >>> print(rate([True] * 19 + [False]))
    .950 [.764, .991], n = 20
    """
    level, alpha = checked_level(level), checked_alpha(alpha)
    array, sharing = _sample(hits, members)
    total, n = int(array.sum()), len(array)
    if n == 0:
        return Rate(0, 0, math.nan, 0.0, 1.0, 0.0, 1.0, "none", 0)
    share = total / n
    clusters = n if sharing is None else sharing.ids
    if census:
        return Rate(total, n, share, share, share, share, share, "census", clusters)
    if sharing is None:
        low, high = wilson(total, n, level=level)
        lower, upper = clopper_pearson(total, n, alpha=alpha)
        return Rate(total, n, share, low, high, lower, upper, "disjoint", clusters)
    low, high = dyadic_interval(array, sharing, level)
    lower = dyadic_bound(array, sharing, alpha)
    upper = 1 - dyadic_bound(~array, sharing, alpha)
    return Rate(total, n, share, low, high, lower, upper, "dyadic", clusters)


def lower_bound(hits: npt.ArrayLike, members: npt.ArrayLike | None = None, *, alpha: float = 0.05) -> float:
    """The one-sided lower bound of `rate` alone: at most `alpha` of samples have one above the truth.

    Args:
        hits: Whether each pair came out as expected.  # shape: (n,)
        members: Ids of the pair's inputs, -1 where absent; None: all disjoint.  # shape: (n, m)
        alpha: Error rate of the bound.

    Raises:
        StatisticsError: as `rate`.

    >>> round(lower_bound([True] * 59), 4)
    0.9505
    """
    alpha = checked_alpha(alpha)
    array, sharing = _sample(hits, members)
    if sharing is None:
        return clopper_pearson(int(array.sum()), len(array), alpha=alpha)[0]
    return dyadic_bound(array, sharing, alpha)


def upper_bound(hits: npt.ArrayLike, members: npt.ArrayLike | None = None, *, alpha: float = 0.05) -> float:
    """The one-sided upper bound of `rate` alone; 1 minus the lower bound of the share of misses.

    Args:
        hits: Whether each pair came out as expected.  # shape: (n,)
        members: Ids of the pair's inputs, -1 where absent; None: all disjoint.  # shape: (n, m)
        alpha: Error rate of the bound.

    Raises:
        StatisticsError: as `rate`.

    >>> round(upper_bound([False] * 59), 4)
    0.0495
    """
    return 1 - lower_bound(~checked_hits(hits), members, alpha=alpha)


def _sample(hits: npt.ArrayLike, members: npt.ArrayLike | None) -> tuple[BoolArray, Sharing | None]:
    """The hits, and who shares inputs with whom; None where nobody does."""
    array = checked_hits(hits)
    if members is None:
        return array, None
    sharing = Sharing.of(checked_members(members, len(array)))
    return array, None if sharing.disjoint else sharing

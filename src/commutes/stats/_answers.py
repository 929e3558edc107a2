"""The five answers of a check, and the gate that gives three of them."""

from __future__ import annotations

import math
from enum import StrEnum
from typing import Literal, Protocol, runtime_checkable

from commutes.errors import StatisticsError

__all__ = ["Answer", "Bounded", "gate"]


class Answer(StrEnum):
    """What a check says about a claim; only the first is a pass."""

    SUPPORTED = "supported"
    """The bound clears the gate."""
    REFUTED = "refuted"
    """The other bound misses the gate."""
    INCONCLUSIVE = "inconclusive"
    """The gate lies between the bounds: more pairs would decide."""
    VACUOUS = "vacuous"
    """The check has no power here."""
    NOT_RUN = "not run"
    """Nothing was measured."""


@runtime_checkable
class Bounded(Protocol):
    """Whatever has a one-sided lower and a one-sided upper bound."""

    @property
    def lower(self) -> float:
        """The one-sided lower bound."""
        ...

    @property
    def upper(self) -> float:
        """The one-sided upper bound."""
        ...


Side = Literal[">=", ">", "<=", "<"]


def gate(bounds: Bounded | tuple[float, float], threshold: float, *, side: Side = ">=") -> Answer:
    """Whether a quantity is `side` `threshold`: supported, refuted or inconclusive, guilty until shown.

    ======  =====================  =====================
    side    supported when         refuted when
    ======  =====================  =====================
    ``>=``  lower >= threshold     upper < threshold
    ``>``   lower > threshold      upper <= threshold
    ``<=``  upper <= threshold     lower > threshold
    ``<``   upper < threshold      lower >= threshold
    ======  =====================  =====================

    A census has both bounds at its value, so it is gated on that value and never inconclusive. A rate of
    no pairs, or a bound that is nan, is inconclusive at every threshold.

    Args:
        bounds: A Rate, an Interval, or the pair (lower, upper).
        threshold: The declared number.
        side: On which side of it the claim lies.

    Raises:
        StatisticsError: bounds are not two numbers, or side is none of the four.

    >>> gate((0.93, 0.97), 0.90), gate((0.01, 0.04), 0.05, side="<")
    (<Answer.SUPPORTED: 'supported'>, <Answer.SUPPORTED: 'supported'>)
    """
    if side not in (">=", ">", "<=", "<"):
        raise StatisticsError(
            "a gate has one of four sides",
            got=f"side = {side!r}",
            expected=">=, >, <= or <",
            fix='write side=">=" for "at least the threshold"',
        )
    lower, upper = _two(bounds)
    if math.isnan(threshold) or math.isnan(lower) or math.isnan(upper) or getattr(bounds, "n", None) == 0:
        return Answer.INCONCLUSIVE
    supported, refuted = {
        ">=": (lower >= threshold, upper < threshold),
        ">": (lower > threshold, upper <= threshold),
        "<=": (upper <= threshold, lower > threshold),
        "<": (upper < threshold, lower >= threshold),
    }[side]
    if supported:
        return Answer.SUPPORTED
    return Answer.REFUTED if refuted else Answer.INCONCLUSIVE


def _two(bounds: Bounded | tuple[float, float]) -> tuple[float, float]:
    if isinstance(bounds, Bounded):
        return float(bounds.lower), float(bounds.upper)
    if isinstance(bounds, tuple) and len(bounds) == 2:
        return float(bounds[0]), float(bounds[1])
    raise StatisticsError(
        "a gate takes bounds, not a bare number",
        got=repr(bounds),
        expected="a Rate, an Interval or (lower, upper)",
        fix="gate the rate with its bounds: gate(rate(hits, members), threshold)",
    )

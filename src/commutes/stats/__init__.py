"""Intervals that respect shared inputs, gates, and the corrections for asking more than once."""

from __future__ import annotations

from commutes.stats._answers import Answer, Bounded, gate
from commutes.stats._binomial import clopper_pearson, wilson
from commutes.stats._dyadic import dyadic_variance
from commutes.stats._rate import Rate, lower_bound, rate, show, upper_bound

__all__ = [
    "Answer",
    "Bounded",
    "Rate",
    "clopper_pearson",
    "dyadic_variance",
    "gate",
    "lower_bound",
    "rate",
    "show",
    "upper_bound",
    "wilson",
]

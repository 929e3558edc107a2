"""Intervals that respect shared inputs, gates, and the corrections for asking more than once."""

from __future__ import annotations

from commutes.stats._answers import Answer, Bounded, gate
from commutes.stats._binomial import clopper_pearson, wilson
from commutes.stats._dyadic import dyadic_variance
from commutes.stats._intervals import Interval, gap, mean_interval, paired_gap
from commutes.stats._means import mean_of_pairs
from commutes.stats._multiplicity import holm, monte_carlo_p
from commutes.stats._planning import pairs_to_pass
from commutes.stats._rate import Rate, lower_bound, rate, show, upper_bound
from commutes.stats._two_samples import Apart, apart
from commutes.stats._weighted import weighted_share
from commutes.stats._weighted_gap import weighted_gap

__all__ = [
    "Answer",
    "Apart",
    "Bounded",
    "Interval",
    "Rate",
    "apart",
    "clopper_pearson",
    "dyadic_variance",
    "gap",
    "gate",
    "holm",
    "lower_bound",
    "mean_interval",
    "mean_of_pairs",
    "monte_carlo_p",
    "paired_gap",
    "pairs_to_pass",
    "rate",
    "show",
    "upper_bound",
    "weighted_gap",
    "weighted_share",
    "wilson",
]

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from scipy.stats import t, ttest_1samp

from commutes.errors import StatisticsError
from commutes.stats import Interval, gap, mean_interval, paired_gap, rate


def test_mean_interval_is_scipys():
    values = [0.51, 0.49, 0.56, 0.50, 0.47]
    result = mean_interval(values)
    two = ttest_1samp(values, 0).confidence_interval(0.95)
    assert (result.value, result.n) == (pytest.approx(np.mean(values)), 5)
    assert (result.low, result.high) == pytest.approx((two.low, two.high))
    half = t.ppf(0.95, 4) * np.std(values, ddof=1) / 5**0.5
    assert (result.lower, result.upper) == pytest.approx((np.mean(values) - half, np.mean(values) + half))


def test_limits_are_kept():
    result = mean_interval([0.90, 1.0], limits=(0, 1))
    assert (result.low, result.high) == (pytest.approx(0.3147, abs=1e-4), 1.0)


@pytest.mark.parametrize("values, mean", [([0.4], 0.4), ([], math.nan)])
def test_one_seed_has_no_spread(values, mean):
    result = mean_interval(values, limits=(0, 1))
    assert result.value == pytest.approx(mean, nan_ok=True)
    assert (result.low, result.high, result.lower, result.upper, result.n) == (0, 1, 0, 1, len(values))
    assert mean_interval(values).lower == -math.inf


@pytest.mark.parametrize(
    "values, got",
    [
        ([0.1, math.nan], "shape (2,), 1 values that are not finite"),
        ([[0.1]], "shape (1, 1), 0 values that are not finite"),
    ],
)
def test_a_missing_seed_is_not_averaged_away(values, got):
    with pytest.raises(StatisticsError) as error:
        mean_interval(values)
    assert str(error.value) == (
        "a mean takes one finite number per seed\n"
        f"  got:      {got}\n"
        "  expected: shape (n,), every value finite\n"
        "  do:       say beside the mean how many seeds failed; never average them in"
    )


def test_gap_is_newcombes():
    # Method 10 of Newcombe (1998), example (a): 56/70 - 48/80 is .2000 with .0524 to .3339.
    a, b = rate([True] * 56 + [False] * 14), rate([True] * 48 + [False] * 32)
    result = gap(a, b)
    assert (result.value, result.low, result.high) == pytest.approx((0.2, 0.0524, 0.3339), abs=1e-4)
    assert str(result) == ".200 [.052, .334], n = 70"


def test_gap_of_bounds_uses_the_bounds():
    a, b = rate([True] * 56 + [False] * 14), rate([True] * 48 + [False] * 32)
    result = gap(a, b)
    assert result.lower == pytest.approx(0.2 - math.hypot(0.8 - a.lower, b.upper - 0.6))
    assert result.upper == pytest.approx(0.2 + math.hypot(a.upper - 0.8, 0.6 - b.lower))


def test_gap_is_antisymmetric():
    a, b = rate([True] * 56 + [False] * 14), mean_interval([0.5, 0.55, 0.6])
    one, other = gap(a, b), gap(b, a)
    assert (one.value, one.low, one.high) == pytest.approx((-other.value, -other.high, -other.low))
    assert (one.lower, one.upper) == pytest.approx((-other.upper, -other.lower))


def test_gap_of_a_rate_and_a_mean_of_refits():
    tested, refits = rate([True] * 970 + [False] * 30), mean_interval([0.5] * 5, limits=(0, 1))
    result = gap(tested, refits)
    assert result.value == pytest.approx(0.47)
    assert result.lower == pytest.approx(tested.lower - 0.5)
    assert result.n == 5


def test_gap_of_two_censuses_is_exact():
    result = gap(rate([True, True], census=True), rate([True, False], census=True))
    assert result == Interval(0.5, 0.5, 0.5, 0.5, 0.5, 2)


def test_gap_to_nothing_is_anything():
    result = gap(rate([True] * 59), rate([]))
    assert math.isnan(result.value)
    assert (result.lower, result.upper) == pytest.approx((rate([True] * 59).lower - 1, 1))


def test_a_paired_gap_is_the_difference_of_the_shares_that_one_alone_has():
    first, second = np.arange(100) < 80, (np.arange(100) >= 10) & (np.arange(100) < 60)
    found = paired_gap(first, second, level=0.9, alpha=0.1)
    only, instead = rate(first & ~second, level=0.95, alpha=0.05), rate([False] * 100, level=0.95, alpha=0.05)
    assert found.value == pytest.approx(first.mean() - second.mean())
    assert (found.lower, found.upper) == (only.lower - instead.upper, only.upper - instead.lower)
    assert (found.low, found.high) == (only.low - instead.high, only.high - instead.low)
    other = paired_gap(second, first, level=0.9, alpha=0.1)
    assert (other.lower, other.upper) == pytest.approx((-found.upper, -found.lower))
    assert paired_gap(first, second, census=True) == Interval(*[pytest.approx(0.3)] * 5, 100)
    with pytest.raises(StatisticsError) as caught:
        paired_gap([True], [True, False])
    assert str(caught.value) == (
        "a paired gap is between two outcomes of the same pairs\n"
        "  got:      1 and 2 pairs\n"
        "  expected: as many of both"
    )


@pytest.mark.parametrize("together", [-1, 0, 1])
def test_a_paired_gap_covers_however_the_two_go_together(together):
    """The inverse beside it: bounds for independent shares are too narrow where the two go against each other."""
    rng = np.random.default_rng(5)
    missed, narrow, n = 0, 0, 400
    for _ in range(300):
        first = rng.random(n) < 0.7
        seconds = {-1: ~first, 0: rng.random(n) < 0.44, 1: first & (rng.random(n) < 0.6)}
        truth = {-1: 0.4, 0: 0.26, 1: 0.28}[together]
        missed += paired_gap(first, seconds[together]).upper < truth
        narrow += gap(rate(first), rate(seconds[together])).upper < truth
    assert missed <= 15 + 9
    assert (narrow > 15 + 9) == (together == -1)


def test_record_goes_through_json_and_back():
    for result in (mean_interval([0.4, 0.5]), mean_interval([0.4], limits=(0, 1)), mean_interval([0.4])):
        assert Interval.from_dict(json.loads(json.dumps(result.as_dict()))) == result
    assert math.isnan(Interval.from_dict(mean_interval([]).as_dict()).value)


def test_coverage_of_the_gap():
    # 59 pairs at .95 against 40 at .60: nominal .05 one-sided, Monte-Carlo error .007 over 1,000 samples.
    rng = np.random.default_rng(0)
    wrong = 0
    for _ in range(1000):
        a, b = rate(rng.random(59) < 0.95), rate(rng.random(40) < 0.60)
        wrong += gap(a, b).lower > 0.35
    assert wrong / 1000 <= 0.05 + 3 * 0.007

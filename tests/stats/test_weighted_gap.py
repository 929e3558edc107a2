from __future__ import annotations

import numpy as np
import pytest

from commutes.errors import StatisticsError
from commutes.stats import gap, rate, weighted_gap, weighted_share


def plain(first, second, **settings):
    n = len(first)
    return weighted_gap(first, second, np.ones(n), np.zeros(n, int), **settings)


def test_the_gap_is_the_difference_of_the_two_weighted_shares():
    rng = np.random.default_rng(0)
    first, second, cells = rng.random(90) < 0.8, rng.random(90) < 0.3, rng.integers(3, size=90)
    weights = rng.random(90)
    found = weighted_gap(first, second, weights, cells)
    shares = [weighted_share(hits, weights, cells).value for hits in (first, second)]
    assert found.value == pytest.approx(shares[0] - shares[1])
    assert found.n == 90
    assert found.low < found.lower < found.value < found.upper < found.high


def test_exchanging_the_two_turns_the_interval_round():
    rng = np.random.default_rng(1)
    first, second, cells = rng.random(60) < 0.7, rng.random(60) < 0.4, rng.integers(2, size=60)
    members = rng.integers(40, size=(60, 2))
    one = weighted_gap(first, second, np.ones(60), cells, members)
    other = weighted_gap(second, first, np.ones(60), cells, members)
    assert (one.value, one.low, one.lower) == pytest.approx((-other.value, -other.high, -other.upper))


@pytest.mark.parametrize(
    ("first", "second", "value"), [([True] * 40, [False] * 40, 1.0), ([True] * 40, [True] * 40, 0.0)]
)
def test_forty_pairs_without_a_surprise_are_no_certainty(first, second, value):
    found = plain(first, second)
    assert found.value == value
    assert found.lower < value - 0.05
    exact = plain(first, second, census=True)
    assert (exact.value, exact.low, exact.high, exact.lower, exact.upper) == (value,) * 5


def test_one_input_behind_every_pair_says_nothing():
    shared = np.zeros((50, 2), int)
    found = plain([True] * 50, [False] * 50, members=shared)
    assert (found.lower, found.upper) == (-1.0, 1.0)


def falsely_above(measure, together, *, draws=300, n=100) -> float:
    """How often a lower bound is above the true gap of .1."""
    rng, above = np.random.default_rng(2), 0
    for _ in range(draws):
        drawn = rng.random(n)
        first = drawn < 0.55
        second = drawn >= 0.55 if together == "one or the other" else rng.random(n) < 0.45
        above += measure(first, second).lower > 0.1
    return above / draws


@pytest.mark.parametrize("together", ["one or the other", "independent"])
def test_a_bound_is_above_the_truth_in_a_twentieth_of_samples_at_most(together):
    assert falsely_above(plain, together) <= 0.08


def test_an_unpaired_gap_is_above_the_truth_too_often_where_one_is_right_when_the_other_is_wrong():
    """Rivals expect opposite answers of a pair: the deliberately wrong variant takes their hits for independent."""
    assert falsely_above(lambda one, other: gap(rate(one), rate(other)), "one or the other") > 0.1


def test_outcomes_of_different_pairs_are_refused():
    with pytest.raises(StatisticsError) as error:
        weighted_gap([True] * 3, [True] * 2, [1] * 3, [0] * 3)
    assert str(error.value) == (
        "a weighted gap is between two outcomes of the same pairs\n"
        "  got:      3 and 2 pairs\n"
        "  expected: as many of both"
    )

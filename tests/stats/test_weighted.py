"""The weighted share: what it equals where it must, that it covers, and what it refuses."""

from __future__ import annotations

import numpy as np
import pytest

from commutes.errors import StatisticsError
from commutes.stats import dyadic_variance, weighted_share, wilson


def test_a_census_is_its_weighted_mean_and_has_no_interval():
    found = weighted_share([True, False, True], [0.5, 0.3, 0.2], [0, 0, 1], census=True)
    assert found.value == pytest.approx(0.7)
    assert found.low == found.high == found.lower == found.upper == found.value


def test_only_proportions_of_weights_matter():
    hits, cells = [True] * 30 + [False] * 10, [0] * 20 + [1] * 20
    one, other = (weighted_share(hits, np.full(40, w), cells) for w in (1.0, 1e-6))
    assert one.value == other.value
    assert one.low == pytest.approx(other.low)


def test_without_a_miss_the_interval_is_that_of_as_many_equal_pairs():
    found = weighted_share([True] * 400, np.r_[np.full(200, 3.0), np.full(200, 1.0)], [0] * 200 + [1] * 200)
    kish = 800**2 / (200 * 9 + 200)
    assert found.value == found.high == 1.0
    # By t with n_eff - 1 degrees of freedom, a little wider than Wilson's.
    assert found.low == pytest.approx(wilson(kish, kish)[0], abs=3e-4)
    assert found.low < wilson(kish, kish)[0]


def test_cells_that_differ_are_no_noise_but_a_cells_own_misses_are():
    rng = np.random.default_rng(0)
    cells = np.repeat([0, 1], 500)
    hits = rng.random(1000) < np.where(cells == 0, 0.9, 0.1)
    found = weighted_share(hits, np.ones(1000), cells)
    variance = (0.9 * 0.1) / 1000
    # The interval stays that of 1,000 independent pairs: a cell may not make it narrower than that.
    assert found.high - found.low == pytest.approx(2 * 1.96 * np.sqrt(0.25 / 1000), rel=0.02)
    assert found.high - found.low > 2 * 1.96 * np.sqrt(variance)


def test_inputs_that_recur_widen_it_as_the_dyadic_variance_says():
    rng = np.random.default_rng(1)
    effect = rng.random(40) < 0.5
    base, source = rng.integers(0, 40, 800), rng.integers(40, 2000, 800)
    hits, members = effect[base], np.stack([base, source], axis=1)
    alone = weighted_share(hits, np.ones(800), np.zeros(800, dtype=int))
    shared = weighted_share(hits, np.ones(800), np.zeros(800, dtype=int), members)
    expected = np.sqrt(dyadic_variance(hits, members) / (hits.mean() * (1 - hits.mean()) / 800))
    assert shared.high - shared.low > 3 * (alone.high - alone.low)
    assert (shared.high - shared.low) / (alone.high - alone.low) == pytest.approx(expected, rel=0.15)


@pytest.mark.parametrize("rates", [(0.95, 0.6), (0.99, 0.99), (0.5, 0.0)])
def test_it_covers(rates):
    rng = np.random.default_rng(2)
    cells = np.repeat([0, 1], [60, 240])
    weights = np.where(cells == 0, 0.8 / 60, 0.2 / 240)
    truth = 0.8 * rates[0] + 0.2 * rates[1]
    covered = 0
    for _ in range(400):
        found = weighted_share(rng.random(300) < np.asarray(rates)[cells], weights, cells)
        covered += found.low <= truth <= found.high
    assert covered >= 0.93 * 400


def test_one_pair_that_weighs_everything_says_nothing():
    found = weighted_share([True, True, False], [1.0, 0.0, 0.0], [0, 1, 1])
    assert (found.value, found.low, found.high) == (1.0, 0.0, 1.0)


@pytest.mark.parametrize("weights, said", [([1.0, -1.0], "1 of 2 negative"), ([0.0, 0.0], "sum 0")])
def test_weights_that_are_none_are_refused(weights, said):
    with pytest.raises(StatisticsError) as error:
        weighted_share([True, False], weights, [0, 0])
    assert "weights are shares of a distribution" in str(error.value)
    assert said in str(error.value)


def test_lengths_must_agree():
    with pytest.raises(StatisticsError, match="hits, weights and cells differ in length"):
        weighted_share([True, False], [1.0], [0, 0])
    with pytest.raises(StatisticsError, match="1 of 2 negative or no number"):
        weighted_share([True, False], [1.0, np.nan], [0, 0])

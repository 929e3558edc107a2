"""Means over pairs that share inputs."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import t

from commutes.errors import StatisticsError
from commutes.stats import dyadic_variance, mean_of_pairs


def test_the_mean_of_disjoint_pairs_is_students():
    values = np.array([1.0, 4.0, 2.0, 8.0, 5.0])
    found = mean_of_pairs(values, np.arange(10).reshape(5, 2))
    error = values.std(ddof=1) / math.sqrt(5)
    assert found.value == 4.0
    assert found.high - 4 == pytest.approx(t.ppf(0.975, 4) * error)
    assert 4 - found.lower == pytest.approx(t.ppf(0.95, 4) * error)


def test_the_mean_of_pairs_that_share_inputs_has_their_variance():
    rng = np.random.default_rng(1)
    base, source = rng.integers(30, size=(2, 200))
    effect = rng.normal(size=30)
    values = effect[base] + effect[source] + 0.1 * rng.normal(size=200)
    members = np.stack([base, source], axis=1)
    found = mean_of_pairs(values, members)
    assert found.high - found.value > 1.5 * (mean_of_pairs(values).high - found.value)
    assert dyadic_variance(values, members) > 2 * values.var() / 200


@settings(max_examples=30, deadline=None)
@given(st.lists(st.floats(-5, 5), min_size=2, max_size=12), st.floats(0.5, 3), st.floats(-4, 4))
def test_means_move_and_stretch_with_their_numbers(values, scale, shift):
    members = np.arange(len(values) * 2).reshape(-1, 2) // 3
    one = mean_of_pairs(values, members)
    other = mean_of_pairs(np.array(values) * scale + shift, members)
    assert other.value == pytest.approx(one.value * scale + shift, abs=1e-9)
    if math.isfinite(one.high):
        assert other.high - other.value == pytest.approx((one.high - one.value) * scale, abs=1e-7)


def test_one_pair_has_a_mean_without_bounds():
    found = mean_of_pairs([2.0])
    assert (found.value, found.lower, found.upper) == (2.0, -math.inf, math.inf)
    assert math.isnan(mean_of_pairs([]).value)


def test_a_number_that_is_not_finite_is_refused():
    with pytest.raises(StatisticsError) as caught:
        mean_of_pairs([1.0, math.nan])
    assert caught.value.what == "a mean over pairs takes one finite number per pair"
    assert caught.value.got == "shape (2,), 1 values that are not finite"

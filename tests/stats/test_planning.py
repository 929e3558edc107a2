from __future__ import annotations

import pytest
from scipy.stats import binom

from commutes.errors import StatisticsError
from commutes.stats import clopper_pearson, pairs_to_pass


def power_to_support(n, target, truth, alpha):
    return sum(
        binom.pmf(hits, n, truth)
        for hits in range(n + 1)
        if clopper_pearson(hits, n, alpha=alpha)[0] >= target
    )


def power_to_refute(n, target, truth, alpha):
    return sum(
        binom.pmf(hits, n, truth)
        for hits in range(n + 1)
        if clopper_pearson(hits, n, alpha=alpha)[1] < target
    )


@pytest.mark.parametrize("target, n", [(0.90, 29), (0.95, 59), (0.99, 299), (0.5, 5)])
def test_without_misses(target, n):
    assert pairs_to_pass(target) == n
    assert clopper_pearson(n, n)[0] >= target > clopper_pearson(n - 1, n - 1)[0]


@pytest.mark.parametrize("target, truth", [(0.9, 0.97), (0.8, 0.95), (0.3, 0.6)])
def test_it_is_the_first_n_with_the_power(target, truth):
    n = pairs_to_pass(target, truth)
    assert n is not None
    first = next(m for m in range(1, 400) if power_to_support(m, target, truth, 0.05) >= 0.8)
    assert n == first


@pytest.mark.parametrize("target, truth", [(0.9, 0.7), (0.5, 0.2), (0.9, 0.0)])
def test_below_the_target_it_is_the_first_n_that_refutes(target, truth):
    first = next(m for m in range(1, 400) if power_to_refute(m, target, truth, 0.02) >= 0.9)
    assert pairs_to_pass(target, truth, alpha=0.02, power=0.9) == first


def test_a_long_scan_ends_where_the_short_one_would():
    # 554,307 was found by a scan that started 20 teeth early.
    assert pairs_to_pass(0.9, 0.901) == 554_307


def test_nothing_decides_between_equals():
    assert pairs_to_pass(0.9, 0.9) is None
    assert pairs_to_pass(0.9, 0.9 + 1e-6) is None


def test_more_power_and_less_error_need_more():
    assert (
        pairs_to_pass(0.9, 0.95, power=0.95) > pairs_to_pass(0.9, 0.95) > pairs_to_pass(0.9, 0.95, alpha=0.2)
    )


@pytest.mark.parametrize("name, value", [("target", 1.0), ("target", 0.0), ("power", 1.0)])
def test_certainty_needs_a_census(name, value):
    with pytest.raises(StatisticsError) as error:
        pairs_to_pass(**{"target": 0.9, name: value})
    assert str(error.value) == (
        f"no sample reaches a {name} of {value:g}\n"
        f"  got:      {name} = {value}\n"
        "  expected: a number above 0 and below 1\n"
        "  do:       lower it, or run the complete domain: a census is gated on its value"
    )


@pytest.mark.parametrize("name", ["target", "truth", "power"])
def test_percentages(name):
    with pytest.raises(StatisticsError) as error:
        pairs_to_pass(**{"target": 0.9, name: 95})
    assert str(error.value) == (
        f"{name} is a share\n"
        f"  got:      {name} = 95\n"
        "  expected: a number from 0 to 1\n"
        "  do:       divide percentages by 100"
    )

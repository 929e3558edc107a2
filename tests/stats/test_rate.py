from __future__ import annotations

import json
import math
import subprocess
import sys

import numpy as np
import pytest

from commutes.errors import StatisticsError
from commutes.stats import Rate, clopper_pearson, lower_bound, rate, show, upper_bound, wilson


def grid(g, *, hits):
    base, source = np.divmod(np.arange(g * g), g)
    return np.asarray(hits), np.stack([base, source + g], axis=1)


def test_disjoint_is_wilson_for_display_and_clopper_pearson_for_gates():
    hits = np.arange(1200) >= 56
    result = rate(hits)
    assert (result.hits, result.n, result.method, result.clusters) == (1144, 1200, "disjoint", 1200)
    assert (result.low, result.high) == wilson(1144, 1200)
    assert (result.lower, result.upper) == clopper_pearson(1144, 1200)
    assert str(result) == ".953 [.940, .964], n = 1,200"


def test_members_that_never_recur_are_disjoint():
    hits = np.arange(40) % 5 > 0
    assert rate(hits, np.arange(80).reshape(40, 2)) == rate(hits)


def test_one_recurring_input_is_enough_for_the_dyadic_method():
    members = np.arange(80).reshape(40, 2)
    members[7, 1] = 0
    result = rate(np.arange(40) % 5 > 0, members)
    assert (result.method, result.clusters) == ("dyadic", 79)


def test_a_pair_of_an_input_with_itself_does_not_recur():
    assert rate([True, False], [[1, 1], [2, 2]]).method == "disjoint"


def test_census_is_exact_and_has_no_interval():
    result = rate([True, True, False, True], census=True)
    assert result == Rate(3, 4, 0.75, 0.75, 0.75, 0.75, 0.75, "census", 4)
    assert str(result) == ".750, n = 4, complete domain"


@pytest.mark.parametrize("members", [None, np.zeros((0, 2), dtype=int)])
@pytest.mark.parametrize("census", [False, True])
def test_no_pairs(members, census):
    result = rate([], members, census=census)
    assert math.isnan(result.rate)
    assert (result.low, result.high, result.lower, result.upper) == (0, 1, 0, 1)
    assert (result.method, result.n, str(result)) == ("none", 0, "n/a, n = 0")


def test_record_goes_through_json_and_back():
    members = np.array([[0, 1], [1, 2], [2, 3]])
    for result in (rate([True, False, True], members), rate([True]), rate([True], census=True)):
        assert Rate.from_dict(json.loads(json.dumps(result.as_dict()))) == result
    record = json.loads(json.dumps(rate([]).as_dict()))
    assert record["rate"] is None
    assert math.isnan(Rate.from_dict(record).rate)
    assert list(record) == ["hits", "n", "rate", "low", "high", "lower", "upper", "method", "clusters"]


def test_the_record_holds_plain_types_only():
    members = np.array([[0, 1], [1, 2], [2, 3], [0, 3]])
    for value in rate(np.array([True, False, True, True]), members).as_dict().values():
        assert type(value) in (int, float, str)


def test_bounds_are_those_of_the_rate():
    rng = np.random.default_rng(0)
    hits, members = grid(12, hits=rng.random(144) < 0.9)
    result = rate(hits, members, alpha=0.01)
    assert lower_bound(hits, members, alpha=0.01) == result.lower
    assert upper_bound(hits, members, alpha=0.01) == result.upper
    assert lower_bound(hits) == clopper_pearson(hits.sum(), 144)[0]


def test_clustered_misses_widen_the_interval():
    spread, members = grid(20, hits=np.random.default_rng(0).permutation(np.arange(400) >= 40))
    together = np.arange(400) >= 40  # Every pair of two bases misses.
    assert rate(spread, members).rate == rate(together, members).rate
    assert rate(together, members).low < rate(spread, members).low - 0.05
    assert rate(together, members).lower < rate(spread, members).lower - 0.02


def test_all_hits_are_bounded_by_the_inputs_not_by_the_pairs():
    hits, members = grid(50, hits=np.ones(2500, dtype=bool))
    result = rate(hits, members)
    assert result.lower == clopper_pearson(50, 50)[0]
    assert result.upper == result.high == 1
    assert 0.9 < result.low < result.lower
    misses = rate(~hits, members)
    assert (misses.lower, misses.low) == (0, 0)
    assert misses.upper == pytest.approx(1 - result.lower)


def test_one_source_for_every_base_says_nothing():
    members = np.stack([np.arange(1, 301), np.zeros(300, dtype=int)], axis=1)
    result = rate(np.arange(300) > 3, members)
    assert (result.low, result.high, result.lower, result.upper) == (0, 1, 0, 1)


def test_a_negative_variance_falls_back_to_independent_pairs():
    # Every input is hit exactly half of the time: the estimated variance is below 0.
    base, source = np.divmod(np.arange(400), 20)
    hits = (base + source) % 2 == 0
    members = np.stack([base, source + 20], axis=1)
    result = rate(hits, members)
    independent = wilson(200, 400)
    assert result.low <= independent[0]
    assert result.high >= independent[1]
    assert result.lower <= clopper_pearson(200, 400)[0]


def test_levels_nest():
    rng = np.random.default_rng(4)
    hits, members = grid(15, hits=rng.random(225) < 0.8)
    narrow, wide = rate(hits, members, level=0.8, alpha=0.2), rate(hits, members, level=0.99, alpha=0.01)
    assert wide.low < narrow.low < narrow.rate < narrow.high < wide.high
    assert wide.lower < narrow.lower < narrow.rate < narrow.upper < wide.upper


def test_the_order_of_pairs_does_not_matter():
    rng = np.random.default_rng(5)
    hits, members = grid(15, hits=rng.random(225) < 0.8)
    order = rng.permutation(225)
    assert rate(hits[order], members[order]).as_dict() == pytest.approx(rate(hits, members).as_dict())


def test_what_is_given_is_not_changed():
    hits, members = grid(4, hits=np.arange(16) % 3 > 0)
    members[0, 1] = members[0, 0]
    before = hits.copy(), members.copy()
    rate(hits, members)
    np.testing.assert_array_equal(hits, before[0])
    np.testing.assert_array_equal(members, before[1])


@pytest.mark.parametrize(
    "value, text",
    [
        (0.0, ".000"),
        (1.0, "1.000"),
        (0.9995, ">.999"),
        (0.99949, ".999"),
        (0.0004, "<.001"),
        (-0.25, "-.250"),
        (-0.0001, ".000"),
        (1.25, "1.250"),
        (math.nan, "n/a"),
        (-math.inf, "-inf"),
        (math.inf, "inf"),
    ],
)
def test_show(value, text):
    assert show(value) == text


def test_a_rate_with_a_miss_never_prints_as_certain():
    assert str(rate(np.arange(100_000) > 0)).startswith(">.999 [>.999, >.999]")


def test_scipy_stats_is_not_imported():
    code = (
        "import commutes.stats, sys; print([m for m in sys.modules if m.split('.')[0] in {'scipy', 'torch'}])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_that_the_test_above_can_fail():
    code = "import scipy.special, sys; print([m for m in sys.modules if m.split('.')[0] == 'scipy'][:1])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() != "[]"


@pytest.mark.parametrize(
    "hits, got",
    [
        ([1, 0, 1], "values of type int64, the first one np.int64(1)"),
        ([0.5], "values of type float64, the first one np.float64(0.5)"),
    ],
)
def test_hits_that_are_not_booleans(hits, got):
    with pytest.raises(StatisticsError) as error:
        rate(hits)
    assert str(error.value) == (
        "hits are one truth value per pair\n"
        f"  got:      {got}\n"
        "  expected: booleans\n"
        "  do:       pass the comparison itself: decoded == expected"
    )


def test_hits_of_two_dimensions():
    with pytest.raises(StatisticsError) as error:
        upper_bound(np.ones((3, 2), dtype=bool))
    assert str(error.value) == (
        "hits are one truth value per pair\n"
        "  got:      an array of shape (3, 2)\n"
        "  expected: shape (n,)\n"
        "  do:       flatten the hits, and the members with them"
    )


def test_unequal_lengths():
    with pytest.raises(StatisticsError) as error:
        rate([True, False, True], [[0, 1], [1, 2]])
    assert str(error.value) == (
        "hits and members differ in length\n"
        "  got:      3 hits, members of 2 pairs\n"
        "  expected: one row of members per hit\n"
        "  do:       select the same rows of both"
    )


@pytest.mark.parametrize(
    "members, got",
    [
        ([0, 1], "an array of shape (2,) and type int64"),
        ([[0.0, 1.0], [1.0, 2.0]], "an array of shape (2, 2) and type float64"),
        (np.zeros((2, 13), dtype=int), "an array of shape (2, 13) and type int64"),
    ],
)
def test_members_of_another_shape(members, got):
    with pytest.raises(StatisticsError) as error:
        lower_bound([True, False], members)
    assert str(error.value) == (
        "members name the inputs of every pair\n"
        f"  got:      {got}\n"
        "  expected: integer ids of shape (n, m), m from 1 to 12, -1 where a pair has fewer\n"
        "  do:       pass Counterfactuals.members, or np.stack([base, source], axis=1)"
    )


@pytest.mark.parametrize("row", [[-1, -1], [3, -2]])
def test_a_pair_without_inputs(row):
    with pytest.raises(StatisticsError) as error:
        rate([True, False], [[0, 1], row])
    assert str(error.value) == (
        "every pair has at least one input, and ids are 0 or more\n"
        "  where:    row 1 of members\n"
        f"  got:      {row}\n"
        "  expected: ids of 0 or more, and -1 only where a further source is absent\n"
        "  do:       give the base's id, then one id per source"
    )


@pytest.mark.parametrize("alpha", [0, 0.5, -0.05, 5, float("nan"), None])
@pytest.mark.parametrize("function", [rate, lower_bound, upper_bound])
def test_alpha_out_of_range(function, alpha):
    with pytest.raises(StatisticsError) as error:
        function([True, False], alpha=alpha)
    assert str(error.value) == (
        "alpha is the error rate of a one-sided bound\n"
        f"  got:      alpha = {alpha!r}\n"
        "  expected: a number above 0 and below 0.5\n"
        "  do:       write alpha=0.05 for a bound that holds in 95 % of samples"
    )

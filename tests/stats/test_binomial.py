from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binomtest, t

from commutes.errors import StatisticsError
from commutes.stats import clopper_pearson, wilson
from commutes.stats._binomial import score_bound, t_quantile

COUNTS = [(0, 1), (1, 1), (0, 7), (3, 7), (7, 7), (59, 59), (941, 1000), (1000, 1000), (17, 100_000)]


@pytest.mark.parametrize("hits, n", COUNTS)
@pytest.mark.parametrize("level", [0.8, 0.95, 0.999])
def test_wilson_is_scipys(hits, n, level):
    other = binomtest(hits, n).proportion_ci(level, method="wilson")
    assert wilson(hits, n, level=level) == pytest.approx((other.low, other.high), abs=1e-12)


@pytest.mark.parametrize("hits, n", COUNTS)
@pytest.mark.parametrize("alpha", [0.001, 0.05, 0.3])
def test_clopper_pearson_is_scipys_one_sided_pair(hits, n, alpha):
    lower = binomtest(hits, n, alternative="greater").proportion_ci(1 - alpha, method="exact").low
    upper = binomtest(hits, n, alternative="less").proportion_ci(1 - alpha, method="exact").high
    assert clopper_pearson(hits, n, alpha=alpha) == pytest.approx((lower, upper), abs=1e-9)


def test_no_pairs_leave_everything_possible():
    assert wilson(0, 0) == (0.0, 1.0)
    assert clopper_pearson(0, 0) == (0.0, 1.0)


def test_t_quantile_is_scipys_and_infinite_without_degrees_of_freedom():
    assert t_quantile(0.975, 4) == pytest.approx(t.ppf(0.975, 4))
    assert t_quantile(0.975, 0) == np.inf
    assert t_quantile(0.025, 0) == -np.inf


def test_score_bound_rises_with_n_and_with_the_share():
    shares = np.linspace(0, 1, 101)
    sizes = np.geomspace(0.5, 1e6, 200)
    grid = np.array([[score_bound(float(share), float(n), 1.7) for n in sizes] for share in shares])
    assert (np.diff(grid, axis=0) >= -1e-15).all()
    assert (np.diff(grid, axis=1) >= -1e-15).all()


@pytest.mark.parametrize("function", [wilson, clopper_pearson])
def test_negative_n(function):
    with pytest.raises(StatisticsError) as error:
        function(0, -3)
    assert str(error.value) == (
        "n is a number of pairs\n"
        "  got:      n = -3\n"
        "  expected: 0 or more\n"
        "  do:       count the pairs that were run"
    )


@pytest.mark.parametrize("hits", [-1, 8])
def test_hits_outside_n(hits):
    with pytest.raises(StatisticsError) as error:
        clopper_pearson(hits, 7)
    assert str(error.value) == (
        "hits are counted among the n\n"
        f"  got:      hits = {hits}, n = 7\n"
        "  expected: hits from 0 to 7\n"
        "  do:       pass the number of hits first, then the number of pairs"
    )


@pytest.mark.parametrize("level", [0, 1, 95, float("nan"), "0.95"])
def test_level_out_of_range(level):
    with pytest.raises(StatisticsError) as error:
        wilson(1, 2, level=level)
    assert str(error.value) == (
        "level is the coverage of a two-sided interval\n"
        f"  got:      level = {level!r}\n"
        "  expected: a number above 0 and below 1\n"
        "  do:       write level=0.95 for a 95 % interval"
    )

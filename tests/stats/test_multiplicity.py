from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from commutes.errors import StatisticsError
from commutes.stats import holm, monte_carlo_p


def stepwise(pvalues, alpha):
    """Holm's procedure as it is told: reject the smallest while it is at most alpha / what remains."""
    rejected, remaining = set(), sorted(range(len(pvalues)), key=lambda i: pvalues[i])
    while remaining and pvalues[remaining[0]] * len(remaining) <= alpha:
        rejected.add(remaining.pop(0))
    return rejected


@given(st.lists(st.floats(0, 1), max_size=8), st.floats(0.001, 0.5))
def test_holm_rejects_what_the_procedure_rejects(pvalues, alpha):
    assert set(np.flatnonzero(holm(pvalues) <= alpha)) == stepwise(pvalues, alpha)


@given(st.lists(st.floats(0, 1), max_size=8))
def test_holm_lies_between_no_correction_and_bonferroni(pvalues):
    adjusted = holm(pvalues)
    assert (adjusted >= np.array(pvalues)).all()
    assert (adjusted <= np.minimum(np.array(pvalues) * len(pvalues), 1)).all()


def test_holm_does_not_sort_the_callers_list():
    given_ = [0.04, 0.01, 0.03]
    holm(given_)
    assert given_ == [0.04, 0.01, 0.03]


@pytest.mark.parametrize("pvalues", [[0.1, float("nan")], [1.2], [-0.1]])
def test_holm_of_what_is_no_p_value(pvalues):
    with pytest.raises(StatisticsError) as error:
        holm(pvalues)
    assert str(error.value) == (
        "Holm's correction takes one p-value per question\n"
        f"  got:      shape ({len(pvalues)},), values {pvalues}\n"
        "  expected: shape (m,), every value from 0 to 1\n"
        "  do:       leave out the checks that did not run"
    )


def test_monte_carlo_p_is_never_zero():
    assert monte_carlo_p(0, 0) == 1
    assert monte_carlo_p(0, 19) == 0.05
    assert monte_carlo_p(19, 19) == 1


def test_monte_carlo_p_is_valid():
    # Under the null the rank of the observed value is uniform, so P(p <= alpha) is alpha at every p there is.
    ps = np.array([monte_carlo_p(rank, 19) for rank in range(20)])
    for alpha in ps:
        assert (ps <= alpha).mean() == pytest.approx(alpha)


def test_more_hits_than_draws():
    with pytest.raises(StatisticsError, match="hits are counted among the n"):
        monte_carlo_p(20, 19)
    with pytest.raises(StatisticsError, match="n is a number of pairs"):
        monte_carlo_p(0, -1)

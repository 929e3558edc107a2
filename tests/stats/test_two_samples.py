"""Two samples of kinds: told apart when they are, and at the error rate when they are not."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import chi2_contingency

from commutes.stats import apart


def samples(seed: int, shift: float = 0.0, n: int = 400) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    p = np.array([0.4, 0.3, 0.2, 0.1])
    q = p + shift * np.array([1, 0, 0, -1])
    return rng.choice(4, size=n, p=p), rng.choice(4, size=n, p=q)


def test_it_is_the_chi_squared_test_of_a_table():
    one, other = samples(0, 0.05)
    table = [np.bincount(part, minlength=4) for part in (one, other)]
    found, known = apart(one, other), chi2_contingency(table, correction=False)
    assert found.p == pytest.approx(known.pvalue)
    assert found.distance == pytest.approx(np.abs(table[0] - table[1]).sum() / 800)


def test_one_distribution_is_taken_for_two_at_the_error_rate():
    found = [apart(*samples(seed)).p < 0.05 for seed in range(400)]
    assert 0.02 < np.mean(found) < 0.08


def test_two_distributions_are_told_apart_and_how_far():
    found = [apart(*samples(seed, 0.1, n=4_000)) for seed in range(20)]
    assert max(one.p for one in found) < 1e-6
    assert np.mean([one.distance for one in found]) == pytest.approx(0.1, abs=0.01)


def test_rare_kinds_are_counted_together():
    """Each kind once: nothing can be said of any, and of all together they are alike."""
    assert apart(np.arange(300), np.arange(300, 600)) == (0.0, 1.0)
    one = np.concatenate([np.zeros(200, int), np.arange(1, 101)])
    found = apart(one, np.zeros(300, int))
    assert found.distance == pytest.approx(1 / 3)
    assert found.p < 1e-9


def test_a_sample_of_one_kind_or_of_none_tells_nothing():
    assert apart(np.zeros(9, int), np.zeros(9, int)) == (0.0, 1.0)
    assert apart(np.zeros(0, int), np.zeros(20, int)) == (0.0, 1.0)

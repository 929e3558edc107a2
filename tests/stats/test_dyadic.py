from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from commutes.stats import dyadic_variance
from commutes.stats._dyadic import Sharing


def brute(values, members):
    """The definition: every ordered pair of pairs, one by one."""
    u = np.asarray(values, dtype=float) - np.mean(values)
    sets = [set(row) - {-1} for row in np.asarray(members).tolist()]
    total = sum(u[d] * u[e] for d in range(len(u)) for e in range(len(u)) if sets[d] & sets[e])
    return total / len(u) ** 2


@st.composite
def structures(draw, most=14):
    """Members of few inputs, so that pairs repeat, meet themselves and share several inputs."""
    n, width = draw(st.integers(1, most)), draw(st.integers(1, 4))
    ids = draw(st.integers(1, 6))
    members = draw(arrays(np.int64, (n, width), elements=st.integers(-1, ids - 1)))
    members[:, 0] = np.abs(members[:, 0])
    return members


@settings(max_examples=150, deadline=None)
@given(structures(), st.data())
def test_variance_is_the_double_sum(members, data):
    values = data.draw(arrays(np.float64, len(members), elements=st.integers(0, 5).map(float)))
    assert dyadic_variance(values, members) == pytest.approx(brute(values, members), abs=1e-12)


def test_one_column_is_the_cluster_robust_variance():
    rng = np.random.default_rng(0)
    cluster, values = rng.integers(0, 9, 200), rng.normal(size=200)
    sums = np.bincount(cluster, weights=values - values.mean())
    assert dyadic_variance(values, cluster[:, None]) == pytest.approx((sums**2).sum() / 200**2)


def test_disjoint_pairs_give_the_plain_variance_of_a_mean():
    values = np.random.default_rng(0).normal(size=30)
    assert dyadic_variance(values, np.arange(60).reshape(30, 2)) == pytest.approx(values.var() / 30)


def test_roles_and_their_order_do_not_matter():
    rng = np.random.default_rng(1)
    members, values = rng.integers(0, 8, (60, 3)), rng.random(60)
    shuffled = rng.permuted(members, axis=1)
    assert dyadic_variance(values, shuffled) == pytest.approx(dyadic_variance(values, members), abs=1e-15)


def test_separate_roles_give_another_figure():
    # The inverse of the test above: an id in two roles is one cluster, not two.
    base, source = np.divmod(np.arange(400), 20)
    effect = np.random.default_rng(2).normal(size=20)
    values = effect[base] + effect[source]
    together = dyadic_variance(values, np.stack([base, source], axis=1))
    apart = dyadic_variance(values, np.stack([base, source + 20], axis=1))
    assert 1.7 * apart < together < 2.1 * apart


def test_a_pair_of_an_input_with_itself_has_one_member():
    values = [0.0, 1.0, 1.0]
    assert dyadic_variance(values, [[4, 4], [4, 5], [6, 6]]) == pytest.approx(
        dyadic_variance(values, [[4, -1], [5, 4], [-1, 6]])
    )


def test_pairs_that_share_several_inputs_count_once():
    members = np.array([[0, 1, 2], [2, 0, 1], [1, 2, 0], [3, 4, 5]])
    assert Sharing.of(members).degrees.tolist() == [3, 3, 3, 1]


def test_the_variance_can_be_negative():
    members, values = [[0, 1], [1, 2], [2, 3]], [0.0, 1.0, 0.0]
    assert dyadic_variance(values, members) == pytest.approx(-2 / 81)


@pytest.mark.parametrize(
    "members, cover",
    [
        (np.arange(20).reshape(10, 2), 10),
        (np.stack(np.divmod(np.arange(400), 20), axis=1) + np.array([0, 20]), 20),
        (np.stack(np.divmod(np.arange(400), 20), axis=1), 11),
        (np.stack([np.arange(1, 31), np.zeros(30, dtype=int)], axis=1), 1),
        ([[7, 7]], 1),
    ],
)
def test_cover(members, cover):
    assert Sharing.of(np.asarray(members)).cover == cover


@settings(max_examples=100, deadline=None)
@given(structures(most=8))
def test_no_smaller_set_of_inputs_touches_every_pair(members):
    sets = [set(row) - {-1} for row in members.tolist()]
    ids = sorted(set().union(*sets))
    smallest = next(
        k
        for k in range(1, len(ids) + 1)
        if any(all(pair & set(chosen) for pair in sets) for chosen in combinations(ids, k))
    )
    assert Sharing.of(members).cover <= smallest


def test_ids_far_apart_and_many_members_do_not_overflow():
    rng = np.random.default_rng(3)
    ids = rng.integers(0, 2**62, 40)
    members = ids[rng.integers(0, 40, (50, 5))]
    values = rng.random(50)
    assert dyadic_variance(values, members) == pytest.approx(brute(values, members), abs=1e-12)


def test_unsigned_ids_of_64_bits():
    members = np.array([[2**64 - 1, 3], [2**64 - 1, 4], [5, 6]], dtype=np.uint64)
    values = [1.0, 0.0, 1.0]
    assert dyadic_variance(values, members) == pytest.approx(
        dyadic_variance(values, [[0, 3], [0, 4], [5, 6]])
    )

"""Pairs of inputs that are given are labelled as drawn ones are."""

from __future__ import annotations

import numpy as np
import pytest

from commutes import counterfactuals, one_source, reals
from commutes.algorithm import Algorithm
from commutes.counterfactuals import given_pairs
from tests.planted import equality


def taken_apart(pairs):
    members = np.where(pairs.members < 0, 0, pairs.members)
    return [{v: c[members[:, i]] for v, c in pairs.inputs.items()} for i in range(members.shape[1])]


@pytest.mark.parametrize("joint", [False, True])
def test_given_pairs_are_labelled_as_drawn_ones_are(joint):
    algorithm = equality(4)
    both = one_source(algorithm["left"], algorithm["right"]) if joint else {"left", "right"}
    pairs = counterfactuals(algorithm, 200, swap=["left", both], seed=3)
    base, *sources = taken_apart(pairs)
    again = given_pairs(algorithm, pairs.swaps, pairs.swap, base, sources)
    for name in ("expected", "stratum", "strata", "base_answer", "effective", "moved"):
        np.testing.assert_array_equal(getattr(again, name), getattr(pairs, name))
    np.testing.assert_array_equal(again.ids[again.base], pairs.ids[pairs.base])
    np.testing.assert_array_equal(again.source < 0, pairs.source < 0)
    assert again.reused == pairs.reused
    # Nothing is known of how they come about.
    assert again.weights == {}
    assert again.distribution == "pairs as they were given"


def test_inputs_of_slots_that_a_pair_has_not_are_passed_over():
    algorithm = equality(4)
    pairs = counterfactuals(algorithm, 40, swap=["left", {"left", "right"}], seed=3)
    base, one, other = taken_apart(pairs)
    alone = pairs.swap == 0
    other["w"] = np.where(alone, 3 - other["w"], other["w"])
    again = given_pairs(algorithm, pairs.swaps, pairs.swap, base, [one, other])
    assert (again.source[alone, 1] == -1).all()
    assert set(again.ids) <= set(pairs.ids)


def test_numbers_as_answers_have_one_stratum():
    algorithm = Algorithm("a sum")
    algorithm.inputs("a b", domain=reals(0, 1))
    algorithm.add("double", "a", f=lambda a: 2 * a, domain=reals(0, 2))
    algorithm.add(
        "total", "double", "b", f=lambda d, b: d + b, domain=reals(0, 3, tolerance=0.1), output=True
    )
    pairs = counterfactuals(algorithm, 30, seed=0)
    base, source = taken_apart(pairs)
    again = given_pairs(algorithm, pairs.swaps, pairs.swap, base, [source])
    np.testing.assert_array_equal(again.expected, pairs.expected)
    assert again.strata == ("agreement",)
    assert not again.stratum.any()

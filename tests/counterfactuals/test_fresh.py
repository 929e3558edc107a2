"""Pairs without certain inputs, and inputs by themselves."""

from __future__ import annotations

import numpy as np
import pytest

from commutes import Distribution, counterfactuals
from commutes.counterfactuals import drawn_without, input_sampler
from commutes.errors import DataError
from tests.planted import equality


def odd(rng, n):
    return {v: 2 * rng.integers(4, size=n) + 1 for v in "wxyz"}


@pytest.fixture(scope="module")
def pairs():
    return counterfactuals(equality(8), 240, seed=0)


def test_inputs_that_are_kept_out_are_not_in_the_pairs_and_are_counted(pairs):
    algorithm = pairs.algorithm
    every = algorithm.enumerate_inputs()
    kept_out = algorithm.input_ids({v: c[: len(c) // 2] for v, c in every.items()})
    found = drawn_without(algorithm, pairs.design, kept_out)
    assert not np.isin(found.pairs.ids, kept_out).any()
    assert found.left_out == len(kept_out) == 2_048
    assert found.share == pytest.approx(0.5, abs=0.05)
    assert len(found.pairs) == 240
    # As of any part that is measured: inputs are used once, and weights are those of the whole distribution.
    assert not found.pairs.reused
    assert found.pairs.weights == pytest.approx(pairs.weights)


def test_without_anything_kept_out_the_weights_and_numbers_are_the_designs(pairs):
    found = drawn_without(pairs.algorithm, pairs.design, np.zeros(0, np.uint64))
    assert (found.left_out, found.share) == (0, 0.0)
    again = drawn_without(pairs.algorithm, pairs.design, np.zeros(0, np.uint64))
    np.testing.assert_array_equal(found.pairs.members, again.pairs.members)


def test_what_is_kept_out_stays_out_when_the_pairs_are_drawn_again(pairs):
    kept_out = pairs.algorithm.input_ids(pairs.algorithm.enumerate_inputs())[::2]
    found = drawn_without(pairs.algorithm, pairs.design, kept_out).pairs.replicate(7)
    assert not np.isin(found.ids, kept_out).any()


def test_no_input_that_is_left_is_an_error(pairs):
    every = pairs.algorithm.input_ids(pairs.algorithm.enumerate_inputs())
    with pytest.raises(DataError) as error:
        drawn_without(pairs.algorithm, pairs.design, every)
    assert str(error.value) == (
        "every input was seen before\n"
        "  where:    algorithm 'hierarchical equality of 8 whole numbers'\n"
        "  got:      4,096 inputs, all of them among those that are kept out\n"
        "  expected: inputs that neither the fit nor the selection has seen\n"
        "  do:       fit on fewer inputs, or draw from a larger domain"
    )


@pytest.mark.parametrize("distribution", ["values", "inputs", Distribution("odd", odd)])
def test_inputs_follow_their_distribution(distribution):
    algorithm = equality(8)
    columns = input_sampler(algorithm, distribution)(np.random.default_rng(0), 8_000)
    left = algorithm.run(columns)["left"].mean()
    wanted = {"values": 1 / 2, "inputs": 1 / 8}.get(str(distribution), 1 / 4)
    assert left == pytest.approx(wanted, abs=0.02)
    again = input_sampler(algorithm, distribution)(np.random.default_rng(0), 8_000)
    np.testing.assert_array_equal(columns["w"], again["w"])

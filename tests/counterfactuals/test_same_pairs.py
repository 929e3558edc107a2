"""The pairs of one algorithm as interventions on another: the same inputs, the other's answers."""

from __future__ import annotations

import numpy as np
import pytest

from commutes import Algorithm, census, counterfactuals
from commutes.counterfactuals import same_pairs
from commutes.errors import DataError


def parity(one: str, other: str, names: str = "first second") -> Algorithm:
    """Of four bits, by two variables of two bits each."""
    found = Algorithm(f"parity by {one} and {other}")
    found.inputs("a b c d", domain=[0, 1])
    for name, group in zip(names.split(), (one, other), strict=True):
        found.add(name, *group, f=lambda x, y: x ^ y, domain=[0, 1])
    found.add("odd", *names.split(), f=lambda x, y: x ^ y, domain=[0, 1], output=True)
    return found.check()


IN_PAIRS, REGROUPED = parity("ab", "cd"), parity("ac", "bd", "left right")
NAMES = {"first": "left", "second": "right"}


def by_hand(pairs, row: int, groups) -> int:
    """The regrouped answer with the swapped group's bits from the source."""
    inputs = {name: column.tolist() for name, column in pairs.inputs.items()}
    swap = pairs.swaps[pairs.swap[row]]
    total = 0
    for name, group in groups.items():
        slot = next((k for k, vs in enumerate(swap.slots) if name in [v.name for v in vs]), None)
        chosen = pairs.base[row] if slot is None else pairs.source[row, slot]
        total ^= inputs[group[0]][chosen] ^ inputs[group[1]][chosen]
    return total


def test_inputs_stay_and_answers_are_the_other_algorithms():
    pairs = counterfactuals(IN_PAIRS, 200, swap=["first", "second", {"first", "second"}], seed=0)
    moved, rows = same_pairs(pairs, REGROUPED, names=NAMES)
    assert moved.algorithm is REGROUPED
    np.testing.assert_array_equal(rows, np.arange(len(pairs)))
    for name in ("base", "source", "swap", "ids"):
        np.testing.assert_array_equal(getattr(moved, name), getattr(pairs, name))
    assert [swap.label for swap in moved.swaps] == ["left", "right", "left+right"]
    groups = {"left": "ac", "right": "bd"}
    assert moved.expected.tolist() == [by_hand(moved, row, groups) for row in range(len(pairs))]
    assert (moved.expected != pairs.expected).any()
    one = moved.swap < 2
    flips = (moved.expected == moved.source_answer[:, 0]) & (moved.expected != moved.base_answer)
    np.testing.assert_array_equal(flips[one], np.array(moved.strata)[moved.stratum[one]] == "flip")
    for name, weight in pairs.for_algorithm(REGROUPED, names=NAMES).weights.items():
        assert moved.weights[name] == weight


def test_under_its_own_algorithm_nothing_changes():
    pairs = counterfactuals(IN_PAIRS, 200, swap=["first", {"first", "second"}], seed=3)
    moved, _ = same_pairs(pairs, IN_PAIRS)
    for name in ("base", "source", "swap", "ids", "expected", "stratum"):
        np.testing.assert_array_equal(getattr(moved, name), getattr(pairs, name))
    assert (moved.strata, moved.swaps, moved.reused) == (pairs.strata, pairs.swaps, pairs.reused)


def test_pairs_that_swap_what_the_other_lacks_are_left_out():
    pairs = counterfactuals(IN_PAIRS, 200, swap=["first", "second"], seed=0)
    moved, rows = same_pairs(pairs, REGROUPED, names={"second": "left"})
    np.testing.assert_array_equal(rows, np.flatnonzero(pairs.swap == 1))
    assert [swap.label for swap in moved.swaps] == ["left"]
    np.testing.assert_array_equal(moved.ids[moved.base], pairs.ids[pairs.base[rows]])
    np.testing.assert_array_equal(moved.ids[moved.source[:, 0]], pairs.ids[pairs.source[rows, 0]])
    drawn = pairs.for_algorithm(REGROUPED, names={"second": "left"})
    assert [swap.label for swap in drawn.swaps] == ["left"]
    assert len(drawn) == len(pairs)


def test_a_census_stays_one():
    moved, _ = same_pairs(census(IN_PAIRS), REGROUPED, names=NAMES)
    assert moved.complete
    again = census(REGROUPED)
    for name in ("base", "source", "swap", "ids", "expected", "stratum"):
        np.testing.assert_array_equal(getattr(moved, name), getattr(again, name))


def test_parts_keep_their_inputs_under_other_names():
    train, test = counterfactuals(IN_PAIRS, 400, seed=1).split(train=0.5, test=0.5)
    drawn = train.for_algorithm(REGROUPED, names=NAMES)
    assert drawn.part == "train"
    assert not set(drawn.ids.tolist()) & set(test.ids.tolist())


def test_controlled_pairs_flip_what_stands_for_their_variable():
    pairs = counterfactuals(IN_PAIRS, 100, flip={"first"}, seed=0)
    drawn = pairs.for_algorithm(REGROUPED, names={"first": "left"})
    assert (drawn.base_value("left") != drawn.source_value("left")).all()


def test_names_that_leave_nothing_to_swap_are_refused():
    pairs = counterfactuals(IN_PAIRS, 100, seed=0)
    with pytest.raises(DataError) as error:
        same_pairs(pairs, REGROUPED, names={"third": "left"})
    assert str(error.value) == (
        "nothing of 'parity by ac and bd' stands for what is swapped\n"
        "  where:    for_algorithm(names=)\n"
        "  got:      third: left\n"
        "  expected: a variable for each of first, or of another swap set\n"
        "  do:       name them in names="
    )

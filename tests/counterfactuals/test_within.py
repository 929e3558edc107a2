"""More data of the same part: controlled pairs, and which inputs belong."""

from __future__ import annotations

import numpy as np
import pytest

from commutes.algorithm import Algorithm, vectors
from commutes.counterfactuals import (
    Distribution,
    belongs,
    census,
    controlled_within,
    counterfactuals,
    swapped_within,
)
from commutes.errors import DataError


def test_controlled_pairs_are_of_the_same_part(equality: Algorithm) -> None:
    train, select, test = counterfactuals(equality, 2000, seed=4).split(train=0.5, select=0.2, test=0.3)
    for part, others in ((train, (select, test)), (select, (train, test))):
        found = controlled_within(part, "left", 300, seed=7)
        assert len(found) == 300
        assert found.part == part.part
        assert belongs(part, found.input_ids).all()
        for other in others:
            assert not belongs(other, found.input_ids).any()
            assert not np.isin(found.input_ids, other.input_ids).any()
        assert (found.base_value("left") != found.source_value("left")).all()
        assert (found.base_value("right") == found.columns["right"][found.source[:, 0]]).all()


def test_every_input_belongs_to_one_part(equality: Algorithm) -> None:
    pairs = counterfactuals(equality, 2000, seed=4)
    ids = equality.input_ids(equality.enumerate_inputs())
    assert belongs(pairs, ids).all()
    parts = np.array([belongs(part, ids) for part in pairs.split(train=0.5, select=0.2, test=0.3)])
    assert (parts.sum(axis=0) == 1).all()
    assert parts.mean(axis=1) == pytest.approx([0.5, 0.2, 0.3], abs=0.05)


def test_sources_that_are_put_together_are_of_the_part_too() -> None:
    algorithm = Algorithm("real equality")
    algorithm.inputs("w x y", domain=vectors(2, -1.0, 1.0))
    algorithm.add("left", "w", "x", f=lambda w, x: tuple(w) == tuple(x), domain=[False, True])
    algorithm.add("out", "left", "y", f=lambda left, y: left == (y[0] > 0), domain=[False, True], output=True)

    def draw(rng: np.random.Generator, n: int) -> dict[str, np.ndarray]:
        drawn = {name: rng.uniform(-1, 1, (n, 2)) for name in "wxy"}
        equal = rng.random(n) < 0.5
        drawn["x"][equal] = drawn["w"][equal]
        return drawn

    pairs = counterfactuals(algorithm, 400, distribution=Distribution("equal half of the time", draw), seed=0)
    train, test = pairs.split(train=0.5, test=0.5)
    found = controlled_within(train, "left", 100, seed=1)
    assert belongs(train, found.input_ids).all()
    assert not belongs(test, found.input_ids).any()


def test_the_seed_decides_and_a_census_can_be_drawn_from(equality: Algorithm, boolean: Algorithm) -> None:
    train = counterfactuals(equality, 400, seed=4).split(train=0.5, test=0.5)[0]
    one, same, other = (controlled_within(train, "left", 60, seed=s) for s in (1, 1, 2))
    assert np.array_equal(one.members, same.members)
    assert np.array_equal(one.ids, same.ids)
    assert not (np.array_equal(one.ids, other.ids) and np.array_equal(one.members, other.members))
    found = controlled_within(census(boolean), "p", 40, seed=0)
    assert len(found) == 40
    assert not found.complete


def test_what_is_held_can_be_said_and_mistakes_are_refused(equality: Algorithm) -> None:
    train = counterfactuals(equality, 400, seed=4).split(train=0.5, test=0.5)[0]
    free = controlled_within(train, "left", 200, hold=[], seed=0)
    assert (free.base_value("right") != free.columns["right"][free.source[:, 0]]).any()
    with pytest.raises(DataError, match="controlled_within, seed"):
        controlled_within(train, "left", 10, seed=-1)
    with pytest.raises(DataError, match="controlled_within, n"):
        controlled_within(train, "left", 0, seed=0)
    with pytest.raises(DataError, match="nonsense"):
        controlled_within(train, "left", 10, hold=["nonsense"], seed=0)


def test_joint_swaps_are_of_the_same_part_each_variable_from_a_source_of_its_own(equality: Algorithm) -> None:
    train, test = counterfactuals(equality, 2000, seed=4).split(train=0.7, test=0.3)
    found = swapped_within(test, ["right", "left"], 400, seed=7)
    assert [swap.label for swap in found.swaps] == ["left+right"]
    assert (len(found), found.part) == (400, "test")
    assert belongs(test, found.input_ids).all()
    assert not belongs(train, found.input_ids).any()
    assert (found.source[:, 0] != found.source[:, 1]).all()
    wanted = found.source_value("left") == found.source_value("right")
    assert np.array_equal(found.expected == 1, wanted)
    again, other = (swapped_within(test, ["left", "right"], 400, seed=seed) for seed in (7, 8))
    assert np.array_equal(found.ids, again.ids)
    assert not np.array_equal(found.ids, other.ids)


def test_joint_swaps_may_be_drawn_from_a_census_and_never_of_what_is_not_there(boolean: Algorithm) -> None:
    found = swapped_within(census(boolean, swap=[{"p"}]), ["p", "q"], 100, seed=0)
    assert not found.complete
    assert found.swaps[0].label == "p+q"
    with pytest.raises(DataError, match="no variable 'r' to swap"):
        swapped_within(found, ["p", "r"], 100, seed=0)

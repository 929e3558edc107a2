"""Controlled pairs: what changes, what is held, what had to move."""

from __future__ import annotations

import itertools
from collections import Counter

import numpy as np
import pytest

from commutes.algorithm import Algorithm, vectors
from commutes.counterfactuals import Counterfactuals, Distribution, counterfactuals, one_source
from commutes.errors import DataError


def plain_rows(pairs: Counterfactuals) -> list[tuple[dict, dict, bool]]:
    names = list(pairs.inputs)
    decoded = {name: pairs.algorithm.values(name, pairs.inputs[name]) for name in names}
    rows = [dict(zip(names, row, strict=True)) for row in zip(*decoded.values(), strict=True)]
    return [
        (rows[b], rows[s], bool(m))
        for b, s, m in zip(pairs.base, pairs.source[:, 0], pairs.moved, strict=True)
    ]


def test_the_held_inputs_and_variables_stay(equality: Algorithm) -> None:
    pairs = counterfactuals(equality, 400, flip={"left"}, seed=0)
    assert [s.label for s in pairs.swaps] == ["left"]
    changes = Counter()
    for base, source, moved in plain_rows(pairs):
        assert (base["y"], base["z"]) == (source["y"], source["z"])
        before, after = base["w"] == base["x"], source["w"] == source["x"]
        assert before != after
        assert not moved
        changes[before, after] += 1
    assert changes == {(False, True): 200, (True, False): 200}
    # Nothing else changes, so that the expected answer is the source's and never the base's.
    assert pairs.effective.all()
    assert {pairs.strata[s] for s in pairs.stratum.tolist()} == {"flip"}
    assert pairs.weights["left", "flip"] == pytest.approx(1.0)


def test_an_ancestor_moves_only_where_it_has_to(boolean: Algorithm) -> None:
    """p = a and b flips, q = a and c is held, and a is above both."""
    pairs = counterfactuals(boolean, 400, flip={"p"}, seed=0)
    seen = Counter()
    for base, source, moved in plain_rows(pairs):
        q_base, q_source = base["a"] and base["c"], source["a"] and source["c"]
        assert q_base == q_source
        assert (base["a"] and base["b"]) != (source["a"] and source["b"])
        ancestors_moved = base["a"] != source["a"] or base["c"] != source["c"]
        assert moved == ancestors_moved
        could_stay = any(
            (base["a"] and b) != (base["a"] and base["b"]) for b in (False, True) if b != base["b"]
        )
        assert moved == (not could_stay)
        seen[moved] += 1
    assert seen[True] > 0
    assert seen[False] > 0
    transitions = Counter(zip(pairs.base_value("p").tolist(), pairs.source_value("p").tolist(), strict=True))
    assert transitions == {(0, 1): 200, (1, 0): 200}


def test_all_transitions_of_a_many_valued_variable_are_balanced() -> None:
    addition = Algorithm("addition")
    addition.inputs("a b c", domain=range(5))
    addition.add("s", "a", "b", f=lambda a, b: (a + b) % 5, domain=range(5))
    addition.add("out", "s", "c", f=lambda s, c: (s + c) % 5, domain=range(5), output=True)
    pairs = counterfactuals(addition, 1_000, flip={"s"}, seed=0)
    transitions = Counter(zip(pairs.base_value("s").tolist(), pairs.source_value("s").tolist(), strict=True))
    assert transitions == dict.fromkeys(itertools.permutations(range(5), 2), 50)
    assert np.array_equal(pairs.inputs["c"][pairs.base], pairs.inputs["c"][pairs.source[:, 0]])
    loose = counterfactuals(addition, 1_000, flip={"s"}, hold=(), seed=0)
    assert (loose.inputs["c"][loose.base] != loose.inputs["c"][loose.source[:, 0]]).any()
    measured = pairs.split(train=0.5, test=0.5)[1]
    assert len(measured) == 500
    assert (measured.base_value("s") != measured.source_value("s")).all()


def test_a_transition_that_no_pair_makes_is_named_with_the_share_that_can() -> None:
    sums = Algorithm("sums")
    sums.inputs("a b", domain=range(3))
    sums.add("low", "a", f=lambda a: a > 0, domain=[False, True])
    sums.add("sum", "a", "b", f=lambda a, b: a + b, domain=range(5))
    sums.add("out", "low", "sum", f=lambda low, s: s + 5 * low, domain=range(10), output=True)
    with pytest.raises(DataError) as caught:
        counterfactuals(sums, 100, flip={"sum"}, seed=0)
    # By hand: with `low` held, sums 0..2 occur without it and 1..4 with it.
    made = sum(
        any({s, t} <= group for group in ({0, 1, 2}, {1, 2, 3, 4}))
        for s, t in itertools.permutations(range(5), 2)
    )
    assert made == 16
    assert str(caught.value) == (
        "no pair makes the transition sum: 0 -> 3\n"
        "  where:    algorithm 'sums', flip=sum, hold=low\n"
        "  got:      16 of 20 transitions (80.0%) can be made among 9 inputs\n"
        "  expected: every transition between two values of the flipped variable\n"
        "  do:       hold less: hold=() or a shorter list"
    )
    assert len(counterfactuals(sums, 100, flip={"sum"}, hold=(), seed=0)) == 100


def test_nothing_can_change_when_all_of_it_is_held(boolean: Algorithm) -> None:
    with pytest.raises(DataError) as caught:
        counterfactuals(boolean, 100, flip={"p"}, hold=["a", "b", "c"], seed=0)
    assert str(caught.value) == (
        "no pair in which p changes and what is held does not\n"
        "  where:    algorithm 'and-or', flip=p, hold=a, b, c\n"
        "  got:      none among 8 inputs\n"
        "  expected: pairs that differ in the one and agree in the other\n"
        "  do:       hold less: hold=() or a shorter list"
    )


def test_fresh_vectors_are_recombined_so_that_inputs_can_be_held() -> None:
    equality = Algorithm("vector equality")
    equality.inputs("w x y z", domain=vectors(2))
    equality.add("left", "w", "x", f=lambda w, x: w == x, domain=[False, True])
    equality.add("right", "y", "z", f=lambda y, z: y == z, domain=[False, True])
    equality.add("same", "left", "right", f=lambda a, b: a == b, domain=[False, True], output=True)

    def draw(rng: np.random.Generator, n: int) -> dict[str, np.ndarray]:
        columns = {k: rng.uniform(-1, 1, (n, 2)) for k in "wxyz"}
        for a, b in ("wx", "yz"):
            same = rng.random(n) < 0.5
            columns[b][same] = columns[a][same]
        return columns

    fresh = Distribution("fresh vectors, equal half of the time", draw)
    pairs = counterfactuals(equality, 300, flip={"left"}, distribution=fresh, seed=0)
    base, source = pairs.base, pairs.source[:, 0]
    for name in "yz":
        assert np.array_equal(pairs.inputs[name][base], pairs.inputs[name][source])
    assert (pairs.base_value("left") != pairs.source_value("left")).all()
    assert np.bincount(pairs.base_value("left")).tolist() == [150, 150]
    train, test = pairs.split(train=0.5, test=0.5)
    assert not test.reused
    assert not set(train.ids.tolist()) & set(test.ids.tolist())
    assert np.array_equal(test.inputs["y"][test.base], test.inputs["y"][test.source[:, 0]])


def test_several_variables_flip_together_from_one_source(equality: Algorithm) -> None:
    both = Algorithm("both equal")
    both.inputs("w x y z", domain=range(5))
    both.add("left", "w", "x", f=lambda w, x: w == x, domain=[False, True])
    both.add("right", "y", "z", f=lambda y, z: y == z, domain=[False, True])
    both.add("out", "left", "right", f=lambda a, b: a and b, domain=[False, True], output=True)
    pairs = counterfactuals(both, 80, flip={"left", "right"}, seed=0)
    assert [s.label for s in pairs.swaps] == ["left+right (one source)"]
    for name in ("left", "right"):
        assert (pairs.base_value(name) != pairs.source_value(name)).all()
    transitions = Counter(
        zip(pairs.base_value("left").tolist(), pairs.base_value("right").tolist(), strict=True)
    )
    assert transitions == dict.fromkeys(itertools.product((0, 1), repeat=2), 20)
    # Equality of the two is the same before and after: there such pairs test nothing, and that is said.
    with pytest.raises(DataError) as caught:
        counterfactuals(equality, 80, flip={"left", "right"}, seed=0)
    assert "same stays as it was in every controlled pair of all 160,000 inputs" in str(caught.value)


def test_what_is_swapped_can_be_named_beside_what_flips(equality: Algorithm) -> None:
    pairs = counterfactuals(equality, 80, flip={"left"}, swap=[{"right"}, {"left"}], seed=0)
    held = pairs.swap == 0
    assert pairs.swaps[0].label == "right"
    assert (pairs.source_value("right")[held] == pairs.base_value("right")[held]).all()
    assert not pairs.effective[held].any()
    assert pairs.effective[~held].all()


def test_wrong_use_of_flip_and_hold(equality: Algorithm) -> None:
    left, right = equality["left"], equality["right"]

    def refused(**options: object) -> str:
        with pytest.raises(DataError) as caught:
            counterfactuals(equality, 80, seed=0, **options)  # pyright: ignore[reportArgumentType]
        return str(caught.value)

    assert refused(hold={right}) == (
        "hold= has a meaning only beside flip=\n"
        "  where:    counterfactuals\n"
        "  got:      hold=right without flip\n"
        "  expected: flip={the variable that changes}\n"
        "  do:       name the variable that changes in flip=, or leave hold= out"
    )
    assert refused(flip=()) == (
        "flip= is empty\n"
        "  where:    algorithm 'hierarchical equality'\n"
        "  got:      no variable\n"
        "  expected: the variable that changes\n"
        "  do:       write flip={left}, or leave flip= out"
    )
    assert refused(flip={left}, hold=[right, left]) == (
        "'left' is to change and to be held\n"
        "  where:    algorithm 'hierarchical equality', flip= and hold=\n"
        "  got:      left in both\n"
        "  expected: a variable in one of them\n"
        "  do:       take 'left' out of hold="
    )
    assert refused(flip={left}, swap={left, right}) == (
        "controlled pairs have one source\n"
        "  where:    algorithm 'hierarchical equality', swap set left+right\n"
        "  got:      2 sources\n"
        "  expected: sets with a single source beside flip=\n"
        "  do:       write one_source(left, right)"
    )
    assert len(counterfactuals(equality, 80, flip={left}, swap=one_source(left, right), seed=0)) == 80
    assert refused(flip={"same"}).startswith("the output 'same' cannot be used for flip=\n")
    assert refused(flip={"lefft"}).startswith("no variable 'lefft' to flip\n")

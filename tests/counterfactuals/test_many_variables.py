"""Algorithms of dozens of variables: joint values are never filled, and nothing is drawn or run for nothing."""

from __future__ import annotations

import numpy as np
import pytest

from commutes.algorithm import Algorithm
from commutes.counterfactuals import _controlled, controlled_within, counterfactuals
from commutes.counterfactuals._design import Design
from commutes.counterfactuals._pool import Reservoir
from commutes.counterfactuals._verbs import design_of
from commutes.training._closed_data import _fixed, flips_of


def tree(words: int) -> Algorithm:
    """A sum modulo 3 over a tree; every node matters, and its children are its only parents."""
    found = Algorithm(f"{words} words")
    below = [f"word_{i}" for i in range(words)]
    found.inputs(below, domain=range(3))
    number = 0
    while len(below) > 1:
        names = []
        for one, other in zip(below[::2], below[1::2], strict=True):
            name = "root" if len(below) == 2 else f"node_{number}"
            number += 1
            found.add(name, one, other, f=lambda a, b: (a + b) % 3, domain=range(3), output=name == "root")
            names.append(name)
        below = names
    return found.check()


def design(algorithm: Algorithm, n: int) -> Design:
    return design_of(algorithm, n, None, None, None, "values", "auto", 0)


def test_joint_values_that_never_come_twice_do_not_make_the_sample_grow() -> None:
    algorithm = tree(16)
    reservoir = Reservoir(algorithm, design(algorithm, 400))
    pool = reservoir.pool()
    assert pool.draws == reservoir.first == 2**13
    assert len(np.unique(pool.group)) > len(pool) // 2
    # Of a few values that are rare under uniform inputs the poor ones are still filled.
    rare = Algorithm("rare")
    rare.inputs([f"word_{i}" for i in range(14)], domain=range(3))
    rare.add(
        "all", *[f"word_{i}" for i in range(6)], f=lambda *w: all(x == 0 for x in w), domain=[False, True]
    )
    rare.add(
        "out",
        "all",
        *[f"word_{i}" for i in range(6, 14)],
        f=lambda a, *w: (a + sum(w)) % 3,
        domain=range(3),
        output=True,
    )
    small = Reservoir(rare, design(rare, 400))
    assert np.bincount(small.pool().group).min() >= 256


def test_pairs_of_thirty_variables_are_labelled_as_the_whole_algorithm_says() -> None:
    algorithm = tree(32)
    pairs = counterfactuals(algorithm, 900, seed=0)
    assert len(pairs.swaps) == 30
    for index in (0, 15, 29):
        rows = np.nonzero(pairs.swap == index)[0]
        (variable,) = pairs.swaps[index].variables
        base = {name: column[pairs.base[rows]] for name, column in pairs.inputs.items()}
        source = {name: column[pairs.source[rows, 0]] for name, column in pairs.inputs.items()}
        whole = algorithm.interchange(base, {variable: source})["root"]
        assert (whole == pairs.expected[rows]).all()
    assert all(
        abs(sum(w for (s, _), w in pairs.weights.items() if s == swap.label) - 1) < 1e-9
        for swap in pairs.swaps
    )


def test_controlled_pairs_of_a_part_come_from_the_parts_own_sample() -> None:
    algorithm = tree(16)
    train, test = counterfactuals(algorithm, 600, seed=0).split(train=0.5, test=0.5)
    node = algorithm["node_0"]
    first = controlled_within(train, node, 200, seed=1)
    again = controlled_within(train, node, 200, seed=1)
    other = controlled_within(train, node, 200, seed=2)
    assert np.array_equal(first.ids, again.ids)
    assert np.array_equal(first.base, again.base)
    assert not np.array_equal(first.ids, other.ids)
    assert not np.isin(first.ids, test.ids).any()
    assert (first.base_value(node) != first.source_value(node)).all()
    # A data set that is drawn after it is what it would have been.
    fresh, _ = counterfactuals(algorithm, 600, seed=0).split(train=0.5, test=0.5)
    assert np.array_equal(controlled_within(fresh, node, 200, seed=1).ids, first.ids)
    assert np.array_equal(train.ids, fresh.ids)


def test_what_the_held_variables_fix_is_not_searched_for(monkeypatch: pytest.MonkeyPatch) -> None:
    algorithm = tree(8)
    upper, lower = algorithm["node_4"], algorithm["node_0"]
    inner = set(algorithm.inner_variables)
    assert _fixed(algorithm, upper, inner - {upper})
    assert _fixed(algorithm, upper, set(algorithm.input_variables))
    assert not _fixed(algorithm, lower, inner - {lower})
    assert not _fixed(algorithm, upper, {algorithm["node_0"]})
    assert not _fixed(algorithm, algorithm["word_0"], inner)
    calls = []
    import commutes.training._closed_data as module

    real = module.controlled_within
    monkeypatch.setattr(
        module, "controlled_within", lambda *a, **k: calls.append(k.get("hold")) or real(*a, **k)
    )
    pairs = counterfactuals(algorithm, 400, seed=0)
    flips, held = flips_of(pairs, upper, 100, 0)
    assert calls != [None]
    assert len(calls) == 1
    assert "node_0" not in held
    assert (flips.pairs.base_value(upper) != flips.pairs.source_value(upper)).all()


def rare() -> Algorithm:
    """v is 2 for one of 10,000 pairs of its inputs, and otherwise 0 or 1."""
    found = Algorithm("a rare value")
    found.inputs("a b c d", domain=range(100))
    found.add("v", "a", "b", f=lambda a, b: 2 if a == b == 0 else int(a + b > 100), domain=range(3))
    found.add("big", "c", "d", f=lambda c, d: c + d > 100, domain=[False, True])
    found.add("out", "v", "big", f=lambda v, big: (v + big) % 3, domain=range(3), output=True)
    return found.check()


@pytest.mark.parametrize("seed", range(3))
def test_a_few_controlled_pairs_of_a_large_sample_have_every_value(seed: int) -> None:
    """Of a sample a part is tried: all bases that have a rare value, and sources that have it often."""
    algorithm = rare()
    train = counterfactuals(algorithm, 40_000, seed=0, distribution="inputs", reuse=True).split(
        train=0.5, rest=0.5
    )[0]
    assert len(train._reservoir.pool()) > 2 * _controlled._BASES
    pairs = controlled_within(train, "v", 1_024, seed=seed)
    made = set(zip(pairs.base_value("v").tolist(), pairs.source_value("v").tolist(), strict=True))
    assert made == {(a, b) for a in range(3) for b in range(3) if a != b}
    assert len(np.unique(pairs.base)) > 700
    assert len(np.unique(pairs.source[pairs.source_value("v") == 2])) > 200
    big = pairs.columns["big"]
    assert (big[pairs.base] == big[pairs.source[:, 0]]).all()


def test_what_a_part_of_a_sample_stands_for_is_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    """The weights of transitions are those of the distribution: 2 is drawn often, and weighs little."""
    algorithm = rare()
    found = {}
    for bases in (2**13, 2**20):
        monkeypatch.setattr(_controlled, "_BASES", bases)
        pairs = counterfactuals(algorithm, 40_000, seed=0, distribution="inputs", reuse=True)
        small = controlled_within(pairs, "v", 600, seed=1)
        weights: dict[tuple[int, int], float] = {}
        for (_, _, values), weight in small.balanced_weights.items():
            weights[values] = weights.get(values, 0.0) + weight
        found[bases] = weights
    few, all_of_it = found.values()
    one = 4_851 / 10_000  # pairs a + b > 100
    for weights in (few, all_of_it):
        assert weights[0, 1] == pytest.approx(0.5, abs=0.01)
        assert weights[1, 0] == pytest.approx(0.5, abs=0.01)
    # From 0 to 2: as likely as a 0, times the 2s among the others, over all changes.
    exact = (1 - one) * 1e-4 / (2 * one * (1 - one))
    assert few[0, 2] == pytest.approx(exact, rel=0.5)
    assert few[0, 2] == pytest.approx(all_of_it[0, 2], rel=0.5)

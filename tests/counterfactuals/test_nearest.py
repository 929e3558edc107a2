"""Natural inputs nearest to the base: by brute force where the domain is small, by their properties elsewhere."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from commutes.algorithm import Algorithm, vectors
from commutes.counterfactuals import (
    Counterfactuals,
    Distribution,
    Nearest,
    belongs,
    census,
    counterfactuals,
    nearest_inputs,
)
from tests.counterfactuals.conftest import build_boolean, build_equality


def effective(pairs: Counterfactuals) -> np.ndarray:
    return np.nonzero(pairs.effective)[0]


def by_hand(algorithm: Algorithm, swapped: list[str], base: dict, values: dict) -> int | None:
    """The fewest inputs that have to move, over the whole domain, or None: plain values and loops."""
    wanted = algorithm.evaluate(base, do=values)
    below = {d.name for name in swapped for d in algorithm.descendants(name)}
    above = {a.name for name in swapped for a in algorithm.ancestors(name)} - set(swapped)
    cone = below - set(swapped)
    enters = {p.name for name in cone for p in algorithm.parents(name)} - cone - set(swapped)
    inner = [v.name for v in algorithm.inner_variables if v.name not in below]
    inputs = [v.name for v in algorithm.input_variables]
    strict = [n for n in inner if n not in swapped]
    loose = [n for n in strict if n in enters or n not in above]
    for held in (strict, loose):
        for outside_stay in (True, False):
            found = []
            for row in product(*(algorithm.domain(n).values for n in inputs)):
                candidate = dict(zip(inputs, row, strict=True))
                moved = [n for n in inputs if candidate[n] != base[n]]
                if any(n in enters and n not in swapped for n in moved):
                    continue
                if outside_stay and any(n not in above and n not in swapped for n in moved):
                    continue
                got = algorithm.evaluate(candidate)
                if all(got[n] == wanted[n] for n in (*swapped, *held)):
                    found.append(len(moved))
            if found:
                return min(found)
    return None


def plain(pairs: Counterfactuals, columns: dict[str, np.ndarray], row: int) -> dict:
    return {n: pairs.algorithm.values(n, c[[row]])[0] for n, c in columns.items()}


def check_all(pairs: Counterfactuals, found: Nearest, rows: np.ndarray) -> None:
    """What is found has the swapped values and the expected answer, and the ids are those of its inputs."""
    algorithm = pairs.algorithm
    there = np.nonzero(found.row >= 0)[0]
    columns = algorithm.run(found.inputs)
    assert np.array_equal(algorithm.input_ids(found.inputs), found.ids)
    assert len(set(found.ids.tolist())) == len(found.ids)
    answer = columns[algorithm.output_variable.name][found.row[there]]
    assert np.array_equal(answer, pairs.expected[rows[there]])
    for variable in pairs.variables:
        own = there[pairs.swapped(variable)[rows[there]]]
        assert np.array_equal(columns[variable.name][found.row[own]], pairs.source_value(variable)[rows[own]])
    apart = [
        found.inputs[v.name][found.row[there]] != pairs.columns[v.name][pairs.base[rows[there]]]
        for v in algorithm.input_variables
    ]
    counted = np.sum([a.reshape(len(there), -1).any(axis=1) for a in apart], axis=0)
    assert np.array_equal(counted, found.moved[there])
    assert (found.moved[found.row < 0] == -1).all()


def chain() -> Algorithm:
    """v is computed from an inner variable alone, and from one that something else reads as well."""
    algorithm = Algorithm("chain")
    algorithm.inputs("a b c", domain=range(3))
    algorithm.add("u", "a", "b", f=lambda a, b: (a + b) % 3, domain=range(3))
    algorithm.add("v", "u", f=lambda u: u == 0, domain=[False, True])
    algorithm.add("out", "v", "c", f=lambda v, c: c if v else 0, domain=range(3), output=True)
    return algorithm.check()


def read_twice() -> Algorithm:
    """u is read by v and by the output: v can change by b alone."""
    algorithm = Algorithm("read twice")
    algorithm.inputs("a b", domain=range(3))
    algorithm.add("u", "a", f=lambda a: a == 0, domain=[False, True])
    algorithm.add("v", "u", "b", f=lambda u, b: u and b == 1, domain=[False, True])
    algorithm.add("out", "u", "v", f=lambda u, v: 2 * u + v, domain=range(4), output=True)
    return algorithm.check()


@pytest.mark.parametrize(
    ("algorithm", "swap"),
    [
        (build_equality(3), [{"left"}, {"right"}]),
        (build_equality(3), [{"left", "right"}, {"w"}]),
        (build_boolean(), [{"p"}, {"q"}, {"p", "q"}, {"a"}]),
        (chain(), [{"v"}, {"u"}, {"u", "v"}]),
        (read_twice(), [{"v"}, {"u"}]),
    ],
    ids=["alone", "jointly", "shared parents", "inner variables above", "what is read elsewhere"],
)
def test_as_few_inputs_move_as_can(algorithm, swap):
    pairs = counterfactuals(algorithm, 48, swap=swap, seed=3)
    rows = effective(pairs)
    found = nearest_inputs(pairs, rows, seed=0)
    check_all(pairs, found, rows)
    fewest = []
    for row in rows:
        base = plain(pairs, pairs.inputs, int(pairs.base[row]))
        chosen = pairs.swaps[pairs.swap[row]].variables
        values = {v: algorithm.values(v, pairs.source_value(v)[[row]])[0] for v in chosen}
        fewest.append(by_hand(algorithm, [v.name for v in chosen], base, values))
    assert [None if m < 0 else m for m in found.moved.tolist()] == fewest


def test_some_transitions_have_no_natural_input():
    """v = u and b cannot become true where u is false, and u, which the output reads as well, must stay."""
    algorithm = read_twice()
    pairs = census(algorithm, swap=[{"v"}])
    rows = effective(pairs)
    found = nearest_inputs(pairs, rows, seed=0)
    impossible = ~pairs.base_value("u").astype(bool)[rows] & pairs.source_value("v").astype(bool)[rows]
    assert impossible.any()
    assert np.array_equal(found.row < 0, impossible)


def test_inputs_that_move_are_no_favourites():
    """left becomes false by another w as often as by another x."""
    pairs = census(build_equality(3), swap=[{"left"}])
    rows = effective(pairs)
    found = nearest_inputs(pairs, rows, seed=0)
    falls = pairs.base_value("left")[rows] == 1
    w = found.inputs["w"][found.row] != pairs.columns["w"][pairs.base[rows]]
    once = np.unique(pairs.base[rows][falls], return_index=True)[1]
    assert 0.2 < w[falls][once].mean() < 0.8


def test_own_inputs_of_the_part_come_first_and_what_is_to_be_avoided_never():
    train, test = counterfactuals(build_equality(8), 1200, seed=4).split(train=0.8, test=0.2)
    rows = effective(test)
    found = nearest_inputs(test, rows, seed=0, avoid=train.input_ids)
    check_all(test, found, rows)
    assert (found.row >= 0).all()
    own = belongs(test, found.ids)
    assert own.mean() > 0.9
    assert not np.isin(found.ids, train.input_ids).any()
    every = test.algorithm.input_ids(test.algorithm.enumerate_inputs())
    only = nearest_inputs(test, rows, seed=0, avoid=every[~belongs(test, every)])
    assert belongs(test, only.ids).all()
    none = nearest_inputs(test, rows, seed=0, avoid=every)
    assert (none.row == -1).all()
    assert len(none.ids) == 0


def test_inputs_of_another_part_stand_in_where_its_own_have_none():
    """With two values of a and b, of four settings the part may lack the one that is asked for."""
    algorithm = Algorithm("exclusive or of and")
    algorithm.inputs("a b c d", domain=[False, True])
    algorithm.add("both", "a", "b", f=lambda a, b: a and b, domain=[False, True])
    algorithm.add("rest", "c", "d", f=lambda c, d: c and d, domain=[False, True])
    algorithm.add("out", "both", "rest", f=lambda p, q: p != q, domain=[False, True], output=True)
    (test,) = counterfactuals(algorithm, 400, swap=[{"both"}], seed=2).split(test=0.6)
    rows = effective(test)
    found = nearest_inputs(test, rows, seed=0)
    check_all(test, found, rows)
    assert (found.row >= 0).all()
    assert not belongs(test, found.ids).all()
    # Its own come first, even where another input of another part is nearer.
    every = algorithm.input_ids(algorithm.enumerate_inputs())
    alone = nearest_inputs(test, rows, seed=0, avoid=every[~belongs(test, every)])
    has = alone.row >= 0
    assert has.any()
    assert belongs(test, found.ids[found.row[has]]).all()


def real_equality() -> tuple[Algorithm, Distribution]:
    algorithm = Algorithm("real equality")
    algorithm.inputs("w x y", domain=vectors(2, -1.0, 1.0))
    algorithm.add("left", "w", "x", f=lambda w, x: tuple(w) == tuple(x), domain=[False, True])
    algorithm.add("out", "left", "y", f=lambda left, y: left == (y[0] > 0), domain=[False, True], output=True)

    def draw(rng: np.random.Generator, n: int) -> dict[str, np.ndarray]:
        drawn = {name: rng.uniform(-1, 1, (n, 2)) for name in "wxy"}
        equal = rng.random(n) < 0.5
        drawn["x"][equal] = drawn["w"][equal]
        return drawn

    return algorithm.check(), Distribution("equal half of the time", draw)


def test_of_an_infinite_domain_inputs_are_put_together():
    algorithm, distribution = real_equality()
    pairs = counterfactuals(algorithm, 400, distribution=distribution, seed=0)
    _, test = pairs.split(train=0.5, test=0.5)
    rows = effective(test)
    found = nearest_inputs(test, rows, seed=0)
    check_all(test, found, rows)
    assert (found.row >= 0).all()
    y = test.columns["y"][test.base[rows]]
    assert np.array_equal(found.inputs["y"][found.row], y)
    again = nearest_inputs(test, rows, seed=0, avoid=found.ids)
    assert not np.isin(again.ids, found.ids).any()
    assert (again.row >= 0).all()


def test_of_a_large_domain_single_inputs_are_tried_first():
    algorithm = build_equality(40)
    assert algorithm.input_count > 1_000_000
    pairs = counterfactuals(algorithm, 300, seed=1)
    rows = effective(pairs)
    found = nearest_inputs(pairs, rows, seed=0)
    check_all(pairs, found, rows)
    assert (found.row >= 0).all()
    # Two numbers are made different by moving one of them.
    for name in ("left", "right"):
        apart = (pairs.swapped(name) & (pairs.base_value(name) == 1))[rows]
        assert (found.moved[apart] == 1).all()


def test_what_hangs_together_by_a_distribution_is_taken_together():
    algorithm = Algorithm("tied")
    algorithm.inputs("a b c", domain=range(200))
    algorithm.add("odd", "a", "b", f=lambda a, b: (a + b) % 4 >= 2, domain=[False, True])
    algorithm.add("out", "odd", "c", f=lambda odd, c: odd == (c % 2 == 0), domain=[False, True], output=True)

    def draw(rng: np.random.Generator, n: int) -> dict[str, np.ndarray]:
        a = rng.integers(200, size=n)
        return {"a": a, "b": a, "c": rng.integers(200, size=n)}

    pairs = counterfactuals(algorithm, 300, distribution=Distribution("a is b", draw), seed=0)
    rows = effective(pairs)
    found = nearest_inputs(pairs, rows, seed=0)
    check_all(pairs, found, rows)
    assert (found.row >= 0).all()
    assert np.array_equal(found.inputs["a"], found.inputs["b"])


def test_the_seed_decides():
    pairs = counterfactuals(build_equality(6), 300, seed=1)
    one, same, other = (nearest_inputs(pairs, effective(pairs), seed=s) for s in (1, 1, 2))
    assert np.array_equal(one.ids[one.row], same.ids[same.row])
    assert not np.array_equal(one.ids[one.row], other.ids[other.row])

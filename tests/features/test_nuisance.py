from __future__ import annotations

import numpy as np
import pytest

from commutes import Algorithm, counterfactuals, vectors
from commutes.errors import DataError
from commutes.features import nuisance_pairs
from commutes.features._nuisance import _partners


def _algorithm(symbols: int = 6) -> Algorithm:
    found = Algorithm("equality")
    found.inputs("w x y z", domain=range(symbols))
    found.add("left", "w", "x", f=lambda w, x: w == x, domain=[False, True])
    found.add("right", "y", "z", f=lambda y, z: y == z, domain=[False, True])
    found.add("same", "left", "right", f=lambda left, right: left == right, domain=[False, True], output=True)
    return found


def _changed(pairs: object, name: str) -> np.ndarray:
    return pairs.base[name] != pairs.source[name]  # type: ignore[attr-defined]


def test_others_are_drawn_again_and_the_ancestors_stay() -> None:
    algorithm = _algorithm()
    inputs = algorithm.enumerate_inputs()
    pairs = nuisance_pairs(algorithm, "left", inputs, 500, seed=0)
    assert not _changed(pairs, "w").any()
    assert not _changed(pairs, "x").any()
    # A fresh draw of one of six symbols is another one in five cases of six.
    assert 0.75 < _changed(pairs, "y").mean() < 0.92
    assert 0.75 < _changed(pairs, "z").mean() < 0.92
    # What is drawn again is not flipped: the other variable sometimes keeps its value, too.
    before, after = algorithm.run(pairs.base)["right"], algorithm.run(pairs.source)["right"]
    assert 0 < (before != after).mean() < 1


def test_all_draws_the_ancestors_again_in_the_other_half_and_keeps_the_value() -> None:
    algorithm = _algorithm()
    pairs = nuisance_pairs(
        algorithm, algorithm["left"], algorithm.enumerate_inputs(), 600, seed=1, nuisance="all"
    )
    assert (algorithm.run(pairs.base)["left"] == algorithm.run(pairs.source)["left"]).all()
    own = _changed(pairs, "w") | _changed(pairs, "x")
    others = _changed(pairs, "y") | _changed(pairs, "z")
    assert not (own & others).any()
    assert own.sum() > 200
    assert others.sum() > 200


def test_only_inputs_that_were_given_are_used() -> None:
    algorithm = _algorithm()
    train = counterfactuals(algorithm, 400, seed=3).split(train=0.5, test=0.5)[0]
    pairs = nuisance_pairs(algorithm, "left", train.inputs, 300, seed=0, nuisance="all")
    for side in (pairs.base, pairs.source):
        assert set(algorithm.input_ids(side).tolist()) <= set(train.input_ids.tolist())


def test_the_same_seed_draws_the_same_pairs() -> None:
    algorithm = _algorithm()
    inputs = algorithm.enumerate_inputs()
    one, two, other = (nuisance_pairs(algorithm, "left", inputs, 50, seed=s) for s in (0, 0, 1))
    assert all((one.source[n] == two.source[n]).all() for n in "wxyz")
    assert any((one.source[n] != other.source[n]).any() for n in "wxyz")


def _real() -> Algorithm:
    found = Algorithm("real equality")
    found.inputs("w x y", domain=vectors(2, -1.0, 1.0))
    found.add("left", "w", "x", f=lambda w, x: tuple(w) == tuple(x), domain=[False, True])
    found.add("out", "left", "y", f=lambda left, y: left == (y[0] > 0), domain=[False, True], output=True)
    return found


def test_real_valued_inputs_are_put_together_from_two() -> None:
    algorithm = _real()
    rng = np.random.default_rng(0)
    inputs = {n: rng.uniform(-1, 1, (40, 2)) for n in "wxy"}
    inputs["x"][::2] = inputs["w"][::2]
    with pytest.raises(DataError) as caught:
        nuisance_pairs(algorithm, "left", inputs, 30, seed=0)
    said = str(caught.value)
    assert said.startswith("too few inputs agree for the variable to be held\n  where:    left")
    assert "0 of 30 inputs have another one that agrees with them in w, x" in said
    assert "recombine=True" in said
    pairs = nuisance_pairs(algorithm, "left", inputs, 30, seed=0, recombine=True)
    assert (pairs.base["w"] == pairs.source["w"]).all()
    assert (pairs.base["y"] != pairs.source["y"]).any()
    both = nuisance_pairs(algorithm, "left", inputs, 30, seed=0, nuisance="all", recombine=True)
    assert (algorithm.run(both.base)["left"] == algorithm.run(both.source)["left"]).all()
    assert (both.base["w"] != both.source["w"]).any()
    # The ancestors of one source come from one input: an equal pair stays one.
    equal = (both.base["w"] == both.base["x"]).all(axis=1)
    assert ((both.source["w"] == both.source["x"]).all(axis=1) == equal).all()


def test_a_variable_of_all_inputs_has_no_other_nuisance() -> None:
    algorithm = Algorithm("sum")
    algorithm.inputs("a b", domain=range(3))
    algorithm.add("total", "a", "b", f=lambda a, b: a + b, domain=range(5))
    algorithm.add("even", "total", f=lambda total: total % 2 == 0, domain=[False, True], output=True)
    inputs = algorithm.enumerate_inputs()
    with pytest.raises(DataError) as caught:
        nuisance_pairs(algorithm, "total", inputs, 20, seed=0)
    assert str(caught.value) == (
        "there is no nuisance but the variable's own ancestors\n"
        "  where:    total\n"
        "  got:      every input (a, b) is an ancestor of it\n"
        "  expected: an input that it does not depend on\n"
        '  do:       use nuisance="all", which draws the ancestors again and keeps the value'
    )
    pairs = nuisance_pairs(algorithm, "total", inputs, 50, seed=0, nuisance="all")
    assert (algorithm.run(pairs.base)["total"] == algorithm.run(pairs.source)["total"]).all()
    assert (pairs.base["a"] != pairs.source["a"]).any()


def test_no_inputs_are_an_error() -> None:
    algorithm = _algorithm()
    none = {name: column[:0] for name, column in algorithm.enumerate_inputs().items()}
    with pytest.raises(DataError, match="there are no inputs to draw from"):
        nuisance_pairs(algorithm, "left", none, 10, seed=0)


@pytest.mark.parametrize("width", [1, 2])
def test_nan_agrees_with_nothing(width: int) -> None:
    column = np.full((6, width), np.nan)
    column[4:] = 1.0
    rows = np.array([4, 5, 4, 5, 4, 0])
    found = _partners({"x": column}, ["x"], rows, np.random.default_rng(0), "x")
    assert set(found[:5].tolist()) <= {4, 5}
    assert found[5] == 0

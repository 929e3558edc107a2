"""Defects seen in other libraries, each of which must not be one of ours."""

from __future__ import annotations

import copy
import os
import subprocess
import sys

import numpy as np
import pytest

from commutes.algorithm import Algorithm
from commutes.counterfactuals import Counterfactuals, Distribution, counterfactuals
from commutes.counterfactuals._codes import joint_codes
from commutes.errors import CommutesError, DataError


def four_inputs() -> Algorithm:
    equality = Algorithm("equality")
    equality.inputs("w x y z", domain=range(12))
    equality.add("left", "w", "x", f=lambda w, x: w == x, domain=[False, True])
    equality.add("right", "y", "z", f=lambda y, z: y == z, domain=[False, True])
    equality.add("same", "left", "right", f=lambda a, b: a == b, domain=[False, True], output=True)
    return equality


def columns_of(pairs: Counterfactuals) -> dict[str, np.ndarray]:
    names = ("base", "source", "swap", "expected", "stratum", "moved", "base_answer", "effective", "members")
    return {name: getattr(pairs, name) for name in names}


def test_filtering_drops_no_field() -> None:
    """Filtered samples in a peer lose the field that says which variable was swapped."""
    pairs = counterfactuals(four_inputs(), 400, flip={"left"}, seed=0).subset(np.arange(7, 333, 5))
    plain = counterfactuals(four_inputs(), 400, seed=0)
    for name, column in columns_of(plain.subset(plain.effective)).items():
        assert len(column) == plain.effective.sum(), name
    for name, column in columns_of(pairs).items():
        assert len(column) == len(pairs) == 66, name
    assert pairs.swapped("left").all()
    assert not pairs.swapped("right").any()
    assert pairs.swaps
    assert pairs.weights
    assert pairs.design.seed == 0


def test_joint_classes_are_not_made_by_joining_text() -> None:
    """(1, 12) and (11, 2) are "112" both; as classes they differ, and so do the pairs drawn from them."""
    columns = [np.array([1, 11]), np.array([12, 2])]
    assert len({f"{a}{b}" for a, b in zip(*columns, strict=True)}) == 1
    assert len(set(joint_codes(columns, 2).tolist())) == 2
    text = Algorithm("texts")
    text.inputs("a b", domain=["1", "11", "12", "2"])
    text.add("first", "a", f=lambda a: a, domain=["1", "11", "12", "2"])
    text.add("second", "b", f=lambda b: b, domain=["1", "11", "12", "2"])
    text.add("out", "first", "second", f=lambda a, b: (a, b))
    text.add("short", "out", f=lambda pair: len(pair[0]) > len(pair[1]), output=True)
    pairs = counterfactuals(text, 2_000, swap={"first", "second"}, seed=0)
    classes = set(zip(pairs.base_value("first").tolist(), pairs.base_value("second").tolist(), strict=True))
    assert len(classes) == 16


SCRIPT = """
from commutes.algorithm import Algorithm
from commutes.counterfactuals import counterfactuals
a = Algorithm("words")
a.inputs("s t", domain=["cat", "dog", "eel", "fox"])
a.add("same", "s", "t", f=lambda s, t: s == t, domain=[False, True])
a.add("long", "s", f=lambda s: s > "d", domain=[False, True])
a.add("out", "same", "long", f=lambda same, long: same or long, domain=[False, True], output=True)
p = counterfactuals(a, 50, swap=[{"same", "long"}, {"long"}, {"same"}], seed=0)
print([s.label for s in p.swaps], p.members.tolist(), p.ids.tolist(), sorted(p.weights.items()))
"""


def test_pairs_do_not_differ_with_the_hash_seed() -> None:
    def run(seed: str) -> str:
        environment = {**os.environ, "PYTHONHASHSEED": seed}
        return subprocess.run(
            [sys.executable, "-c", SCRIPT], env=environment, capture_output=True, text=True, check=True
        ).stdout

    assert run("0") == run("4242") != ""


def test_nothing_of_the_callers_is_changed() -> None:
    """Lists are not sorted, a distribution's columns not written to, global randomness not touched."""
    algorithm = four_inputs()
    swap = [{"right"}, {"left"}]
    hold = ["z", "y"]
    before = copy.deepcopy((swap, hold))
    handed: list[dict[str, np.ndarray]] = []
    kept: list[dict[str, np.ndarray]] = []

    def draw(rng: np.random.Generator, n: int) -> dict[str, np.ndarray]:
        columns = {k: rng.integers(0, 12, n) for k in "wxyz"}
        columns["x"][::2] = columns["w"][::2]
        columns["z"][::3] = columns["y"][::3]
        handed.append(columns)
        kept.append({k: v.copy() for k, v in columns.items()})
        return columns

    state = np.random.get_state()[1].copy()  # noqa: NPY002
    pairs = counterfactuals(algorithm, 100, swap=swap, distribution=Distribution("own", draw), seed=0)
    pairs.split(train=0.5, test=0.5)
    counterfactuals(algorithm, 100, flip="left", hold=hold, seed=0)
    assert (swap, hold) == before
    assert np.array_equal(np.random.get_state()[1], state)  # noqa: NPY002
    assert [s.label for s in pairs.swaps] == ["right", "left"]
    for ours, theirs in zip(kept, handed, strict=True):
        for name, column in ours.items():
            assert np.array_equal(column, theirs[name])


def test_a_mismatched_source_is_not_repeated() -> None:
    """One source for many bases is repeated without a word in a peer; here it is refused."""
    algorithm = four_inputs()
    pairs = counterfactuals(algorithm, 10, seed=0)
    one = {name: column[pairs.source[:1, 0]] for name, column in pairs.inputs.items()}
    many = {name: column[pairs.base] for name, column in pairs.inputs.items()}
    with pytest.raises(CommutesError):
        algorithm.interchange(many, {algorithm["left"]: one})
    short = Distribution("one column short", lambda rng, n: {k: [1] * (n if k != "z" else 1) for k in "wxyz"})
    with pytest.raises(CommutesError, match=r"unequal length|wrong number of rows"):
        counterfactuals(algorithm, 10, distribution=short, seed=0)


def test_indices_are_not_read_as_a_range() -> None:
    """[[0, 5]] is not two indices, and not rows 0 to 5."""
    pairs = counterfactuals(four_inputs(), 10, seed=0)
    assert np.array_equal(pairs.subset([0, 5]).base_answer, pairs.base_answer[[0, 5]])
    with pytest.raises(DataError, match="not rows of the data"):
        pairs.subset([[0, 5]])  # pyright: ignore[reportArgumentType]


def test_a_misspelt_variable_is_never_ignored() -> None:
    for options in ({"swap": [{"lefft"}]}, {"flip": "lefft"}, {"flip": "left", "hold": ["rigth"]}):
        with pytest.raises(DataError, match="no variable"):
            counterfactuals(four_inputs(), 10, seed=0, **options)  # pyright: ignore[reportArgumentType]


def test_a_typo_in_an_option_is_not_swallowed() -> None:
    with pytest.raises(TypeError, match="distrbution"):
        counterfactuals(four_inputs(), 10, distrbution="inputs", seed=0)  # pyright: ignore[reportCallIssue]


def test_training_inputs_never_reach_the_measured_part() -> None:
    for seed in range(5):
        train, test = counterfactuals(four_inputs(), 500, seed=seed).split(train=0.5, test=0.5)
        assert not np.intersect1d(train.input_ids, test.input_ids).size

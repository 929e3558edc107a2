"""Ids and fingerprints: what changes them, what does not, and that no process differs from another."""

from __future__ import annotations

import os
import subprocess
import sys
from enum import Enum

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from commutes.algorithm import Algorithm, Space, _identity, reals, vectors
from commutes.algorithm._mechanism import Mechanism
from commutes.algorithm._values import framed, token

PROGRAM = """
from enum import Enum
from commutes.algorithm import Algorithm, vectors

class Colour(Enum):
    RED = 1
    GREEN = 2

a = Algorithm("anything")
a.input("x", domain=["one", b"two", None, True, 1, (1, 12), frozenset({"p", "q", "r"}), *Colour])
a.input("y", domain=range(5))
a.input("v", domain=vectors(2))
a.add("m", "x", "y", f=lambda x, y: f"{type(x).__name__}{y}")
pairs = [(i, b) for i in range(3) for b in (False, True)]
a.add("out", "m", "v", f=lambda m, v: (len(m) % 3, v[0] > 0), domain=pairs, output=True)
x = [True, 1, "one", (1, 12), frozenset({"q", "r", "p"})]
ids = a.input_ids(a.columns({"x": x, "y": range(5), "v": [(0.5, -0.25)] * 5}))
print(a.fingerprint, *ids.tolist())
"""


EXPECTED = [
    "09b81e28093a1bfb947ce6232441853928949ad0584a0a631d6af82fe7ef0171",
    "13585141396611784242",
    "16807281930418148333",
    "5834439792879347990",
    "2597664414171270309",
    "668078416001232785",
]


def test_processes_with_different_hash_seeds_agree():
    answers = set()
    for seed in ("0", "1234"):
        environment = {**os.environ, "PYTHONHASHSEED": seed}
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM], env=environment, capture_output=True, text=True, check=True
        )
        answers.add(done.stdout)
    assert len(answers) == 1
    # Fixed for good: saved alignments and records hold such ids and fingerprints.
    assert answers.pop().split() == EXPECTED


def two(domain: object, *, f=lambda x, y: x == y, order: str = "x y") -> Algorithm:
    a = Algorithm("two")
    a.inputs(order, domain=domain)
    a.add("out", "x", "y", f=f, domain=bool, output=True)
    return a


def test_ids_depend_on_names_and_values_alone():
    rows = {"x": [1, 2, 2, 0], "y": [2, 1, 1, 0]}
    plain = two(range(3))
    ids = plain.input_ids(plain.columns(rows))
    assert ids.dtype == np.uint64
    assert ids[1] == ids[2]
    assert len(set(ids.tolist())) == 3
    for other in (two((2, 0, 1)), two(range(3), order="y x"), two((0.0, 1.0, 2.0)), two(range(7))):
        assert other.input_ids(other.columns(rows)).tolist() == ids.tolist()
    bools = two((False, True))
    ones = two((0, 1))
    false, zero = bools.columns({"x": [False], "y": [False]}), ones.columns({"x": [0], "y": [0]})
    assert bools.input_ids(false) != ones.input_ids(zero)


def test_ids_of_vectors():
    a = two(vectors(2))
    rows = {"x": [(0.0, 0.5), (-0.0, 0.5), (0.5, 0.0)], "y": [(0.0, 0.5)] * 3}
    ids = a.input_ids(a.columns(rows))
    assert ids[0] == ids[1]
    assert ids[0] != ids[2]
    raw = {"x": np.array([[0.0, 0.5], [-0.0, 0.5]]), "y": np.array([[0.0, 0.5]] * 2)}
    assert a.input_ids(raw).tolist() == ids[:2].tolist()


def test_a_hundred_thousand_inputs_have_a_hundred_thousand_ids():
    a = Algorithm("many")
    a.inputs("p q r s t", domain=range(10))
    a.add("out", *"pqrst", f=lambda *digits: sum(digits), output=True)
    ids = a.input_ids(a.enumerate_inputs())
    assert len(np.unique(ids)) == 100_000
    bits = (ids[:, None] >> np.arange(64, dtype=np.uint64)) & np.uint64(1)
    assert (abs(bits.mean(axis=0) - 0.5) < 0.01).all()  # 6 standard errors: ids are used as random numbers


@given(st.lists(st.lists(st.binary(max_size=4), max_size=4), min_size=2, max_size=2, unique_by=tuple))
def test_frames_never_run_together(pair):
    assert framed(*pair[0]) != framed(*pair[1])


def test_tokens_of_values_that_look_alike():
    class Colour(Enum):
        RED = 1

    alike = [1, True, "1", b"1", (1,), ("1",), frozenset({1}), Colour.RED, "True", "None", None, 1.5, "1.5"]
    assert len(set(map(token, alike))) == len(alike)
    assert token(1) == token(1.0)
    assert token((1, 12)) != token((11, 2))
    assert token(float("inf")) != token(float("-inf"))


def build(
    *,
    name: str = "base",
    inputs: str = "x y",
    domain: object = (0, 1, 2),
    rename: str = "middle",
    middle=lambda x, y: x + y,
    swapped: bool = False,
    values: object = None,
    out=lambda m, x: m - x,
) -> Algorithm:
    a = Algorithm(name)
    a.inputs(inputs, domain=domain)
    if swapped:
        a.add(rename, "y", "x", f=lambda y, x: middle(x, y), domain=values)
    else:
        a.add(rename, "x", "y", f=middle, domain=values)
    a.add("out", rename, "x", f=out, domain=range(-4, 7), output=True)
    return a


def test_the_fingerprint_is_of_what_is_computed():
    expected = build().fingerprint
    assert len(expected) == 64
    assert int(expected, 16) >= 0

    def written_otherwise(first, second):
        """With a docstring, other names, another expression."""
        return sum((first, second))

    for same in (
        build(name="another name"),
        build(inputs="y x"),
        build(domain=(2, 0, 1)),
        build(domain=(0.0, 1.0, 2.0)),
        build(middle=written_otherwise),
        build(swapped=True),
        build(values=range(5)),
        build(values=(4, 3, 2, 1, 0)),
    ):
        assert same.fingerprint == expected
    for other in (
        build(rename="centre"),
        build(domain=(0, 1, 2, 3)),
        build(domain=(1, 2), values=range(5)),
        build(middle=lambda x, y: x + y if (x, y) != (2, 2) else 3),
        build(middle=lambda x, y: x + 2 - y),
        build(values=range(6)),
        build(out=lambda m, x: m - x if (m, x) != (4, 0) else 0),
    ):
        assert other.fingerprint != expected


def test_the_arrows_count_where_the_tables_agree():
    def chain(parent: str) -> str:
        a = Algorithm("arrows")
        a.inputs("x y", domain=(0, 1))
        a.add("p", "x", f=lambda x: x)
        a.add("q", parent, f=lambda v: v)
        a.add("out", "p", "q", "y", f=lambda p, q, y: p + q + y, output=True)
        return a.fingerprint

    assert chain("x") != chain("p")


def test_true_and_one_give_different_fingerprints():
    bools = two((False, True))
    assert bools.fingerprint != two((0, 1)).fingerprint


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(0, 2), min_size=9, max_size=9), st.integers(0, 8), st.integers(1, 2))
def test_every_entry_of_a_table_counts(table, entry, change):
    changed = [*table]
    changed[entry] = (changed[entry] + change) % 3
    prints = []
    for entries in (table, changed):
        a = Algorithm("table")
        a.inputs("x y z w", domain=range(3))
        a.add("m", "x", "y", f=lambda x, y, t=entries: t[3 * x + y], domain=range(3))
        a.add("out", "m", "x", "y", "z", "w", f=lambda *v: v, output=True)
        prints.append(a.fingerprint)
    assert prints[0] != prints[1]


def test_large_and_infinite_tables_are_sampled_and_marked():
    def large(f) -> Algorithm:
        a = Algorithm("large")
        a.inputs("x y", domain=range(1_001))
        a.add("near", "x", "y", f=f, domain=bool)
        a.add("out", "near", f=lambda near: not near, domain=bool, output=True)
        return a

    first = large(lambda x, y: abs(x - y) < 100)
    assert first.table_kinds == {"near": "sampled", "out": "complete"}
    assert first.fingerprint == large(lambda x, y: -100 < y - x < 100).fingerprint
    assert first.fingerprint != large(lambda x, y: abs(x - y) < 110).fingerprint


def test_a_sample_of_vectors_meets_equal_ones():
    """Independent draws would never be equal, and equality would have the fingerprint of `never`."""
    equal = two(vectors(4), f=lambda x, y: x == y)
    assert (
        equal.fingerprint
        == two(vectors(4), f=lambda x, y: all(a == b for a, b in zip(x, y, strict=True))).fingerprint
    )
    assert equal.fingerprint == two(vectors(4), order="y x").fingerprint
    assert equal.fingerprint != two(vectors(4), f=lambda x, y: False).fingerprint
    assert equal.fingerprint != two(vectors(5)).fingerprint
    assert equal.table_kinds == {"out": "sampled"}


def test_real_valued_answers_count():
    def mean(weight: float, space: Space) -> Algorithm:
        a = Algorithm("mean")
        a.inputs("x y", domain=range(3))
        a.add("mean", "x", "y", f=lambda x, y: weight * x + (1 - weight) * y, domain=space)
        a.add("out", "mean", f=lambda m: m > 1, domain=bool, output=True)
        return a

    expected = mean(0.5, reals()).fingerprint
    assert mean(0.5, reals()).fingerprint == expected
    assert mean(0.25, reals()).fingerprint != expected
    assert mean(0.5, reals(tolerance=0.1)).fingerprint != expected
    assert mean(0.5, reals()).table_kinds == {"mean": "complete", "out": "sampled"}


def test_a_sample_does_not_depend_on_the_order_of_the_parents():
    domains = {"x": vectors(2), "y": vectors(2)}
    out = two((False, True)).check().domain("out")
    forwards, backwards = (
        Mechanism("m", lambda a, b: a == b, names, [domains[name] for name in names], out).sample()
        for names in (("x", "y"), ("y", "x"))
    )
    assert (forwards[0] == backwards[1]).all()
    assert (forwards[1] == backwards[0]).all()
    assert 0.002 < (forwards[0] == forwards[1]).all(axis=1).mean() < 0.05


def test_the_digest_is_computed_once(monkeypatch):
    a = build()
    expected = a.fingerprint
    monkeypatch.setattr(_identity, "fingerprint", pytest.fail)
    assert a.fingerprint == expected

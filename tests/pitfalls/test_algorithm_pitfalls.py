"""Defects that other libraries for causal abstraction have had, each with the test that keeps it out."""

from __future__ import annotations

import random

import numpy as np
import pytest

from commutes.algorithm import Algorithm, vectors
from commutes.errors import AlgorithmError, MechanismError


def boolean() -> Algorithm:
    a = Algorithm("boolean")
    a.inputs("a b c", domain=(False, True))
    a.add("either", "b", "c", f=lambda b, c: b or c)
    a.add("out", "a", "either", f=lambda a, e: a and e, output=True)
    return a


def test_a_cyclic_graph_makes_the_constructor_loop_forever():
    a = Algorithm("loop")
    a.input("x", domain=range(2))
    names = [f"v{i}" for i in range(50)]
    for before, name in zip([names[-1], *names], names, strict=False):
        a.add(name, before, "x", f=lambda v, x: v)
    a.add("out", names[-1], f=lambda v: v, output=True)
    with pytest.raises(AlgorithmError, match="form a cycle: v0 -> v1 -> v2 -> ") as caught:
        a.check()
    assert caught.value.what.endswith("-> v49 -> v0")


def test_an_unknown_parent_is_a_bare_key_error():
    a = Algorithm("typo")
    a.inputs("first second", domain=range(2))
    a.add("out", "frist", "second", f=lambda f, s: f + s, output=True)
    with pytest.raises(AlgorithmError) as caught:
        a.check()
    assert not isinstance(caught.value, KeyError)
    assert caught.value.fix == "write first, or declare frist"


def test_a_misspelt_intervention_is_silently_ignored():
    a = boolean()
    row = {"a": True, "b": False, "c": False}
    assert a.evaluate(row)["out"] is False
    assert a.evaluate(row, do={"either": True})["out"] is True
    with pytest.raises(AlgorithmError, match="boolean has no variable 'eithr'"):
        a.evaluate(row, do={"eithr": True})
    with pytest.raises(AlgorithmError, match="boolean has no variable 'eithr'"):
        a.run(a.columns({name: [value] for name, value in row.items()}), {"eithr": np.array([1])})


def test_an_intervention_outside_the_domain_is_silently_accepted():
    a = boolean()
    row = {"a": True, "b": False, "c": False}
    for value in (1, "True", None, 2):
        with pytest.raises(AlgorithmError, match="value outside the domain"):
            a.evaluate(row, do={"either": value})
    with pytest.raises(AlgorithmError, match="not a column of either"):
        a.run(a.columns({name: [value] for name, value in row.items()}), {"either": np.array([2])})


def test_classes_made_by_joining_strings_confuse_1_12_with_11_2():
    a = Algorithm("pairs")
    a.inputs("x y", domain=range(13))
    a.add("pair", "x", "y", f=lambda x, y: (x, y))
    a.add("out", "pair", f=lambda pair: pair == (1, 12), output=True)
    columns = a.columns({"x": [1, 11], "y": [12, 2]})
    result = a.run(columns)
    assert result["pair"][0] != result["pair"][1]
    assert a.values("out", result["out"]) == [True, False]
    ids = a.input_ids(columns)
    assert ids[0] != ids[1]
    texts = Algorithm("texts")
    texts.inputs("x y", domain=("1", "11", "12", "2"))
    texts.add("out", "x", "y", f=lambda x, y: (x, y) == ("1", "12"), output=True)
    ids = texts.input_ids(texts.columns({"x": ["1", "11"], "y": ["12", "2"]}))
    assert ids[0] != ids[1]


def test_the_callers_list_is_sorted_or_kept_by_reference():
    names, domain, values = ["z", "a"], [3, 1, 2], [2, 3, 1]
    a = Algorithm("lists")
    a.inputs(names, domain=domain)
    a.add("out", "z", "a", f=lambda z, a: z - a, output=True)
    columns = {"z": values, "a": values}
    a.columns(columns)
    a.run(a.enumerate_inputs())
    assert (names, domain, values) == (["z", "a"], [3, 1, 2], [2, 3, 1])
    assert list(columns) == ["z", "a"]
    domain.append(4)
    assert [a.domain(name).size for name in "za"] == [3, 3]


def test_global_random_state_is_touched():
    random.seed(3)
    np.random.seed(3)  # noqa: NPY002
    expected = (random.getstate(), np.random.get_state()[1].tolist())  # noqa: NPY002
    a = Algorithm("sampled")
    a.inputs("x y", domain=vectors(2))
    a.add("out", "x", "y", f=lambda x, y: x == y, domain=bool, output=True)
    assert a.fingerprint
    assert (random.getstate(), np.random.get_state()[1].tolist()) == expected  # noqa: NPY002


def test_a_type_error_in_a_users_function_is_swallowed_and_the_function_called_another_way():
    calls: list[tuple[int, ...]] = []

    def broken(*args: int) -> int:
        calls.append(args)
        return len(3)  # pyright: ignore[reportArgumentType]

    a = Algorithm("broken")
    a.inputs("x y", domain=range(2))
    a.add("out", "x", "y", f=broken, output=True)
    with pytest.raises(MechanismError) as caught:
        a.check()
    assert isinstance(caught.value.__cause__, TypeError)
    assert calls == [(0, 0)]


def test_a_mismatched_source_is_broadcast_without_a_word():
    a = boolean()
    base = a.enumerate_inputs()
    one = {name: column[:1] for name, column in base.items()}
    with pytest.raises(AlgorithmError, match="the intervention on either and the inputs differ in length"):
        a.interchange(base, {"either": one})


def test_a_typo_in_an_option_is_swallowed():
    with pytest.raises(TypeError, match="domian"):
        Algorithm("typo").input("x", domian=range(2))  # pyright: ignore[reportCallIssue]


def test_true_and_one_are_one_value():
    a = Algorithm("kinds")
    a.input("x", domain=(0, 1, False, True))
    a.add("out", "x", f=lambda x: type(x).__name__, output=True)
    result = a.run(a.columns({"x": [1, True, 0, False]}))
    assert a.values("out", result["out"]) == ["int", "bool", "int", "bool"]

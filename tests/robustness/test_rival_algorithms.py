"""Regroupings: other variables for the same function, against plain loops over small domains."""

from __future__ import annotations

from itertools import combinations, product

import numpy as np
import pytest

from commutes import Algorithm, vectors
from commutes.robustness._rival_algorithms import MOST, Regroupings, regroupings
from commutes.robustness._rival_relations import View, otherwise, relation, shared_inputs, spoken_of
from commutes.testing.zoo._arms import arms
from tests.planted import equality

IN_PAIRS, _, AND_OR, OR_ANDS = (arm.algorithm for arm in arms())


def view(algorithm: Algorithm, like: View | None = None) -> View:
    inputs, complete = shared_inputs(algorithm, seed=0)
    return View(algorithm, spoken_of(algorithm), like.inputs if like else inputs, complete)


def made(algorithm: Algorithm, *aligned: str, seed: int = 0) -> Regroupings:
    return regroupings(view(algorithm), [algorithm[name] for name in aligned], seed=seed)


def groups(found: Regroupings) -> list[set[frozenset[str]]]:
    """Of every algorithm, the inputs that each of its variables depends on."""
    return [
        {frozenset(x.name for x in a.ancestors(v) if x.kind == "input") for v in a.inner_variables}
        for a in found.algorithms
    ]


def coarsest(algorithm: Algorithm, group: str) -> dict[tuple, int]:
    """The class of every joint value of a group's inputs, by loops: what the answers are for all of the rest."""
    names = [v.name for v in algorithm.input_variables]
    sizes = {name: algorithm.domain(name).size for name in names}
    rest = [name for name in names if name not in group]
    classes: dict[tuple, int] = {}
    found = {}
    for own in product(*(range(sizes[name]) for name in group)):
        rows = list(product(*(range(sizes[name]) for name in rest)))
        columns = {name: np.full(len(rows), value) for name, value in zip(group, own, strict=True)}
        columns |= {name: np.array([row[i] for row in rows]) for i, name in enumerate(rest)}
        answers = algorithm.run(columns)[algorithm.output_variable.name]
        found[own] = classes.setdefault(tuple(answers.tolist()), len(classes))
    return found


def test_parity_in_pairs_has_all_the_other_groupings_of_two_variables():
    """Two pairs in two other ways, and a pair within each of the triples that hold it: 2 + 6 * 2."""
    found = groups(made(IN_PAIRS, "first", "second"))
    pairs = [frozenset(p) for p in combinations("abcd", 2)]
    triples = [frozenset(t) for t in combinations("abcd", 3)]
    nested = [{pair, triple} for pair in pairs for triple in triples if pair < triple]
    apart = [{frozenset("ac"), frozenset("bd")}, {frozenset("ad"), frozenset("bc")}]
    assert len(found) == 14
    assert sorted(map(sorted, [list(map(sorted, f)) for f in found])) == sorted(
        map(sorted, [list(map(sorted, f)) for f in [*nested, *apart]])
    )
    # Groups of the claim's sizes come first.
    assert all(f in found[:2] for f in apart)


@pytest.mark.parametrize(
    ("algorithm", "aligned"), [(IN_PAIRS, ("first", "second")), (AND_OR, ("either", "a"))]
)
def test_whatever_is_made_has_the_function_and_no_more_values(algorithm, aligned):
    claim = view(algorithm)
    most = max(len(np.unique(claim.code(name))) for name in aligned)
    found = made(algorithm, *aligned)
    assert found.algorithms
    assert found.reason == ""
    for rival in found.algorithms:
        assert otherwise(claim, view(rival, claim)) == 0
        assert len(rival.inner_variables) == len(aligned)
        assert all(2 <= rival.domain(v).size <= most for v in rival.inner_variables)


def test_a_variable_is_the_coarsest_of_its_group():
    rival = next(
        a for a in made(AND_OR, "either", "a").algorithms
        if {"of_a_b", "of_c"} == {v.name for v in a.inner_variables}
    )  # fmt: skip
    oracle = coarsest(AND_OR, "ab")
    # a even; a odd and b even; both odd.
    assert len(set(oracle.values())) == 3
    columns = rival.run(rival.enumerate_inputs())
    values = {}
    for a, b, own in zip(columns["a"], columns["b"], columns["of_a_b"], strict=True):
        values.setdefault(oracle[int(a), int(b)], set()).add(int(own))
    assert sorted(map(len, values.values())) == [1, 1, 1]
    assert len(set().union(*values.values())) == 3


def test_a_group_within_a_group_is_computed_from_it():
    rival = next(a for a in made(IN_PAIRS, "first", "second").algorithms if "of_a_b_c" in a and "of_a_b" in a)
    assert rival["of_a_b_c"].parent_names == ("of_a_b", "c")
    assert rival["odd"].parent_names == ("of_a_b_c", "d")
    assert rival.name == "parity of four numbers, in pairs by way of (a, b) and (a, b, c)"


def test_a_single_input_is_a_variable_only_where_the_claim_aligns_one():
    assert any(len(group) == 1 for found in groups(made(AND_OR, "either", "a")) for group in found)
    # Without it there are two groups of two other inputs beside the claim's own.
    assert groups(made(AND_OR, "either")) == []
    singles = [sum(len(group) == 1 for group in found) for found in groups(made(AND_OR, "either", "a"))]
    assert max(singles) == 1


def test_the_seed_orders_what_is_equally_like_the_claim():
    names = [[a.name for a in made(IN_PAIRS, "first", "second", seed=s).algorithms] for s in (0, 0, 1)]
    assert names[0] == names[1] != names[2]
    assert sorted(names[0]) == sorted(names[2])


def test_the_claim_itself_is_not_made_again_but_what_it_leaves_out_may_be():
    claim = view(IN_PAIRS)
    for rival in made(IN_PAIRS, "first", "second").algorithms:
        assert relation(claim, view(rival, claim), seed=0) == "rival"
    alone = made(IN_PAIRS, "first")
    kinds = {a.name: relation(claim, view(a, claim), seed=0) for a in alone.algorithms}
    assert {name for name, kind in kinds.items() if kind == "entailed"} == {
        "parity of four numbers, in pairs by way of (c, d)"
    }


def test_no_grouping_of_equality_has_as_few_values():
    found = made(equality(6), "left", "right")
    assert found.algorithms == ()
    assert found.reason == "no other grouping of its inputs gives 2 variables of at most 2 values"
    assert made(OR_ANDS, "with_b", "with_c").reason == found.reason
    alone = made(AND_OR, "either")
    assert alone.reason == "no other grouping of its inputs gives a variable of at most 2 values"
    # Of two symbols it is the parity of four bits.
    assert len(made(equality(2), "left", "right").algorithms) == 14


def test_what_cannot_be_listed_is_not_regrouped():
    points = Algorithm("vectors")
    points.inputs("a b", domain=vectors(2))
    points.add("v", "a", "b", f=lambda a, b: a[0] < b[0], domain=bool)
    points.add("y", "v", f=lambda v: not v, domain=bool, output=True)
    assert made(points.check(), "v").reason == "numbers without a list of values cannot be regrouped"
    large = equality(22)
    assert made(large, "left").reason == "an algorithm of more than 200,000 inputs is not regrouped"
    many = Algorithm("parity of nine")
    many.inputs([f"x{i}" for i in range(9)], domain=[0, 1])
    many.add("v", "x0", "x1", f=lambda a, b: a ^ b, domain=[0, 1])
    many.add("y", "v", *[f"x{i}" for i in range(2, 9)], f=lambda *xs: sum(xs) % 2, domain=[0, 1], output=True)
    assert made(many.check(), "v").reason == "an algorithm of more than 8 input variables is not regrouped"


def test_not_more_are_built_than_are_looked_at():
    six = Algorithm("parity of six")
    six.inputs("a b c d e f", domain=[0, 1])
    for name, group in (("first", "ab"), ("second", "cd"), ("third", "ef")):
        six.add(name, *group, f=lambda x, y: x ^ y, domain=[0, 1])
    six.add("odd", "first", "second", "third", f=lambda x, y, z: x ^ y ^ z, domain=[0, 1], output=True)
    found = made(six.check(), "first", "second", "third")
    assert len(found.algorithms) == MOST
    # 15 ways to divide six into pairs, the claim's among them.
    assert sum(all(len(group) == 2 for group in one) for one in groups(found)) == 14

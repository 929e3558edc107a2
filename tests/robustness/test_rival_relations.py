"""How algorithms stand to one another: theorems about small ones, each with its inverse."""

from __future__ import annotations

from commutes import Algorithm, reals
from commutes.algorithm import Finite
from commutes.robustness._rival_relations import (
    View,
    differing,
    entailed_by,
    otherwise,
    recoded,
    relation,
    shared_inputs,
    spoken_of,
    standing,
)
from tests.planted import equality


def view(algorithm: Algorithm, *aligned: str) -> View:
    inputs, complete = shared_inputs(algorithm, seed=0)
    return View(algorithm, spoken_of(algorithm, [algorithm[name] for name in aligned]), inputs, complete)


def parity(variables: dict[str, str], *, size: int = 4, turned: bool = False) -> Algorithm:
    """Whether the sum of four numbers is odd, by variables of some of them; inputs left over are read by the output."""
    found = Algorithm(f"parity by {', '.join(variables.values())}")
    found.inputs("a b c d", domain=range(size))
    for name, group in variables.items():
        found.add(name, *group, f=lambda *xs: (sum(xs) % 2 == 1) != turned, domain=bool)
    rest = [x for x in "abcd" if not any(x in group for group in variables.values())]
    parents = [*variables, *rest]
    turns = len(variables) * turned
    found.add(
        "odd", *parents, f=lambda *xs: (sum(map(int, xs)) + turns) % 2 == 1, domain=bool, output=True
    )  # fmt: skip
    return found.check()


IN_PAIRS = parity({"first": "ab", "second": "cd"})
REGROUPED = parity({"first": "ac", "second": "bd"})
ONE = parity({"first": "ab"})
TURNED = parity({"second": "cd", "first": "ab"}, turned=True)


def related(one: Algorithm, other: Algorithm) -> str:
    return relation(view(one), view(other), seed=0)


def test_all_these_have_one_function_and_others_have_not():
    for other in (REGROUPED, ONE, TURNED):
        assert otherwise(view(IN_PAIRS), view(other)) == 0
    other = Algorithm("parity of three and a half")
    other.inputs("a b c d", domain=range(4))
    other.add(
        "odd",
        "a",
        "b",
        "c",
        "d",
        f=lambda a, b, c, d: (a + b + c + (d > 2)) % 2 == 1,
        domain=bool,
        output=True,
    )
    assert otherwise(view(IN_PAIRS), view(other)) == 64


def test_values_that_are_called_otherwise_are_the_same_claim():
    assert related(IN_PAIRS, TURNED) == "the same"
    assert IN_PAIRS.fingerprint != TURNED.fingerprint


def test_a_variable_that_is_left_out_is_entailed_and_one_that_is_added_is_finer():
    assert related(IN_PAIRS, ONE) == "entailed"
    assert related(ONE, IN_PAIRS) == "finer"
    nothing = Algorithm("parity at once")
    nothing.inputs("a b c d", domain=range(4))
    nothing.add("odd", "a", "b", "c", "d", f=lambda *xs: sum(xs) % 2 == 1, domain=bool, output=True)
    assert related(IN_PAIRS, nothing.check()) == "entailed"


def test_another_grouping_is_a_rival_both_ways():
    assert related(IN_PAIRS, REGROUPED) == related(REGROUPED, IN_PAIRS) == "rival"


def remainders(modulus: int) -> Algorithm:
    """Parity by way of the sums of a and b, and of c and d, modulo an even number."""
    found = Algorithm(f"parity by sums modulo {modulus}")
    found.inputs("a b c d", domain=range(4))
    for name, group in (("first", "ab"), ("second", "cd")):
        found.add(name, *group, f=lambda x, y: (x + y) % modulus, domain=range(modulus))
    found.add("odd", "first", "second", f=lambda x, y: (x + y) % 2 == 1, domain=bool, output=True)
    return found.check()


def test_a_coarsening_is_entailed_and_a_refinement_finer():
    assert related(remainders(4), IN_PAIRS) == "entailed"
    assert related(IN_PAIRS, remainders(4)) == "finer"
    assert related(remainders(2), IN_PAIRS) == "the same"


def test_one_variable_for_two_is_entailed_and_two_for_one_are_not():
    joint = Algorithm("parity by a pair")
    joint.inputs("a b c d", domain=range(4))
    joint.add("both", "a", "b", "c", "d", f=lambda a, b, c, d: ((a + b) % 2, (c + d) % 2),
              domain=[(x, y) for x in (0, 1) for y in (0, 1)])  # fmt: skip
    joint.add("odd", "both", f=lambda both: sum(both) % 2 == 1, domain=bool, output=True)
    # first and second are functions of both, but of one and the same variable, which cannot be swapped in halves.
    assert related(IN_PAIRS, joint.check()) == "entailed"
    assert related(joint, IN_PAIRS) == "finer"


def test_a_function_of_the_variables_whose_swap_is_none_of_theirs_is_not_entailed():
    """odder and first are both functions of first and second, but first is in both sets."""
    chain = Algorithm("parity in a chain")
    chain.inputs("a b c d", domain=range(4))
    chain.add("first", "a", "b", f=lambda a, b: (a + b) % 2 == 1, domain=bool)
    chain.add("odder", "first", "c", "d", f=lambda first, c, d: (first + c + d) % 2 == 1, domain=bool)
    chain.add("odd", "odder", f=lambda odder: odder, domain=bool, output=True)
    assert not entailed_by(view(IN_PAIRS), view(chain.check()), seed=0)
    assert entailed_by(view(chain), view(ONE), seed=0)


def test_inputs_that_a_claim_aligns_are_spoken_of():
    gate = Algorithm("a and (b or c)")
    gate.inputs("a b c", domain=[False, True])
    gate.add("either", "b", "c", f=lambda b, c: b or c, domain=bool)
    gate.add("holds", "a", "either", f=lambda a, either: a and either, domain=bool, output=True)
    assert view(gate.check(), "either", "a").names == ("either", "a")
    assert view(gate).names == ("either",)
    both = Algorithm("(a and b) or (a and c)")
    both.inputs("a b c", domain=[False, True])
    for name, other in (("with_b", "b"), ("with_c", "c")):
        both.add(name, "a", other, f=lambda x, y: x and y, domain=bool)
    both.add("holds", "with_b", "with_c", f=lambda x, y: x or y, domain=bool, output=True)
    assert standing(view(gate, "either", "a"), ["either", "a"], view(both.check())) == {
        "either": "with_b", "a": "with_c",
    }  # fmt: skip
    # An input that the output reads itself stands where the inner variables do not suffice.
    assert standing(view(both), ["with_b", "with_c"], view(gate)) == {"with_b": "either", "with_c": "a"}


def test_the_same_variable_stands_for_itself_whatever_it_is_called():
    crossed = parity({"first": "cd", "other": "ab"})
    assert standing(view(IN_PAIRS), ["first", "second"], view(crossed)) == {
        "first": "other",
        "second": "first",
    }
    assert standing(view(IN_PAIRS), ["first", "second"], view(ONE)) == {"first": "first", "second": "c"}
    other = parity({"second": "ac", "third": "bd"})
    assert standing(view(IN_PAIRS), ["first", "second"], view(other)) == {
        "first": "third",
        "second": "second",
    }


def test_answers_are_compared_by_value_and_not_by_code():
    ours, theirs = Finite([False, True]), Finite([True, False, None])
    assert recoded(theirs.encode([True, False, None]), theirs, ours).tolist() == [1, 0, -1]
    reversed_ = Algorithm("parity, answers in the other order")
    reversed_.inputs("a b c d", domain=range(4))
    reversed_.add(
        "odd", "a", "b", "c", "d", f=lambda *xs: sum(xs) % 2 == 1, domain=[True, False], output=True
    )
    assert otherwise(view(IN_PAIRS), view(reversed_.check())) == 0


def test_numbers_differ_by_more_than_their_tolerance():
    import numpy as np

    domain = reals(-10, 10, tolerance=0.5)
    assert differing(np.array([0.0, 0.0]), np.array([0.4, 0.6]), domain).tolist() == [False, True]


def test_many_inputs_are_drawn_by_the_seed():
    large = equality(20)
    one, complete = shared_inputs(large, seed=0)
    assert (len(one["w"]), complete) == (100_000, False)
    again, other = shared_inputs(large, seed=0)[0], shared_inputs(large, seed=1)[0]
    assert (one["w"] == again["w"]).all()
    assert (one["w"] != other["w"]).any()
    assert shared_inputs(equality(4), seed=0)[1]

"""What a signature, an annotation and a keyword declare, and what a declaration refuses on the spot."""

from __future__ import annotations

import operator
from enum import Enum
from typing import Literal, Optional

import numpy as np
import pytest

from commutes.algorithm import Algorithm, Finite, reals, vectors
from commutes.errors import AlgorithmError, DomainError


class Suit(Enum):
    CLUBS = 1
    HEARTS = 2


def text_of(raising) -> str:
    with pytest.raises(AlgorithmError) as caught:
        raising()
    return str(caught.value)


def test_parents_are_parameter_names_and_order_is_that_of_the_parameters(equality):
    assert [v.name for v in equality["left"].parents] == ["w", "x"]
    assert repr(equality["same"]) == "same"
    assert equality["same"].kind == "output"
    assert equality["left"].algorithm is equality
    assert equality["left"](3, 3) is True


def test_names_of_inputs_come_as_text_or_as_a_sequence():
    a = Algorithm("names")
    assert [v.name for v in a.inputs("a, b c", domain=(0, 1))] == ["a", "b", "c"]
    assert [v.name for v in a.inputs(["d", "e"], domain=(0, 1))] == ["d", "e"]
    assert a.input("f", domain=(0, 1)).kind == "input"


def annotated() -> Algorithm:
    a = Algorithm("annotated")
    a.inputs("x y", domain=range(2))
    return a


def test_domains_come_from_annotations_that_are_text():
    a = annotated()

    @a.variable
    def flag(x, y) -> bool:
        return x == y

    @a.variable
    def word(x, y) -> Literal["same", "other", None]:
        return ("same", "other", None)[x + y]

    @a.variable
    def suit(x, y) -> Suit:
        return Suit(1 + (x > y))

    @a.variable
    def maybe(x, y) -> Optional[bool]:  # noqa: UP045
        return (None, True, False)[x + y]

    @a.variable
    def either(x, y) -> Suit | None:
        return Suit.CLUBS if x > y else None

    @a.variable
    def number(x, y) -> int:
        return 2 * x + y

    @a.output
    def out(flag, word, suit, maybe, either, number) -> bool:
        return (flag, word, suit, maybe, either, number) == (True, "same", Suit.CLUBS, None, None, 0)

    assert a.domain("flag") == Finite((False, True))
    assert a.domain("word") == Finite(("same", "other", None))
    assert a.domain("suit") == Finite(Suit)
    assert a.domain("maybe") == Finite((False, True, None))
    assert a.domain("either") == Finite((*Suit, None))
    assert a.domain("number") == Finite((0, 1, 2, 3))


def test_an_annotation_may_name_something_local():
    class Local(Enum):
        A = 1
        B = 2

    a = annotated()

    @a.variable(name="chosen")
    def anything(x) -> Local:
        return list(Local)[x]  # the closure knows the name too

    values = [Local.A, Local.B]

    @a.output
    def out(chosen, y) -> Local:
        return values[y] if chosen is values[0] else values[1 - y]

    assert a.domain("chosen") == a.domain(out) == Finite(Local)


def test_a_domain_that_is_not_declared_is_found_in_ascending_order():
    a = annotated()
    a.add("difference", "x", "y", f=operator.sub)
    a.add("word", "x", "y", f=lambda x, y: "ba"[x] * (y + 1))
    a.add("mixed", "x", "y", f=lambda x, y: (None, "b", 1, (2, 1))[2 * x + y])
    a.add("pair", "difference", "word", "mixed", f=lambda *parts: parts, output=True)
    assert a.domain("difference").values == (-1, 0, 1)
    assert a.domain("word").values == ("a", "aa", "b", "bb")
    assert a.domain("mixed").values == (None, "b", 1, (2, 1))
    assert a.domain("pair").size == 3 * 4 * 4


def test_domains_may_be_given_in_many_forms():
    a = Algorithm("forms")
    forms = [range(2), [0, 1], (0, 1), bool, Suit, Literal["u", "v"], Finite("uv"), np.arange(2), np.eye(2)]
    for i, form in enumerate(forms):
        a.input(f"i{i}", domain=form)
    a.input("r", domain=reals())
    a.input("v", domain=vectors(2))
    names = [*(f"i{i}" for i in range(len(forms))), "r", "v"]
    a.add("out", *names, f=lambda *parts: len(set(map(str, parts))), domain=range(20), output=True)
    found = [a.domain(name) for name in names]
    assert found[:3] == [Finite((0, 1))] * 3
    assert found[3] == Finite((False, True))
    assert found[4] == Finite(Suit)
    assert found[5] == found[6] == Finite("uv")
    assert found[7] == Finite((0, 1))
    assert found[8] == Finite(((1.0, 0.0), (0.0, 1.0)))
    assert found[9].size is found[10].size is None


def test_numpy_answers_are_accepted_under_a_bool_annotation():
    a = annotated()

    @a.output
    def out(x, y) -> bool:
        return np.int64(x) == y  # pyright: ignore[reportReturnType]

    assert a.evaluate({"x": 0, "y": 0}) == {"x": 0, "y": 0, "out": True}
    assert type(a.evaluate({"x": 0, "y": 0})["out"]) is bool


def test_a_variable_is_also_a_function_that_another_algorithm_can_use(equality):
    b = Algorithm("reuse")
    b.inputs("w x", domain=range(3))
    b.output(equality["left"], name="left")
    assert b.evaluate({"w": 1, "x": 1})["left"] is True
    c = Algorithm("reuse in add")
    c.inputs("p q", domain=range(3))
    c.add("left", "p", "q", f=equality["left"], domain=bool, output=True)
    assert c.evaluate({"p": 1, "q": 2})["left"] is False


def test_forward_references_are_allowed_until_the_check():
    a = Algorithm("forward")
    a.add("out", "middle", f=lambda m: not m, output=True)
    a.add("middle", "x", f=lambda x: x > 0)
    a.input("x", domain=range(3))
    assert [v.name for v in a.variables] == ["x", "middle", "out"]


def test_variables_can_be_neither_changed_nor_confused(equality, make_equality):
    other = make_equality()
    assert equality["left"] != other["left"]
    assert len({equality["left"], other["left"], equality["left"]}) == 2
    with pytest.raises(AttributeError):
        equality["left"].name = "right"


def test_repr():
    a = Algorithm("empty")
    assert repr(a) == "Algorithm('empty': no mechanisms yet)"
    a.input("x", domain=range(2))
    a.add("out", "x", f=lambda x: 1 - x, output=True)
    assert repr(a) == "Algorithm('empty': out(x))"


def test_an_input_cannot_be_called(equality):
    assert text_of(lambda: equality["w"](1)) == (
        "w is an input: it has no mechanism to call\n  do:       give its value to evaluate, run or columns"
    )


@pytest.mark.parametrize("name", ["", "two words", "1st", "class", "_hidden", "a+b", 3])
def test_names_that_are_no_identifiers(name):
    assert text_of(lambda: Algorithm("n").input(name, domain=(0, 1))) == (
        f"this cannot be the name of a variable\n  got:      {name!r}\n"
        "  expected: a Python identifier that does not begin with an underscore\n"
        "  do:       choose another name"
    )


def test_a_lambda_needs_a_name():
    a = annotated()
    assert text_of(lambda: a.variable(lambda x: x)) == (
        "this cannot be the name of a variable\n  got:      '<lambda>'\n"
        "  expected: a Python identifier that does not begin with an underscore\n"
        "  do:       give the lambda a name: name='total'"
    )


def test_reserved_names():
    assert text_of(lambda: Algorithm("n").input("source", domain=(0, 1))) == (
        "source is a reserved name\n  expected: none of base, expected, moved, source, stratum, swap\n"
        "  do:       choose another name"
    )


def test_duplicates(equality):
    assert text_of(lambda: equality.input("left", domain=(0, 1))) == (
        "hierarchical equality already has a variable left\n"
        "  where:    Algorithm('hierarchical equality': left(w, x), right(y, z), same(left, right))\n"
        "  do:       choose another name; in a notebook, first run again the cell that makes the Algorithm"
    )


def test_two_outputs(equality):
    assert text_of(lambda: equality.add("other", "left", f=lambda v: v, output=True)) == (
        "hierarchical equality has two outputs: same and other\n  expected: one output\n"
        "  do:       let one variable return a tuple, or make one of them an inner variable"
    )


def test_a_checked_algorithm_is_frozen(equality):
    assert equality.check() is equality
    assert text_of(lambda: equality.input("v", domain=(0, 1))) == (
        "hierarchical equality has been checked and is frozen: v cannot be added\n"
        "  do:       declare every variable before the algorithm is used, or build another Algorithm"
    )
    assert equality.check() is equality


@pytest.mark.parametrize(
    ("function", "shown", "problem"),
    [
        (lambda *bits: sum(bits), "*bits", "it stands for any number of arguments, and names none"),
        (lambda x, **rest: x, "**rest", "it stands for any number of arguments, and names none"),
        (lambda x, *, y: x, "y", "it is keyword-only, and parents are passed in order"),
        (lambda x, y=3: x, "y=3", "it has a default, and a parent always has a value"),
    ],
)
def test_parameters_that_cannot_be_parents(function, shown, problem):
    a = annotated()
    line = function.__code__.co_firstlineno
    assert text_of(lambda: a.variable(function, name="total")) == (
        f"parameter {shown} of the mechanism of total cannot be a parent: {problem}\n"
        f"  where:    line {line} of test_declaration.py\n"
        "  expected: plain parameters, each the name of a parent\n"
        "  do:       name the parents: algorithm.add('total', 'a', 'b', f=...)"
    )


def test_any_number_of_arguments_is_fine_where_the_parents_are_named():
    a = annotated()
    a.add("total", "x", "y", f=lambda *bits, scale=2: scale * sum(bits), output=True)
    assert a.evaluate({"x": 1, "y": 1})["total"] == 4


def test_a_builtin_without_a_signature():
    a = annotated()
    assert text_of(lambda: a.variable(max, name="most")) == (
        "the parameters of the mechanism of most cannot be read\n  got:      <built-in function max>\n"
        "  expected: a function written in Python\n"
        "  do:       name the parents: algorithm.add('most', 'a', 'b', f=...)"
    )
    a.add("most", "x", "y", f=max, output=True)
    assert a.evaluate({"x": 0, "y": 1})["most"] == 1


def test_arity():
    a = annotated()
    function = lambda x, y: x
    line = function.__code__.co_firstlineno
    assert text_of(lambda: a.add("left", "x", f=function)) == (
        "the mechanism of left does not take one argument per parent: missing a required argument: 'y'\n"
        f"  where:    line {line} of test_declaration.py\n  got:      1 parent (x)\n"
        "  expected: what f(x, y) takes\n"
        "  do:       give as many parents as f has parameters, in the same order"
    )
    assert "too many positional arguments" in text_of(lambda: a.add("left", "x", "y", f=lambda x: x))


def test_a_parent_named_twice():
    assert text_of(lambda: annotated().add("s", "x", "x", f=lambda a, b: a)) == (
        "s names its parent x twice\n  do:       name every parent once"
    )


def test_a_parent_of_another_algorithm(equality, make_equality):
    other = make_equality()
    assert text_of(lambda: equality.add("s", other["left"], f=lambda v: v)) == (
        "left belongs to another algorithm\n  got:      a variable of 'hierarchical equality'\n"
        "  expected: a variable of 'hierarchical equality'\n"
        "  do:       use its name to mean the variable of the same name here"
    )


def test_two_domains_that_disagree():
    a = annotated()

    def left(x) -> bool:
        return x > 0

    line = left.__code__.co_firstlineno
    assert text_of(lambda: a.variable(left, domain=(0, 1))) == (
        f"left is declared with two domains\n  where:    line {line} of test_declaration.py\n"
        "  got:      domain= says {0, 1}, the return annotation says {False, True}\n"
        "  do:       keep one of them"
    )


def test_an_annotation_that_cannot_be_read():
    a = annotated()

    def left(x) -> Nowhere:  # noqa: F821  # pyright: ignore[reportUndefinedVariable]
        return x

    line = left.__code__.co_firstlineno
    assert text_of(lambda: a.variable(left)) == (
        "the return annotation of left cannot be read: NameError: name 'Nowhere' is not defined\n"
        f"  where:    line {line} of test_declaration.py\n  got:      -> Nowhere\n"
        "  expected: an annotation whose names are known where the mechanism is written\n"
        "  do:       correct it, or give the domain: domain=[...] for left"
    )
    a.variable(left, domain=range(2))


@pytest.mark.parametrize(
    ("domain", "shown", "fix"),
    [
        ("abc", "'abc' (str)", "list the values, in order"),
        (int, "<class 'int'> (type)", "list the values, in order"),
        (3, "3 (int)", "list the values, in order"),
        (None, "None (NoneType)", "list the values, in order"),
        ({1}, "{1} (set)", "write sorted(...): a set has no order"),
    ],
)
def test_what_is_no_domain(domain, shown, fix):
    assert text_of(lambda: Algorithm("d").input("w", domain=domain)) == (
        f"this is not a domain for w\n  got:      {shown}\n"
        "  expected: a range, a list or tuple of values, bool, an Enum, a Finite or a Space\n"
        f"  do:       {fix}"
    )


def test_a_bad_value_in_a_domain_is_located():
    with pytest.raises(DomainError) as caught:
        Algorithm("d").input("w", domain=[0, float("nan")])
    assert caught.value.where == "value 1 of the domain of w"
    with pytest.raises(DomainError) as caught:
        Algorithm("d").input("w", domain=range(10**9))
    assert str(caught.value) == (
        "a domain of 1,000,000,000 values is too large to list\n  where:    the domain of w\n"
        "  expected: at most 1,000,000 values\n"
        "  do:       sample instead: describe it by a Space, with draw(rng, n) and contains(value)"
    )

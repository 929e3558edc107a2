"""Programs that cannot be compiled, and what is said about them."""

from __future__ import annotations

import operator

import pytest

from commutes.errors import AlgorithmError
from commutes.testing.compiler import (
    PROGRAMS,
    Aggregate,
    Indices,
    Map,
    Program,
    Select,
    SequenceMap,
    Tokens,
    compile_program,
    program,
)


def test_operations_are_ordered_behind_what_they_read():
    tokens = Tokens()
    first = Map("first", str.upper, tokens)
    second = SequenceMap("second", operator.add, (first, tokens))
    made = Program("p", "ab", 2, ((second, 0), (first, 1)))
    assert [op.name for op in made.operations] == ["token", "first", "second"]
    assert list(made.reach(0)) == [0, 1]
    assert list(Program("p", "ab", 2, ((first, 0),), causal=True).reach(0)) == [0]


def test_two_operations_of_one_name_are_refused():
    tokens = Tokens()
    one, other = Map("x", str.upper, tokens), Map("x", str.lower, tokens)
    with pytest.raises(AlgorithmError) as caught:
        Program("p", "ab", 2, ((one, 0), (other, 1)))
    assert str(caught.value) == (
        "two operations of a program have one name\n"
        "  where:    program 'p'\n"
        "  got:      'x' twice\n"
        "  expected: a name of its own for every operation\n"
        "  do:       use one object where the same operation is meant, another name where it is not"
    )


@pytest.mark.parametrize(("outputs", "got"), [([], "no outputs"), ([5], "token at 5"), ([-1], "token at -1")])
def test_outputs_are_at_positions_of_the_sequence(outputs, got):
    tokens = Tokens()
    with pytest.raises(AlgorithmError) as caught:
        Program("p", "ab", 2, tuple((tokens, p) for p in outputs))
    assert caught.value.got == got
    assert caught.value.expected == "positions from 0 to 1, at least one"


def test_a_number_is_compared_with_nothing():
    tokens = Tokens()
    number = Map("number", float, tokens, number=True)
    for op in (
        SequenceMap("both", operator.add, (number, tokens)),
        Aggregate("found", Select(number, tokens, operator.eq), tokens),
        Aggregate("found", Select(tokens, number, operator.eq), tokens),
    ):
        with pytest.raises(AlgorithmError, match="held as a number cannot be compared") as caught:
            Program("p", "12", 2, ((op, 0),))
        assert caught.value.got == "number, which is held as a number"
        assert caught.value.fix == "turn it with Map(name, f, of) into one of several values first"


@pytest.mark.parametrize(("f", "default", "got"), [(str, 0.0, "'a'"), (ord, None, "None")])
def test_a_mean_of_what_is_no_number_is_refused(f, default, got):
    tokens = Tokens()
    values = Map("values", f, tokens, number=True)
    found = Aggregate("found", Select(tokens, tokens, lambda k, q: k == q == "a"), values, default)
    with pytest.raises(AlgorithmError, match="a mean is taken of numbers") as caught:
        compile_program(Program("p", "ab", 2, ((found, 1),)))
    assert caught.value.where == "found at position 1"
    assert caught.value.got == got
    assert "default=0" in (caught.value.fix or "")


def test_a_program_that_reads_no_token_is_refused():
    with pytest.raises(AlgorithmError) as caught:
        Program("p", "ab", 2, ((Map("next", lambda i: i + 1, Indices()), 0),))
    assert caught.value.what == "the answer of a program depends on its tokens"
    assert caught.value.got == "operations next, index"


def test_a_program_whose_answer_never_changes_is_refused_by_the_algorithm():
    with pytest.raises(AlgorithmError, match="no input reaches the output of p"):
        compile_program(Program("p", "ab", 2, ((Map("same", lambda _: 1, Tokens()), 0),)))


def test_an_unknown_program_is_named_with_the_nearest():
    with pytest.raises(AlgorithmError) as caught:
        program("revers")
    assert caught.value.what == "there is no program 'revers'"
    assert caught.value.fix == "write 'reverse'"
    assert caught.value.expected == f"one of {', '.join(PROGRAMS)}"


def test_a_size_that_a_program_does_not_have_is_refused():
    with pytest.raises(AlgorithmError) as caught:
        program("equality", length=6)
    assert (caught.value.what, caught.value.got) == ("the program equality has one length only", "length=6")
    with pytest.raises(AlgorithmError, match="the program balanced has one symbols only"):
        program("balanced", symbols=3)


def test_sizes_that_a_program_has_are_taken():
    made = program("reverse", length=5, symbols=2)
    assert (made.length, made.alphabet) == (5, ("a", "b"))
    assert program("reverse").length == 4

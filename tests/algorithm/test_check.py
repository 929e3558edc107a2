"""Every refusal of `check`, in the words in which it speaks."""

from __future__ import annotations

import contextlib
import itertools
import signal
import threading
import time

import pytest

from commutes.algorithm import Algorithm, Finite, _clock, reals, vectors
from commutes.errors import AlgorithmError, MechanismError

PLAIN = "bool, int, float, str, bytes, None, an Enum member, or a tuple or frozenset of these"


def algorithm(*names: str, domain: object = range(3)) -> Algorithm:
    a = Algorithm("a hypothesis")
    a.inputs(names or ("x", "y"), domain=domain)
    return a


def refusal(a: Algorithm, kind: type[AlgorithmError] = AlgorithmError) -> str:
    with pytest.raises(AlgorithmError) as caught:
        a.check()
    assert type(caught.value) is kind
    return str(caught.value)


def test_an_undeclared_parent_is_named_with_the_nearest():
    a = algorithm("left", "right")
    a.add("same", "lefft", "right", f=lambda p, q: p == q, output=True)
    assert refusal(a) == (
        "same has a parent that is not declared: lefft\n  where:    same(lefft, right)\n"
        "  expected: one of left, right\n  do:       write left, or declare lefft"
    )


def test_the_only_variable_with_an_undeclared_parent():
    a = Algorithm("alone")
    a.add("out", "x", f=lambda x: x, output=True)
    assert refusal(a) == (
        "out has a parent that is not declared: x\n  where:    out(x)\n"
        "  expected: a declared variable\n  do:       declare x"
    )


def test_a_cycle_is_printed():
    a = algorithm("x")
    a.add("p", "x", "r", f=lambda x, r: x)
    a.add("q", "p", f=lambda p: p)
    a.add("r", "q", f=lambda q: q)
    a.add("out", "r", f=lambda r: r, output=True)
    assert refusal(a) == (
        "the variables of a hypothesis form a cycle: p -> q -> r -> p\n  expected: an acyclic graph\n"
        "  do:       take r out of the parents of p, or use one variable per step"
    )


def test_a_variable_that_is_its_own_parent():
    a = algorithm("x")
    a.add("out", "x", "out", f=lambda x, o: x, output=True)
    assert "form a cycle: out -> out\n" in refusal(a)


def test_no_output():
    assert refusal(algorithm()) == (
        "a hypothesis has no output\n  got:      the variables x, y\n  expected: one output\n"
        "  do:       write @algorithm.output above its mechanism"
    )
    assert "got:      no variables" in refusal(Algorithm("nothing"))


def test_an_output_that_no_input_reaches():
    a = algorithm("x")
    a.add("c", f=lambda: 1)
    a.add("out", "c", f=lambda c: c, output=True)
    assert refusal(a) == (
        "no input reaches the output of a hypothesis\n  where:    out(c)\n"
        "  do:       give out a parent that depends on an input"
    )


def test_a_constant_output():
    a = algorithm()
    a.add("minus", "x", f=lambda x: -x)
    a.add("rest", "y", f=lambda y: 0 * y)
    a.add("out", "x", "minus", "rest", f=lambda x, minus, rest: x + minus + rest, output=True)
    assert refusal(a) == (
        "the output of a hypothesis is constant\n  where:    out\n  got:      0 for all 9 inputs\n"
        "  expected: an output that depends on the inputs\n"
        "  do:       look at the mechanism of out and at the domains of the inputs"
    )


def test_a_variable_from_which_no_path_leads_to_the_output():
    a = algorithm()
    a.add("aside", "x", f=lambda x: x)
    a.add("out", "x", "y", f=lambda x, y: x + y, output=True)
    assert refusal(a) == (
        "aside can never matter: no path leads from it to out\n"
        "  do:       make it a parent of something that out depends on, or leave it out"
    )


def test_a_variable_that_every_mechanism_passes_over():
    a = algorithm("x", "y", "z")
    a.add("early", "x", f=lambda x: x)
    a.add("late", "early", "y", f=lambda early, y: y)
    a.add("out", "late", "z", f=lambda late, z: late + z, output=True)
    assert refusal(a) == (
        "early can never matter: whatever its value, out stays the same\n  where:    early -> late\n"
        "  got:      mechanisms that give the same for every value of early: late\n"
        "  do:       use early in a mechanism, or leave it out"
    )


def test_a_variable_that_matters_for_one_row_only_is_accepted():
    a = algorithm("x", "y", "z", domain=range(10))
    a.add("out", "x", "y", "z", f=lambda x, y, z: (x, y, z) == (9, 9, 9), output=True)
    a.check()


def test_an_input_with_one_value_can_never_matter():
    a = algorithm("x")
    a.input("k", domain=[7])
    a.add("out", "x", "k", f=lambda x, k: x + k, output=True)
    assert refusal(a).startswith("k can never matter: whatever its value, out stays the same")


def test_a_mechanism_that_leaves_its_domain():
    a = algorithm()
    a.add("out", "x", "y", f=lambda x, y: x + y, domain=range(4), output=True)
    assert refusal(a, MechanismError) == (
        "the mechanism of out leaves its domain\n  where:    out(x=2, y=2)\n  got:      4 (int)\n"
        "  expected: {0, 1, 2, 3}\n  do:       the nearest value is 3; or correct the domain"
    )


def test_a_mechanism_that_says_one_where_true_was_promised():
    a = algorithm(domain=(0, 1))

    @a.output
    def both(x, y) -> bool:
        return x and y

    assert refusal(a, MechanismError) == (
        "the mechanism of both leaves its domain\n  where:    both(x=0, y=0)\n  got:      0 (int)\n"
        "  expected: {False, True}\n"
        "  do:       write False (bool): it equals 0 in Python but is another value here; "
        "or correct the domain"
    )


def test_a_mechanism_that_answers_differently_twice():
    counter = itertools.count()
    a = algorithm("x")
    a.add("out", "x", f=lambda x: (x + next(counter)) % 2, domain=range(2), output=True)
    text = refusal(a, MechanismError)
    assert text == (
        "the mechanism of out answers differently for the same inputs\n  where:    out(x=2)\n"
        "  got:      0, then 1\n  expected: the same answer every time\n"
        "  do:       take randomness and remembered state out of the mechanism; make noise an input variable"
    )


@pytest.mark.parametrize("size", range(1, 9))
def test_a_mechanism_that_alternates_is_found_out_whatever_the_number_of_rows(size):
    counter = itertools.count()
    a = algorithm("x", domain=range(size))
    a.add("out", "x", f=lambda x: next(counter) % 2, domain=range(2), output=True)
    assert "answers differently for the same inputs" in refusal(a, MechanismError)


def test_a_mechanism_that_raises_is_named_with_its_inputs_and_keeps_its_traceback():
    a = algorithm()

    def divide(x, y):
        return x // y

    a.add("ratio", "x", "y", f=divide)
    a.add("out", "ratio", f=lambda r: r, output=True)
    line = divide.__code__.co_firstlineno + 1
    with pytest.raises(MechanismError) as caught:
        a.check()
    assert str(caught.value) == (
        "the mechanism of ratio raised ZeroDivisionError\n  where:    ratio(x=0, y=0)\n"
        f"  got:      {caught.value.__cause__} (line {line} of test_check.py)\n".replace(
            "got:      ", "got:      ZeroDivisionError: "
        )
        + "  expected: an answer for all values of its parents: interventions combine them freely\n"
        "  do:       make the mechanism answer these inputs too, or narrow the domains"
    )
    assert isinstance(caught.value.__cause__, ZeroDivisionError)
    traceback = caught.value.__cause__.__traceback__
    while traceback and traceback.tb_next:
        traceback = traceback.tb_next
    assert traceback is not None
    assert traceback.tb_frame.f_code.co_name == "divide"


def test_a_mechanism_that_exits_does_not_end_the_program():
    a = algorithm("x")
    a.add("out", "x", f=lambda x: exit(3), output=True)
    assert refusal(a, MechanismError).startswith(
        "the mechanism of out raised SystemExit\n  where:    out(x=0)"
    )


@pytest.mark.parametrize(
    ("answer", "shown", "why"),
    [
        ([1], "[1] (list)", "it cannot be hashed"),
        (
            float("nan"),
            "nan (float)",
            "NaN equals nothing, not even itself, so it cannot label anything",
        ),
        ({}, "{} (dict)", "it cannot be hashed"),
        (Finite((0, 1)), "Finite({0, 1}) (Finite)", "a Finite is not a plain value"),
    ],
)
@pytest.mark.parametrize("domain", [None, range(2)])
def test_answers_that_are_no_values(answer, shown, why, domain):
    a = algorithm("x")
    a.add("out", "x", f=lambda x: answer if x == 1 else x, domain=domain, output=True)
    assert refusal(a, MechanismError) == (
        f"the mechanism of out gave something that is not a value: {why}\n  where:    out(x=1)\n"
        f"  got:      {shown}\n  expected: {PLAIN}\n"
        "  do:       return a plain value, such as a tuple instead of a list"
    )


def test_a_domain_that_cannot_be_found_by_trying():
    a = algorithm("x", "y", domain=vectors(2))
    a.add("out", "x", "y", f=lambda x, y: x == y, output=True)
    assert refusal(a) == (
        "the domain of out cannot be found by trying its mechanism on all values of its parents\n"
        "  got:      infinitely many values of x, y\n"
        "  expected: at most 1,000,000 rows, or a declared domain\n"
        "  do:       annotate the mechanism (-> bool, a Literal, an Enum) or give domain="
    )
    b = algorithm("x", "y", domain=range(2_000))
    b.add("out", "x", "y", f=lambda x, y: x == y, output=True)
    assert "got:      4,000,000 rows" in refusal(b)


def test_infinite_domains_are_tried_on_a_sample():
    a = algorithm("x", domain=reals(0, 10))
    a.add("out", "x", f=lambda x: int(x), domain=range(9), output=True)
    text = refusal(a, MechanismError)
    assert text.startswith("the mechanism of out leaves its domain\n  where:    out(x=9.")
    assert "got:      9 (int)" in text


def test_a_check_that_failed_can_be_tried_again():
    a = algorithm()
    a.add("out", "x", "y", "flag", f=lambda x, y, flag: x + y if flag else 0, output=True)
    assert "not declared: flag" in refusal(a)
    a.input("flag", domain=bool)
    assert a.check().evaluate({"x": 1, "y": 2, "flag": True})["out"] == 3


def test_a_mechanism_that_never_returns(monkeypatch):
    monkeypatch.setattr(_clock, "TIME_LIMIT", 0.2)
    before = signal.getsignal(signal.SIGALRM)
    a = algorithm("x")

    def forever(x):
        while x == 1:
            with contextlib.suppress(Exception):  # a mechanism must not be able to swallow the limit
                time.sleep(0.01)
        return x

    a.add("out", "x", f=forever, output=True)
    assert refusal(a, MechanismError) == (
        "the mechanism of out does not return\n  where:    out(x=1)\n  got:      no answer in 0.2 seconds\n"
        "  do:       look for a loop without an end, or make the mechanism cheaper"
    )
    assert signal.getsignal(signal.SIGALRM) is before
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)


def test_a_mechanism_that_is_slow_but_moves_on_is_left_alone(monkeypatch):
    monkeypatch.setattr(_clock, "TIME_LIMIT", 0.2)
    a = algorithm("x", domain=range(8))
    a.add("out", "x", f=lambda x: time.sleep(0.05) or x, output=True)
    a.check()


def test_the_limit_leaves_other_threads_and_other_alarms_alone():
    errors: list[BaseException] = []

    def work():
        try:
            a = algorithm("x")
            a.add("out", "x", f=lambda x: x, output=True)
            a.check()
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert errors == []
    mine = lambda *_: None
    previous = signal.signal(signal.SIGALRM, mine)
    signal.setitimer(signal.ITIMER_REAL, 60)
    try:
        work()
        assert signal.getsignal(signal.SIGALRM) is mine
        assert signal.getitimer(signal.ITIMER_REAL)[0] > 0
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)
    assert errors == []

from __future__ import annotations

import json
import math

import pytest

from commutes.errors import StatisticsError
from commutes.stats import Answer, Interval, gate, rate

S, R, U = Answer.SUPPORTED, Answer.REFUTED, Answer.INCONCLUSIVE


def test_there_are_five_answers_and_they_are_strings():
    assert [str(answer) for answer in Answer] == [
        "supported",
        "refuted",
        "inconclusive",
        "vacuous",
        "not run",
    ]
    assert json.dumps(Answer.NOT_RUN) == '"not run"'
    assert Answer("vacuous") is Answer.VACUOUS
    with pytest.raises(ValueError):
        Answer("passed")


@pytest.mark.parametrize(
    "side, below, touching_below, across, touching_above, above",
    [
        (">=", R, U, U, S, S),
        (">", R, R, U, U, S),
        ("<=", S, S, U, U, R),
        ("<", S, U, U, R, R),
    ],
)
def test_every_side(side, below, touching_below, across, touching_above, above):
    bounds = [(0.7, 0.8), (0.7, 0.9), (0.8, 0.95), (0.9, 0.95), (0.92, 0.95)]
    answers = [gate(pair, 0.9, side=side) for pair in bounds]
    assert answers == [below, touching_below, across, touching_above, above]


def test_a_side_and_its_negation_answer_oppositely():
    opposite = {S: R, R: S, U: U}
    for pair in [(0.7, 0.8), (0.7, 0.9), (0.8, 0.95), (0.9, 0.9), (0.9, 0.95), (0.92, 0.95)]:
        assert gate(pair, 0.9, side="<") is opposite[gate(pair, 0.9, side=">=")]
        assert gate(pair, 0.9, side="<=") is opposite[gate(pair, 0.9, side=">")]


def test_a_census_is_gated_on_its_value():
    exact = rate([True] * 9 + [False], census=True)
    assert gate(exact, 0.9) is S
    assert gate(exact, 0.9, side=">") is R
    assert gate(exact, 0.91) is R


def test_59_hits_of_59_clear_95_percent_and_58_do_not():
    assert gate(rate([True] * 59), 0.95) is S
    assert gate(rate([True] * 58), 0.95) is U
    assert gate(rate([False] * 59), 0.05) is R


def test_nothing_measured_is_no_answer():
    assert gate(rate([]), 0.0) is U
    assert gate(rate([]), 0.0, side="<") is U
    assert gate((math.nan, 1.0), 0.5) is U
    assert gate(Interval(0.5, 0.4, 0.6, 0.45, 0.55, 0), 0.3) is U


def test_intervals_have_bounds_too():
    assert gate(Interval(0.5, 0.2, 0.8, 0.3, 0.7, 5), 0.3) is S


@pytest.mark.parametrize("bounds", [0.93, (0.1, 0.2, 0.3), None])
def test_a_bare_number(bounds):
    with pytest.raises(StatisticsError) as error:
        gate(bounds, 0.9)
    assert str(error.value) == (
        "a gate takes bounds, not a bare number\n"
        f"  got:      {bounds!r}\n"
        "  expected: a Rate, an Interval or (lower, upper)\n"
        "  do:       gate the rate with its bounds: gate(rate(hits, members), threshold)"
    )


def test_another_side():
    with pytest.raises(StatisticsError) as error:
        gate((0.1, 0.2), 0.9, side="at least")  # type: ignore[arg-type]
    assert str(error.value) == (
        "a gate has one of four sides\n"
        "  got:      side = 'at least'\n"
        "  expected: >=, >, <= or <\n"
        '  do:       write side=">=" for "at least the threshold"'
    )

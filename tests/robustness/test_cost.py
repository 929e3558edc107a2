"""What a challenge costs is said first, and a budget is kept."""

from __future__ import annotations

from datetime import timedelta

import numpy as np
import pytest

import commutes.robustness._challenge as challenge_module
from commutes import Shift, census, challenge
from commutes.errors import DataError
from commutes.report.catalogue import entry
from commutes.robustness import CHECKS
from commutes.robustness._cost import beyond, planned, told
from commutes.robustness._rival_algorithms import MADE
from commutes.stats import Answer
from commutes.training import ClosedForm, Settings
from tests.planted import QUICK, exact, planted

from .travel_cases import even_w, numbers


def test_what_is_planned_for_refits_is_what_fits_take_when_none_ends_early():
    case = planted(10)
    train, select, test = case.parts
    settings = Settings(steps=40, batch=32, starts=2, every=20)
    found = planned(case.claim, train, select, test, settings=settings, refits=5, controls=3, rivals=2)
    fit = 2 * (40 * 32 + 3 * len(select)) + len(test)
    assert (found["B1"], found["E3"], found["E5"]) == (5 * fit, 5 * fit, (2 + MADE) * fit)
    assert found["B2"] == 3 * 2 * fit
    assert found["A5"] == 0
    assert (found["A1"], found["A2"], found["A6"]) == (len(test.ids), 6 * len(test), 2 * len(test))
    assert (found["A9"], found["C1"]) == (0, 0)
    computed = planned(case.claim, train, select, test, settings=ClosedForm("pca"), refits=5, controls=3)
    assert computed["B1"] == 5 * (len(train.ids) + len(test))


def test_nothing_learnt_is_nothing_fitted():
    algorithm, _, claim = exact(3)
    pairs = census(algorithm)
    found = planned(claim, pairs, None, pairs, settings=QUICK, refits=5, controls=3)
    assert (found["B1"], found["E3"]) == (5 * len(pairs), 0)
    # But rivals are: they have no coordinates that were picked for them.
    assert found["E5"] == MADE * (QUICK.starts * QUICK.steps * QUICK.batch + len(pairs))
    assert planned(claim, None, None, pairs, settings=QUICK, refits=5, controls=3)["E5"] == 0


def test_the_cost_comes_first_and_the_card_has_it():
    algorithm, _, claim = exact(3)
    lines = []

    def note(stage, step, steps, figures):
        lines.append((stage, step, steps, dict(figures)))

    report = challenge(claim, test=census(algorithm), level="R1", progress=note)
    stage, step, steps, figures = lines[0]
    assert (stage, step) == ("forward passes", 0)
    costs = planned(claim, None, None, census(algorithm), settings=QUICK, refits=5, controls=3)
    assert steps == costs["A1"] + costs["A3"]
    assert figures == told({name: costs[name] for name in ("A1", "A3")})
    assert report.record()["cost"]["planned_forward_passes"] == steps
    assert f"{steps:,} planned forward passes" in str(report)


def test_what_does_not_fit_into_the_budget_is_not_run_and_says_so():
    algorithm, _, claim = exact(3)
    pairs = census(algorithm)
    report = challenge(claim, test=pairs, level="R2", budget=len(pairs) * 8)
    answers = report.answers
    assert {name: answers[name] for name in ("A1", "A2", "A3")} == dict.fromkeys(
        ("A1", "A2", "A3"), "supported"
    )
    assert {answers[name] for name in ("B1", "B2")} == {"not run"}
    record = {check["id"]: check for check in report.record()["checks"]}
    words = record["B1"]["reason"]
    assert words.startswith(f"it would take about {5 * len(pairs):,} forward passes, and ")
    assert words.endswith(f"of the {len(pairs) * 8:,} of the budget are left")
    assert words in " ".join(str(report).split())
    assert (report.level, report.verdict, report.exit_status()) == ("R1", "not run", 4)


def test_a_budget_of_passes_and_one_of_time():
    assert beyond(None, 10**12, 0, 0.0) is None
    assert beyond(100, 60, 40, 1.0) is None
    assert beyond(100, 61, 40, 1.0) == (
        "it would take about 61 forward passes, and 60 of the 100 of the budget are left"
    )
    # A second for ten passes: a hundred more take ten.
    assert beyond(timedelta(seconds=11), 100, 10, 1.0) is None
    assert beyond(timedelta(seconds=10), 100, 10, 1.0) == (
        "it would take about 10 seconds, and 9 of the 10 seconds of the budget are left"
    )
    assert beyond(timedelta(seconds=10), 100, 0, 0.0) is None


@pytest.mark.parametrize("budget", [0, -1, True, 1.5, "10 minutes", timedelta(0)])
def test_what_is_no_budget(budget):
    algorithm, _, claim = exact(3)
    with pytest.raises(DataError) as caught:
        challenge(claim, test=census(algorithm), budget=budget)
    assert str(caught.value) == (
        "budget= is a number of forward passes or a time\n"
        f"  got:      {budget!r}\n"
        "  expected: a whole number above 0, or a timedelta above 0\n"
        "  do:       such as 5_000_000, or timedelta(minutes=10)"
    )


@pytest.fixture(scope="module")
def counted():
    """A claim of two variables with the outcomes of checks that say what they cost."""
    case = numbers()
    larger = Shift("larger numbers", domain={name: range(20, 32) for name in "wxyz"})
    away = {name: list(range(40, 100)) for name in "wxyz"}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(challenge_module, "CHECKS", {name: CHECKS[name] for name in CHECKS if name in STATED})
        report = challenge(
            case.alignment, test=case.test, level="R5", shifts=[even_w(), larger], off_task=away
        )
    return case.test, {name: timed.outcome for name, timed in report.outcomes.items()}


# What the catalogue says of a check, and how many inputs that is for 60 off-task inputs, 2 shifts and 2 variables.
STATED = {
    "A1": ("one pass for each distinct input", lambda test, _: len(test.ids)),
    "A2": (
        "six passes for each measured pair: its swap and five random subspaces",
        lambda test, _: 6 * len(test),
    ),
    "A3": ("none", lambda *_: 0),
    "A4": (
        "at most three passes for each effective pair, one for each placebo pair",
        lambda test, _: (
            2 * int(test.effective.sum())
            + len(np.unique(test.base[test.effective]))
            + int((~test.effective).sum())
        ),
    ),
    "A7": (
        "one pass for each pair and replacement, and the clean inputs",
        lambda test, _: 4 * len(test) + 2 * len(test.ids),
    ),
    "A9": ("none beyond A2", lambda *_: 0),
    "C1": ("none beyond A2", lambda *_: 0),
    "C2": (
        "one pass for each pair of a subset and each of its inputs",
        lambda _, found: sum(one["n"] + one["distinct_inputs"] for one in found.figures["sets"].values()),
    ),
    "C8": (
        "two passes for each base and variable",
        lambda test, _: 2 * 2 * len(np.unique(test.base)),
    ),
    "C9": (
        "one pass for each off-task input, and one for each set that is swapped",
        lambda test, _: (1 + len(test.swaps)) * 60,
    ),
    # And the two on which the readers are watched.
    "D1": ("two passes for each effective pair", lambda test, _: 2 * int(test.effective.sum()) + 2),
    "E1": ("three passes for each pair and shift", lambda test, _: 2 * 3 * len(test)),
}


@pytest.mark.parametrize("name", STATED)
def test_what_the_catalogue_says_of_a_cost_is_what_is_counted(counted, name):
    test, outcomes = counted
    words, passes = STATED[name]
    assert entry(name).cost == words
    assert outcomes[name].answer is not Answer.NOT_RUN
    assert outcomes[name].forward_passes == passes(test, outcomes[name])


def test_what_costs_nothing_is_planned_as_nothing():
    """A check that is counted at what others have paid would be left out of a budget for nothing."""
    algorithm, _, claim = exact(3)
    pairs = census(algorithm)
    report = challenge(claim, test=pairs, level="R3", budget=6 * len(pairs) + len(pairs.ids))
    assert {name: report.answers[name] for name in ("A9", "C1")} == {"A9": "supported", "C1": "supported"}


def test_the_dearest_are_named():
    assert told({"A1": 0, "B1": 2_000, "B2": 30_000, "A2": 7, "E3": 10}) == {
        "B2": "30,000",
        "B1": "2,000",
        "E3": "10",
    }
    assert set(told(dict.fromkeys(CHECKS, 0))) == set()

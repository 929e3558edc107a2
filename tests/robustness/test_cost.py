"""What a challenge costs is said first, and a budget is kept."""

from __future__ import annotations

from datetime import timedelta

import pytest

from commutes import census, challenge
from commutes.errors import DataError
from commutes.robustness import CHECKS
from commutes.robustness._cost import beyond, planned, told
from commutes.robustness._rival_algorithms import MADE
from commutes.training import ClosedForm, Settings
from tests.planted import QUICK, exact, planted


def test_what_is_planned_for_refits_is_what_fits_take_when_none_ends_early():
    case = planted(10)
    train, select, test = case.parts
    settings = Settings(steps=40, batch=32, starts=2, every=20)
    found = planned(case.claim, train, select, test, settings=settings, refits=5, controls=3, rivals=2)
    fit = 2 * (40 * 32 + 3 * len(select)) + len(test)
    assert (found["B1"], found["E3"], found["E5"]) == (5 * fit, 5 * fit, (2 + MADE) * fit)
    assert found["B2"] == 3 * 2 * fit
    assert found["A5"] == 0
    assert (found["A1"], found["A2"], found["C1"]) == (len(test.ids), 6 * len(test), 2 * len(test))
    computed = planned(case.claim, train, select, test, settings=ClosedForm("pca"), refits=5, controls=3)
    assert computed["B1"] == 5 * (len(train.ids) + len(test))


def test_nothing_learnt_is_nothing_fitted():
    algorithm, _, claim = exact(3)
    pairs = census(algorithm)
    found = planned(claim, pairs, None, pairs, settings=QUICK, refits=5, controls=3)
    assert found["B1"] == 5 * len(pairs)
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


def test_the_dearest_are_named():
    assert told({"A1": 0, "B1": 2_000, "B2": 30_000, "A2": 7, "E3": 10}) == {
        "B2": "30,000",
        "B1": "2,000",
        "E3": "10",
    }
    assert set(told(dict.fromkeys(CHECKS, 0))) == set()

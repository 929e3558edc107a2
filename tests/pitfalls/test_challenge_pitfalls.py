"""What must never end as a pass: each is answered on the card, or refused before the test split is opened."""

from __future__ import annotations

import pytest

import commutes.robustness._challenge as challenge_module
from commutes import Shift, census, challenge, counterfactuals
from commutes.errors import DataError
from commutes.evaluation import looks
from commutes.robustness import CHECKS, Outcome, Report
from commutes.stats import Answer
from tests.planted import equality, exact, planted, settled


def asked(monkeypatch: pytest.MonkeyPatch, *checks: str) -> None:
    """Of all checks only these are run: the others have nothing to do with it."""
    monkeypatch.setattr(challenge_module, "CHECKS", {name: CHECKS[name] for name in checks})


def card(report: Report) -> str:
    """On one line, without the breaks of the page."""
    return " ".join(str(report).split())


def assert_no_pass(report: Report) -> None:
    assert report.verdict != "supported"
    assert report.exit_status() != 0
    assert "was sought: supported" not in card(report)


@pytest.mark.parametrize(("n", "answer"), [(1_000, "vacuous"), (100, "inconclusive")])
def test_a_rival_that_the_data_cannot_tell_apart(n, answer, monkeypatch):
    """The rival is the claim's algorithm under another name: no pair expects another answer of it."""
    asked(monkeypatch, "A1", "A3")
    algorithm, _, claim = exact()
    test = census(algorithm).subset(range(n))
    report = challenge(claim, test=test, level="R1", rivals={"the same again": equality(3)})
    assert report.answers["A3"] == answer
    assert report.level == "R0"
    assert_no_pass(report)
    assert "the rival hardest to tell apart is the same again: another answer on 0 of" in card(report)
    if answer == "vacuous":
        assert "not one of 1,000 pairs tells the claim from the same again" in card(report)
    told = challenge(claim, test=test, level="R1")
    assert told.answers["A3"] != "vacuous"


def test_a_claim_with_nothing_but_itself_to_beat(monkeypatch):
    asked(monkeypatch, "E5")
    small = planted(10)
    train, select, test = small.parts
    claim = settled(small.claim, small.parts, [small.truth])
    same = {"the same again": equality(10)}
    report = challenge(claim, train=train, select=select, test=test, level="R5", rivals=same)
    assert report.answers["E5"] == "vacuous"
    assert_no_pass(report)
    assert "the same again is no rival here, it is the claim" in card(report)


def test_shifts_that_change_nothing(monkeypatch):
    asked(monkeypatch, "E1")
    algorithm, _, claim = exact(8)
    test = counterfactuals(algorithm, 300, seed=0)
    shifts = [Shift("the same", distribution="values"), Shift("the same again", distribution="values")]
    report = challenge(claim, test=test, level="R4", shifts=shifts)
    assert report.answers["E1"] == "vacuous"
    assert_no_pass(report)
    assert "the same changes nothing and does not count" in card(report)
    assert "no shifts are left that change the pairs; 2 are needed" in card(report)
    assert "not tested: other inputs" in card(report)


def test_a_test_split_that_was_fitted_or_chosen_on_is_not_opened():
    small = planted(10)
    train, select, test = small.parts
    claim = settled(small.claim, small.parts, [small.truth])
    for part, word in ((train, "fitted"), (select, "selected")):
        before = looks(claim.network, part.input_ids)
        with pytest.raises(DataError) as caught:
            challenge(claim, train=train, select=select, test=part)
        what = "fitted" if word == "fitted" else "chosen"
        assert caught.value.what == f"the claim was {what} on these inputs"
        ids = len(part.input_ids)
        assert caught.value.got == f"{ids:,} of {ids:,} inputs were {word} on"
        assert looks(claim.network, part.input_ids) == before
    assert challenge(claim, train=train, select=select, test=test, level="R1").answers["A1"] == "supported"


def test_a_complete_domain_that_was_fitted_on_has_nothing_held_out(monkeypatch):
    asked(monkeypatch, "A1", "A2", "A3", "A6")
    small = planted(4)
    every = census(small.algorithm)
    history = settled(small.claim, small.parts, [small.truth]).history
    claim = small.claim.with_maps([small.truth], fitted_ids=every.input_ids, history=history)
    report = challenge(claim, train=every, test=every)
    assert report.answers["A6"] == "vacuous"
    assert_no_pass(report)
    assert "no input is left to hold out" in card(report)
    assert "IN-SAMPLE, COMPLETE DOMAIN" in card(report)


def test_a_gate_that_has_no_power(monkeypatch):
    """D1 in a site of which everything is read, alone where D4 has no power either: R3 is not reached by it."""
    asked(monkeypatch, "A1", "D1", "D4", "C3")
    algorithm, _, claim = exact()
    report = challenge(claim, test=census(algorithm), level="R3")
    powerless = [name for name, answer in report.answers.items() if answer == "vacuous"]
    assert "D1" in powerless
    assert_no_pass(report)
    assert all(report.outcomes[name].outcome.reason for name in powerless)


@pytest.mark.parametrize(
    "threshold", [{"target": 0}, {"behaviour": 0.0}, {"damage": 0}, {"damage": 1}, {"replicated": 0}]
)
def test_a_threshold_that_nothing_can_miss_is_refused(threshold):
    algorithm, network, claim = exact()
    test = census(algorithm)
    before = looks(network, test.input_ids)
    with pytest.raises(DataError):
        challenge(claim, test=test, **threshold)
    assert looks(network, test.input_ids) == before


@pytest.mark.parametrize(
    ("given", "where", "got"),
    [
        ({"test": None}, "test", "NoneType: None"),
        ({"train": 5}, "train", "int: 5"),
        ({"shifts": Shift("others", domain={"w": [1]})}, "shifts", "Shift: "),
        ({"networks": "elsewhere"}, "networks", "str: 'elsewhere'"),
        ({"rivals": ["by shade"]}, "rivals", "list: ['by shade']"),
        ({"rivals": {"by shade": "by_shade"}}, "rivals, 'by shade'", "str: 'by_shade'"),
        ({"variants": ["later"]}, "variants", "list: ['later']"),
        ({"every_input": "no"}, "every_input", "str: 'no'"),
        ({"selection": [1]}, "selection", "list: [1]"),
        ({"ledger": "runs"}, "ledger", "str: 'runs'"),
    ],
)
def test_an_argument_of_another_kind_is_named_before_anything_is_run(given, where, got):
    algorithm, _, claim = exact()
    with pytest.raises(DataError) as caught:
        challenge(claim, **({"test": census(algorithm), "level": "R1"} | given))
    assert caught.value.what == "an argument is of another kind"
    assert caught.value.where == f"cm.challenge, {where}"
    assert str(caught.value.got).startswith(got)


@pytest.mark.parametrize("every_input", [False, True])
def test_the_power_of_a_search_is_that_of_a_claim_about_every_input(monkeypatch, every_input):
    found = Outcome(Answer.SUPPORTED, "none was found", {"every_input": every_input})
    monkeypatch.setattr(challenge_module, "CHECKS", {"E2": lambda _case: found})
    algorithm, _, claim = exact()
    report = challenge(claim, test=census(algorithm), level="R4")
    caught = {one["kind"]: one["caught"] for one in report.record()["could_have_caught"]}
    assert (caught["shortcut"] > 0) is every_input

"""What the card says a claim was tried on: what ran, and what did not."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch

import commutes.robustness._challenge as challenge_module
from commutes import Network, Shift, challenge
from commutes.robustness import CHECKS, Case
from commutes.robustness._case import Outcome
from commutes.robustness._scope import tried
from commutes.stats import Answer

from .travel_cases import even_w, numbers

LARGER = Shift("larger numbers", domain={name: range(20, 32) for name in "wxyz"})
SAME = Shift("the same", distribution="values")


@pytest.fixture(scope="module")
def case() -> Case:
    return numbers()


def scope(
    case: Case, monkeypatch: pytest.MonkeyPatch, *checks: str, networks: int = 0, **declared: Any
) -> dict[str, str]:
    """The scope on the card of a challenge with these checks alone."""
    declared["networks"] = others(case, networks)
    monkeypatch.setattr(challenge_module, "CHECKS", {name: CHECKS[name] for name in checks})
    report = challenge(case.alignment, test=case.test, level="R5", **declared)
    record = report.record()
    assert f"not tested: {record['claim']['scope']['not tested']}" in " ".join(str(report).split())
    return record["claim"]["scope"]


def others(case: Case, count: int) -> list[Network]:
    """Networks that do the task as the claim's own does, with larger and larger logits."""
    found = []
    for number in range(1, 1 + count):
        module = copy.deepcopy(case.alignment.network.module)
        with torch.no_grad():
            for weight in module.get_submodule("head").parameters():
                weight.mul_(1 + number / 10)
        found.append(case.alignment.network.with_module(module))
    return found


def test_nothing_is_said_to_be_tested_that_was_not(case, monkeypatch):
    found = scope(case, monkeypatch, "A1", "A2")
    assert (
        found["not tested"] == "other inputs, other networks, other replacements; whatever is not run below"
    )
    assert found["replacements"] == "interchange with clean sources"
    assert found["network"].startswith("one network: ")
    assert not any(check in " ".join(found.values()) for check in ("A7", "E1", "E3", "E4"))


def test_nothing_is_said_to_be_untested_that_was(case, monkeypatch):
    found = scope(case, monkeypatch, "E1", "A7", "E4", shifts=[even_w(), LARGER], networks=3)
    assert found["not tested"] == "whatever is not run below"
    assert found["inputs"].endswith("; E1 shifts them to even w and larger numbers")
    assert found["network"].endswith("; E4 fits the claim again on 3 others")
    assert found["replacements"] == (
        "interchange with clean sources; A7 puts other inputs with the source's value, the value's mean and draws about"
        " that mean in their place"
    )


@pytest.mark.parametrize(
    ("check", "declared", "left"),
    [
        ("E1", {"shifts": [even_w(), LARGER]}, "other networks, other replacements"),
        ("A7", {}, "other inputs, other networks"),
        ("E4", {"networks": 3}, "other inputs, other replacements"),
    ],
)
def test_each_takes_away_its_own(case, monkeypatch, check, declared, left):
    assert scope(case, monkeypatch, check, **declared)["not tested"] == f"{left}; whatever is not run below"


@pytest.mark.parametrize(
    ("check", "declared"),
    [
        ("E1", {"shifts": [SAME, Shift("the same again", distribution="values")]}),  # vacuous
        ("E1", {"shifts": [LARGER]}),  # too few: not run
        ("E4", {"networks": 2}),
        ("E1", {"shifts": [even_w(), LARGER], "budget": 1}),
    ],
)
def test_what_had_no_power_or_did_not_run_was_not_tested(case, monkeypatch, check, declared):
    found = scope(case, monkeypatch, check, **declared)
    assert (
        found["not tested"] == "other inputs, other networks, other replacements; whatever is not run below"
    )


def test_a_shift_that_changes_nothing_is_not_listed_among_those_that_do(case, monkeypatch):
    found = scope(case, monkeypatch, "E1", shifts=[SAME, even_w(), LARGER])
    assert found["inputs"].endswith("; E1 shifts them to even w and larger numbers")


def test_other_fits_are_counted():
    own = {"seeds": "one fit (seed 0), one network"}
    again = {"E3": Outcome(Answer.INCONCLUSIVE, "", {"fits": 6})}
    assert tried(own, again)["seeds"] == "one fit (seed 0), one network; E3 fits it 5 times again"
    nothing = {"E3": Outcome(Answer.SUPPORTED, "nothing was fitted", {"fits": 1})}
    assert tried(own, nothing)["seeds"] == own["seeds"]

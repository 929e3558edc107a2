import enum
import itertools
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from commutes.report.catalogue import (
    CATALOGUE,
    FAMILIES,
    LEVELS,
    entry,
    exit_status,
    headline,
    level_of,
    requirements,
    settled,
    upgrade,
    verdict,
)

WORDS = ("supported", "refuted", "inconclusive", "vacuous", "not run")
IDS = [item.id for item in CATALOGUE]
NAMES = [level.name for level in LEVELS]
answers = st.fixed_dictionaries({}, optional={id: st.sampled_from(WORDS) for id in IDS})


def supported(upto: str) -> dict[str, str]:
    groups = [g for level in LEVELS[: NAMES.index(upto) + 1] for g in level.requires]
    return {id: "supported" for group in groups for id in group}


def test_the_catalogue_is_the_whole_list():
    last = {"A": 9, "B": 6, "C": 9, "D": 8, "E": 8}
    assert [f"{family}{i}" for family, n in last.items() for i in range(1, n + 1)] == IDS
    assert list(FAMILIES) == list(last)


@pytest.mark.parametrize("item", CATALOGUE, ids=IDS)
def test_every_entry_says_what_it_is(item):
    assert item.question.endswith("?")
    assert item.question[0].isupper()
    assert item.gate
    assert item.cost
    assert item.references
    assert item.diagnostic == (item.level is None)
    for reference in item.references:
        assert re.search(r", arXiv:\d{4}\.\d{5}$", reference)
    assert item.family == FAMILIES[item.id[0]]


def test_the_diagnostics_are_those_of_the_plan():
    marked = {"A8", "B4", "B5", "B6", "C4", "C5", "C6", "C7", "D5", "D7", "D8", "E6", "E7", "E8"}
    assert {item.id for item in CATALOGUE if item.diagnostic} == marked | {"B3"}  # B3 is a floor


def test_what_each_level_requires():
    listed = {level.name: [" or ".join(g) for g in level.requires] for level in LEVELS}
    assert listed == {
        "R0": [],
        "R1": ["A1", "A3"],
        "R2": ["A2", "A5", "A6", "A9", "B1", "B2"],
        "R3": ["A4", "C1", "C3", "C8", "D4 or D1", "D6"],
        "R4": ["E1", "E2", "A7", "C9", "E3"],
        "R5": ["E5", "E4"],
    }
    for level in LEVELS:
        assert all(entry(id).level == level.name for group in level.requires for id in group)
    assert requirements("R5") == (("E5",), ("E4",))


@pytest.mark.parametrize("name", NAMES)
def test_every_level_is_reached_by_its_checks_and_no_fewer(name):
    full = supported(name)
    assert level_of(full)[0] == name
    below = NAMES[max(0, NAMES.index(name) - 1)]
    for group in requirements(name):
        assert level_of({k: v for k, v in full.items() if k not in group})[0] == below


@pytest.mark.parametrize("word", ["vacuous", "not run", "inconclusive"])
def test_what_is_not_supported_never_counts(word):
    assert level_of(supported("R2") | {"B2": word}) == ("R1", ("B2",))


def test_nothing_ran_is_level_zero():
    assert level_of({}) == ("R0", ("A1", "A3"))


def test_the_weakest_link_decides():
    assert level_of(supported("R4") | {"A1": "refuted"}) == ("R0", ("A1",))


def test_one_of_two_alternatives_is_enough():
    for one, other in itertools.permutations(("D1", "D4")):
        assert level_of(supported("R3") | {other: "vacuous"})[0] == "R3"
        assert level_of(supported("R3") | {other: "vacuous", one: "not run"})[0] == "R2"


def test_a_refuted_alternative_caps_whatever_the_other_says():
    assert level_of(supported("R3") | {"D1": "refuted"}) == ("R2", ("D1",))


def test_a_refuted_gate_outside_the_requirements_caps_too():
    assert level_of(supported("R3") | {"C2": "refuted"}) == ("R2", ("C2",))
    assert level_of(supported("R3") | {"C2": "not run"})[0] == "R3"


def test_a_diagnostic_never_caps():
    assert level_of(supported("R3") | {"C7": "refuted"})[0] == "R3"


def test_the_top_leaves_nothing_vacuous():
    assert level_of(supported("R5"))[0] == "R5"
    assert level_of(supported("R5") | {"C2": "vacuous"}) == ("R4", ("C2",))
    assert level_of(supported("R5") | {"D1": "vacuous"})[0] == "R5"  # D4 has the power that D1 lacks


def test_without_reach_a_null_result_is_vacuous():
    words = {"A1": "supported", "A3": "supported", "A2": "refuted", "B1": "refuted", "A9": "refuted"}
    assert settled(words)["A2"] == settled(words)["B1"] == "vacuous"
    assert settled(words | {"A9": "supported"})["A2"] == "refuted"
    assert exit_status("R1", "R2", words) == 4
    assert exit_status("R1", "R2", words | {"A9": "supported"}) == 1
    assert verdict(words, "R2") == "vacuous"


def test_without_reach_the_second_level_is_not_had():
    assert level_of(supported("R2") | {"A9": "inconclusive"}) == ("R1", ("A9",))


def test_exit_statuses():
    good = supported("R2")
    assert exit_status("R2", "R2", good) == exit_status("R3", "R2", good) == 0
    assert exit_status("R1", "R2", good | {"A2": "refuted"}) == 1
    assert exit_status("R1", "R2", good | {"A2": "inconclusive"}) == 4
    assert exit_status("R2", "R3", good | {"E1": "refuted"}) == 4  # above what was sought
    assert exit_status("R2", "R2", good | {"D1": "refuted"}) == 0


@given(answers, st.sampled_from(NAMES[1:]))
def test_verdict_level_and_exit_status_agree(words, sought):
    level, blocking = level_of(words)
    status = exit_status(level, sought, words)
    assert (status == 0) == (verdict(words, sought) == "supported")
    assert (status == 1) == (verdict(words, sought) == "refuted")
    assert bool(blocking) == (level != "R5")
    assert all(settled(words)[id] != "supported" for id in blocking)


@given(answers, st.sampled_from(IDS))
def test_one_more_support_never_lowers_the_level(words, id):
    if id == "A9":  # support of reach is what lets a null result count against the claim
        return
    before, after = level_of(words)[0], level_of(words | {id: "supported"})[0]
    assert NAMES.index(after) >= NAMES.index(before)


@given(answers, st.sampled_from(NAMES[1:]))
def test_headline_and_upgrade_name_the_level_and_every_refuted_gate(words, sought):
    first = headline(words, sought)
    assert first.startswith(f"{level_of(words)[0]}, ")
    for item in CATALOGUE:
        if item.level and settled(words)[item.id] == "refuted":
            assert item.id in first
    assert " is the " not in first
    assert upgrade(words)


@given(answers)
def test_the_order_of_the_answers_is_nothing(words):
    turned = dict(reversed(list(words.items())))
    assert level_of(words) == level_of(turned)
    assert headline(words, "R2") == headline(turned, "R2")


def test_an_enumeration_of_answers_is_read_by_its_value():
    class Answer(enum.StrEnum):
        SUPPORTED = "supported"

    assert level_of({"A1": Answer.SUPPORTED, "A3": Answer.SUPPORTED})[0] == "R1"


def test_the_words_of_headlines():
    good = supported("R2")
    assert headline(good, "R2") == (
        "R2, controls: swapping the aligned coordinates makes the network answer as the algorithm says"
    )
    assert headline(good | {"D1": "refuted"}, "R2", details={"D1": "dormant-path signature"}) == (
        "R2, controls, but is not shown to mediate: D1 row space and null space is refuted "
        "(dormant-path signature)"
    )
    assert headline(good | {"B1": "vacuous", "B2": "vacuous"}, "R2") == (
        "R1, behaves, but is not shown to control: B1, B2 are vacuous"
    )
    assert headline(good | {"E1": "refuted", "A2": "inconclusive"}, "R2") == (
        "R1, behaves, but is not shown to control: A2 stratified IIA is inconclusive; "
        "further up, E1 shifts is refuted"
    )


def test_the_words_of_the_upgrade_path():
    good = supported("R2")
    assert upgrade(good) == (
        "to reach R3 (mediates): run C1 cause and isolation first, the cheapest "
        "(none beyond A2); then A4, C3, C8, D1 or D4, D6"
    )
    assert upgrade(good | {"A2": "inconclusive"}, n_to_decide={"A2": 3100}) == (
        "to reach R2 (controls): decide A2 stratified IIA with about 3,100 pairs"
    )
    assert upgrade(good | {"B2": "vacuous"}, reasons={"B2": "fewer than 3 controls"}) == (
        "to reach R2 (controls): give B2 control task power (fewer than 3 controls)"
    )
    assert "A2 stratified IIA is refuted, so change the claim" in upgrade(good | {"A2": "refuted"})
    assert upgrade(supported("R5")) == "nothing: this is the highest level; replicate it elsewhere"

import copy
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from commutes.errors import ArtefactError
from commutes.report import card, evaluation_table
from commutes.report._text import clean, count, interval, share, width_of
from commutes.report.catalogue import CATALOGUE

GOLDEN = Path(__file__).parent / "golden"
OTHER = {"A2": "refuted", "B1": "inconclusive", "B2": "vacuous", "A9": "not run"}


@pytest.mark.parametrize("name, changes", [("supported", None), ("refuted", OTHER)])
def test_the_card_reads_as_it_should(build_report, name, changes):
    assert card(build_report(changes)) + "\n" == (GOLDEN / f"card_{name}.txt").read_text(encoding="utf-8")


def test_the_table_of_an_evaluation_reads_as_it_should(evaluation):
    assert evaluation_table(evaluation) + "\n" == (GOLDEN / "evaluation.txt").read_text(encoding="utf-8")


def test_the_first_line_is_the_verdict_and_the_last_the_next_step(build_report):
    report = build_report(OTHER)
    lines = card(report).splitlines()
    assert lines[0] == report["headline"]
    assert " ".join(" ".join(lines).split("Next")[1].split()) == report["upgrade"]
    assert f"Reproduce   {report['reproduce']}" in lines


@pytest.mark.parametrize("width", [80, 100, 140])
def test_no_line_is_wider_than_asked(build_report, width):
    for text in (
        card(build_report(OTHER), width=width),
        evaluation_table(build_report()["evaluation"], width=width),
    ):
        assert max(width_of(line) for line in text.splitlines()) <= width


def test_colour_changes_no_letter(build_report):
    coloured = card(build_report(OTHER), colour=True)
    assert "\x1b[31mrefuted" in coloured
    assert re.sub(r"\x1b\[[0-9;]*m", "", coloured) == card(build_report(OTHER))
    assert "\x1b" not in card(build_report(OTHER))


def test_every_check_is_on_the_card(report):
    flat = " ".join(card(report).split())
    for item in CATALOGUE:
        assert f"{item.id} {item.name}" in flat


def test_not_run_is_counted_as_nothing_else(report):
    text = card(report)
    assert "8 supported, 0 refuted, 0 inconclusive, 0 vacuous, 32 not run" in text
    for check in report["checks"]:
        check["answer"] = "not run"
    assert "0 supported, 0 refuted, 0 inconclusive, 0 vacuous, 40 not run" in card(report)
    assert not re.search(r"^  [A-E]\d .*\bsupported\b", card(report), re.MULTILINE)


def test_a_needed_check_that_did_not_run_has_its_own_line(build_report):
    assert re.search(r"^  A9  reach +not run ", card(build_report(OTHER)), re.MULTILINE)


def test_every_number_of_the_table_is_that_of_the_record(report):
    lines = card(report).splitlines()
    for cell in report["evaluation"]["cells"]:
        rate = cell["rate"]
        if rate is None:
            continue
        figures = [share(rate["rate"]), interval(rate["low"], rate["high"]), count(rate["n"])]
        figures += [
            share(cell["floors"][name]) for name in ("do nothing", "best constant", "random subspace")
        ]
        wanted = r"\b" + cell["stratum"] + r" +" + r" +".join(map(re.escape, figures))
        assert any(re.search(wanted, line) for line in lines)


def test_cells_without_power_are_shown_as_such(report):
    text = card(report)
    assert re.search(r"novel +— +impossible +0 ", text)
    assert re.search(r"neutral +1\.000 .* too small$", text, re.MULTILINE)
    assert len(re.findall("← worst", text)) == 1


def test_where_all_gated_cells_are_alike_none_is_marked_as_the_worst(evaluation):
    gated = [cell for cell in evaluation["cells"] if cell["status"] == "gated"]
    for cell in gated:
        cell["rate"] |= {"hits": cell["rate"]["n"], "rate": 1.0, "high": 1.0}
    evaluation["worst"]["rate"] = 1.0
    assert "← worst" not in evaluation_table(evaluation)
    gated[0]["rate"] |= {"hits": 0, "rate": 0.0, "low": 0.0}
    evaluation["worst"] |= {"swap": "left", "stratum": "flip", "rate": 0.0}
    assert re.search(r"^  left +flip .*← worst$", evaluation_table(evaluation), re.MULTILINE)


def test_the_headlines_bounds_are_said_to_be_bounds_and_what_is_left_out_is_counted(evaluation):
    def row() -> str:
        flat = " ".join(evaluation_table(evaluation, width=160).split())
        return flat.split("worst cell (headline)")[1].split(" overall ")[0]

    assert row() == (
        " .932 [.908, .958] 400 one-sided bounds; right · flip, lowest of 9 gated cells; 1 more is too small"
    )
    evaluation["worst"]["too_small"] = 2
    assert row().endswith("lowest of 9 gated cells; 2 more are too small")
    del evaluation["worst"]["too_small"]  # a record of an earlier version
    assert row().endswith("lowest of 9 gated cells")
    evaluation["census"] = True
    assert row() == " .932 exact 400 right · flip, lowest of 9 gated cells"


def test_the_random_floor_counts_its_draws_and_not_their_pairs(evaluation):
    (row,) = [line for line in evaluation_table(evaluation).splitlines() if "floor: random" in line]
    said = "floor: random subspace .482 [.430, .530] 5 as many random coordinates, 5 draws"
    assert " ".join(row.split()) == said


@pytest.mark.parametrize("width", [90, 100])
def test_the_label_of_a_joint_swap_is_not_broken_inside_a_name(evaluation, width):
    patterns = [f"b={b} s1={s} s2={t}" for b in (0, 1) for s in (0, 1) for t in (0, 1)]
    joint = evaluation["cells"][:8]
    for cell, stratum in zip(joint, patterns, strict=True):
        cell |= {"swap": "left+right", "stratum": stratum}
        cell["rate"]["method"] = "dyadic"  # one more column
    evaluation["worst"] |= {"swap": "left+right", "stratum": patterns[4]}
    shown = evaluation_table(evaluation, width=width)
    assert max(width_of(line) for line in shown.splitlines()) <= width
    lines = shown.splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith("  swap "))
    names = [line[2:].split(" ")[0] for line in lines[start + 1 : start + 9]]
    assert set(names) <= {"left+right", "left+", "right", ""}
    assert "left+" in names[0]
    if width == 100:
        assert all(any(f" {stratum} " in line for line in lines) for stratum in patterns)


def test_a_census_has_no_interval(evaluation):
    for cell in evaluation["cells"]:
        if cell["rate"]:
            cell["rate"] |= {"method": "census"}
    evaluation |= {"census": True}
    text = evaluation_table(evaluation)
    assert "complete domain" in text
    assert re.search(r"flip +\.953 +exact +400 ", text)


def test_inputs_that_recur_are_counted(evaluation):
    assert " inputs  nothing" not in evaluation_table(evaluation)
    evaluation["cells"][0]["rate"]["method"] = "dyadic"
    evaluation["cells"][0]["inputs"] = 77
    assert re.search(r"flip +\.953 .* 400 +77 ", evaluation_table(evaluation))


def test_a_label_stands_above_the_figures(evaluation):
    evaluation["label"] = "selection, optimistic"
    assert evaluation_table(evaluation).splitlines()[1] == "  SELECTION, OPTIMISTIC"


def test_a_rival_that_is_not_excluded_is_named(evaluation):
    evaluation["not_excluded"]["left"] = ["do nothing", "swap all"]
    assert "swap left: this data does not exclude do nothing, swap all" in evaluation_table(evaluation)


def test_of_many_transitions_the_lowest_are_shown(evaluation, report):
    first = evaluation["transitions"][0]
    many = [first | {"from": i, "to": i + 1} for i in range(30)]
    many[17] = many[17] | {"rate": first["rate"] | {"hits": 0, "rate": 0.0}}
    report["evaluation"] = evaluation | {"transitions": many}
    assert re.search(r"left, by value +\.000 .* 17 to 18, lowest of 30", card(report))
    assert len(re.findall("left, by value", evaluation_table(report["evaluation"]))) == 8


def test_untrained_refits_are_beside_the_floors(report):
    text = card(report)
    assert re.search(
        r"untrained networks +\.525 +\[\.513, \.538\] +5 +\.524 \.533 \.506 \.540 \.523: 5 refits", text
    )
    b1 = next(check for check in report["checks"] if check["id"] == "B1")
    b1["figures"] = {"refits": [0.5, 0.6]}
    assert re.search(r"untrained networks +\.550 +— +2 +\.500 \.600: 2 refits$", card(report), re.MULTILINE)
    b1["answer"] = "not run"
    assert re.search(r"untrained networks +— +not run +0 ", card(report))


def test_reasons_and_needed_n_are_said(build_report):
    flat = " ".join(card(build_report(OTHER)).split())
    assert "about 3,100 pairs would decide" in flat
    assert "no natural input reaches this value" in flat


def test_what_is_no_report_is_refused(evaluation):
    with pytest.raises(ArtefactError, match="is not a report"):
        card(evaluation)
    with pytest.raises(ArtefactError, match="is not an evaluation"):
        evaluation_table({})


def texts(value: Any, path: tuple = ()):
    """Where a record holds free text."""
    fixed = {"status", "answer", "level", "sought", "verdict", "method", "id"}
    if isinstance(value, dict):
        for key, item in value.items():
            if key not in fixed:
                yield from texts(item, (*path, key))
    elif isinstance(value, list):
        for i, item in enumerate(value):
            yield from texts(item, (*path, i))
    elif isinstance(value, str):
        yield path


def replaced(record: dict, path: tuple, text: str) -> dict:
    record = copy.deepcopy(record)
    place = record
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = text
    return record


HOSTILE = [
    "\x1b[2J\x1b]0;owned\x07",
    "[/bold][red]",
    "\u202eevil\u2066",
    "a\nR5, discriminates",
    "\r\x00\x08",
    "x" * 400,
]


def check_harmless(shown: str) -> None:
    assert not set(shown) & set("\x1b\x07\x08\x00\r\u202e\u2066")
    assert max(width_of(line) for line in shown.splitlines()) <= 100


def test_hostile_text_in_any_field_stays_text(report):
    text, seen = "".join(HOSTILE), set()
    for path in texts(report):
        kind = tuple("" if isinstance(step, int) else step for step in path)
        if kind in seen:
            continue
        seen.add(kind)
        shown = card(replaced(report, path, text))
        check_harmless(shown)
        assert len([line for line in shown.splitlines() if line.startswith("R5")]) == 1  # its own heading
    assert len(seen) > 35


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_in_every_field_stays_text(report, text):
    for path in list(texts(report)):
        report = replaced(report, path, text) if path[0] != "checks" or path[1] < 2 else report
    check_harmless(card(report))


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(name=st.text(max_size=40), words=st.text(max_size=200))
def test_any_name_can_be_printed(build_report, name, words):
    report = build_report()
    report["claim"]["words"] = words
    for cell in report["evaluation"]["cells"][:4]:
        cell["swap"] = name
    shown = card(report)
    assert max(width_of(line) for line in shown.splitlines()) <= 100
    assert all(line == clean(line) for line in shown.split("\n"))


def test_self_checks_say_what_their_figures_are(evaluation):
    evaluation["self_checks"] = {"base onto itself": 1.5e-7, "whole swap of what is read": 1.0, "other": None}
    flat = " ".join(evaluation_table(evaluation).split())
    words = "base onto itself, largest difference 1.5e-07; whole swap of what is read, 1.000; other, not run"
    assert f"self checks: {words}" in flat


def test_candidates_stand_beside_the_iia(evaluation, candidates):
    evaluation["candidates"] = candidates
    said = " ".join(evaluation_table(evaluation).split())
    assert (
        "among candidates .988 [.984, .991] 3,642 no IIA: by argmax over the 10 candidate answers, all pairs; "
        "effective .995, behaviour 1.000, do nothing .467, random subspace .494"
    ) in said
    evaluation["candidates"]["answers"] = 0
    with pytest.raises(ArtefactError, match=r"candidates\.answers"):
        evaluation_table(evaluation)

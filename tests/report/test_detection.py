"""What a card says of its own power: read from the table that was measured on planted networks."""

from __future__ import annotations

import json

import pytest

from commutes.errors import ArtefactError
from commutes.report import CATALOGUE, as_report, card, could_have_caught
from commutes.report import _detection as module
from commutes.report.html import html

TABLE = {
    "kinds": [
        {"kind": "alpha", "n": 20, "refuted": [[["A2"], 10], [["A2", "D4"], 8]]},
        {"kind": "beta", "n": 10, "refuted": [[["C1"], 4], [["D4"], 5]]},
        {"kind": "gamma", "n": 4, "refuted": []},
    ]
}


@pytest.fixture
def table(tmp_path, monkeypatch):
    path = tmp_path / "detection.json"
    path.write_text(json.dumps(TABLE), encoding="utf-8")
    monkeypatch.setattr(module, "TABLE", path)
    module._kinds.cache_clear()
    yield
    module._kinds.cache_clear()


def shares(answers: dict[str, str]) -> dict[str, int]:
    return {one.kind: one.caught for one in could_have_caught(answers)}


@pytest.mark.usefixtures("table")
def test_a_claim_counts_once_however_many_checks_refute_it():
    assert shares({"A2": "supported", "D4": "supported", "C1": "refuted"}) == {
        "alpha": 18,
        "beta": 9,
        "gamma": 0,
    }
    assert shares({"D4": "supported"}) == {"alpha": 8, "beta": 5, "gamma": 0}


@pytest.mark.usefixtures("table")
@pytest.mark.parametrize("word", ["vacuous", "inconclusive", "not run"])
def test_a_check_that_decided_nothing_here_could_have_caught_nothing(word):
    assert shares({"A2": word}) == {"alpha": 0, "beta": 0, "gamma": 0}
    assert shares({}) == shares({"A2": word})


@pytest.mark.usefixtures("table")
def test_what_rests_on_an_edit_that_moved_nothing_has_no_power():
    assert shares({"A2": "refuted", "A9": "refuted"}) == {"alpha": 0, "beta": 0, "gamma": 0}


@pytest.mark.usefixtures("table")
def test_kinds_are_parted_at_nine_in_ten():
    caught, missed = module.parted(
        could_have_caught({"A2": "supported", "D4": "supported", "C1": "supported"})
    )
    assert [one.kind for one in caught] == ["alpha", "beta"]
    assert [one.kind for one in missed] == ["gamma"]
    caught, missed = module.parted(could_have_caught({"A2": "supported", "D4": "supported"}))
    assert [one.kind for one in caught] == ["alpha"]


def test_the_card_and_the_page_say_what_could_have_been_caught(build_report):
    report = build_report()
    report["could_have_caught"] = [
        {"kind": "alpha", "caught": 18, "n": 20},
        {"kind": "beta", "caught": 9, "n": 20},
    ]
    text = " ".join(card(report).split())
    assert "Power this run could have caught: alpha 18 of 20 and not: beta 9 of 20 (so many planted" in text
    page = html(report)
    assert "<dt>could have caught</dt><dd>alpha 18 of 20</dd>" in page
    assert "<dt>could not</dt><dd>beta 9 of 20</dd>" in page


def test_where_nothing_could_have_been_caught_the_card_says_so(build_report):
    report = build_report()
    report["could_have_caught"] = [{"kind": "beta", "caught": 0, "n": 20}]
    assert "this run could have caught: no kind of decoy and not: beta 0 of 20" in " ".join(
        card(report).split()
    )
    assert "<dd>no kind of decoy</dd>" in html(report)


def test_a_card_that_was_written_before_there_was_a_table_says_nothing(build_report):
    report = build_report()
    del report["could_have_caught"]
    assert as_report(report).could_have_caught == ()
    assert "could have caught" not in card(report)
    assert "could have caught" not in html(report)


def test_more_caught_than_there_are_is_refused(build_report):
    report = build_report()
    report["could_have_caught"] = [{"kind": "beta", "caught": 21, "n": 20}]
    with pytest.raises(ArtefactError, match="21 caught of 20"):
        as_report(report)


def test_the_packaged_table_speaks_of_checks_that_gate():
    known = {entry.id for entry in CATALOGUE if entry.level is not None}
    table = json.loads(module.TABLE.read_text(encoding="utf-8"))
    assert table["kinds"]
    for kind in table["kinds"]:
        assert kind["n"] >= sum(n for _, n in kind["refuted"])
        assert {check for checks, _ in kind["refuted"] for check in checks} <= known

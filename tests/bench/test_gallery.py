"""The gallery's cards say what is known of their claims, and one of them comes again as it is stored."""

from __future__ import annotations

import importlib
import json
import re
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from commutes.report import level_of

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "alignments" / "gallery"


@pytest.fixture(scope="module")
def gallery() -> Iterator[ModuleType]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT / "bench"))
        yield importlib.import_module("gallery")


def record(name: str) -> dict[str, Any]:
    return json.loads((FOLDER / name / "report.json").read_text(encoding="utf-8"))


def answers(name: str) -> dict[str, str]:
    return {one["id"]: one["answer"] for one in record(name)["checks"]}


def comparable(card: str) -> list[str]:
    """The lines of a card without seconds, and without what depends on the processor's rounding."""
    kept = [line for line in card.splitlines() if not line.startswith(("Cost", "Fixed", "Made with"))]
    return [re.sub(r"largest difference \S+|^difference \S+", "", line.strip()) for line in kept]


def test_a_right_claim_reaches_r4():
    found = answers("generalises")
    assert level_of(found)[0] == "R4"
    assert found["C9"] == found["E1"] == found["A7"] == "supported"


def test_an_illusion_of_iia_1_is_refuted_by_what_is_read():
    found = record("illusion")
    assert found["evaluation"]["overall"]["rate"] == 1.0
    assert level_of(answers("illusion"))[0] == "R2"
    assert {name for name, word in answers("illusion").items() if word == "refuted"} == {"D1", "D3", "D4"}


def test_a_shift_refutes_what_holds_on_the_data():
    assert level_of(answers("shift"))[0] == "R3"
    assert {name for name, word in answers("shift").items() if word == "refuted"} == {"E1"}


def test_too_few_pairs_decide_nothing():
    assert level_of(answers("few_pairs"))[0] == "R0"
    assert "refuted" not in answers("few_pairs").values()
    assert answers("few_pairs")["A2"] == "inconclusive"


def test_every_card_is_listed_with_its_first_line(gallery):
    headlines = {name: record(name)["headline"] for name in gallery.CARDS}
    assert json.loads((FOLDER / "gallery.json").read_text(encoding="utf-8"))["headlines"] == headlines
    assert (FOLDER / "README.md").read_text(encoding="utf-8") == gallery.page(headlines)


@pytest.mark.slow
def test_a_card_comes_again(gallery):
    stored = (FOLDER / "illusion" / "card.txt").read_text(encoding="utf-8")
    assert comparable(str(gallery.CARDS["illusion"][1]())) == comparable(stored)

"""The stored table of recipes is what its script computes, and the page on language models has its rows."""

from __future__ import annotations

import importlib
import json
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
# What another processor's roundings may move in a training: a few of 348 answers.
SLACK = 0.02


@pytest.fixture(scope="module")
def script() -> Iterator[ModuleType]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT / "bench"))
        yield importlib.import_module("recipes")


@pytest.fixture(scope="module")
def stored() -> list[dict[str, Any]]:
    return json.loads((ROOT / "docs" / "recipes.json").read_text(encoding="utf-8"))["rows"]


def test_the_page_has_the_rows(script: ModuleType, stored: list[dict[str, Any]]) -> None:
    page = (ROOT / "docs" / "language_models.md").read_text(encoding="utf-8")
    assert [row["recipe"] for row in stored] == list(script.RECIPES)
    assert "\n".join(script.table(stored)) in page
    assert min(row["right"] / row["n"] for row in stored) > 0.98


def test_no_input_of_training_is_counted(script: ModuleType, stored: list[dict[str, Any]]) -> None:
    """A tenth of all inputs, where all are looked at."""
    sizes = {row["recipe"]: row["n"] for row in stored}
    assert sizes["two-digit addition"] == pytest.approx(1_000, rel=0.1)
    assert sizes["modular addition"] == pytest.approx(348, rel=0.1)


@pytest.mark.slow
def test_a_row_comes_again(script: ModuleType, stored: list[dict[str, Any]]) -> None:
    name = "modular addition"
    old, new = next(row for row in stored if row["recipe"] == name), script.row(name)
    assert (new["n"], new["steps"]) == (old["n"], old["steps"])
    assert new["right"] / new["n"] == pytest.approx(old["right"] / old["n"], abs=SLACK)

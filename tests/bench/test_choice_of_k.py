"""The stored table of sizes is what its script computes, it is that of the page, and it says which rule is gone by."""

from __future__ import annotations

import importlib
import json
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
STORED = ROOT / "docs" / "choice_of_k.json"
# What another processor's roundings may move: a few of 600 pairs.
SLACK = 0.02


@pytest.fixture(scope="module")
def script() -> Iterator[ModuleType]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT / "bench"))
        yield importlib.import_module("choice_of_k")


@pytest.fixture(scope="module")
def rows() -> list[dict[str, Any]]:
    return json.loads(STORED.read_text(encoding="utf-8"))["rows"]


@pytest.mark.parametrize(
    "network", ["many values in one number", pytest.param("redundant", marks=pytest.mark.slow)]
)
def test_a_row_comes_again(script: ModuleType, rows: list[dict[str, Any]], network: str) -> None:
    case = next(case for case in script.cases() if case.name == network)
    old = next(row for row in rows if (row["network"], row["variable"]) == (network, case.variable))
    new = script.row(case)
    for name in ("d", "truth", "spectrum", "above the null", "selection", "n"):
        assert new[name] == old[name]
    for size, both in old["scores"].items():
        assert new["scores"][size] == pytest.approx(both, abs=SLACK)


def test_the_page_has_the_table(script: ModuleType, rows: list[dict[str, Any]]) -> None:
    page = (ROOT / "docs" / "subspaces.md").read_text(encoding="utf-8")
    assert "\n".join(script.table(rows)) in page


def test_no_variable_is_left_out(script: ModuleType, rows: list[dict[str, Any]]) -> None:
    wanted = sum(len(variables) for *_, variables in script.PROGRAMS) + 2 * len(script.LINEAR)
    assert len(rows) == wanted
    assert json.loads(STORED.read_text(encoding="utf-8"))["settings"]["init"] == ["auto"]


def test_the_spectrum_misses_and_the_selection_split_does_not(
    script: ModuleType, rows: list[dict[str, Any]]
) -> None:
    """Were the spectrum within one of the truth on every network, a choice by it would do."""
    assert max(abs(row["spectrum"] - row["truth"]) for row in rows if row["spectrum"] is not None) > 1
    assert all(abs(row["selection"] - row["truth"]) <= 1 for row in rows if script.found(row))

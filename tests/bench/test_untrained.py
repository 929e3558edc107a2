"""The stored table of untrained networks is what its script computes: no linear method finds anything in them."""

from __future__ import annotations

import importlib
import json
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from commutes.training._closed_methods import METHODS

ROOT = Path(__file__).resolve().parents[2]
STORED = ROOT / "docs" / "untrained.json"
# What another processor's roundings may move: a few of 900 pairs.
SLACK = 0.02


@pytest.fixture(scope="module")
def script() -> Iterator[ModuleType]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT / "bench"))
        yield importlib.import_module("untrained")


@pytest.fixture(scope="module")
def rows() -> list[dict[str, Any]]:
    return json.loads(STORED.read_text(encoding="utf-8"))["rows"]


def test_every_linear_method_stays_near_its_floor(script: ModuleType, rows: list[dict[str, Any]]) -> None:
    wanted = len(script.MAPS) * len(script.SIZES) * script.NETWORKS * (len(METHODS) + 1)
    assert len(rows) == wanted
    # Closed forms whose subspaces overlap are refused; a descent never is.
    found = [row for row in rows if "iia" in row]
    assert {row["why"] for row in rows if "iia" not in row} <= {"the subspaces overlap"}
    assert (
        sum(row["method"] == "das" for row in found) == len(script.MAPS) * len(script.SIZES) * script.NETWORKS
    )
    assert max(row["iia"] - row["floor"] for row in found) < script.NEAR


@pytest.mark.parametrize("das", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_a_network_comes_again(script: ModuleType, rows: list[dict[str, Any]], das: bool) -> None:
    found = list(script.rows("oblique", 1, [2], das=das))
    assert [row["method"] for row in found] == [*METHODS, *(["das"] if das else [])]
    for new in found:
        where = ("method", "map", "k", "network")
        old = next(row for row in rows if all(row[name] == new[name] for name in where))
        assert new.get("n") == old.get("n")
        for name in ("iia", "floor"):
            assert new.get(name) == pytest.approx(old.get(name), abs=SLACK)


def test_the_page_has_the_table(script: ModuleType, rows: list[dict[str, Any]]) -> None:
    page = (ROOT / "docs" / "fitting.md").read_text(encoding="utf-8")
    assert "\n".join(script.table(rows)) in page

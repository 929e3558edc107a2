"""The stored table of what maps can do by themselves is what its script computes, and the capacity control says it."""

from __future__ import annotations

import importlib
import json
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
STORED = ROOT / "docs" / "capacity.json"


@pytest.fixture(scope="module")
def script() -> Iterator[ModuleType]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT / "bench"))
        yield importlib.import_module("capacity")


@pytest.fixture(scope="module")
def rows() -> list[dict[str, Any]]:
    return json.loads(STORED.read_text(encoding="utf-8"))["rows"]


def of(rows: list[dict[str, Any]], family: str) -> list[dict[str, Any]]:
    return [row for row in rows if row["family"] == family]


def test_a_reversible_network_aligns_both_algorithms_and_the_control_says_so(
    rows: list[dict[str, Any]],
) -> None:
    for row in of(rows, "reversible"):
        assert row["iia"] == 1.0
        assert row["A5"] == "refuted"
        assert row["words"].startswith(
            "networks that were never trained are aligned by a reversible network as well"
        )


def test_a_rotation_tells_the_algorithms_apart(rows: list[dict[str, Any]]) -> None:
    for network in {row["network"] for row in rows}:
        own = {
            row["algorithm"]: row["effective"] for row in of(rows, "rotation") if row["network"] == network
        }
        assert max(own.values()) - min(own.values()) > 0.2
    assert {row["A5"] for row in of(rows, "rotation")} == {"supported"}


def test_the_page_has_the_table(script: ModuleType, rows: list[dict[str, Any]]) -> None:
    page = (ROOT / "docs" / "fitting.md").read_text(encoding="utf-8")
    assert "\n".join(script.table(rows)) in page


@pytest.mark.slow
@pytest.mark.parametrize("family", ["rotation", "reversible"])
def test_a_row_comes_again(script: ModuleType, rows: list[dict[str, Any]], family: str) -> None:
    module = script.hypotheses()
    algorithm = module.algorithm()
    network = module.train(module.network(algorithm, seed=0, width=script.WIDTH), algorithm, seed=0)
    new = script.row(network, 0, "(a and b) or (a and c)", algorithm, family)
    old = next(row for row in of(rows, family) if (row["network"], row["algorithm"]) == (0, new["algorithm"]))
    assert new["A5"] == old["A5"]
    # A pair or two of those whose answer changes.
    assert new["effective"] == pytest.approx(old["effective"], abs=0.1)

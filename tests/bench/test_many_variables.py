"""The stored table of dozens of variables is what its script computes, and nothing in it grows out of measure."""

from __future__ import annotations

import importlib
import json
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

import commutes as cm
from commutes.features import Subspace

ROOT = Path(__file__).resolve().parents[2]
STORED = ROOT / "docs" / "many_variables.json"
# What another processor's roundings may move: a few of the pairs.
SLACK = 0.02
# What a part may take for a variable more with ten times as many: columns are copied, subsets are listed.
SLOWER = 3


@pytest.fixture(scope="module")
def script() -> Iterator[ModuleType]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT / "bench"))
        yield importlib.import_module("many_variables")


@pytest.fixture(scope="module")
def rows() -> list[dict[str, Any]]:
    return json.loads(STORED.read_text(encoding="utf-8"))["rows"]


def test_the_network_computes_the_tree_and_the_told_directions_carry_it(script: ModuleType) -> None:
    claim = script.claim(8)
    maps = []
    for group in claim.groups:
        basis = claim.network.module.levels[len(maps)].basis.detach()
        codes = basis.reshape(len(basis), -1, script.VALUES)
        # One-hot codes of three values move in two dimensions, and those of other nodes are orthogonal to them.
        spans = (codes - codes.mean(dim=2, keepdim=True))[..., :2]
        directions = torch.linalg.qr(spans.flatten(1)).Q
        assert directions.shape[1] == 2 * len(group.columns)
        maps.append(Subspace(directions, directions))
    found = cm.evaluate(claim.with_maps(maps), cm.counterfactuals(claim.algorithm, 600, seed=0))
    assert found.accuracy.rate == 1.0
    assert found.overall.rate == 1.0


def test_the_figures_come_again(script: ModuleType, rows: list[dict[str, Any]]) -> None:
    new, old = script.row(8), rows[0]
    assert new["variables"] == old["variables"]
    for what in ("overall", "worst variable"):
        assert new["IIA"][what]["n"] == old["IIA"][what]["n"]
        assert new["IIA"][what]["rate"] == pytest.approx(old["IIA"][what]["rate"], abs=SLACK)


def test_what_a_variable_costs_does_not_grow_with_their_number(rows: list[dict[str, Any]]) -> None:
    assert [row["variables"] for row in rows] == [6, 14, 30, 62]
    first, last = rows[0], rows[-1]
    more = last["variables"] / first["variables"]
    for part in ("drawing pairs", "splitting", "preparing a fit", "measuring", "lda", "contrast"):
        assert last[part] < SLOWER * more * first[part]
    # A step runs as many pairs, whatever the number of variables: only the network is wider.
    assert last["ms a step"] / first["ms a step"] < max(last["forward"] / first["forward"], more)


def test_the_page_has_the_table(script: ModuleType, rows: list[dict[str, Any]]) -> None:
    page = (ROOT / "docs" / "fitting.md").read_text(encoding="utf-8")
    assert "\n".join(script.table(rows)) in page

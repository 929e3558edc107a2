"""The network of dozens of variables computes its tree, and of each variable it is known where it is."""

from __future__ import annotations

import importlib
import json
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
import torch

import commutes as cm
from commutes.features import Subspace

ROOT = Path(__file__).resolve().parents[2]
# Another processor rounds otherwise, and a fit that ends short of 1 ends elsewhere.
SLACK = 0.02


@pytest.fixture(scope="module")
def script() -> Iterator[ModuleType]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT / "bench"))
        yield importlib.import_module("many_variables")


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


def test_the_page_has_the_table_and_its_first_row_comes_again(script: ModuleType) -> None:
    stored = json.loads((ROOT / "docs" / "many_variables.json").read_text(encoding="utf-8"))
    assert [row["variables"] for row in stored["rows"]] == [words - 2 for words in script.WORDS]
    page = (ROOT / "docs" / "fitting.md").read_text(encoding="utf-8")
    for line in (*script.costs(stored["rows"]), *script.reached(stored["rows"])):
        assert line in page
    again = script.row(8)
    for what, rate in stored["rows"][0]["IIA"].items():
        assert again["IIA"][what]["n"] == rate["n"]
        assert abs(again["IIA"][what]["hits"] - rate["hits"]) <= SLACK * rate["n"]

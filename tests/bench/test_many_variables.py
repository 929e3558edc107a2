"""The network of dozens of variables computes its tree, and of each variable it is known where it is."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
import torch

import commutes as cm
from commutes.features import Subspace

ROOT = Path(__file__).resolve().parents[2]


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

"""What maps can do by themselves, and what the capacity control says of it."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def script() -> Iterator[ModuleType]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT / "bench"))
        yield importlib.import_module("capacity")


@pytest.mark.slow
def test_untrained_networks_withstand_a_rotation_and_the_control_says_so(script: ModuleType) -> None:
    module = script.hypotheses()
    algorithm = module.algorithm()
    network = module.train(module.network(algorithm, seed=0, width=script.WIDTH), algorithm, seed=0)
    row = script.row(network, 0, algorithm.name, algorithm, "rotation")
    assert row["A5"] == "supported"
    assert row["words"].startswith("networks that were never trained are not aligned by a rotation")
    assert row["iia"] < 1.0

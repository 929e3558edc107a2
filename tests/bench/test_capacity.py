"""What maps can do by themselves: a reversible network aligns whatever it is given, and the control says so."""

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
@pytest.mark.parametrize(
    ("family", "answer", "words"),
    [
        ("rotation", "supported", "networks that were never trained are not aligned by a rotation"),
        (
            "reversible",
            "refuted",
            "networks that were never trained are aligned by a reversible network as well",
        ),
    ],
)
def test_the_control_says_which_family_aligns_anything(
    script: ModuleType, family: str, answer: str, words: str
) -> None:
    module = script.hypotheses()
    algorithm = module.algorithm()
    network = module.train(module.network(algorithm, seed=0, width=script.WIDTH), algorithm, seed=0)
    row = script.row(network, 0, algorithm.name, algorithm, family)
    assert row["A5"] == answer
    assert row["words"].startswith(words)
    assert (row["iia"] == 1.0) == (family == "reversible")

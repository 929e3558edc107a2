"""What maps can do by themselves, and what the capacity control says of it."""

from __future__ import annotations

import importlib
import json
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
# What another processor's roundings may move.
SLACK = 0.1


@pytest.fixture(scope="module")
def script() -> Iterator[ModuleType]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT / "bench"))
        yield importlib.import_module("capacity")


@pytest.fixture(scope="module")
def stored() -> list[dict[str, Any]]:
    return json.loads((ROOT / "docs" / "capacity.json").read_text(encoding="utf-8"))["rows"]


def test_the_page_has_the_table(script: ModuleType, stored: list[dict[str, Any]]) -> None:
    page = (ROOT / "docs" / "fitting.md").read_text(encoding="utf-8")
    assert "\n".join(script.table(stored)) in page


def test_a_rotation_tells_the_algorithms_apart_and_a_reversible_network_does_not(
    stored: list[dict[str, Any]],
) -> None:
    """On each of the networks: one of the two fits better than the other by a rotation, both fit by the other map."""
    for network in {row["network"] for row in stored}:
        rates = {
            family: sorted(r["effective"] for r in stored if (r["network"], r["family"]) == (network, family))
            for family in ("rotation", "reversible")
        }
        assert rates["rotation"][1] - rates["rotation"][0] > 0.15
        assert rates["reversible"] == [1, 1]
    said = {(row["family"], row["A5"]) for row in stored}
    assert {("rotation", "supported"), ("reversible", "refuted")} <= said
    assert len(said) == len({family for family, _ in said})


@pytest.mark.slow
@pytest.mark.parametrize("family", ["rotation", "reversible"])
def test_a_row_comes_again(script: ModuleType, stored: list[dict[str, Any]], family: str) -> None:
    module = script.shipped("boolean")
    algorithm = module.algorithm()
    network = module.train(module.network(algorithm, seed=0, width=script.WIDTH), algorithm, seed=0)
    old = next(row for row in stored if (row["network"], row["family"]) == (0, family))
    new = script.row(network, 0, old["algorithm"], algorithm, family)
    assert new["A5"] == old["A5"]
    for figure in ("iia", "effective", "untrained", "untrained, effective"):
        assert new[figure] == pytest.approx(old[figure], abs=SLACK)
    begins = "networks that were never trained are "
    assert new["words"].startswith(begins + ("not aligned" if family == "rotation" else "aligned") + " by a")

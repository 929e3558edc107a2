"""The page on subspaces says what is so: its code runs as it stands, and names every method."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import torch

from commutes.training._closed_methods import METHODS

PAGE = (Path(__file__).parents[1] / "docs" / "subspaces.md").read_text()


@pytest.fixture(scope="module")
def names() -> dict[str, Any]:
    found: dict[str, Any] = {"__name__": "page"}
    for block in re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL):
        exec(compile(block, "docs/subspaces.md", "exec"), found)
    return found


def test_the_example_finds_what_is_there(names: dict[str, Any]) -> None:
    assert names["iia"].overall.rate > 0.99
    assert names["iia"].floors["random subspace"].rate < 0.6
    assert names["notes"]["spectrum"][0] > 10 * names["notes"]["spectrum"][1]
    assert names["sized"].size == 1


def test_the_verbs_do_what_the_comments_say(names: dict[str, Any]) -> None:
    pair = names["pair"]
    assert torch.allclose(pair.read(names["after"]), pair.read(names["source"]), atol=1e-5)
    assert torch.allclose(names["gone"], names["state"], atol=1e-5)
    assert torch.allclose(pair.read(names["moved"]) - names["z"], torch.tensor([2.0]), atol=1e-5)
    identity = torch.eye(len(pair.reader))
    assert torch.allclose(pair.projector() + names["rest"].projector(), identity, atol=1e-5)
    assert float(names["angle"].min()) > 1.4
    assert torch.equal(names["first"].reader, pair.reader)


def test_the_contract_of_the_page_holds(names: dict[str, Any]) -> None:
    case = names["TestMine"]()
    laws = [name for name in dir(case) if name.startswith("test_")]
    assert len(laws) > 5
    for law in laws:
        getattr(case, law)()


def test_every_method_has_its_row() -> None:
    rows = re.findall(r'^\| `"(\w+)"` \|', PAGE, re.MULTILINE)
    assert sorted(rows) == sorted(METHODS)

"""The page on fitting says what is so: its code runs as it stands, and it names every family that is fitted."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import commutes.features as features
from commutes.features import Features

PAGE = (Path(__file__).parents[1] / "docs" / "fitting.md").read_text()


def test_the_example_finds_what_is_there() -> None:
    found: dict[str, Any] = {"__name__": "page"}
    for block in re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL):
        exec(compile(block, "docs/fitting.md", "exec"), found)
    assert found["found"].history["start_scores"][found["found"].history["chosen_start"]] > 1.9
    assert len(found["found"].history["starts_told"]) == 2


def test_every_family_that_is_fitted_has_its_row() -> None:
    kinds = [
        kind for kind in vars(features).values() if isinstance(kind, type) and issubclass(kind, Features)
    ]
    fitted = {kind.__name__ for kind in kinds if "parametrisation" in vars(kind) and kind is not Features}
    rows = re.findall(r"^\| `cm\.(\w+)\(", PAGE, re.MULTILINE)
    assert set(rows) == fitted

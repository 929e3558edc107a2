"""The page on language models says what is so: its code runs as it stands, and its tables name what is there."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from commutes.network.transformers import NAMES
from commutes.network.transformers._names import LENS

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "language_models.md").read_text()


@pytest.fixture(scope="module")
def names() -> dict[str, Any]:
    found: dict[str, Any] = {"__name__": "page"}
    for block in re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL):
        exec(compile(block, "docs/language_models.md", "exec"), found)
    return found


def test_the_example_finds_the_carry_and_the_ones(names: dict[str, Any]) -> None:
    iia = names["iia"]
    assert iia.overall.rate > 0.95
    assert iia.floors["random subspace"].rate < 0.7
    assert iia.floors["do nothing"].rate == pytest.approx(0.5, abs=0.05)
    assert iia.accuracy.rate == 1
    assert names["alignment"].history["route"].startswith("cone")


def test_chats_are_what_the_comments_say(names: dict[str, Any]) -> None:
    shown = re.findall(r"print\((\w+)\.language\.prompt\.template\) +# (.*)", PAGE)
    assert [name for name, _ in shown] == ["asked", "going_on"]
    for name, text in shown:
        assert str(names[name].language.prompt.template).strip() == text


def test_sites_of_the_page_are_there(names: dict[str, Any]) -> None:
    network = names["network"]
    assert str(names["site"]) == "transformer.h.0 at {a}, {b[last]}"
    assert names["same"].places[0].moment.path == network.blocks[1]
    assert len(list(names["head"].places[0].part)) == 2 * 8


def test_the_tables_name_what_is_there() -> None:
    places = PAGE[PAGE.index("## Places") : PAGE.index("## What is computed")]
    named = set(re.findall(r"`(\w+)`", places))
    plain = {name for name in NAMES if not name.startswith("head_")}
    assert plain <= named
    hooks = {hook.split(".")[-1] for hook in re.findall(r"`((?:blocks\.N\.|attn\.|mlp\.)?hook_\w+)`", places)}
    assert hooks <= {name.split(".")[-1] for name in LENS}
    assert len(hooks) > 6


def test_every_recipe_has_its_row_with_its_steps() -> None:
    recipes = {
        path.name for path in (ROOT / "algorithms").glob("*.py") if "train_language" in path.read_text()
    }
    rows = dict(
        re.findall(r"^\| `algorithms/(\w+\.py)`[^|]*\|[^|]*\|[^|]*\| ([\d,]+) \|", PAGE, re.MULTILINE)
    )
    assert set(rows) == recipes
    for file, steps in rows.items():
        said = int(steps.replace(",", ""))
        assert re.search(rf"STEPS.*\b0*{said:_}\b", (ROOT / "algorithms" / file).read_text()), file


def test_what_it_links_to_is_there_and_the_readme_links_to_it() -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", PAGE):
        assert (ROOT / "docs" / target).is_file()
    assert "(docs/language_models.md)" in (ROOT / "README.md").read_text()

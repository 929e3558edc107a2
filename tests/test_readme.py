"""The README says what is so: its code runs, its card is what it prints, its commands are the ones that CI runs."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()


def command(name: str) -> str:
    match = re.search(rf"<!-- {name} -->\n```sh\n(.*?)\n```\n<!-- /{name} -->", README, re.DOTALL)
    assert match is not None
    return match.group(1)


def bench() -> ModuleType:
    spec = importlib.util.spec_from_file_location("readme_card", ROOT / "bench" / "readme_card.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def numbers(text: str) -> list[float]:
    return [
        float(n.replace(",", "")) for n in re.findall(r"(?<![\w-])[<>]?(\d[\d,]*\.?\d*|\.\d+)(?!\w)", text)
    ]


def skeleton(line: str) -> str:
    return " ".join(re.sub(r"[<>]?(\d[\d,]*\.?\d*|\.\d+)", "#", line).split())


def test_ci_runs_the_second_command_as_it_stands():
    ran = (ROOT / ".ci" / "run").read_text().splitlines()
    assert command("test") in ran


def test_both_commands_use_the_constraints():
    assert "-c constraints.txt" in command("run")
    assert "-c constraints.txt" in command("test")


def test_what_the_readme_links_to_is_there():
    for target in re.findall(r"\]\(([^)#]+)\)", README):
        assert (ROOT / target).is_file(), target


def test_the_code_comes_before_the_card_the_card_before_the_picture_and_then_the_commands():
    places = [
        README.index(mark) for mark in ("```python", "<!-- card -->", "![", "<!-- run -->", "<!-- test -->")
    ]
    assert places == sorted(places)


@pytest.mark.slow
def test_the_code_prints_the_card_that_is_shown():
    tool = bench()
    printed, shown = tool.shortened(tool.card()).splitlines(), tool.shown().splitlines()
    assert printed[0] == shown[0]
    # Seconds and hashes of fitted maps depend on the machine, a line that names the versions on the installation.
    kept = [
        [line for line in lines if not line.startswith(("Cost", "Fixed", "Made with", "            "))]
        for lines in (printed, shown)
    ]
    assert [skeleton(line) for line in kept[0]] == [skeleton(line) for line in kept[1]]
    for mine, theirs in zip(*kept, strict=True):
        if "fingerprint" in mine:
            continue
        # Another processor rounds differently, and a few pairs may fall on the other side.
        assert numbers(mine) == pytest.approx(numbers(theirs), abs=0.05, rel=0.05), (mine, theirs)

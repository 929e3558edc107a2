"""An old version of transformers is refused by name, and the one that is declared is the one that is checked."""

from __future__ import annotations

import re
import tomllib
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

from commutes import Network
from commutes.errors import NetworkError
from commutes.network.transformers import _version

from . import models as M

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize("installed", ["5.4.9", "4.57.6", "3.10.dev1"])
def test_a_version_that_is_too_old(monkeypatch: pytest.MonkeyPatch, installed: str) -> None:
    monkeypatch.setattr(_version, "version", lambda _name: installed)
    model, tokenizer = M.model("gpt2"), M.tokenizer()
    calls: list[Any] = [
        lambda: Network(model, tokenizer, template=M.PROMPT, answers=M.DIGITS),
        lambda: Network.pretrained("nobody/nothing", template=M.PROMPT, answers=M.DIGITS),
    ]
    for call in calls:
        with pytest.raises(NetworkError) as found:
            call()
        assert str(found.value) == (
            "transformers is too old\n"
            f"  got:      version {installed}\n"
            "  expected: 5.5 or newer\n"
            "  do:       pip install 'transformers>=5.5'"
        )


@pytest.mark.parametrize("installed", ["5.5.0", "5.10.2", "6.0.0rc1", "10.2"])
def test_a_version_that_is_new_enough(monkeypatch: pytest.MonkeyPatch, installed: str) -> None:
    monkeypatch.setattr(_version, "version", lambda _name: installed)
    _version.check_version()


def test_the_declared_version_is_the_checked_one_and_the_pinned_one_is_not_older() -> None:
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    assert f"transformers>={'.'.join(map(str, _version.OLDEST))}" in declared
    pinned = re.search(r"^transformers==(\d+)\.(\d+)", (ROOT / "constraints.txt").read_text(), re.MULTILINE)
    assert pinned is not None
    assert (
        _version.OLDEST
        <= tuple(map(int, pinned.groups()))
        <= tuple(map(int, version("transformers").split(".")))
    )

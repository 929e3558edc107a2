"""The command line, called in this process, and a saved run for it to read."""

from __future__ import annotations

import json
import runpy
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from commutes.cli import main

_TESTS = Path(__file__).parents[1]


@dataclass
class Ended:
    """How a command ended."""

    status: int
    out: str
    err: str


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a user's project, and the current one; its spec is and_or.toml."""
    texts = runpy.run_path(str(_TESTS / "search" / "conftest.py"))
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "and_or.toml").write_text(texts["SPEC"])
    (folder / "gate.py").write_text(texts["HYPOTHESIS"])
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str]) -> Callable[..., Ended]:
    def call(*arguments: str) -> Ended:
        status = main(arguments)
        return Ended(status, *capsys.readouterr())

    return call


@pytest.fixture
def record() -> dict[str, Any]:
    """The record of a report, as a run writes it."""
    return runpy.run_path(str(_TESTS / "report" / "conftest.py"))["sample_report"]()


@pytest.fixture
def saved(tmp_path: Path, record: dict[str, Any]) -> Path:
    folder = tmp_path / "runs" / "equality"
    folder.mkdir(parents=True)
    (folder / "report.json").write_text(json.dumps(record))
    return folder


@dataclass
class FakeJob:
    """Stands where the job stands, and does what a test wants of it."""

    record: dict[str, Any]
    status: int = 0
    report: Any = "made by this start"
    calls: list[dict[str, Any]] = field(default_factory=list)
    work: Callable[..., None] | None = None

    def __call__(
        self, spec: Any, *, out: Path, progress: Any, require: str | None, reproduce: str | None = None
    ) -> Any:
        self.calls.append({"spec": spec, "out": out, "require": require})
        if self.work is not None:
            self.work(spec, out, progress)
        out.mkdir(parents=True, exist_ok=True)
        self.folder, self.exit_status = out, self.status
        return self


@pytest.fixture
def job(record: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> FakeJob:
    import commutes.search

    fake = FakeJob(record)
    monkeypatch.setattr(commutes.search, "run", fake, raising=False)
    return fake


@pytest.fixture
def language_project(tmp_path: Path, counting_model: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a user's project about a language model, and the current one; its spec is counting.toml."""
    from tests.counting import project as made

    folder = made(tmp_path / "counting", counting_model).parent
    monkeypatch.chdir(folder)
    return folder

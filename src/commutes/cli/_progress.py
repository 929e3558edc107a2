"""How far a run is: a bar on a terminal, plain lines elsewhere, always on standard error."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Generator, Mapping
from typing import Any, Protocol

from commutes.cli import _output

__all__ = ["Report", "reporting"]

# One plain line per tenth of a stage: a log of a run stays readable.
TENTHS = 10


class Report(Protocol):
    """What is called while a run goes on."""

    def __call__(self, stage: str, step: int, steps: int, figures: Mapping[str, Any] = ...) -> None:
        """`step` of `steps` of `stage` are done; `figures` are a few numbers worth showing."""


@contextlib.contextmanager
def reporting(*, quiet: bool = False) -> Generator[Report]:
    """A `Report` for this process: silent, a bar, or plain lines."""
    if quiet or sys.stderr is None:
        yield _silent
    elif sys.stderr.isatty() and os.environ.get("TERM") != "dumb":
        with _bars() as report:
            yield report
    else:
        yield _Lines()


def _silent(stage: str, step: int, steps: int, figures: Mapping[str, Any] | None = None) -> None:
    """Say nothing."""


def _words(figures: Mapping[str, Any] | None) -> str:
    return ", ".join(
        f"{name} {value:.3g}" if isinstance(value, int | float) else f"{name} {value}"
        for name, value in (figures or {}).items()
    )


class _Lines:
    """A line where a stage begins, one per tenth of it, and one where it ends."""

    def __init__(self) -> None:
        self._told: dict[str, int] = {}

    def __call__(self, stage: str, step: int, steps: int, figures: Mapping[str, Any] | None = None) -> None:
        tenth = TENTHS * step // steps if steps > 0 else 0
        if self._told.get(stage, -1) < tenth:
            self._told[stage] = tenth
            words = _words(figures)
            _output.note(f"{stage}: {step:,} of {steps:,}" + (f" ({words})" if words else ""))


@contextlib.contextmanager
def _bars() -> Generator[Report]:
    from rich.console import Console
    from rich.markup import escape
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[words]}", style="dim"),
    )
    with Progress(*columns, console=Console(stderr=True)) as progress:
        tasks: dict[str, Any] = {}

        def report(stage: str, step: int, steps: int, figures: Mapping[str, Any] | None = None) -> None:
            if stage not in tasks:
                tasks[stage] = progress.add_task(
                    escape(_output.visible(stage)), total=steps or None, words=""
                )
            words = escape(_words(figures))
            progress.update(tasks[stage], completed=step, total=steps or None, words=words)

        yield report

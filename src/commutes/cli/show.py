"""`commutes show`: the card of a saved run, without torch."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

from commutes.cli import _output
from commutes.cli._options import DebugOption, JsonOption, RunArgument
from commutes.cli._status import Status, guarded
from commutes.errors import SpecError, similar

__all__ = ["card_text", "show"]


@guarded
def show(run: RunArgument, as_json: JsonOption = False, debug: DebugOption = False) -> int:
    """Print the card of a saved run."""
    from commutes.report.record import dumps, load_report

    record = load_report(_record_path(run))
    _output.say(dumps(record).rstrip() if as_json else card_text(record))
    return Status.COMPLETED


def card_text(record: object) -> str:
    """The card, as wide as the terminal and in colour only there."""
    from commutes.report.card import card

    terminal = sys.stdout is not None and sys.stdout.isatty()
    width = max(60, min(120, shutil.get_terminal_size((100, 24)).columns)) if terminal else 100
    return card(record, width=width, colour=terminal and "NO_COLOR" not in os.environ)  # type: ignore[arg-type]


def _record_path(run: Path) -> Path:
    from commutes.search import RECORD

    if run.is_file():
        return run
    if (run / RECORD).is_file():
        return run / RECORD
    if (run / "run.json").is_file():
        raise SpecError(
            "the run is not finished",
            where=str(run),
            got="a run.json without a report",
            expected=f"a {RECORD}",
            fix="give the command that started the run once more: it goes on where it stopped",
        )
    others = [path.parent for path in run.parent.glob(f"*/{RECORD}")] if run.parent.is_dir() else []
    close = similar(run.name, [path.name for path in others])
    raise SpecError(
        "there is no such run",
        where=str(run),
        got="a folder without a run" if run.is_dir() else "nothing",
        expected=f"the folder of a run, with a {RECORD}",
        fix=(f"did you mean {run.parent / close}? " if close else "") + "commutes run SPEC makes one",
    )

"""`commutes run`: the whole job, from a spec to a card and a run folder."""

from __future__ import annotations

import contextlib
import json
import shlex
import signal
import threading
from collections.abc import Generator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from commutes.cli import _output
from commutes.cli._options import DebugOption, JsonOption, SetOption, SpecArgument
from commutes.cli._prepared import prepared
from commutes.cli._progress import reporting
from commutes.cli._status import Status, guarded
from commutes.cli.show import card_text
from commutes.errors import CommutesError, SpecError

if TYPE_CHECKING:
    from commutes.search import Spec

__all__ = ["run"]

OutOption = Annotated[
    Path | None,
    typer.Option(
        "--out",
        metavar="DIR",
        help="The run folder; by default runs/ and the spec's name.",
        show_default=False,
    ),
]
RequireOption = Annotated[
    str | None,
    typer.Option(
        "--require",
        metavar="LEVEL",
        help="R0, R1 or R2: exit 1 if refuted, 4 if inconclusive.",
        show_default=False,
    ),
]
QuietOption = Annotated[bool, typer.Option("--quiet", "-q", help="Show no progress.")]


class _Terminated(KeyboardInterrupt):
    """SIGTERM, which ends a run as Ctrl-C does."""


@guarded
def run(
    spec: SpecArgument,
    out: OutOption = None,
    overrides: SetOption = None,
    require: RequireOption = None,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
    debug: DebugOption = False,
) -> int:
    """Do the whole job of a spec: train, fit, choose, challenge."""
    _refuse_level(require)
    ready = prepared(spec, overrides)
    folder = Path("runs") / ready.spec.name if out is None else out
    again = ready.spec.command + ("" if out is None else f" --out {shlex.quote(str(out))}")

    from commutes.search import Store

    Store.check(folder, ready.spec.identity(ready.algorithm))
    try:
        with _terminable(), reporting(quiet=quiet) as progress:
            from commutes.search import run as run_job

            outcome = run_job(ready.spec, out=folder, progress=progress, require=require)
    except KeyboardInterrupt as signalled:
        # A second Ctrl-C may come at any moment: what is on disk is whole at all of them.
        with contextlib.suppress(KeyboardInterrupt):
            _output.note(_interrupted(folder, again))
        return Status.TERMINATED if isinstance(signalled, _Terminated) else Status.INTERRUPTED
    record = outcome.record
    if outcome.report is None and not quiet:
        _output.note(
            f"finished before: this is the card that lies in {outcome.folder}; nothing was run again"
        )
    if as_json:
        _output.say(json.dumps(record, allow_nan=False))
    else:
        _output.say(card_text(record))
        _output.say(_last_lines(record["headline"], outcome.folder, ready.spec))
    return outcome.exit_status


def _refuse_level(level: str | None) -> None:
    if level is not None and level not in ("R0", "R1", "R2"):
        raise SpecError(
            "--require asks for a level that is not known",
            where=f"--require {level}",
            got=level,
            expected="one of R0, R1, R2, the levels that this version can reach",
            fix="write --require R2",
        )


def _last_lines(headline: str, folder: Path, spec: Spec) -> str:
    report = folder / "report.html"
    shown = report if report.is_file() else folder
    lines = (
        f"verdict    {headline}",
        f"report     {shown}",
        f"reproduce  {spec.command}",
    )
    return "\n" + "\n".join(map(_output.visible, lines))


def _interrupted(folder: Path, command: str) -> str:
    from commutes.search import Store

    try:
        saved = len(Store.existing(folder).keys())
    except CommutesError:
        return f"interrupted: nothing was saved yet\n  do:       the same command starts again: {command}"
    cells = f"{saved} finished cell{'' if saved == 1 else 's'}"
    return (
        f"interrupted: {cells} in {folder} {'is' if saved == 1 else 'are'} safe"
        f"\n  do:       the same command goes on from there: {command}"
    )


@contextlib.contextmanager
def _terminable() -> Generator[None]:
    """While this lasts, SIGTERM is an interruption that can be told about."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def terminate(number: int, frame: object) -> None:
        raise _Terminated

    before = signal.signal(signal.SIGTERM, terminate)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)

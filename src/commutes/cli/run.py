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
    from commutes.algorithm import Algorithm
    from commutes.search import Spec

__all__ = ["QuietOption", "done", "refuse_level", "run"]

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
        help="R0 to R5: exit 1 if refuted, 4 if neither.",
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
    refuse_level(require, "--require")
    ready = prepared(spec, overrides)
    folder = Path("runs") / ready.spec.name if out is None else out
    again = ready.spec.command + ("" if out is None else f" --out {shlex.quote(str(out))}")
    return done(
        ready.spec, ready.algorithm, folder,
        again=again, reproduce=ready.spec.command, require=require, as_json=as_json, quiet=quiet,
    )  # fmt: skip


def done(
    spec: Spec,
    algorithm: Algorithm,
    folder: Path,
    *,
    again: str,
    reproduce: str,
    require: str | None,
    as_json: bool,
    quiet: bool,
) -> int:
    """Do what is missing of a run, print its card, and return the exit status.

    Args:
        spec: What is run.
        algorithm: That it builds.
        folder: The run folder.
        again: The command that goes on where this one is interrupted.
        reproduce: The command that makes the card again.
        require: The level on which the exit status depends.
        as_json: Whether the record is printed instead of the card.
        quiet: Whether progress is not shown.
    """
    from commutes.search import Store

    Store.check(folder, spec.identity(algorithm))
    try:
        with _terminable(), reporting(quiet=quiet) as progress:
            from commutes.search import run as run_job

            outcome = run_job(spec, out=folder, progress=progress, require=require, reproduce=reproduce)
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
        _output.say(_last_lines(record["headline"], outcome.folder, reproduce))
    return outcome.exit_status


def refuse_level(level: str | None, option: str) -> None:
    """Refuse a level that there is not."""
    from commutes.report.catalogue import LEVELS

    known = [one.name for one in LEVELS]
    if level is not None and level not in known:
        raise SpecError(
            f"{option} asks for a level that is not known",
            where=f"{option} {level}",
            got=level,
            expected=f"one of {', '.join(known)}",
            fix=f"write {option} R2",
        )


def _last_lines(headline: str, folder: Path, reproduce: str) -> str:
    report = folder / "report.html"
    shown = report if report.is_file() else folder
    lines = (
        f"verdict    {headline}",
        f"report     {shown}",
        f"reproduce  {reproduce}",
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

"""`commutes challenge`: try harder to break the claim of a run that was made before."""

from __future__ import annotations

import shlex
from typing import Annotated

import typer

from commutes.cli._options import DebugOption, JsonOption, RunArgument, SpecOption
from commutes.cli._prepared import prepared_run
from commutes.cli._status import guarded
from commutes.cli.run import QuietOption, done, refuse_level

__all__ = ["challenge"]

LevelOption = Annotated[
    str,
    typer.Option(
        "--level", metavar="LEVEL", help="How far to go, R1 to R5: exit 1 if refuted, 4 if neither."
    ),
]


@guarded
def challenge(
    run: RunArgument,
    level: LevelOption = "R3",
    spec: SpecOption = None,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
    debug: DebugOption = False,
) -> int:
    """Challenge the claim of a run up to a level; nothing is trained or fitted again that the run has."""
    refuse_level(level, "--level")
    ready = prepared_run(run, spec)
    words = ["commutes", "challenge", str(run), "--level", level, *(["--spec", spec] if spec else [])]
    return done(
        ready.spec, ready.algorithm, run,
        again=shlex.join(words), reproduce=shlex.join(words), require=level, as_json=as_json, quiet=quiet,
    )  # fmt: skip

"""`commutes verify`: whether a run is what its folder says it is."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from commutes.cli import _output
from commutes.cli._options import DebugOption, JsonOption, RunArgument, SpecOption
from commutes.cli._prepared import prepared_run
from commutes.cli._status import Status, guarded
from commutes.cli.run import refuse_level

__all__ = ["verify"]

SampleOption = Annotated[
    int, typer.Option("--sample", metavar="N", min=1, help="How many test pairs are run again.")
]
RequireOption = Annotated[
    str | None,
    typer.Option(
        "--require",
        metavar="LEVEL",
        help="R0 to R5: exit 1 if refuted, 4 if neither; by default the level that the run sought.",
        show_default=False,
    ),
]


@guarded
def verify(
    run: RunArgument,
    sample: SampleOption = 200,
    require: RequireOption = None,
    spec: SpecOption = None,
    as_json: JsonOption = False,
    debug: DebugOption = False,
) -> int:
    """Hash every file of a run and its claim again, and run some of its test pairs again."""
    refuse_level(require, "--require")
    ready = prepared_run(run, spec)
    from commutes.report.catalogue import exit_status
    from commutes.search import verify as verify_run

    found = verify_run(ready.spec, run, sample=sample)
    record = found.record
    answers = {check.id: check.answer for check in record.checks if check.answer != "not run"}
    status = Status(exit_status(record.level, require or record.sought, answers))
    if as_json:
        told = {"verified": list(found.lines), "level": record.level, "headline": record.headline}
        _output.say(json.dumps(told | {"exit_status": int(status)}))
    else:
        _output.say("\n".join([*found.lines, f"verdict    {_output.visible(record.headline)}"]))
    return status

"""The arguments that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["DebugOption", "JsonOption", "RunArgument", "SetOption", "SpecArgument", "SpecOption"]

SpecArgument = Annotated[
    str,
    typer.Argument(
        metavar="SPEC",
        help="A TOML file, or the name of a shipped spec such as equality.",
        show_default=False,
    ),
]
SetOption = Annotated[
    list[str] | None,
    typer.Option(
        "--set", metavar="KEY=VALUE", help="Override a key of the spec, e.g. fit.lr=1e-3.", show_default=False
    ),
]
RunArgument = Annotated[
    Path, typer.Argument(metavar="RUN", help="The folder of a finished run.", show_default=False)
]
SpecOption = Annotated[
    str | None,
    typer.Option(
        "--spec",
        metavar="SPEC",
        help="The spec that the run was made from, where it is not an installed one.",
        show_default=False,
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON to standard output.")]
DebugOption = Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")]

"""`commutes tree`: all claims of a folder, how far each was challenged, and the cheapest next step of each."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from commutes.cli import _output
from commutes.cli._options import DebugOption, JsonOption
from commutes.cli._status import Status, guarded

__all__ = ["tree"]

FolderArgument = Annotated[
    Path, typer.Argument(metavar="FOLDER", help="A folder with runs or saved reports in it.")
]
SvgOption = Annotated[
    Path | None,
    typer.Option(
        "--svg", metavar="FILE", help="Also draw it, as SVG or PNG by the name.", show_default=False
    ),
]


@guarded
def tree(
    folder: FolderArgument = Path("runs"),
    svg: SvgOption = None,
    as_json: JsonOption = False,
    debug: DebugOption = False,
) -> int:
    """List the claims of a folder: level, how much is claimed, and what would raise the level most cheaply."""
    from commutes.report.tree import points_of, tree_drawing, tree_table

    points = points_of(folder)
    if svg is not None:
        tree_drawing(points, svg)
    _output.say(json.dumps([asdict(point) for point in points]) if as_json else tree_table(points))
    return Status.COMPLETED

"""From arguments to an exit status."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Sequence
from typing import Annotated

import typer

from commutes import __version__
from commutes.cli import _output
from commutes.cli._status import Status
from commutes.cli.challenge import challenge
from commutes.cli.check import check
from commutes.cli.replay import replay
from commutes.cli.run import run
from commutes.cli.schema import schema
from commutes.cli.show import show
from commutes.cli.sites import sites
from commutes.cli.tree import tree
from commutes.cli.verify import verify
from commutes.errors import CommutesWarning

__all__ = ["main"]

# Typer's own classes, under the names that every version of it exports.
_UsageError: type[Exception] = typer.BadParameter.__mro__[1]

_EPILOG = (
    "Exit status: 0 completed, whatever was found; 1 refuted, 4 neither (challenge, verify, run --require); 2 the "
    "command or a file of yours is wrong; 3 some cells failed; 5 the store is damaged; 130 interrupted."
)


def _app() -> typer.Typer:
    # Plain help: rich would take a third of the time that --help has.
    app = typer.Typer(
        name="commutes",
        add_completion=False,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )

    @app.callback(
        invoke_without_command=True, epilog=_EPILOG, help="Does your network implement your algorithm?"
    )
    def options(
        context: typer.Context,
        version: Annotated[bool, typer.Option("--version", help="Print the version.", is_eager=True)] = False,
    ) -> None:
        if version:
            _output.say(f"commutes {__version__}")
            raise typer.Exit
        if context.invoked_subcommand is None:
            _output.say(context.get_help())

    for command in (run, challenge, verify, replay, check, show, tree, sites, schema):
        app.command(name=command.__name__)(command)
    return app


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status.

    Args:
        arguments: As on the command line, without the program's name; by default those of this process.
    """
    _output.prepare()
    with warnings.catch_warnings():
        warnings.showwarning = _output.show_warning
        warnings.simplefilter("always", CommutesWarning)
        try:
            given = list(sys.argv[1:] if arguments is None else arguments)
            status = _app()(given, prog_name="commutes", standalone_mode=False)
        except _UsageError as problem:
            _output.error(_sentence(problem))
            status = Status.USER_ERROR
        except typer.Abort:
            status = Status.INTERRUPTED
    _output.flush()
    return int(status or 0)


def _sentence(problem: Exception) -> str:
    told = getattr(problem, "format_message", None)
    words = str(problem) if told is None else told()
    context = getattr(problem, "ctx", None)
    where = getattr(context, "command_path", "commutes")
    return f"{words}\n  do:       see {where} --help"

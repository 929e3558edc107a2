"""The exit statuses, and how an exception gets one."""

from __future__ import annotations

import functools
import sys
import traceback
from collections.abc import Callable
from enum import IntEnum
from typing import ParamSpec

from commutes.cli import _output
from commutes.errors import ArtefactError, CommutesError

__all__ = ["Status", "guarded"]

_P = ParamSpec("_P")


class Status(IntEnum):
    """What the exit status of a command says."""

    COMPLETED = 0
    REFUTED = 1
    USER_ERROR = 2
    CELLS_FAILED = 3
    INCONCLUSIVE = 4
    DAMAGED = 5
    # As in sysexits.h: a fault of ours is none of the above, and least of all "refuted".
    INTERNAL = 70
    INTERRUPTED = 130
    TERMINATED = 143


def guarded(command: Callable[_P, int]) -> Callable[_P, int]:
    """A command whose exceptions become one screen and an exit status; --debug adds the traceback."""

    @functools.wraps(command)
    def wrapper(*args: _P.args, **kwargs: _P.kwargs) -> int:
        debug = bool(kwargs.get("debug"))
        try:
            return command(*args, **kwargs)
        except CommutesError as problem:
            _told(debug, str(problem))
            return _status_of(problem)
        except KeyboardInterrupt:
            _output.error("interrupted")
            return Status.INTERRUPTED
        except MemoryError:
            _told(debug, "out of memory\n  do:       lower fit.batch or data.pairs in the spec")
            return Status.USER_ERROR
        except Exception as problem:
            words = f"{type(problem).__name__}: {problem}".rstrip(": ")
            _told(debug, f"commutes failed in a way that it does not know: {words}" + _HINT * (not debug))
            return Status.INTERNAL

    return wrapper


_HINT = "\n  do:       run the same command with --debug and report what it prints"


def _told(debug: bool, words: str) -> None:
    if debug:
        _output.note("".join(traceback.format_exception(*sys.exc_info())).rstrip())
    _output.error(words)


def _status_of(problem: CommutesError) -> Status:
    # A file that the system refuses to read or write is not a damaged one.
    refused = isinstance(problem.__cause__, OSError) and not isinstance(problem.__cause__, FileNotFoundError)
    return Status.DAMAGED if isinstance(problem, ArtefactError) and not refused else Status.USER_ERROR

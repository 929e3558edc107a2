"""What is printed, so that nothing in the data can steer a terminal and a closed pipe ends in silence."""

from __future__ import annotations

import os
import sys
import unicodedata
from typing import IO

from commutes.errors import CommutesWarning

__all__ = ["error", "flush", "note", "prepare", "say", "show_warning", "visible"]

# Controls, format characters (right-to-left marks among them), surrogates, line and paragraph separators.
_UNSAFE = {"Cc", "Cf", "Cs", "Zl", "Zp"}


def visible(text: str) -> str:
    r"""`text` with every character that could steer a terminal written as its escape; newlines stay.

    >>> visible("left\x1b[2J\u202e\nright")
    'left\\x1b[2J\\u202e\nright'
    """
    safe = (
        c if c == "\n" or unicodedata.category(c) not in _UNSAFE else c.encode("unicode_escape").decode()
        for c in text
    )
    return "".join(safe)


def prepare() -> None:
    """Make the streams take any text: what they cannot encode is written as an escape."""
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="backslashreplace")


def say(text: str) -> None:
    """Print a result to standard output as it is: the caller has made its data visible."""
    _write("stdout", text)


def note(text: str) -> None:
    """Print a remark to standard error."""
    _write("stderr", visible(text))


def error(text: str) -> None:
    """Print an error to standard error, where a red word marks it on a terminal."""
    colour = sys.stderr is not None and sys.stderr.isatty() and "NO_COLOR" not in os.environ
    mark = "\x1b[31merror:\x1b[0m " if colour else "error: "
    _write("stderr", mark + visible(text))


def show_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: IO[str] | None = None,
    line: str | None = None,
) -> None:
    """Print a warning in one line: ours as it is, others with where they came from."""
    own = issubclass(category, CommutesWarning)
    note(
        f"warning: {message}"
        if own
        else f"warning: {category.__name__}: {message} ({filename}, line {lineno})"
    )


def flush() -> None:
    """Flush both streams now, so that a closed pipe does not speak up when the interpreter ends."""
    for name in ("stdout", "stderr"):
        _write(name, None)


def _write(name: str, text: str | None) -> None:
    stream = getattr(sys, name)
    if stream is None:
        return
    try:
        if text is not None:
            stream.write(text + "\n")
        stream.flush()
    except BrokenPipeError:
        # The reader has seen enough. The command goes on and its status stays what it would have been.
        _silence(name)
    except ValueError:
        # The stream was closed before we were started or by somebody else.
        setattr(sys, name, None)


def _silence(name: str) -> None:
    stream = getattr(sys, name)
    try:
        sink = os.open(os.devnull, os.O_WRONLY)
        os.dup2(sink, stream.fileno())
        os.close(sink)
    except (OSError, ValueError):
        setattr(sys, name, None)

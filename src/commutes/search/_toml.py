"""Reading TOML so that every message can name its line."""

from __future__ import annotations

import os
import re
import stat
import tomllib
from pathlib import Path
from typing import Any

from commutes.errors import SpecError

__all__ = ["Key", "key_lines", "parse_toml", "read_text", "shown"]

Key = tuple[str, ...]

# A spec is a page of text; a file above this is something else that was named by mistake.
MOST_BYTES = 1_000_000

_TOKEN = re.compile(
    r'(?P<long>"""(?:\\.|[^\\])*?"""|\'\'\'.*?\'\'\')'
    r'|(?P<string>"(?:\\.|[^"\\\n])*"|\'[^\'\n]*\')'
    r"|(?P<comment>\#[^\n]*)"
    r"|(?P<newline>\n)"
    r"|(?P<word>[A-Za-z0-9_-]+)"
    r"|(?P<mark>[\[\]{}=,.])",
    re.DOTALL,
)


def shown(path: Path | str) -> str:
    """A path as a message shows it: as it is, or quoted where it holds a control character.

    >>> shown("a b.toml"), shown("a" + chr(10) + "b.toml")
    ('a b.toml', "'a\\\\nb.toml'")
    """
    text = os.fspath(path)
    return text if text.isprintable() else repr(text)


def read_text(path: Path) -> str:
    """The text of a spec file; a leading byte-order mark is dropped and CRLF accepted.

    Raises:
        SpecError: If the file is a folder, a device or a pipe, too large, unreadable or not UTF-8.
    """
    data = _read_bytes(path)
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        # The error counts from behind the mark; the user's editor counts from the start of the file.
        offset = error.start + (3 if data.startswith(b"\xef\xbb\xbf") else 0)
        raise SpecError(
            "the spec is not UTF-8 text",
            where=f"{shown(path)}, line {data.count(bytes([10]), 0, offset) + 1}, byte offset {offset}",
            got=f"the byte 0x{data[offset]:02x}",
            expected="UTF-8",
            fix="save the file as UTF-8",
        ) from None
    return text.replace("\r\n", "\n")


def _read_bytes(path: Path) -> bytes:
    try:
        kind = path.stat()
        if not stat.S_ISREG(kind.st_mode):
            raise SpecError(
                "the spec is not a file",
                where=shown(path),
                got=_kind(kind.st_mode),
                expected="a TOML file",
                fix="name a .toml file in it" if stat.S_ISDIR(kind.st_mode) else "write the spec into a file",
            )
        with path.open("rb") as file:
            data = file.read(MOST_BYTES + 1)
    except OSError as error:
        raise SpecError(
            "the spec cannot be read",
            where=shown(path),
            got=error.strerror or str(error),
            expected="a readable TOML file",
            fix="check the path and its permissions",
        ) from error
    if len(data) > MOST_BYTES:
        raise SpecError(
            "the file is too large to be a spec",
            where=shown(path),
            got=f"{kind.st_size:,} bytes",
            expected=f"at most {MOST_BYTES:,} bytes of TOML",
            fix="name the spec, not the data",
        )
    return data


def _kind(mode: int) -> str:
    kinds = (
        (stat.S_ISDIR, "a folder"),
        (stat.S_ISFIFO, "a named pipe"),
        (stat.S_ISSOCK, "a socket"),
        (stat.S_ISCHR, "a device"),
        (stat.S_ISBLK, "a device"),
    )
    return next((name for test, name in kinds if test(mode)), "something that is not a regular file")


def parse_toml(text: str, where: str) -> dict[str, Any]:
    """The table that `text` spells.

    Raises:
        SpecError: With the line and a caret, and for a key that is given twice with both lines.
    """
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise _syntax_error(text, where, str(error)) from None
    except RecursionError:
        raise SpecError(
            "the spec is nested too deeply",
            where=where,
            got="brackets within brackets without end",
            expected="tables and short lists",
            fix="write each value once, without nesting",
        ) from None


def _syntax_error(text: str, where: str, message: str) -> SpecError:
    twice = [(key, lines) for key, lines in key_lines(text).items() if len(lines) > 1]
    if twice and message.startswith(("Cannot overwrite", "Cannot declare", "Cannot mutate", "Duplicate")):
        key, lines = min(twice, key=lambda item: item[1][1])
        places = [str(line) for line in dict.fromkeys(lines)]
        return SpecError(
            f"the key {'.'.join(key)} is given twice",
            where=f"{where}, line{'s' * (len(places) > 1)} {' and '.join(places)}",
            got="\n".join(f"line {line}: {_line(text, int(line))}" for line in places),
            expected="each key once",
            fix=f"remove one of the two from line {' or line '.join(places)}",
        )
    found = re.search(r" \(at line (\d+), column (\d+)\)$", message)
    if found is None:
        lines = max(1, len(text.splitlines()))
        what, line, column = message.removesuffix(" (at end of document)"), lines, len(_line(text, lines)) + 1
    else:
        what, line, column = message[: found.start()], int(found[1]), int(found[2])
    return SpecError(
        f"the spec is not valid TOML: {what[:1].lower()}{what[1:]}",
        where=f"{where}, line {line}, column {column}",
        got=f"{_line(text, line)}\n{' ' * (column - 1)}^",
        expected="TOML: [tables], and key = value with text in quotes",
        fix=f"correct line {line}",
    )


def _line(text: str, number: int) -> str:
    lines = text.split("\n")
    # A line of a megabyte would not leave one screen.
    return lines[number - 1].replace("\t", " ")[:100] if number <= len(lines) else ""


class _Scan:
    """The walk over the tokens of a file: which key is being read, and inside which brackets."""

    def __init__(self) -> None:
        self.found: dict[Key, list[int]] = {}
        self.table: Key = ()
        self.current: Key = ()
        self.parts: list[str] = []
        self.brackets: list[tuple[str, Key]] = []
        self.mode = "key"

    def start_of_line(self) -> None:
        if not self.brackets:
            self.mode, self.parts = "key", []

    def name(self, text: str) -> None:
        if self.mode in ("key", "header"):
            self.parts.append(text)

    def note(self, key: Key, line: int) -> None:
        self.found.setdefault(key, []).append(line)

    def mark(self, mark: str, line: int) -> None:
        if self.mode == "header":
            if mark == "]":
                self.table, self.mode = tuple(self.parts), "value"
                self.note(self.table, line)
        elif self.mode == "key":
            self._mark_in_key(mark, line)
        elif mark in "[{":
            self.brackets.append((mark, self.current))
            self.mode, self.parts = ("key" if mark == "{" else "value"), []
        elif mark in "]}" and self.brackets:
            self.current = self.brackets.pop()[1]
        elif mark == "," and self.brackets and self.brackets[-1][0] == "{":
            self.mode, self.parts = "key", []

    def _mark_in_key(self, mark: str, line: int) -> None:
        if mark == "[" and not self.parts and not self.brackets:
            self.mode = "header"
        elif mark == "=":
            prefix = self.brackets[-1][1] if self.brackets else self.table
            self.current, self.mode = (*prefix, *self.parts), "value"
            self.note(self.current, line)
        elif mark == "}" and self.brackets:
            self.current, self.mode = self.brackets.pop()[1], "value"


def key_lines(text: str) -> dict[Key, tuple[int, ...]]:
    """The lines on which each key stands, which tomllib does not tell; broken TOML gives what it can.

    >>> key_lines("a = 1\\n[b]\\nc.d = {e = 2}\\n")
    {('a',): (1,), ('b',): (2,), ('b', 'c', 'd'): (3,), ('b', 'c', 'd', 'e'): (3,)}
    """
    scan, line = _Scan(), 1
    for token in _TOKEN.finditer(text):
        kind, word = token.lastgroup, token.group()
        if kind == "newline":
            line += 1
            scan.start_of_line()
        elif kind == "long":
            line += word.count("\n")
        elif kind == "string":
            scan.name(word[1:-1])
        elif kind == "word":
            scan.name(word)
        elif kind == "mark":
            scan.mark(word, line)
    return {key: tuple(lines) for key, lines in scan.found.items()}

"""From a TOML file and --set texts to one plain table."""

from __future__ import annotations

import copy
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from commutes.errors import SpecError
from commutes.search._toml import Key, key_lines, parse_toml, read_text, shown

__all__ = ["FORMAT", "apply_overrides", "check_format", "read_table"]

FORMAT = 1


def read_table(path: Path) -> tuple[dict[str, Any], dict[Key, tuple[int, ...]]]:
    """The table in the file `path` and the lines of its keys.

    Raises:
        SpecError: If the file cannot be read, is not TOML, or is empty.
    """
    text = read_text(path)
    raw = parse_toml(text, shown(path))
    if not raw:
        raise SpecError(
            "the spec is empty",
            where=shown(path),
            got="no key at all",
            expected="format = 1, name, [algorithm] and [claim]",
            fix="start from a shipped spec; `commutes schema` lists every key",
        )
    return raw, key_lines(text)


def check_format(raw: dict[str, Any], where: str) -> None:
    """Refuse a spec of another format before its keys are judged by this one.

    Raises:
        SpecError: If `format` is missing, no whole number, or another one than this version reads.
    """
    found = raw.get("format")
    if found is None:
        raise SpecError(
            "the spec does not say its format",
            where=where,
            got="no key format",
            expected=f"format = {FORMAT}",
            fix=f"add the line format = {FORMAT} at the top of the spec",
        )
    if type(found) is int and found > FORMAT:
        raise SpecError(
            "the spec was written for a newer version of commutes",
            where=where,
            got=f"format = {found}",
            expected=f"format = {FORMAT}",
            fix="upgrade: pip install --upgrade commutes",
        )
    if type(found) is not int or found != FORMAT:
        raise SpecError(
            "the format of the spec is not known",
            where=where,
            got=f"format = {found!r}",
            expected=f"format = {FORMAT}",
            fix=f"write format = {FORMAT}",
        )


def apply_overrides(raw: dict[str, Any], overrides: Sequence[str]) -> tuple[dict[str, Any], dict[Key, str]]:
    """`raw` with each `key=value` laid over it (tables merge, the rest is replaced), and who gave which key.

    Raises:
        SpecError: If a text is not a dotted key, `=` and a TOML value, or its key leads through no table.
    """
    merged, given = copy.deepcopy(raw), {}
    for text in overrides:
        key, value = _parse_override(text)
        table = merged
        for depth, part in enumerate(key[:-1], start=1):
            table = table.setdefault(part, {})
            if not isinstance(table, dict):
                raise SpecError(
                    f"{'.'.join(key[:depth])} is not a table",
                    where=f"--set {text}",
                    got=f"{'.'.join(key[:depth])} = {table!r}",
                    expected="a table, to set a key inside it",
                    fix=f"set {'.'.join(key[:depth])} itself, or correct the key",
                )
        given |= dict.fromkeys(_leaves(key, value), text)
        _lay_over(table, key[-1], value)
    return merged, given


def _lay_over(table: dict[str, Any], key: str, value: Any) -> None:
    # Replacing a whole table would drop the siblings that the override does not name.
    if isinstance(value, dict) and isinstance(table.get(key), dict):
        for inner, item in value.items():
            _lay_over(table[key], inner, item)
    else:
        table[key] = value


def _leaves(key: Key, value: Any) -> list[Key]:
    if isinstance(value, dict) and value:
        return [leaf for inner, item in value.items() for leaf in _leaves((*key, inner), item)]
    return [key]


def _parse_override(text: str) -> tuple[Key, Any]:
    name, equals, value = text.partition("=")
    try:
        table = tomllib.loads(f"{name.strip()} = 0")
    except tomllib.TOMLDecodeError:
        table = {}
    key: list[str] = []
    while isinstance(table, dict) and len(table) == 1:
        part, table = next(iter(table.items()))
        key.append(part)
    if not equals or not key or table != 0:
        raise SpecError(
            "an override is not of the form key=value",
            where=f"--set {text}",
            got=repr(text),
            expected="a dotted key, '=' and a TOML value",
            fix="write for example --set fit.lr=1e-3",
        )
    try:
        return tuple(key), tomllib.loads(f"value = {value.strip()}")["value"]
    except tomllib.TOMLDecodeError:
        bare = value.strip()
        raise SpecError(
            "the value of an override is not TOML",
            where=f"--set {text}",
            got=bare or "nothing after '='",
            expected="a TOML value: 3, 1e-3, true, [0, 1], or text in quotes",
            fix=f"for text write --set '{name.strip()}=\"{bare}\"'",
        ) from None

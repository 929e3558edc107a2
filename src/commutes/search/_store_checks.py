"""What is refused in a store, and how records are sealed with the hash of their content."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from commutes.errors import ArtefactError, StoreError
from commutes.search._canonical import digest
from commutes.search._store_files import read_file, sha256
from commutes.search._toml import shown

__all__ = [
    "AGAIN",
    "FORMAT",
    "KEY",
    "REPORT",
    "RUN",
    "damaged",
    "differences",
    "not_deterministic",
    "refuse_foreign",
    "refuse_key",
    "sealed",
    "unsealed",
    "verified",
]

FORMAT = 1
RUN = "run.json"
REPORT = "report.json"
AGAIN = "delete the file: the same command computes exactly what is missing"
KEY = re.compile(r"[0-9a-f]{64}")


def differences(theirs: Mapping[str, Any], ours: Mapping[str, Any], prefix: str = "") -> list[str]:
    """What differs between two nested mappings, one line per place.

    >>> differences({"fit": {"lr": 0.1, "steps": 5}}, {"fit": {"lr": 0.2, "steps": 5}})
    ['fit.lr: 0.1 in the folder, 0.2 asked for']
    """
    lines: list[str] = []
    for key in [*theirs, *(key for key in ours if key not in theirs)]:
        left, right, place = theirs.get(key), ours.get(key), f"{prefix}{key}"
        if isinstance(left, Mapping) and isinstance(right, Mapping):
            lines += differences(left, right, f"{place}.")
        elif left != right or type(left) is not type(right) or (key in theirs) != (key in ours):
            there, asked = _brief(key in theirs, left), _brief(key in ours, right)
            lines.append(f"{place}: {there} in the folder, {asked} asked for")
    return lines


def _brief(there: bool, value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False) if there else "nothing"
    return text if len(text) <= 60 else text[:57] + "..."


def sealed(body: dict[str, Any]) -> bytes:
    """A record as its file holds it: indented JSON with the SHA-256 of the rest inside."""
    sealed = {**body, "sha256": digest(body)}
    return (json.dumps(sealed, indent=1, sort_keys=True, allow_nan=False) + "\n").encode()


def unsealed(path: Path) -> dict[str, Any]:
    """The record in `path`, its hash and format verified."""
    data = read_file(path, most=64 << 20)
    try:
        body = json.loads(data)
        found = body.pop("sha256")
        expected = digest(body)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as problem:
        raise damaged(
            path, f"{len(data):,} bytes that are no record: {problem}", "a whole JSON record", _fix(path)
        ) from problem
    if found != expected:
        raise damaged(
            path, f"SHA-256 {expected} of its content", f"SHA-256 {found}, as written in it", _fix(path)
        )
    if body.get("format") != FORMAT:
        raise damaged(
            path,
            f"format {body.get('format')!r}",
            f"format {FORMAT}",
            "upgrade: pip install --upgrade commutes",
        )
    return body


def verified(path: Path, sha: str) -> bytes:
    """The bytes of a file whose SHA-256 is known."""
    data = read_file(path)
    if sha256(data) != sha:
        raise damaged(
            path,
            f"SHA-256 {sha256(data)}",
            f"SHA-256 {sha}",
            "delete it and the cell that names it, then run again",
        )
    return data


def _fix(path: Path) -> str:
    return "restore it from a copy, or start the run in a new folder" if path.name == RUN else AGAIN


def damaged(path: Path, got: str, expected: str, fix: str) -> ArtefactError:
    """A file that is not what was written."""
    return ArtefactError(
        "a file of the store is damaged", where=shown(path), got=got, expected=expected, fix=fix
    )


def refuse_key(key: str, folder: Path) -> str:
    """`key`, if it can be the name of a cell."""
    if not KEY.fullmatch(key):
        raise ArtefactError(
            "the name of a cell is no SHA-256",
            where=shown(folder),
            got=repr(key),
            expected="64 hexadecimal digits",
            fix="take the key from Store.key or Store.keys",
        )
    return key


def not_deterministic(path: Path, theirs: str, ours: str) -> StoreError:
    """The same cell, twice, with two results."""
    return StoreError(
        "a cell was computed twice with different results",
        where=shown(path),
        got=f"SHA-256 {ours} now, before {theirs}",
        expected="the same result whenever the same cell is computed",
        fix="look for a draw without a seed, another number of threads or another version of torch",
    )


def refuse_foreign(folder: Path) -> None:
    """Refuse a place that holds something that is no run of ours."""
    if not folder.is_dir():
        raise StoreError(
            "the run folder is a file",
            where=shown(folder),
            got="a file",
            expected="a new or empty folder",
            fix="choose another folder with --out",
        )
    try:
        others = sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))
    except OSError as problem:
        raise StoreError(
            "the run folder cannot be read",
            where=shown(folder),
            got=problem.strerror or type(problem).__name__,
            expected="a folder of yours",
            fix="choose another folder with --out",
        ) from problem
    if REPORT in others:
        raise StoreError(
            "a report saved from Python lies in the run folder",
            where=shown(folder),
            got=f"a {REPORT} without a {RUN}: the folder of report.save, which no run goes on from",
            expected=f"a new or empty folder, or one with a {RUN}",
            fix="give another folder with --out, or save the report elsewhere, such as reports/",
        )
    if others:
        raise StoreError(
            "the folder is not empty and holds no run",
            where=shown(folder),
            got=", ".join(map(shown, others[:5]))
            + (f" and {len(others) - 5} more" if len(others) > 5 else ""),
            expected=f"a new or empty folder, or one with a {RUN}",
            fix="choose another folder with --out",
        )

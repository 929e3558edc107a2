"""Records: plain dictionaries and JSON on one side, checked frozen values on the other."""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Mapping, Sequence
from enum import Enum
from pathlib import Path
from typing import Any, TypeVar, cast

from pydantic import BaseModel, ValidationError

from commutes.errors import ArtefactError, similar
from commutes.report._files import read_bytes, write_text
from commutes.report._schema import (
    FORMAT,
    CellRecord,
    CheckRecord,
    ClaimRecord,
    EvaluationRecord,
    RateRecord,
    ReportRecord,
    SelectionRecord,
)
from commutes.report._text import clean

__all__ = [
    "FORMAT",
    "CellRecord",
    "CheckRecord",
    "ClaimRecord",
    "EvaluationRecord",
    "RateRecord",
    "ReportRecord",
    "SelectionRecord",
    "as_evaluation",
    "as_report",
    "claim_changed",
    "content_hash",
    "dump",
    "dumps",
    "load_evaluation",
    "load_report",
    "plain",
]

_Model = TypeVar("_Model", bound=BaseModel)


def plain(value: object) -> Any:
    """`value` as JSON knows it: NaN and infinities become None, tuples lists, numpy scalars numbers.

    >>> plain({"rate": float("nan"), "swap": ("left", 1)})
    {'rate': None, 'swap': ['left', 1]}
    """
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json", by_alias=True)
    if isinstance(value, Enum):
        return plain(value.value)
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, str):
        # A lone surrogate cannot be written as UTF-8; its escape can, and still tells what it was.
        return str(value).encode("utf-8", "backslashreplace").decode("utf-8")
    if isinstance(value, Mapping):
        return {str(plain(key)): plain(item) for key, item in value.items()}
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if hasattr(value, "tolist"):  # numpy arrays and scalars, without importing numpy
        return plain(value.tolist())  # type: ignore[attr-defined]
    if isinstance(value, Sequence):
        return [plain(item) for item in value]
    raise ArtefactError(
        "a record holds plain values only",
        got=f"{type(value).__name__} {clean(repr(value))[:80]}",
        expected="None, bool, int, float, str, a list or a mapping of them",
        fix="write it as a number or as text",
    )


def as_report(record: Mapping[str, Any] | ReportRecord) -> ReportRecord:
    """`record` as a checked report; an ArtefactError names the first field that is not right."""
    return record if isinstance(record, ReportRecord) else _checked(plain(record), ReportRecord, "a report")


def as_evaluation(record: Mapping[str, Any] | EvaluationRecord) -> EvaluationRecord:
    """`record` as a checked evaluation; an ArtefactError names the first field that is not right."""
    if isinstance(record, EvaluationRecord):
        return record
    return _checked(plain(record), EvaluationRecord, "an evaluation")


def dumps(record: object) -> str:
    """`record` as JSON text: ASCII, indented, in the order of its fields, with null for what has no value."""
    return json.dumps(plain(record), indent=1, allow_nan=False) + "\n"


def dump(record: Mapping[str, Any] | BaseModel, path: str | os.PathLike[str]) -> str:
    """Write `record` to `path` in one step and return the SHA-256 of the file."""
    return write_text(path, dumps(record))


def load_report(path: str | os.PathLike[str]) -> ReportRecord:
    """The report record at `path`.

    Raises:
        ArtefactError: The file is missing, damaged, truncated, not JSON, not UTF-8, not a report, or was
            written by a newer version; or its claim was changed after it was fixed.
    """
    data = _parsed(path)
    _refuse_newer(data, path)
    report = _checked(data, ReportRecord, "a report", path)
    content, fixed = report.claim.content, report.claim.fingerprint
    # An older record may lack what its hash is of; one of a network that does not do the task claims nothing.
    if content and (found := content_hash(content)) != fixed:
        raise claim_changed(path, f"a claim with the hash {found[:12]}", fixed)
    declared = content.get("thresholds")
    if isinstance(declared, dict):
        for name, value in report.thresholds.items():
            if declared.get(name, value) != value:
                raise claim_changed(path, "other thresholds than those that were fixed", fixed)
    return report


def content_hash(content: Mapping[str, Any]) -> str:
    """The fingerprint of a claim's content."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def claim_changed(path: str | os.PathLike[str], got: str, fixed: str) -> ArtefactError:
    """A claim that is not the one whose hash was written down."""
    return ArtefactError(
        "the claim is not the one that was fixed before the test split was opened",
        where=clean(Path(path)),
        got=got,
        expected=f"that of claim {clean(fixed)[:12]}",
        fix="restore the report from a copy; a claim that is changed afterwards is another one: challenge that anew",
    )


def load_evaluation(path: str | os.PathLike[str]) -> EvaluationRecord:
    """The evaluation record at `path`; it is refused as `load_report` refuses."""
    return _checked(_parsed(path), EvaluationRecord, "an evaluation", path)


def _parsed(path: str | os.PathLike[str]) -> Any:
    data = read_bytes(path)
    where = clean(Path(path))
    if not data.strip():
        raise ArtefactError("the record is empty", where=where, got="0 bytes of JSON", fix=_RESTORE)
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as problem:
        raise ArtefactError(
            "the record is not UTF-8 text",
            where=f"{where}, byte {problem.start}",
            got=f"byte 0x{data[problem.start]:02x}",
            expected="a record in JSON, UTF-8",
            fix=_RESTORE,
        ) from problem
    try:
        return json.loads(text, object_pairs_hook=_no_duplicates, parse_constant=_no_constant)
    except json.JSONDecodeError as problem:
        truncated = not text[problem.pos :].strip() or problem.msg.startswith("Unterminated")
        raise ArtefactError(
            "the record ends too early: it was truncated" if truncated else "the record is not JSON",
            where=f"{where}, line {problem.lineno}, column {problem.colno}",
            got=f"{len(data):,} bytes; {problem.msg}",
            expected="a complete JSON object",
            fix=_RESTORE,
        ) from problem
    except (_Damaged, RecursionError) as problem:
        got = str(problem) if isinstance(problem, _Damaged) else "values nested too deeply"
        raise ArtefactError("the record is damaged", where=where, got=got, fix=_RESTORE) from problem


_RESTORE = "restore the file from a copy, or run the command that made it again"


class _Damaged(Exception):
    pass


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise _Damaged(f"the key {clean(key)!r} twice in one object")
        found[key] = value
    return found


def _no_constant(word: str) -> Any:
    raise _Damaged(f"{word}, which is not JSON; a missing value is null")


def _refuse_newer(data: Any, path: str | os.PathLike[str]) -> None:
    version = data.get("format") if isinstance(data, dict) else None
    if isinstance(version, int) and not isinstance(version, bool) and version > FORMAT:
        raise ArtefactError(
            "the record was written by a newer version of commutes",
            where=clean(Path(path)),
            got=f"format {version}, by commutes {clean(data.get('commutes', 'of unknown version'))}",
            expected=f"format {FORMAT}",
            fix="upgrade commutes: python -m pip install --upgrade commutes",
        )


def _checked(data: Any, model: type[_Model], kind: str, path: str | os.PathLike[str] | None = None) -> _Model:
    try:
        # Through JSON, so that lists may stand for tuples while `true` may not stand for 1.
        return model.model_validate_json(json.dumps(data))
    except ValidationError as problem:
        raise _not_as_expected(problem, data, model, kind, path) from problem


def _not_as_expected(
    problem: ValidationError,
    data: Any,
    model: type[BaseModel],
    kind: str,
    path: str | os.PathLike[str] | None,
) -> ArtefactError:
    first, *others = problem.errors(include_url=False)
    place = ".".join(clean(part) for part in first["loc"]) or "the whole record"
    got, expected = clean(json.dumps(plain(first["input"])))[:120], first["msg"]
    if first["type"] == "missing":
        got = "nothing"
    if first["type"] == "extra_forbidden":
        known = [field.alias or name for name, field in model.model_fields.items()]
        at_top = len(first["loc"]) == 1
        hint = similar(str(first["loc"][-1]), known) if at_top else None
        got, expected = "a key that the format does not have", f"perhaps {hint}" if hint else "no such key"
    more = f" (and {len(others)} more)" if others else ""
    return ArtefactError(
        f"the record is not {kind} as commutes {cast(str, _version())} writes it",
        where=f"{clean(Path(path))}, {place}{more}" if path is not None else f"{place}{more}",
        got=got,
        expected=expected,
        fix=_RESTORE if path is not None else "give every field its value, as the class's docstring names it",
    )


def _version() -> str:
    from commutes import __version__

    return __version__

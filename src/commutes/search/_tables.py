"""Values by column from a file that a spec names: CSV, JSON or Parquet."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from commutes.errors import ArtefactError, SpecError
from commutes.report import read_bytes
from commutes.search._toml import shown

__all__ = ["table_bytes", "table_of"]

_LARGEST = 100 << 20
_KINDS = {
    ".csv": "CSV with a header",
    ".json": "JSON: lists by name, or a list of rows",
    ".parquet": "Parquet",
}


def table_bytes(path: Path, *, where: str) -> bytes:
    """The bytes of a table.

    Args:
        path: To a regular file of at most 100 MB.
        where: File, line and key of the spec, for the message.

    Raises:
        SpecError: There is no such file, or it is none that could be read.
    """
    if not path.exists():
        raise SpecError(
            "there is no such file",
            where=where,
            got=shown(path),
            expected="a file of values; a path is relative to the spec",
            fix="check the path",
        )
    try:
        return read_bytes(path, limit=_LARGEST)
    except ArtefactError as error:
        raise SpecError(
            error.what,
            where=where,
            got=f"{shown(path)}: {error.got}",
            expected=error.expected or "a regular file",
            fix="check the path",
        ) from error


def table_of(data: bytes, path: Path, *, where: str) -> dict[str, list[Any]]:
    """The values of a table by column.

    Args:
        data: What the file holds.
        path: Whose name says what it is.
        where: File, line and key of the spec, for the message.

    Raises:
        SpecError: It is not what its name says, or a value is missing.
    """
    kind = path.suffix
    try:
        columns = {".csv": _csv, ".json": _json, ".parquet": _parquet}[kind](data)
    except (ValueError, TypeError, AttributeError, RecursionError, OSError) as error:
        raise SpecError(
            "the file cannot be read as a table",
            where=where,
            got=f"{shown(path)}: {str(error).splitlines()[0] if str(error) else type(error).__name__}",
            expected=_KINDS[kind],
            fix="write the values by column, one row for each input",
        ) from None
    for name, values in columns.items():
        row = next((row for row, value in enumerate(values) if value is None or value != value), None)
        if row is not None:
            raise SpecError(
                "a value is missing in the file",
                where=where,
                got=f"{shown(path)}: nothing under {name} in row {row + 1}",
                expected="a value in every column of every row",
                fix="fill it in, or leave the row out",
            )
    return columns


def _csv(data: bytes) -> dict[str, list[Any]]:
    import pandas as pd

    # An empty text is a value of a column of texts; what is missing in a column of numbers makes it one of texts.
    found = pd.read_csv(io.BytesIO(data), keep_default_na=False)
    return {str(name): found[name].tolist() for name in found.columns}


def _parquet(data: bytes) -> dict[str, list[Any]]:
    import pyarrow.parquet as pq

    return pq.read_table(io.BytesIO(data)).to_pydict()


def _json(data: bytes) -> dict[str, list[Any]]:
    found = json.loads(data)
    if isinstance(found, list) and found:
        first = found[0]
        if not all(isinstance(row, Mapping) and row.keys() == first.keys() for row in found):
            raise ValueError("a list of which not every row has the same names")
        found = {name: [row[name] for row in found] for name in first}
    if not isinstance(found, dict) or not all(isinstance(values, list) for values in found.values()):
        raise ValueError("neither lists by name nor a list of rows")
    return found

"""The outcome of every pair, column by column, as Parquet."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from commutes.errors import ArtefactError
from commutes.report._files import read_bytes, write_bytes
from commutes.report._text import clean
from commutes.report.record import plain

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["read_pairs", "write_pairs"]

# A million pairs of twenty columns take some hundred megabytes.
_LARGEST_TABLE = 8 * 1024**3


def write_pairs(path: str | os.PathLike[str], columns: Mapping[str, Sequence[Any]]) -> str:
    """Write a table of pairs to `path` in one step and return the SHA-256 of the file.

    Numbers, truth values and texts keep their kind; an array of shape (n, width) becomes a column of lists;
    any other column is written as the JSON of its values.

    Args:
        path: The Parquet file.
        columns: Column name to n values; every column has the same n.

    Raises:
        ArtefactError: There is no column, or two columns differ in length.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    lengths = {name: len(values) for name, values in columns.items()}
    if len(set(lengths.values())) != 1:
        raise ArtefactError(
            "the columns of a table of pairs differ in length"
            if lengths
            else "a table of pairs has no columns",
            where=clean(Path(path)),
            got=", ".join(f"{clean(name)}: {n:,}" for name, n in lengths.items()) or "none",
            expected="columns of one length",
            fix="give every pair one value in every column",
        )
    arrays = {str(plain(name)): _array(values) for name, values in columns.items()}
    stream = io.BytesIO()
    pq.write_table(pa.table(arrays), stream, compression="zstd")
    return write_bytes(path, stream.getvalue())


def _array(values: Sequence[Any]) -> Any:
    import numpy as np
    import pyarrow as pa

    if isinstance(values, np.ndarray) and values.dtype != object:
        return pa.array(values.tolist()) if values.ndim > 1 or values.dtype.kind in "US" else pa.array(values)
    items = [item.item() if isinstance(item, np.generic) else item for item in values]
    kinds = {type(item) for item in items if item is not None}
    if len(kinds) <= 1 and kinds <= {bool, int, float}:
        return pa.array(items)
    if kinds == {str}:
        return pa.array([None if item is None else plain(item) for item in items])
    return pa.array([json.dumps(plain(item)) for item in items])


def read_pairs(path: str | os.PathLike[str]) -> pd.DataFrame:
    """The table of pairs at `path`.

    Raises:
        ArtefactError: The file is missing, damaged, or not Parquet.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    data = read_bytes(path, limit=_LARGEST_TABLE)
    try:
        return pq.read_table(pa.BufferReader(data)).to_pandas()
    except (pa.ArrowException, OSError, ValueError) as problem:
        raise ArtefactError(
            "the table of pairs cannot be read: it is damaged or not Parquet",
            where=clean(Path(path)),
            got=clean(str(problem).splitlines()[0])[:160] if str(problem) else type(problem).__name__,
            expected="a Parquet file that write_pairs wrote",
            fix="restore the file from a copy, or run the command that made it again",
        ) from problem

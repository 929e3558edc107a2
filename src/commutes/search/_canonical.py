"""One spelling per value: the JSON whose bytes are hashed."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

__all__ = ["canonical", "digest", "plain"]


def canonical(value: Any) -> bytes:
    """The one JSON spelling of a plain value: sorted keys, no spaces, UTF-8, no NaN.

    Args:
        value: Dicts with string keys, lists, tuples, strings, numbers, booleans and None.

    Raises:
        ValueError: If a number is not finite.
        TypeError: If a value is not plain.

    >>> canonical({"b": 1, "a": [True, 0.5]})
    b'{"a":[true,0.5],"b":1}'
    """
    _refuse_keys(value)
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return text.encode("utf-8", "surrogatepass")


def digest(value: Any) -> str:
    """SHA-256, in hexadecimal, of the canonical JSON of `value`.

    >>> digest({"b": 1, "a": 2}) == digest({"a": 2, "b": 1})
    True
    """
    return hashlib.sha256(canonical(value)).hexdigest()


def plain(value: Any) -> tuple[Any, dict[str, str]]:
    """`value` in types that JSON has, and the places of the numbers that it has not.

    A number that is not finite becomes null, and its place is told with what stood there: a measurement that
    is missing is never read back as 0.

    Args:
        value: Nested mappings, sequences, numpy scalars and arrays, numbers, strings, booleans, None.

    Returns:
        The plain value, and `{place: "nan" | "inf" | "-inf"}`.

    Raises:
        TypeError: If a value has no plain form.

    >>> plain({"rate": float("nan"), "n": 0})
    ({'rate': None, 'n': 0}, {'rate': 'nan'})
    """
    gaps: dict[str, str] = {}
    return _plain(value, "", gaps), gaps


def _plain(value: Any, place: str, gaps: dict[str, str]) -> Any:
    if value is None or type(value) in (bool, int, str):
        return value
    if isinstance(value, float):
        if math.isfinite(value):
            return float(value)
        gaps[place] = "nan" if math.isnan(value) else "inf" if value > 0 else "-inf"
        return None
    if isinstance(value, Mapping):
        for key in value:
            if not isinstance(key, str):
                raise TypeError(f"a key that is no string at {place or 'the top'}: {key!r}")
        return {str(key): _plain(item, _inner(place, str(key)), gaps) for key, item in value.items()}
    if isinstance(value, str):
        return str(value)
    if isinstance(value, Sequence):
        return [_plain(item, _inner(place, str(row)), gaps) for row, item in enumerate(value)]
    to_list = getattr(value, "tolist", None)  # numpy scalars and arrays, without importing numpy
    if to_list is not None:
        return _plain(to_list(), place, gaps)
    raise TypeError(f"no plain form for {type(value).__name__} at {place or 'the top'}")


def _inner(place: str, key: str) -> str:
    return f"{place}.{key}" if place else key


def _refuse_keys(value: Any) -> None:
    # json.dumps would spell the key 1 and the key "1" the same, and two values would share a hash.
    if isinstance(value, dict):
        for key, item in value.items():
            if not isinstance(key, str):
                raise TypeError(f"a key that is no string: {key!r}")
            _refuse_keys(item)
    elif isinstance(value, list | tuple):
        for item in value:
            _refuse_keys(item)

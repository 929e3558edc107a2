"""Plain values: what a finite domain may hold, when two values are the same, how one is shown and hashed."""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from enum import Enum
from typing import Any

import numpy as np

ALLOWED = "bool, int, float, str, bytes, None, an Enum member, or a tuple or frozenset of these"


def plain(value: Any) -> Any:
    """The Python value that numpy scalars (also inside tuples) stand for; -0.0 becomes 0.0."""
    if isinstance(value, np.generic) or (isinstance(value, np.ndarray) and value.ndim == 0):
        value = value.item()
    if type(value) is float and value == 0.0:
        return 0.0
    if type(value) is tuple:
        return tuple(plain(part) for part in value)
    return value


def objection(value: Any) -> str | None:
    """Why `value` cannot belong to any finite domain; None where it can."""
    if isinstance(value, Enum):
        return None
    if isinstance(value, float) and value != value:
        return "NaN equals nothing, not even itself, so it cannot label anything"
    if isinstance(value, (tuple, frozenset)):
        return next((why for why in map(objection, value) if why is not None), None)
    if value is None or isinstance(value, (bool, int, float, str, bytes)):
        return None
    try:
        hash(value)
    except TypeError:
        return "it cannot be hashed"
    return f"a {type(value).__name__} is not a plain value"


def key(value: Any) -> Hashable:
    """A dictionary key under which True is not 1, as it is in Python, while 1 and 1.0 are the same number."""
    kind = type(value)
    if kind is int or kind is float:
        return ("number", value)
    if isinstance(value, tuple):
        return (kind, tuple(key(part) for part in value))
    if isinstance(value, frozenset):
        return (kind, frozenset(key(part) for part in value))
    return (kind, value)


def token(value: Any) -> bytes:
    """A byte string that is the same for the same value in every process, and differs for different ones."""
    if isinstance(value, Enum):
        return framed(b"enum", type(value).__name__.encode(), value.name.encode())
    if isinstance(value, bool):
        return b"true" if value else b"false"
    if isinstance(value, int) or (isinstance(value, float) and value.is_integer()):
        return framed(b"number", str(int(value)).encode())
    if isinstance(value, float):
        return framed(b"number", value.hex().encode())
    if isinstance(value, str):
        return framed(b"str", value.encode("utf-8", "surrogatepass"))
    if isinstance(value, bytes):
        return framed(b"bytes", value)
    if isinstance(value, tuple):
        return framed(b"tuple", *map(token, value))
    if isinstance(value, frozenset):
        return framed(b"frozenset", *sorted(map(token, value)))
    assert value is None, value
    return b"none"


def framed(*parts: bytes) -> bytes:
    """The parts, each after its length: (1, 12) and (11, 2) can never run together."""
    return b"".join(b"%d:%s" % (len(part), part) for part in parts)


def show(value: Any, width: int = 60) -> str:
    """`repr` of a value, cut to one line of at most `width` characters."""
    text = repr(value).replace("\n", " ")
    return text if len(text) <= width else text[: width - 3] + "..."


def typed(value: Any) -> str:
    """`show` with the type beside it, so that 1, 1.0 and True cannot be mistaken for one another."""
    return f"{show(value)} ({type(value).__name__})"


def listed(values: Iterable[Any], most: int = 6) -> str:
    """`{0, 1, 2, ...}`, the values in their order, the middle left out where there are many."""
    shown = [show(value, 24) for value in values]
    if len(shown) > most:
        shown = [*shown[: most // 2], "...", shown[-1]]
    return "{" + ", ".join(shown) + "}"

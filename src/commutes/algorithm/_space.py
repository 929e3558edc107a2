"""Infinite domains: real numbers and vectors of them, stored as floats."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, final

import numpy as np

from commutes.algorithm._domain import Domain
from commutes.algorithm._values import show, typed
from commutes.errors import DomainError


@final
@dataclass(frozen=True)
class Space(Domain):
    """An infinite domain of real numbers or of vectors of them: a sampler and a membership test.

    Args:
        name: How the domain is called in messages, cards and fingerprints.
        draw: `draw(rng, n)` gives n values: floats of shape (n,), or (n, width).
        contains: Whether one value, a float or a tuple of `width` floats, belongs to the domain.
        width: The length of the vectors; None for numbers.
        tolerance: How far apart two values may be and still count as the same, where that is asked.
        contains_rows: The membership test for a whole column at once, where there is a fast one.
    """

    name: str
    draw: Callable[[np.random.Generator, int], np.ndarray]
    contains: Callable[[Any], bool]
    width: int | None = None
    tolerance: float | None = None
    contains_rows: Callable[[np.ndarray], np.ndarray] | None = None

    size = None

    def describe(self) -> str:
        """The name and, for vectors, their length."""
        return self.name if self.width is None else f"{self.name}, {self.width} floats"

    def attempt(self, values: Sequence[Any] | np.ndarray) -> tuple[np.ndarray, int | None]:
        """The values as float64, and the index of the first one that lies outside."""
        shape = (len(values),) if self.width is None else (len(values), self.width)
        column = _floats(values)
        if column is None or (column.shape != shape and len(values)):
            bad = (row for row, value in enumerate(values) if not self._is_shaped(value))
            return np.empty(shape), next(bad, 0)
        column = column.reshape(shape) + 0.0  # -0.0 becomes 0.0
        finite = np.isfinite(column) if self.width is None else np.isfinite(column).all(axis=1)
        inside = finite & self._members(np.where(np.isfinite(column), column, 0.0))
        return column, None if inside.all() else int(np.flatnonzero(~inside)[0])

    def decode(self, column: np.ndarray) -> list[Any]:
        """Floats, or tuples of floats."""
        return (
            column.tolist()
            if self.width is None
            else list(zip(*(part.tolist() for part in column.T), strict=True))
        )

    def blank(self, n: int) -> np.ndarray:
        """`n` values to be filled in."""
        return np.zeros(n if self.width is None else (n, self.width))

    def sample(self, rng: np.random.Generator, n: int) -> np.ndarray:
        """`draw`, with its answer checked."""
        drawn = np.asarray(self.draw(rng, n))
        column, bad = self.attempt(drawn) if drawn.ndim and len(drawn) == n else (drawn, 0)
        if bad is not None:
            raise DomainError(
                "the sampler of a domain left the domain",
                where=self.describe(),
                got=typed(drawn[bad])
                if drawn.ndim and len(drawn) == n
                else f"an array of shape {drawn.shape}",
                expected=f"{n} values, shape {(n,) if self.width is None else (n, self.width)}",
                fix="make draw and contains agree",
            )
        return column

    def fault(self, column: np.ndarray, *, members: bool = True) -> str | None:
        """What is wrong with an array of values; membership itself only where `members`."""
        if column.dtype.kind != "f" or column.shape[1:] != (() if self.width is None else (self.width,)):
            return f"an array of dtype {column.dtype} and shape {column.shape}"
        if not np.isfinite(column).all():
            return "NaN or infinity"
        bad = self.attempt(column)[1] if members else None
        return None if bad is None else f"{show(self.decode(column[bad : bad + 1])[0])} in row {bad}"

    def array(self, column: np.ndarray) -> np.ndarray:
        """The column itself."""
        return column

    def advice(self, value: Any) -> str:
        """What to write instead of a value that lies outside."""
        return (
            "use a float within the domain"
            if self.width is None
            else f"use a tuple of {self.width} floats within it"
        )

    def _is_shaped(self, value: Any) -> bool:
        single = _floats([value])
        return single is not None and single.shape[1:] == (() if self.width is None else (self.width,))

    def _members(self, column: np.ndarray) -> np.ndarray:
        if self.contains_rows is not None:
            return self.contains_rows(column)
        return np.fromiter(map(self.contains, self.decode(column)), dtype=bool, count=len(column))


def vectors(width: int, low: float = -1.0, high: float = 1.0) -> Space:
    """Vectors of `width` floats, each between `low` and `high`, drawn uniformly.

    >>> (0.5, -0.5) in vectors(2), (0.5, 2.0) in vectors(2)
    (True, False)
    """
    if isinstance(width, bool) or width < 1:
        raise DomainError("a vector needs a width", got=typed(width), expected="an integer of at least 1")
    return _box(f"vectors in [{low:g}, {high:g}]", low, high, width, None)


def reals(low: float = -np.inf, high: float = np.inf, tolerance: float | None = None) -> Space:
    """Real numbers from `low` to `high`: drawn uniformly, or from N(0, 1) where there are no bounds.

    Args:
        low: The smallest value; either both bounds are infinite or neither.
        high: The largest value.
        tolerance: How far apart two values may be and still agree.

    >>> 3.5 in reals(), 3.5 in reals(0, 1)
    (True, False)
    """
    name = "real numbers" if np.isinf(low) else f"real numbers in [{low:g}, {high:g}]"
    return _box(name, low, high, None, tolerance)


def _box(name: str, low: float, high: float, width: int | None, tolerance: float | None) -> Space:
    if not low < high or np.isinf(low) != np.isinf(high):
        raise DomainError(
            "bounds that enclose nothing to draw from",
            got=f"low={low}, high={high}",
            expected="low < high, both finite or both infinite",
            fix="give both bounds, or neither",
        )

    def draw(rng: np.random.Generator, n: int) -> np.ndarray:
        shape = n if width is None else (n, width)
        return rng.standard_normal(shape) if np.isinf(low) else rng.uniform(low, high, shape)

    def contains_rows(column: np.ndarray) -> np.ndarray:
        inside = np.logical_and(low <= column, column <= high)
        return inside if width is None else np.all(inside, axis=1)

    def contains(value: Any) -> bool:
        return bool(contains_rows(np.asarray([value], dtype=float))[0])

    return Space(name, draw, contains, width, tolerance, contains_rows)


def _floats(values: Sequence[Any] | np.ndarray) -> np.ndarray | None:
    """`values` as float64; None where they are not numbers (a bool or a text is not taken for one)."""
    try:
        column = np.asarray(values)
    except (ValueError, TypeError):  # ragged
        return None
    return column.astype(np.float64) if column.dtype.kind in "iuf" or column.size == 0 else None

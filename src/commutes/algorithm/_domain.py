"""Domains: the values that a variable can take, and how a column of them is stored."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence, Sized
from dataclasses import dataclass
from functools import cached_property
from typing import Any, final

import numpy as np

from commutes.algorithm._values import ALLOWED, key, listed, objection, plain, show, typed
from commutes.errors import DomainError, nearest

MOST_VALUES = 1_000_000  # what can still be listed, tabulated and hashed value by value in a second


class Domain(ABC):
    """The set of values of a variable. A column of a finite domain holds codes, of an infinite one floats."""

    size: int | None

    @abstractmethod
    def describe(self) -> str:
        """The domain in a few words."""

    @abstractmethod
    def attempt(self, values: Sequence[Any] | np.ndarray) -> tuple[np.ndarray, int | None]:
        """The column of `values`, and the index of the first one that lies outside (None: all inside)."""

    @abstractmethod
    def decode(self, column: np.ndarray) -> list[Any]:
        """The plain Python values of a column."""

    @abstractmethod
    def blank(self, n: int) -> np.ndarray:
        """A column of `n` places to be filled."""

    @abstractmethod
    def sample(self, rng: np.random.Generator, n: int) -> np.ndarray:
        """A column of `n` values drawn from the domain."""

    @abstractmethod
    def fault(self, column: np.ndarray, *, members: bool = True) -> str | None:
        """What is wrong with an array that was given as a column of this domain; None where nothing is."""

    @abstractmethod
    def array(self, column: np.ndarray) -> np.ndarray:
        """The values of a column as a numpy array, with a numeric dtype where there is one."""

    @abstractmethod
    def advice(self, value: Any) -> str:
        """What to write instead of a value that lies outside."""

    def encode(self, values: Sequence[Any] | np.ndarray) -> np.ndarray:
        """The column of `values`; raises `DomainError` at the first one that lies outside.

        >>> Finite("abc").encode(["c", "a"]).tolist()
        [2, 0]
        """
        column, bad = self.attempt(values)
        if bad is not None:
            raise self.outside(values[bad], where=f"row {bad}")
        return column

    def outside(self, value: Any, *, where: str | None = None) -> DomainError:
        """The error that says that `value` lies outside."""
        return DomainError(
            "value outside the domain",
            where=where,
            got=typed(value),
            expected=self.describe(),
            fix=self.advice(value),
        )

    def __contains__(self, value: object) -> bool:
        return self.attempt([value])[1] is None


@final
@dataclass(frozen=True, init=False, eq=False, repr=False)
class Finite(Domain):
    """Finitely many values, in order; a column holds their positions (int64 codes).

    Args:
        values: bool, int, float, str, bytes, None, Enum members, tuples or frozensets of these, all
            different, at most a million. True and 1 are different values; 1 and 1.0 are the same.

    >>> domain = Finite(["red", "green"])
    >>> domain.size, domain.code("green"), "blue" in domain
    (2, 1, False)
    """

    values: tuple[Any, ...]

    def __init__(self, values: Iterable[Any]) -> None:
        if isinstance(values, Sized) and len(values) > MOST_VALUES:
            raise _too_large(len(values))
        listing = tuple(plain(value) for value in values)
        if len(listing) > MOST_VALUES:
            raise _too_large(len(listing))
        if not listing:
            raise DomainError(
                "a domain needs at least one value", got="none", fix="list the values, in order"
            )
        object.__setattr__(self, "values", listing)
        seen: dict[Any, int] = {}
        for position, value in enumerate(listing):
            why = objection(value)
            if why is not None:
                raise DomainError(
                    f"this value cannot be in a domain: {why}",
                    where=f"value {position} of the domain",
                    got=typed(value),
                    expected=ALLOWED,
                    fix="use plain values, a tuple instead of a list, None instead of NaN",
                )
            if seen.setdefault(key(value), position) != position:
                raise DomainError(
                    "a value occurs twice in a domain",
                    where=f"values {seen[key(value)]} and {position} of the domain",
                    got=typed(value),
                    fix="list every value once",
                )

    @property
    def size(self) -> int:  # pyright: ignore[reportIncompatibleVariableOverride]
        """How many values there are."""
        return len(self.values)

    def code(self, value: Any) -> int:
        """The position of `value`; raises `DomainError` with the nearest value where there is none."""
        return int(self.encode([value])[0])

    def describe(self) -> str:
        """`{False, True}`, `{0, 1, 2, 3, 4, 5, ..., 19}`."""
        return listed(self.values)

    def attempt(self, values: Sequence[Any] | np.ndarray) -> tuple[np.ndarray, int | None]:
        """The codes of `values`, and the index of the first one that lies outside."""
        codes = self._numeric_codes(values)
        if codes is None:
            rows = values.tolist() if isinstance(values, np.ndarray) else values
            if isinstance(values, np.ndarray) and values.ndim > 1:
                rows = [_tuples(row) for row in rows]
            codes = np.fromiter((self._find(value) for value in rows), dtype=np.int64, count=len(rows))
        bad = np.flatnonzero(codes < 0)
        return codes, int(bad[0]) if bad.size else None

    def decode(self, column: np.ndarray) -> list[Any]:
        """The values at the codes of a column."""
        return list(map(self.values.__getitem__, column.tolist()))

    def blank(self, n: int) -> np.ndarray:
        """`n` codes to be filled in."""
        return np.zeros(n, dtype=np.int64)

    def sample(self, rng: np.random.Generator, n: int) -> np.ndarray:
        """`n` codes, uniform."""
        return rng.integers(self.size, size=n)

    def fault(self, column: np.ndarray, *, members: bool = True) -> str | None:
        """What is wrong with an array of codes."""
        if column.ndim != 1 or column.dtype.kind not in "iu":
            return f"an array of dtype {column.dtype} and shape {column.shape}"
        if column.size and not 0 <= column.min() <= column.max() < self.size:
            row = int(np.flatnonzero((column < 0) | (column >= self.size))[0])
            return f"code {column[row]} in row {row}"
        return None

    def array(self, column: np.ndarray) -> np.ndarray:
        """The values of a column: bool, int64 or float64 where all are; tuples of numbers as (n, width)."""
        return self._table[column]

    def advice(self, value: Any) -> str:
        """What to write instead of a value that lies outside."""
        why = objection(plain(value))
        if why is not None:
            return f"use {ALLOWED}: {why}"
        twin = next((own for own in self.values if own == value), None)
        if twin is not None:
            return f"write {typed(twin)}: it equals {show(value)} in Python but is another value here"
        if _is_number(value) and all(map(_is_number, self.values)):
            return f"the nearest value is {show(min(self.values, key=lambda own: abs(own - value)))}"
        texts = {show(own): own for own in self.values[:10_000]}
        return f"the nearest value is {nearest(show(value), texts)[0]}"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Finite) and key(self.values) == key(other.values)

    def __hash__(self) -> int:
        return hash(key(self.values))

    def __repr__(self) -> str:
        return f"Finite({self.describe()})"

    def _find(self, value: Any) -> int:
        try:
            return self._codes.get(key(plain(value)), -1)
        except TypeError:  # unhashable
            return -1

    @cached_property
    def _codes(self) -> dict[Any, int]:
        return {key(value): code for code, value in enumerate(self.values)}

    @cached_property
    def _sorted(self) -> tuple[np.ndarray, np.ndarray] | None:
        """The numbers in ascending order with their codes; None where the domain is not one of numbers.

        Bools are a case of their own. Beyond 2**53 floats and integers no longer compare exactly.
        """
        bools = all(isinstance(value, bool) for value in self.values)
        if not bools and not all(_is_number(value) and abs(value) < 2**53 for value in self.values):
            return None
        numbers = np.array(self.values)
        order = np.argsort(numbers)
        return numbers[order], order

    def _numeric_codes(self, values: Sequence[Any] | np.ndarray) -> np.ndarray | None:
        """The codes by binary search where both sides are numbers, or both bools; otherwise None."""
        if self._sorted is None:
            return None
        numbers, order = self._sorted
        if not isinstance(values, np.ndarray):
            kinds = set(map(type, values))
            if not (kinds <= {int, float} or kinds == {bool}):
                return None
            values = np.array(values)
        if values.ndim != 1 or values.dtype.kind not in ("b" if numbers.dtype.kind == "b" else "iuf"):
            return None
        places = np.searchsorted(numbers, values).clip(max=self.size - 1)
        return np.where(numbers[places] == values, order[places], -1)

    @cached_property
    def _table(self) -> np.ndarray:
        rows = self.values
        if all(isinstance(row, tuple) for row in rows) and len({len(row) for row in rows}) == 1 and rows[0]:
            parts = [part for row in rows for part in row]
        else:
            parts = list(rows)
        kinds = set(map(type, parts))
        if kinds == {bool} or (kinds <= {int, float} and all(abs(part) < 2**53 for part in parts)):
            return np.array(rows)
        table = np.empty(self.size, dtype=object)
        table[:] = rows
        return table


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
        return column.tolist() if self.width is None else list(map(tuple, column.tolist()))

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
        return "use a finite float" if self.width is None else f"use a tuple of {self.width} finite floats"

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
        inside = (low <= column) & (column <= high)
        return inside if width is None else inside.all(axis=1)

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


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _tuples(row: Any) -> Any:
    return tuple(map(_tuples, row)) if isinstance(row, list) else row


def _too_large(size: int) -> DomainError:
    return DomainError(
        f"a domain of {size:,} values is too large to list",
        expected=f"at most {MOST_VALUES:,} values",
        fix="sample instead: describe it by a Space, with draw(rng, n) and contains(value)",
    )

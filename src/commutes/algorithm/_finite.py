"""Finite domains: a listed set of plain values, stored as codes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence, Sized
from dataclasses import dataclass
from functools import cached_property
from typing import Any, final

import numpy as np

from commutes.algorithm._domain import Domain
from commutes.algorithm._hash import hash64
from commutes.algorithm._values import ALLOWED, key, listed, objection, plain, show, token, typed
from commutes.errors import DomainError, nearest

_FLAT = frozenset({bool, int, float, str, bytes, type(None)})
MOST_VALUES = 1_000_000  # what can still be listed, tabulated and hashed value by value in a second


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
                "a domain without values",
                got="none",
                expected="at least one",
                fix="list the values, in order",
            )
        _refuse_unfit(listing)
        object.__setattr__(self, "values", listing)

    @property
    def size(self) -> int:  # pyright: ignore[reportIncompatibleVariableOverride]
        """How many values there are."""
        return len(self.values)

    def code(self, value: Any) -> int:
        """The position of `value`; raises `DomainError` with the nearest value where there is none."""
        return int(self.encode([value])[0])

    def describe(self) -> str:
        """`{False, True}`, `{0, 1, 2, ..., 19}`."""
        return listed(self.values)

    def attempt(self, values: Sequence[Any] | np.ndarray) -> tuple[np.ndarray, int | None]:
        """The codes of `values`, and the index of the first one that lies outside."""
        codes = self._numeric_codes(values)
        if codes is None:
            rows = values.tolist() if isinstance(values, np.ndarray) else values
            if isinstance(values, np.ndarray) and values.ndim > 1:
                rows = [_tuples(row) for row in rows]
            codes = np.fromiter(self._found(rows), dtype=np.int64, count=len(rows))
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
        value = plain(value)
        why = objection(value)
        if why is not None:
            return f"use {ALLOWED}: {why}"
        twin = next((own for own in self.values if (own == value) is True), None)
        if twin is not None:
            return f"write {typed(twin)}: it equals {show(value)} in Python but is another value here"
        if _is_number(value) and all(map(_is_number, self.values)):
            return f"the nearest value is {show(min(self.values, key=lambda own: abs(own - value)))}"
        texts = {show(own): own for own in self.values[:10_000]}
        return f"the nearest value is {nearest(show(value), texts)[0]}"

    @cached_property
    def hashes(self) -> np.ndarray:
        """A 64-bit hash of every value, the same in every process.  # shape: (size,) uint64"""
        return np.array([hash64(token(value)) for value in self.values], dtype=np.uint64)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Finite) and key(self.values) == key(other.values)

    def __hash__(self) -> int:
        return hash(key(self.values))

    def __repr__(self) -> str:
        return f"Finite({self.describe()})"

    def _found(self, rows: Iterable[Any]) -> Iterator[int]:
        """The code of every value; a tuple that comes again is looked up as it stands, with its parts' types."""
        known: dict[Any, int] = {}
        for value in rows:
            if type(value) is not tuple:
                yield self._find(value)
                continue
            # Equal tuples of equal types are one value, if their parts are of types that say so themselves.
            kinds = tuple(map(type, value))
            if not _FLAT.issuperset(kinds):
                yield self._find(value)
                continue
            name = value, kinds
            code = known.get(name)
            if code is None:
                known[name] = code = self._find(value)
            yield code

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

    @cached_property
    def _is_run(self) -> bool:
        """Whether the values are consecutive integers, ascending."""
        return all(type(value) is int and value == self.values[0] + i for i, value in enumerate(self.values))

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
        if values.dtype == np.int64 and self._is_run:  # a subtraction, several times faster than a search
            codes = values - numbers[0]
            return np.where((codes >= 0) & (codes < self.size), codes, -1)
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
        for code, value in enumerate(rows):  # one by one, for numpy would unpack the tuples
            table[code] = value
        return table


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _refuse_unfit(values: tuple[Any, ...]) -> None:
    seen: dict[Any, int] = {}
    for position, value in enumerate(values):
        why = objection(value)
        if why is not None:
            raise DomainError(
                f"this value cannot be in a domain: {why}",
                where=f"value {position} of the domain",
                got=typed(value),
                expected=ALLOWED,
                fix="use plain values: a tuple instead of a list, None instead of NaN",
            )
        first = seen.setdefault(key(value), position)
        if first != position:
            raise DomainError(
                "a value occurs twice in a domain",
                where=f"values {first} and {position} of the domain",
                got=typed(value),
                fix="list every value once",
            )


def _tuples(row: Any) -> Any:
    return tuple(map(_tuples, row)) if isinstance(row, list) else row


def _too_large(size: int) -> DomainError:
    return DomainError(
        f"a domain of {size:,} values is too large to list",
        expected=f"at most {MOST_VALUES:,} values",
        fix="sample instead: describe it by a Space, with draw(rng, n) and contains(value)",
    )

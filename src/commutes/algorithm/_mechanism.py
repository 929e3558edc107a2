"""A mechanism at work: from columns of the parents to a column of the variable, one call per distinct row."""

from __future__ import annotations

import itertools
import math
import traceback
from collections.abc import Callable, Iterable, Sequence
from typing import Any, final

import numpy as np

from commutes.algorithm import _clock
from commutes.algorithm._domain import Domain
from commutes.algorithm._finite import Finite
from commutes.algorithm._hash import distinct_rows, hash64, mix
from commutes.algorithm._values import ALLOWED, key, objection, plain, show, typed
from commutes.errors import AlgorithmError, MechanismError

TABLE_ROWS = 1_000_000  # up to here a mechanism is its complete table, beyond it a sample
SAMPLE_ROWS = 10_000
CHUNK = 16_384  # rows that are plain Python values at one time: a million at once is slow to make and to free
POOL = 100  # values per infinite domain in a sample: few, so that equal values meet


@final
class Mechanism:
    """A function with the domains of its parents and its own.

    Answers for finite parents are remembered: in a table where it is small enough, otherwise in a dictionary.
    """

    def __init__(
        self,
        name: str,
        function: Callable[..., Any],
        parents: Sequence[str],
        domains: Sequence[Domain],
        domain: Domain | None,
    ) -> None:
        self.name = name
        self.function = function
        self.parents = tuple(parents)
        self.domains = tuple(domains)
        sizes = [domain.size for domain in self.domains]
        self.sizes = tuple(size for size in sizes if size is not None)
        self.rows = math.prod(self.sizes) if len(self.sizes) == len(sizes) else None
        self.complete = self.rows is not None and self.rows <= TABLE_ROWS
        self._memory: dict[tuple[int, ...], Any] = {}
        if domain is None:
            self.domain, self._table = self._discover()
            self._known = np.ones(len(self._table), dtype=bool)
            return
        self.domain = domain
        if self.complete:
            assert self.rows is not None
            self._table = domain.blank(self.rows)
            self._known = np.zeros(self.rows, dtype=bool)

    def column(self, columns: Sequence[np.ndarray], n: int) -> np.ndarray:
        """The variable's column for `n` rows of its parents' columns."""
        if self.complete:
            return self._by_table(columns, n)
        first, inverse = distinct_rows(list(columns))
        distinct = [column[first] for column in columns]
        answer = self.answer if self.rows is None else self._by_memory
        return answer(distinct, len(first))[inverse]

    def answer(self, columns: Sequence[np.ndarray], n: int) -> np.ndarray:
        """The variable's column, by one call of the function for each of the `n` rows."""
        values = self._call(columns, n)
        column, bad = self.domain.attempt(values)
        if bad is not None:
            raise self._left_its_domain(values[bad], self._row(columns, bad))
        return column

    def table_rows(self, rows: np.ndarray) -> tuple[np.ndarray, ...]:
        """The parents' columns at the given rows of the complete table; the last parent varies fastest."""
        return tuple(np.unravel_index(rows, self.sizes)) if self.sizes else ()

    def table(self) -> np.ndarray:
        """The complete table, shape (size of parent 1, size of parent 2, ...)."""
        assert self.complete
        assert self.rows is not None
        rows = np.arange(self.rows)
        table = self.column(self.table_rows(rows), self.rows)
        return table.reshape(self.sizes + table.shape[1:])

    def trial(self) -> tuple[tuple[np.ndarray, ...], int]:
        """The parents' columns on which the mechanism is tried: its complete table, or a fixed sample."""
        if self.complete and self.rows is not None:
            return self.table_rows(np.arange(self.rows)), self.rows
        return self.sample(), SAMPLE_ROWS

    def sample(self) -> tuple[np.ndarray, ...]:
        """`SAMPLE_ROWS` rows of the parents, the same in every process and for every order of the parents."""
        columns = []
        for name, domain in zip(self.parents, self.domains, strict=True):
            draws = mix(np.arange(SAMPLE_ROWS, dtype=np.uint64) ^ np.uint64(hash64(name.encode())))
            if domain.size is None:
                pool = domain.sample(np.random.default_rng(0), POOL)
                columns.append(pool[draws % np.uint64(POOL)])
            else:
                columns.append((draws % np.uint64(domain.size)).astype(np.int64))
        return tuple(columns)

    def repeat(self, columns: Sequence[np.ndarray], n: int) -> None:
        """Ask everything once more, in reverse, and refuse a mechanism that answers differently.

        In reverse, because a function that alternates would say the same twice in the same order.
        """
        before = self.column(columns, n)[::-1]
        columns = [column[::-1] for column in columns]
        again = self.answer(columns, n)
        changed = (before != again).reshape(n, -1).any(axis=1)
        if changed.any():
            row = int(np.flatnonzero(changed)[0])
            answers = [show(self.domain.decode(column[row : row + 1])[0]) for column in (before, again)]
            raise MechanismError(
                f"the mechanism of {self.name} answers differently for the same inputs",
                where=self._row(columns, row),
                got=f"{answers[0]}, then {answers[1]}",
                expected="the same answer every time",
                fix="take randomness and remembered state out of the mechanism; make noise an input variable",
            )

    def _by_table(self, columns: Sequence[np.ndarray], n: int) -> np.ndarray:
        zeros = np.zeros(n, dtype=np.int64)
        rows = np.ravel_multi_index(tuple(columns), self.sizes) if columns else zeros
        unknown = np.unique(rows[~self._known[rows]])
        if unknown.size:
            self._table[unknown] = self.answer(self.table_rows(unknown), len(unknown))
            self._known[unknown] = True
        return self._table[rows]

    def _by_memory(self, columns: Sequence[np.ndarray], n: int) -> np.ndarray:
        keys = list(zip(*(column.tolist() for column in columns), strict=True))
        new = np.array([row for row, codes in enumerate(keys) if codes not in self._memory], dtype=np.int64)
        if new.size:
            answers = self.answer([column[new] for column in columns], len(new))
            self._memory.update((keys[row], value) for row, value in zip(new.tolist(), answers, strict=True))
        column = self.domain.blank(n)
        for row, codes in enumerate(keys):
            column[row] = self._memory[codes]
        return column

    def _discover(self) -> tuple[Finite, np.ndarray]:
        """The values that the mechanism gives over its parents' domains, and its table.

        The values are in ascending order where they have one.
        """
        if not self.complete or self.rows is None:
            raise self._undiscoverable()
        columns = self.table_rows(np.arange(self.rows))
        values = list(map(plain, self._call(columns, self.rows)))
        found: dict[Any, Any] = {}
        for row, value in enumerate(values):
            why = objection(value)
            if why is not None:
                raise self._unusable(value, why, self._row(columns, row))
            found.setdefault(key(value), value)
        domain = Finite(_in_order(list(found.values())))
        return domain, domain.encode(values)

    def _call(self, columns: Sequence[np.ndarray], n: int) -> list[Any]:
        function, answers = self.function, []
        try:
            with _clock.time_limit(lambda: len(answers)):
                for start in range(0, n, CHUNK):
                    for row in self._rows(columns, start, min(start + CHUNK, n)):
                        answers.append(function(*row))
        except _clock.OutOfTime:
            raise MechanismError(
                f"the mechanism of {self.name} does not return",
                where=self._row(columns, len(answers)),
                got=f"no answer in {_clock.TIME_LIMIT:g} seconds",
                fix="look for a loop without an end, or make the mechanism cheaper",
            ) from None
        except (Exception, SystemExit) as error:
            raise self._raised(error, self._row(columns, len(answers))) from error
        return answers

    def _rows(self, columns: Sequence[np.ndarray], start: int, stop: int) -> Iterable[tuple[Any, ...]]:
        if not columns:
            return itertools.repeat((), stop - start)
        pairs = zip(self.domains, columns, strict=True)
        return zip(*(domain.decode(column[start:stop]) for domain, column in pairs), strict=True)

    def _row(self, columns: Sequence[np.ndarray], row: int) -> str:
        """`left(w=1, x=2)`: the call that a row stands for."""
        values = (
            f"{name}={show(domain.decode(column[row : row + 1])[0])}"
            for name, domain, column in zip(self.parents, self.domains, columns, strict=True)
        )
        return f"{self.name}({', '.join(values)})"

    def _undiscoverable(self) -> AlgorithmError:
        pairs = zip(self.parents, self.domains, strict=True)
        infinite = [name for name, domain in pairs if domain.size is None]
        return AlgorithmError(
            f"the domain of {self.name} cannot be found by trying its mechanism on all values of its parents",
            got=f"infinitely many values of {', '.join(infinite)}" if infinite else f"{self.rows:,} rows",
            expected=f"at most {TABLE_ROWS:,} rows, or a declared domain",
            fix="annotate the mechanism (-> bool, a Literal, an Enum) or give domain=",
        )

    def _raised(self, error: BaseException, where: str) -> MechanismError:
        frames = traceback.extract_tb(error.__traceback__)[1:]  # the first frame is ours
        place = f" (line {frames[-1].lineno} of {frames[-1].filename.rsplit('/', 1)[-1]})" if frames else ""
        return MechanismError(
            f"the mechanism of {self.name} raised {type(error).__name__}",
            where=where,
            got=f"{type(error).__name__}: {error}{place}",
            expected="an answer for all values of its parents: interventions combine them freely",
            fix="make the mechanism answer these inputs too, or narrow the domains",
        )

    def _left_its_domain(self, value: Any, where: str) -> MechanismError:
        why = objection(plain(value)) if isinstance(self.domain, Finite) else None
        if why is not None:
            return self._unusable(value, why, where)
        return MechanismError(
            f"the mechanism of {self.name} leaves its domain",
            where=where,
            got=typed(value),
            expected=self.domain.describe(),
            fix=f"{self.domain.advice(value)}; or correct the domain",
        )

    def _unusable(self, value: Any, why: str, where: str) -> MechanismError:
        return MechanismError(
            f"the mechanism of {self.name} gave something that is not a value: {why}",
            where=where,
            got=typed(value),
            expected=ALLOWED,
            fix="return a plain value, such as a tuple instead of a list",
        )


def _in_order(values: list[Any]) -> list[Any]:
    """Ascending where all are bools, all numbers or all texts; otherwise as they came."""
    kinds = set(map(type, values))
    return sorted(values) if kinds <= {int, float} or kinds in ({bool}, {str}) else values

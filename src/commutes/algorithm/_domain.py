"""Domains: the values that a variable can take, and how a column of them is stored."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import numpy as np

from commutes.algorithm._values import typed
from commutes.errors import DomainError


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

        >>> from commutes.algorithm import Finite
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

"""A variable: a node of the hypothesis, and the key by which everything else refers to it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, final

from commutes.errors import AlgorithmError

if TYPE_CHECKING:
    from commutes.algorithm._algorithm import Algorithm
    from commutes.algorithm._domain import Domain

Kind = Literal["input", "inner", "output"]


@final
@dataclass(frozen=True, eq=False, repr=False)
class Variable:
    """A causal variable: hashed by identity, and callable as the mechanism that it was made from.

    Variables are made by an `Algorithm`, never by hand.

    >>> from commutes.algorithm import Algorithm
    >>> a = Algorithm("a doubling")
    >>> x = a.input("x", domain=range(3))
    >>> double = a.add("double", "x", f=lambda x: 2 * x)
    >>> double, double.kind, double.parents, double(21)
    (double, 'inner', (x,), 42)
    """

    name: str
    kind: Kind
    algorithm: Algorithm
    mechanism: Callable[..., Any] | None
    parent_names: tuple[str, ...]
    declared: Domain | None
    """The domain that was declared; `algorithm.domain` also knows those that were found."""

    @property
    def parents(self) -> tuple[Variable, ...]:
        """The variables that the mechanism reads, in the order of its parameters."""
        return tuple(self.algorithm[name] for name in self.parent_names)

    def __call__(self, *values: Any) -> Any:
        """What the mechanism gives for plain values of the parents."""
        if self.mechanism is None:
            raise AlgorithmError(
                f"{self.name} is an input: it has no mechanism to call",
                fix="give its value to evaluate, run or columns",
            )
        return self.mechanism(*values)

    def __repr__(self) -> str:
        return self.name

"""Programs over sequences: maps, sequence maps, selections, aggregations and selector widths.

See Thinking Like Transformers, arXiv 2106.06981.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from commutes.errors import AlgorithmError


@dataclass(frozen=True, eq=False)
class SOp(ABC):
    """A sequence operation: one value per position, computed from other sequence operations."""

    name: str
    """What the variables of its positions are called, with an underscore and the position behind it."""

    @property
    @abstractmethod
    def operands(self) -> tuple[SOp, ...]:
        """The operations that it reads, each once."""

    @property
    def numerical(self) -> bool:
        """Whether the network holds the value as a number; otherwise as one of several directions."""
        return False


@dataclass(frozen=True, eq=False)
class Tokens(SOp):
    """The symbols of the input: the algorithm's input variables token_0, token_1, ..."""

    name: str = field(default="token", init=False)

    @property
    def operands(self) -> tuple[SOp, ...]:
        """None."""
        return ()


@dataclass(frozen=True, eq=False)
class Indices(SOp):
    """The positions, from 0."""

    name: str = field(default="index", init=False)

    @property
    def operands(self) -> tuple[SOp, ...]:
        """None."""
        return ()


@dataclass(frozen=True, eq=False)
class Map(SOp):
    """f of another operation's value at the same position.

    Args:
        name: Of its variables.
        f: From a value to a value.
        of: The operation that is read.
        number: Whether the value is held as a number, of which means can be taken.
    """

    f: Callable[[Any], Any]
    of: SOp
    number: bool = False

    @property
    def operands(self) -> tuple[SOp, ...]:
        """The operation that is read."""
        return (self.of,)

    @property
    def numerical(self) -> bool:
        """As declared."""
        return self.number


@dataclass(frozen=True, eq=False)
class SequenceMap(SOp):
    """f of the values of several operations at the same position, none of them held as a number.

    Args:
        name: Of its variables.
        f: From one value of each operation to a value.
        of: The operations that are read.
        number: Whether the value is held as a number, of which means can be taken.
    """

    f: Callable[..., Any]
    of: tuple[SOp, ...]
    number: bool = False

    @property
    def operands(self) -> tuple[SOp, ...]:
        """The operations that are read."""
        return tuple(dict.fromkeys(self.of))

    @property
    def numerical(self) -> bool:
        """As declared."""
        return self.number


@dataclass(frozen=True, eq=False)
class Select:
    """Which positions each position looks at: those whose key suits its query."""

    keys: SOp
    queries: SOp
    predicate: Callable[[Any, Any], bool]
    """Of a key and a query."""


@dataclass(frozen=True, eq=False)
class Aggregate(SOp):
    """What stands at the selected positions.

    Of operations held as numbers it is the mean over the selected positions. Of others it is the value at the first
    selected position: programs select one at most, and interventions that make them select more need an answer too.

    Args:
        name: Of its variables.
        selector: Where to look.
        values: What is read there.
        default: The value where nothing is selected.
    """

    selector: Select
    values: SOp
    default: Any = None

    @property
    def operands(self) -> tuple[SOp, ...]:
        """Keys, queries and values."""
        return tuple(dict.fromkeys((self.selector.keys, self.selector.queries, self.values)))

    @property
    def numerical(self) -> bool:
        """As what it reads."""
        return self.values.numerical


@dataclass(frozen=True, eq=False)
class SelectorWidth(SOp):
    """How many positions are selected."""

    selector: Select

    @property
    def operands(self) -> tuple[SOp, ...]:
        """Keys and queries."""
        return tuple(dict.fromkeys((self.selector.keys, self.selector.queries)))


@dataclass(frozen=True, eq=False)
class Program:
    """What is computed of sequences of one length over one alphabet.

    Args:
        name: What the algorithm and the network are called.
        alphabet: The symbols.
        length: Of every sequence.
        outputs: The operations and positions that make the answer, a tuple of their values where they are several.
        causal: Whether positions see only themselves and earlier ones.

    Raises:
        AlgorithmError: Two operations of one name, a position outside the sequence, a number where it cannot be read.
    """

    name: str
    alphabet: Sequence[Any]
    length: int
    outputs: tuple[tuple[SOp, int], ...]
    causal: bool = False
    operations: tuple[SOp, ...] = field(init=False)
    """All operations, each behind those that it reads."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "alphabet", tuple(self.alphabet))
        object.__setattr__(self, "operations", tuple(_ordered(op for op, _ in self.outputs)))
        _check(self)

    def reach(self, position: int) -> range:
        """The positions that `position` can look at."""
        return range(position + 1 if self.causal else self.length)


def _ordered(roots: Iterator[SOp]) -> list[SOp]:
    found: dict[SOp, None] = {}

    def visit(op: SOp) -> None:
        if op not in found:
            for operand in op.operands:
                visit(operand)
            found[op] = None

    for root in roots:
        visit(root)
    return list(found)


def _check(program: Program) -> None:
    where = f"program {program.name!r}"
    names = [op.name for op in program.operations]
    doubled = next((name for name in names if names.count(name) > 1), None)
    if doubled is not None:
        raise AlgorithmError(
            "two operations of a program have one name",
            where=where,
            got=f"{doubled!r} twice",
            expected="a name of its own for every operation",
            fix="use one object where the same operation is meant, another name where it is not",
        )
    if not program.outputs or any(not 0 <= p < program.length for _, p in program.outputs):
        raise AlgorithmError(
            "a program answers by operations at positions of its sequence",
            where=where,
            got=", ".join(f"{op.name} at {p}" for op, p in program.outputs) or "no outputs",
            expected=f"positions from 0 to {program.length - 1}, at least one",
        )
    if not any(isinstance(op, Tokens) for op in program.operations):
        raise AlgorithmError(
            "the answer of a program depends on its tokens",
            where=where,
            got=f"operations {', '.join(reversed(names))}",
            expected="at least one that reads Tokens()",
        )
    for op in program.operations:
        numbers = [o.name for o in _categorical_operands(op) if o.numerical]
        if numbers:
            raise AlgorithmError(
                "a value that is held as a number cannot be compared",
                where=f"{op.name} of {where}",
                got=f"{numbers[0]}, which is held as a number",
                expected="operations that are not",
                fix="turn it with Map(name, f, of) into one of several values first",
            )


def _categorical_operands(op: SOp) -> tuple[SOp, ...]:
    """What must not be held as a number, because it is looked up in a table."""
    if isinstance(op, Aggregate | SelectorWidth):
        return (op.selector.keys, op.selector.queries)
    return op.of if isinstance(op, SequenceMap) else ()

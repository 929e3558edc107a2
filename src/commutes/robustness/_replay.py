"""One pair, written down so that it can be run again: what was swapped into what, what was expected, what came."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

import numpy as np

from commutes.algorithm import Algorithm, Columns, Finite, Variable
from commutes.alignment import Alignment
from commutes.counterfactuals import Counterfactuals, Swap, given_pairs
from commutes.errors import DataError, similar
from commutes.evaluation import OTHER, bench
from commutes.robustness._rungs import moved
from commutes.robustness._shift import Shift

Pair = Mapping[str, Any]
_NO_VALUE = "(another answer)"


@dataclass(frozen=True)
class Replayed:
    """A pair that was run again."""

    swap: str
    """What is swapped."""
    base: Mapping[str, Any]
    """Inputs of the base, by name."""
    sources: Mapping[str, Mapping[str, Any]]
    """By swapped variable the inputs that it is taken from."""
    expected: Any
    """What the algorithm answers after the swap."""
    answered: Any
    """What the network answers after it; a text where that is no value of the algorithm's output."""
    hit: bool
    """Whether the two agree."""
    right: bool
    """Whether the network answers the base and every source as the algorithm does, when nothing is swapped."""

    def __str__(self) -> str:
        taken = "; ".join(f"{name} from {_row(inputs)}" for name, inputs in self.sources.items())
        clean = "" if self.right else "; the network is wrong on one of these inputs without any swap"
        return (
            f"{'agrees' if self.hit else 'counterexample'}: {_row(self.base)} with {taken}:"
            f" expected {self.expected!r}, answered {self.answered!r}{clean}"
        )


def replay(alignment: Alignment, pair: Pair, *, shift: Shift | None = None) -> Replayed:
    """Run one recorded pair again: a counterexample of E2, or the pair of a shift that E1 keeps.

    Args:
        alignment: The claim, fitted.
        pair: As the figures of a check have it, also after JSON: "base" with every input by name, "sources" with the
            inputs that each swapped variable is taken from, "one source" where several variables share theirs.
        shift: The shift under which the pair was found, for pairs of E1.

    Raises:
        DataError: The pair lacks something, or has inputs or values that the algorithm has not.
    """
    claim = alignment if shift is None else moved(shift, alignment)
    base, sources, swap = _read(claim.algorithm, pair)
    pairs = given_pairs(claim.algorithm, [swap], np.zeros(1, np.int64), base, sources)
    measured = bench(claim, pairs)
    answered = measured.answered(claim.featurizers)
    rows = plain_rows(claim.algorithm, pairs.inputs)
    taken = {v.name: rows[pairs.source[0, slot]] for slot, group in enumerate(swap.slots) for v in group}
    return Replayed(
        swap.label,
        rows[pairs.base[0]],
        taken,
        answer_values(claim.algorithm, pairs.expected)[0],
        answer_values(claim.algorithm, answered)[0],
        bool(measured.answers.match(answered, pairs.expected)[0]),
        bool(measured.right.all()),
    )


def pair_record(pairs: Counterfactuals, row: int, answered: np.ndarray, right: np.ndarray) -> dict[str, Any]:
    """A pair as plain values, as `replay` takes it.

    Args:
        pairs: The pairs.
        row: Which of them.
        answered: What the network answered to every pair, as an output column.
        right: Which of the pairs' inputs the network answers as the algorithm does.
    """
    algorithm, swap = pairs.algorithm, pairs.swaps[pairs.swap[row]]
    members = pairs.members[row]
    used = {name: column[members[members >= 0]] for name, column in pairs.inputs.items()}
    base, *sources = [
        {name: written(value) for name, value in found.items()} for found in plain_rows(algorithm, used)
    ]
    return {
        "swap": swap.label,
        "one source": swap.shared,
        "base": base,
        "sources": {v.name: sources[slot] for slot, group in enumerate(swap.slots) for v in group},
        "expected": written(answer_values(algorithm, pairs.expected[row : row + 1])[0]),
        "answered": written(answer_values(algorithm, answered[row : row + 1])[0]),
        "right without a swap": bool(right[members[members >= 0]].all()),
    }


def plain_rows(algorithm: Algorithm, columns: Mapping[str, np.ndarray]) -> list[dict[str, Any]]:
    """Inputs as plain values, one mapping for each."""
    values = {v.name: algorithm.values(v, columns[v.name]) for v in algorithm.input_variables}
    return [dict(zip(values, row, strict=True)) for row in zip(*values.values(), strict=True)]


def answer_values(algorithm: Algorithm, column: np.ndarray) -> list[Any]:
    """An output column as plain values; a text for what is no value of the output."""
    if not isinstance(algorithm.domain(algorithm.output_variable), Finite):
        return column.tolist()
    known = np.where(column == OTHER, 0, column)
    values = algorithm.values(algorithm.output_variable, known)
    return [_NO_VALUE if code == OTHER else value for code, value in zip(column, values, strict=True)]


def written(value: object) -> Any:
    """A value of a domain as JSON has it.

    >>> written((1, (True, None))), written(frozenset({2, 1})), written(b"a")
    ([1, [True, None]], [1, 2], "b'a'")
    """
    if isinstance(value, Enum):
        return value.name
    if isinstance(value, tuple | list):
        return [written(part) for part in value]
    if isinstance(value, frozenset):
        return sorted((written(part) for part in value), key=json.dumps)
    return repr(value) if isinstance(value, bytes) else value


def _row(inputs: Mapping[str, Any]) -> str:
    return "(" + ", ".join(f"{name}={value!r}" for name, value in inputs.items()) + ")"


def _read(algorithm: Algorithm, pair: Pair) -> tuple[Columns, list[Columns], Swap]:
    if not isinstance(pair, Mapping) or not {"base", "sources"} <= pair.keys() or not pair["sources"]:
        got = ", ".join(map(str, pair)) if isinstance(pair, Mapping) else f"{pair!r}"
        raise DataError(
            "this is no pair to replay",
            got=got or "nothing",
            expected='"base" and "sources", as the figures of E2 have them under "counterexample"',
            fix='pass report.outcomes["E2"].outcome.figures["counterexample"], or the same from report.json',
        )
    variables = [_variable(algorithm, name) for name in pair["sources"]]
    ordered = tuple(v for v in algorithm.variables if v in variables)
    swap = Swap(ordered, shared=bool(pair.get("one source")) and len(ordered) > 1)
    base = _inputs(algorithm, pair["base"], "the base")
    sources = [
        _inputs(algorithm, pair["sources"][group[0].name], f"the source of {group[0].name}")
        for group in swap.slots
    ]
    return base, sources, swap


def _variable(algorithm: Algorithm, name: str) -> Variable:
    known = [v.name for v in algorithm.variables]
    if name not in known:
        near = similar(name, known)
        raise DataError(
            "the pair swaps a variable that the algorithm has not",
            got=repr(name),
            expected=f"one of {', '.join(known)}",
            fix=f"write {near!r}" if near else "replay it with the claim that it was found for",
        )
    return algorithm[name]


def _inputs(algorithm: Algorithm, given: Mapping[str, Any], where: str) -> Columns:
    names = [v.name for v in algorithm.input_variables]
    if set(given) != set(names):
        raise DataError(
            "the pair's inputs are not the algorithm's",
            where=where,
            got=", ".join(given) or "nothing",
            expected=", ".join(names),
            fix="replay it with the claim that it was found for; a pair of E1 with its shift=",
        )
    return algorithm.columns({name: [_value(algorithm, name, given[name], where)] for name in names})


def _value(algorithm: Algorithm, name: str, given: Any, where: str) -> Any:
    """The value of the domain that was written down as `given`."""
    domain = algorithm.domain(name)
    if not isinstance(domain, Finite):
        return tuple(given) if isinstance(given, Sequence) else given
    asked = json.dumps(written(given), default=repr)
    found = next((value for value in domain.values if json.dumps(written(value)) == asked), None)
    if found is None and given not in domain:
        raise DataError(
            f"{name} has no such value",
            where=where,
            got=repr(given),
            expected=domain.describe(),
            fix="replay it with the claim that it was found for; a pair of E1 with its shift=",
        )
    return given if found is None else found

"""Inputs that a claim says nothing about: what was declared, looked at before anything is opened."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from commutes.algorithm import Algorithm
from commutes.alignment import Alignment
from commutes.counterfactuals import Counterfactuals, pairs_hash
from commutes.errors import DataError

Columns = Mapping[str, Sequence[Any] | np.ndarray]
Given = Counterfactuals | Columns | tuple[Alignment, Counterfactuals]

_WHERE = "off_task="
# Inputs that are run at most, each with every swapped set.
MOST = 2_000


@dataclass(frozen=True, eq=False)
class OffTask:
    """Inputs that the claim says nothing about, and what else is known of them."""

    values: Mapping[str, np.ndarray]
    """By name of the claim's inputs, as the network's `encode` takes them.  # shape of each: (n, ...)"""
    pairs: Counterfactuals | None = None
    """The pairs of another algorithm whose inputs they are."""
    claim: Alignment | None = None
    """A claim about these pairs: its edits must leave the inputs of the first one alone, too."""

    @property
    def n(self) -> int:
        """How many inputs there are."""
        return len(next(iter(self.values.values())))

    def content(self) -> dict[str, Any]:
        """What a claim's fingerprint has of them; of another claim, its pairs too."""
        digest = hashlib.sha256()
        for name in sorted(self.values):
            digest.update(repr((name, self.values[name].shape, self.values[name].tolist())).encode())
        own = None if self.claim is None or self.pairs is None else pairs_hash(self.pairs)
        return {"inputs": digest.hexdigest(), "claim": own}


def off_task_of(given: Given | None, alignment: Alignment) -> OffTask | None:
    """What was declared, if it is what it should be.

    Args:
        given: Pairs of another algorithm, columns of values by input, or another claim with its pairs.
        alignment: The claim that says nothing about them.

    Raises:
        DataError: Nothing of these, inputs of another kind than the claim's, or inputs that the claim is about.
        AlignmentError: The other claim is not fitted, or not about these pairs.
    """
    if given is None:
        return None
    claim, source = given if isinstance(given, tuple) and len(given) == 2 else (None, given)
    if not isinstance(source, Counterfactuals) and (claim is not None or not isinstance(source, Mapping)):
        raise DataError(
            "off_task= is inputs that the claim says nothing about",
            got=type(given).__name__,
            expected="Counterfactuals of another algorithm, a mapping from inputs to values, or (claim, its pairs)",
            fix="off_task=counterfactuals(other, 500, seed=1), say",
        )
    found = replace(off_task_inputs(source, alignment.algorithm), claim=claim)
    if claim is not None:
        _check_claim(claim, found, alignment)
    return found


def off_task_inputs(source: Counterfactuals | Columns, algorithm: Algorithm) -> OffTask:
    """Inputs that an algorithm says nothing about, if they are of the kind of its own.

    Args:
        source: Pairs of another algorithm, or columns of values by input.
        algorithm: Whose network reads them.

    Raises:
        DataError: Inputs of another kind, or in the algorithm's domain.
    """
    if isinstance(source, Counterfactuals):
        found = OffTask(source.algorithm.arrays(source.inputs), source)
        _check_columns(found.values, algorithm)
    else:
        found = OffTask({str(name): _array(column) for name, column in source.items()})
        _check_columns(found.values, algorithm)
        found = replace(found, values=_distinct(found.values))
    _check_outside(found, algorithm, algorithm.name)
    return found


def _distinct(values: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Each input once: an input that is listed twice is no second one."""
    rows = list(zip(*(column.tolist() for column in values.values()), strict=True))
    first = list({repr(row): i for i, row in reversed(list(enumerate(rows)))}.values())
    kept = np.sort(np.array(first))
    return {name: column[kept] for name, column in values.items()}


def check_apart(found: OffTask | None, test: Counterfactuals) -> None:
    """Refuse test inputs that the other claim is about, where there is one.

    Raises:
        DataError: Its edits would be expected to change their answers.
    """
    if found is not None and found.claim is not None:
        own = OffTask(test.algorithm.arrays(test.inputs))
        _check_outside(own, found.claim.algorithm, found.claim.algorithm.name)


def _check_columns(values: Mapping[str, np.ndarray], algorithm: Algorithm) -> None:
    names = [variable.name for variable in algorithm.input_variables]
    if set(values) != set(names):
        raise DataError(
            "off-task inputs are encoded together with the claim's own",
            where=_WHERE,
            got=f"columns {', '.join(sorted(values)) or 'of nothing'}",
            expected=f"columns {', '.join(names)}",
            fix="give every input of the claim's algorithm a column of other values",
        )
    lengths = {name: len(column) if column.ndim else 0 for name, column in values.items()}
    if len(set(lengths.values())) > 1 or not min(lengths.values()):
        raise DataError(
            "off-task inputs have a value in every column",
            where=_WHERE,
            got=", ".join(f"{name}: {length:,}" for name, length in lengths.items()),
            expected="columns of one length, at least 1",
        )

    rng = np.random.default_rng(0)
    for variable in algorithm.input_variables:
        domain, column = algorithm.domain(variable), values[variable.name]
        own = domain.array(domain.sample(rng, 1))
        if (own.dtype.kind, own.shape[1:]) != (column.dtype.kind, column.shape[1:]):
            # Joined with the claim's own, one of the two would become another type than its encoder knows.
            raise DataError(
                "off-task values are of another kind than the claim's",
                where=f"{_WHERE}, {variable.name}",
                got=f"{column.dtype} of shape {('n', *column.shape[1:])}",
                expected=f"{own.dtype} of shape {('n', *own.shape[1:])}",
                fix="give values of the same type and width",
            )


def _array(column: Sequence[Any] | np.ndarray) -> np.ndarray:
    """Values as an algorithm gives them: texts and what is of no one shape as objects."""
    try:
        found = np.asarray(column)
    except ValueError:
        found = np.empty(len(column), dtype=object)
        found[:] = list(column)
    return found.astype(object) if found.dtype.kind in "US" else found


def _check_outside(found: OffTask, algorithm: Algorithm, name: str) -> None:
    inside = np.ones(found.n, bool)
    for variable in algorithm.input_variables:
        domain, column = algorithm.domain(variable), found.values[variable.name]
        inside &= [domain.attempt(column[[row]])[1] is None for row in range(found.n)]
    if inside.any():
        raise DataError(
            f"{name} says something about these inputs",
            where=_WHERE,
            got=f"{int(inside.sum()):,} of {found.n:,} inputs are in its domain",
            expected="inputs that lie outside, where an edit is to change nothing",
            fix="leave them out: on its own inputs a claim is measured by its pairs",
        )


def _check_claim(claim: object, found: OffTask, alignment: Alignment) -> None:
    assert found.pairs is not None
    if not isinstance(claim, Alignment) or claim.network.fingerprint != alignment.network.fingerprint:
        raise DataError(
            "two claims that are to leave each other alone are about one network",
            where=_WHERE,
            got=f"a claim about {claim.network.name}"
            if isinstance(claim, Alignment)
            else type(claim).__name__,
            expected=f"a fitted alignment about {alignment.network.name}",
        )
    claim.featurizers  # noqa: B018 - refuses an unfitted one
    claim.masks(found.pairs)

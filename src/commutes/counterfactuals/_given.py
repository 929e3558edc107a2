"""Pairs whose inputs are given, not drawn."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NoReturn

import numpy as np

from commutes.algorithm import Algorithm, Columns, Space
from commutes.counterfactuals._design import Design, Distribution
from commutes.counterfactuals._natural import strata_offsets
from commutes.counterfactuals._strata import label_strata
from commutes.counterfactuals._swap import Swap
from commutes.counterfactuals._value import Counterfactuals

__all__ = ["given_pairs"]


def given_pairs(
    algorithm: Algorithm,
    swaps: Sequence[Swap],
    swap: np.ndarray,
    base: Columns,
    sources: Sequence[Columns],
) -> Counterfactuals:
    """The pairs of these inputs, labelled; nothing is known of how they are distributed.

    Args:
        algorithm: Under which they are labelled.
        swaps: The swap sets.
        swap: The swap set of each pair.  # shape: (n,)
        base: Columns of the bases.
        sources: Columns of the sources, one slot after the other; those of a slot that a pair's set does not have are
            passed over.
    """
    n, slots = len(swap), max(len(one.slots) for one in swaps)
    needed = np.array([len(one.slots) for one in swaps])[swap]
    there = [np.arange(n), *(np.flatnonzero(needed > slot) for slot in range(slots))]
    roles = [base, *sources[:slots]]
    names = [v.name for v in algorithm.input_variables]
    every = {
        name: np.concatenate([role[name][rows] for role, rows in zip(roles, there, strict=True)])
        for name in names
    }
    ids, first, place = np.unique(algorithm.input_ids(every), return_index=True, return_inverse=True)
    index = np.full((n, 1 + slots), -1, np.int64)
    bounds = np.cumsum([0, *(len(rows) for rows in there)])
    for role, rows in enumerate(there):
        index[rows, role] = place.reshape(-1)[bounds[role] : bounds[role + 1]]
    inputs = {name: column[first] for name, column in every.items()}
    expected, stratum, strata = _labelled(algorithm, swaps, swap, inputs, index)
    design = Design(
        n=n, swaps=tuple((tuple(v.name for v in one.variables), one.shared) for one in swaps),
        flip=None, hold=None, distribution=Distribution("pairs as they were given", _not_drawn),
        reuse=True, seed=0, partition=0,
    )  # fmt: skip
    times = np.bincount(index[index >= 0])
    return Counterfactuals(
        algorithm=algorithm,
        design=design,
        part=None,
        inputs=inputs,
        ids=ids,
        base=index[:, 0],
        source=index[:, 1:],
        swap=np.asarray(swap, np.int64),
        swaps=tuple(swaps),
        expected=expected,
        stratum=stratum,
        strata=strata,
        moved=np.zeros(n, dtype=bool),
        complete=False,
        weights={},
        weight_draws=0,
        reused=bool((times > 1).any()),
    )


def _labelled(
    algorithm: Algorithm, swaps: Sequence[Swap], swap: np.ndarray, inputs: Columns, index: np.ndarray
) -> tuple[np.ndarray, np.ndarray, tuple[str, ...]]:
    columns = algorithm.run(inputs)
    output = algorithm.output_variable
    answers = columns[output.name]
    real = isinstance(algorithm.domain(output), Space)
    strata, offsets = strata_offsets(algorithm, swaps)
    expected, stratum = answers[index[:, 0]].copy(), np.zeros(len(index), np.int64)
    for number, one in enumerate(swaps):
        rows = np.flatnonzero(swap == number)
        own = index[rows, 1 : 1 + len(one.slots)]
        do = {v: columns[v.name][own[:, slot]] for slot, group in enumerate(one.slots) for v in group}
        bases = {v.name: inputs[v.name][index[rows, 0]] for v in algorithm.input_variables}
        if not len(rows):
            continue
        expected[rows] = algorithm.run(bases, do)[output.name]
        if not real:
            found = label_strata(expected[rows], answers[index[rows, 0]], answers[own])
            stratum[rows] = found + offsets[number]
    return expected, stratum, strata


def _not_drawn(rng: np.random.Generator, n: int) -> NoReturn:
    raise AssertionError("pairs that were given are not drawn again")

"""The very pairs that are there, as interventions on another algorithm."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from commutes.algorithm import Algorithm
from commutes.counterfactuals._natural import strata_offsets
from commutes.counterfactuals._strata import label_strata
from commutes.counterfactuals._value import Counterfactuals

__all__ = ["same_pairs"]


def same_pairs(
    pairs: Counterfactuals, other: Algorithm, *, names: Mapping[str, str] | None = None
) -> tuple[Counterfactuals, np.ndarray]:
    """These bases and sources under another algorithm: what is swapped and what is expected are its own.

    `for_algorithm` draws pairs as the other algorithm would have them drawn; these are the ones that are there, so
    that two claims can be compared pair by pair.

    Args:
        pairs: Under one algorithm.
        other: With the same inputs.
        names: Which of its variables stands for each swapped one; pairs that swap one without are left out.

    Returns:
        The pairs under the other algorithm, with the weights that its distribution gives the strata; and which of the
        given pairs they are.

    Raises:
        DataError: When the inputs differ, the other algorithm lacks a swapped variable, or nothing is left.
    """
    drawn = pairs.for_algorithm(other, names=names)
    called = {v.name: v.name for v in pairs.variables} if names is None else names
    kept = [i for i, swap in enumerate(pairs.swaps) if all(v.name in called for v in swap.variables)]
    rows = np.flatnonzero(np.isin(pairs.swap, kept))
    own = pairs if len(kept) == len(pairs.swaps) else pairs.subset(rows)
    swap = np.searchsorted(kept, own.swap)
    clean = other.run(own.inputs)
    answer = clean[other.output_variable.name]
    expected = answer[own.base]
    stratum = np.zeros(len(own), np.int64)
    strata, offsets = strata_offsets(other, drawn.swaps)
    for index, (one, offset) in enumerate(zip(drawn.swaps, offsets, strict=True)):
        here = np.flatnonzero(swap == index)
        base, source = own.base[here], own.source[here, : len(one.slots)]
        do = {v: clean[v.name][source[:, k]] for k, members in enumerate(one.slots) for v in members}
        inputs = {v.name: own.inputs[v.name][base] for v in other.input_variables}
        expected[here] = other.run(inputs, do)[other.output_variable.name]
        if expected.dtype.kind != "f":
            stratum[here] = label_strata(expected[here], answer[base], answer[source]) + offset
    moved = replace(
        drawn,
        part=own.part,
        inputs=own.inputs,
        ids=own.ids,
        base=own.base,
        source=own.source[:, : max(len(one.slots) for one in drawn.swaps)],
        swap=swap,
        expected=expected,
        stratum=stratum,
        strata=strata,
        moved=own.moved,
        complete=own.complete,
        reused=own.reused,
        _picked=True,
    )
    return moved, rows

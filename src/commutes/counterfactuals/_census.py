"""The census: every pair of a domain, labelled."""

from __future__ import annotations

import numpy as np

from commutes.algorithm import Algorithm
from commutes.counterfactuals._candidates import Candidates, candidates
from commutes.counterfactuals._design import Design
from commutes.counterfactuals._draw import Drawn, idle
from commutes.counterfactuals._natural import natural_of, strata_offsets
from commutes.counterfactuals._pool import ENUMERABLE, Pool, pool_of_all
from commutes.counterfactuals._swap import Swap, swap_sets
from commutes.counterfactuals._value import Counterfactuals, assembled
from commutes.counterfactuals._verbs import SwapSets
from commutes.errors import DataError

__all__ = ["LARGEST_CENSUS", "census"]

LARGEST_CENSUS = 1_000_000
"""Pairs per swap set."""


def census(algorithm: Algorithm, *, swap: SwapSets = None) -> Counterfactuals:
    """All pairs of base and source(s) for every swap set: no sampling, so that a share over them is exact.

    Args:
        algorithm: The hypothesis, over a domain that can be listed.
        swap: The swap sets, as in `counterfactuals`.

    Returns:
        The labelled pairs, `complete`, with the weights of the distribution "values".

    Raises:
        DataError: For an infinite domain, and for a swap set of over a million pairs or that tests nothing.
    """
    algorithm.check()
    sets = swap_sets(algorithm, swap)
    count = algorithm.input_count
    for one in sets:
        _refuse_large(algorithm, one, count)
    pool = pool_of_all(algorithm, by_value=True)
    rng = np.random.default_rng(0)  # never used: the tables are complete
    options = [candidates(pool, one, rng, table=LARGEST_CENSUS) for one in sets]
    for option in options:
        trouble = idle(algorithm, pool, option)
        if trouble is not None:
            raise trouble
    design = Design(
        n=sum(len(pool) ** (1 + len(one.slots)) for one in sets),
        swaps=tuple((tuple(v.name for v in one.variables), one.shared) for one in sets),
        flip=None,
        hold=None,
        distribution="values",
        reuse=True,
        seed=0,
        partition=0,
        complete=True,
    )
    return assembled(algorithm, design, _all_pairs(algorithm, design, pool, options), None)


def _refuse_large(algorithm: Algorithm, one: Swap, count: int | None) -> None:
    where = f"algorithm {algorithm.name!r}, swapping {one.label}"
    fix = "sample instead: counterfactuals(algorithm, n, seed=...); or declare a smaller domain"
    if count is None:
        raise DataError(
            "a census needs a domain that can be listed",
            where=where,
            got="infinitely many inputs",
            expected=f"at most {LARGEST_CENSUS:,} pairs",
            fix=fix,
        )
    slots = len(one.slots)
    pairs = count ** (1 + slots)
    if pairs > LARGEST_CENSUS or count > ENUMERABLE:
        sizes = " x ".join([f"{count:,} bases", *[f"{count:,} sources"] * slots])
        raise DataError(
            "the census is too large",
            where=where,
            got=f"{sizes} = {pairs:,} pairs",
            expected=f"at most {LARGEST_CENSUS:,} pairs per swap set",
            fix=fix,
        )


def _all_pairs(algorithm: Algorithm, design: Design, pool: Pool, options: list[Candidates]) -> Drawn:
    strata, offsets = strata_offsets(algorithm, [o.swap for o in options])
    slots = max(len(o.source_kinds) for o in options)
    bases, sources, swaps, expected, stratum = [], [], [], [], []
    for index, (option, offset) in enumerate(zip(options, offsets, strict=True)):
        roles = (option.base_kinds, *option.source_kinds)
        rows = np.indices([len(pool)] * len(roles)).reshape(len(roles), -1)
        # The table of kinds is complete and in order: a pair's place in it is its kinds' mixed radix number.
        atom = np.zeros(rows.shape[1], dtype=np.int64)
        for kinds, row in zip(roles, rows, strict=True):
            atom = atom * len(kinds.first) + kinds.code[row]
        bases.append(rows[0])
        padded = np.full((rows.shape[1], slots), -1, dtype=np.int64)
        padded[:, : len(roles) - 1] = rows[1:].T
        sources.append(padded)
        swaps.append(np.full(rows.shape[1], index, dtype=np.int64))
        expected.append(option.expected[atom])
        stratum.append(option.stratum[atom] + offset)
    n = sum(len(b) for b in bases)
    return Drawn(
        inputs={v.name: pool.columns[v.name] for v in algorithm.input_variables},
        ids=pool.ids,
        base=np.concatenate(bases),
        source=np.concatenate(sources),
        swap=np.concatenate(swaps),
        expected=np.concatenate(expected),
        stratum=np.concatenate(stratum),
        strata=strata,
        moved=np.zeros(n, dtype=bool),
        natural=natural_of(algorithm, design, pool, options),
        reused=True,
    )

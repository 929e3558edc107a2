"""The pairs that can be drawn, by kind of input: expected answer, stratum and probability."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from commutes.algorithm import Algorithm, Finite, Space, Variable
from commutes.counterfactuals._codes import Gathered, first_rows, joint_codes
from commutes.counterfactuals._pool import Pool
from commutes.counterfactuals._strata import label_strata
from commutes.counterfactuals._swap import Swap

__all__ = ["Candidates", "Kinds", "answer_column", "candidates", "cells_of", "frontier", "respond"]

TABLE = 2**18
"""The largest table of kinds of pairs that is listed in full; beyond it a sample of pairs stands in."""
_UNLIMITED = 2**40


@dataclass(frozen=True, eq=False)
class Kinds:
    """A partition of a pool's inputs into kinds that a role (base, or a source slot) cannot tell apart."""

    code: np.ndarray
    """The kind of each input.  # shape: (P,)"""
    weights: np.ndarray
    """The probability of each input.  # shape: (P,)"""

    @cached_property
    def first(self) -> np.ndarray:
        """One input of each kind."""
        return first_rows(self.code)

    @cached_property
    def gathered(self) -> Gathered:
        """The inputs gathered by kind."""
        return Gathered(self.code, self.weights, len(self.first))

    @cached_property
    def mass(self) -> np.ndarray:
        """The probability of each kind."""
        return np.bincount(self.code, weights=self.weights)


@dataclass(frozen=True, eq=False)
class Candidates:
    """Kinds of pairs for one swap set: A rows, each a kind of base with a kind of source per slot."""

    swap: Swap
    base_kinds: Kinds
    source_kinds: tuple[Kinds, ...]
    base: np.ndarray
    """# shape: (A,)"""
    source: np.ndarray
    """# shape: (A, S)"""
    mass: np.ndarray
    """The probability of each.  # shape: (A,)"""
    expected: np.ndarray
    """The expected answer.  # shape: (A,), or (A, width) where it is a vector"""
    stratum: np.ndarray
    """# shape: (A,)"""
    cell: np.ndarray
    """What is balanced within `outer`.  # shape: (A,)"""
    outer_of: np.ndarray
    """The outer class (stratum or transition) of each cell.  # shape: (C,)"""
    changes: bool
    """Whether the expected answer ever differs from the base's."""
    draws: int
    """0 where the table is complete, else how many pairs were drawn for it."""
    moved: np.ndarray
    """# shape: (A,)"""

    @cached_property
    def caps(self) -> np.ndarray:
        """How many pairs a cell should give: a sampled cell no more than the pairs that were seen of it."""
        seen = np.bincount(self.cell, minlength=len(self.outer_of))
        return seen if self.draws else np.where(seen > 0, _UNLIMITED, 0)

    @cached_property
    def by_cell(self) -> Gathered:
        """The kinds of pairs gathered by cell."""
        return Gathered(self.cell, self.mass, len(self.outer_of))

    @cached_property
    def by_outer(self) -> Gathered:
        """The kinds of pairs gathered by outer class."""
        outer = self.outer_of[self.cell]
        return Gathered(outer, self.mass, int(self.outer_of.max()) + 1)


def frontier(algorithm: Algorithm, swap: Swap) -> tuple[Variable, ...]:
    """What the answer depends on besides the swapped variables: the parents that enter their cone."""
    swapped = set(swap.variables)
    cone = {d for v in swap.variables for d in algorithm.descendants(v)} - swapped
    entering = {p for v in cone for p in algorithm.parents(v)} - cone - swapped
    return tuple(v for v in algorithm.variables if v in entering)


def answer_column(algorithm: Algorithm, columns: dict[str, np.ndarray]) -> np.ndarray:
    """The output's column."""
    return columns[algorithm.output_variable.name]


def respond(pool: Pool, swap: Swap, base: np.ndarray, source: np.ndarray) -> np.ndarray:
    """The algorithm's answer for inputs `base` of the pool with the swapped variables as in `source`.

    Args:
        pool: The inputs.
        swap: What is swapped.
        base: Rows of the pool.  # shape: (A,)
        source: Rows of the pool per slot.  # shape: (A, S)
    """
    algorithm = pool.algorithm
    # Of many variables most lie beside what is swapped: they are known.
    known = {v.name: pool.columns[v.name][base] for v in frontier(algorithm, swap)}
    do = {
        variable: pool.columns[variable.name][source[:, slot]]
        for slot, variables in enumerate(swap.slots)
        for variable in variables
    }
    return algorithm.answers_under(known, do)


def _kinds(pool: Pool, variables: tuple[Variable, ...]) -> Kinds:
    algorithm = pool.algorithm
    if any(isinstance(algorithm.domain(v), Space) for v in variables):
        # Real values hardly recur: every input is a kind of its own.
        return Kinds(np.arange(len(pool)), pool.weights)
    return Kinds(joint_codes([pool.columns[v.name] for v in variables], len(pool)), pool.weights)


def cells_of(stratum: np.ndarray, expected: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Cells stratum x expected answer, and the stratum of each cell; a real answer makes no cells."""
    if expected.dtype.kind == "f":
        return np.zeros(len(stratum), dtype=np.int64), np.zeros(1, dtype=np.int64)
    cell = joint_codes([stratum, expected], len(stratum))
    return cell, stratum[first_rows(cell)]


def candidates(
    pool: Pool, swap: Swap, rng: np.random.Generator, *, table: int = TABLE, wanted: int = 0
) -> Candidates:
    """The kinds of pairs of one swap set: all of them where their table is small, a sample otherwise.

    Args:
        pool: The inputs.
        swap: What is swapped.
        rng: For the sample.
        table: The largest table to list.
        wanted: How many pairs will be drawn, so that a sample is larger than that.
    """
    algorithm = pool.algorithm
    output = (
        (algorithm.output_variable,)
        if isinstance(algorithm.domain(algorithm.output_variable), Finite)
        else ()
    )
    base_kinds = _kinds(pool, frontier(algorithm, swap) + output)
    source_kinds = tuple(_kinds(pool, variables + output) for variables in swap.slots)
    sizes = [len(kinds.first) for kinds in (base_kinds, *source_kinds)]
    size = float(np.prod([float(s) for s in sizes]))
    if size <= table:
        grid = np.indices(sizes).reshape(len(sizes), -1)
        mass = np.ones(grid.shape[1])
        for kinds, code in zip((base_kinds, *source_kinds), grid, strict=True):
            mass *= kinds.mass[code]
        draws = 0
    else:
        draws = int(np.clip(4 * wanted, TABLE, 4 * TABLE))
        everyone = np.zeros(draws, dtype=np.int64)
        rows = Gathered(np.zeros(len(pool), dtype=np.int64), pool.weights, 1)
        grid = np.stack([kinds.code[rows.pick(rng, everyone)] for kinds in (base_kinds, *source_kinds)])
        mass = np.full(draws, 1.0 / draws)
    return complete_candidates(pool, swap, (base_kinds, *source_kinds), grid, mass, draws)


def complete_candidates(
    pool: Pool, swap: Swap, kinds: tuple[Kinds, ...], grid: np.ndarray, mass: np.ndarray, draws: int
) -> Candidates:
    """The candidates with these kinds (row 0 of `grid`: bases, then one row per slot), labelled."""
    base_row = kinds[0].first[grid[0]]
    source_rows = np.stack([k.first[code] for k, code in zip(kinds[1:], grid[1:], strict=True)], axis=1)
    expected = respond(pool, swap, base_row, source_rows)
    answer = answer_column(pool.algorithm, pool.columns)
    if expected.dtype.kind == "f":
        stratum = np.zeros(len(mass), dtype=np.int64)
        changes = bool((expected != answer[base_row]).any())
    else:
        stratum = label_strata(expected, answer[base_row], answer[source_rows])
        changes = bool((expected != answer[base_row]).any())
    cell, outer_of = cells_of(stratum, expected)
    return Candidates(
        swap,
        kinds[0],
        kinds[1:],
        grid[0],
        np.ascontiguousarray(grid[1:].T),
        mass,
        expected,
        stratum,
        cell,
        outer_of,
        changes,
        draws,
        np.zeros(len(mass), dtype=bool),
    )

"""Natural inputs that have by themselves what an interchange gives the base: the ones nearest to the base."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, product

import numpy as np

from commutes.algorithm import Algorithm, Columns, Space, Variable
from commutes.counterfactuals._candidates import frontier
from commutes.counterfactuals._codes import Gathered, first_rows, joint_codes
from commutes.counterfactuals._design import Distribution, check_seed
from commutes.counterfactuals._pool import Pool, Reservoir, inside
from commutes.counterfactuals._swap import Swap
from commutes.counterfactuals._value import Counterfactuals

__all__ = ["Nearest", "nearest_inputs"]

_MOST_SETS, _MOST_MIXED = 256, 32
"""Sets of moved inputs that are tried, in a listed domain and in others; then all that may move at once."""
_TRIES, _LAST_TRIES = 4, 32
"""Inputs from which values are taken, for each set and for the last one."""


@dataclass(frozen=True, eq=False)
class Nearest:
    """Inputs without intervention, for pairs."""

    inputs: Columns
    """The distinct inputs that were found (input variables only).  # shape: (m,) or (m, width) each"""
    ids: np.ndarray
    """Their ids.  # shape: (m,) uint64"""
    row: np.ndarray
    """Which of them each asked pair has; -1 where there is none.  # shape: (rows,)"""
    moved: np.ndarray
    """In how many input variables it differs from the pair's base; -1 where there is none.  # shape: (rows,)"""


def nearest_inputs(
    pairs: Counterfactuals, rows: np.ndarray, *, seed: int, avoid: np.ndarray | None = None
) -> Nearest:
    """For each pair an input with the swapped variables as in the sources and what does not descend from them as in the
    base, as many inputs equal to the base's as possible.

    Everything that enters the descendants of what is swapped from elsewhere stays, so that the answer is the expected
    one. Inner variables above what is swapped, and inputs that are no ancestors of it, stay unless nothing else can be
    found. Among inputs that are equally near one is drawn by its probability.

    A domain that is listed is searched once for each set of inputs that may move, the smallest sets first, so that the
    cost grows with the domain and not with domain times pairs; of a distribution of the user's own so are the inputs
    that were drawn from it. Where that gives none, values are taken from other inputs, as for controlled pairs.

    Args:
        pairs: Whose distribution this is about. Inputs of their own part of a split are taken first.
        rows: Which pairs.
        seed: Of the choice.
        avoid: Ids of inputs that are never taken, such as those that a fit has seen.
    """
    rng = np.random.default_rng([check_seed(seed, "nearest_inputs, seed"), 19])
    unwanted = np.zeros(0, np.uint64) if avoid is None else avoid
    whole = (pairs._reservoir or Reservoir(pairs.algorithm, pairs.design)).pool()
    whole = whole.restrict(~np.isin(whole.ids, unwanted))
    own = whole.restrict(inside(whole.ids, pairs.design))
    found: list[Columns] = []
    place, moved = (np.full(len(rows), -1, dtype=np.int64) for _ in range(2))
    for index, swap in enumerate(pairs.swaps):
        mine = np.flatnonzero(pairs.swap[rows] == index)
        if not len(mine):
            continue
        asked, which = _asked(pairs, rows[mine], swap)
        if own.complete or isinstance(pairs.design.distribution, Distribution):
            for pool in [own] if pairs.part is None else [own, whole]:
                _search(asked, pool, rng)
        if not own.complete:
            _put_together(asked, own, pairs.design.distribution, unwanted, rng)
        there = np.flatnonzero(asked.done)
        number = np.full(len(asked.done), -1, dtype=np.int64)
        number[there] = sum(map(_count, found)) + np.arange(len(there))
        place[mine], moved[mine] = number[which], asked.moved[which]
        found.append({name: column[there] for name, column in asked.found.items()})
    return _distinct(pairs, found, place, moved)


@dataclass(frozen=True, eq=False)
class _Asked:
    """Distinct pairs of a base and values of what is swapped, and what is found for them."""

    algorithm: Algorithm
    base: Columns
    """Inputs of the bases."""
    wanted: Columns
    """All variables under the interchange."""
    sources: Mapping[Variable, Columns]
    """Per swapped variable the inputs that supply it."""
    free: tuple[Variable, ...]
    """Inputs above what is swapped, which may move."""
    others: tuple[Variable, ...]
    """Further inputs that may, where there is no other way."""
    must: tuple[Variable, ...]
    """Variables with mechanisms that are to be as under the interchange."""
    above: tuple[Variable, ...]
    """Inner variables that are to be so, too, where there is such an input."""
    found: Columns
    done: np.ndarray

    @property
    def left(self) -> np.ndarray:
        """For what nothing is found yet."""
        return np.flatnonzero(~self.done)

    @property
    def tiers(self) -> list[tuple[Variable, ...]]:
        """What has to be as wanted beside the inputs, the strictest first."""
        return [(*self.must, *self.above), self.must] if self.above else [self.must]

    @property
    def moved(self) -> np.ndarray:
        """Inputs that differ from the base's, -1 where nothing is found."""
        apart = [(self.found[n] != c).reshape(len(c), -1).any(axis=1) for n, c in self.base.items()]
        return np.where(self.done, np.sum(apart, axis=0), -1)

    def settle(self, rows: np.ndarray, inputs: Columns) -> None:
        """These are found."""
        for name, column in self.found.items():
            column[rows] = inputs[name]
        self.done[rows] = True


def _asked(pairs: Counterfactuals, rows: np.ndarray, swap: Swap) -> tuple[_Asked, np.ndarray]:
    """What the pairs ask for, each once, and which of it each pair asks for."""
    algorithm, swapped = pairs.algorithm, set(swap.variables)
    values = {v: pairs.source_value(v)[rows] for v in swap.variables}
    which = joint_codes([pairs.base[rows], *values.values()], len(rows))
    once = rows[first_rows(which)]

    def inputs(of: np.ndarray) -> Columns:
        return {name: column[of] for name, column in pairs.inputs.items()}

    base = inputs(pairs.base[once])
    above = {a for v in swapped for a in algorithm.ancestors(v)} - swapped
    below = {d for v in swapped for d in algorithm.descendants(v)} - swapped
    enters = set(frontier(algorithm, swap))
    inner = [v for v in algorithm.inner_variables if v not in swapped]
    must = [v for v in inner if v in enters or (v not in above and v not in below)]
    asked = _Asked(
        algorithm,
        base,
        algorithm.run(base, {v: pairs.source_value(v)[once] for v in swap.variables}),
        {v: inputs(pairs.source_of(v)[once]) for v in swap.variables},
        tuple(v for v in algorithm.input_variables if v in above - enters),
        tuple(v for v in algorithm.input_variables if v not in above | enters | swapped),
        (*(v for v in swap.variables if v.kind == "inner"), *must),
        tuple(v for v in inner if v in above and v not in below and v not in must),
        {name: column.copy() for name, column in base.items()},
        np.zeros(len(once), dtype=bool),
    )
    return asked, which


def _search(asked: _Asked, pool: Pool, rng: np.random.Generator) -> None:
    """Looks among the inputs of the pool."""
    algorithm = asked.algorithm
    if not len(pool) or any(isinstance(algorithm.domain(v), Space) for v in algorithm.input_variables):
        return
    movable = [asked.free, (*asked.free, *asked.others)]
    for held, may_move in product(asked.tiers, movable if asked.others else movable[:1]):
        for sets in _by_size(may_move, _MOST_SETS):
            left = asked.left
            if not len(left):
                return
            chosen, met = np.full(len(left), -1, dtype=np.int64), np.zeros(len(left), dtype=np.int64)
            for replaced in sets:
                kept = [v for v in algorithm.input_variables if v not in replaced]
                row = _matching(asked, pool, left, [*kept, *held], rng)
                # Of the sets of one size that will do, one at random: no input is moved rather than another.
                met += row >= 0
                take = (row >= 0) & (rng.random(len(left)) * met < 1)
                chosen[take] = row[take]
            good = chosen >= 0
            asked.settle(left[good], {name: pool.columns[name][chosen[good]] for name in asked.found})


def _by_size(free: Sequence[Variable], most: int) -> Iterator[list[tuple[Variable, ...]]]:
    """Sets of the inputs by how many they are, as long as they are few, and all inputs at the end."""
    count = 0
    for size in range(1, len(free)):
        sets = list(combinations(free, size))
        count += len(sets)
        if count > most:
            break
        yield sets
    yield [tuple(free)]


def _matching(
    asked: _Asked, pool: Pool, rows: np.ndarray, variables: Sequence[Variable], rng: np.random.Generator
) -> np.ndarray:
    """A row of the pool in which all these variables are as wanted; -1 where there is none."""
    code = joint_codes(
        [np.concatenate([pool.columns[v.name], asked.wanted[v.name][rows]]) for v in variables],
        len(pool) + len(rows),
    )
    gathered, wanted = Gathered(code[: len(pool)], pool.weights, int(code.max()) + 1), code[len(pool) :]
    found = np.full(len(rows), -1, dtype=np.int64)
    there = np.flatnonzero(gathered.mass[wanted] > 0)
    found[there] = gathered.pick(rng, wanted[there])
    return found


def _put_together(
    asked: _Asked,
    pool: Pool,
    distribution: str | Distribution,
    avoid: np.ndarray,
    rng: np.random.Generator,
) -> None:
    """Bases with inputs from the pair's own sources, or from drawn inputs in which the swapped variable is the same."""
    donors = [_Donors(asked, pool, variable) for variable in asked.sources]
    for held in asked.tiers:
        for replaced in _mixtures(asked, distribution):
            for attempt in range(_LAST_TRIES if replaced == asked.free else _TRIES):
                left = asked.left
                if not len(left):
                    return
                inputs = {name: asked.wanted[name][left] for name in asked.base}
                for donor in donors:
                    donor.give(inputs, replaced, left, rng if attempt else None)
                good = _as_wanted(asked, inputs, left, held)
                good &= ~np.isin(asked.algorithm.input_ids(inputs), avoid)
                asked.settle(left[good], {name: column[good] for name, column in inputs.items()})


def _mixtures(asked: _Asked, distribution: str | Distribution) -> list[tuple[Variable, ...]]:
    """Sets of inputs to replace.

    Inputs that may hang together, by a distribution of the user's own, are taken together from one input.
    """
    if not isinstance(distribution, Distribution):
        return [one for sets in _by_size(asked.free, _MOST_MIXED) for one in sets]
    holding = {a for v in asked.must if v not in asked.sources for a in asked.algorithm.ancestors(v)}
    alone = tuple(v for v in asked.free if v not in holding)
    return list(dict.fromkeys([alone, asked.free] if alone else [asked.free]))


class _Donors:
    """Inputs that supply one swapped variable: the pair's own source, or any of the pool with the same value."""

    def __init__(self, asked: _Asked, pool: Pool, variable: Variable) -> None:
        self.pool, self.source = pool, asked.sources[variable]
        self.above = {variable, *asked.algorithm.ancestors(variable)}
        both = np.concatenate([pool.columns[variable.name], asked.wanted[variable.name]])
        code = joint_codes([both], len(both))
        self.gathered = Gathered(code[: len(pool)], pool.weights, int(code.max(initial=0)) + 1)
        self.wanted = code[len(pool) :]

    def give(
        self, inputs: Columns, replaced: Sequence[Variable], rows: np.ndarray, rng: np.random.Generator | None
    ) -> None:
        """Writes the replaced inputs above the variable: of the sources where there is no generator."""
        wanted = self.wanted[rows]
        there = np.flatnonzero(self.gathered.mass[wanted] > 0)
        picked = None if rng is None else self.gathered.pick(rng, wanted[there])
        for variable in replaced:
            if variable in self.above:
                column = self.source[variable.name][rows]
                if picked is not None:
                    column[there] = self.pool.columns[variable.name][picked]
                inputs[variable.name] = column


def _as_wanted(asked: _Asked, inputs: Columns, rows: np.ndarray, held: Sequence[Variable]) -> np.ndarray:
    columns = asked.algorithm.run(inputs)
    good = np.ones(len(rows), dtype=bool)
    for variable in held:
        same = columns[variable.name] == asked.wanted[variable.name][rows]
        good &= same.reshape(len(rows), -1).all(axis=1)
    return good


def _count(inputs: Columns) -> int:
    return len(next(iter(inputs.values())))


def _distinct(
    pairs: Counterfactuals, found: Sequence[Columns], place: np.ndarray, moved: np.ndarray
) -> Nearest:
    """Each input once, whatever pairs it was found for."""
    none = {name: column[:0] for name, column in pairs.inputs.items()}
    inputs = {name: np.concatenate([part[name] for part in (none, *found)]) for name in none}
    ids, first, again = np.unique(pairs.algorithm.input_ids(inputs), return_index=True, return_inverse=True)
    row = np.full(len(place), -1, dtype=np.int64)
    row[place >= 0] = again.reshape(-1)[place[place >= 0]]
    return Nearest({name: column[first] for name, column in inputs.items()}, ids, row, moved)

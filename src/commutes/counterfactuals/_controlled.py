"""Controlled pairs: some variables change between base and source, the held ones do not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from commutes.algorithm import Algorithm, Finite, Variable
from commutes.counterfactuals._candidates import Candidates, Kinds, complete_candidates, frontier
from commutes.counterfactuals._codes import Gathered, first_rows, joint_codes
from commutes.counterfactuals._design import Design
from commutes.counterfactuals._pool import Pool, inside
from commutes.counterfactuals._swap import Swap
from commutes.errors import DataError

__all__ = ["controlled", "default_hold"]

_TABLE = 2**20
_TRIES = 4
"""How many other inputs are tried for each base where the domain is sampled."""
_BASES = 2**13
_BASES_PER_PAIR = 8
"""Bases that are tried where the domain is sampled, at least so many and for each pair so many: of dozens of variables
a pool has far more inputs than a few controlled pairs need."""
_MOST_VALUES = 2_000
_PRESENCE = 2**26


def default_hold(algorithm: Algorithm, flip: Sequence[Variable]) -> tuple[Variable, ...]:
    """The inner variables that do not descend from the flipped ones, and the inputs not above those."""
    below = {d for v in flip for d in algorithm.descendants(v)} | set(flip)
    above = {a for v in flip for a in algorithm.ancestors(v)} | set(flip)
    inner = [v for v in algorithm.inner_variables if v not in below]
    return tuple(
        v for v in algorithm.variables if v in inner or (v in algorithm.input_variables and v not in above)
    )


@dataclass(frozen=True)
class _Roles:
    """Which variables change, which are held, and which of the held ones' ancestors may have to move."""

    flip: tuple[Variable, ...]
    hold: tuple[Variable, ...]
    shared: tuple[Variable, ...]


def _roles(algorithm: Algorithm, design: Design) -> _Roles:
    assert design.flip is not None
    flip = tuple(algorithm[name] for name in design.flip)
    hold = (
        default_hold(algorithm, flip)
        if design.hold is None
        else tuple(algorithm[name] for name in design.hold)
    )
    above = {a for v in hold for a in algorithm.ancestors(v)} - set(hold)
    return _Roles(flip, hold, tuple(v for v in algorithm.variables if v in above))


def _codes(pool: Pool, variables: Sequence[Variable]) -> np.ndarray:
    return joint_codes([pool.columns[v.name] for v in variables], len(pool))


def controlled(
    algorithm: Algorithm, design: Design, pool: Pool, swaps: Sequence[Swap], rng: np.random.Generator
) -> tuple[Pool, list[Candidates]]:
    """The candidates of controlled pairs, in cells by transition, and the pool that they refer to.

    Where the domain is listed the source is any input of it that agrees on what is held. Where it is sampled
    the source is the base with the inputs above the flipped variables taken from another input.

    Raises:
        DataError: When a transition cannot be made.
    """
    roles = _roles(algorithm, design)
    if pool.complete:
        pairs = _listed(pool, roles, swaps, rng, design.n)
    else:
        pool, pairs = _recombined(pool, design, roles, rng)
    _refuse_missing(algorithm, design, roles, pool, pairs)
    return pool, [_as_candidates(pool, roles, swap, pairs) for swap in swaps]


@dataclass(frozen=True, eq=False)
class _Pairs:
    """Kinds of base and source that make a controlled pair."""

    kinds: Kinds
    base: np.ndarray
    source: np.ndarray
    mass: np.ndarray
    moved: np.ndarray
    draws: int


def _changed(pool: Pool, variables: Sequence[Variable], left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Per variable and pair whether its value differs.  # shape: (variables, pairs)"""
    columns = [_codes(pool, [v]) for v in variables]
    return np.array([c[left] != c[right] for c in columns], dtype=bool).reshape(len(columns), len(left))


def _within(sizes_base: np.ndarray, sizes_source: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """All pairs of places within each group: the group, the place of the base there, that of the source."""
    count = sizes_base * sizes_source
    group = np.repeat(np.arange(len(count)), count)
    place = np.arange(int(count.sum())) - np.repeat(np.cumsum(count) - count, count)
    return group, place // sizes_source[group], place % sizes_source[group]


def _listed(pool: Pool, roles: _Roles, swaps: Sequence[Swap], rng: np.random.Generator, n: int) -> _Pairs:
    algorithm = pool.algorithm
    held = _codes(pool, roles.hold)
    needed = {algorithm.output_variable, *roles.flip, *roles.shared}
    for swap in swaps:
        needed |= {*frontier(algorithm, swap), *swap.variables}
    kinds = Kinds(
        joint_codes([held, *(pool.columns[v.name] for v in algorithm.variables if v in needed)], len(pool)),
        pool.weights,
    )
    # Kinds are numbered with the held values first, so that each group of them is one run.
    held_of = held[kinds.first]
    sizes = np.bincount(held_of)
    start = np.cumsum(sizes) - sizes
    if float((sizes.astype(float) ** 2).sum()) <= _TABLE:
        group, b, s = _within(sizes, sizes)
        base, source = start[group] + b, start[group] + s
        mass, draws = kinds.mass[base] * kinds.mass[source], 0
    else:
        draws = int(np.clip(4 * n, 2**18, _TABLE))
        base_rows = Gathered(np.zeros(len(pool), dtype=np.int64), pool.weights, 1).pick(
            rng, np.zeros(draws, dtype=np.int64)
        )
        source_rows = Gathered(held, pool.weights, len(sizes)).pick(rng, held[base_rows])
        base, source, mass = kinds.code[base_rows], kinds.code[source_rows], np.full(draws, 1.0 / draws)
    keep = np.all(_changed(pool, roles.flip, kinds.first[base], kinds.first[source]), axis=0)
    base, source, mass = base[keep], source[keep], mass[keep]
    moved = np.any(_changed(pool, roles.shared, kinds.first[base], kinds.first[source]), axis=0)
    # A pair that leaves the ancestors of the held variables alone is taken wherever the base has one.
    reached = joint_codes([base, _codes(pool, roles.flip)[kinds.first[source]]], len(base))
    spared = np.zeros(int(reached.max(initial=-1)) + 1, dtype=bool)
    spared[reached[~moved]] = True
    keep = ~(moved & spared[reached]) if len(reached) else np.zeros(0, dtype=bool)
    return _Pairs(kinds, base[keep], source[keep], mass[keep], moved[keep], draws)


def _recombined(pool: Pool, design: Design, roles: _Roles, rng: np.random.Generator) -> tuple[Pool, _Pairs]:
    algorithm = pool.algorithm
    above = {a for v in roles.flip for a in (*algorithm.ancestors(v), v)} - set(roles.hold)
    free = [v for v in algorithm.input_variables if v in above]
    alone = [v for v in free if v not in roles.shared]
    tried_from = _tried(pool, roles, max(_BASES, _BASES_PER_PAIR * design.n), rng)
    everyone = Gathered(np.zeros(len(pool), dtype=np.int64), tried_from.proposed, 1)
    bases = np.arange(len(tried_from.rows))
    found: list[_Found] = []
    for replaced in ([alone] if alone else []) + ([free] if len(free) > len(alone) else []):
        tried = np.repeat(bases, _TRIES)
        other = everyone.pick(rng, np.zeros(len(tried), dtype=np.int64))
        inputs = {
            v.name: pool.columns[v.name][other if v in replaced else tried_from.rows[tried]]
            for v in algorithm.input_variables
        }
        ids = algorithm.input_ids(inputs)
        ok = inside(ids, design)
        tried, other = tried[ok], other[ok]
        columns = algorithm.run({name: column[ok] for name, column in inputs.items()})
        good = _obeys(pool, columns, tried_from.rows[tried], roles)
        found.append(
            _Found(
                tried[good],
                {name: column[good] for name, column in columns.items()},
                tried_from.ratio[other[good]],
            )
        )
        # Only the bases that had to move a shared ancestor go on to the second kind of source.
        bases = np.setdiff1d(bases, tried[good])
    return _with_sources(pool, tried_from, roles, found)


@dataclass(frozen=True, eq=False)
class _Tried:
    """Of a sampled pool the inputs that are bases, and how the others are drawn that they take values from."""

    rows: np.ndarray
    """Bases, as rows of the pool."""
    weights: np.ndarray
    """What the bases stand for together is what the pool stands for.  # shape: (bases,)"""
    proposed: np.ndarray
    """How likely a row is to be drawn as the other input.  # shape: (P,)"""
    ratio: np.ndarray
    """How likely it is, over how likely it is to be drawn.  # shape: (P,)"""


def _tried(pool: Pool, roles: _Roles, most: int, rng: np.random.Generator) -> _Tried:
    """All of a small pool. Of a larger one `most` bases, of every value of the flipped variables as many as there are.

    Others are drawn half as the pool is, half from every value alike, so that a rare value is a source's, too.
    """
    if len(pool) <= most:
        return _Tried(np.arange(len(pool)), pool.weights, pool.weights, np.ones(len(pool)))
    finite = all(isinstance(pool.algorithm.domain(v), Finite) for v in roles.flip)
    value = _codes(pool, roles.flip) if finite else np.zeros(len(pool), dtype=np.int64)
    order = rng.permutation(len(pool))
    by_value = order[np.argsort(value[order], kind="stable")]
    sizes = np.bincount(value)
    rank = np.empty(len(pool), dtype=np.int64)
    rank[by_value] = np.arange(len(pool)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    rows = np.sort(order[np.argsort(rank[order], kind="stable")[:most]])
    weights = pool.weights
    whole = np.bincount(value, weights=weights)
    kept = np.bincount(value[rows], weights=weights[rows], minlength=len(sizes))
    alike = weights / (whole[value] * len(sizes))
    proposed = (weights + alike) / 2
    scale = np.divide(whole, kept, out=np.zeros_like(whole), where=kept > 0)
    return _Tried(rows, weights[rows] * scale[value[rows]], proposed, weights / proposed)


@dataclass(frozen=True, eq=False)
class _Found:
    """Bases and sources that obey."""

    base: np.ndarray
    """Numbers of bases."""
    columns: dict[str, np.ndarray]
    """Of the sources."""
    ratio: np.ndarray
    """Of what each source took from another input, how likely that is over how likely it was to be drawn."""


def _obeys(pool: Pool, columns: dict[str, np.ndarray], base: np.ndarray, roles: _Roles) -> np.ndarray:
    def same(variable: Variable) -> np.ndarray:
        equal = pool.columns[variable.name][base] == columns[variable.name]
        return equal.reshape(len(base), -1).all(axis=1)

    good = np.ones(len(base), dtype=bool)
    for variable in roles.hold:
        good &= same(variable)
    for variable in roles.flip:
        good &= ~same(variable)
    return good


def _with_sources(pool: Pool, tried: _Tried, roles: _Roles, found: Sequence[_Found]) -> tuple[Pool, _Pairs]:
    """The bases with the recombined sources as further inputs, each input once, and the pairs in it."""
    algorithm, draws = pool.algorithm, len(tried.rows) * _TRIES
    columns = {
        name: np.concatenate([column[tried.rows], *(one.columns[name] for one in found)])
        for name, column in pool.columns.items()
    }
    ids, first, place = np.unique(
        algorithm.input_ids({v.name: columns[v.name] for v in algorithm.input_variables}),
        return_index=True,
        return_inverse=True,
    )
    place = place.reshape(-1)
    base = place[np.concatenate([np.zeros(0, dtype=np.int64), *(one.base for one in found)])]
    source = place[len(tried.rows) :]
    ratio = np.concatenate([np.zeros(0), *(one.ratio for one in found)])
    mass = np.zeros(len(ids))
    mass[place[: len(tried.rows)]] = tried.weights
    larger = Pool(
        algorithm,
        {name: column[first] for name, column in columns.items()},
        ids,
        np.ones(len(ids)),
        np.zeros(len(ids), dtype=np.int64),
        False,
        max(pool.draws, draws),
    )
    moved = np.any(_changed(larger, roles.shared, base, source), axis=0)
    kinds = Kinds(np.arange(len(ids)), larger.weights)
    return larger, _Pairs(kinds, base, source, mass[base] * ratio, moved, draws)


def _transitions(pool: Pool, flip: Sequence[Variable], base: np.ndarray, source: np.ndarray) -> np.ndarray:
    if not all(isinstance(pool.algorithm.domain(v), Finite) for v in flip):
        return np.zeros(len(base), dtype=np.int64)
    value = _codes(pool, flip)
    return joint_codes([value[base], value[source]], len(base))


def _as_candidates(pool: Pool, roles: _Roles, swap: Swap, pairs: _Pairs) -> Candidates:
    first = pairs.kinds.first
    option = complete_candidates(
        pool, swap, (pairs.kinds, pairs.kinds), np.stack([pairs.base, pairs.source]), pairs.mass, pairs.draws
    )
    cell = _transitions(pool, roles.flip, first[pairs.base], first[pairs.source])
    outer_of = np.arange(len(first_rows(cell)))
    return replace(option, cell=cell, outer_of=outer_of, moved=pairs.moved)


def _refuse_missing(algorithm: Algorithm, design: Design, roles: _Roles, pool: Pool, pairs: _Pairs) -> None:
    """Refuses a design with a transition that no pair can make."""
    names = "+".join(v.name for v in roles.flip)
    held = ", ".join(v.name for v in roles.hold) or "nothing"
    where = f"algorithm {algorithm.name!r}, flip={names}, hold={held}"
    seen = f"in {pairs.draws:,} sampled pairs" if pairs.draws else f"among {len(pool):,} inputs"
    if not len(pairs.base):
        raise DataError(
            f"no pair in which {names} changes and what is held does not",
            where=where,
            got=f"none {seen}",
            expected="pairs that differ in the one and agree in the other",
            fix="hold less: hold=() or a shorter list",
        )
    if not all(isinstance(algorithm.domain(v), Finite) for v in roles.flip):
        return
    value = _codes(pool, roles.flip)
    first = first_rows(value)
    count = len(first)
    if count > _MOST_VALUES:
        return
    made = _made(pool, roles, value, count, pairs)
    per_variable = [pool.columns[v.name][first] for v in roles.flip]
    wanted = np.logical_and.reduce([c[:, None] != c[None, :] for c in per_variable])
    missing = np.argwhere(wanted & ~made)
    if not len(missing):
        return

    def say(row: int) -> str:
        return ", ".join(repr(algorithm.values(v, pool.columns[v.name][[row]])[0]) for v in roles.flip)

    a, b = (int(first[i]) for i in missing[0])
    possible = int(wanted.sum())
    made_count = possible - len(missing)
    raise DataError(
        f"no pair makes the transition {names}: {say(a)} -> {say(b)}",
        where=where,
        got=f"{made_count:,} of {possible:,} transitions ({made_count / possible:.1%}) can be made {seen}",
        expected="every transition between two values of the flipped variable",
        fix="hold less: hold=() or a shorter list",
    )


def _made(pool: Pool, roles: _Roles, value: np.ndarray, count: int, pairs: _Pairs) -> np.ndarray:
    """Which transitions some pair makes.  # shape: (values, values) bool"""
    made = np.zeros((count, count), dtype=bool)
    rows = pairs.kinds.first
    made[value[rows[pairs.base]], value[rows[pairs.source]]] = True
    if pool.complete and pairs.draws:
        # The pairs are a sample, but the inputs are all there: see which values occur beside each other.
        held = _codes(pool, roles.hold)
        groups = int(held.max()) + 1
        if groups * count <= _PRESENCE:
            present = np.zeros((groups, count), dtype=np.float32)
            present[held, value] = 1.0
            made |= present.T @ present > 0
    return made

"""From a design to columns of pairs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from commutes.algorithm import Algorithm, Columns
from commutes.counterfactuals._candidates import Candidates, candidates
from commutes.counterfactuals._controlled import controlled
from commutes.counterfactuals._design import Design
from commutes.counterfactuals._fill import Filled, Requests, fill_disjoint, fill_recurring, quotas
from commutes.counterfactuals._natural import Natural, natural_of, strata_offsets
from commutes.counterfactuals._pool import Pool, Reservoir, inside
from commutes.counterfactuals._strata import Strata
from commutes.errors import DataError

__all__ = ["Drawn", "draw", "idle"]

_SURE = 1e-3
"""A stratum that a sample of pairs gives at least this weight is held to be possible."""


@dataclass(frozen=True, eq=False)
class Drawn:
    """The columns of a data set, as in `Counterfactuals`."""

    inputs: Columns
    ids: np.ndarray
    base: np.ndarray
    source: np.ndarray
    swap: np.ndarray
    expected: np.ndarray
    stratum: np.ndarray
    strata: Strata
    moved: np.ndarray
    natural: Natural
    reused: bool


def idle(algorithm: Algorithm, pool: Pool, option: Candidates, kind: str = "pair") -> DataError | None:
    """The error for a swap that tests nothing: a variable with one value, or an answer that never changes."""
    among = f"all {len(pool):,} inputs" if pool.complete else f"{len(pool):,} sampled inputs"
    elsewhere = "draw inputs on which it matters: distribution=Distribution(name, draw)"
    for variable in option.swap.variables:
        column = pool.columns[variable.name]
        if (column == column[:1]).all():
            value = algorithm.values(variable, column[:1])[0]
            return DataError(
                f"the variable {variable.name!r} never changes, so that swapping it tests nothing",
                where=f"algorithm {algorithm.name!r}, {among}",
                got=f"{variable.name} = {value!r} throughout",
                expected="at least two values",
                fix=f"leave it out of swap=, or {elsewhere}",
            )
    if option.changes:
        return None
    output = algorithm.output_variable.name
    seen = f"{option.draws:,} sampled {kind}s" if option.draws else f"every {kind} of {among}"
    return DataError(
        "no pair in which the answer changes",
        where=f"algorithm {algorithm.name!r}, swapping {option.swap.label}",
        got=f"{output} stays as it was in {seen}",
        expected="pairs in which the expected answer differs from the base's",
        fix=f"leave this set out of swap=, or {elsewhere}",
    )


def _options(algorithm: Algorithm, design: Design, pool: Pool, tag: int) -> tuple[Pool, list[Candidates]]:
    rng = np.random.default_rng([design.seed, 13, tag])
    swaps = design.swaps_of(algorithm)
    if design.flip is not None:
        return controlled(algorithm, design, pool, swaps, rng)
    return pool, [candidates(pool, swap, rng, wanted=design.n) for swap in swaps]


def _tag(design: Design) -> int:
    return 0 if design.part is None else 1 + [name for name, _ in design.shares].index(design.part)


def counts_of(n: int, sets: int) -> list[int]:
    """n pairs over the swap sets, as equal as possible; the first ones get what remains."""
    return [n // sets + (index < n % sets) for index in range(sets)]


def _poor_part(
    design: Design, pool: Pool, options: Sequence[Candidates], natural: Natural
) -> DataError | None:
    """The error for a part whose inputs cannot fill a stratum that the algorithm makes possible."""
    strata, offsets = strata_offsets(pool.algorithm, [o.swap for o in options])
    for option, offset in zip(options, offsets, strict=True):
        there = {strata[offset + s] for s in np.unique(option.stratum)}
        for (label, stratum), weight in natural.weights.items():
            possible = weight > (0.0 if pool.complete and not option.draws else _SURE)
            if label == option.swap.label and possible and stratum not in there:
                return _too_few(design, pool, f"swapping {label}, stratum {stratum}")
    return None


def _too_few(design: Design, pool: Pool, where: str) -> DataError:
    return DataError(
        f"too few inputs in part {design.part!r} for a stratum that is possible",
        where=f"algorithm {pool.algorithm.name!r}, {where}",
        got=f"{len(pool):,} input{'s' * (len(pool) != 1)} in part {design.part!r}, "
        "none of whose pairs lie in this stratum",
        expected="inputs in every part for every possible stratum",
        fix="run the complete domain instead: census(algorithm); or give the part a larger share",
    )


def draw(algorithm: Algorithm, design: Design, reservoir: Reservoir) -> Drawn:
    """The pairs of a design.

    Args:
        algorithm: The algorithm, checked.
        design: The recipe.
        reservoir: The inputs.

    Raises:
        DataError: When the design cannot be drawn.
    """
    step = 0
    while True:
        last = reservoir.last(step)
        whole = reservoir.pool(step)
        undivided = design.part is None and not design.without
        part = whole if undivided else whole.restrict(inside(whole.ids, design))
        got = _attempt(algorithm, design, reservoir, whole, part, last)
        if isinstance(got, Drawn):
            return got
        if last:
            raise got()
        step += 1


def _attempt(
    algorithm: Algorithm, design: Design, reservoir: Reservoir, whole: Pool, part: Pool, last: bool
) -> Drawn | Callable[[], DataError]:
    """The pairs from this pool, or the error to raise if a larger pool cannot be had."""
    if not len(part):
        return lambda: _too_few(design, part, "any swap")
    pool, options = _options(algorithm, design, part, _tag(design))
    natural = _natural(algorithm, design, whole, pool, options, reservoir)
    trouble = _trouble(algorithm, design, pool, options, natural)
    if trouble is not None:
        return lambda: trouble
    filled = _fill(design, options, last)
    if filled is None:
        return lambda: _not_disjoint(design, algorithm, pool, options)
    requests, rows = filled
    return _columns(pool, options, rows, requests, natural)


def _natural(
    algorithm: Algorithm,
    design: Design,
    whole: Pool,
    pool: Pool,
    options: Sequence[Candidates],
    reservoir: Reservoir,
) -> Natural:
    """The weights of the undivided design.

    A part prints the weights of the distribution, not those that its own few inputs happen to have.
    """
    if reservoir.natural is None:
        if design.part is not None:
            pool, options = _options(algorithm, replace(design, part=None), whole, 0)
        reservoir.natural = natural_of(algorithm, design, pool, options)
    return reservoir.natural


def _trouble(
    algorithm: Algorithm,
    design: Design,
    pool: Pool,
    options: Sequence[Candidates],
    natural: Natural,
) -> DataError | None:
    """Why these candidates cannot make the data set, if they cannot."""
    for option in options:
        tested = design.flip is None or {v.name for v in option.swap.variables} <= set(design.flip)
        kind = "pair" if design.flip is None else "controlled pair"
        trouble = idle(algorithm, pool, option, kind) if tested and design.part is None else None
        if trouble is not None:
            return trouble
    return None if design.part is None else _poor_part(design, pool, options, natural)


def _seeded(design: Design) -> np.random.Generator:
    return np.random.default_rng([design.seed, 17, _tag(design)])


def _fill(design: Design, options: Sequence[Candidates], last: bool) -> tuple[Requests, Filled] | None:
    """The pairs by their rows of the pool; None where inputs do not suffice and must."""
    rng = _seeded(design)
    requests = quotas(options, counts_of(design.n, len(options)), rng)
    if not design.disjoint:
        return requests, fill_recurring(options, requests, rng)
    filled = fill_disjoint(options, requests, rng, strict=design.reuse is False or not last)
    return None if len(filled.missing) else (requests, filled)


def _not_disjoint(
    design: Design, algorithm: Algorithm, pool: Pool, options: Sequence[Candidates]
) -> DataError:
    """Says the largest number of disjoint pairs, found by drawing them."""
    low, high = 0, min(design.n, len(pool) // 2 + 1)
    while high - low > 1:
        middle = (low + high) // 2
        if middle < len(options) or _fill(replace(design, n=middle), options, last=True) is None:
            high = middle
        else:
            low = middle
    within = f"part {design.part!r}" if design.part is not None else "the domain"
    inputs = f"{len(pool):,} inputs" + ("" if pool.complete else " that were sampled")
    return DataError(
        "more disjoint pairs than the domain has",
        where=f"algorithm {algorithm.name!r}, swapping {', '.join(o.swap.label for o in options)}",
        got=f"n = {design.n:,} with reuse=False, from {inputs} in {within}",
        expected=f"at most {low:,} pairs that share no input, in equal numbers per stratum",
        fix=f"ask for n={low}, or let inputs recur: reuse='auto'"
        if low
        else "let inputs recur: reuse='auto'",
    )


def _columns(
    pool: Pool,
    options: Sequence[Candidates],
    filled: Filled,
    requests: Requests,
    natural: Natural,
) -> Drawn:
    """The columns of the data set, over the distinct inputs that it uses."""
    algorithm = pool.algorithm
    strata, offsets = strata_offsets(algorithm, [o.swap for o in options])
    n = len(filled.atom)
    stratum, moved = np.empty(n, dtype=np.int64), np.empty(n, dtype=bool)
    expected = np.empty((n, *options[0].expected.shape[1:]), dtype=options[0].expected.dtype)
    for index, option in enumerate(options):
        mine = np.flatnonzero(requests.swap == index)
        atom = filled.atom[mine]
        stratum[mine] = option.stratum[atom] + offsets[index]
        expected[mine] = option.expected[atom]
        moved[mine] = option.moved[atom]
    times = np.bincount(filled.base, minlength=len(pool))
    for slot in range(filled.source.shape[1]):
        column = filled.source[:, slot]
        times += np.bincount(column[column >= 0], minlength=len(pool))
    kept = np.flatnonzero(times)
    place = np.full(len(pool) + 1, -1, dtype=np.int64)  # the last entry answers for -1, no source
    place[kept] = np.arange(len(kept))
    return Drawn(
        inputs={v.name: pool.columns[v.name][kept] for v in algorithm.input_variables},
        ids=pool.ids[kept],
        base=place[filled.base],
        source=place[filled.source],
        swap=requests.swap,
        expected=expected,
        stratum=stratum,
        strata=strata,
        moved=moved,
        natural=natural,
        reused=bool((times > 1).any()),
    )

"""What a gate needs, said before anything is drawn: pairs, the ceiling of the domain, and the cost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from commutes.algorithm import Algorithm
from commutes.counterfactuals._candidates import Candidates, candidates
from commutes.counterfactuals._design import Design, Distribution, check_distribution, check_seed, words
from commutes.counterfactuals._draw import natural_weights, strata_offsets
from commutes.counterfactuals._fill import Requests, fill_disjoint
from commutes.counterfactuals._pool import Reservoir, inside
from commutes.counterfactuals._swap import swap_sets
from commutes.counterfactuals._verbs import SwapSets
from commutes.errors import DataError

__all__ = ["GATED", "Plan", "PlannedCell", "plan"]

GATED = 59
"""A gated stratum has at least so many pairs: 59 hits of 59 put the one-sided 95 % bound at .95."""
_MOST = 1_000_000


@dataclass(frozen=True)
class PlannedCell:
    """One swap set and stratum."""

    swap: str
    stratum: str
    weight: float
    """Its probability under the distribution; 0 where it is impossible."""
    ceiling: int | None
    """The most pairs of this cell alone that share no input; None where the domain is unlimited."""
    best: float
    """The lower bound that so many hits of so many would give."""
    enough: bool
    """Whether the ceiling allows the pairs that the gate needs."""


@dataclass(frozen=True)
class Plan:
    """What a declared gate needs."""

    algorithm: str
    distribution: str
    target: float
    truth: float
    alpha: float
    power: float
    share: float
    needed: int
    """Pairs per gated cell."""
    cells: tuple[PlannedCell, ...]
    n: int
    """Pairs to measure, over all possible cells."""
    total: int
    """The n to ask `counterfactuals` for, so that a part of this share measures `n`."""
    together: int | None
    """The most pairs per cell that all cells can have at once without sharing an input; None: unlimited."""
    passes: int
    """Forward passes to measure: one per distinct input and one per pair."""

    @property
    def enough(self) -> bool:
        """Whether the domain allows all of it with disjoint inputs."""
        return self.together is None or self.together >= self.needed

    def __str__(self) -> str:
        label = max(len(c.swap) for c in self.cells)
        width = max(len(c.stratum) for c in self.cells)
        lines = [
            f"To pass a gate at {self.target:g} (one-sided, alpha {self.alpha:g}) with probability {self.power:g} "
            f"if the truth is {self.truth:g}: {self.needed:,} pairs per swap set and stratum.",
            f"Inputs {self.distribution}.",
        ]
        for c in self.cells:
            if c.weight == 0:
                said = "impossible"
            elif c.ceiling is None:
                said = "no limit on disjoint pairs"
            else:
                said = f"at most {c.ceiling:,} disjoint pairs, lower bound at best {c.best:.3f}"
                said += "" if c.enough else "  TOO FEW"
            lines.append(f"  {c.swap:<{label}}  {c.stratum:<{width}}  weight {c.weight:.4f}  {said}")
        asked = f"counterfactuals(algorithm, {self.total:_}, seed=...)"
        measured = f" split with a share of {self.share:g}" if self.share < 1 else ""
        lines.append(f"Measure {self.n:,} pairs: {asked}{measured}; {self.passes:,} forward passes.")
        if self.together is not None and not self.enough:
            lines.append(
                f"All cells together have {self.together:,} disjoint pairs each: inputs will recur, and intervals "
                "will be wider. A census of a small domain has no interval: census(algorithm)."
            )
        return "\n".join(lines)


def plan(
    algorithm: Algorithm,
    *,
    target: float = 0.9,
    alpha: float = 0.05,
    truth: float = 1.0,
    power: float = 0.8,
    swap: SwapSets = None,
    distribution: str | Distribution = "values",
    share: float = 1.0,
    seed: int = 0,
) -> Plan:
    """Which n, ceiling and cost a gate at `target` needs on every swap set and possible stratum.

    Args:
        algorithm: The hypothesis.
        target: What the one-sided lower bound (Clopper-Pearson, disjoint inputs) must clear.
        alpha: One minus its level.
        truth: The share of hits that is supposed to be true.
        power: The probability with which the gate should pass then.
        swap: The swap sets, as in `counterfactuals`.
        distribution: As in `counterfactuals`.
        share: The share of the inputs that the measured part will have.
        seed: For domains that are sampled, and for the search of disjoint pairs.

    Raises:
        DataError: When the truth does not exceed the target, or an argument is no share.
    """
    algorithm.check()
    for name, value in (
        ("target", target),
        ("alpha", alpha),
        ("truth", truth),
        ("power", power),
        ("share", share),
    ):
        top = value <= 1 if name in ("truth", "share") else value < 1
        if isinstance(value, bool) or not isinstance(value, int | float) or not (0 < value and top):
            bound = "at most 1" if name in ("truth", "share") else "below 1"
            raise DataError(
                f"{name}= is not a share",
                where="plan",
                got=repr(value),
                expected=f"a number above 0 and {bound}",
                fix=f"write {name}=0.9, say",
            )
    if truth <= target:
        raise DataError(
            "no number of pairs passes this gate",
            where="plan",
            got=f"target={target:g}, truth={truth:g}",
            expected="a truth above the target",
            fix="lower the target",
        )
    sets = swap_sets(algorithm, swap)
    design = Design(
        n=GATED * 4 * len(sets),
        swaps=tuple((tuple(v.name for v in s.variables), s.shared) for s in sets),
        flip=None,
        hold=None,
        distribution=check_distribution(distribution, "plan, distribution"),
        reuse="auto",
        seed=check_seed(seed, "plan, seed"),
        partition=check_seed(seed, "plan, seed"),
        shares=(("part", share),),
        part="part" if share < 1 else None,
    )
    return _planned(
        algorithm, design, max(GATED, pairs_needed(target, truth, alpha, power)), target, truth, alpha, power
    )


def _planned(
    algorithm: Algorithm, design: Design, needed: int, target: float, truth: float, alpha: float, power: float
) -> Plan:
    reservoir = Reservoir(algorithm, design)
    rng = np.random.default_rng([design.seed, 19])
    whole = reservoir.pool()
    sets = design.swaps_of(algorithm)
    weights = natural_weights(algorithm, [candidates(whole, one, rng) for one in sets])
    pool = whole.restrict(inside(whole.ids, design))
    options = [candidates(pool, one, rng) for one in sets] if len(pool) else []
    strata, offsets = strata_offsets(algorithm, sets)
    cells: list[PlannedCell] = []
    for index, one in enumerate(sets):
        for place, stratum in enumerate(strata):
            weight = weights.get((one.label, stratum))
            if weight is None:
                continue
            ceiling: int | None = 0
            if not pool.complete:
                ceiling = None
            elif options and weight:
                ceiling = _ceiling([options[index]], [(0, place - offsets[index])], rng, whole_pool=len(pool))
            best = 1.0 if ceiling is None else alpha ** (1 / ceiling) if ceiling else 0.0
            cells.append(
                PlannedCell(one.label, stratum, weight, ceiling, best, ceiling is None or ceiling >= needed)
            )
    possible = [c for c in cells if c.weight > 0]
    together = None
    if pool.complete:
        places = [
            (index, place - offsets[index])
            for index, one in enumerate(sets)
            for place, stratum in enumerate(strata)
            if weights.get((one.label, stratum), 0.0) > 0
        ]
        together = _ceiling(options, places, rng, whole_pool=len(pool)) if options else 0
    per_set = max(sum(c.swap == one.label for c in possible) for one in sets)
    n = needed * per_set * len(sets)
    slots = max(len(one.slots) for one in sets)
    share = dict(design.shares)["part"]
    distinct = n * (1 + slots) if not pool.complete else min(n * (1 + slots), len(pool))
    return Plan(
        algorithm.name,
        words(algorithm, design.distribution),
        target,
        truth,
        alpha,
        power,
        share,
        needed,
        tuple(cells),
        n,
        int(np.ceil(n / share)),
        together,
        distinct + n,
    )


def _ceiling(
    options: Sequence[Candidates],
    places: Sequence[tuple[int, int]],
    rng: np.random.Generator,
    *,
    whole_pool: int,
) -> int:
    """The most pairs per (option, stratum) that can be drawn at once without using an input twice."""
    # Each option is recast with its strata as its cells: balance over the answers is not asked for here.
    recast = [_by_stratum(option) for option in options]
    there = [(index, stratum) for index, stratum in places if (recast[index].stratum == stratum).any()]
    if len(there) < len(places):
        return 0

    def fits(count: int) -> bool:
        requests = Requests(
            np.repeat([index for index, _ in places], count),
            np.repeat([stratum for _, stratum in places], count),
        )
        order = np.random.default_rng([whole_pool, count]).permutation(len(requests))
        shuffled = Requests(requests.swap[order], requests.cell[order])
        return not len(fill_disjoint(recast, shuffled, rng, strict=True, restarts=3).missing)

    most = whole_pool // (sum(1 + len(recast[index].source_kinds) for index, _ in places))
    low, high = 0, most + 1
    while high - low > 1:
        middle = high - 1 if low == 0 and high == most + 1 else (low + high) // 2
        low, high = (middle, high) if fits(middle) else (low, middle)
    return low


def _by_stratum(option: Candidates) -> Candidates:
    from dataclasses import replace

    return replace(option, cell=option.stratum, outer_of=np.arange(int(option.stratum.max()) + 1))


def pairs_needed(target: float, truth: float, alpha: float, power: float) -> int:
    """The smallest n with P(Clopper-Pearson lower bound of Binomial(n, truth) >= target) >= power."""
    from scipy.stats import beta, binom

    def passes(n: int) -> bool:
        # The fewest hits whose lower bound clears the target; the bound grows with the hits.
        hits = np.arange(int(np.floor(target * n)), n + 1)
        bound = np.where(hits > 0, beta.ppf(alpha, np.maximum(hits, 1), n - hits + 1), 0.0)
        clear = hits[bound >= target]
        return bool(len(clear)) and float(binom.sf(clear[0] - 1, n, truth)) >= power

    low, high = 0, 1
    while not passes(high):
        low, high = high, 2 * high
        if high > _MOST:
            raise DataError(
                "the gate needs more than a million pairs",
                where="plan",
                got=f"target={target:g}, truth={truth:g}",
                expected="a truth further above the target",
                fix="lower the target",
            )
    # The power is a saw-tooth in n: step back from where it is reached for good to the first n that has it.
    return next(n for n in range(max(low // 2, 1), high + 1) if passes(n))

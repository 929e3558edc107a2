"""What a gate needs, said before anything is drawn: pairs, the ceiling of the domain, and the cost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from commutes.algorithm import Algorithm
from commutes.counterfactuals._candidates import Candidates, candidates
from commutes.counterfactuals._design import Design, Distribution, check_distribution, check_seed, words
from commutes.counterfactuals._fill import Requests, Stock, fill_disjoint
from commutes.counterfactuals._natural import natural_weights, strata_offsets
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
    """How many disjoint pairs, up to `needed`, all cells can have at once; None: no limit."""
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
            f"To pass a gate at {self.target:g} (one-sided, alpha {self.alpha:g}) with probability "
            f"{self.power:g} if the truth is {self.truth:g}: {self.needed:,} pairs per swap set and stratum.",
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
        measured = f", split with a share of {self.share:g}" if self.share < 1 else ""
        lines.append(f"Measure {self.n:,} pairs: {asked}{measured}; {self.passes:,} forward passes.")
        if self.together is not None and not self.enough:
            lines.append(
                f"All cells together have {self.together:,} disjoint pairs each: inputs will recur, and "
                "intervals will be wider. A census of a small domain has no interval: census(algorithm)."
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
    gate = _Gate(target, truth, alpha, power)
    _check_shares(gate, share)
    sets = swap_sets(algorithm, swap)
    needed = max(GATED, pairs_needed(gate))
    whole = check_seed(seed, "plan, seed")
    design = Design(
        n=needed * 4 * len(sets),
        swaps=tuple((tuple(v.name for v in s.variables), s.shared) for s in sets),
        flip=None,
        hold=None,
        distribution=check_distribution(distribution, "plan, distribution"),
        reuse="auto",
        seed=whole,
        partition=whole,
        shares=(("measured", share),),
        part="measured",
    )
    return _planned(algorithm, design, needed, gate)


@dataclass(frozen=True)
class _Gate:
    target: float
    truth: float
    alpha: float
    power: float


def _check_shares(gate: _Gate, share: float) -> None:
    given = {
        "target": gate.target,
        "truth": gate.truth,
        "alpha": gate.alpha,
        "power": gate.power,
        "share": share,
    }
    for name, value in given.items():
        closed = name in ("truth", "share")
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if not number or not 0 < value <= 1 or (value == 1 and not closed):
            raise DataError(
                f"{name}= is not a share",
                where="plan",
                got=repr(value),
                expected=f"a number above 0 and {'at most' if closed else 'below'} 1",
                fix=f"write {name}=0.9, say",
            )
    if gate.truth <= gate.target:
        raise DataError(
            "no number of pairs passes this gate",
            where="plan",
            got=f"target={gate.target:g}, truth={gate.truth:g}",
            expected="a truth above the target",
            fix="lower the target",
        )


def _planned(algorithm: Algorithm, design: Design, needed: int, gate: _Gate) -> Plan:
    reservoir = Reservoir(algorithm, design)
    rng = np.random.default_rng([design.seed, 19])
    sets = design.swaps_of(algorithm)
    whole = reservoir.pool()
    weights = natural_weights(algorithm, [candidates(whole, one, rng) for one in sets])
    pool = whole.restrict(inside(whole.ids, design))
    options = [_by_stratum(candidates(pool, one, rng)) for one in sets] if len(pool) else []
    strata, offsets = strata_offsets(algorithm, sets)
    places = [
        (index, strata.index(stratum) - offsets[index])
        for index, one in enumerate(sets)
        for (label, stratum), weight in weights.items()
        if label == one.label and weight > 0
    ]
    ceilings: dict[tuple[int, int], int] = {}
    together: int | None = None
    if pool.complete:
        stock = Stock(options, rng) if options else None
        for index, stratum in places:
            ceilings[index, stratum] = 0
            if stock is not None and (options[index].stratum == stratum).any():
                most = len(pool) // (1 + len(sets[index].slots))
                ceilings[index, stratum] = _served(options, [(index, stratum)], most, stock, restarts=1)
        together = 0
        if stock is not None and min(ceilings.values()) > 0:
            together = _together(options, places, min(needed, *ceilings.values()), stock)
    cells = tuple(
        _planned_cell(label, stratum, weight, pool.complete, ceilings.get((index, place)), needed, gate.alpha)
        for index, one in enumerate(sets)
        for (label, stratum), weight in weights.items()
        if label == one.label
        for place in [strata.index(stratum) - offsets[index]]
    )
    share = design.shares[0][1]
    per_set = max(sum(i == index for i, _ in places) for index in range(len(sets)))
    n = needed * per_set * len(sets)
    distinct = sum(needed * per_set * (1 + len(one.slots)) for one in sets)
    return Plan(
        algorithm=algorithm.name,
        distribution=words(algorithm, design.distribution),
        target=gate.target,
        truth=gate.truth,
        alpha=gate.alpha,
        power=gate.power,
        share=share,
        needed=needed,
        cells=cells,
        n=n,
        total=int(np.ceil(n / share)),
        together=together,
        passes=n + (min(distinct, len(pool)) if pool.complete else distinct),
    )


def _planned_cell(
    label: str, stratum: str, weight: float, complete: bool, ceiling: int | None, needed: int, alpha: float
) -> PlannedCell:
    if not complete:
        return PlannedCell(label, stratum, weight, None, 1.0, True)
    most = ceiling or 0
    # n hits of n have the Clopper-Pearson lower bound alpha ** (1 / n).
    return PlannedCell(label, stratum, weight, most, alpha ** (1 / most) if most else 0.0, most >= needed)


def _served(
    options: Sequence[Candidates],
    places: Sequence[tuple[int, int]],
    count: int,
    stock: Stock,
    restarts: int = 4,
) -> int:
    """How many of `count` pairs per (option, stratum) can be drawn without using an input twice."""
    index, stratum = (np.repeat([place[k] for place in places], count) for k in (0, 1))
    rng = np.random.default_rng([23, count])
    order = rng.permutation(len(index))
    requests = Requests(index[order], stratum[order])
    filled = fill_disjoint(options, requests, rng, strict=True, restarts=restarts, stock=stock)
    return len(requests) - len(filled.missing)


def _together(
    options: Sequence[Candidates], places: Sequence[tuple[int, int]], most: int, stock: Stock
) -> int:
    """The most pairs per place, up to `most`, that all places can have at once without sharing an input."""
    low, high = 0, most + 1
    while high - low > 1:
        middle = most if high > most else (low + high) // 2
        fits = _served(options, places, middle, stock) == middle * len(places)
        low, high = (middle, high) if fits else (low, middle)
    return low


def _by_stratum(option: Candidates) -> Candidates:
    return replace(option, cell=option.stratum, outer_of=np.arange(int(option.stratum.max()) + 1))


def pairs_needed(gate: _Gate) -> int:
    """The smallest n with P(Clopper-Pearson lower bound of Binomial(n, truth) >= target) >= power."""
    from scipy.stats import beta, binom

    def passes(n: int) -> bool:
        # The fewest hits whose lower bound clears the target; the bound grows with the hits.
        hits = np.arange(max(int(np.floor(gate.target * n)), 1), n + 1)
        clear = hits[beta.ppf(gate.alpha, hits, n - hits + 1) >= gate.target]
        return bool(len(clear)) and float(binom.sf(clear[0] - 1, n, gate.truth)) >= gate.power

    high = 1
    while not passes(high):
        high *= 2
        if high > _MOST:
            raise DataError(
                "the gate needs more than a million pairs",
                where="plan",
                got=f"target={gate.target:g}, truth={gate.truth:g}",
                expected="a truth further above the target",
                fix="lower the target",
            )
    # The power is a saw-tooth in n, so bisection finds a passing n; the first is a tooth or so below.
    low = high // 2
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if passes(middle) else (middle, high)
    tooth = int(4 / (1 - gate.target)) + 4
    return next(n for n in range(max(high - tooth, 1), high + 1) if passes(n))

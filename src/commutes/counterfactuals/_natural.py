"""What the distribution gives every cell of pairs, and through it every pair."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from commutes.algorithm import Algorithm, Finite, Space, Variable
from commutes.counterfactuals._candidates import Candidates
from commutes.counterfactuals._codes import first_rows, joint_codes
from commutes.counterfactuals._design import Design
from commutes.counterfactuals._pool import Pool, pool_of_all
from commutes.counterfactuals._strata import Strata, strata_of
from commutes.counterfactuals._swap import Swap

if TYPE_CHECKING:
    from commutes.counterfactuals._value import Counterfactuals

__all__ = ["Natural", "natural_cells", "natural_of", "natural_shares", "natural_weights", "strata_offsets"]

Balanced = dict[tuple[str, str, tuple[int, ...]], float]


@dataclass(frozen=True)
class Natural:
    """The probabilities of the cells under the distribution, each mapping summing to one per swap set."""

    weights: dict[tuple[str, str], float]
    """By swap label and stratum."""
    balanced: Balanced
    """By swap label, stratum, and the codes of what is balanced within it; empty where nothing is."""
    draws: int
    """How many draws stand behind them; 0 where they are exact."""


def strata_offsets(algorithm: Algorithm, swaps: Sequence[Swap]) -> tuple[Strata, list[int]]:
    """All strata of these swap sets in a fixed order, and where each swap set's own begin."""
    real = isinstance(algorithm.domain(algorithm.output_variable), Space)
    arities = [1 if real else min(len(swap.slots), 3) for swap in swaps]
    names: list[str] = []
    begin: dict[int, int] = {}
    for arity in sorted(set(arities)):
        begin[arity] = len(names)
        names += strata_of(arity, real)
    return tuple(names), [begin[arity] for arity in arities]


def natural_weights(algorithm: Algorithm, options: Sequence[Candidates]) -> dict[tuple[str, str], float]:
    """The probability of each stratum under the distribution, summing to one per swap set."""
    strata, offsets = strata_offsets(algorithm, [o.swap for o in options])
    real = isinstance(algorithm.domain(algorithm.output_variable), Space)
    weights: dict[tuple[str, str], float] = {}
    for option, offset in zip(options, offsets, strict=True):
        own = strata_of(len(option.source_kinds), real)
        mass = np.bincount(option.stratum, weights=option.mass, minlength=len(own))
        for place, value in enumerate(mass / mass.sum()):
            weights[option.swap.label, strata[offset + place]] = float(value)
    return weights


def natural_of(algorithm: Algorithm, design: Design, pool: Pool, options: Sequence[Candidates]) -> Natural:
    """All weights of these candidates."""
    draws = max(option.draws for option in options) or pool.draws
    return Natural(
        natural_weights(algorithm, options), _balanced_weights(algorithm, design, pool, options), draws
    )


def _flipped(algorithm: Algorithm, design: Design) -> tuple[Variable, ...]:
    """The variables by whose transition controlled pairs are balanced."""
    flip = tuple(algorithm[name] for name in design.flip or ())
    return flip if all(isinstance(algorithm.domain(v), Finite) for v in flip) else ()


def _balanced_weights(
    algorithm: Algorithm, design: Design, pool: Pool, options: Sequence[Candidates]
) -> Balanced:
    strata, offsets = strata_offsets(algorithm, [o.swap for o in options])
    found: Balanced = {}
    for option, offset in zip(options, offsets, strict=True):
        if design.flip is not None:
            base = option.base_kinds.first[option.base]
            source = option.source_kinds[0].first[option.source[:, 0]]
            values = [pool.columns[v.name] for v in _flipped(algorithm, design)]
            columns = [column[rows] for column in values for rows in (base, source)]
        else:
            columns = [] if option.expected.dtype.kind == "f" else [option.expected]
        if not columns:
            continue
        cell = joint_codes([option.stratum, *columns], len(option.mass))
        mass = np.bincount(cell, weights=option.mass)
        for row, value in zip(first_rows(cell), mass / mass.sum(), strict=True):
            stratum = strata[offset + option.stratum[row]]
            found[option.swap.label, stratum, tuple(int(c[row]) for c in columns)] = float(value)
    return found


def _columns(pairs: Counterfactuals) -> list[np.ndarray]:
    """Per pair, the codes of what is balanced within its stratum."""
    if not pairs.balanced_weights:
        return []
    if pairs.design.flip is None:
        return [pairs.expected]
    values = [pairs.columns[v.name] for v in _flipped(pairs.algorithm, pairs.design)]
    return [column[rows] for column in values for rows in (pairs.base, pairs.source[:, 0])]


def natural_cells(pairs: Counterfactuals) -> np.ndarray:
    """See `Counterfactuals.natural_cell`."""
    return joint_codes([pairs.swap, pairs.stratum, *_columns(pairs)], len(pairs))


def natural_shares(pairs: Counterfactuals) -> np.ndarray:
    """See `Counterfactuals.natural_weight`."""
    columns, cell = _columns(pairs), pairs.natural_cell
    weights = pairs.balanced_weights or {(*key, ()): weight for key, weight in pairs.weights.items()}
    keys = [
        (
            pairs.swaps[pairs.swap[row]].label,
            pairs.strata[pairs.stratum[row]],
            tuple(int(c[row]) for c in columns),
        )
        for row in first_rows(cell)
    ]
    mass = _census_mass(pairs) if pairs.design.complete else np.ones(len(pairs))
    each = np.array([weights.get(key, 0.0) for key in keys]) / np.bincount(cell, weights=mass)
    share = each[cell] * mass
    seen = set(keys)
    unseen = {
        label for (label, *rest), weight in weights.items() if weight > 0 and (label, *rest) not in seen
    }
    for index, swap in enumerate(pairs.swaps):
        if swap.label in unseen:
            share[pairs.swap == index] = np.nan
    return share


def _census_mass(pairs: Counterfactuals) -> np.ndarray:
    """The probability of each pair of a census, in which all inputs are as common as each other."""
    pool = pool_of_all(pairs.algorithm, by_value=True)
    order = np.argsort(pool.ids)
    weight = pool.weights[order[np.searchsorted(pool.ids[order], pairs.ids)]]
    return np.where(pairs.members >= 0, weight[pairs.members], 1.0).prod(axis=1)

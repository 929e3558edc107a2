"""Hits made into rates: by stratum, variable, transition and direction, with the worst cell as the headline."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from commutes.algorithm import Finite
from commutes.counterfactuals import Counterfactuals
from commutes.stats import Rate, rate, upper_bound, weighted_share

# Fewer pairs or inputs cannot pass a gate at .95 even without a miss: .05 ** (1 / 59) is the first above it.
GATED = 59

# Of more kinds of change than this, those of a few pairs say nothing one by one and are left out.
_LISTED, _ENOUGH = 64, 20

Status = Literal["gated", "too small", "impossible"]
Natural = tuple[float, float, float]


@dataclass(frozen=True)
class Cell:
    """One swapped set in one stratum."""

    swap: str
    stratum: str
    status: Status
    inputs: int
    """Distinct inputs among its pairs."""
    weight: float
    """Share of the swapped set's pairs that lie here under the distribution."""
    rate: Rate | None
    floors: Mapping[str, float]
    """What doing nothing, the best constant answer and a random subspace reach here."""


@dataclass(frozen=True)
class Worst:
    """The worst gated cell: the headline, with the bounds of the minimum over cells."""

    swap: str
    stratum: str
    rate: float
    lower: float
    """Minimum over the cells of their lower bounds at .05."""
    upper: float
    """Minimum over the cells of their upper bounds at .05 / cells."""
    cells: int
    too_small: int = 0
    """Cells that have weight under the distribution and too few pairs or inputs to be among `cells`."""


@dataclass(frozen=True)
class Change:
    """One swapped set, for pairs that go from one value to another."""

    swap: str
    before: str
    after: str
    rate: Rate


def is_gated(pairs: Counterfactuals, rows: np.ndarray) -> bool:
    """Whether a cell of these pairs has enough pairs and inputs for a gate, or is all there is."""
    if not len(rows):
        return False
    return pairs.complete or (len(rows) >= GATED and inputs_of(pairs, rows) >= GATED)


def inputs_of(pairs: Counterfactuals, rows: np.ndarray) -> int:
    """How many distinct inputs these pairs use."""
    members = pairs.members[rows]
    return len(np.unique(members[members >= 0]))


def cell_rows(pairs: Counterfactuals) -> list[tuple[str, str, np.ndarray]]:
    """Every swapped set x stratum of that many sources, with the rows that lie in it."""
    rows = []
    for s, swap in enumerate(pairs.swaps):
        for t, stratum in enumerate(pairs.strata):
            # Sets of one variable and of several have strata of their own, and are not measured in the others'.
            if (swap.label, stratum) in pairs.weights:
                rows.append((swap.label, stratum, np.nonzero((pairs.swap == s) & (pairs.stratum == t))[0]))
    return rows


def rate_of(hits: np.ndarray, pairs: Counterfactuals, rows: np.ndarray | None = None) -> Rate:
    """The rate of the rows, with intervals that respect shared inputs."""
    chosen = slice(None) if rows is None else rows
    return rate(hits[chosen], pairs.members[chosen], census=pairs.complete)


def cells(hits: np.ndarray, pairs: Counterfactuals, floors: Mapping[str, np.ndarray]) -> list[Cell]:
    """All cells.

    Args:
        hits: Per pair.  # shape: (n,)
        pairs: What was measured.
        floors: Per floor, the hits of each pair, one row a draw.  # shape of each: (draws, n)
    """
    found = []
    for swap, stratum, rows in cell_rows(pairs):
        weight = float(pairs.weights[swap, stratum])
        if not len(rows):
            # A stratum that never came up in a sample of the distribution is rare for all that is known.
            impossible = weight == 0 and pairs.weight_draws == 0
            status: Status = "impossible" if impossible else "too small"
            found.append(Cell(swap, stratum, status, 0, weight, None, {}))
            continue
        status = "gated" if is_gated(pairs, rows) else "too small"
        beside = {name: float(drawn[:, rows].mean()) for name, drawn in floors.items()}
        inputs, here = inputs_of(pairs, rows), rate_of(hits, pairs, rows)
        found.append(Cell(swap, stratum, status, inputs, weight, here, beside))
    return found


def worst(found: Sequence[Cell], hits: np.ndarray, pairs: Counterfactuals) -> Worst | None:
    """The gated cell with the lowest rate, and the bounds of the minimum; None where no cell is gated."""
    gated = [(cell, cell.rate) for cell in found if cell.status == "gated" and cell.rate is not None]
    if not gated:
        return None
    lowest, value = min(gated, key=lambda pair: pair[1].rate)
    upper = min(
        _upper(hits, pairs, rows, len(gated))
        for swap, stratum, rows in cell_rows(pairs)
        if any(cell.swap == swap and cell.stratum == stratum for cell, _ in gated)
    )
    lower = min(r.lower for _, r in gated)
    left_out = sum(cell.status == "too small" and cell.weight > 0 for cell in found)
    return Worst(lowest.swap, lowest.stratum, value.rate, lower, upper, len(gated), left_out)


def is_effective(stratum: str) -> bool:
    """Whether the expected answer differs from the base's in this stratum, so that doing nothing is wrong.

    >>> [is_effective(name) for name in ("flip", "novel", "placebo", "b=0 s1=1 s2=0", "b=1 sources=all")]
    [True, True, False, True, False]
    """
    return stratum in ("flip", "novel") or stratum.startswith("b=0 ")


def _upper(hits: np.ndarray, pairs: Counterfactuals, rows: np.ndarray, gated: int) -> float:
    if pairs.complete:
        return float(hits[rows].mean())
    return upper_bound(hits[rows], pairs.members[rows], alpha=0.05 / gated)


def natural(hits: np.ndarray, pairs: Counterfactuals) -> dict[str, Natural | None]:
    """Per swapped set, the mean with the weights that the distribution gives, low, high.

    Each pair weighs what its cell of stratum and expected answer weighs, over the pairs there. None where a cell
    that has weight was not measured.
    """
    return {
        swap.label: _natural(hits, pairs, np.nonzero(pairs.swap == index)[0])
        for index, swap in enumerate(pairs.swaps)
    }


def natural_mean(hits: np.ndarray, pairs: Counterfactuals) -> Natural | None:
    """`natural` as the mean over all swapped sets, its interval from all pairs at once."""
    if any(found is None for found in natural(hits, pairs).values()):
        return None
    return _natural(hits, pairs, np.arange(len(pairs)))


def _natural(hits: np.ndarray, pairs: Counterfactuals, rows: np.ndarray) -> Natural | None:
    weights = pairs.natural_weight[rows]
    # nan where a cell is missing, and no pairs or no weight at all where nothing is known of the distribution.
    if not weights.sum() > 0:
        return None
    found = weighted_share(
        hits[rows], weights, pairs.natural_cell[rows], pairs.members[rows], census=pairs.complete
    )
    return found.value, found.low, found.high


def transitions(hits: np.ndarray, pairs: Counterfactuals) -> list[Change]:
    """Rates by (v_b -> v_s) for every set that swaps one variable with a finite domain."""
    found = []
    for s, swap in enumerate(pairs.swaps):
        variable = swap.variables[0]
        domain = pairs.algorithm.domain(variable)
        if len(swap.variables) != 1 or not isinstance(domain, Finite):
            continue
        rows = np.nonzero(pairs.swap == s)[0]
        before, after = pairs.base_value(variable)[rows], pairs.source_value(variable)[rows]
        found += _changes(swap.label, before, after, rows, hits, pairs, domain.values)
    return found


def directions(hits: np.ndarray, pairs: Counterfactuals) -> list[Change]:
    """Rates by (y_b -> y*): a site that breaks the answer but cannot repair it shows here."""
    domain = pairs.algorithm.domain(pairs.algorithm.output_variable)
    if not isinstance(domain, Finite):
        return []
    found = []
    for s, swap in enumerate(pairs.swaps):
        rows = np.nonzero(pairs.swap == s)[0]
        found += _changes(
            swap.label, pairs.base_answer[rows], pairs.expected[rows], rows, hits, pairs, domain.values
        )
    return found


def _changes(
    label: str,
    before: np.ndarray,
    after: np.ndarray,
    rows: np.ndarray,
    hits: np.ndarray,
    pairs: Counterfactuals,
    values: Sequence[object],
) -> list[Change]:
    kinds, kind = np.unique(np.stack([before, after], axis=1), axis=0, return_inverse=True)
    kind = kind.reshape(-1)
    members = [rows[kind == i] for i in range(len(kinds))]
    least = 1 if len(kinds) <= _LISTED else _ENOUGH
    return [
        Change(label, str(values[b]), str(values[a]), rate_of(hits, pairs, own))
        for (b, a), own in zip(kinds, members, strict=True)
        if len(own) >= least
    ]

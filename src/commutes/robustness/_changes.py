"""Whether a shift changes anything: the pairs that it gives against the claim's own."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import torch

from commutes.algorithm import Algorithm, Columns, Finite
from commutes.counterfactuals import Counterfactuals, Distribution, Swap, given_pairs, input_sampler
from commutes.network import Inputs
from commutes.robustness._rungs import Rung, SwapNames, own_distribution, plain_columns
from commutes.stats import apart

# Pairs that are drawn of each of two distributions to tell them apart, and the error rate over all comparisons: a
# shift must be shown to change something.
PROBED, SURE = 2048, 0.01

# A stratum and answer that one of the two has so often, and the other never, is a difference; and numbers are cut
# into so many parts.
_OFTEN, _PARTS = 10, 8


@dataclass(frozen=True)
class Changed:
    """What a shift changes most."""

    what: str
    distance: float
    """Total variation: the share of pairs in which it is another than in the claim's, from 0 to 1."""

    def __str__(self) -> str:
        return f"{self.what} by {self.distance:.2f}"


def changed(rung: Rung, test: Counterfactuals, seed: int) -> Changed | None:
    """What the shift changes; None where the pairs and how they are read are not shown to differ from the claim's.

    Args:
        rung: The shift.
        test: The claim's own pairs.
        seed: Of the drawings that are compared.
    """
    shift, algorithm, known = rung.shift, rung.alignment.algorithm, test.algorithm
    if shift.kind == "alignment" and algorithm.fingerprint != known.fingerprint:
        return Changed("the algorithm", 1.0)
    beyond = 0.0 if shift.kind != "domain" else _beyond(rung, known, seed)
    if beyond:
        return Changed("inputs beyond the claim's domain", beyond)
    if shift.kind in ("template", "network", "alignment") and _read_otherwise(rung, test, seed):
        return Changed("how inputs are read", 1.0)
    found = [
        _of_pairs(rung, test, [swap for swap in test.swaps if _name(swap) in swaps], distribution, seed)
        for swaps, distribution in rung.draws
        if distribution != own_distribution(test)
    ]
    return max((one for one in found if one is not None), key=lambda one: one.distance, default=None)


def _name(swap: Swap) -> SwapNames:
    return tuple(v.name for v in swap.variables), swap.shared


def _beyond(rung: Rung, known: Algorithm, seed: int) -> float:
    """Share of the shift's inputs with a value that the claim's domain has not."""
    algorithm = rung.alignment.algorithm
    outside = np.zeros(PROBED, dtype=bool)
    columns = input_sampler(algorithm, rung.draws[0][1])(np.random.default_rng([seed, 33]), PROBED)
    for name, column in columns.items():
        here, there = algorithm.domain(name), known.domain(name)
        if here is there:
            continue
        if isinstance(here, Finite):
            outside |= np.array([value not in there for value in here.values])[column]
        else:
            outside |= np.array([value not in there for value in here.decode(column)])
    return float(outside.mean())


def _read_otherwise(rung: Rung, test: Counterfactuals, seed: int) -> bool:
    algorithm = rung.alignment.algorithm
    columns = input_sampler(algorithm, rung.draws[0][1])(np.random.default_rng([seed, 34]), 64)
    arrays = algorithm.arrays(columns)
    return not _alike(rung.alignment.network.encode(arrays), rung.claim.network.encode(arrays))


def _alike(one: Inputs, other: Inputs) -> bool:
    if len(one.args) != len(other.args) or one.kwargs.keys() != other.kwargs.keys():
        return False
    both = [*zip(one.args, other.args, strict=True), *((one.kwargs[k], other.kwargs[k]) for k in one.kwargs)]
    return all(a.shape == b.shape and torch.equal(a, b) for a, b in both)


def _of_pairs(
    rung: Rung, test: Counterfactuals, swaps: Sequence[Swap], distribution: str | Distribution, seed: int
) -> Changed | None:
    """The largest difference that is shown, in single variables and in every two of them, of bases and of sources.

    Pairs are measured in equal numbers per stratum and expected answer, so that how common these are is no difference:
    equally many of each are compared.
    """
    known, algorithm = test.algorithm, rung.alignment.algorithm
    ours = _drawn(known, known, own_distribution(test), swaps, seed)
    theirs = _drawn(known, algorithm, distribution, swaps, seed + 1)
    cells = _cells([ours, theirs])
    counts = np.stack([np.bincount(cell, minlength=max(map(np.max, cells)) + 1) for cell in cells])
    one_sided = counts[:, (counts == 0).any(axis=0) & (counts >= _OFTEN).any(axis=0)].sum(axis=1) / PROBED
    if one_sided.any():
        return Changed("the strata and answers that there are", float(one_sided.max()))
    rows = [_first(cell, counts.min(axis=0)) for cell in cells]
    found = []
    for role in range(ours.members.shape[1]):
        members = [pairs.members[own, role] for pairs, own in zip((ours, theirs), rows, strict=True)]
        members = [own[own >= 0] for own in members]
        found += list(
            _compared(known, (ours.columns, theirs.columns), members, "sources" if role else "bases")
        )
    shown = [one for one, p in found if p * len(found) < SURE]
    # Of two that hang together the pair is named only where neither shows it alone.
    alone = [one for one in shown if " with " not in one.what]
    return max(alone or shown, key=lambda one: one.distance, default=None)


def _drawn(
    known: Algorithm,
    algorithm: Algorithm,
    distribution: str | Distribution,
    swaps: Sequence[Swap],
    seed: int,
) -> Counterfactuals:
    """Pairs of independent draws, under the claim's algorithm."""
    slots = max(len(swap.slots) for swap in swaps)
    sampler, rng = input_sampler(algorithm, distribution), np.random.default_rng([seed, 37])
    roles = [sampler(rng, PROBED) for _ in range(1 + slots)]
    if algorithm is not known:
        roles = [known.columns(plain_columns(algorithm, role)) for role in roles]
    return given_pairs(known, swaps, np.arange(PROBED) % len(swaps), roles[0], roles[1:])


def _cells(several: Sequence[Counterfactuals]) -> list[np.ndarray]:
    """The swapped set, stratum and expected answer of every pair as one number, the same in all of several samples."""
    codes = [np.stack([pairs.swap, pairs.stratum, pairs.expected], axis=1) for pairs in several]
    place = np.unique(np.concatenate(codes), axis=0, return_inverse=True)[1].reshape(-1)
    return np.split(place, np.cumsum([len(own) for own in codes])[:-1])


def _first(cell: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """The first so many pairs of every cell."""
    order = np.argsort(cell, kind="stable")
    rank = np.arange(len(cell)) - np.searchsorted(cell[order], cell[order], side="left")
    return np.sort(order[rank < wanted[cell[order]]])


def _compared(
    algorithm: Algorithm, columns: tuple[Columns, Columns], rows: list[np.ndarray], role: str
) -> Iterator[tuple[Changed, float]]:
    """Differences with their p-values, of the variables that have values and of every two of them."""
    cut = [len(rows[0])]
    coded = {}
    for v in algorithm.variables:
        both = np.concatenate([found[v.name][own] for found, own in zip(columns, rows, strict=True)])
        if isinstance(algorithm.domain(v), Finite):
            coded[v.name] = both
        else:
            # Whatever hangs together between numbers shows in the variables that are computed from them.
            flat = both.reshape(len(both), -1)
            several = flat.shape[1] > 1
            coded |= {f"{v.name}[{i}]" if several else v.name: _cut(part) for i, part in enumerate(flat.T)}
    for name, column in coded.items():
        found = apart(*np.split(column, cut))
        yield Changed(f"{name} of {role}", found.distance), found.p
    finite = [v.name for v in algorithm.variables if v.name in coded]
    for one, other in combinations(finite, 2):
        joint = coded[one] * (int(coded[other].max()) + 1) + coded[other]
        found = apart(*np.split(joint, cut))
        yield Changed(f"{one} with {other} of {role}", found.distance), found.p


def _cut(numbers: np.ndarray) -> np.ndarray:
    bounds = np.quantile(numbers, np.arange(1, _PARTS) / _PARTS)
    return np.searchsorted(bounds, numbers)

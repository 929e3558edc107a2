"""What the readers of a site make of its states: clean ones that are learnt from, natural ones, and edited ones."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from commutes.algorithm import Finite
from commutes.alignment import Group
from commutes.counterfactuals import Counterfactuals, Swap
from commutes.engine import SiteEdit
from commutes.robustness._case import Case
from commutes.robustness._decoding import clean
from commutes.robustness._readers import ReadSpace
from commutes.robustness._states import clean_states


@dataclass(frozen=True, eq=False)
class Pool:
    """Which clean states are learnt from, and which inputs and pairs are looked at."""

    states: dict[Any, torch.Tensor]
    """By site, clean states that no measured input has.  # shape: (n, groups, d)"""
    inputs: np.ndarray
    """Inputs of the test part that stand for natural ones."""
    rows: np.ndarray
    """Pairs of the test part that are measured."""
    pairs: Counterfactuals
    learnt: np.ndarray
    """Whose inputs the states are of, and which of them."""
    on: str


@dataclass(frozen=True, eq=False)
class Views:
    """What the readers make of states, for one swapped set."""

    name: str
    rows: np.ndarray
    """Pairs whose swap changes a value at the site."""
    inputs: np.ndarray
    """Inputs that stand for natural ones."""
    cells: tuple[np.ndarray, np.ndarray]
    """Numbers for what values the site's variables have: in natural inputs, and after each swap."""
    fitted: torch.Tensor
    """Of the clean states that are learnt from."""
    natural: torch.Tensor
    before: torch.Tensor
    after: torch.Tensor

    def along(self, directions: torch.Tensor) -> Views:
        """The same in these directions only."""
        return replace(
            self,
            fitted=self.fitted @ directions,
            natural=self.natural @ directions,
            before=self.before @ directions,
            after=self.after @ directions,
        )


def pool_of(case: Case) -> Pool:
    """Learnt from the training split, or all of a complete domain; else from half of the pairs for the other half."""
    fitted = clean(case, source=False)
    every = np.arange(len(case.test))
    if fitted.held_out or case.test.complete:
        on = (
            f"{len(fitted.inputs):,} inputs of the training split"
            if fitted.held_out
            else "the complete domain"
        )
        inputs = np.arange(len(case.test.ids))
        return Pool(dict(fitted.states), inputs, every, fitted.pairs, fitted.inputs, on)
    rows = np.sort(np.random.default_rng([case.seed, 71]).permutation(every)[: len(every) // 2])
    members = case.test.members[rows]
    measured = np.unique(members[members >= 0])
    kept = ~np.isin(fitted.inputs, measured)
    states = {site: found[torch.from_numpy(kept)] for site, found in fitted.states.items()}
    on = f"{int(kept.sum()):,} other inputs of the test part"
    return Pool(states, measured, rows, fitted.pairs, fitted.inputs[kept], on)


def views_of(case: Case, group: Group, space: ReadSpace, pool: Pool) -> Iterator[tuple[Swap, Views]]:
    """What is seen of every swapped set that changes something at a site.

    Args:
        case: With the pairs.
        group: One of the alignment's.
        space: What is read of its site.
        pool: Which states and pairs.
    """
    fitted = space.view(pool.states[group.site].cpu()).flatten(1)
    base = torch.cat([states for _, states in clean_states(case.bench.prepared, group.site)])
    pairs = case.test
    for index, swap in enumerate(pairs.swaps):
        rows = pool.rows[pairs.swap[pool.rows] == index]
        rows = rows[_changes(case, group, swap, rows)]
        if len(rows) and len(fitted):
            name = swap.label if len(case.alignment.groups) == 1 else f"{swap.label} at {group.site}"
            natural, before = (
                space.view(base[torch.from_numpy(chosen)].cpu()).flatten(1)
                for chosen in (pool.inputs, pairs.base[rows])
            )
            edited = _edited(case, group, space, base, rows)
            cells = _cells(case, group, pool.inputs, rows)
            yield swap, Views(name, rows, pool.inputs, cells, fitted, natural, before, edited)


def _changes(case: Case, group: Group, swap: Swap, rows: np.ndarray) -> np.ndarray:
    """Where a variable of the group gets another value."""
    changed = np.zeros(len(rows), bool)
    for variable in swap.variables:
        if variable in group.columns:
            other = case.test.base_value(variable)[rows] != case.test.source_value(variable)[rows]
            changed |= other.reshape(len(rows), -1).any(axis=1)
    return changed


def _edited(case: Case, group: Group, space: ReadSpace, base: torch.Tensor, rows: np.ndarray) -> torch.Tensor:
    """The readers' view of the states after the swap.  # shape: (n, rank)"""
    prepared, pairs = case.bench.prepared, case.test
    number = case.alignment.groups.index(group)
    featurizer, mask = case.alignment.featurizers[number], case.bench.masks[number]
    parts = []
    for own in np.array_split(rows, max(1, -(-len(rows) // case.bench.at_once))):
        bases = torch.from_numpy(pairs.base[own])
        sources = prepared.batch(bases, torch.from_numpy(pairs.source[own])).sources[number]
        taken = mask[torch.from_numpy(own).to(mask.device)]
        with torch.no_grad():
            edit = SiteEdit(prepared.plan[group.site], featurizer, sources, taken, ())
            parts.append(space.view(edit.swapped(base[bases]).cpu()).flatten(1))
    return torch.cat(parts)


def _cells(case: Case, group: Group, inputs: np.ndarray, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Numbers for what values the site's variables have: in natural inputs, and after each swap."""
    pairs = case.test
    before, after = [np.zeros(len(inputs), np.int64)], [np.zeros(len(rows), np.int64)]
    for variable in group.columns:
        if isinstance(pairs.algorithm.domain(variable), Finite):
            before.append(pairs.columns[variable.name][inputs])
            swapped = pairs.swapped(variable)[rows]
            after.append(
                np.where(swapped, pairs.source_value(variable)[rows], pairs.base_value(variable)[rows])
            )
    table = np.concatenate([np.stack(before, axis=1), np.stack(after, axis=1)])
    number = np.unique(table, axis=0, return_inverse=True)[1].reshape(-1)
    return number[: len(inputs)], number[len(inputs) :]


def quantile(values: np.ndarray, weights: np.ndarray, share: float) -> float:
    """The least of the values beyond which no more than this share of the weight lies.  # shapes: (n,)"""
    order = np.argsort(values, kind="stable")
    beyond = weights.sum() - np.cumsum(weights[order])
    return float(values[order][np.argmax(beyond <= share * weights.sum() * (1 + 1e-9))])

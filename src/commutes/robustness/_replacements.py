"""What may be put into a variable's coordinates so that the variable has the source's value."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch

from commutes.algorithm import Variable
from commutes.engine import Batch
from commutes.evaluation import Alter
from commutes.robustness._case import Case
from commutes.robustness._decoding import (
    Decoding,
    clean,
    coordinates_of,
    decoding,
    read_as_sources,
    undecodable,
)
from commutes.robustness._metrics import SPARED
from commutes.robustness._states import clean_states
from commutes.stats import show

INTERCHANGE, RESAMPLE, MEAN, NOISE, ZERO = "interchange", "resample", "mean", "noise", "zero"

# Where clean states do not decode as often as this, the mean of a value is no state that has it.
_TOLD = 0.90


@dataclass(frozen=True, eq=False)
class Replacement:
    """What takes the place of the sources' coordinates."""

    name: str
    source: np.ndarray
    """The inputs that it comes from, as far as it comes from one each.  # shape: (n, slots)"""
    usable: np.ndarray
    """Which pairs it can be had for.  # shape: (n,)"""
    change: Alter | None = None


@dataclass(frozen=True, eq=False)
class Replacements:
    """The replacements that there are for a claim."""

    replacements: tuple[Replacement, ...]
    left_out: dict[str, str]
    """By name, why a replacement does not set the variable to the source's value here."""
    passes: int
    """Inputs that the network was run on to find out."""


def replacements(case: Case) -> Replacements:
    """Coordinates of the source, of another input with its value, of that value's mean, and drawn about the mean.

    Each sets the variable to the source's value, so that the algorithm expects the same answer. Zero takes it away
    instead, and no answer is expected of that.
    """
    pairs = case.test
    all_pairs = np.ones(len(pairs), bool)
    found = [Replacement(INTERCHANGE, pairs.source, all_pairs)]
    left_out = {ZERO: "it takes the variable away instead of setting it: no answer is expected of that"}
    coordinates = read_as_sources(case)
    variables = {v: coordinates[v] for v in pairs.variables}
    why = next(filter(None, (undecodable(case, v, c) for v, c in variables.items())), "")
    if why:
        return Replacements(tuple(found), left_out | dict.fromkeys((RESAMPLE, MEAN, NOISE), why), 0)
    source, usable = resampled(case)
    if 1 - usable.mean() > SPARED:
        why = f"for {show(1 - usable.mean())} of the pairs no other input has the source's value"
        return Replacements(tuple(found), left_out | dict.fromkeys((RESAMPLE, MEAN, NOISE), why), 0)
    found.append(Replacement(RESAMPLE, source, usable))
    fitted = clean(case)
    told = {v: decoding(case, fitted, v) for v in variables}
    passes = len(fitted.inputs)
    why = _untold(case, told, variables)
    if why:
        return Replacements(tuple(found), left_out | dict.fromkeys((MEAN, NOISE), why), passes)
    values = _Values(case)
    found.append(Replacement(MEAN, pairs.source, usable, values.means))
    why = _strays(case, told, values)
    if why:
        return Replacements(tuple(found), left_out | {NOISE: why}, passes)
    found.append(Replacement(NOISE, pairs.source, usable, values.drawn))
    return Replacements(tuple(found), left_out, passes)


def alike(case: Case) -> list[list[np.ndarray]]:
    """By swapped set and slot, a number for the values that each input would supply.  # shape of each: (m,)"""
    found = []
    for swap in case.test.swaps:
        columns = [[case.test.columns[v.name] for v in slot] for slot in swap.slots]
        found.append(
            [np.unique(np.stack(own, axis=1), axis=0, return_inverse=True)[1].reshape(-1) for own in columns]
        )
    return found


def resampled(case: Case) -> tuple[np.ndarray, np.ndarray]:
    """For every source another input of the test part that supplies the same values, and where there is one.

    Inputs are dealt out in turn, so that they recur as seldom as they can.

    Returns:
        Inputs, (n, slots), the source itself where there is no other; and (n,).
    """
    pairs = case.test
    source, usable = pairs.source.copy(), np.ones(len(pairs), bool)
    rng = np.random.default_rng([case.seed, 22])
    for number, slots in enumerate(alike(case)):
        rows = np.nonzero(pairs.swap == number)[0]
        for slot, values in enumerate(slots):
            own = pairs.source[rows, slot]
            for value in np.unique(values[own]):
                inputs = rng.permutation(np.nonzero(values == value)[0])
                mine = rows[values[own] == value]
                if len(inputs) == 1:
                    usable[mine] = False
                    continue
                dealt = np.resize(inputs, len(mine))
                same = dealt == pairs.source[mine, slot]
                dealt[same] = np.resize(np.roll(inputs, -1), len(mine))[same]
                source[mine, slot] = dealt
    return source, usable


class _Values:
    """Clean states of the test part by the values that they supply."""

    def __init__(self, case: Case) -> None:
        self.case = case
        self.alike = alike(case)

    @cached_property
    def states(self) -> list[torch.Tensor]:
        """Of every site, (m, groups, d)."""
        prepared = self.case.bench.prepared
        return [
            torch.cat([states for _, states in clean_states(prepared, site, source=True)])
            for site in prepared.plan
        ]

    @cached_property
    def centres(self) -> list[list[list[torch.Tensor]]]:
        """By swapped set, slot and site, the mean state of each value.  # shape of each: (values, groups, d)"""
        return [[[_means(s, values) for s in self.states] for values in slots] for slots in self.alike]

    def means(self, batch: Batch, own: slice) -> Batch:
        """The batch with the mean of the source's value in the source's place."""
        return self._filled(batch, own, noise=False)

    def drawn(self, batch: Batch, own: slice) -> Batch:
        """The same with a draw from a normal distribution about that mean, with the covariance within the values."""
        return self._filled(batch, own, noise=True)

    def _filled(self, batch: Batch, own: slice, *, noise: bool) -> Batch:
        pairs = self.case.test
        rows = np.arange(len(pairs))[own]
        sources = [states.clone() for states in batch.sources]
        for number, slots in enumerate(self.alike):
            here = np.nonzero(pairs.swap[rows] == number)[0]
            for slot, values in enumerate(slots if len(here) else ()):
                value = torch.from_numpy(values[pairs.source[rows[here], slot]])
                weights = self._weights(rows[here], slot, values) if noise else None
                for site, states in enumerate(self.states):
                    centre = self.centres[number][slot][site]
                    put = centre[value.to(centre.device)]
                    if weights is not None:
                        # Sums of residuals with independent normal weights have the residuals' covariance.
                        residuals = states - centre[torch.from_numpy(values).to(centre.device)]
                        put = put + torch.einsum("nm,mgd->ngd", weights.to(residuals), residuals)
                    sources[site][torch.from_numpy(here).to(put.device), slot] = put
        return batch._replace(sources=tuple(sources))

    def _weights(self, rows: np.ndarray, slot: int, values: np.ndarray) -> torch.Tensor:
        """Of every pair by itself, so that its noise does not depend on what it is run with.  # shape: (n, m)"""
        drawn = [
            np.random.default_rng([self.case.seed, 23, int(row), slot]).standard_normal(len(values))
            for row in rows
        ]
        free = max(1, len(values) - (int(values.max()) + 1))
        return torch.from_numpy(np.stack(drawn) / free**0.5)


def _means(states: torch.Tensor, values: np.ndarray) -> torch.Tensor:
    which = torch.from_numpy(values).to(states.device)
    counts = torch.bincount(which).to(states)
    total = torch.zeros(len(counts), *states.shape[1:], dtype=states.dtype, device=states.device)
    return total.index_add_(0, which, states) / counts[:, None, None]


def _untold(case: Case, told: dict[Variable, Decoding], found: dict[Variable, torch.Tensor]) -> str:
    """Why the mean of a value need not have the value; empty where clean states are told apart by such means."""
    every = np.arange(len(case.test.ids))
    for variable, coordinates in found.items():
        right = told[variable].decode(coordinates, every) == case.test.columns[variable.name]
        if right.mean() < _TOLD:
            return (
                f"means do not tell the values of {variable.name} apart: {show(right.mean())} of clean states"
            )
    return ""


def _strays(case: Case, told: dict[Variable, Decoding], values: _Values) -> str:
    """Why draws about a mean need not have the value; empty where nearly all of them do."""
    pairs, prepared = case.test, case.bench.prepared
    least = (1 + case.thresholds.target) / 2
    hits: dict[Variable, list[np.ndarray]] = {variable: [] for variable in told}
    for rows in np.split(np.arange(len(pairs)), range(case.bench.at_once, len(pairs), case.bench.at_once)):
        own = slice(int(rows[0]), int(rows[-1]) + 1)
        batch = prepared.batch(torch.from_numpy(pairs.base[own]), torch.from_numpy(pairs.source[own]))
        drawn = values.drawn(batch, own).sources
        for variable, decoders in told.items():
            hits[variable].append(_decoded(case, variable, decoders, drawn, rows))
    for variable, parts in hits.items():
        right = np.concatenate(parts)
        if right.mean() < least:
            strays = show(1 - right.mean())
            return f"the spread within the values of {variable.name} takes {strays} of draws to another value"
    return ""


def _decoded(
    case: Case, variable: Variable, decoders: Decoding, drawn: Sequence[torch.Tensor], rows: np.ndarray
) -> np.ndarray:
    """Whether draws say the source's value, for those of the pairs that swap the variable."""
    pairs, sites = case.test, case.bench.prepared.plan
    slots = pairs.slot_of(variable)[rows]
    mine = np.nonzero(slots >= 0)[0]
    if not len(mine):
        return np.zeros(0, bool)
    picked = (torch.from_numpy(mine), torch.from_numpy(slots[mine]))
    states = {site: one[picked] for site, one in zip(sites, drawn, strict=True)}
    coordinates = coordinates_of(case.alignment, variable, states)
    own = rows[mine]
    return decoders.decode(coordinates, pairs.source_of(variable)[own]) == pairs.source_value(variable)[own]

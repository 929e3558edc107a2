"""Runs in which units upstream come from another input: what the variables say, and what the network answers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import torch

from commutes.algorithm import Variable
from commutes.robustness._a9_reach import NOTHING
from commutes.robustness._c7_redundancy import READS, copies
from commutes.robustness._case import Case
from commutes.robustness._decoding import Clean, Decoding, clean, coordinates_of, decoding, decoding_of
from commutes.robustness._elsewhere import Elsewhere, outside
from commutes.robustness._resampling import Taken, taken
from commutes.robustness._upstream import Upstream

# Perturbed runs in all, and of every input, at most.
RUNS, TIMES = 4096, 8

# A perturbed state may be as far from a value's mean as so many of the clean ones are from the nearest.
_SPREAD = 0.99


@dataclass(frozen=True, eq=False)
class Perturbed:
    """What perturbed runs showed."""

    place: str
    units: int
    clean: float
    """Agreement without perturbation."""
    moved: Mapping[str, np.ndarray]
    """Per variable, whether it says something else than in the clean run.  # shape: (n,)"""
    near: np.ndarray
    """Whether all variables say something at all.  # shape: (n,)"""
    agrees: np.ndarray
    """Whether the network answers as they say.  # shape: (n,)"""
    stays: np.ndarray
    """Whether its clean answer would have been right, too.  # shape: (n,)"""
    alike: Mapping[str, np.ndarray]
    """Per variable that reads outside as well, whether that says the same.  # shape: (n,)"""
    base: np.ndarray
    source: np.ndarray
    members: np.ndarray

    def rows(self, name: str) -> np.ndarray:
        """Where the variable says something else, and all of them say something."""
        return self.moved[name] & self.near


@dataclass(frozen=True, eq=False)
class Unperturbed:
    """The clean runs, by which it is decided what a state says."""

    readers: dict[Variable, Reader]
    others: dict[Variable, Other]
    clean: Read
    said: dict[Variable, np.ndarray]
    """What each variable says in every input of the test part.  # shape of each: (m,)"""
    reads: dict[str, float]
    """How often that is its value."""
    runs: int


def unperturbed(case: Case, place: Upstream) -> Unperturbed:
    """Decoders, fitted on clean states as bases are read, and what they say of the test part's inputs."""
    fitted = clean(case, source=False)
    readers = {v: Reader(decoding(case, fitted, v)) for v in case.alignment.variables}
    others = _others(case, fitted)
    everything = np.arange(len(case.test.ids))
    found = _read(case, place, everything, everything, None, readers, others)
    said = {v: reader.decoders.decode(found.coordinates[v], everything) for v, reader in readers.items()}
    reads = {v.name: float((said[v] == case.test.columns[v.name]).mean()) for v in readers}
    return Unperturbed(readers, others, found, said, reads, len(fitted.inputs) + len(everything))


def perturbed(case: Case, place: Upstream, before: Unperturbed) -> Perturbed:
    """The same inputs with a random share of their units upstream from others."""
    everything, rng = np.arange(len(case.test.ids)), np.random.default_rng([case.seed, 66])
    pairs = _drawn(case, everything, rng)
    # Of few units and of many, so that values which are spread over several units sometimes come whole.
    units = torch.from_numpy(rng.random((len(pairs), place.units)) < rng.random((len(pairs), 1)))
    after = _read(case, place, pairs.base, pairs.source[:, 0], units, before.readers, before.others)
    said = {
        v: reader.say(after.coordinates[v], pairs.base, before.clean.coordinates[v])
        for v, reader in before.readers.items()
    }
    alike = {}
    for v, other in before.others.items():
        outer = other.reader.say(after.others[v], pairs.base, before.clean.others[v])
        alike[v.name] = outer.near & (outer.values == said[v].values)
    match = case.bench.answers.match
    predicted = _predicted(case, pairs.base, {v: one.values for v, one in said.items()})
    return Perturbed(
        place=str(place.site),
        units=place.units,
        clean=float(match(before.clean.answered, _predicted(case, everything, before.said)).mean()),
        moved={v.name: one.values != before.said[v][pairs.base] for v, one in said.items()},
        near=np.all([one.near for one in said.values()], axis=0),
        agrees=match(after.answered, predicted),
        stays=match(before.clean.answered[pairs.base], predicted),
        alike=alike,
        base=pairs.base,
        source=pairs.source[:, 0],
        # Which units are taken is drawn for every pair, so that pairs of a complete domain are independent.
        members=np.arange(len(pairs))[:, None] if case.test.complete else pairs.members,
    )


def _drawn(case: Case, inputs: np.ndarray, rng: np.random.Generator) -> Taken:
    """Inputs with others to take units from, as often as there is room for: which units is drawn every time."""
    once = taken(case.test, inputs, rng)
    if not len(once) or len(once) >= RUNS:
        return once.some(RUNS, rng)[1]
    # All pairs of a complete domain are there already; of a sampled one every time takes from others.
    times = RUNS // len(once) if case.test.complete else min(TIMES, RUNS // len(once))
    more = [once if case.test.complete else taken(case.test, inputs, rng) for _ in range(times - 1)]
    base, source = (
        np.concatenate([getattr(one, name) for one in (once, *more)]) for name in ("base", "source")
    )
    return replace(once, base=base, source=source, whole=False, drawn=case.test.complete)


@dataclass(frozen=True, eq=False)
class Said:
    """What states say of a variable."""

    values: np.ndarray
    near: np.ndarray
    """Whether they say it: as near to the value's mean as clean states are, and nearer than to any other."""


@dataclass(frozen=True, eq=False)
class Reader:
    """Decoders that know how far clean states are from what they say."""

    decoders: Decoding

    def say(self, coordinates: torch.Tensor, inputs: np.ndarray, unperturbed: torch.Tensor) -> Said:
        """What states say.

        Args:
            coordinates: # shape: (n, k)
            inputs: Which of the test part they stand for.  # shape: (n,)
            unperturbed: Of all inputs of the test part, clean, on which no decoder that is asked was fitted.
        """
        spread = self.decoders.distances(unperturbed, np.arange(len(unperturbed)))[:, 0]
        apart = min(one.apart for one in self.decoders.decoders)
        # Where clean states of one value are one state there is no spread but rounding.
        most = max(float(np.quantile(spread, _SPREAD)), NOTHING * apart)
        distances = self.decoders.distances(coordinates, inputs)
        near = (distances[:, 0] <= most) & (distances[:, 1] - distances[:, 0] > NOTHING * apart)
        return Said(self.decoders.decode(coordinates, inputs), near)


@dataclass(frozen=True, eq=False)
class Other:
    """What lies outside at a variable's site, where it reads as well."""

    place: Elsewhere
    reader: Reader


def _others(case: Case, fitted: Clean) -> dict[Variable, Other]:
    found, rest, best = {}, outside(case), copies(case).best
    for group in case.alignment.groups:
        for variable in group.columns:
            reads = best.get(variable.name)
            if (
                not isinstance(rest, str)
                and group.site in rest
                and reads is not None
                and reads.upper >= READS
            ):
                place = rest[group.site]
                coordinates = place.coordinates(fitted.states[group.site])
                found[variable] = Other(place, Reader(decoding_of(case, fitted, variable, coordinates)))
    return found


@dataclass(frozen=True, eq=False)
class Read:
    """What was read in some runs."""

    coordinates: dict[Variable, torch.Tensor]
    others: dict[Variable, torch.Tensor]
    """Of what lies outside, for variables that read there."""
    answered: np.ndarray


def _read(
    case: Case,
    place: Upstream,
    base: np.ndarray,
    source: np.ndarray,
    units: torch.Tensor | None,
    readers: Mapping[Variable, Reader],
    others: Mapping[Variable, Other],
) -> Read:
    pieces = [
        (
            [coordinates_of(case.alignment, v, run.states) for v in readers],
            [other.place.coordinates(run.states[other.place.site]) for other in others.values()],
            case.bench.answers.decode(run.logits),
        )
        for run in place.runs(base, source, units)
    ]
    own, outer, answered = zip(*pieces, strict=True)
    return Read(
        dict(zip(readers, map(torch.cat, zip(*own, strict=True)), strict=True)),
        dict(zip(others, map(torch.cat, zip(*outer, strict=True)), strict=True)),
        np.concatenate(answered),
    )


def _predicted(case: Case, inputs: np.ndarray, said: Mapping[Variable, np.ndarray]) -> np.ndarray:
    """What the algorithm answers with the variables as decoded."""
    algorithm = case.test.algorithm
    columns = {name: column[inputs] for name, column in case.test.inputs.items()}
    return algorithm.run(columns, dict(said))[algorithm.output_variable.name]

"""Which value of a variable its coordinates say: the one whose clean states lie nearest.

Distances are measured by the spread of clean states about the mean of their own value, so that directions which vary
whatever the value is count for little. With equal shares of the values this is Fisher's linear discriminant.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch

from commutes.algorithm import Finite, Variable
from commutes.alignment import Alignment
from commutes.counterfactuals import Counterfactuals
from commutes.engine import captured, layouts
from commutes.network import Site
from commutes.robustness._case import Case

# Inputs on which decoders are fitted at most: class means need no more, and each is a run of the network.
MOST = 2048

# Where there is no training split, inputs are decoded by what was fitted on the other four fifths.
FOLDS = 5

# Clean states of one value that differ by less than this, relative to their size, are the same in single precision.
_ROUNDING = 1e-6

States = Mapping[Site, torch.Tensor]
"""Per site, (n, groups, d)."""


@dataclass(frozen=True, eq=False)
class Decoder:
    """Means of the coordinates by value, and in what units distances from them are measured."""

    codes: np.ndarray
    """The values that were seen.  # shape: (c,)"""
    means: torch.Tensor
    """# shape: (c, k)"""
    directions: torch.Tensor
    """Orthonormal directions in which clean states of one value differ.  # shape: (k, r)"""
    spread: torch.Tensor
    """How much they do.  # shape: (r,)"""
    elsewhere: float
    """The spread in all other directions."""

    def distances(self, coordinates: torch.Tensor) -> torch.Tensor:
        """How far each state is from the mean of each value, in spreads.  # (n, k) -> (n, c)"""
        x = coordinates.double()
        along, centres = x @ self.directions, self.means @ self.directions
        inside = torch.cdist(along / self.spread, centres / self.spread).square()
        outside = torch.cdist(x, self.means).square() - torch.cdist(along, centres).square()
        return (inside + outside.clamp(min=0) / self.elsewhere**2).sqrt()

    def scaled(self, x: torch.Tensor, power: int) -> torch.Tensor:
        """Rows times the spread to a power, direction by direction.  # (n, k) -> (n, k)"""
        along = x @ self.directions
        rest = x - along @ self.directions.T
        return (along * self.spread**power) @ self.directions.T + rest * self.elsewhere**power

    @property
    def apart(self) -> float:
        """The distance of the two nearest means."""
        gaps = self.distances(self.means)
        others = gaps[~torch.eye(len(gaps), dtype=torch.bool)]
        return float(others.min()) if len(others) else 0.0

    def decode(self, coordinates: torch.Tensor) -> np.ndarray:
        """The code of the nearest mean.  # (n, k) -> (n,)"""
        return self.codes[self.distances(coordinates).argmin(dim=1).numpy()]


def decoder(coordinates: torch.Tensor, codes: np.ndarray) -> Decoder:
    """The decoder of clean states.

    Args:
        coordinates: # shape: (n, k)
        codes: The variable's value in each.  # shape: (n,)

    See A well-conditioned estimator for large-dimensional covariance matrices (Ledoit and Wolf, 2004), by which the
    covariance within the values is shrunk.
    """
    values, own = np.unique(codes, return_inverse=True)
    which = torch.from_numpy(own)
    x = coordinates.double()
    n, k = x.shape
    counts = torch.bincount(which, minlength=len(values)).double()
    means = torch.zeros(len(values), k, dtype=x.dtype).index_add_(0, which, x) / counts[:, None]
    y = x - means[which]
    # The smaller of the two products of y with itself has the same spectrum.
    variances, vectors = torch.linalg.eigh(y.T @ y / n if k <= n else y @ y.T / n)
    kept = variances > 1e-12 * variances[-1].clamp(min=torch.finfo(x.dtype).tiny)
    variances, vectors = variances[kept], vectors[:, kept]
    directions = vectors if k <= n else y.T @ vectors / (n * variances).sqrt()
    level, size = float(variances.sum()) / k, float(variances.square().sum())
    noise = max(0.0, (float(y.square().sum(dim=1).square().sum()) / n - size) / n)
    apart = size - k * level**2
    share = min(1.0, noise / apart) if apart > 0 else 1.0
    least = _ROUNDING**2 * float(x.square().mean()) or 1.0
    spread = ((1 - share) * variances + share * level + least).sqrt()
    return Decoder(values, means, directions, spread, (share * level + least) ** 0.5)


@dataclass(frozen=True, eq=False)
class Decoding:
    """Decoders of a variable for inputs of the test part, none of them fitted on the input that it is asked about."""

    decoders: tuple[Decoder, ...]
    fold: np.ndarray
    """Which of them is asked about each input of the test part.  # shape: (m,)"""
    on: str
    """What they were fitted on, in words."""

    def distances(self, coordinates: torch.Tensor, inputs: np.ndarray) -> np.ndarray:
        """How far each state is from the nearest mean and from the next; infinitely where there is one value only.

        Args:
            coordinates: Of states that stand for inputs of the test part.  # shape: (n, k)
            inputs: Which.  # shape: (n,)

        Returns:
            Shape (n, 2).
        """
        found = np.full((len(inputs), 2), np.inf)
        for number, one in enumerate(self.decoders):
            rows = np.nonzero(self.fold[inputs] == number)[0]
            if len(rows):
                nearest = one.distances(coordinates[torch.from_numpy(rows)]).sort(dim=1).values[:, :2]
                found[rows[:, None], np.arange(nearest.shape[1])] = nearest.numpy()
        return found

    def decode(self, coordinates: torch.Tensor, inputs: np.ndarray) -> np.ndarray:
        """The value that the coordinates say.

        Args:
            coordinates: Of states that stand for inputs of the test part.  # shape: (n, k)
            inputs: Which.  # shape: (n,)
        """
        found = np.empty(len(inputs), np.int64)
        for number, one in enumerate(self.decoders):
            rows = np.nonzero(self.fold[inputs] == number)[0]
            if len(rows):
                found[rows] = one.decode(coordinates[torch.from_numpy(rows)])
        return found


@dataclass(frozen=True, eq=False)
class Clean:
    """Clean states of inputs with the algorithm's values: what decoders are fitted on."""

    pairs: Counterfactuals
    inputs: np.ndarray
    """Which inputs of the pairs.  # shape: (n,)"""
    states: States
    held_out: bool
    """Whether none of them is an input of the test part."""


def clean(case: Case, *, source: bool = True) -> Clean:
    """What decoders are fitted on: the training split where there is one, else the test part itself.

    Args:
        case: The claim.
        source: Whether to read where sources are read, or where bases are.
    """
    held_out = case.train is not None and not np.isin(case.train.ids, case.test.ids).any()
    pairs = case.train if case.train is not None and held_out else case.test
    inputs = np.arange(len(pairs.ids))
    if len(inputs) > MOST:
        inputs = np.sort(np.random.default_rng([case.seed, 61]).choice(inputs, MOST, replace=False))
    network, algorithm = case.alignment.network, case.alignment.algorithm
    network.check_mode()
    encoded = network.encode(algorithm.arrays({name: c[inputs] for name, c in pairs.inputs.items()}))
    found = captured(network, encoded, layouts(network, encoded, case.alignment.sites), source=source)
    return Clean(pairs, inputs, found, held_out)


def decoding(case: Case, found: Clean, variable: Variable) -> Decoding:
    """The decoders of a variable with finitely many values, from the coordinates that carry it."""
    return decoding_of(case, found, variable, coordinates_of(case.alignment, variable, found.states))


def decoding_of(case: Case, found: Clean, variable: Variable, coordinates: torch.Tensor) -> Decoding:
    """The same from other coordinates of the same states.  # shape: (n, k)"""
    codes = found.pairs.columns[variable.name][found.inputs]
    m = len(case.test.ids)
    if found.held_out:
        one = decoder(coordinates, codes)
        return Decoding((one,), np.zeros(m, np.int64), f"{len(codes):,} inputs of the training split")
    fold = np.empty(m, np.int64)
    fold[np.random.default_rng([case.seed, 62]).permutation(m)] = np.arange(m) % min(FOLDS, m)
    parts = []
    for number in range(int(fold.max()) + 1):
        others = fold[found.inputs] != number
        parts.append(decoder(coordinates[torch.from_numpy(others)], codes[others]))
    return Decoding(tuple(parts), fold, "other inputs of the test part")


def coordinates_of(alignment: Alignment, variable: Variable, found: States) -> torch.Tensor:
    """The coordinates that carry the variable, those of several positions one after the other.  # shape: (n, k)"""
    for group, featurizer in zip(alignment.groups, alignment.featurizers, strict=True):
        if variable in group.columns:
            with torch.no_grad():
                read = featurizer.read(found[group.site])[..., list(group.columns[variable])]
            return read.flatten(1).cpu()
    raise KeyError(variable.name)


def read_as_sources(case: Case) -> dict[Variable, torch.Tensor]:
    """The coordinates of every aligned variable in all inputs of the test part, unedited.  # shape of each: (m, k)"""
    prepared, parts = case.bench.prepared, []
    for inputs in torch.arange(len(case.test.ids)).split(case.bench.at_once):
        batch = prepared.batch(inputs, inputs.unsqueeze(1))
        found = {site: states[:, 0] for site, states in zip(prepared.plan, batch.sources, strict=True)}
        parts.append([coordinates_of(case.alignment, v, found) for v in case.alignment.variables])
    joined = [torch.cat(pieces) for pieces in zip(*parts, strict=True)]
    return dict(zip(case.alignment.variables, joined, strict=True))


def undecodable(case: Case, variable: Variable, coordinates: torch.Tensor) -> str:
    """Why nothing can be decoded of a variable at all; empty where something may be."""
    if not isinstance(case.test.algorithm.domain(variable), Finite):
        return f"{variable.name} has no finite list of values to decode"
    if not bool(torch.isfinite(coordinates).all()):
        return f"the coordinates of {variable.name} are not finite"
    return ""

"""Which coordinates carry a variable, found by descent: gates that are soft while they are fitted, and hard after."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

import torch

from commutes.engine import Featurizer
from commutes.errors import AlignmentError
from commutes.features._coordinates import Coordinates, Neurons
from commutes.features._dictionary import Dictionary, Latents
from commutes.features._directions import Directions
from commutes.features._parametrisation import Parametrisation
from commutes.features._rotation import OrthonormalBasis
from commutes.features._slices import Features
from commutes.features._subspace import Subspace
from commutes.network import Site

# Of a learning rate the boundary gets this much more than a basis, of which it is one number among many.
_FASTER = 4.0

Cooling = Literal["linear", "exponential"]


@dataclass(frozen=True, eq=False)
class Mask(Features):
    """Coordinates of a given map, of which a fit chooses: neurons, given directions, latents of a dictionary.

    Every gate is sigmoid(w / T) while it is fitted, with T falling from the first temperature to the second; what is
    measured is the hard mask, w > 0. A site of several heads or positions is masked by whole ones with `per`.
    See Discovering Variable Binding Circuitry with Desiderata, arXiv 2307.03637.
    """

    features: Coordinates | Directions | Dictionary
    per: int = 1
    """Neighbouring coordinates that share a gate: the width of a head, or of a position."""
    sparsity: float = 0.1
    """Times the mean of the gates (not their sum), in the loss."""
    temperature: tuple[float, float] = (1.0, 0.01)
    cooling: Cooling = "linear"
    """How the temperature falls from step to step: by equal differences, or by equal ratios (exponential)."""

    def __post_init__(self) -> None:
        if not isinstance(self.features, Coordinates | Directions | Dictionary):
            raise AlignmentError(
                "a mask chooses among coordinates that are given",
                got=repr(self.features),
                expected="Coordinates, Directions or a Dictionary",
                fix="for dimensions of a rotation that is itself fitted use Boundless(site)",
            )
        if type(self.per) is not int or self.per < 1:
            raise AlignmentError("per is a count", got=repr(self.per), expected="a whole number from 1")
        _check(self.sparsity, self.temperature, self.cooling)

    @property
    def site(self) -> Site:  # type: ignore[override]
        """Where the given map is."""
        return self.features.site

    @property
    def learnt(self) -> bool:
        """Always: the gates are found by fitting."""
        return True

    @property
    def chooses(self) -> bool:
        """Always."""
        return True

    def __str__(self) -> str:
        return f"mask of {self.features}"

    def at(self, site: Site) -> Mask:
        """The same mask, not fitted, at another site."""
        features = self.features.at(site)
        return Mask(features, self.per, self.sparsity, self.temperature, self.cooling)

    def size(self, width: int) -> int:
        """As many coordinates as the given map has."""
        return self.features.size(width)

    def parametrisation(
        self, width: int, coordinates: Sequence[int], columns: Sequence[Sequence[int]]
    ) -> Gates:
        """A number per gate.

        Raises:
            AlignmentError: A gate of which a variable has a part only.
        """
        self._check_whole(self.size(width), coordinates, columns)
        inner = self.features.given(coordinates, self.site.network.device)
        assert inner is not None
        gates = sorted({c // self.per for c in coordinates})
        gate_of = tuple(gates.index(c // self.per) for c in coordinates)
        return Gates(
            self.key(coordinates), gate_of, self.sparsity, Falling(*self.temperature, self.cooling), inner
        )

    def _check_whole(self, size: int, coordinates: Sequence[int], columns: Sequence[Sequence[int]]) -> None:
        for own in columns:
            named = {coordinates[c] for c in own}
            for gate in sorted({c // self.per for c in named}):
                whole = set(range(gate * self.per, min(size, (gate + 1) * self.per)))
                if not whole <= named:
                    raise AlignmentError(
                        "a slice takes a part of a gate",
                        where=str(self.site),
                        got=f"{len(whole & named)} of the coordinates {min(whole)} to {max(whole)}",
                        expected=f"whole ones of {self.per} coordinates each, as per={self.per} says",
                        fix="end slices at multiples of per",
                    )

    def key(self, coordinates: Sequence[int]) -> Hashable:
        """Equal for masks of the same coordinates."""
        given: Any = self.features
        own = (
            None
            if isinstance(given, Coordinates)
            else id(getattr(given, "dictionary", None) or given.subspace)
        )
        return (type(given).__name__, own, tuple(coordinates))

    def accepts(self, featurizer: Featurizer) -> bool:
        """Gated maps only."""
        return isinstance(featurizer, Gated)


@dataclass(frozen=True, eq=False)
class Boundless(Features):
    """The first coordinates of a rotation, of which a fit also finds how many a variable needs.

    A variable's gates are sigmoid((b - j - 1/2) / T) over its coordinates j = 0, 1, ..., so that it takes those before
    its boundary b. T falls from the first temperature to the second, in multiples of the number of coordinates; what
    is measured has hard gates.
    See Interpretability at Scale: Identifying Causal Mechanisms in Alpaca, arXiv 2305.08809.
    """

    site: Site
    sparsity: float = 0.1
    """Times the mean share of coordinates before the boundaries, in the loss."""
    temperature: tuple[float, float] = (0.2, 0.01)
    cooling: Cooling = "linear"
    """As of a `Mask`."""

    def __post_init__(self) -> None:
        _check(self.sparsity, self.temperature, self.cooling)

    @property
    def learnt(self) -> bool:
        """Always: rotation and boundaries are found by fitting."""
        return True

    def __str__(self) -> str:
        return "rotation with boundaries"

    def at(self, site: Site) -> Boundless:
        """The same family at another site."""
        return Boundless(site, self.sparsity, self.temperature, self.cooling)

    def parametrisation(
        self, width: int, coordinates: Sequence[int], columns: Sequence[Sequence[int]]
    ) -> BasisAndBoundaries:
        """A d x k matrix and a boundary per variable."""
        basis = OrthonormalBasis(width, len(coordinates))
        return BasisAndBoundaries(
            basis, tuple(map(tuple, columns)), self.sparsity, Falling(*self.temperature, self.cooling)
        )

    def accepts(self, featurizer: Featurizer) -> bool:
        """Gated rotations only."""
        return isinstance(featurizer, Gated) and isinstance(featurizer.inner, Subspace)


@dataclass(frozen=True, eq=False)
class Gated:
    """Coordinates of another map behind gates; those of a closed gate are 0 for every state, and never written.

    z = gate * inner(h); h' = inner(h) + z' - z. A gate is from 0 to 1 while it is fitted, and then open or closed.
    """

    inner: Featurizer
    gate: torch.Tensor
    """# shape: (k,)"""

    def read(self, state: torch.Tensor, /) -> torch.Tensor:
        """The coordinates, with 0 behind closed gates.  # (..., d) -> (..., k)"""
        found = self.inner.read(state)
        return found * self.gate.to(found.dtype)

    def write(self, state: torch.Tensor, old: torch.Tensor, new: torch.Tensor, /) -> torch.Tensor:
        """The state with `new` behind the open gates, and all else as it was."""
        found = self.inner.read(state)
        if self.gate.dtype == torch.bool:
            return self.inner.write(state, found, torch.where(self.gate, new, found))
        return self.inner.write(state, found, found + (new - old))

    @property
    def open(self) -> tuple[int, ...]:
        """Numbers of the coordinates behind open gates, among those of the inner map."""
        return tuple(torch.nonzero(self.gate).flatten().tolist())

    def opened(self) -> Featurizer:
        """The coordinates behind open gates as a map of their own."""
        chosen, inner = list(self.open), self.inner
        if isinstance(inner, Neurons):
            return Neurons(inner.index[chosen])
        if isinstance(inner, Latents):
            return Latents(inner.dictionary, inner.index[chosen], inner.dtype)
        assert isinstance(inner, Subspace), type(inner)
        return inner[chosen]

    def to(self, *, dtype: torch.dtype | None = None, device: torch.device | str | None = None) -> Gated:
        """The same map in another precision or on another device."""
        inner: Any = self.inner
        return Gated(inner.to(dtype=dtype, device=device), self.gate.to(device))


@dataclass(frozen=True)
class Falling:
    """A temperature as it falls through a fit."""

    first: float
    last: float
    cooling: Cooling

    def at(self, progress: float) -> float:
        """The temperature there; `progress` runs from 0 to 1."""
        if self.cooling == "exponential":
            return self.first * (self.last / self.first) ** progress
        return self.first + (self.last - self.first) * progress


@dataclass(frozen=True)
class Gates(Parametrisation):
    """One number w per gate, open where it is above 0."""

    key: Hashable
    gate_of: tuple[int, ...]
    """Of every coordinate, its gate."""
    sparsity: float
    temperature: Falling
    inner: Featurizer = field(compare=False)

    @property
    def cools(self) -> bool:
        """Always."""
        return True

    def start(self, seed: int) -> torch.Tensor:
        """All gates half open, but for a little noise.  # shape: (gates,)"""
        generator = torch.Generator().manual_seed(seed)
        count = max(self.gate_of) + 1
        return (0.1 * torch.randn(count, generator=generator, dtype=torch.float64)).float()

    def solve(self, raw: torch.Tensor) -> torch.Tensor:
        """The numbers as they are.  # (n, gates) -> (n, gates)"""
        return raw

    def map(self, solved: torch.Tensor, progress: float) -> Gated:
        """Soft gates."""
        return Gated(self.inner, self._spread(torch.sigmoid(solved / self.temperature.at(progress))))

    def hard(self, solved: torch.Tensor) -> Gated:
        """Open or closed."""
        return Gated(self.inner, self._spread(solved > 0))

    def _spread(self, gates: torch.Tensor) -> torch.Tensor:
        return gates[torch.tensor(self.gate_of, device=gates.device)]

    def penalty(self, solved: torch.Tensor, progress: float) -> torch.Tensor:
        """The mean gate.  # (n, gates) -> (n,)"""
        return self.sparsity * torch.sigmoid(solved / self.temperature.at(progress)).mean(dim=-1)


@dataclass(frozen=True)
class BasisAndBoundaries(Parametrisation):
    """A basis, and per variable the share of its coordinates that lies before its boundary."""

    basis: OrthonormalBasis
    columns: tuple[tuple[int, ...], ...]
    """Of every variable, its columns of the basis, the first ones taken first."""
    sparsity: float
    temperature: Falling

    @property
    def cools(self) -> bool:
        """Always."""
        return True

    def start(self, seed: int) -> torch.Tensor:
        """A random subspace, each variable with the first half of its coordinates.  # shape: (d k + variables,)"""
        return torch.cat([self.basis.start(seed).flatten(), torch.zeros(len(self.columns))])

    def solve(self, raw: torch.Tensor) -> torch.Tensor:
        """Basis and shares.  # (n, d k + variables) -> (n, d k + variables)"""
        columns, boundaries = self._parts(raw)
        return torch.cat([self.basis.solve(columns).flatten(-2), torch.sigmoid(_FASTER * boundaries)], dim=-1)

    def _parts(self, row: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        width, size = self.basis.width, self.basis.size
        columns, boundaries = row.split([width * size, len(self.columns)], dim=-1)
        return columns.unflatten(-1, (width, size)), boundaries

    def _before(self, shares: torch.Tensor) -> torch.Tensor:
        """How far each coordinate lies before its variable's boundary, in multiples of the variable's size."""
        parts: list[torch.Tensor] = []
        for number, own in enumerate(self.columns):
            middle = (torch.arange(len(own), device=shares.device, dtype=shares.dtype) + 0.5) / len(own)
            parts.append(shares[number] - middle)
        order = torch.tensor([column for own in self.columns for column in own]).argsort()
        return torch.cat(parts)[order.to(shares.device)]

    def map(self, solved: torch.Tensor, progress: float) -> Gated:
        """Soft gates."""
        columns, shares = self._parts(solved)
        gates = torch.sigmoid(self._before(shares) / self.temperature.at(progress))
        return Gated(self.basis.map(columns, progress), gates)

    def hard(self, solved: torch.Tensor) -> Gated:
        """Open or closed."""
        columns, shares = self._parts(solved)
        return Gated(self.basis.hard(columns), self._before(shares) > 0)

    def final(self, solved: torch.Tensor) -> Gated:
        """The same, with a basis of its own."""
        columns, shares = self._parts(solved)
        return Gated(self.basis.final(columns), self._before(shares) > 0)

    def penalty(self, solved: torch.Tensor, progress: float) -> torch.Tensor:
        """The mean share.  # (n, d k + variables) -> (n,)"""
        return self.sparsity * self._parts(solved)[1].mean(dim=-1)


def _check(sparsity: float, temperature: tuple[float, float], cooling: str) -> None:
    if cooling not in get_args(Cooling):
        known = " or ".join(map(repr, get_args(Cooling)))
        raise AlignmentError("no such cooling", got=repr(cooling), expected=known)
    numbers = (sparsity, *temperature) if isinstance(temperature, tuple | list) else (None,)
    plain = len(numbers) == 3 and all(type(one) in (int, float) for one in numbers)
    if (
        not plain
        or not 0 <= sparsity < float("inf")
        or not float("inf") > temperature[0] >= temperature[1] > 0
    ):
        raise AlignmentError(
            "a mask is sparse to a degree, and cools",
            got=f"sparsity {sparsity}, temperature {temperature}",
            expected="a sparsity from 0, and a temperature that falls to one above 0",
        )

"""A small reversible network: the most powerful map here, for the control of what powerful maps can do."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch

from commutes.engine import Featurizer
from commutes.errors import AlignmentError
from commutes.features._affine import others
from commutes.features._parametrisation import Parametrisation
from commutes.features._slices import Features
from commutes.features._subspace import orthonormal
from commutes.network import Site

# A coupling scales by e^-2 to e^2 at most: eight of them stay far from where float32 over- or underflows.
LARGEST_LOG_SCALE = 2.0


@dataclass(frozen=True, eq=False)
class Reversible(Features):
    """Coordinates f(h), f a rotation followed by affine couplings: invertible whatever its weights are.

    It can align almost anything with almost anything: what it reaches counts only beside the same fit's null.
    See Density estimation using Real NVP, arXiv 1605.08803; The Non-Linear Representation Dilemma, arXiv 2507.08802.
    """

    site: Site
    depth: int = 4
    """Couplings; each lets one half of the coordinates bend the other."""
    hidden: int = 32
    """Units in the hidden layer of a coupling."""

    def __post_init__(self) -> None:
        for name, count in (("depth", self.depth), ("hidden", self.hidden)):
            if type(count) is not int or count < 1:
                raise AlignmentError(f"{name} is a count", got=repr(count), expected="a whole number from 1")

    @property
    def learnt(self) -> bool:
        """Always: the weights are found by fitting."""
        return True

    def __str__(self) -> str:
        return "reversible network"

    def at(self, site: Site) -> Reversible:
        """A reversible network of the same shape at another site."""
        return Reversible(site, self.depth, self.hidden)

    def parametrisation(
        self, width: int, coordinates: Sequence[int], columns: Sequence[Sequence[int]]
    ) -> ReversibleWeights:
        """All weights of the network, beginning with a random rotation."""
        return ReversibleWeights(width, tuple(coordinates), self.depth, self.hidden)

    def accepts(self, featurizer: Featurizer) -> bool:
        """Reversible networks only."""
        return isinstance(featurizer, ReversibleMap)


@dataclass(frozen=True)
class ReversibleWeights(Parametrisation):
    """All weights in a row; the rotation is the orthonormal factor of a sign-fixed QR."""

    width: int
    coordinates: tuple[int, ...]
    depth: int
    hidden: int

    def start(self, seed: int) -> torch.Tensor:
        """A random rotation, and couplings that do nothing yet.  # shape: (weights,)"""
        return self._row(reversible(self.width, index=[0], seed=seed, depth=self.depth, hidden=self.hidden))

    def _row(self, found: ReversibleMap) -> torch.Tensor:
        weights = [w.flatten() for coupling in found.couplings for w in _weights(coupling)]
        return torch.cat([found.rotation.flatten(), *weights])

    def solve(self, raw: torch.Tensor) -> torch.Tensor:
        """The same weights, with a rotation that is one.  # (n, weights) -> (n, weights)"""
        square, rest = raw.split([self.width**2, raw.shape[-1] - self.width**2], dim=-1)
        rotation = orthonormal(square.unflatten(-1, (self.width, self.width)))
        return torch.cat([rotation.flatten(-2), rest], dim=-1)

    def map(self, solved: torch.Tensor, progress: float) -> ReversibleMap:
        """The network at the chosen coordinates."""
        of_couplings = _shapes(self.width, self.depth, self.hidden)
        shapes = [(self.width, self.width), *itertools.chain(*of_couplings)]
        parts = solved.split([math.prod(shape) for shape in shapes], dim=-1)
        weights = iter([part.reshape(shape) for part, shape in zip(parts, shapes, strict=True)])
        rotation = next(weights)
        couplings = tuple(Coupling(*(next(weights) for _ in four)) for four in of_couplings)
        return ReversibleMap(rotation, couplings, torch.tensor(self.coordinates, device=solved.device))

    def raw(self, featurizer: Featurizer) -> torch.Tensor | None:
        """Its weights, where it has the same shape."""
        if not isinstance(featurizer, ReversibleMap):
            return None
        found = self._row(featurizer)
        return found if found.shape == self.start(0).shape else None


@dataclass(frozen=True, eq=False)
class Coupling:
    """v -> v e^s(u) + t(u), with (s, t) a network of one hidden layer; u stays as it is."""

    into: torch.Tensor
    """# shape: (len(u), hidden)"""
    bias: torch.Tensor
    """# shape: (hidden,)"""
    out: torch.Tensor
    """# shape: (hidden, 2 len(v))"""
    shift: torch.Tensor
    """# shape: (2 len(v),)"""

    def _scale_and_move(self, u: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        hidden = torch.tanh(u @ self.into + self.bias)
        scale, move = (hidden @ self.out + self.shift).chunk(2, dim=-1)
        return LARGEST_LOG_SCALE * torch.tanh(scale / LARGEST_LOG_SCALE), move

    def forward(self, u: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        """v e^s(u) + t(u)."""
        scale, move = self._scale_and_move(u)
        return v * scale.exp() + move

    def backward(self, u: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        """(v - t(u)) e^-s(u)."""
        scale, move = self._scale_and_move(u)
        return (v - move) * (-scale).exp()


@dataclass(frozen=True, eq=False)
class ReversibleMap:
    """z = f(h) at the chosen coordinates; h' = h + f^-1(z') - f^-1(z), so that rounding moves nothing else."""

    rotation: torch.Tensor
    """Orthogonal; comes first, so that with couplings that do nothing this is DAS.  # shape: (d, d)"""
    couplings: tuple[Coupling, ...]
    """In turn the first half bends the second and the second the first."""
    index: torch.Tensor
    """Chosen coordinates.  # shape: (k,)"""

    def encode(self, state: torch.Tensor) -> torch.Tensor:
        """f.  # (..., d) -> (..., d)"""
        halves = self._halves(state.to(self.rotation.dtype) @ self.rotation)
        for number, coupling in enumerate(self.couplings):
            bent = (number + 1) % 2
            halves[bent] = coupling.forward(halves[1 - bent], halves[bent])
        return torch.cat(halves, dim=-1)

    def decode(self, z: torch.Tensor) -> torch.Tensor:
        """f^-1.  # (..., d) -> (..., d)"""
        halves = self._halves(z)
        for number, coupling in reversed(list(enumerate(self.couplings))):
            bent = (number + 1) % 2
            halves[bent] = coupling.backward(halves[1 - bent], halves[bent])
        return torch.cat(halves, dim=-1) @ self.rotation.T

    def _halves(self, z: torch.Tensor) -> list[torch.Tensor]:
        first, second = z.tensor_split([_half(z.shape[-1])], dim=-1)
        return [first, second]

    def read(self, state: torch.Tensor, /) -> torch.Tensor:
        """The chosen coordinates of f(h), in the network's precision.  # (..., d) -> (..., k)"""
        return self.encode(state).index_select(-1, self.index)

    def write(self, state: torch.Tensor, old: torch.Tensor, new: torch.Tensor, /) -> torch.Tensor:
        """h + f^-1(z with `new`) - f^-1(z with `old`)."""
        z = self.encode(state)
        before, after = z.index_copy(-1, self.index, old), z.index_copy(-1, self.index, new)
        return state + (self.decode(after) - self.decode(before)).to(state.dtype)

    def complement(self) -> ReversibleMap:
        """The other coordinates of the same network."""
        return ReversibleMap(self.rotation, self.couplings, others(self.index, len(self.rotation)))

    def to(
        self, *, dtype: torch.dtype | None = None, device: torch.device | str | None = None
    ) -> ReversibleMap:
        """The same map in another precision or on another device."""
        couplings = tuple(Coupling(*(t.to(device, dtype) for t in _weights(c))) for c in self.couplings)
        return ReversibleMap(self.rotation.to(device, dtype), couplings, self.index.to(device))

    def tensors(self) -> dict[str, torch.Tensor]:
        """What a file must hold."""
        found = {"rotation": self.rotation, "index": self.index}
        for number, coupling in enumerate(self.couplings):
            for name, tensor in zip(_NAMES, _weights(coupling), strict=True):
                found[f"{name}.{number}"] = tensor
        return found

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, torch.Tensor]) -> ReversibleMap:
        """The inverse of `tensors`."""
        couplings: list[Coupling] = []
        for number in itertools.count():
            if f"into.{number}" not in tensors:
                break
            couplings.append(Coupling(*(tensors[f"{name}.{number}"] for name in _NAMES)))
        return cls(tensors["rotation"], tuple(couplings), tensors["index"])


_NAMES = ("into", "bias", "out", "shift")


def _weights(coupling: Coupling) -> tuple[torch.Tensor, ...]:
    """The weights of a coupling, in the order of its fields."""
    return coupling.into, coupling.bias, coupling.out, coupling.shift


def reversible(
    width: int,
    *,
    index: Sequence[int],
    seed: int,
    depth: int = Reversible.depth,
    hidden: int = Reversible.hidden,
    bend: float = 0.0,
    dtype: torch.dtype = torch.float32,
) -> ReversibleMap:
    """A reversible network with random weights: a random rotation, bent as much as `bend` says.

    Args:
        width: d, coordinates of a state.
        index: Chosen coordinates.
        seed: Of the weights.
        depth: Couplings.
        hidden: Units in the hidden layer of a coupling.
        bend: Standard deviation of the couplings' last layer; at 0 the network is the rotation alone, from which
            a fit starts.
        dtype: Precision.

    Raises:
        AlignmentError: A width below 2, which has no halves, or a depth below 1.
    """
    if width < 2 or depth < 1:
        raise AlignmentError(
            "a reversible network bends one half of the coordinates by the other",
            got=f"{width} coordinates, {depth} couplings",
            expected="at least 2 coordinates and 1 coupling",
        )
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape: int, scale: float) -> torch.Tensor:
        return (torch.randn(*shape, generator=generator, dtype=torch.float64) * scale).to(dtype)

    basis = orthonormal(torch.randn(width, width, generator=generator, dtype=torch.float64))
    couplings = tuple(
        Coupling(
            normal(*into, scale=into[0] ** -0.5),
            normal(*bias, scale=0.1),
            normal(*out, scale=bend * hidden**-0.5),
            normal(*shift, scale=0.0),
        )
        for into, bias, out, shift in _shapes(width, depth, hidden)
    )
    return ReversibleMap(basis.to(dtype).contiguous(), couplings, torch.tensor(list(index)))


def _shapes(width: int, depth: int, hidden: int) -> list[tuple[tuple[int, ...], ...]]:
    """Of every coupling's four weights."""
    sizes = (_half(width), width - _half(width))
    found: list[tuple[tuple[int, ...], ...]] = []
    for number in range(depth):
        bending, bent = sizes[number % 2], sizes[(number + 1) % 2]
        found.append(((bending, hidden), (hidden,), (hidden, 2 * bent), (2 * bent,)))
    return found


def _half(width: int) -> int:
    return (width + 1) // 2

"""An invertible affine change of coordinates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch

from commutes.engine import Featurizer
from commutes.errors import AlignmentError
from commutes.features._parametrisation import Parametrisation
from commutes.features._slices import Features
from commutes.features._subspace import BIORTHOGONAL, Subspace, orthonormal
from commutes.network import Site


@dataclass(frozen=True, eq=False)
class Affine(Features):
    """Coordinates A h + b with A any invertible matrix.

    More powerful than a rotation: what it reaches counts only beside the same fit's null (map capacity).
    See The Non-Linear Representation Dilemma: Is Causal Abstraction Enough for Mechanistic Interpretability?,
    arXiv 2507.08802.
    """

    site: Site

    @property
    def learnt(self) -> bool:
        """Always: matrix and offset are found by fitting."""
        return True

    def __str__(self) -> str:
        return "affine map"

    def at(self, site: Site) -> Affine:
        """An affine map of another site."""
        return Affine(site)

    def parametrisation(
        self, width: int, coordinates: Sequence[int], columns: Sequence[Sequence[int]]
    ) -> AnyMatrix:
        """A d x d matrix, beginning with a random rotation."""
        return AnyMatrix(width, tuple(coordinates))

    def accepts(self, featurizer: Featurizer) -> bool:
        """Affine maps only."""
        return isinstance(featurizer, AffineMap)


@dataclass(frozen=True)
class AnyMatrix(Parametrisation):
    """A itself. The offset has no part in a swap, and stays 0."""

    width: int
    coordinates: tuple[int, ...]

    def start(self, seed: int) -> torch.Tensor:
        """A random rotation: a step of a learning rate turns its rows as it turns the columns of a basis."""
        generator = torch.Generator().manual_seed(seed)
        raw = torch.randn(self.width, self.width, generator=generator, dtype=torch.float64)
        return orthonormal(raw).float()

    def solve(self, raw: torch.Tensor) -> torch.Tensor:
        """A beside its inverse.  # (n, d, d) -> (n, d, 2 d)"""
        return torch.cat([raw, torch.linalg.inv(raw)], dim=-1)

    def map(self, solved: torch.Tensor, progress: float) -> AffineMap:
        """The map at the chosen coordinates."""
        matrix, inverse = solved.chunk(2, dim=-1)
        index = torch.tensor(self.coordinates, device=solved.device)
        return AffineMap(matrix, inverse, solved.new_zeros(self.width), index)

    def final(self, solved: torch.Tensor) -> AffineMap:
        """The map, if it can be inverted.

        Raises:
            AlignmentError: The matrix is singular or nearly so.
        """
        return affine(solved.chunk(2, dim=-1)[0].contiguous(), index=self.coordinates)

    def raw(self, featurizer: Featurizer) -> torch.Tensor | None:
        """The matrix."""
        return featurizer.matrix if isinstance(featurizer, AffineMap) else None


@dataclass(frozen=True, eq=False)
class AffineMap:
    """z = A h + b at the chosen coordinates; h' = h + A^-1 (z' - z). Made by `affine`.

    The offset cancels in every swap, so that swaps are those of the pair `subspace`: E the chosen rows of A, D the
    chosen columns of its inverse. What is more than in an oblique map is the complement: the other rows of A.
    """

    matrix: torch.Tensor
    """A.  # shape: (d, d)"""
    inverse: torch.Tensor
    """A^-1.  # shape: (d, d)"""
    offset: torch.Tensor
    """b.  # shape: (d,)"""
    index: torch.Tensor
    """Chosen coordinates.  # shape: (k,)"""

    def read(self, state: torch.Tensor, /) -> torch.Tensor:
        """The chosen rows of A h + b, in the matrix's precision.  # (..., d) -> (..., k)"""
        rows = self.matrix.index_select(0, self.index)
        return state.to(rows.dtype) @ rows.T + self.offset.index_select(0, self.index)

    def write(self, state: torch.Tensor, old: torch.Tensor, new: torch.Tensor, /) -> torch.Tensor:
        """h + A^-1 (new - old): the other coordinates stay as they are."""
        columns = self.inverse.index_select(1, self.index)
        return state + ((new - old) @ columns.T).to(state.dtype)

    def complement(self) -> AffineMap:
        """The other coordinates of the same map."""
        return AffineMap(self.matrix, self.inverse, self.offset, others(self.index, len(self.matrix)))

    def subspace(self) -> Subspace:
        """The biorthogonal pair that swaps alike, erasing to where the coordinates are 0."""
        centre = -self.inverse @ self.offset
        reader = self.matrix.index_select(0, self.index).T.contiguous()
        return Subspace(reader, self.inverse.index_select(1, self.index), centre)

    def to(self, *, dtype: torch.dtype | None = None, device: torch.device | str | None = None) -> AffineMap:
        """The same map in another precision or on another device."""
        matrix, inverse = self.matrix.to(device, dtype), self.inverse.to(device, dtype)
        return AffineMap(matrix, inverse, self.offset.to(device, dtype), self.index.to(device))

    def tensors(self) -> dict[str, torch.Tensor]:
        """What a file must hold."""
        return {"matrix": self.matrix, "inverse": self.inverse, "offset": self.offset, "index": self.index}

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, torch.Tensor]) -> AffineMap:
        """The inverse of `tensors`.

        Raises:
            AlignmentError: The two matrices are not each other's inverse.
        """
        found = cls(tensors["matrix"], tensors["inverse"], tensors["offset"], tensors["index"])
        product = found.matrix.double() @ found.inverse.double()
        defect = float((product - torch.eye(len(product), dtype=product.dtype)).abs().max())
        if not defect <= BIORTHOGONAL:
            raise AlignmentError(
                "the matrices of an affine map are not each other's inverse",
                got=f"max |A A^-1 - I| = {defect:.2g}",
                expected=f"at most {BIORTHOGONAL:g}",
                fix="fit again, or restore the file from its source",
            )
        return found


# Beyond this condition number the inverse, applied in float32, loses all but three digits.
WORST_CONDITION = 1e4


def affine(matrix: torch.Tensor, offset: torch.Tensor | None = None, *, index: Sequence[int]) -> AffineMap:
    """The affine map h -> A h + b at some of its coordinates.

    Args:
        matrix: A.  # shape: (d, d)
        offset: b; zero by default.  # shape: (d,)
        index: Chosen coordinates.

    Raises:
        AlignmentError: A is singular or nearly so.
    """
    condition = float(torch.linalg.cond(matrix.detach().double()))
    if not condition <= WORST_CONDITION:
        raise AlignmentError(
            "the matrix of an affine map cannot be inverted safely",
            got=f"condition number {condition:.2g}",
            expected=f"at most {WORST_CONDITION:g}",
            fix="fit with a smaller learning rate, or use a rotation",
        )
    inverse = torch.linalg.inv(matrix.double()).to(matrix.dtype)
    offset = torch.zeros(len(matrix), dtype=matrix.dtype, device=matrix.device) if offset is None else offset
    return AffineMap(matrix, inverse, offset, torch.tensor(list(index), device=matrix.device))


def others(index: torch.Tensor, width: int) -> torch.Tensor:
    """The coordinates that are not chosen, ascending."""
    rest = torch.ones(width, dtype=torch.bool, device=index.device)
    rest[index] = False
    return torch.nonzero(rest).squeeze(1)

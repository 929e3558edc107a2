"""An orthogonal change of basis, learnt: the featurizer of distributed alignment search."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from commutes.engine import Featurizer
from commutes.features._parametrisation import Parametrisation
from commutes.features._slices import Features
from commutes.features._subspace import BIORTHOGONAL, Subspace, orthonormal
from commutes.network import Site


@dataclass(frozen=True, eq=False)
class Rotation(Features):
    """The first coordinates of a rotation of the site, parametrised by a sign-fixed QR of a d x k matrix.

    Only the k columns that variables use are ever learnt or stored.
    See Finding Alignments Between Interpretable Causal Variables and Distributed Neural Representations,
    arXiv 2303.02536.
    """

    site: Site

    @property
    def learnt(self) -> bool:
        """Always: a rotation is found by fitting."""
        return True

    def __str__(self) -> str:
        return "rotation"

    def at(self, site: Site) -> Rotation:
        """A rotation of another site."""
        return Rotation(site)

    def parametrisation(
        self, width: int, coordinates: Sequence[int], columns: Sequence[Sequence[int]]
    ) -> OrthonormalBasis:
        """A sign-fixed QR of a d x k matrix."""
        return OrthonormalBasis(width, len(coordinates))

    def accepts(self, featurizer: Featurizer) -> bool:
        """Of subspaces those whose reader is their writer."""
        if not isinstance(featurizer, Subspace):
            return True
        gap = (featurizer.reader - featurizer.writer).abs().max() if featurizer.reader.numel() else 0
        return bool(gap <= BIORTHOGONAL)


@dataclass(frozen=True)
class OrthonormalBasis(Parametrisation):
    """E = D = the orthonormal factor of a sign-fixed QR of a d x k matrix."""

    width: int
    size: int

    def start(self, seed: int) -> torch.Tensor:
        """A uniformly random orthonormal basis.  # shape: (d, k)"""
        return orthonormal(random_raw(self.width, self.size, seed))

    def solve(self, raw: torch.Tensor) -> torch.Tensor:
        """The bases.  # (n, d, k) -> (n, d, k)"""
        return orthonormal(raw)

    def map(self, solved: torch.Tensor, progress: float) -> Subspace:
        """The subspace with this basis."""
        return Subspace(solved, solved)

    def hard(self, solved: torch.Tensor) -> Subspace:
        """The same."""
        return self.map(solved, 1.0)

    def final(self, solved: torch.Tensor) -> Subspace:
        """In the layout in which a file gives it back: in another one products round otherwise."""
        return self.hard(solved.contiguous())

    def raw(self, featurizer: Featurizer) -> torch.Tensor | None:
        """The reader, as long as a random start is."""
        return unit(featurizer.reader) if isinstance(featurizer, Subspace) else None


def unit(columns: torch.Tensor) -> torch.Tensor:
    """Columns of length 1, where descent begins.  # (d, k) -> (d, k)

    The length is part of the rate: a step of Adam turns a column of length 1 by about lr * sqrt(d) at first, and by
    less as the columns grow, which they do because the gradient is at right angles to them. From longer columns fits
    come less far (docs/orthogonality.md).
    """
    return columns / columns.norm(dim=0)


def random_raw(width: int, k: int, seed: int, *, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    """A Gaussian matrix, whose QR is a uniformly random k-dimensional subspace.  # shape: (width, k)"""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(width, k, generator=generator, dtype=torch.float64).to(dtype)


def rotation(raw: torch.Tensor) -> Subspace:
    """The orthogonal map that a raw parameter stands for."""
    # In the layout in which a file gives it back: in another one products round otherwise.
    basis = orthonormal(raw).contiguous()
    return Subspace(basis, basis)

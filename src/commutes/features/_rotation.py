"""An orthogonal change of basis, learnt: the featurizer of distributed alignment search."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from commutes.features._slices import Features
from commutes.features._subspace import Subspace, orthonormal
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


def random_raw(width: int, k: int, seed: int, *, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    """A Gaussian matrix, whose QR is a uniformly random k-dimensional subspace.  # shape: (width, k)"""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(width, k, generator=generator, dtype=torch.float64).to(dtype)


def rotation(raw: torch.Tensor) -> Subspace:
    """The orthogonal map that a raw parameter stands for."""
    # In the layout in which a file gives it back: in another one products round otherwise.
    basis = orthonormal(raw).contiguous()
    return Subspace(basis, basis)

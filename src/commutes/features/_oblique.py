"""Reader and writer of their own, learnt: the family in which closed forms and oblique fits live."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from commutes.engine import Featurizer
from commutes.features._parametrisation import Parametrisation
from commutes.features._rotation import random_raw, unit
from commutes.features._slices import Features
from commutes.features._subspace import Subspace, orthonormal
from commutes.network import Site


@dataclass(frozen=True, eq=False)
class Oblique(Features):
    """Coordinates that are read by E and written by D, EᵀD = I, where E and D may differ.

    A larger family of maps than `Rotation`: what it reaches is to be compared with a null of its own family.
    """

    site: Site

    @property
    def learnt(self) -> bool:
        """Always: reader and writer are found by fitting."""
        return True

    def __str__(self) -> str:
        return "oblique map"

    def at(self, site: Site) -> Oblique:
        """An oblique map of another site."""
        return Oblique(site)

    def parametrisation(
        self, width: int, coordinates: Sequence[int], columns: Sequence[Sequence[int]]
    ) -> ReaderAndWriter:
        """Two d x k matrices, reader and writer."""
        return ReaderAndWriter(width, len(coordinates))


@dataclass(frozen=True)
class ReaderAndWriter(Parametrisation):
    """D = A and E = B (AᵀB)^-1 of two d x k matrices: P = A (BᵀA)^-1 Bᵀ, whatever the lengths of their columns."""

    width: int
    size: int

    def start(self, seed: int) -> torch.Tensor:
        """B = A, orthonormal: every variable begins at a random orthogonal projector.  # shape: (d, 2 k)"""
        # Gaussian columns would do for one variable. Of several that nearly fill the site each one's projector is then
        # far from orthogonal, and the fit ends far lower: .66 instead of .89 on the equality networks (docs/starts.md).
        columns = orthonormal(random_raw(self.width, self.size, seed))
        return torch.cat([columns, columns], dim=1)

    def solve(self, raw: torch.Tensor) -> torch.Tensor:
        """E beside D.  # (n, d, 2 k) -> (n, d, 2 k)"""
        read, writer = raw.chunk(2, dim=-1)
        # With unit columns E and D stay of the size of 1 through a fit.
        read = read / read.norm(dim=-2, keepdim=True)
        writer = writer / writer.norm(dim=-2, keepdim=True)
        reader = torch.linalg.solve(writer.mT @ read, read, left=False)
        return torch.cat([reader, writer], dim=-1)

    def map(self, solved: torch.Tensor, progress: float) -> Subspace:
        """The pair."""
        reader, writer = solved.chunk(2, dim=-1)
        return Subspace(reader, writer)

    def final(self, solved: torch.Tensor) -> Subspace:
        """The pair, each in a tensor of its own.

        Raises:
            AlignmentError: Reader and writer are so nearly at right angles that single precision loses them.
        """
        reader, writer = solved.chunk(2, dim=-1)
        return Subspace(reader.contiguous(), writer.contiguous()).checked("the fitted oblique map")

    def raw(self, featurizer: Featurizer) -> torch.Tensor | None:
        """Reader and writer, as long as those of a random start are."""
        if not isinstance(featurizer, Subspace):
            return None
        return torch.cat([unit(featurizer.reader), unit(featurizer.writer)], dim=1)

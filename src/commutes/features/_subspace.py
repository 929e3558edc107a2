"""The linear object: a biorthogonal pair of reader and writer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from commutes.errors import AlignmentError

# EᵀD may miss the identity by this much: float32 rounding of a QR in a few thousand dimensions stays below.
BIORTHOGONAL = 1e-4


@dataclass(frozen=True, eq=False)
class Subspace:
    """z = Eᵀh, h' = h + D (z' - z), with EᵀD = I. Orthogonal methods have E = D.

    See Finding Alignments Between Interpretable Causal Variables and Distributed Neural Representations,
    arXiv 2303.02536.
    """

    reader: torch.Tensor
    """E.  # shape: (d, k)"""
    writer: torch.Tensor
    """D.  # shape: (d, k)"""

    def read(self, state: torch.Tensor, /) -> torch.Tensor:
        """Eᵀh, in the reader's precision.  # (..., d) -> (..., k)"""
        return state.to(self.reader.dtype) @ self.reader

    def write(self, state: torch.Tensor, old: torch.Tensor, new: torch.Tensor, /) -> torch.Tensor:
        """h + D (new - old): what the subspace does not hold is left exactly as it was."""
        return state + ((new - old) @ self.writer.T).to(state.dtype)

    def swap(self, base: torch.Tensor, source: torch.Tensor) -> torch.Tensor:
        """The base with the subspace's coordinates of the source; `swap(h, h)` is `h`."""
        return self.write(base, self.read(base), self.read(source))

    def erase(self, state: torch.Tensor) -> torch.Tensor:
        """h - D Eᵀ h: the state without its part in the subspace."""
        old = self.read(state)
        return self.write(state, old, torch.zeros_like(old))

    def angles(self, other: Subspace) -> torch.Tensor:
        """Principal angles between the written spaces, ascending, in radians.  # shape: (min(k, k'),)"""
        mine, theirs = torch.linalg.qr(self.writer).Q, torch.linalg.qr(other.writer).Q
        # The angle comes from sine and cosine together: the arc cosine alone loses half the digits near 0.
        cosines = torch.linalg.svdvals(mine.T @ theirs).clamp(max=1)
        larger, smaller = (mine, theirs) if mine.shape[1] >= theirs.shape[1] else (theirs, mine)
        sines = torch.linalg.svdvals(smaller - larger @ (larger.T @ smaller)).clamp(max=1).flip(0)
        return torch.atan2(sines, cosines)

    @property
    def dimension(self) -> int:
        """k."""
        return self.reader.shape[1]

    def __getitem__(self, columns: int | slice | Sequence[int]) -> Subspace:
        index = [columns] if isinstance(columns, int) else columns
        return Subspace(self.reader[:, index], self.writer[:, index])

    def defect(self) -> float:
        """max |EᵀD - I|."""
        product = self.reader.detach().cpu().double().T @ self.writer.detach().cpu().double()
        return float((product - torch.eye(self.dimension, dtype=torch.float64)).abs().max())

    def checked(self, where: str) -> Subspace:
        """The same subspace, if EᵀD = I.

        Raises:
            AlignmentError: It is not biorthogonal; the message says by how much.
        """
        defect = self.defect()
        if not defect <= BIORTHOGONAL:
            raise AlignmentError(
                "reader and writer are not biorthogonal",
                where=where,
                got=f"max |EᵀD - I| = {defect:.2g}",
                expected=f"at most {BIORTHOGONAL:g}",
                fix="fit again, or restore the file from its source",
            )
        return self


def orthonormal(raw: torch.Tensor) -> torch.Tensor:
    """The orthonormal factor of a sign-fixed QR: continuous in `raw`, and unique.  # shapes: (..., d, k)"""
    q, r = torch.linalg.qr(raw)
    signs = torch.where(torch.diagonal(r, dim1=-2, dim2=-1) < 0, -1.0, 1.0).to(raw.dtype)
    return q * signs.unsqueeze(-2)

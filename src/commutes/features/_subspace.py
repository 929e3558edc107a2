"""The linear object: a biorthogonal pair of reader and writer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import torch

from commutes.errors import AlignmentError

# EᵀD may miss the identity by this much: float32 rounding of a QR in a few thousand dimensions stays below.
BIORTHOGONAL = 1e-4


@dataclass(frozen=True, eq=False)
class Subspace:
    """z = Eᵀh, h' = h + D (z' - z), with EᵀD = I. Orthogonal methods have E = D; P = D Eᵀ is the projector.

    See Finding Alignments Between Interpretable Causal Variables and Distributed Neural Representations,
    arXiv 2303.02536.
    """

    reader: torch.Tensor
    """E.  # shape: (d, k)"""
    writer: torch.Tensor
    """D.  # shape: (d, k)"""
    centre: torch.Tensor | None = None
    """mu, the state whose coordinates erasure puts in; none is the origin.  # shape: (d,)"""

    def __post_init__(self) -> None:
        fits = self.reader.ndim >= 2 and self.reader.shape == self.writer.shape
        if not fits or self.reader.shape[-1] > self.reader.shape[-2]:
            raise AlignmentError(
                "reader and writer make no subspace",
                got=f"reader {tuple(self.reader.shape)}, writer {tuple(self.writer.shape)}",
                expected="two matrices (d, k) of one shape, k at most d",
            )

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
        """h - D Eᵀ (h - mu): every state gets the centre's coordinates, or zeros where there is no centre."""
        old = self.read(state)
        put = torch.zeros_like(old) if self.centre is None else self.read(self.centre).expand_as(old)
        return self.write(state, old, put)

    def steer(self, state: torch.Tensor, by: torch.Tensor | float) -> torch.Tensor:
        """h + D c: the coordinates move by c, such as the gap between two classes.

        Args:
            state: States.  # shape: (..., d)
            by: c, one move for all states or one for each; a number moves every coordinate.  # shape: (k,) or (..., k)

        Raises:
            AlignmentError: A move of another number of coordinates.
        """
        by = torch.as_tensor(by).to(self.writer)
        if by.ndim == 0:
            by = by.expand(self.dimension)
        if by.shape[-1] != self.dimension:
            raise AlignmentError(
                "a move has a number for every coordinate",
                got=f"shape {tuple(by.shape)}",
                expected=f"(..., {self.dimension})",
            )
        return self.write(state, torch.zeros_like(by), by)

    def projector(self) -> torch.Tensor:
        """P = D Eᵀ, with P² = P.  # shape: (d, d)"""
        return self.writer @ self.reader.T

    def complement(self) -> Subspace:
        """The pair whose projector is I - P, of d - k dimensions, with the same centre."""
        k, orthogonal = self.dimension, self.reader is self.writer
        # What E does not read is where the complement writes; what D does not write is how it reads.
        unread = torch.linalg.qr(self.reader, mode="complete").Q[:, k:].contiguous()
        if orthogonal:
            return Subspace(unread, unread, self.centre)
        unwritten = torch.linalg.qr(self.writer, mode="complete").Q[:, k:]
        reader = unwritten @ torch.linalg.inv(unread.T @ unwritten)
        return Subspace(reader, unread, self.centre)

    def angles(self, other: Subspace, *, of: Literal["writer", "reader"] = "writer") -> torch.Tensor:
        """Principal angles between the spaces that are written (or read), ascending, in radians.

        Returns:
            Shape (min(k, k'),).

        Raises:
            AlignmentError: Spaces of states of different widths.
        """
        if len(self.reader) != len(other.reader):
            raise AlignmentError(
                "subspaces of different spaces make no angle",
                got=f"states of {len(self.reader)} and of {len(other.reader)} coordinates",
                expected="one width",
            )
        one, two = (self.writer, other.writer) if of == "writer" else (self.reader, other.reader)
        mine, theirs = torch.linalg.qr(one).Q, torch.linalg.qr(two).Q
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
        reader = self.reader[:, index]
        writer = reader if self.reader is self.writer else self.writer[:, index]
        return Subspace(reader, writer, self.centre)

    def centred(self, centre: torch.Tensor | None) -> Subspace:
        """The same pair that erases to this state.  # shape: (d,)"""
        return Subspace(self.reader, self.writer, None if centre is None else centre.to(self.reader))

    def to(self, *, dtype: torch.dtype | None = None, device: torch.device | str | None = None) -> Subspace:
        """The same subspace in another precision or on another device."""
        reader = self.reader.to(device, dtype)
        writer = reader if self.reader is self.writer else self.writer.to(device, dtype)
        return Subspace(reader, writer, None if self.centre is None else self.centre.to(device, dtype))

    def tensors(self) -> dict[str, torch.Tensor]:
        """What a file must hold."""
        centre = {} if self.centre is None else {"centre": self.centre}
        return {"reader": self.reader, "writer": self.writer} | centre

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, torch.Tensor]) -> Subspace:
        """The inverse of `tensors`; an orthogonal pair has one tensor again."""
        reader, writer = tensors["reader"], tensors["writer"]
        return cls(reader, reader if torch.equal(reader, writer) else writer, tensors.get("centre"))

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

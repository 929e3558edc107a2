"""What comes next can read of a site: the row space of the linear maps that take its tensor."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch

from commutes.engine import PlaceLayout, Prepared
from commutes.network import Site
from commutes.robustness._uses import Use, uses

# A direction counts as read where the readers' gain along it is above this share of their largest: far above the
# rounding of weights in single precision, and so little that an edit would have to be a thousand times as long.
READ = 1e-3


@dataclass(frozen=True, eq=False)
class Rows:
    """What is read at one place, at each of its positions."""

    basis: torch.Tensor
    """Orthonormal directions, as columns, float64.  # shape: (w, r)"""
    gains: torch.Tensor
    """How strongly each is read, descending: the singular values of the readers.  # shape: (r,)"""
    positions: int


@dataclass(frozen=True, eq=False)
class ReadSpace:
    """The directions of a site's vector that the maps behind it can tell apart; they see nothing else of it."""

    readers: tuple[str, ...]
    """Paths of the modules that read."""
    rows: tuple[Rows, ...]
    """Place by place, in the order in which the site's vector has them."""

    @cached_property
    def width(self) -> int:
        """d, coordinates of the site's vector."""
        return sum(rows.positions * len(rows.basis) for rows in self.rows)

    @cached_property
    def rank(self) -> int:
        """Directions that are read."""
        return sum(rows.positions * rows.basis.shape[1] for rows in self.rows)

    def project(self, columns: torch.Tensor) -> torch.Tensor:
        """The part of each column that is read.  # shape: (d, k) -> (d, k)"""
        parts = []
        for rows, part in zip(self.rows, self._split(columns, dim=0), strict=True):
            each = part.reshape(rows.positions, len(rows.basis), -1)
            parts.append((rows.basis @ (rows.basis.T @ each)).reshape(part.shape))
        return torch.cat(parts)

    def view(self, states: torch.Tensor) -> torch.Tensor:
        """What the readers make of a state before any bias, in orthonormal coordinates.  # (..., d) -> (..., rank)"""
        parts = []
        for rows, part in zip(self.rows, self._split(states, dim=-1), strict=True):
            each = part.reshape(*part.shape[:-1], rows.positions, len(rows.basis))
            seen = each.to(rows.basis) @ rows.basis * rows.gains
            parts.append(seen.reshape(*part.shape[:-1], -1))
        return torch.cat(parts, dim=-1)

    def _split(self, tensor: torch.Tensor, *, dim: int) -> Sequence[torch.Tensor]:
        return tensor.split([rows.positions * len(rows.basis) for rows in self.rows], dim=dim)

    def __str__(self) -> str:
        verb = "reads" if len(self.readers) == 1 else "read"
        return f"{listed(self.readers)} {verb} {self.rank:,} of {self.width:,} directions"


def read_space(prepared: Prepared, site: Site) -> ReadSpace | str:
    """What is read of a site, or in words why that is not the row space of a few linear maps.

    Args:
        prepared: The network with its inputs.
        site: One of those that it was prepared for.
    """
    layout = prepared.plan[site]
    if site.each and len(layout.places) > 1:
        # What is read at one of them only is read.
        return f"the places of {site} share one map and have readers of their own"
    by_moment = {moment: uses(prepared.network, prepared.inputs, moment) for moment in site.moments}
    rows, readers = [], dict[str, None]()
    for number, place in enumerate(layout.places):
        found = by_moment[place.place.moment]
        why = _not_linear(str(place.place.moment), found, place)
        if why:
            return why
        readers |= dict.fromkeys(use.where for use in found)
        table = prepared.positions[site].get(number)
        count = place.length if table is None else table.shape[1]
        rows.append(_rows(found, place, 1 if site.each else count))
    return ReadSpace(tuple(readers), tuple(rows))


def _not_linear(where: str, found: Sequence[Use], place: PlaceLayout) -> str | None:
    if not found:
        return f"nothing reads {where}"
    others = found if place.axis != len(place.shape) else [use for use in found if use.weight is None]
    if not others:
        return None
    other = next((use for use in others if use.adds), others[0])
    if other.adds:
        return (
            f"{where} is added to something else in {other.where}, as in a residual stream: all of it is read"
        )
    return f"{where} is read by {other.what} in {other.where}, which is no linear map of its features"


def _rows(found: Sequence[Use], place: PlaceLayout, positions: int) -> Rows:
    weights = [use.weight.cpu().double() for use in found if use.weight is not None]
    stacked = torch.cat(weights)[:, place.all_features]
    # Of the two products of the stacked weights with themselves the smaller one has the same singular values.
    tall = stacked.shape[0] >= stacked.shape[1]
    squares, vectors = torch.linalg.eigh(stacked.T @ stacked if tall else stacked @ stacked.T)
    gains = squares.clamp(min=0).sqrt()
    kept = torch.nonzero(gains > READ * gains.max()).squeeze(1).flip(0)
    gains, vectors = gains[kept], vectors[:, kept]
    return Rows(vectors if tall else stacked.T @ vectors / gains, gains, positions)


def listed(names: Sequence[str], most: int = 3) -> str:
    """Names in a sentence, the first few of many.

    >>> listed(["a"]), listed(["a", "b"]), listed(["a", "b", "c", "d", "e"])
    ('a', 'a and b', 'a, b, c and 2 more')
    """
    shown = [*names] if len(names) <= most else [*names[:most], f"{len(names) - most} more"]
    return " and ".join([", ".join(shown[:-1]), shown[-1]] if len(shown) > 1 else shown)

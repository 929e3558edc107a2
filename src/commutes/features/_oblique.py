"""Reader and writer of their own, learnt: the family in which closed forms and oblique fits live."""

from __future__ import annotations

from dataclasses import dataclass

from commutes.features._slices import Features
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

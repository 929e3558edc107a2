"""Coordinates of a subspace that is already known: principal components, a probe, a steering vector."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from commutes.errors import AlignmentError
from commutes.features._slices import Features
from commutes.features._subspace import Subspace
from commutes.network import Site


@dataclass(frozen=True, eq=False)
class Directions(Features):
    """The columns of a given pair of reader and writer: nothing is learnt.

    Args:
        site: Whose states the subspace is of.
        subspace: Such as what `pca` returns. It is not known on which inputs it was found: use others to measure.
    """

    site: Site
    subspace: Subspace

    @property
    def learnt(self) -> bool:
        """Never: the directions are what they are."""
        return False

    def __str__(self) -> str:
        return "given directions"

    def at(self, site: Site) -> Directions:
        """The same directions at another site."""
        return Directions(site, self.subspace)

    def size(self, width: int) -> int:
        """How many directions there are.

        Raises:
            AlignmentError: They are of states of another width, or no biorthogonal pair.
        """
        d, k = self.subspace.reader.shape
        if d != width:
            raise AlignmentError(
                "the directions do not fit the site",
                where=str(self.site),
                got=f"directions of states of {d} numbers",
                expected=f"of {width}",
                fix="use the directions of this module, layer and model",
            )
        self.subspace.checked(str(self.site))
        return k

    def given(self, coordinates: Sequence[int], device: torch.device) -> Subspace:
        """The directions of these numbers."""
        return self.subspace[list(coordinates)].to(device=device)

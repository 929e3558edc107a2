"""Neurons as they are: the featurizer that learns nothing."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from commutes.features._slices import Features
from commutes.network import Site


@dataclass(frozen=True, eq=False)
class Coordinates(Features):
    """The site's own coordinates: neurons, channels, head dimensions."""

    site: Site

    @property
    def learnt(self) -> bool:
        """Never: neurons are where they are."""
        return False

    def __str__(self) -> str:
        return "neurons"


@dataclass(frozen=True, eq=False)
class Neurons:
    """The map of `Coordinates`: z = h at the chosen indices, written back exactly."""

    index: torch.Tensor
    """Chosen coordinates.  # shape: (k,)"""

    def read(self, state: torch.Tensor, /) -> torch.Tensor:
        """The chosen coordinates.  # (..., d) -> (..., k)"""
        return state.index_select(-1, self.index)

    def write(self, state: torch.Tensor, old: torch.Tensor, new: torch.Tensor, /) -> torch.Tensor:
        """The state with `new` at the chosen coordinates."""
        return state.index_copy(-1, self.index, new)

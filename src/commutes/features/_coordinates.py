"""Neurons as they are: the featurizer that learns nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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

    @property
    def spreads(self) -> bool:
        """Never: a neuron is written where it is."""
        return False

    def __str__(self) -> str:
        return "neurons"

    def at(self, site: Site) -> Coordinates:
        """The neurons of another site."""
        return Coordinates(site)

    def given(self, coordinates: Sequence[int], device: torch.device) -> Neurons:
        """The neurons of these numbers."""
        return Neurons(torch.tensor(coordinates, device=device))


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

    def erase(self, state: torch.Tensor) -> torch.Tensor:
        """The state with zeros at the chosen coordinates."""
        return state.index_fill(-1, self.index, 0)

    def complement(self, width: int) -> Neurons:
        """All other coordinates of a state of this width."""
        others = torch.ones(width, dtype=torch.bool, device=self.index.device)
        others[self.index] = False
        return Neurons(torch.nonzero(others).squeeze(1))

    def to(self, *, dtype: torch.dtype | None = None, device: torch.device | str | None = None) -> Neurons:
        """The same neurons on another device; indices have no precision."""
        return Neurons(self.index.to(device))

    def tensors(self) -> dict[str, torch.Tensor]:
        """What a file must hold."""
        return {"index": self.index}

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, torch.Tensor]) -> Neurons:
        """The inverse of `tensors`."""
        return cls(tensors["index"])

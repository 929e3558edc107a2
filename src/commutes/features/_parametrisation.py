"""How a family of maps is searched by descent: a tensor without constraints, what it stands for, the map of that."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch

from commutes.engine import Featurizer


class Parametrisation(ABC):
    """One tensor per map; equal where two maps may lie in one batch.

    `start` is what the optimiser moves; `solve` makes of it what meets the constraints, differentiated once a step
    however many forwards need it; `map` only cuts that into pieces.
    """

    @property
    def cools(self) -> bool:
        """Whether maps become harder while they are fitted, so that of equally good ones the later is better."""
        return False

    @abstractmethod
    def start(self, seed: int) -> torch.Tensor:
        """A random raw tensor."""

    @abstractmethod
    def solve(self, raw: torch.Tensor) -> torch.Tensor:
        """What raw tensors stand for.  # (n, *raw shape) -> (n, *solved shape)"""

    @abstractmethod
    def map(self, solved: torch.Tensor, progress: float) -> Featurizer:
        """The map while it is fitted; `progress` runs from 0 to 1 through the fit.  # (*solved shape,)"""

    def hard(self, solved: torch.Tensor) -> Featurizer:
        """The map as it is measured."""
        return self.map(solved, 1.0)

    def final(self, solved: torch.Tensor) -> Featurizer:
        """The map as it is returned: `hard`, checked, and in the layout in which a file gives it back.

        Raises:
            AlignmentError: It cannot be inverted safely.
        """
        return self.hard(solved)

    def penalty(self, solved: torch.Tensor, progress: float) -> torch.Tensor | None:
        """What the loss of each map has beside the cross-entropy; None for nothing.  # (n, *solved shape) -> (n,)"""
        return None

    def raw(self, featurizer: Featurizer) -> torch.Tensor | None:
        """A raw tensor that stands for a map, to start from it; None for a map of another kind."""
        return None

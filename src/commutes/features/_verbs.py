"""Swapping and erasing through any featurizer."""

from __future__ import annotations

import torch

from commutes.engine import Featurizer


def swap(featurizer: Featurizer, base: torch.Tensor, source: torch.Tensor) -> torch.Tensor:
    """The base with the featurizer's coordinates of the source.  # (..., d), (..., d) -> (..., d)"""
    return featurizer.write(base, featurizer.read(base), featurizer.read(source))


def erase(featurizer: Featurizer, state: torch.Tensor) -> torch.Tensor:
    """The state with the featurizer's coordinates at 0.  # (..., d) -> (..., d)"""
    old = featurizer.read(state)
    return featurizer.write(state, old, torch.zeros_like(old))

from __future__ import annotations

import pytest
import torch

from commutes.engine import _products


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[torch.Size]:
    """What oneDNN multiplied."""
    found: list[torch.Size] = []
    own = _products._Product.apply

    def noted(x: torch.Tensor, *others: object) -> object:
        found.append(x.shape)
        return own(x, *others)

    monkeypatch.setattr(_products._Product, "apply", noted)
    return found

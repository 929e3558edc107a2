from __future__ import annotations

import numpy as np
import pytest
import torch

from commutes.errors import FitError
from commutes.features import active_subspace, attribution, moments, products


def test_the_active_subspace_is_where_the_function_varies() -> None:
    rng = np.random.default_rng(0)
    x, directions = rng.standard_normal((300, 6)), np.linalg.qr(rng.standard_normal((6, 2)))[0]
    # f = sin(a.x) + (b.x)^2 depends on two directions; its gradients lie in their span.
    g = np.cos(x @ directions[:, :1]) * directions[:, 0] + 2 * (x @ directions[:, 1:]) * directions[:, 1]
    found = active_subspace(moments(torch.from_numpy(g)), k=2)
    assert np.allclose(found.projector().numpy(), directions @ directions.T)
    lead = np.linalg.svd(g)[2][0]
    assert abs(
        lead @ active_subspace(moments(torch.from_numpy(g)), k=1).reader[:, 0].numpy()
    ) == pytest.approx(1)
    with pytest.raises(FitError, match="the second moment of the gradients has fewer directions"):
        active_subspace(moments(torch.from_numpy(g)), k=3)


def _pairs(n: int = 50, d: int = 5) -> tuple[torch.Tensor, torch.Tensor]:
    rng = np.random.default_rng(1)
    g, delta = rng.standard_normal((n, d)), rng.standard_normal((n, d))
    delta[:, 0] += 2 * g[:, 0]
    delta[:, 1] -= 2 * g[:, 1]
    return torch.from_numpy(g), torch.from_numpy(delta)


def test_its_diagonal_is_attribution_patching() -> None:
    g, delta = _pairs()
    found = products(g, delta)
    # Neuron by neuron: the gradient times the change, averaged over pairs.
    assert torch.allclose(torch.diagonal(found.total / found.n), (g * delta).mean(dim=0))
    subspace = attribution(found, k=1)
    symmetric = (g.T @ delta + delta.T @ g).numpy() / 2 / len(g)
    values, vectors = np.linalg.eigh(symmetric)
    assert abs(vectors[:, -1] @ subspace.reader[:, 0].numpy()) == pytest.approx(1)
    direction = subspace.reader[:, 0]
    assert float(((g @ direction) * (delta @ direction)).mean()) == pytest.approx(values[-1])
    # The direction that works with the difference, not the equally strong one against it.
    assert abs(float(direction[0])) > 0.8
    assert values[0] < -1


def test_sums_of_parts_are_the_sum_of_the_whole() -> None:
    g, delta = _pairs()
    parts = products(g[:20], delta[:20]) + products(g[20:].reshape(15, 2, 5), delta[20:].reshape(15, 2, 5))
    whole = products(g, delta)
    assert parts.n == whole.n
    assert torch.allclose(parts.total, whole.total)


def test_refusals() -> None:
    g, delta = _pairs()
    with pytest.raises(FitError, match="every difference needs its gradient"):
        products(g[:3], delta)
    with pytest.raises(FitError, match="gradients or differences are not finite"):
        products(g * torch.nan, delta)
    with pytest.raises(FitError, match="the attribution of the logit difference has fewer directions"):
        attribution(products(g, -g), k=1)

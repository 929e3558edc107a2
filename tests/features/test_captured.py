from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from commutes.errors import FitError
from commutes.features import difference_moments, differences, gradients, moments, products, state_moments
from commutes.network import MLP, Network


def _network(seed: int = 0) -> Network:
    module = MLP([3, 5, 4, 2], seed=seed)
    return Network(module, encode=_encode, answers=[0, 1], blocks="layers")


def _encode(values: dict[str, np.ndarray]) -> torch.Tensor:
    return torch.from_numpy(np.stack([values[n] for n in "abc"], axis=1)).float()


def _values(n: int = 50, seed: int = 0) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    return {name: rng.standard_normal(n) for name in "abc"}


def _hidden(network: Network, values: dict[str, np.ndarray]) -> torch.Tensor:
    seen: list[torch.Tensor] = []
    handle = network.module.get_submodule("layers.0").register_forward_hook(
        lambda _m, _a, out: seen.append(out)
    )
    network.module(_encode(values))
    handle.remove()
    return seen[0].detach()


def test_moments_of_states_from_one_pass_in_pieces() -> None:
    network, values = _network(), _values()
    labels = values["a"] > 0
    wanted = moments(_hidden(network, values), labels)
    # Forwards of other sizes round otherwise, in single precision.
    for chunk in (None, 7):
        found = state_moments(network.site("layers.0"), values, labels, chunk=chunk)
        assert found.labels == (0, 1)
        assert torch.allclose(found.covariance, wanted.covariance, rtol=1e-4, atol=1e-5)
        assert torch.allclose(found.means, wanted.means, rtol=1e-4, atol=1e-5)
        assert torch.allclose(found.quartics, wanted.quartics, rtol=1e-4, atol=1e-5)


def test_moments_of_differences() -> None:
    network, base, source = _network(), _values(), _values(seed=1)
    site = network.site("layers.0")
    wanted = _hidden(network, source) - _hidden(network, base)
    assert torch.allclose(differences(site, base, source, chunk=20)[:, 0], wanted, atol=1e-6)
    labels = np.arange(50) % 3
    found = difference_moments(site, base, source, labels, chunk=20)
    assert torch.allclose(found.second, moments(wanted).second, atol=1e-6)
    assert torch.allclose(found.means, moments(wanted, labels).means, atol=1e-6)


def test_base_and_source_are_read_at_their_own_positions() -> None:
    class Steps(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.up = nn.Linear(1, 4)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.up(x.unsqueeze(-1)).sum(dim=(1, 2), keepdim=True)[:, 0].expand(-1, 2)

    network = Network(Steps(), encode=_encode, answers=[0, 1])
    site = network.site("up", position=[0], source_position=[2])
    base, source = _values(), _values(seed=1)
    up = network.module.get_submodule("up")
    wanted = up(_encode(source)[:, 2:]) - up(_encode(base)[:, :1])
    assert torch.allclose(differences(site, base, source)[:, 0], wanted, atol=1e-6)


def test_gradients_are_those_of_a_plain_backward_pass() -> None:
    network, values = _network(), _values()
    plus, minus = np.arange(50) % 2, 1 - np.arange(50) % 2
    found = gradients(network.site("layers.0"), values, plus=plus, minus=minus, chunk=17)
    hidden = _hidden(network, values).requires_grad_()
    logits = _logits_from(network, hidden)
    sign = torch.from_numpy(2 * plus - 1).float()
    (wanted,) = torch.autograd.grad((sign * (logits[:, 1] - logits[:, 0])).sum(), hidden)
    assert torch.allclose(found[:, 0], wanted, atol=1e-6)
    # Nothing of the caller's has changed.
    assert all(p.grad is None and p.requires_grad for p in network.module.parameters())


def _logits_from(network: Network, hidden: torch.Tensor) -> torch.Tensor:
    """The network's logits when its first hidden layer is this, by a hook that replaces it."""
    handle = network.module.get_submodule("layers.0").register_forward_hook(lambda _m, _a, _o: hidden)
    logits = network.module(_encode(_values()))
    handle.remove()
    return logits


def test_gradients_of_a_site_at_two_places_are_total_ones() -> None:
    network, values = _network(), _values()
    both = network.site("layers.0") + network.site("layers.1")
    columns = {"plus": np.zeros(50, int), "minus": np.ones(50, int)}
    found = gradients(both, values, **columns)
    alone = [gradients(network.site(path), values, **columns) for path in ("layers.0", "layers.1")]
    assert torch.allclose(found, torch.cat(alone, dim=-1), atol=1e-6)


def test_attribution_from_gradients_and_differences_predicts_a_small_change() -> None:
    network, base = _network(), _values()
    source = {n: c + 1e-3 * _values(seed=3)[n] for n, c in base.items()}
    site = network.site("layers.0")
    columns = {"plus": np.zeros(50, int), "minus": np.ones(50, int)}
    slopes = gradients(site, base, **columns) + gradients(site, source, **columns)
    found = products(slopes, differences(site, base, source))
    predicted = float(found.total.trace()) / 2
    gap = [network.module(_encode(v)).detach() for v in (base, source)]
    change = float(((gap[1] - gap[0]) @ torch.tensor([1.0, -1.0])).sum())
    assert predicted == pytest.approx(change, rel=0.02, abs=1e-4)


def test_refusals() -> None:
    network = _network()
    site = network.site("layers.0")
    with pytest.raises(FitError, match=r"labels of shape \(3,\) for 50 inputs"):
        state_moments(site, _values(), [0, 1, 0])
    with pytest.raises(FitError, match="50 bases and 20 sources"):
        differences(site, _values(), _values(20))
    with pytest.raises(FitError, match="50 bases and 20 sources"):
        difference_moments(site, _values(), _values(20))
    with pytest.raises(FitError, match="every input needs two columns of the logits"):
        gradients(site, _values(), plus=[0], minus=[1])
    broken = _values()
    broken["a"][3] = np.nan
    with pytest.raises(FitError, match="1 of 50 states, the first is number 3"):
        state_moments(site, broken)

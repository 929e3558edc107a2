from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import nn

from commutes.errors import NetworkError
from commutes.network import Network


class Tower(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(5, 4)
        self.layers = nn.ModuleList(nn.Linear(4, 4) for _ in range(4))
        self.norm = nn.LayerNorm(4)
        self.head = nn.Linear(4, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.embed(x)
        for layer in self.layers:
            x = layer(x)
        return self.head(self.norm(x))


def _network(module: nn.Module | None = None, **options: Any) -> Network:
    return Network(module or Tower(), encode=lambda v: v, answers=[0, 1], **options)


def _changed(one: nn.Module, other: nn.Module) -> list[str]:
    pairs = zip(one.named_parameters(), other.named_parameters(), strict=True)
    return [name for (name, a), (_, b) in pairs if not torch.equal(a, b)]


@pytest.mark.parametrize("kind", ["reset", "cascade", "shuffle"])
def test_the_original_and_the_generators_are_as_they_were(kind: Any) -> None:
    network = _network(blocks="layers")
    before = {k: v.clone() for k, v in network.module.state_dict().items()}
    state = torch.get_rng_state()
    one, same, other = (network.reinitialised(seed, kind=kind) for seed in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(v, before[k]) for k, v in network.module.state_dict().items())
    assert _changed(one.module, same.module) == []
    assert "head.weight" in _changed(one.module, other.module)
    assert one.fingerprint != network.fingerprint
    assert one.name == f"Tower ({kind} 1)"
    assert one.module is not network.module


def test_reset_draws_every_weight_anew() -> None:
    network = _network()
    with torch.no_grad():
        network.module.norm.weight.mul_(3)  # type: ignore[operator, union-attr]
    changed = _changed(network.module, network.reinitialised(0).module)
    assert changed == [n for n, _ in network.module.named_parameters() if n != "norm.bias"]


def test_reset_equals_a_new_construction() -> None:
    class Own(nn.Module):
        """Initialises its parts in a way of its own, after they have initialised themselves."""

        def __init__(self) -> None:
            super().__init__()
            self.inner = nn.Linear(3, 3)
            self.attention = nn.MultiheadAttention(4, 2)
            self.scale = nn.Parameter(torch.zeros(2))
            self.reset_parameters()

        def reset_parameters(self) -> None:
            nn.init.constant_(self.inner.weight, 7.0)
            nn.init.ones_(self.scale)

    twin = _network(Own()).reinitialised(3).module
    assert torch.equal(twin.inner.weight, torch.full((3, 3), 7.0))  # type: ignore[union-attr, arg-type]
    assert torch.equal(twin.scale, torch.ones(2))  # type: ignore[arg-type]
    # nn.MultiheadAttention zeroes the bias that its output layer has drawn for itself.
    assert torch.equal(twin.attention.out_proj.bias, torch.zeros(4))  # type: ignore[union-attr, arg-type]
    assert twin.attention.in_proj_weight.abs().max() <= math.sqrt(6 / 16)  # type: ignore[union-attr, operator]


def test_the_cascade_keeps_the_lower_half_and_what_feeds_it() -> None:
    network = _network(blocks="layers")
    with torch.no_grad():
        network.module.norm.bias += 1  # type: ignore[operator, union-attr]
    changed = _changed(network.module, network.reinitialised(0, kind="cascade").module)
    assert changed == [
        "layers.2.weight",
        "layers.2.bias",
        "layers.3.weight",
        "layers.3.bias",
        "norm.bias",
        "head.weight",
        "head.bias",
    ]


@pytest.mark.parametrize("blocks", [None, ["layers.0"]])
def test_a_cascade_needs_blocks(blocks: list[str] | None) -> None:
    with pytest.raises(NetworkError) as caught:
        _network(blocks=blocks).reinitialised(0, kind="cascade")
    assert str(caught.value) == (
        "a cascade needs blocks\n"
        f"  got:      {len(blocks or [])} blocks\n"
        "  expected: a network that declares at least two\n"
        "  do:       give Network blocks=, or re-initialise with kind='reset'"
    )


def test_shuffling_keeps_the_values_of_each_parameter() -> None:
    network = _network()
    twin = network.reinitialised(0, kind="shuffle").module
    assert "layers.0.weight" in _changed(network.module, twin)
    for (_, a), (_, b) in zip(network.module.named_parameters(), twin.named_parameters(), strict=True):
        assert torch.equal(a.flatten().sort().values, b.flatten().sort().values)


def test_parameters_that_nobody_can_reset() -> None:
    class Odd(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.scale = nn.Parameter(torch.ones(2))
            self.shift = nn.Parameter(torch.ones(2))

    network = _network(nn.Sequential(nn.Linear(2, 2), Odd()))
    state = torch.get_rng_state()
    with pytest.raises(NetworkError) as caught:
        network.reinitialised(0)
    assert str(caught.value) == (
        "the network cannot be re-initialised\n"
        "  where:    1\n"
        "  got:      parameters scale, shift in a module without reset_parameters()\n"
        "  expected: a reset_parameters method on every module that owns parameters\n"
        "  do:       give the module a reset_parameters() method: the untrained null needs it"
    )
    assert torch.equal(torch.get_rng_state(), state)
    with pytest.raises(NetworkError, match="where:    Odd"):
        _network(Odd()).reinitialised(0)


def test_a_kind_that_does_not_exist() -> None:
    with pytest.raises(NetworkError) as caught:
        _network().reinitialised(0, kind="noise")  # type: ignore[arg-type]
    assert str(caught.value) == (
        "no such way to re-initialise\n  got:      'noise'\n  expected: 'reset', 'cascade' or 'shuffle'"
    )


def test_modes_gradients_and_frozen_parameters_are_carried_over() -> None:
    network = _network()
    network.module.eval()
    network.module.head.weight.requires_grad_(False)  # type: ignore[union-attr]
    twin = network.reinitialised(0).module
    assert not twin.training
    assert [p.requires_grad for p in twin.parameters()] == [
        p.requires_grad for p in network.module.parameters()
    ]
    assert all(p.grad is None for p in twin.parameters())

"""Defects of the peers that networks, sites, features and the engine must not have."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from commutes.engine import SiteEdit, capture, interchange, layouts, prepare
from commutes.errors import CommutesError, EngineError, SiteError
from commutes.features import Coordinates, Neurons, Rotation, Subspace, random_raw, rotation
from commutes.network import Network

N, WIDTH = 6, 8


class Sequence(nn.Module):
    """Positions that look at each other."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(3, WIDTH)
        self.mix = nn.Linear(WIDTH, WIDTH)
        self.head = nn.Linear(WIDTH, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.tanh(self.first(x))
        x = torch.tanh(self.mix(x) + x.mean(1, keepdim=True))
        return self.head(x.mean(1))


def _network() -> Network:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        module = Sequence().eval()
    rows = torch.randn(N, 4, 3, generator=torch.Generator().manual_seed(1))
    return Network(module, encode=lambda v: rows[torch.from_numpy(v["i"])], answers=[0, 1])


VALUES = {"i": np.arange(N)}


# `[[0, 5]]` meant as two indices and read as a range.


@pytest.mark.parametrize("family", [Coordinates, Rotation])
def test_two_indices_are_two_coordinates_and_never_a_range(family: Any) -> None:
    hidden = family(_network().site("first", position=0))
    assert hidden[[0, 5]].resolve(WIDTH, of="v") == (0, 5)
    assert hidden[0, 5].resolve(WIDTH, of="v") == (0, 5)
    assert hidden[0:5].resolve(WIDTH, of="v") == (0, 1, 2, 3, 4)
    with pytest.raises(CommutesError, match=r"\[\[0, 5\]\] is two coordinates, \[0:5\] is five"):
        hidden[[[0, 5]]].resolve(WIDTH, of="v")


def test_two_indices_are_two_features_and_never_a_range() -> None:
    network = _network()
    two = network.site("first", part=[0, 5], position=0)
    five = network.site("first", part=slice(0, 5), position=0)
    nested: Any = [[0, 5]]
    plan = layouts(network, network.encode(VALUES), [two, five])
    assert (plan[two].width, plan[five].width) == (2, 5)
    with pytest.raises(SiteError, match=r"\[0, 5\] is two features, slice\(0, 5\) is five"):
        prepare(network, VALUES, [network.site("first", part=nested)])
    with pytest.raises(SiteError, match=r"\[0, 5\] is two positions"):
        prepare(network, VALUES, [network.site("first", position=[[0, 3]])])  # type: ignore[list-item]


# A mismatched source broadcast without a word.


def test_one_source_is_not_stretched_over_many_bases() -> None:
    network = _network()
    site = network.site("first", position=0)
    ready = prepare(network, VALUES, [site])
    base = torch.arange(N)
    for source in (torch.zeros(1, 1, dtype=torch.long), torch.zeros(N, dtype=torch.long)):
        with pytest.raises(EngineError, match="nothing is broadcast"):
            ready.batch(base, source)
    states = capture(network, VALUES, [site])[site]
    mask = torch.ones(N, 1, 2, dtype=torch.bool)
    edit = SiteEdit(
        ready.plan[site], Neurons(torch.tensor([0, 1])), states[:1, None], mask, (torch.zeros(N, 1).long(),)
    )
    with pytest.raises(EngineError, match="nothing is broadcast"):
        interchange(network, ready.inputs.args, {}, [edit])


def test_as_many_positions_in_the_source_as_in_the_base() -> None:
    network = _network()
    with pytest.raises(SiteError, match="base and source positions differ in number"):
        prepare(network, VALUES, [network.site("first", position=[0, 1], source_position=[2])])


# Wrapping a model freezes it for good.


def test_a_network_that_was_intervened_on_still_trains() -> None:
    network = _network()
    module = network.module
    module.train()
    flags = [p.requires_grad for p in module.parameters()]
    ready = prepare(network, VALUES, [network.site("first", position=0)])
    raw = random_raw(WIDTH, 2, 0).requires_grad_()
    batch = ready.batch(torch.arange(N), torch.arange(N).flip(0).unsqueeze(1))
    logits = ready.logits(batch, [rotation(raw)], [torch.ones(N, 1, 2, dtype=torch.bool)])
    torch.autograd.grad(logits.sum(), raw)
    assert [p.requires_grad for p in module.parameters()] == flags
    assert all(flags)
    assert module.training
    assert all(p.grad is None for p in module.parameters())
    module(ready.inputs.args[0]).sum().backward()
    assert all(p.grad is not None and bool(p.grad.abs().sum() > 0) for p in module.parameters())


def test_a_frozen_network_stays_frozen_and_still_lets_gradients_through() -> None:
    network = _network()
    network.module.requires_grad_(False)
    ready = prepare(network, VALUES, [network.site("first", position=0)])
    raw = random_raw(WIDTH, 2, 0).requires_grad_()
    batch = ready.batch(torch.arange(N), torch.arange(N).flip(0).unsqueeze(1))
    logits = ready.logits(batch, [rotation(raw)], [torch.ones(N, 1, 2, dtype=torch.bool)])
    logits[:, 0].sum().backward()
    assert raw.grad is not None
    assert bool(raw.grad.abs().sum() > 0)
    assert all(p.grad is None and not p.requires_grad for p in network.module.parameters())


# A featurizer that is not the identity when source equals base.


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_every_featurizer_is_the_identity_when_source_equals_base(dtype: torch.dtype) -> None:
    states = 100 * torch.randn(50, 1, WIDTH, generator=torch.Generator().manual_seed(2)).to(dtype)
    reader = random_raw(WIDTH, 3, 1, dtype=dtype)
    maps = [
        rotation(random_raw(WIDTH, 3, 0, dtype=dtype)),
        rotation(random_raw(WIDTH, WIDTH, 0, dtype=dtype)),
        Subspace(reader, random_raw(WIDTH, 3, 2, dtype=dtype)),  # not even biorthogonal
        Neurons(torch.tensor([7, 0])),
    ]
    for map in maps:
        read = map.read(states)
        assert torch.equal(map.write(states, read, map.read(states.clone())), states)
        # The inverse of this test: rebuilding the state from a full rotation does not give it back.
    full = maps[1]
    assert isinstance(full, Subspace)
    assert not torch.equal(full.read(states) @ full.writer.T, states)


# Any TypeError inside a user's position function is swallowed and the function called again another way.


def test_a_type_error_in_a_position_function_reaches_the_user_after_one_call() -> None:
    network = _network()
    calls: list[tuple[Any, ...]] = []
    error = TypeError("unsupported operand: mine")

    def position(*arguments: Any) -> np.ndarray:
        calls.append(arguments)
        raise error

    with pytest.raises(TypeError, match="unsupported operand: mine") as caught:
        prepare(network, VALUES, [network.site("first", position=position)])
    assert caught.value is error
    assert caught.value.__cause__ is None
    assert len(calls) == 1
    assert list(calls[0][0]) == ["i"]


def test_a_position_function_of_another_signature_is_not_tried_another_way() -> None:
    network = _network()
    with pytest.raises(TypeError, match="missing 1 required positional argument: 'tokens'"):
        prepare(network, VALUES, [network.site("first", position=lambda values, tokens: 0)])  # type: ignore[arg-type, misc]


# Hooks left after an exception.


def test_no_hook_and_no_replaced_forward_is_left_after_an_exception() -> None:
    network = _network()
    ready = prepare(
        network, VALUES, [network.site("first", position=0), network.site("mix", side="input", position=1)]
    )
    batch = ready.batch(torch.arange(N), torch.arange(N).unsqueeze(1))
    clean = network.module(ready.inputs.args[0])

    class Broken(Neurons):
        def write(self, state: torch.Tensor, old: torch.Tensor, new: torch.Tensor, /) -> torch.Tensor:
            raise KeyboardInterrupt

    masks = [torch.ones(N, 1, 1, dtype=torch.bool)] * 2
    with pytest.raises(KeyboardInterrupt):
        ready.logits(batch, [Neurons(torch.tensor([0])), Broken(torch.tensor([0]))], masks)
    for module in network.module.modules():
        assert not module._forward_hooks
        assert not module._forward_pre_hooks
        assert "forward" not in module.__dict__
    assert torch.equal(network.module(ready.inputs.args[0]), clean)


# A misspelt or impossible intervention is silently ignored.


@pytest.mark.parametrize(
    "options",
    [
        {"path": "mixx"},
        {"path": "mix", "part": [WIDTH]},
        {"path": "mix", "part": slice(0, WIDTH + 1)},
        {"path": "mix", "position": 4},
        {"path": "mix", "call": 1},
        {"path": "mix", "item": 0},
        {"path": "mix", "side": "outputs"},
        {"path": "mix", "axis": 3},
    ],
    ids=str,
)
def test_no_intervention_is_silently_ignored_or_cut_short(options: dict[str, Any]) -> None:
    network = _network()
    with pytest.raises((SiteError, EngineError)):
        prepare(network, VALUES, [network.site(**options)])


def test_a_misspelt_option_of_a_site_is_an_error() -> None:
    with pytest.raises(TypeError, match="unexpected keyword argument 'postion'"):
        _network().site("mix", postion=0)  # type: ignore[call-arg]

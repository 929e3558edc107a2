from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from commutes.errors import CommutesError, NetworkError, SiteError
from commutes.network import Network


class Mlp(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Sequential(nn.Linear(4, 4), nn.ReLU()) for _ in range(2))
        self.head = nn.Linear(4, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for layer in self.layers:
            x = layer(x)
        return self.head(x)


def _encode(values: dict[str, np.ndarray]) -> torch.Tensor:
    return torch.from_numpy(np.stack([values[name] for name in "wxyz"], axis=1)).float()


def _values(n: int = 5) -> dict[str, np.ndarray]:
    return {name: np.arange(n) + i for i, name in enumerate("wxyz")}


def _network(module: nn.Module | None = None, **options: Any) -> Network:
    return Network(module or Mlp(), **{"encode": _encode, "answers": [0, 1, 2], **options})


def _text(kind: type[CommutesError], act: Any, /, *args: Any, **options: Any) -> str:
    with pytest.raises(kind) as caught:
        act(*args, **options)
    return str(caught.value)


def test_what_a_network_knows() -> None:
    network = _network(name="four", blocks="layers")
    assert network.answers == (0, 1, 2)
    assert network.blocks == ("layers.0", "layers.1")
    assert repr(network) == "Network(four, 9 modules, 2 blocks)"
    assert _network().name == "Mlp"
    assert network.device == torch.device("cpu")
    assert Network(nn.ReLU(), encode=_encode, decode=list).device == torch.device("cpu")


def test_a_network_is_a_module() -> None:
    assert _text(NetworkError, Network, [1], encode=_encode, answers=[0, 1]) == (
        "a network is a torch.nn.Module\n  got:      list\n  expected: an nn.Module"
    )


@pytest.mark.parametrize(
    ("options", "got"),
    [
        ({"answers": None}, "neither answers= nor decode="),
        ({"answers": [0, 1], "decode": list}, "both answers= and decode="),
    ],
)
def test_outputs_have_one_meaning(options: dict[str, Any], got: str) -> None:
    assert _text(NetworkError, _network, **options) == (
        "a network needs to know what its outputs mean\n"
        f"  got:      {got}\n"
        "  expected: answers=, the output values in the order of the logits, or decode="
    )


@pytest.mark.parametrize("answers", [[], [1], [0, 1, 0]], ids=str)
def test_answers_are_distinct(answers: list[int]) -> None:
    assert _text(NetworkError, _network, answers=answers) == (
        "answers= lists the output values in the order of the logits\n"
        f"  got:      {tuple(answers)!r}\n"
        "  expected: at least two distinct values"
    )


def test_true_and_one_are_different_answers() -> None:
    assert _network(answers=[True, 1, "1"]).answers == (True, 1, "1")


# Reading.


@pytest.mark.parametrize("read", [True, 1.5, (0,), ("head", "x"), ("head", 1, 2), [0]], ids=repr)
def test_read_is_a_position_or_a_path_or_both(read: Any) -> None:
    assert _text(NetworkError, _network, read=read) == (
        "read= says where the logits are\n"
        f"  got:      {read!r}\n"
        "  expected: a position, a path or (path, position)"
    )


def test_read_names_a_module_that_exists() -> None:
    assert "got:      'heads'\n" in _text(SiteError, _network, read="heads")
    assert "got:      'heads'\n" in _text(SiteError, _network, read=("heads", 0))


def test_logits_are_found_where_read_says() -> None:
    logits = torch.arange(24.0).reshape(2, 4, 3)
    assert torch.equal(_network().logits_of(logits[:, 0]), logits[:, 0])
    assert torch.equal(_network(read=2).logits_of(logits), logits[:, 2])
    assert torch.equal(_network(read=-1).logits_of(logits), logits[:, 3])
    assert torch.equal(_network(read=("head", 0)).logits_of(SimpleNamespace(logits=logits)), logits[:, 0])
    assert _network(answers=[0, 1]).logits_of(logits[:, 0]).shape == (2, 3)  # wider than the answers is kept


def test_logits_that_are_no_tensor() -> None:
    assert _text(NetworkError, _network().logits_of, (torch.zeros(2, 3), None)) == (
        "the logits are not a tensor\n"
        "  where:    what the module returned\n"
        "  got:      tuple\n"
        "  expected: a tensor of shape (batch, answers)\n"
        "  do:       name the module that returns the logits with read="
    )
    assert "where:    head\n" in _text(NetworkError, _network(read="head").logits_of, None)


@pytest.mark.parametrize("shape", [(2, 2), (2, 4, 3), (3,)], ids=str)
def test_logits_that_do_not_fit_the_answers(shape: tuple[int, ...]) -> None:
    assert _text(NetworkError, _network().logits_of, torch.zeros(shape)) == (
        "the logits do not fit the answers\n"
        f"  got:      shape {shape}\n"
        "  expected: (batch, at least 3)\n"
        "  do:       say with read= which module and position holds the logits"
    )


def test_a_position_without_an_axis() -> None:
    assert _text(NetworkError, _network(read=0).logits_of, torch.zeros(2, 3)) == (
        "read= names a position, but there is no position axis\n"
        "  got:      shape (2, 3)\n"
        "  expected: (batch, positions, answers)"
    )


@pytest.mark.parametrize("position", [4, -5])
def test_a_read_position_outside_the_sequence(position: int) -> None:
    assert _text(NetworkError, _network(read=position).logits_of, torch.zeros(2, 4, 3)) == (
        "read= names a position outside the sequence\n"
        f"  got:      position {position}\n"
        "  expected: from -4 to 3"
    )


# Sites.


def test_a_path_that_does_not_exist_names_the_three_nearest() -> None:
    assert _text(SiteError, _network().site, "layer.0") == (
        "there is no such module in the network\n"
        "  got:      'layer.0'\n"
        "  expected: one of its modules; nearest: layers.0, layers.1.0, layers.0.1\n"
        "  do:       list the places with `commutes sites SPEC` or dict(module.named_modules())"
    )


def test_a_side_that_does_not_exist() -> None:
    assert _text(SiteError, _network().site, "head", side="inputs") == (
        "a site is at a module's input or output\n  got:      'inputs'\n  expected: 'input' or 'output'"
    )


@pytest.mark.parametrize("call", [-1, True, 1.0, "0"], ids=repr)
def test_calls_count_from_zero(call: Any) -> None:
    assert _text(SiteError, _network().site, "head", call=call) == (
        f"calls count from 0\n  where:    head\n  got:      {call!r}\n  expected: a whole number from 0"
    )


# Blocks.


def test_blocks_are_a_list_of_modules_or_of_paths() -> None:
    sequential = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 3))
    assert _network(sequential, blocks="").blocks == ("0", "1", "2")
    assert _network(blocks=["layers.0", "head"]).blocks == ("layers.0", "head")
    assert _network(blocks=None).blocks == ()
    assert _network(blocks=[]).blocks == ()


def test_blocks_that_are_no_list() -> None:
    assert _text(NetworkError, _network, blocks="head") == (
        "blocks= names one module that is no list of modules\n"
        "  where:    head\n"
        "  got:      Linear\n"
        "  expected: a ModuleList or Sequential, or a list of paths"
    )


def test_blocks_that_do_not_exist() -> None:
    assert "nearest: layers, layers.1, layers.0" in _text(SiteError, _network, blocks="layer")
    assert "got:      'layers.2'" in _text(SiteError, _network, blocks=["layers.0", "layers.2"])


# What a network leaves alone.


def test_making_a_network_changes_nothing() -> None:
    module = Mlp().train()
    module.head.weight.requires_grad_(False)
    before = [(p.requires_grad, p._version, p.grad) for p in module.parameters()]
    network = _network(module, blocks="layers")
    network.site("layers.0")
    assert network.fingerprint
    assert [(p.requires_grad, p._version, p.grad) for p in module.parameters()] == before
    assert module.training
    assert network.module is module


def test_the_fingerprint_follows_the_weights_and_the_structure() -> None:
    module = Mlp()
    one = _network(module).fingerprint
    assert one == _network(module, name="other").fingerprint
    assert len(one) == 64
    with torch.no_grad():
        module.head.bias[0] += 1e-3
    two = _network(module).fingerprint
    same_weights = nn.Sequential(module.head, nn.ReLU())
    other_kind = nn.Sequential(module.head, nn.Tanh())
    assert len({one, two, _network(same_weights).fingerprint, _network(other_kind).fingerprint}) == 4
    assert _network(module.double()).fingerprint != two


def test_the_same_reading_around_another_module() -> None:
    network, twin = _network(blocks="layers", name="first"), Mlp()
    other = network.with_module(twin, suffix=" (twin)")
    assert other.module is twin
    assert (other.name, other.blocks, other.answers) == ("first (twin)", network.blocks, network.answers)
    assert network.module is not twin
    assert other.site("layers.0").network is other

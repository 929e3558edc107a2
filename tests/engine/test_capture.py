from __future__ import annotations

import numpy as np
import pytest
import torch

from commutes.engine import capture, layouts
from commutes.errors import NetworkError

from . import nets, oracle
from .oracle import Edit, Spot


def _edit(*spots: Spot, each: bool = False) -> Edit:
    return Edit(spots, torch.zeros(1, 1), torch.zeros(1, 1), torch.zeros(1, 1, 1), each)


@pytest.mark.parametrize(
    ("case", "spots", "each", "shape"),
    [
        (nets.mlp(), (Spot("layers.1"),), False, (1, 5)),
        (nets.mlp(), (Spot("layers.1", "input", features=(3, 0)),), False, (1, 2)),
        (nets.cnn(), (Spot("first"),), False, (1, 27)),
        (nets.cnn(), (Spot("first"),), True, (9, 3)),
        (nets.gru(), (Spot("cell", call=3), Spot("cell", call=0)), False, (1, 8)),
        (nets.gru(), (Spot("cell", call=3), Spot("cell", call=0)), True, (2, 4)),
        (nets.attention(), (Spot("blocks.0", position=[3, 1]),), False, (1, 8)),
        (nets.attention(), (Spot("blocks.0", position=[[i % 4] for i in range(7)]),), False, (1, 4)),
        (nets.tuples(), (Spot("pair", item=1),), False, (1, 3)),
    ],
    ids=lambda value: (
        " ".join(s.path for s in value)
        if isinstance(value, tuple) and value and isinstance(value[0], Spot)
        else ""
    ),
)
def test_captured_states_are_those_of_plain_hooks(
    case: nets.Case, spots: tuple[Spot, ...], each: bool, shape: tuple[int, int]
) -> None:
    network, edit = case.network(), _edit(*spots, each=each)
    site = nets.site_of(network, edit)
    found = capture(network, nets.values(), [site], chunk=3)[site]
    assert found.shape == (nets.INPUTS, *shape)
    for example in range(nets.INPUTS):
        plain = oracle.clean(case.module, case.rows, edit, example)
        assert (found[example].reshape(-1) - plain).abs().max() < 1e-12


def test_sources_are_read_at_their_own_positions() -> None:
    case = nets.attention()
    network = case.network()
    site = network.site("blocks.0", position=[0], source_position=[2])
    there = network.site("blocks.0", position=2)
    as_source = capture(network, nets.values(), [site], source=True)[site]
    assert torch.equal(as_source, capture(network, nets.values(), [there])[there])
    assert not torch.equal(as_source, capture(network, nets.values(), [site])[site])


def test_nothing_runs_after_the_last_activation_that_is_asked_for() -> None:
    case = nets.mlp()
    module, counts = nets.counted(case.module)
    network = nets.Case(module, case.rows).network()
    sites = [network.site("layers.0"), network.site("layers.1", side="input")]
    layouts(network, network.encode(nets.values()), sites)
    assert counts["head"] == 1  # finding the shapes runs one example whole, so that every call is counted
    before = dict(counts)
    capture(network, nets.values(), sites)
    probing = 1
    assert {path: counts[path] - before[path] for path in ("layers.0", "layers.1", "layers.2", "head")} == {
        "layers.0": probing + 1,
        "layers.1": probing,
        "layers.2": probing,
        "head": probing,
    }


def test_a_recurrent_cell_stops_at_the_step_that_is_asked_for() -> None:
    case = nets.gru()
    module, counts = nets.counted(case.module)
    network = nets.Case(module, case.rows).network()
    capture(network, nets.values(), [network.site("cell", call=1)])
    assert counts["cell"] == 4 + 2


def test_several_sites_in_one_run_and_in_their_order() -> None:
    network = nets.mlp().network()
    sites = [network.site("layers.2"), network.site("layers.0"), network.site("layers.2", part=[1])]
    found = capture(network, nets.values(), sites)
    assert list(found) == sites
    assert torch.equal(found[sites[2]], found[sites[0]][..., 1:2])


def test_states_carry_no_gradient_and_are_copies() -> None:
    case = nets.mlp(inplace=True)
    network = case.network()
    before_relu, layer = network.site("layers.0.0"), network.site("layers.0")
    found = capture(network, nets.values(), [before_relu, layer])
    linear = case.module.layers[0][0]  # type: ignore[index]
    assert torch.equal(found[before_relu][:, 0], linear(case.rows[0]))  # not what ReLU made of it in place
    assert (found[before_relu] < 0).any()
    assert not found[layer].requires_grad


def test_a_network_in_training_mode_is_refused() -> None:
    case = nets.encoder()
    case.module.train()
    network = case.network()
    with pytest.raises(NetworkError, match="the network is in training mode"):
        capture(network, nets.values(), [network.site("layers.0")])


def test_no_inputs() -> None:
    network = nets.mlp().network()
    with pytest.raises(NetworkError) as caught:
        capture(network, {"i": np.zeros(0, np.int64)}, [network.site("layers.0")])
    assert str(caught.value) == (
        "there are no inputs to run\n  got:      columns of length 0\n  expected: at least one example"
    )

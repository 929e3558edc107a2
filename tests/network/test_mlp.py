from __future__ import annotations

import pytest
import torch

from commutes.errors import NetworkError
from commutes.network import MLP, mlp_by_hand


def test_the_output_of_a_layer_is_the_hidden_layer_after_its_relu():
    net = MLP([3, 5, 4, 2], seed=0)
    x = torch.randn(7, 3, generator=torch.Generator().manual_seed(0))
    first = net.layers[0](x)
    second = net.layers[1](first)
    assert (first >= 0).all()
    assert first.shape == (7, 5)
    assert torch.equal(net(x), net.head(second))


def test_the_seed_decides_the_weights_and_the_users_generator_stays():
    torch.manual_seed(5)
    before = torch.get_rng_state()
    first, again, other = (MLP([3, 5, 2], seed=seed) for seed in (0, 0, 1))
    assert torch.equal(first.head.weight, again.head.weight)
    assert not torch.equal(first.head.weight, other.head.weight)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("widths", [[3, 2], [3, 0, 2], [3, 4.0, 2], [3, True, 2], []])
def test_widths_that_make_no_network_are_refused(widths):
    with pytest.raises(NetworkError) as error:
        MLP(widths, seed=0)
    assert str(error.value).startswith("these widths make no network with a hidden layer")
    assert f"got:      {widths}" in str(error.value)


def test_hand_made_weights_are_those_given():
    net = mlp_by_hand(([[1, 2], [0, -1], [3, 0]], [0, 1, -1]), ([[1, 1, 1], [0, 0, 2]], [5, 0]))
    x = torch.tensor([[1.0, 2.0], [0.0, 0.5]])
    hidden = torch.relu(
        x @ torch.tensor([[1.0, 2.0], [0.0, -1.0], [3.0, 0.0]]).T + torch.tensor([0.0, 1.0, -1.0])
    )
    assert torch.equal(
        net(x), hidden @ torch.tensor([[1.0, 1.0, 1.0], [0.0, 0.0, 2.0]]).T + torch.tensor([5.0, 0.0])
    )


def test_hand_made_weights_that_do_not_fit_are_refused():
    with pytest.raises(NetworkError) as error:
        mlp_by_hand(([[1, 2]], [0]), ([[1, 1]], [0]))
    assert str(error.value).startswith("hand-made weights do not fit on to each other")
    assert "where:    map 1" in str(error.value)
    assert "got:      a matrix of shape (1, 2)" in str(error.value)
    assert "expected: (1, 1)" in str(error.value)

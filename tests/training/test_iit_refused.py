"""What interchange-intervention training refuses, each by its words."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from torch import nn

import commutes as cm
from commutes import Coordinates, Network, Rotation, train_network
from commutes.errors import AlignmentError, DataError, EngineError, FitError, NetworkError
from commutes.network import MLP
from commutes.training import IIT

from .iit_case import WIDTH, encode, network, neurons, parts, two_sums


@pytest.fixture(scope="module")
def algorithm():
    return two_sums()


def text(error, call) -> str:
    with pytest.raises(error) as found:
        call()
    return str(found.value)


class Dead(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList([nn.Linear(4, 4)])
        self.head = nn.Linear(4, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.layers[0](x)).exp().exp().exp()


def test_a_loss_that_is_not_finite_is_named_by_its_step(algorithm):
    module = Dead()
    with torch.no_grad():
        module.head.bias.fill_(50)
    claim = neurons(network(module), algorithm, left=[0, 1])
    train, *_ = parts(algorithm, "left", n=400)
    message = text(FitError, lambda: train_network(claim, train, seed=0, settings=IIT(steps=3)))
    assert message == (
        "the loss is not finite before anything was changed\n"
        "  where:    step 1 of 3\n"
        "  got:      interchange nan, behaviour nan\n"
        "  expected: finite answers of the network as it is given\n"
        "  do:       look at its logits on these inputs: the training is not at fault"
    )


class Steep(MLP):
    """The loss is finite and the gradient is not."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x) + (self.head.bias * 0).sqrt()


def test_weights_that_are_not_finite_are_refused(algorithm):
    train, *_ = parts(algorithm, "left", n=400)
    steep = neurons(network(Steep([4, WIDTH, WIDTH, 2], seed=0)), algorithm, left=[0, 1])
    assert text(FitError, lambda: train_network(steep, train, seed=0, settings=IIT(steps=1))) == (
        "the network's weights are no longer finite\n"
        "  where:    step 1 of 1\n"
        "  got:      NaN or infinity\n"
        "  expected: finite numbers\n"
        "  do:       lower the learning rate (it is 0.001)"
    )
    claim = neurons(network(), algorithm, left=[0, 1])
    broken = copy.deepcopy(claim.network.module)
    with torch.no_grad():
        broken.head.weight[0, 0] = float("nan")
    claim = claim.on(claim.network.with_module(broken))
    message = text(FitError, lambda: train_network(claim, train, seed=0))
    assert message.startswith("the network's weights are not finite\n")
    assert message.endswith("do:       load the network again")


def test_what_cannot_be_trained_is_refused_before_anything_runs(algorithm):
    train, *_ = parts(algorithm, "left", n=400)
    net = network()
    claim = neurons(net, algorithm, left=[0, 1])
    unfitted = cm.Alignment(algorithm, {algorithm["left"]: Rotation(net.site("layers.0"))[:2]})
    assert "the alignment is not fitted" in text(
        AlignmentError, lambda: train_network(unfitted, train, seed=0)
    )
    right = parts(algorithm, "right", n=400)[0]
    assert "the pairs swap a variable that is not aligned" in text(
        AlignmentError, lambda: train_network(claim, right, seed=0)
    )
    assert "training and selection share inputs" in text(
        DataError, lambda: train_network(claim, train, seed=0, select=train)
    )
    same = train.subset(np.nonzero(~train.effective)[0])
    assert "no training pair changes the answer" in text(
        DataError, lambda: train_network(claim, same, seed=0)
    )
    for seed in (-1, True, 1.0):
        assert text(FitError, lambda seed=seed: train_network(claim, train, seed=seed)) == (
            f"seed is a whole number from 0\n  got:      {seed!r}\n  expected: such as seed=0"
        )
    assert "settings of a training of a network are an IIT" in text(
        FitError, lambda: train_network(claim, train, seed=0, settings={"steps": 3})
    )


def test_networks_that_cannot_be_trained_are_refused(algorithm):
    train, *_ = parts(algorithm, "left", n=400)
    module = MLP([4, WIDTH, WIDTH, 2], seed=0)
    frozen = neurons(network(copy.deepcopy(module).requires_grad_(False)), algorithm, left=[0, 1])
    assert text(FitError, lambda: train_network(frozen, train, seed=0)) == (
        "nothing to train\n"
        "  got:      MLP without a parameter that requires a gradient\n"
        "  expected: at least one\n"
        "  do:       set requires_grad on the parameters that are to be trained"
    )
    coarse = Network(
        copy.deepcopy(module).bfloat16(),
        encode=lambda values: encode(values).bfloat16(),
        answers=[False, True],
    )
    assert text(FitError, lambda: train_network(neurons(coarse, algorithm, left=[0]), train, seed=0)) == (
        "weights of sixteen bits round small steps away\n"
        "  where:    MLP\n"
        "  got:      bfloat16\n"
        "  expected: float32 or float64\n"
        "  do:       train network.with_module(copy.deepcopy(module).float()), and round afterwards"
    )
    decoded = Network(module, encode=encode, decode=lambda logits: (logits[:, 1] > 0).tolist())
    assert "a network with a custom decode= can be evaluated, not fitted" in text(
        NetworkError, lambda: train_network(neurons(decoded, algorithm, left=[0]), train, seed=0)
    )
    random = nn.Sequential(nn.Linear(4, 4), nn.Dropout(0.5), nn.Linear(4, 2)).eval()
    net = network_of(random)
    claim = cm.Alignment(algorithm, {algorithm["left"]: Coordinates(net.site("0"))[:1]})
    random.train()
    assert "the network is in training mode" in text(
        NetworkError, lambda: train_network(claim, train, seed=0)
    )


def network_of(module: nn.Module) -> Network:
    return Network(module, encode=encode, answers=[False, True])


def test_an_impossible_strict_term_is_refused(algorithm):
    strict = IIT(strict=1.0)
    train, *_ = parts(algorithm, "left", n=400)
    alone = neurons(network(), algorithm, left=[0, 1])
    assert text(FitError, lambda: train_network(alone, train, seed=0, settings=strict)) == (
        "the answer does not hang on the aligned variables alone\n"
        "  where:    two sums\n"
        "  got:      strict=1, and y -> right -> differ passes no aligned variable\n"
        "  expected: an aligned variable on every path from an input to the output\n"
        "  do:       align a variable on that path too, or leave strict= out"
    )
    both, *_ = parts(algorithm, "left", "right", n=400)
    full = neurons(network(), algorithm, left=range(6), right=range(6, 12))
    assert text(FitError, lambda: train_network(full, both, seed=0, settings=strict)) == (
        "every coordinate of the alignment's sites carries a variable\n"
        "  where:    layers.0\n"
        "  got:      nothing that could be taken from another input\n"
        "  expected: coordinates that carry no variable\n"
        "  do:       leave strict= out, or align slices of a wider site"
    )


def test_two_sites_at_one_place_leave_over_what_the_other_holds(algorithm):
    net = network()
    x, y = Coordinates(net.site("layers.0")), Coordinates(net.site("layers.0"))
    claim = cm.Alignment(algorithm, {algorithm["left"]: x[:2], algorithm["right"]: y[2:4]})
    both, *_ = parts(algorithm, "left", "right", n=400)
    assert text(FitError, lambda: train_network(claim, both, seed=0, settings=IIT(strict=1.0))) == (
        "two sites of the alignment share coordinates\n"
        "  where:    layers.0 and layers.0\n"
        "  got:      feature 0 twice at one position, example 0\n"
        "  expected: sites of their own: what is left over at one may carry a variable at the other\n"
        "  do:       make one Coordinates of one site, and give each variable a slice of it"
    )
    # Without the strict term nothing is left over that could be taken.
    assert train_network(claim, both, seed=0, settings=IIT(steps=1)).alignment.fitted


def test_pairs_that_swap_a_variable_for_the_value_that_it_has_teach_nothing(algorithm):
    both, *_ = parts(algorithm, "left", "right", n=800)
    held = both.base_value("right") == both.source_value("right")
    pairs = both.subset(np.flatnonzero((both.source_of("right") < 0) | held))
    claim = neurons(network(), algorithm, left=[0, 1], right=[2, 3])
    assert (pairs.source_of("right") >= 0).any()
    said = text(DataError, lambda: train_network(claim, pairs, seed=0, settings=IIT(steps=1)))
    assert said.startswith("no training pair changes the variable\n  where:    right\n")


def test_variables_that_no_pair_swaps_are_told(algorithm):
    train, *_ = parts(algorithm, "left", n=400)
    claim = neurons(network(), algorithm, left=[0, 1], right=[2, 3])
    found = train_network(claim, train, seed=0, settings=IIT(steps=1))
    assert found.alignment.history["network_training"]["untaught"] == ["right"]


def test_states_that_are_not_finite_are_told_with_their_example(algorithm):
    class Hidden(MLP):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return super().forward(x).nan_to_num()

    module = Hidden([4, WIDTH, WIDTH, 2], seed=0)
    with torch.no_grad():
        module.layers[0][0].bias.fill_(torch.nan)
    train, *_ = parts(algorithm, "left", n=400)
    claim = neurons(network(module), algorithm, left=[0, 1])
    said = text(EngineError, lambda: train_network(claim, train, seed=0, settings=IIT(steps=3)))
    assert said.startswith("the network's clean run is not finite\n")
    assert ", example 0\n" in said

"""Training a network to implement an alignment: what it gives, what it leaves alone, what it refuses."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

import commutes as cm
from commutes import counterfactuals, evaluate, train_network
from commutes.errors import DataError
from commutes.network import MLP
from commutes.training import IIT

from .iit_case import QUICK, WIDTH, bits, encode, hidden, network, neurons, one_variable, parts, two_sums


@pytest.fixture(scope="module")
def algorithm():
    return two_sums()


@pytest.fixture(scope="module")
def left_only(algorithm):
    return one_variable(algorithm)


def text(error, call) -> str:
    with pytest.raises(error) as found:
        call()
    return str(found.value)


def test_a_variable_is_put_where_the_alignment_says_and_was_not_there_before(left_only):
    claim, _, _, test, trained = left_only
    found = evaluate(trained.alignment, test)
    assert found.worst.rate >= 0.97
    assert found.accuracy.rate >= 0.97
    assert evaluate(claim, test).effective.rate < 0.6


def test_a_variable_that_was_not_trained_is_not_there_and_once_trained_is(algorithm, left_only):
    *_, trained = left_only
    pairs = parts(algorithm, "right", seed=5)[2]
    beside = evaluate(hidden(trained.network, algorithm, right=2), pairs)
    assert beside.overall.rate < 0.8
    # In the very directions that hold the other variable it is no more than doing nothing.
    wrong = evaluate(hidden(trained.network, algorithm, right=0), pairs)
    assert wrong.overall.rate < 0.6
    train, _, test = parts(algorithm, "left", "right", n=3_200)
    claim = hidden(network(), algorithm, left=0, right=2)
    both = train_network(claim, train, seed=0, settings=IIT(steps=400, batch=128, lr=2e-2))
    assert evaluate(both.alignment, test).worst.rate >= 0.95
    assert len(both.alignment.groups) == 1


@pytest.mark.parametrize("strictness", ["unit", "joint"])
def test_the_strict_term_frees_the_answer_from_what_carries_no_variable(algorithm, strictness):
    train, _, test = parts(algorithm, "left", "right", n=3_200)
    claim = neurons(network(), algorithm, left=range(3), right=range(3, 6))
    plain = IIT(interchange=0.0, steps=200, batch=128, lr=2e-2)
    loose, strict = (
        train_network(claim, train, seed=0, settings=settings).alignment
        for settings in (plain, replace(plain, strict=1.0, strictness=strictness))
    )
    before, after = (cm.strictness(trained, test, seed=0) for trained in (loose, strict))
    assert min(before.accuracy.rate, after.accuracy.rate) >= 0.97
    assert before.joint.rate < 0.8
    assert before.worst[1].rate < 0.9
    if strictness == "joint":
        assert after.joint.rate >= 0.97
    assert after.worst[1].rate >= 0.95


def test_without_the_interchange_term_the_variable_is_not_put_there(algorithm):
    train, _, test = parts(algorithm, "left")
    claim = hidden(network(), algorithm, left=0)
    settings = IIT(interchange=0.0, steps=120, batch=128, lr=2e-2)
    found = evaluate(train_network(claim, train, seed=0, settings=settings).alignment, test)
    assert found.accuracy.rate >= 0.97
    assert found.effective.rate < 0.7


def test_nothing_of_the_callers_is_touched(algorithm):
    module = MLP([4, WIDTH, WIDTH, 2], seed=0)
    module.register_buffer("steps", torch.tensor([3.0]))
    module.head.bias.requires_grad_(False)
    module.layers[1].eval()
    calls: list[int] = []
    handle = module.layers[0].register_forward_hook(lambda _m, _a, out: calls.append(len(out)))
    net = network(module)
    claim = neurons(net, algorithm, left=[0, 1])
    train, select, _ = parts(algorithm, "left")
    before, modes = bits(net), [m.training for m in module.modules()]
    torch.manual_seed(11)
    numpy_state = np.random.get_state()[1].tobytes()  # noqa: NPY002 - the global one is what is watched
    state, threads = torch.get_rng_state(), torch.get_num_threads()
    calls.clear()
    with torch.no_grad():
        trained = train_network(claim, train, seed=0, settings=IIT(steps=6, every=3), select=select)
        assert not torch.is_grad_enabled()
    assert torch.equal(torch.get_rng_state(), state)
    assert np.random.get_state()[1].tobytes() == numpy_state  # noqa: NPY002
    assert torch.get_num_threads() == threads
    assert bits(net) == before != bits(trained.network)
    assert [m.training for m in module.modules()] == modes
    assert [m.training for m in trained.network.module.modules()] == modes
    assert [p.requires_grad for p in module.parameters()] == [True] * 5 + [False]
    assert [p.requires_grad for p in trained.network.module.parameters()] == [True] * 5 + [False]
    assert all(p.grad is None for p in (*module.parameters(), *trained.network.module.parameters()))
    # A frozen parameter and a buffer are the same in the copy.
    assert torch.equal(trained.network.module.head.bias, module.head.bias)
    assert torch.equal(trained.network.module.steps, module.steps)
    assert [len(m._forward_hooks) for m in module.modules()].count(1) == 1
    assert not any("forward" in m.__dict__ for m in module.modules())
    assert len(claim.fitted_ids) == 0
    assert claim.network is net
    assert claim.history == {}
    handle.remove()


def test_what_the_network_was_trained_on_is_known_to_its_alignment(left_only):
    claim, train, select, _, trained = left_only
    assert trained.alignment.network is trained.network
    assert trained.network.fingerprint != claim.network.fingerprint
    assert all(m is o for m, o in zip(trained.alignment.maps, claim.maps, strict=True))
    assert evaluate(trained.alignment, select).label == "selection, optimistic"
    assert "the alignment was fitted on these inputs" in text(
        DataError, lambda: evaluate(trained.alignment, train)
    )


def test_the_same_seed_gives_the_same_bits_whatever_the_threads_and_the_global_generator(algorithm):
    train, select, _ = parts(algorithm, "left", "right", n=600)
    claim = neurons(network(), algorithm, left=[0, 1], right=[2, 3])
    settings = IIT(steps=15, batch=64, strict=0.5, every=5)
    threads = torch.get_num_threads()
    first = train_network(claim, train, seed=4, settings=settings, select=select)
    try:
        torch.set_num_threads(threads + 1)
        torch.manual_seed(77)
        again = train_network(claim, train, seed=4, settings=settings, select=select)
    finally:
        torch.set_num_threads(threads)
    other = train_network(claim, train, seed=5, settings=settings, select=select)
    assert bits(first.network) == bits(again.network) != bits(other.network)
    assert first.history == again.history


def by_hooks(module: nn.Module, base: torch.Tensor, source: torch.Tensor, units: list[int]) -> torch.Tensor:
    """The interchange of neurons of the first layer, by plain hooks."""
    kept: list[torch.Tensor] = []
    layer = module.get_submodule("layers.0")
    handle = layer.register_forward_hook(lambda _m, _a, out: kept.append(out.clone()))
    with torch.no_grad():
        module(source)
        handle.remove()

        def write(_m: nn.Module, _a: object, out: torch.Tensor) -> torch.Tensor:
            out = out.clone()
            out[:, units] = kept[0][:, units]
            return out

        handle = layer.register_forward_hook(write)
        logits = module(base)
        handle.remove()
    return logits


def test_nothing_of_the_old_network_is_used_for_the_new_one(algorithm):
    train, select, test = parts(algorithm, "left", n=800)
    claim = neurons(network(), algorithm, left=[0, 1])
    before = evaluate(claim, test)
    trained = train_network(claim, train, seed=0, settings=QUICK, select=select)
    after = evaluate(trained.alignment, test)
    x = encode(algorithm.arrays(test.inputs))
    for found, net in ((before, claim.network), (after, trained.network)):
        logits = by_hooks(net.module, x[test.base], x[test.source[:, 0]], [0, 1])
        assert found.answered.tolist() == logits.argmax(dim=1).tolist()
    assert before.answered.tolist() != after.answered.tolist()


def test_pairs_of_several_variables_at_once_are_learnt_too(algorithm):
    left, right = algorithm["left"], algorithm["right"]
    pairs = counterfactuals(algorithm, 1_500, swap=[{left}, {right}, {left, right}], seed=1)
    train, test = pairs.split(train=0.7, test=0.3)
    claim = neurons(network(), algorithm, left=[0, 1, 2], right=[3, 4, 5])
    trained = train_network(claim, train, seed=0, settings=IIT(steps=150, batch=128, lr=2e-2))
    assert {
        name: found.rate >= 0.95 for name, found in evaluate(trained.alignment, test).variables.items()
    } == {swap.label: True for swap in pairs.swaps}

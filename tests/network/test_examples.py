from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
import torch

from commutes.algorithm import Algorithm
from commutes.counterfactuals import Distribution
from commutes.errors import DataError, DomainError, FitError
from commutes.network import MLP, Network, draw_inputs, examples, minibatches


def build(domain=range(4)) -> Algorithm:
    algorithm = Algorithm("are they equal, and is the third")
    algorithm.inputs("a b c", domain=domain)

    @algorithm.variable
    def equal(a, b) -> bool:
        return a == b

    @algorithm.output
    def answer(equal, c) -> bool:
        return equal and c == 0

    return algorithm


def encode(values):
    return torch.from_numpy(np.stack([values[name] for name in "abc"], axis=1).astype(np.float32))


def network(answers=(False, True), encode=encode) -> Network:
    return Network(MLP([3, 4, len(answers)], seed=0), encode=encode, answers=answers)


def test_values_are_drawn_equally_often_and_inputs_equally_within_a_value():
    drawn = draw_inputs(build(), 40_000, seed=0)
    equal = drawn["a"] == drawn["b"]
    assert abs(equal.mean() - 0.5) < 4 * 0.5 / 200
    counts = Counter(zip(*(column[equal].tolist() for column in drawn.values()), strict=True))
    assert len(counts) == 16
    # Sixteen inputs share half of the draws: a mean of 1,250 with a standard deviation of about 35.
    assert max(abs(count - 1_250) for count in counts.values()) < 175


def test_inputs_are_drawn_uniformly_where_that_is_asked():
    drawn = draw_inputs(build(), 40_000, seed=0, distribution="inputs")
    assert abs((drawn["a"] == drawn["b"]).mean() - 0.25) < 4 * 0.433 / 200


def test_a_distribution_of_the_users_is_drawn_from():
    ones = Distribution("ones", lambda rng, n: {name: rng.integers(1, 2, n) for name in "abc"})
    assert all((column == 1).all() for column in draw_inputs(build(), 10, seed=0, distribution=ones).values())


def test_draws_follow_their_seed():
    first, again, other = (draw_inputs(build(), 50, seed=seed) for seed in (0, 0, 1))
    assert all((first[name] == again[name]).all() for name in "abc")
    assert any((first[name] != other[name]).any() for name in "abc")


def test_an_unknown_distribution_and_an_endless_domain_are_refused():
    with pytest.raises(DataError, match="no distribution 'value'"):
        draw_inputs(build(), 10, seed=0, distribution="value")
    with pytest.raises(DomainError, match="cannot be listed"):
        draw_inputs(build(range(200)), 10, seed=0)


def test_examples_are_encoded_inputs_and_positions_among_the_answers():
    algorithm = build()
    inputs = algorithm.columns({"a": [1, 1, 2], "b": [1, 1, 3], "c": [0, 2, 0]})
    fed, targets = examples(network(), algorithm, inputs)
    assert fed.tolist() == [[1, 1, 0], [1, 1, 2], [2, 3, 0]]
    assert targets.tolist() == [1, 0, 0]
    assert examples(network(answers=(True, False)), algorithm, inputs)[1].tolist() == [0, 1, 1]


def test_an_output_without_a_logit_is_named():
    algorithm = build()
    with pytest.raises(FitError) as error:
        # 0 and 1 are other values than False and True.
        examples(network(answers=(0, 1)), algorithm, algorithm.enumerate_inputs())
    assert str(error.value).startswith("the network has no logit for an output of the algorithm")
    assert "where:    answer of are they equal, and is the third" in str(error.value)
    assert "got:      True" in str(error.value)
    assert "expected: one of its answers: 0, 1" in str(error.value)


def test_networks_that_take_several_tensors_are_refused():
    algorithm = build()
    with pytest.raises(FitError) as error:
        examples(network(encode=lambda v: (encode(v), encode(v))), algorithm, algorithm.enumerate_inputs())
    assert str(error.value).startswith("the small trainer feeds one tensor")
    assert "got:      2 tensors from encode=" in str(error.value)


def test_every_epoch_shows_every_example_once_in_another_order():
    x, y = torch.arange(10.0)[:, None], torch.arange(10)
    stream = minibatches(x, y, batch=5, seed=0)
    epochs = [[*next(stream)[1].tolist(), *next(stream)[1].tolist()] for _ in range(3)]
    assert all(sorted(epoch) == list(range(10)) for epoch in epochs)
    assert epochs[0] != epochs[1]
    pairs = next(stream)
    assert torch.equal(pairs[0][:, 0].long(), pairs[1])


@pytest.mark.parametrize("batch", [0, 11, True])
def test_batches_that_cannot_be_are_refused(batch):
    with pytest.raises(FitError) as error:
        minibatches(torch.zeros(10, 1), torch.zeros(10), batch=batch, seed=0)
    assert str(error.value).startswith("these examples make no batch")
    assert f"got:      batch={batch!r}, 10 inputs, 10 targets" in str(error.value)

from __future__ import annotations

import numpy as np
import pytest
import torch

from commutes.alignment import Alignment
from commutes.counterfactuals import census, counterfactuals, one_source
from commutes.errors import NetworkError
from commutes.evaluation import evaluate
from commutes.features import Coordinates
from commutes.network import Network, draw_inputs, examples


def bits(network: Network) -> dict[str, bytes]:
    return {name: tensor.numpy().tobytes() for name, tensor in network.module.state_dict().items()}


def wrong(network: Network, algorithm, inputs) -> int:
    fed, targets = examples(network, algorithm, inputs)
    with torch.no_grad():
        return int((network.module(fed).argmax(1) != targets).sum())


# The network of symbols


def test_the_algorithm_compares(equality):
    values = equality.algorithm().evaluate({"w": 3, "x": 3, "y": 1, "z": 2})
    assert (values["left"], values["right"], values["same"]) == (True, False, False)
    assert equality.algorithm(symbols=5).input_count == 5**4


def test_the_control_computes_the_same_function_from_another_variable(equality):
    algorithm, control = equality.algorithm(4), equality.control(4)
    inputs = algorithm.enumerate_inputs()
    assert (algorithm.run(inputs)["same"] == control.run(inputs)["same"]).all()
    assert [v.name for v in control.inner_variables] == ["first"]


def test_a_symbol_keeps_its_vector_whatever_the_number_of_symbols(equality):
    few, many = equality.SymbolVectors(3).table, equality.SymbolVectors(20).table
    assert torch.equal(few, many[:3])
    assert len({tuple(row) for row in many.tolist()}) == 20
    assert many.abs().max() <= 0.5


def test_the_encoding_joins_the_vectors_in_the_order_of_the_inputs(equality):
    table = equality.SymbolVectors(20).table
    fed = equality.SymbolVectors(20)({name: np.array([i]) for i, name in enumerate("wxyz")})
    assert torch.equal(fed[0], torch.cat([table[0], table[1], table[2], table[3]]))


def test_the_untrained_network_has_the_declared_shape(equality):
    network = equality.network(equality.algorithm(), seed=0, width=24, layers=2)
    assert network.blocks == ("layers.0", "layers.1")
    assert network.answers == (False, True)
    calls = {call.path: call.shape for call in network.probe({name: np.array([0, 1]) for name in "wxyz"})}
    assert calls["layers.0"] == calls["layers.1"] == (2, 24)
    assert calls["head"] == (2, 2)


def test_a_block_ends_after_its_relu(equality):
    network = equality.network(equality.algorithm(), seed=0)
    fed = network.encode({name: np.arange(20) for name in "wxyz"}).args[0]
    hidden = network.module.get_submodule("layers.0")(fed)
    assert (hidden >= 0).all()
    assert (hidden == 0).any()


def test_seeds_make_different_networks_and_leave_the_users_generator(equality):
    before = torch.get_rng_state()
    algorithm = equality.algorithm()
    first, again, other = (equality.network(algorithm, seed=seed) for seed in (0, 0, 1))
    assert bits(first) == bits(again) != bits(other)
    assert torch.equal(torch.get_rng_state(), before)


def test_training_is_a_function_of_its_seed_and_touches_nothing(equality):
    algorithm = equality.algorithm(6)
    network = equality.network(algorithm, seed=3)
    untrained, generator = bits(network), torch.get_rng_state()
    first = equality.train(network, algorithm, seed=3, steps=20)
    again = equality.train(network, algorithm, seed=3, steps=20)
    other = equality.train(network, algorithm, seed=4, steps=20)
    assert bits(first) == bits(again) != bits(other)
    assert bits(network) == untrained != bits(first)
    assert torch.equal(torch.get_rng_state(), generator)


def test_training_reports_its_progress(equality):
    algorithm, seen = equality.algorithm(6), []
    equality.train(
        equality.network(algorithm, seed=0),
        algorithm,
        seed=0,
        steps=10,
        progress=lambda step, steps, figures: seen.append((step, steps, sorted(figures))),
    )
    assert seen[0][:2] == (1, 10)
    assert seen[-1] == (10, 10, ["accuracy", "loss"])


def test_a_short_training_learns_few_symbols(equality):
    algorithm = equality.algorithm(4)
    network = equality.network(algorithm, seed=0)
    inputs = draw_inputs(algorithm, 1_000, seed=1)
    trained = equality.train(network, algorithm, seed=0, steps=600)
    assert wrong(trained, algorithm, inputs) < 10
    assert wrong(network, algorithm, inputs) > 200


@pytest.mark.slow
def test_the_trained_network_is_right_on_fresh_draws(equality):
    algorithm = equality.algorithm()
    trained = equality.train(equality.network(algorithm, seed=0), algorithm, seed=0)
    assert wrong(trained, algorithm, draw_inputs(algorithm, 20_000, seed=500)) < 200


def test_the_network_of_symbols_refuses_real_vectors(equality):
    with pytest.raises(NetworkError) as error:
        equality.network(equality.anchor_algorithm(), seed=0)
    assert str(error.value).splitlines()[0] == "this network reads symbols"
    assert "got:      inputs in vectors in [-0.5, 0.5], 4 floats" in str(error.value)
    assert "do:       build anchor_network for vectors of real numbers" in str(error.value)


# The anchor


def test_anchor_pairs_are_equal_half_of_the_time_independently(equality):
    drawn = equality.anchor_distribution().draw(np.random.default_rng(0), 20_000)
    left = (drawn["w"] == drawn["x"]).all(axis=1)
    right = (drawn["y"] == drawn["z"]).all(axis=1)
    # Four standard deviations of a share of 20,000.
    for share, expected in ((left.mean(), 0.5), (right.mean(), 0.5), ((left & right).mean(), 0.25)):
        assert abs(share - expected) < 4 * (expected * (1 - expected) / 20_000) ** 0.5
    assert all(np.abs(column).max() <= 0.5 and column.shape == (20_000, 4) for column in drawn.values())


def test_anchor_examples_have_the_labels_of_the_algorithm(equality):
    algorithm = equality.anchor_algorithm()
    fed, targets = equality._anchor_examples(1_000, 0)
    inputs = draw_inputs(algorithm, 1_000, seed=0, distribution=equality.anchor_distribution())
    theirs = examples(equality.anchor_network(algorithm, seed=0), algorithm, inputs)
    assert torch.equal(targets, theirs[1])
    assert torch.equal(fed, theirs[0])


def test_the_anchor_network_has_the_published_shape(equality):
    network = equality.anchor_network(equality.anchor_algorithm(), seed=0)
    shapes = [tuple(p.shape) for p in network.module.parameters() if p.ndim == 2]
    assert shapes == [(16, 16), (16, 16), (16, 16), (2, 16)]


def test_anchor_networks_trained_together_are_those_trained_alone(equality):
    algorithm = equality.anchor_algorithm()
    networks = [equality.anchor_network(algorithm, seed=seed) for seed in (0, 1, 2)]
    together = equality.anchor_train_many(networks, seeds=[0, 1, 2], draws=4_096, epochs=3)
    for seed, (network, trained) in enumerate(zip(networks, together, strict=True)):
        alone = equality.anchor_train(network, algorithm, seed=seed, draws=4_096, epochs=3)
        for a, b, before in zip(
            alone.module.parameters(), trained.module.parameters(), network.module.parameters(), strict=True
        ):
            # Batched products may round differently; twelve steps of 1e-3 move a weight far more.
            torch.testing.assert_close(a, b, rtol=0, atol=1e-5)
            assert not torch.allclose(a, before, rtol=0, atol=1e-3)


@pytest.mark.slow
def test_the_anchor_is_learnt(equality):
    algorithm = equality.anchor_algorithm()
    trained = equality.anchor_train(
        equality.anchor_network(algorithm, seed=0), algorithm, seed=0, draws=131_072, epochs=20
    )
    fed, targets = equality._anchor_examples(10_000, 99)
    assert (trained.module(fed).argmax(1) == targets).float().mean() > 0.9


def test_the_anchor_can_be_drawn_as_counterfactuals(equality):
    algorithm = equality.anchor_algorithm()
    pairs = counterfactuals(algorithm, 200, distribution=equality.ANCHOR, seed=0)
    assert len(pairs) == 200
    assert "equal within a pair half of the time" in pairs.distribution


# The exact network


def test_the_exact_network_is_right_everywhere(equality):
    algorithm = equality.exact_algorithm()
    assert wrong(equality.exact_network(), algorithm, algorithm.enumerate_inputs()) == 0
    assert (
        wrong(equality.exact_network(), equality.algorithm(12), equality.algorithm(12).enumerate_inputs())
        == 0
    )


@pytest.mark.parametrize("path", ["layers.0", "layers.1"])
@pytest.mark.parametrize("swap", [("left",), ("right",), ("left", "right"), "one source"])
def test_the_carriers_of_the_exact_network_are_exact_by_census(equality, interchange, path, swap):
    algorithm = equality.exact_algorithm()
    one = one_source(algorithm["left"], algorithm["right"]) if swap == "one source" else set(swap)
    pairs = census(algorithm, swap=[one])
    hits = interchange(equality.exact_network(), pairs, path, equality.CARRIERS[path])
    assert hits.all()
    assert len(hits) == 81 ** (3 if swap == ("left", "right") else 2)


@pytest.mark.parametrize("path", ["layers.0", "layers.1"])
def test_the_neurons_of_the_other_variable_do_not_carry_it(equality, interchange, path):
    algorithm = equality.exact_algorithm()
    pairs = census(algorithm, swap=[{"left"}])
    right_ones = {"left": equality.CARRIERS[path]["right"]}
    hits = interchange(equality.exact_network(), pairs, path, right_ones)
    # Neither what must change nor what must stay comes out: the exact test above can fail.
    changes = pairs.expected != pairs.base_answer
    assert 0 < hits.mean() < 0.9
    assert hits[changes].mean() < 0.9


def test_half_of_a_carrier_is_not_enough(equality, interchange):
    pairs = census(equality.exact_algorithm(), swap=[{"left"}])
    assert not interchange(equality.exact_network(), pairs, "layers.0", {"left": (0,)}).all()


def test_the_first_argument_is_nowhere_in_the_exact_network(equality, interchange):
    pairs = census(equality.exact_control(), swap=[{"first"}])
    for neurons in [(0,), (1,), (0, 1), (0, 1, 2, 3)]:
        assert not interchange(equality.exact_network(), pairs, "layers.0", {"first": neurons}).all()


@pytest.mark.parametrize("path", ["layers.0", "layers.1"])
def test_the_library_finds_the_exact_network_exact_in_every_cell(equality, path):
    algorithm = equality.exact_algorithm()
    network = equality.exact_network(algorithm)
    neurons = Coordinates(network.site(path))
    both = one_source(algorithm["left"], algorithm["right"])
    pairs = census(algorithm, swap=[{"left"}, {"right"}, both])
    where = {algorithm[name]: neurons[list(carriers)] for name, carriers in equality.CARRIERS[path].items()}
    found = evaluate(Alignment(algorithm, where), pairs, census=True)
    assert found.overall.rate == 1
    measured = [cell.rate.rate for cell in found.cells if cell.rate is not None and cell.rate.n]
    assert measured == [1.0] * 10  # four strata of each variable; both from one source flip or are neutral
    assert found.self_checks["base onto itself"] == 0
    crossed = {algorithm[a]: where[algorithm[b]] for a, b in (("left", "right"), ("right", "left"))}
    wrong_one = evaluate(Alignment(algorithm, crossed), pairs, census=True)
    assert wrong_one.worst is not None
    assert wrong_one.worst.rate == 0

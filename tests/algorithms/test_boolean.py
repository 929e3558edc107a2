from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
import torch

from commutes.counterfactuals import census, one_source
from commutes.network import examples


def wrong(network, algorithm) -> int:
    fed, targets = examples(network, algorithm, algorithm.enumerate_inputs())
    with torch.no_grad():
        return int((network.module(fed).argmax(1) != targets).sum())


def test_the_rivals_are_one_function_with_different_variables(boolean):
    algorithm, rival = boolean.algorithm(), boolean.rival()
    inputs = algorithm.enumerate_inputs()
    assert algorithm.input_count == 8
    assert (algorithm.run(inputs)["answer"] == rival.run(inputs)["answer"]).all()
    assert [v.name for v in algorithm.inner_variables] == ["ab", "ac"]
    assert [v.name for v in rival.inner_variables] == ["b_or_c"]
    assert algorithm.fingerprint != rival.fingerprint


def test_the_function_is_what_it_says(boolean):
    algorithm = boolean.algorithm()
    columns = algorithm.run(algorithm.enumerate_inputs())
    a, b, c = (columns[name].astype(bool) for name in "abc")
    assert (columns["answer"].astype(bool) == (a & (b | c))).all()


def test_both_exact_networks_are_right_on_all_inputs(boolean):
    assert wrong(boolean.exact_network(), boolean.algorithm()) == 0
    assert wrong(boolean.exact_rival_network(), boolean.algorithm()) == 0


@pytest.mark.parametrize("names", [("ab",), ("ac",), ("ab", "ac"), "one source"])
def test_the_carriers_are_exact_by_census(boolean, interchange, names):
    algorithm = boolean.algorithm()
    swap = one_source(algorithm["ab"], algorithm["ac"]) if names == "one source" else set(names)
    hits = interchange(
        boolean.exact_network(), census(algorithm, swap=[swap]), "layers.0", boolean.CARRIERS["layers.0"]
    )
    assert hits.all()
    assert len(hits) == (512 if names == ("ab", "ac") else 64)


def test_the_carrier_of_the_rival_is_exact_by_census(boolean, interchange):
    pairs = census(boolean.rival())
    hits = interchange(boolean.exact_rival_network(), pairs, "layers.0", boolean.RIVAL_CARRIERS["layers.0"])
    assert hits.all()
    assert len(hits) == 64


@pytest.mark.parametrize("kind", ["algorithm", "rival"])
def test_no_neurons_of_a_network_carry_the_variables_of_the_other_algorithm(boolean, interchange, kind):
    theirs = boolean.exact_rival_network() if kind == "algorithm" else boolean.exact_network()
    pairs = census(getattr(boolean, kind)())
    sets = [(0,), (1,), (0, 1)]
    shares = []
    for chosen in (
        combinations(sets, len(pairs.variables)) if kind == "rival" else [((0,), (1,)), ((1,), (0,))]
    ):
        where = {v.name: neurons for v, neurons in zip(pairs.variables, chosen, strict=True)}
        shares.append(interchange(theirs, pairs, "layers.0", where).mean())
    assert max(shares) < 1
    assert len(shares) >= 2


@pytest.mark.parametrize("seed", range(3))
def test_a_small_network_learns_the_function(boolean, seed):
    algorithm = boolean.algorithm()
    network = boolean.network(algorithm, seed=seed)
    before = {name: tensor.clone() for name, tensor in network.module.state_dict().items()}
    trained = boolean.train(network, algorithm, seed=seed)
    assert wrong(trained, algorithm) == 0
    assert all(torch.equal(before[name], tensor) for name, tensor in network.module.state_dict().items())


def test_training_is_a_function_of_its_seed(boolean):
    algorithm = boolean.algorithm()
    first, again = (
        boolean.train(boolean.network(algorithm, seed=5), algorithm, seed=5, steps=30) for _ in "12"
    )
    assert all(
        np.array_equal(a.detach().numpy(), b.detach().numpy())
        for a, b in zip(first.module.parameters(), again.module.parameters(), strict=True)
    )

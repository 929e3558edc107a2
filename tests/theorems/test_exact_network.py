"""Of the hand-made network everything is known: its interchange-intervention accuracy is 1, exactly and everywhere."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
import torch

from commutes import Coordinates, census, challenge, counterfactuals, evaluate, one_source
from commutes.alignment import Alignment
from commutes.evaluation import bench
from commutes.stats import Answer
from tests.planted import EQUALITY, equality, exact, neurons

LAYERS = sorted(EQUALITY.CARRIERS)


@pytest.fixture(scope="module")
def claims():
    algorithm, network, _ = exact()
    return {layer: neurons(network, algorithm, layer, **where) for layer, where in EQUALITY.CARRIERS.items()}


@pytest.mark.parametrize("layer", LAYERS)
def test_every_stratum_of_every_variable_is_exactly_one(claims, layer):
    claim = claims[layer]
    pairs = census(claim.algorithm)
    found = evaluate(claim, pairs)
    assert len(pairs) == 2 * 81 * 81
    assert found.hits.all()
    assert [(c.swap, c.stratum, c.status, c.rate.rate) for c in found.cells] == [
        (swap, stratum, "gated", 1.0)
        for swap in ("left", "right")
        for stratum in ("flip", "placebo", "novel", "neutral")
    ]
    assert {r.rate for r in found.variables.values()} == {1.0}
    assert {c.rate.rate for c in (*found.transitions, *found.directions)} == {1.0}
    assert found.worst.lower == found.worst.upper == found.worst.rate == 1.0
    assert found.label == "complete domain"


@pytest.mark.parametrize("layer", LAYERS)
def test_every_subset_of_the_variables_is_exactly_one(claims, layer):
    claim = claims[layer]
    left, right = claim.algorithm["left"], claim.algorithm["right"]
    pairs = census(claim.algorithm, swap=[{left}, {right}, {left, right}])
    hits = bench(claim, pairs).hits(claim.featurizers)
    assert np.bincount(pairs.swap).tolist() == [6561, 6561, 531_441]
    assert hits.all()


def test_a_joint_swap_from_one_source_is_exactly_one(claims):
    claim = claims["layers.1"]
    pairs = census(claim.algorithm, swap=[one_source(claim.algorithm["left"], claim.algorithm["right"])])
    found = evaluate(claim, pairs)
    assert found.overall.rate == 1.0
    # With one source for all that matters the expected answer is the source's, which a whole swap gives as well.
    assert found.not_excluded["left+right (one source)"] == ["whole source"]


@pytest.mark.parametrize("layer", LAYERS)
def test_a_base_that_is_its_own_source_stays_as_it_is_bit_for_bit(claims, layer):
    claim = claims[layer]
    prepared = bench(claim, census(claim.algorithm)).prepared
    every = torch.arange(81)
    batch = prepared.batch(every, every.unsqueeze(1))
    swapped = [torch.ones(81, 1, g.dimension, dtype=torch.bool) for g in claim.groups]
    kept = [~mask for mask in swapped]
    assert torch.equal(
        prepared.logits(batch, claim.featurizers, swapped), prepared.logits(batch, claim.featurizers, kept)
    )


def test_the_right_claim_reaches_r2_without_a_fit(claims):
    report = challenge(claims["layers.1"], test=census(claims["layers.1"].algorithm))
    assert report.level == "R2"
    assert report.exit_status() == 0
    assert set(report.answers.values()) == {"supported"}
    sentence = report.outcomes["A6"].outcome.sentence
    assert sentence == "nothing was fitted: every input is held out"


@pytest.mark.parametrize("where", [{"left": [1], "right": [0]}, {"left": [1]}, {"right": [0]}])
def test_a_neuron_of_the_other_variable_is_refuted(where):
    algorithm, network, _ = exact()
    claim = neurons(network, algorithm, **where)
    pairs = census(algorithm, swap=[{algorithm[name]} for name in where])
    report = challenge(claim, test=pairs)
    assert report.answers["A2"] == Answer.REFUTED
    assert report.level == "R1"
    assert report.verdict == "refuted"
    assert report.exit_status() == 1
    assert "A2 stratified IIA is refuted" in report.record()["headline"]


def test_only_the_true_assignment_of_neurons_is_exact():
    algorithm, network, _ = exact()
    pairs = census(algorithm)
    exactly = [
        order
        for order in permutations(range(4), 4)
        if order[0] < order[1] and order[2] < order[3]
        if evaluate(
            neurons(network, algorithm, "layers.0", left=order[:2], right=order[2:]), pairs
        ).hits.all()
    ]
    assert exactly == [(0, 1, 2, 3)]


def test_half_of_a_variables_neurons_are_not_enough(claims):
    algorithm, network = claims["layers.0"].algorithm, claims["layers.0"].network
    half = neurons(network, algorithm, "layers.0", left=[0], right=[2])
    assert evaluate(half, census(algorithm)).worst.rate < 0.9


def test_nothing_in_the_network_carries_the_first_argument():
    algorithm = EQUALITY.exact_control(3)
    network = EQUALITY.exact_network(algorithm)
    pairs = census(algorithm)
    for layer, width in (("layers.0", 4), ("layers.1", 2), ("layers.2", 2)):
        x = Coordinates(network.site(layer))
        for neuron in range(width):
            assert evaluate(Alignment(algorithm, {algorithm["first"]: x[neuron]}), pairs).worst.rate < 0.9


def test_samples_of_a_larger_domain_are_one_as_well():
    algorithm = equality(8)
    network = EQUALITY.exact_network(algorithm)
    claim = neurons(network, algorithm, left=[0], right=[1])
    (test,) = counterfactuals(algorithm, 800, seed=3).split(test=1.0)
    found = evaluate(claim, test)
    assert found.hits.all()
    assert 0.9 < found.worst.lower < found.worst.rate == 1.0

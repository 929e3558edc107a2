"""The shipped networks implement the algorithm that they are said to, and not its rival, on all pairs of inputs."""

from __future__ import annotations

import hashlib
import json
from functools import cache

import numpy as np
import pytest
import torch

from commutes import census
from commutes.errors import ArtefactError, DataError
from commutes.evaluation import bench, cell_rows
from commutes.network import MLP
from commutes.testing.zoo import Member, trained_member
from commutes.testing.zoo import _trained as module
from commutes.testing.zoo._arms import LAYER, UNITS, OneHot, arms, rival
from commutes.testing.zoo._interchange_training import trained

ARMS = pytest.mark.parametrize("arm", arms(), ids=lambda arm: f"{arm.task}, {arm.name}")
SEEDS = pytest.mark.parametrize("seed", module.SEEDS)


@cache
def member(task: str, name: str, seed: int) -> Member:
    return trained_member(task, name, seed=seed)


def worst(told) -> tuple[float, float]:
    """Accuracy and the rate of the worst stratum, on all pairs."""
    alignment = told.alignment
    pairs = census(alignment.algorithm, swap=[{v} for v in alignment.variables])
    measured = bench(alignment, pairs)
    hits = measured.hits(alignment.featurizers)
    return float(measured.right.mean()), min(float(hits[r].mean()) for *_, r in cell_rows(pairs) if len(r))


@ARMS
def test_both_arms_of_a_task_compute_the_same_function(arm):
    inputs = arm.algorithm.enumerate_inputs()
    first, second = (one.algorithm.run(inputs) for one in (arm, rival(arm)))
    outputs = [c[one.algorithm.output_variable.name] for one, c in ((arm, first), (rival(arm), second))]
    np.testing.assert_array_equal(*outputs)
    assert (
        arm.variables != rival(arm).variables or arm.algorithm.fingerprint != rival(arm).algorithm.fingerprint
    )


@ARMS
@pytest.mark.parametrize(
    "seed", [0, pytest.param(1, marks=pytest.mark.slow), pytest.param(3, marks=pytest.mark.slow)]
)
def test_a_network_keeps_its_own_algorithm_and_refutes_the_rival(arm, seed):
    own, other = member(arm.task, arm.name, seed).claims
    assert (own.truth, other.truth, other.kind) == ("right", "decoy", "regrouping")
    assert worst(own) == (1.0, 1.0)
    right, rate = worst(other)
    assert right == 1.0
    assert rate <= 0.5


@ARMS
@SEEDS
def test_the_record_says_what_all_networks_reach(arm, seed):
    reached = module.record()["reached"][module.key(arm, seed)]
    assert reached["own"] == dict.fromkeys(("accuracy", *arm.variables), 1.0)
    assert reached["rival"]["accuracy"] == 1.0
    assert max(reached["rival"][v] for v in rival(arm).variables) < 0.7
    assert reached["other units"] == 1.0


@ARMS
def test_the_shipped_weights_do_what_the_record_says(arm):
    """Plain answers and the units that carry nothing, worked out from the tensors by hand."""
    network = module.shipped()[module.key(arm, 2)]
    inputs = arm.algorithm.enumerate_inputs()
    encoded = OneHot(arm.inputs, arm.size)(arm.algorithm.arrays(inputs))
    answers = arm.algorithm.run(inputs)[arm.algorithm.output_variable.name]
    with torch.no_grad():
        np.testing.assert_array_equal(network(encoded).argmax(dim=1).numpy(), answers)
        states = encoded
        for layer in network.layers[: LAYER + 1]:
            states = layer(states)
        donors = torch.from_numpy(np.random.default_rng(0).permutation(len(states)))
        mixed = torch.cat([states[:, : UNITS * 2], states[donors, UNITS * 2 :]], dim=1)
        for layer in network.layers[LAYER + 1 :]:
            mixed = layer(mixed)
        np.testing.assert_array_equal(network.head(mixed).argmax(dim=1).numpy(), answers)
        # The inverse: units that carry a variable cannot be taken from elsewhere.
        wrong = torch.cat([states[donors, : UNITS * 2], states[:, UNITS * 2 :]], dim=1)
        for layer in network.layers[LAYER + 1 :]:
            wrong = layer(wrong)
        assert (network.head(wrong).argmax(dim=1).numpy() != answers).mean() > 0.1


@ARMS
def test_a_basis_changes_nothing_that_is_computed(arm):
    network = module.shipped()[module.key(arm, 0)]
    turned, basis = module.turned(network, seed=5)
    encoded = OneHot(arm.inputs, arm.size)(arm.algorithm.arrays(arm.algorithm.enumerate_inputs()))
    with torch.no_grad():
        torch.testing.assert_close(turned(encoded), network(encoded), atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(basis.T @ basis, torch.eye(len(basis), dtype=torch.float64))


def test_the_seed_chooses_the_network_and_its_basis():
    fingerprints = [member("parity", "in pairs", seed).network.fingerprint for seed in (0, 1, 4)]
    assert len(set(fingerprints)) == 3
    assert trained_member("parity", "in pairs", seed=4).network.fingerprint == fingerprints[2]


def test_a_network_that_is_not_there_is_refused():
    with pytest.raises(DataError) as caught:
        trained_member("parity", "in threes", seed=0)
    assert caught.value.what == "the zoo has no such trained network"
    assert caught.value.got == "parity in threes"
    assert "distributive and of or" in (caught.value.expected or "")


def test_a_damaged_file_is_refused(tmp_path, monkeypatch):
    data = bytearray((module.FOLDER / module.TENSORS).read_bytes())
    data[-1] ^= 1
    (tmp_path / module.TENSORS).write_bytes(data)
    (tmp_path / module.RECORD).write_bytes((module.FOLDER / module.RECORD).read_bytes())
    monkeypatch.setattr(module, "FOLDER", tmp_path)
    module.shipped.cache_clear()
    with pytest.raises(ArtefactError) as caught:
        module.shipped()
    module.shipped.cache_clear()
    assert caught.value.what == "the zoo's trained networks are damaged"
    assert caught.value.got == f"SHA-256 {hashlib.sha256(data).hexdigest()}"
    assert caught.value.expected == f"SHA-256 {json.loads((tmp_path / module.RECORD).read_text())['sha256']}"


@pytest.mark.slow
def test_the_training_makes_a_network_that_implements_its_arm():
    arm = next(one for one in arms() if one.name == "or of ands")
    made = trained(arm, seed=11, steps=600)
    assert isinstance(made, MLP)
    again = trained(arm, seed=11, steps=3)
    assert all(
        torch.equal(a, b)
        for a, b in zip(again.parameters(), trained(arm, seed=11, steps=3).parameters(), strict=True)
    )
    turned, basis = module.turned(made, seed=0)
    network = member(arm.task, arm.name, 0).network.with_module(turned)
    claim = module.claim(arm, network, basis)
    pairs = census(arm.algorithm, swap=[{v} for v in claim.variables])
    assert bench(claim, pairs).hits(claim.featurizers).mean() > 0.95

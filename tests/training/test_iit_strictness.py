"""Strictness on networks of which it is known what hangs on what."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from commutes import Alignment, Coordinates, Network, Rotation, census, counterfactuals, strictness
from commutes.errors import AlignmentError, DataError, FitError
from commutes.features import Codes, Dictionary, Subspace
from commutes.network import mlp_by_hand
from commutes.training._iit_strictness import Resampling
from tests.planted import equality, joined, neurons, planted


def known() -> Network:
    """layers.1 holds left, right, w and a copy of y; the last of them is added to one answer, faintly or not."""
    return Network(hand(0.0), encode=joined, answers=[False, True], blocks="layers", name="known")


def hand(faint: float) -> torch.nn.Module:
    return mlp_by_hand(
        (
            [[1, -1, 0, 0], [-1, 1, 0, 0], [0, 0, 1, -1], [0, 0, -1, 1], [1, 0, 0, 0], [0, 0, 1, 0]],
            [0] * 6,
        ),
        (
            [[-1, -1, 0, 0, 0, 0], [0, 0, -1, -1, 0, 0], [0, 0, 0, 0, 1, 0], [0, 0, 0, 0, 0, 1]],
            [1, 1, 0, 0],
        ),
        ([[1, -1, 0, 0], [-1, 1, 0, 0], [0, 0, 0, 1]], [0, 0, 0]),
        ([[1, 1, 0], [-1, -1, faint]], [0, 1]),
    )


def test_what_the_answer_does_not_hang_on_may_come_from_anywhere():
    algorithm = equality(4)
    claim = neurons(known(), algorithm, left=[0], right=[1])
    pairs = counterfactuals(algorithm, 300, seed=1)
    found = strictness(claim, pairs, seed=0)
    assert found.joint.rate == found.unit.rate == 1.0
    assert {name: r.rate for name, r in found.units.items()} == {
        "layers.1, neuron 2": 1.0,
        "layers.1, neuron 3": 1.0,
    }
    assert found.accuracy.rate == 1.0
    assert found.everything.rate < 0.7
    assert found.label == ""
    assert found.left_out == 0


def test_a_unit_on_which_the_answer_hangs_is_found():
    algorithm = equality(4)
    net = known().with_module(hand(1.0))
    claim = neurons(net, algorithm, left=[0], right=[1])
    pairs = counterfactuals(algorithm, 300, seed=1)
    found = strictness(claim, pairs, seed=0)
    assert found.units["layers.1, neuron 2"].rate == 1.0
    assert found.worst is not None
    assert found.worst[0] == "layers.1, neuron 3"
    # All at once is that unit, and so is one of the two half of the time.
    assert found.worst[1].rate == found.joint.rate < 0.8
    assert found.joint.rate < found.unit.rate < 1.0
    # The same by brute force over the very bases and donors.
    resampled = Resampling(claim, pairs, seed=0)
    inputs = algorithm.arrays(pairs.inputs)
    bases = np.unique(pairs.base)
    x = joined({name: column[bases] for name, column in inputs.items()})
    with torch.no_grad():
        state = net.module.layers[1](net.module.layers[0](x))
        mixed = state.clone()
        mixed[:, 3] = state[resampled.members[:, 1], 3]
        after = net.module.head(net.module.layers[2](mixed)).argmax(dim=1)
        clean = net.module(x).argmax(dim=1)
    assert int((after == clean).sum()) == found.joint.hits
    assert len(bases) == found.joint.n


def test_every_base_is_used_once_in_each_role_and_never_with_itself():
    algorithm = equality(4)
    claim = neurons(known(), algorithm, left=[0], right=[1])
    pairs = counterfactuals(algorithm, 200, seed=1)
    members = Resampling(claim, pairs, seed=3).members
    n = len(np.unique(pairs.base))
    assert sorted(members[:, 0]) == sorted(members[:, 1]) == list(range(n))
    assert (members[:, 0] != members[:, 1]).all()
    again, other = (Resampling(claim, pairs, seed=s).members for s in (3, 4))
    assert np.array_equal(members, again)
    assert not np.array_equal(members, other)
    assert strictness(claim, pairs, seed=3).joint.method == "dyadic"


def test_directions_that_carry_nothing_may_come_from_anywhere_and_neurons_of_the_same_site_may_not():
    case = planted(pairs=600)
    test = case.parts[2]
    found = strictness(case.told(), test, seed=0)
    assert found.joint.rate == 1.0
    assert list(found.units) == [f"site, direction {i} of the complement" for i in range(4)]
    # The complement of two neurons holds some of the variables' directions.
    x = Coordinates(case.network.site("site"))
    wrong = Alignment(case.algorithm, {case.algorithm["left"]: x[:1], case.algorithm["right"]: x[1:2]})
    assert strictness(wrong, test, seed=0).joint.rate < 0.8


def test_more_units_than_are_measured_are_drawn_and_counted():
    case = planted(pairs=600)
    found = strictness(case.told(), case.parts[2], seed=0, units=3)
    assert len(found.units) == 3
    assert found.left_out == 1
    none = strictness(case.told(), case.parts[2], seed=0, units=0)
    assert none.worst is None
    assert none.left_out == 4
    assert none.joint == found.joint


def test_what_is_optimistic_or_hangs_on_another_variable_is_said():
    case = planted(pairs=600)
    train, select, test = case.parts
    told = case.claim.with_maps([case.truth], fitted_ids=train.input_ids, selected_ids=select.input_ids)
    assert strictness(told, select, seed=0).label == "selection, optimistic"
    with pytest.raises(DataError, match="the alignment was fitted on these inputs"):
        strictness(told, train, seed=0)
    with pytest.raises(AlignmentError, match="not fitted"):
        strictness(case.claim, test, seed=0)
    algorithm = equality(4)
    left = neurons(known(), algorithm, left=[0])
    found = strictness(left, counterfactuals(algorithm, 200, swap=[{algorithm["left"]}], seed=1), seed=0)
    assert found.label == "y -> right -> same passes no aligned variable, so that the answer may change"
    assert found.joint.rate < 0.9


def test_the_table_and_the_record():
    algorithm = equality(4)
    claim = neurons(known().with_module(hand(1.0)), algorithm, left=[0], right=[1])
    found = strictness(claim, counterfactuals(algorithm, 200, seed=1), seed=0)
    lines = str(found).splitlines()
    assert lines[0] == "The answer stays when this is taken from another input"
    assert lines[1].endswith(str(found.joint))
    assert lines[3].startswith("  the worst of 2: layers.1, neuron 3 ")
    assert lines[-1].endswith(str(found.accuracy))
    record = json.loads(json.dumps(found.record()))
    assert record["joint"]["n"] == found.joint.n
    assert list(record["units"]) == ["layers.1, neuron 2", "layers.1, neuron 3"]


def test_all_inputs_of_a_domain_give_a_rate_as_well():
    algorithm = equality(3)
    claim = neurons(known(), algorithm, left=[0], right=[1])
    found = strictness(claim, census(algorithm), seed=0)
    assert found.joint.n == 81
    assert found.accuracy.method == "census"


def test_refusals():
    algorithm = equality(4)
    claim = neurons(known(), algorithm, left=[0], right=[1])
    pairs = counterfactuals(algorithm, 200, seed=1)
    for units in (-1, True, 1.0):
        with pytest.raises(FitError) as error:
            strictness(claim, pairs, seed=0, units=units)  # type: ignore[arg-type]
        assert str(error.value) == (
            f"units is a count\n  got:      {units!r}\n  expected: a whole number from 0"
        )
    for seed in (-1, "a", 1.0):
        with pytest.raises(FitError, match="seed is a whole number from 0"):
            strictness(claim, pairs, seed=seed)  # type: ignore[arg-type]
    one = pairs.subset([0])
    with pytest.raises(DataError) as error:
        strictness(claim, one, seed=0)
    assert str(error.value) == (
        "no base has another to take coordinates from\n"
        "  got:      1 pairs of 1 base\n"
        "  expected: at least two different bases"
    )


class Signs(Codes):
    """Latents: the positive and the negative parts."""

    def encode(self, state: torch.Tensor, /) -> torch.Tensor:
        return torch.cat([state.clamp(min=0), (-state).clamp(min=0)], dim=-1)

    def decode(self, latents: torch.Tensor, /) -> torch.Tensor:
        first, second = latents.chunk(2, dim=-1)
        return first - second


def test_a_dictionary_has_no_complement():
    algorithm = equality(4)
    latents = Dictionary(known().site("layers.1"), Signs())
    claim = Alignment(algorithm, {algorithm["left"]: latents[:1], algorithm["right"]: latents[1:2]})
    with pytest.raises(FitError) as error:
        strictness(claim, counterfactuals(algorithm, 200, seed=1), seed=0)
    assert str(error.value) == (
        "what carries no variable is not known\n"
        "  where:    layers.1\n"
        "  got:      a Latents, which has no complement\n"
        "  expected: neurons, a rotation, an oblique, an affine or a reversible map\n"
        "  do:       leave strict= out"
    )


def test_a_basis_that_fills_the_site_leaves_nothing_over():
    case = planted(pairs=600)
    basis = torch.eye(6)
    full = Subspace(basis, basis)
    x = Rotation(case.network.site("site"))
    claim = Alignment(case.algorithm, {case.algorithm["left"]: x[:3], case.algorithm["right"]: x[3:6]})
    with pytest.raises(FitError, match="every coordinate of the alignment's sites carries a variable"):
        strictness(claim.with_maps([full]), case.parts[2], seed=0)

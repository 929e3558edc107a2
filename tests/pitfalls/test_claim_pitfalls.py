"""Defects of the peers, where they concern claims, fits and measurements: none of them here."""

from __future__ import annotations

import copy
import inspect

import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy

import commutes as cm
from commutes.errors import AlignmentError
from commutes.features import Subspace, orthonormal
from commutes.features._rotation import OrthonormalBasis
from commutes.robustness import CHECKS
from commutes.training import Settings
from commutes.training._cohort import cohort
from tests.planted import equality, exact, planted, settled
from tests.robustness.cases import case_of


@pytest.fixture(scope="module")
def case():
    return planted(pairs=800)


def test_a_saved_selection_of_neurons_does_not_reload_as_all_of_them(tmp_path):
    algorithm, network, _ = exact()
    x = cm.Coordinates(network.site("layers.0"))
    part = cm.Alignment(algorithm, {algorithm["left"]: x[[1]]})
    whole = cm.Alignment(algorithm, {algorithm["left"]: x[:]})
    pairs = cm.census(algorithm, swap=["left"])
    cm.save(part, tmp_path)
    back = cm.load(tmp_path, algorithm=algorithm, network=network)
    hits = [cm.evaluate(claim, pairs).hits for claim in (part, back, whole)]
    assert np.array_equal(hits[0], hits[1])
    assert not np.array_equal(hits[1], hits[2])


def test_two_indices_are_two_indices_and_a_nested_list_is_refused():
    algorithm, network, _ = exact()
    x = cm.Coordinates(network.site("layers.0"))
    claim = cm.Alignment(algorithm, {algorithm["left"]: x[[0, 3]]})
    assert claim.groups[0].coordinates == (0, 3)
    with pytest.raises(AlignmentError, match="coordinates are whole numbers"):
        cm.Alignment(algorithm, {algorithm["left"]: x[[[0, 3]]]})


def test_the_callers_lists_and_mappings_stay_as_they_were():
    algorithm, network, _ = exact()
    index = [3, 1]
    slices = {algorithm["left"]: cm.Coordinates(network.site("layers.0"))[index]}
    claim = cm.Alignment(algorithm, slices)
    assert index == [3, 1]
    assert list(slices) == [algorithm["left"]]
    index.append(0)
    slices.clear()
    assert claim.groups[0].coordinates == (1, 3)
    assert claim.variables == (algorithm["left"],)


def test_fitting_and_challenging_freeze_nothing_for_good(case):
    module = copy.deepcopy(case.network.module)
    network = case.network.with_module(module)
    claim = cm.fit(case.claim.on(network), case.parts[0], seed=0, steps=3, batch=16, starts=1)
    cm.challenge(claim, train=case.parts[0], test=case.parts[2], level="R1")
    assert all(p.requires_grad for p in module.parameters())
    module(torch.zeros(3, 4)).sum().backward()
    assert any(p.grad is not None for p in module.parameters())


def test_variables_of_one_rotation_share_its_parameters_and_count_once(case):
    members = cohort([case.claim], [case.parts[0]], budget=2**30)
    assert members.banks.parts == ((0, OrthonormalBasis(6, 2)),)


def test_the_loss_is_the_plain_cross_entropy_with_every_pair_once(case):
    """No weight is applied, so none can be applied twice."""
    train = case.parts[0]
    members = cohort([case.claim], [train], budget=2**30)
    raw = torch.randn(1, 6, 2, generator=torch.Generator().manual_seed(0))
    (found,) = members.step([raw.requires_grad_()], 40, 1, [torch.Generator().manual_seed(1)])[0]
    rows = torch.randint(len(train), (40,), generator=torch.Generator().manual_seed(1))
    basis = orthonormal(raw)[0]
    member = members.members[0]
    logits = member.prepared.logits(
        member.prepared.batch(member.base[rows], member.source[rows]),
        [Subspace(basis, basis)],
        [mask[rows] for mask in member.masks],
    )
    wanted = cross_entropy(logits, torch.from_numpy(train.expected)[rows])
    assert float(found.detach()) == pytest.approx(float(wanted.detach()), rel=1e-5)


def test_a_map_whose_source_is_its_base_is_the_identity(case):
    basis = torch.linalg.qr(torch.randn(6, 2, generator=torch.Generator().manual_seed(0))).Q
    found = cm.evaluate(case.claim.with_maps([Subspace(basis, basis)]), case.parts[2])
    assert found.self_checks["base onto itself"] == 0


def test_a_missing_stratum_is_not_left_out_of_the_mean():
    algorithm, _, claim = exact(6)
    pairs = cm.counterfactuals(algorithm, 800, seed=0)
    without = pairs.subset(pairs.stratum != 0)
    assert cm.evaluate(claim, pairs).natural["left"][0] == 1.0
    assert cm.evaluate(claim, without).natural["left"] is None


def test_shares_are_not_rounded_before_they_are_averaged():
    algorithm, network, _ = exact()
    half = cm.Alignment(algorithm, {algorithm["left"]: cm.Coordinates(network.site("layers.0"))[0]})
    pairs = cm.census(algorithm, swap=["left"])
    found = cm.evaluate(half, pairs)
    shares = [found.overall, *found.variables.values(), *(c.rate for c in found.cells if c.rate is not None)]
    assert all(share.rate == share.hits / share.n for share in shares)
    assert any(share.rate != round(share.rate, 3) for share in shares)


@pytest.mark.parametrize("pairs", [8, 40, 200])
def test_few_pairs_never_pass(pairs):
    """The claim is guilty until shown: no check of rates passes for want of data, even where all is true."""
    algorithm, _, claim = exact(6)
    case = case_of(claim, cm.counterfactuals(algorithm, pairs, seed=0))
    assert CHECKS["A2"](case).answer == "inconclusive"
    if pairs < 59:
        assert CHECKS["A3"](case).answer == "inconclusive"
    if pairs < 20:
        assert CHECKS["A1"](case).answer == "inconclusive"


def test_a_training_score_is_never_a_test_score(case):
    claim = settled(case.claim, case.parts, [case.truth])
    with pytest.raises(cm.errors.DataError, match="were fitted on"):
        cm.evaluate(claim, case.parts[0])
    assert "SELECTION, OPTIMISTIC" in str(cm.evaluate(claim, case.parts[1]))
    assert "OPTIMISTIC" not in str(cm.evaluate(claim, case.parts[2]))


def test_logits_that_move_without_turning_the_answer_count_for_nothing():
    """A swap may halve the margin of every pair: what is measured is the answer."""
    algorithm, network, _ = exact()
    basis = torch.eye(2)[:, :1] * 1.0
    claim = cm.Alignment(algorithm, {algorithm["left"]: cm.Rotation(network.site("layers.1"))[:1]})
    whole = Subspace(basis, basis)

    class Weak:
        def read(self, state: torch.Tensor, /) -> torch.Tensor:
            return whole.read(state)

        def write(self, state: torch.Tensor, old: torch.Tensor, new: torch.Tensor, /) -> torch.Tensor:
            return whole.write(state, old, old + 0.45 * (new - old))

    weak = claim.with_maps([Weak()])
    pairs = cm.census(algorithm, swap=["left"])
    assert cm.evaluate(claim.with_maps([whole]), pairs).overall.rate == 1.0
    assert cm.evaluate(weak, pairs).effective.rate == 0.0


def test_a_declared_threshold_leaves_its_siblings_alone():
    algorithm, _, claim = exact()
    pairs = cm.census(algorithm)
    plain = cm.challenge(claim, test=pairs, level="R1").record()["thresholds"]
    changed = cm.challenge(claim, test=pairs, level="R1", behaviour=0.8).record()["thresholds"]
    assert changed == {**plain, "behaviour": 0.8}


@pytest.mark.parametrize("verb", [cm.fit, cm.fit_many, cm.evaluate, cm.challenge, cm.save, cm.load])
def test_a_typo_in_an_option_is_not_swallowed(verb):
    kinds = {p.kind for p in inspect.signature(verb).parameters.values()}
    assert inspect.Parameter.VAR_KEYWORD not in kinds
    with pytest.raises(TypeError, match="stepz"):
        verb(None, None, stepz=3)


def test_one_setting_leaves_the_others_at_their_defaults():
    assert Settings(steps=3) == Settings(3, Settings.lr, Settings.batch, Settings.starts, Settings.every)


def test_a_claim_about_every_variable_is_not_met_by_one_of_them():
    """A wrong variable beside a right one: the mean of the two would hide it."""
    algorithm, network, _ = exact(6)
    x = cm.Coordinates(network.site("layers.0"))
    claim = cm.Alignment(algorithm, {algorithm["left"]: x[:2], algorithm["right"]: x[2]})
    report = cm.challenge(claim, test=cm.counterfactuals(algorithm, 1600, seed=0))
    assert report.evaluation.variables["left"].rate == 1.0
    assert report.answers["A2"] == "refuted"
    assert report.evaluation.worst.swap == "right"


def test_a_reloaded_claim_of_an_algorithm_with_other_mechanisms_is_refused(tmp_path):
    _, network, claim = exact()
    cm.save(claim, tmp_path)
    other = equality(4)
    with pytest.raises(cm.errors.ArtefactError, match="another algorithm"):
        cm.load(tmp_path, algorithm=other, network=network)

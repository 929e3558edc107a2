"""E3: fits from other seeds, of which one edits and another reads."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import torch

from commutes import Alignment, Network, Rotation, census, counterfactuals
from commutes.evaluation import bench, cell_rows, rate_of
from commutes.features import Subspace
from commutes.robustness import CHECKS, Case, Outcome, Refit
from commutes.robustness import _e3_fitting_seeds as module
from commutes.robustness._overlap import read_overlaps, whole_overlap
from commutes.robustness._refits import NoMapError, reseeded
from commutes.stats import Answer, mean_interval
from commutes.testing.zoo import as_fitted, linear
from commutes.training import ClosedForm, Settings
from tests.evaluation.test_language_selfchecks import claim as language_claim
from tests.network.transformers import models as M
from tests.planted import QUICK, Rotated, exact, joined, planted, settled

from .cases import case_of

E3 = CHECKS["E3"]
# Enough for the planted network's variables, which a fit of QUICK's sixty steps does not always find.
ENOUGH = Settings(steps=200, lr=0.05, batch=64, starts=2, every=20)


def refit_of(alignment: Alignment, case: Case) -> Refit:
    """A refit that found these maps."""
    hits = bench(alignment, case.test).hits(alignment.featurizers)
    lowest_cell = min(float(hits[rows].mean()) for *_, rows in cell_rows(case.test) if len(rows))
    seen = np.zeros(0, bool)
    return Refit(alignment, case.test, hits, rate_of(hits, case.test), lowest_cell, 1.0, None, seen, 0)


def found(case: Case, *alignments: Alignment) -> Case:
    """The same case, with refits that found the maps of these, in turn, and five of them."""
    each = [refit_of(alignment, case) for alignment in alignments]
    refits = [each[i % len(each)] for i in range(5)]
    return replace(case, reseeded=lambda: refits)


@pytest.fixture(scope="module")
def learnt() -> Case:
    """The truth about the planted network, as if it had been fitted, with refits that were."""
    small = planted(10)
    train, select, test = small.parts
    claim = settled(small.claim, small.parts, [small.truth], ENOUGH)
    again = cache(lambda: reseeded(claim, train, select, test, count=5, settings=ENOUGH, seed=0))
    return replace(case_of(claim, test, train=train, select=select), settings=ENOUGH, reseeded=again)


@cache
def zoo_case(name: str, told: int = 0) -> tuple[Case, list[Alignment]]:
    """A claim of the zoo as if it had been fitted, and all that is told of its network."""
    member = linear(name, seed=1)
    claim = member.claims[told]
    train, select, test = member.pairs(claim, 900, seed=3).split(train=0.3, select=0.2, test=0.5)
    alignments = [as_fitted(one.alignment, train, select, QUICK) for one in member.claims]
    return case_of(alignments[told], test, train=train, select=select), alignments


# What it answers.


def test_refits_of_the_truth_find_the_truth(learnt):
    found = E3(learnt)
    assert found.answer is Answer.SUPPORTED
    assert found.figures["fits"] == 6
    assert found.figures["cells"] == 20
    assert found.figures["lower"] >= 0.9
    seeds = found.figures["seeds"]
    assert len(set(seeds)) == 6
    assert seeds[0] == learnt.alignment.history["seed"]
    assert found.sentence.startswith(
        "5 refits from other seeds; of 10 ordered pairs with the claim's fit the worst, edited through "
    )
    assert "gives the algorithm's answer for left in 1.000 [" in found.sentence
    assert found.refuted_at is not None
    assert not found.refuted_at(0.05)


def test_refits_have_the_claims_steps_starts_and_selection(learnt):
    for refit in learnt.reseeded():
        assert refit.alignment.network is learnt.alignment.network
        assert np.array_equal(refit.alignment.fitted_ids, learnt.alignment.fitted_ids)
        assert np.array_equal(refit.alignment.selected_ids, learnt.alignment.selected_ids)
        assert {name: refit.alignment.history[name] for name in ("steps", "starts", "lr", "batch")} == {
            "steps": 200, "starts": 2, "lr": 0.05, "batch": 64,
        }  # fmt: skip


def test_the_cost_is_that_of_the_fits_and_of_every_ordered_pair(learnt):
    refits, pairs = learnt.reseeded(), learnt.test
    fitted = sum(refit.forward_passes + len(pairs) for refit in refits)
    assert E3(learnt).forward_passes == fitted + 36 * int(pairs.effective.sum()) + 7 * 2 * 64


@pytest.mark.slow
def test_fits_that_fail_are_not_left_out():
    """Too few steps: another seed may find something else, and the sentence says which fit fails by itself."""
    small = planted(10)
    train, select, test = small.parts
    few = replace(QUICK, steps=20, starts=1)
    claim = settled(small.claim, small.parts, [small.truth], few)
    found = E3(case_of(claim, test, train=train, select=select, settings=few))
    assert found.answer is Answer.REFUTED
    worst = min(found.figures["alone"])
    assert worst < 0.9
    assert (
        f"; refit {found.figures['alone'].index(worst)} alone reaches .{round(worst * 1000)}"
        in found.sentence
    )
    assert "subspace not identified: what is read of two fits overlaps by " in found.sentence


def test_where_nothing_is_fitted_every_seed_gives_the_same():
    algorithm, _, claim = exact()
    found = E3(case_of(claim, census(algorithm)))
    assert found.answer is Answer.SUPPORTED
    assert found.sentence == "nothing was fitted: every seed gives the same coordinates"
    assert found.forward_passes == 0


def test_fewer_than_five_refits_are_not_run(learnt):
    found = E3(replace(learnt, refits=4))
    assert (found.answer, found.reason) == (
        Answer.NOT_RUN,
        "4 refits were asked for; at least 5 are needed",
    )


def test_without_the_fitted_pairs_nothing_is_fitted_again(learnt):
    found = E3(replace(learnt, train=None))
    assert (found.answer, found.reason) == (
        Answer.NOT_RUN,
        "what the claim was fitted on is not known, so that it cannot be fitted again",
    )


def test_without_a_pair_whose_answer_must_change_it_is_vacuous(learnt):
    quiet = learnt.test.subset(~learnt.test.effective)
    found = E3(case_of(learnt.alignment, quiet, train=learnt.train, select=learnt.select))
    assert (found.answer, found.reason) == (Answer.VACUOUS, "no pair's answer must change")


def test_a_few_pairs_decide_nothing(learnt):
    few = learnt.test.subset(np.arange(32))
    case = replace(case_of(learnt.alignment, few, train=learnt.train, select=learnt.select))
    found = E3(replace(case, reseeded=learnt.reseeded))
    assert found.answer is Answer.INCONCLUSIVE
    assert found.n_to_decide is not None
    assert found.n_to_decide > 32


@pytest.mark.slow
def test_computed_maps_are_computed_again(learnt):
    small = planted(10)
    train, _, test = small.parts
    how = ClosedForm("lda")
    claim = how.maps(small.claim, train, seed=0)
    case = replace(case_of(claim, test, train=train), settings=how)
    again = reseeded(claim, train, None, test, count=5, settings=how, seed=0)
    answer = E3(replace(case, reseeded=lambda: again))
    assert answer.answer is Answer.SUPPORTED
    assert answer.sentence.endswith("; computed maps depend on a seed little or not at all")

    def fails() -> list[Refit]:
        raise NoMapError("lda: class means that coincide")

    answer = E3(replace(case, reseeded=fails))
    assert (answer.answer, answer.reason) == (Answer.VACUOUS, "lda: class means that coincide")
    assert answer.sentence == "the closed form gives no map again"


@pytest.mark.parametrize(
    ("name", "decoy"),
    [("inert copy", 1), ("illusion", 1), pytest.param("clean", 2, marks=pytest.mark.slow)],
)
def test_a_decoy_is_refuted_by_fits_of_the_truth(name, decoy):
    case, told = zoo_case(name)
    answer = E3(found(replace(case, alignment=told[decoy]), told[0]))
    assert answer.answer is Answer.REFUTED
    assert answer.refuted_at is not None
    assert answer.refuted_at(0.01)
    assert 0 in (answer.figures["worst"]["edited"], answer.figures["worst"]["read"])


@pytest.mark.slow
def test_a_claim_of_two_directions_may_be_fitted_in_any_basis_of_them():
    case, told = zoo_case("nonlinear code")
    assert E3(found(case, told[0])).answer is Answer.SUPPORTED
    subspace = told[0].featurizers[0]
    assert isinstance(subspace, Subspace)
    turn = torch.eye(3)
    turn[:2, :2] = torch.tensor([[0.6, -0.8], [0.8, 0.6]])
    basis = subspace.reader @ turn
    answer = E3(found(case, told[0].with_maps([Subspace(basis, basis)])))
    assert answer.answer is Answer.SUPPORTED
    assert answer.figures["overlap"]["left"]["whole"] == pytest.approx(1)


# What is run.


def by_hand(small, fits: Sequence[torch.Tensor], i: int, j: int, pairs) -> np.ndarray:
    """The network's answers to the cross-swaps of one variable each, from its formula alone."""
    module = small.network.module
    values = {name: np.asarray(column) for name, column in pairs.inputs.items()}
    x = torch.from_numpy(np.stack([values[n] for n in "wxyz"], axis=1).astype(np.float32))
    kept: list[torch.Tensor] = []
    handle = module.site.register_forward_hook(lambda *a: kept.append(a[2]))
    with torch.no_grad():
        module(x)
        handle.remove()
        z = kept[0]
        answers = []
        for base, (source, *_), swap in zip(pairs.base, pairs.source, pairs.swap, strict=True):
            column = {"left": 0, "right": 1}[pairs.swaps[swap].label]
            one, other = fits[i][:, column], fits[j][:, column]
            edited = z[base] + one * (one @ (z[source] - z[base]))
            state = z[base] + other * (other @ (edited - z[base]))
            u = module.back(state)
            apart = (u[0] - u[1]).abs()
            answers.append(bool(torch.stack([apart, 1 - apart]).argmax()))
    return np.array(answers)


def test_a_cross_swap_is_that_of_its_formula(learnt):
    small = planted(10)
    small = replace(small, network=learnt.alignment.network)
    generator = torch.Generator().manual_seed(2)
    bases = [
        torch.linalg.qr(small.truth.reader + 0.4 * torch.randn(6, 2, generator=generator)).Q for _ in range(3)
    ]
    fits = [learnt.alignment.with_maps([Subspace(b, b)]) for b in bases]
    pairs = learnt.test
    rows = np.nonzero(pairs.effective & (pairs.swap == 0))[0]
    right = module.crossed(learnt, fits, rows)
    own = pairs.subset(rows)
    expected = np.array(pairs.algorithm.values(pairs.algorithm.output_variable, own.expected))
    alone = [by_hand(small, bases, i, i, own) == expected for i in range(3)]
    assert 0 < right.mean() < 1
    for i in range(3):
        for j in range(3):
            both = alone[i] & (by_hand(small, bases, i, j, own) == expected)
            assert np.array_equal(right[i, j], both), (i, j)


def test_maps_that_edit_and_read_alike_are_the_swap_itself():
    """Also of variables that are swapped together, each from its own source."""
    small = planted(6)
    algorithm = small.algorithm
    pairs = counterfactuals(algorithm, 300, swap=[{"left"}, {"left", "right"}], seed=4)
    basis = torch.linalg.qr(torch.randn(6, 2, generator=torch.Generator().manual_seed(1))).Q
    claim = small.claim.with_maps([Subspace(basis, basis)])
    case = case_of(claim, pairs)
    for rows in module.effective_rows(case).values():
        right = module.crossed(case, [claim, claim.with_maps([Subspace(-basis, -basis)])], rows)
        assert all(np.array_equal(right[0, 0], right[i, j]) for i in range(2) for j in range(2))
        assert np.array_equal(right[0, 0], case.evaluation.hits[rows])


def test_in_a_language_model_too():
    """Only what is swapped is read anew: coordinates of another variable stay, and edited runs are cones."""
    claim, pairs = language_claim(M.network("llama", dtype=torch.float32))
    case = case_of(claim, pairs)
    assert case.bench.prepared.cone is not None
    rows = module.effective_rows(case)["left"]
    right = module.crossed(case, [claim, claim], rows)
    assert np.array_equal(right[0, 1], case.evaluation.hits[rows])
    overlaps = read_overlaps(case.bench, [claim.featurizers] * 2, rows)
    assert overlaps == pytest.approx(np.ones((2, 2)))


# How alike the subspaces are.


def wide(small, inert: Sequence[int]) -> Alignment:
    """left in two dimensions: its own, turned into one that nothing reads; right in its own."""
    rotation = Rotation(small.network.site("site"))
    algorithm = small.algorithm
    claim = Alignment(algorithm, {algorithm["left"]: rotation[:2], algorithm["right"]: rotation[2:3]})
    q = small.network.module.q
    own, rest = q[:, 0], q[:, inert].sum(dim=1) / len(inert) ** 0.5
    basis = torch.stack([(own + rest) / 2**0.5, (own - rest) / 2**0.5, q[:, 1]], dim=1)
    return claim.with_maps([Subspace(basis, basis)])


@pytest.fixture(scope="module")
def wider() -> tuple[Case, list[Alignment]]:
    """Fits that share the variable, and of what nothing reads have each something else."""
    small = planted(10)
    fits = [wide(small, inert) for inert in ([2], [3], [4], [5])]
    train, select, test = small.parts
    claim = settled(fits[0], small.parts, fits[0].featurizers)
    return case_of(claim, test, train=train, select=select), fits


def test_what_is_read_overlaps_where_the_whole_subspaces_do_not(wider):
    case, fits = wider
    answer = E3(found(case, *fits))
    assert answer.answer is Answer.SUPPORTED
    # Two planes with one direction in common, and two others at right angles.
    assert answer.figures["overlap"]["left"] == {"read": pytest.approx(1), "whole": pytest.approx(0.5)}
    assert "subspace not identified" not in answer.sentence


def test_overlaps_are_those_of_principal_angles(learnt):
    algorithm = learnt.alignment.algorithm
    q = learnt.alignment.network.module.q
    turned = torch.stack([(q[:, 0] * 3 + q[:, 2] * 4) / 5, q[:, 1]], dim=1)
    one, other = (learnt.alignment.with_maps([Subspace(b, b)]) for b in (q[:, :2].clone(), turned))
    assert whole_overlap(one, other, algorithm["left"]) == pytest.approx(0.36)
    assert whole_overlap(one, other, algorithm["right"]) == pytest.approx(1)
    rows = module.effective_rows(learnt)["left"]
    read = read_overlaps(learnt.bench, [one.featurizers, other.featurizers], rows)
    # Of one direction all is read: the gradient lies along it, and the two are their outer products.
    assert read == pytest.approx(np.array([[1, 0.36], [0.36, 1]]), abs=1e-5)


def test_what_nothing_reads_has_no_overlap():
    case, told = zoo_case("inert copy", 1)
    answer = E3(found(case, told[1]))
    assert answer.figures["overlap"]["left"]["read"] is None


def test_behind_a_hard_threshold_it_is_not_known_what_is_read(learnt):
    class Hard(Rotated):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return (super().forward(x) > 0.5).float()

    network = Network(Hard(), encode=joined, answers=[False, True])
    claim = learnt.alignment.on(network).with_maps(learnt.alignment.featurizers)
    hard = case_of(claim, learnt.test, train=learnt.train, select=learnt.select)
    answer = E3(found(hard, claim))
    assert answer.answer is Answer.SUPPORTED
    assert answer.figures["overlap"]["left"] == {"read": None, "whole": pytest.approx(1)}
    assert "overlaps" not in answer.sentence


# Wrong variants, each with what it lets pass or refuses.


def test_the_overlap_instead_of_the_cross_swap_refuses_the_truth(wider):
    case, fits = wider
    answer = E3(found(case, *fits))
    assert answer.figures["overlap"]["left"]["whole"] < case.thresholds.cross_swap
    assert answer.answer is Answer.SUPPORTED


def test_a_fit_that_reads_what_it_edited_itself_lets_an_illusion_pass():
    """The diagonal: every fit gives the expected answers alone, by one way or the other."""
    case, told = zoo_case("illusion")
    answer = E3(found(case, told[1], told[0]))
    own = [np.diag(np.array(rates)) for rates in answer.figures["cross_swap"].values()]
    assert (np.array(own) == 1).all()
    assert answer.answer is Answer.REFUTED


def test_agreement_alone_lets_maps_that_move_nothing_pass():
    """Both leave the base's answer, pair by pair; neither gives the algorithm's."""
    case, told = zoo_case("inert copy", 1)
    rows = module.effective_rows(case)["left"]
    bare = case.bench.answered(told[1].featurizers)[rows]
    assert np.array_equal(bare, case.bench.clean[case.test.base[rows]])
    answer = E3(found(case, told[1]))
    assert answer.answer is Answer.REFUTED
    assert answer.figures["worst"]["rate"]["rate"] == 0


def noted(case: Case, monkeypatch, edited: int, read: int) -> Outcome:
    """The check where of all ordered pairs this one is right in six of ten pairs of inputs, and the others always."""
    rng = np.random.default_rng(0)

    def one_way(_, fits, own):
        right = np.ones((len(fits), len(fits), len(own)), bool)
        right[edited, read] = rng.random(len(own)) < 0.6
        return right

    monkeypatch.setattr(module, "crossed", one_way)
    return E3(case)


def test_the_mean_over_pairs_of_fits_hides_one_that_others_do_not_read(learnt, monkeypatch):
    answer = noted(learnt, monkeypatch, 2, 0)
    cross = np.array(list(answer.figures["cross_swap"].values()))
    with_claim = np.concatenate([cross[:, 0, 1:], cross[:, 1:, 0]])
    assert mean_interval(with_claim.reshape(-1), limits=(0, 1)).lower > learnt.thresholds.cross_swap
    assert answer.answer is Answer.REFUTED
    assert (answer.figures["worst"]["edited"], answer.figures["worst"]["read"]) == (2, 0)
    assert "edited through refit 2 and read through the claim's fit" in answer.sentence


def test_two_refits_that_do_not_read_each_other_say_nothing_against_the_claim(learnt, monkeypatch):
    """Each is off in a direction of its own, and both read the claim and are read by it."""
    answer = noted(learnt, monkeypatch, 2, 4)
    assert answer.answer is Answer.SUPPORTED
    assert answer.figures["between_refits"] == pytest.approx(0.6, abs=0.1)
    assert f"between refits .{round(answer.figures['between_refits'] * 1000)} at least" in answer.sentence

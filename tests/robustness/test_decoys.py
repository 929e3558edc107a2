"""A deliberately wrong variant of each statistic, and a decoy that it lets pass and the right one does not."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from commutes import Alignment, Coordinates, Network, census, counterfactuals, evaluate
from commutes.evaluation import bench, rate_of
from commutes.robustness import CHECKS
from commutes.stats import Answer, gap, gate, mean_interval
from tests.planted import EQUALITY, equality, exact, joined, neurons, planted, settled

from .cases import case_of, measured, of


class Frozen(nn.Module):
    """The exact network and a neuron that nothing reads: swapping it does nothing."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner
        self.site = nn.Identity()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        copy = self.site((x[:, :1] == x[:, 1:2]).float())
        return self.inner(x) + 0 * copy


def inert(symbols: int) -> Alignment:
    """left in a copy of itself that is never read."""
    algorithm = equality(symbols)
    network = Network(Frozen(EQUALITY.exact_network().module), encode=joined, answers=[False, True])
    return Alignment(algorithm, {algorithm["left"]: Coordinates(network.site("site"))[0]})


def test_a_mean_instead_of_the_worst_cell_lets_an_inert_copy_pass():
    """Over the inputs as they come two of thirty numbers are seldom equal: doing nothing is nearly always right."""
    claim = inert(30)
    pairs = counterfactuals(claim.algorithm, 800, swap=["left"], distribution="inputs", seed=0)
    case = case_of(claim, pairs)
    (mean, *_) = case.evaluation.natural["left"]
    assert gate((mean, mean), case.thresholds.target) is Answer.SUPPORTED
    assert CHECKS["A2"](case).answer is Answer.REFUTED
    assert case.evaluation.worst.rate == 0


def test_a_rate_without_its_bounds_lets_a_handful_of_pairs_pass():
    algorithm = equality(8)
    claim = neurons(EQUALITY.exact_network(algorithm), algorithm, left=[0], right=[1])
    case = case_of(claim, counterfactuals(algorithm, 8 * 60, seed=3))
    few = evaluate(claim, case.test)
    assert few.worst.rate == 1.0
    low = replace(few.worst, rate=0.95, lower=0.85, upper=0.99)
    assert low.rate >= case.thresholds.target
    assert CHECKS["A2"](measured(case, worst=low)).answer is Answer.INCONCLUSIVE


def test_a_gap_among_fitted_pairs_alone_lets_memory_pass():
    case = planted(10)
    train, select, test = case.parts
    claim = settled(case.claim, case.parts, [case.truth])
    remembers = measured(case_of(claim, test, train=train, select=select), overall=of(300, 480))
    half = np.arange(len(train)) < len(train) // 2
    hits = bench(claim, train).hits(claim.featurizers)
    wrong = gap(rate_of(hits, train, np.nonzero(half)[0]), rate_of(hits, train, np.nonzero(~half)[0]))
    assert gate(wrong, remembers.thresholds.held_out, side="<") is not Answer.REFUTED
    assert wrong.value == 0
    assert CHECKS["A6"](remembers).answer is Answer.REFUTED


def test_reach_against_all_pairs_lets_a_constant_edit_pass():
    """An edit of one length everywhere is longer than the mean over pairs that include none; placebo pairs tell."""
    algorithm, network, _ = exact(6)
    wrong = neurons(network, algorithm, left=[1])
    pairs = counterfactuals(algorithm, 800, swap=["left"], seed=0)
    case = case_of(wrong, pairs)
    from commutes.robustness._a9_reach import edit_sizes

    sizes, _ = edit_sizes(case)
    assert sizes[pairs.effective].mean() > 0
    assert CHECKS["A9"](case).answer is not Answer.SUPPORTED


def test_the_untrained_gate_the_wrong_way_round_lets_a_wrong_claim_pass():
    """What untrained networks reach as well must count against the claim."""
    algorithm, network, right = exact(6)
    pairs = counterfactuals(algorithm, 800, seed=0)
    answers = {}
    for name, claim in (("wrong", neurons(network, algorithm, left=[1], right=[0])), ("right", right)):
        case = case_of(claim, pairs)
        null = mean_interval([r.overall.rate for r in case.untrained()], limits=(0, 1))
        difference = gap(case.evaluation.overall, null)
        backwards = gate(difference, case.thresholds.over_untrained, side="<")
        answers[name] = backwards, CHECKS["B1"](case).answer
    assert answers["wrong"] == (Answer.SUPPORTED, Answer.REFUTED)
    assert answers["right"] == (Answer.REFUTED, Answer.SUPPORTED)


def test_one_untrained_network_in_place_of_their_spread_decides_too_much():
    algorithm = equality(8)
    claim = neurons(EQUALITY.exact_network(algorithm), algorithm, left=[0], right=[1])
    case = case_of(claim, counterfactuals(algorithm, 400, seed=0))
    found = CHECKS["B1"](replace(case, refits=1))
    assert found.answer is Answer.NOT_RUN


def test_the_mean_over_controls_instead_of_the_worst_lets_a_copied_control_pass(monkeypatch):
    """One control that the network happens to compute is hidden by two that it does not."""
    from commutes.robustness import _b2_control_tasks as module

    algorithm, _, claim = exact(3)
    case = case_of(claim, census(algorithm))
    real = module.controls

    def one_is_the_variable(known, variable, *, count, seed):
        return [*real(known, variable, count=count - 1, seed=seed), equality(3)]

    monkeypatch.setattr(module, "controls", one_is_the_variable)
    found = module.control_tasks(case)
    rates = [control["rate"] for control in found.figures["variables"]["left"]["controls"]]
    mean = sum(rates) / len(rates)
    assert 1 - mean > case.thresholds.selectivity
    assert found.answer is Answer.REFUTED
    assert found.figures["variables"]["left"]["selectivity"]["value"] == 0


def test_strata_of_the_claims_answers_would_flatter_a_control():
    """A control is judged by its own expected answers: by the claim's it would look as good as the claim."""
    algorithm, _, claim = exact(3)
    from commutes.robustness import controls

    (control, *_) = controls(algorithm, algorithm["left"], count=1, seed=0)
    pairs = census(algorithm)
    own = pairs.for_algorithm(control)
    moved = claim.under(control)
    assert bench(moved, own).hits(moved.featurizers).mean() < 0.9
    assert bench(claim, pairs).hits(claim.featurizers).all()
    assert not np.array_equal(own.expected, pairs.expected)


@pytest.mark.parametrize("target", [0.9, 0.5])
def test_accuracy_on_the_inputs_that_work_hides_a_network_that_does_not(target):
    """Kept to what the network gets right, any network behaves; nothing here is filtered out."""
    algorithm = equality(4)
    network = EQUALITY.network(EQUALITY.algorithm(4), seed=1, width=8, layers=2)
    claim = neurons(network, algorithm, "layers.0", left=[0], right=[1])
    case = case_of(claim, counterfactuals(algorithm, 400, seed=0))
    kept = case.bench.right[case.bench.right]
    assert kept.all()
    found = CHECKS["A1"](case)
    assert found.answer is Answer.REFUTED
    assert found.figures["kept"] == 1.0


def test_the_mean_over_rivals_instead_of_the_nearest_lets_data_pass_that_tell_nothing():
    """Pairs that do not change the answer cannot tell the claim from doing nothing, whatever else they tell apart."""
    algorithm, _, claim = exact(8)
    pairs = counterfactuals(algorithm, 1600, seed=0)
    case = case_of(claim, pairs.subset(~pairs.effective))
    shares = [figure["share"] for figure in case.adequacy.figures.values()]
    assert sum(shares) / len(shares) > case.thresholds.adequacy
    assert CHECKS["A3"](case).answer is Answer.VACUOUS
    assert case.adequacy.figures["do nothing"]["share"] == 0


def test_the_target_as_a_limit_for_maps_lets_a_map_pass_that_goes_most_of_the_way():
    """Untrained networks that are aligned to .85 are below the target, and are far above what doing nothing reaches."""
    algorithm, _, claim = exact(8)
    case = case_of(claim, counterfactuals(algorithm, 1600, seed=0))
    hits = np.random.default_rng(0).permutation(np.arange(len(case.test)) < 0.85 * len(case.test))
    moved = [replace(r, hits=hits, overall=rate_of(hits, case.test)) for r in case.untrained()]
    found = CHECKS["A5"](replace(case, untrained=lambda: moved))
    null = mean_interval([r.overall.rate for r in moved], limits=(0, 1))
    assert gate(null, case.thresholds.target, side="<") is Answer.SUPPORTED
    assert found.answer is Answer.REFUTED

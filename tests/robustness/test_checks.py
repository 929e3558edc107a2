"""Every check and every answer that it can give, in cases that are made for it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from commutes import Alignment, Coordinates, Network, census, counterfactuals
from commutes.evaluation import Worst
from commutes.report.catalogue import entry
from commutes.robustness import CHECKS, Outcome, Thresholds, controls
from commutes.robustness._a3_adequacy import adequacy_of
from commutes.robustness._a9_reach import edit_sizes
from commutes.robustness._multiplicity import corrected
from commutes.stats import Answer
from commutes.stats import rate as rate_of
from tests.planted import EQUALITY, Rotated, equality, exact, joined, neurons, planted, settled

from .cases import case_of, measured, of

A1, A2, A3, A5, A6, A9, B1, B2 = (CHECKS[name] for name in ("A1", "A2", "A3", "A5", "A6", "A9", "B1", "B2"))


@pytest.fixture(scope="module")
def sampled():
    """The truth about the exact network over eight numbers, on disjoint pairs."""
    algorithm = equality(8)
    network = EQUALITY.exact_network(algorithm)
    (test,) = counterfactuals(algorithm, 1600, seed=1).split(test=1.0)
    return case_of(neurons(network, algorithm, left=[0], right=[1]), test)


@pytest.fixture(scope="module")
def complete():
    algorithm, _, claim = exact()
    return case_of(claim, census(algorithm))


@pytest.fixture(scope="module")
def learnt():
    """The truth about the planted network, as if it had been fitted."""
    case = planted(10)
    train, select, test = case.parts
    claim = settled(case.claim, case.parts, [case.truth])
    return case_of(claim, test, train=train, select=select)


def test_the_checks_run_cheapest_first():
    # A5 looks at the refits that B1 has made.
    efforts = [entry(name).effort for name in CHECKS if name != "A5"]
    assert efforts == sorted(efforts)
    assert list(CHECKS).index("A5") == list(CHECKS).index("B1") + 1


# A1


@pytest.mark.parametrize(
    ("hits", "n", "answer", "needed"),
    [
        (1000, 1000, Answer.SUPPORTED, False),
        (900, 1000, Answer.REFUTED, False),
        (58, 58, Answer.INCONCLUSIVE, True),
        (96, 100, Answer.INCONCLUSIVE, True),
    ],
)
def test_behaviour_is_gated_on_its_bounds(sampled, hits, n, answer, needed):
    found = A1(measured(sampled, accuracy=of(hits, n)))
    assert found.answer is answer
    assert (found.n_to_decide is not None) == needed
    assert "against a floor of .950" in found.sentence


def test_behaviour_of_a_census_is_gated_on_its_value(complete):
    assert A1(complete).answer is Answer.SUPPORTED
    everything = replace(complete, thresholds=Thresholds(behaviour=1.0, target=1.0))
    assert A1(everything).answer is Answer.SUPPORTED
    assert A2(everything).answer is Answer.SUPPORTED


def test_a_threshold_of_one_on_a_sample_has_no_n_that_decides(sampled):
    strict = replace(sampled, thresholds=Thresholds(behaviour=1.0, target=1.0))
    for check in (A1, A2):
        found = check(strict)
        assert (found.answer, found.n_to_decide) == (Answer.INCONCLUSIVE, None)


# A2


@pytest.mark.parametrize(
    ("lower", "upper", "answer"),
    [(0.91, 0.99, Answer.SUPPORTED), (0.85, 0.99, Answer.INCONCLUSIVE), (0.5, 0.89, Answer.REFUTED)],
)
def test_strata_are_gated_on_the_worst_cell(sampled, lower, upper, answer):
    worst = Worst("left", "flip", 0.9, lower, upper, 8)
    found = A2(measured(sampled, worst=worst))
    assert found.answer is answer
    assert "worst of 8 cells is left · flip" in found.sentence


def test_a_claim_is_not_supported_while_an_effective_stratum_is_too_small_to_gate(sampled):
    pairs = sampled.test
    flips = np.nonzero((pairs.swap == 0) & (pairs.stratum == pairs.strata.index("flip")))[0]
    kept = np.ones(len(pairs), bool)
    kept[flips[20:]] = False
    found = A2(case_of(sampled.alignment, pairs.subset(kept)))
    assert found.answer is Answer.INCONCLUSIVE
    assert found.sentence.endswith(
        "possible and effective, but with too few pairs or inputs to gate: left · flip"
    )
    assert found.n_to_decide == 59 * 8
    assert A2(sampled).answer is Answer.SUPPORTED


def test_holm_spares_what_a_single_gate_would_refute():
    def outcome(p: float) -> Outcome:
        answer = Answer.REFUTED if p <= 0.05 else Answer.SUPPORTED
        return Outcome(answer, "a gate", refuted_at=lambda alpha: p <= alpha)

    def answers(*ps: float) -> list[Answer]:
        return [o.answer for o in corrected({str(i): outcome(p) for i, p in enumerate(ps)}).values()]

    # By hand: .03 against .05 / 3; then .01 against .05 / 3 and .03 against .05 / 2; then .02 as well.
    assert answers(0.03, 0.5, 0.5) == [Answer.INCONCLUSIVE, Answer.SUPPORTED, Answer.SUPPORTED]
    assert answers(0.01, 0.03, 0.5) == [Answer.REFUTED, Answer.INCONCLUSIVE, Answer.SUPPORTED]
    assert answers(0.01, 0.02, 0.04) == [Answer.REFUTED] * 3
    assert answers(0.04) == [Answer.REFUTED]


def test_a_rival_that_is_not_excluded_takes_a_success_away_and_not_a_failure(sampled):
    still = {"left": ["do nothing"], "right": []}
    good, bad = Worst("left", "flip", 0.99, 0.95, 1.0, 8), Worst("left", "flip", 0.1, 0.0, 0.2, 8)
    found = A2(measured(sampled, worst=good, not_excluded=still))
    assert found.answer is Answer.VACUOUS
    assert found.reason == "for left no gated stratum excludes: do nothing"
    assert A2(measured(sampled, worst=bad, not_excluded=still)).answer is Answer.REFUTED


def test_without_a_gated_cell_the_strata_are_inconclusive(sampled):
    found = A2(measured(sampled, worst=None))
    assert found.answer is Answer.INCONCLUSIVE
    assert found.n_to_decide == 59 * 8
    assert found.sentence == "no cell has enough pairs and inputs to be gated"


def test_the_number_of_pairs_that_would_decide_does_decide():
    algorithm = equality(10)
    claim = neurons(EQUALITY.exact_network(algorithm), algorithm, left=[0], right=[1])

    def check(n):
        (test,) = counterfactuals(algorithm, n, seed=1).split(test=1.0)
        return A2(replace(case_of(claim, test), thresholds=Thresholds(target=0.97)))

    found = check(640)
    assert found.answer is Answer.INCONCLUSIVE
    assert found.n_to_decide == int(np.ceil(99 / 80 * 640)) == 792
    assert check(found.n_to_decide).answer is Answer.SUPPORTED


# A3


def test_balanced_data_are_adequate(sampled, complete):
    assert A3(sampled).answer is Answer.SUPPORTED
    assert A3(complete).answer is Answer.SUPPORTED
    assert set(A3(sampled).figures) >= {"do nothing", "swap all", "best constant", "swap left instead"}


def test_too_few_pairs_are_inconclusive_with_the_number_that_would_do():
    algorithm = equality(8)
    pairs = counterfactuals(algorithm, 80, seed=0)
    found = adequacy_of(pairs, 0.2)
    assert found.answer is Answer.INCONCLUSIVE
    fewest = min(figure["pairs"] for figure in found.figures.values())
    assert found.n_to_decide == int(np.ceil(59 * 80 / fewest)) > 80
    enough = counterfactuals(algorithm, found.n_to_decide + 16, seed=0)
    assert adequacy_of(enough, 0.2).answer is Answer.SUPPORTED


def test_data_on_which_a_rival_always_says_the_same_tell_nothing_whatever_their_number():
    pairs = counterfactuals(equality(8), 1600, seed=0)
    quiet = pairs.subset(~pairs.effective)
    found = adequacy_of(quiet, 0.2)
    assert found.answer is Answer.VACUOUS
    assert "do nothing: another answer on 0 of 800 pairs" in found.sentence
    assert found.reason.startswith("not one of 800 pairs tells the claim from do nothing")
    few = adequacy_of(quiet.subset(np.arange(100)), 0.2)
    assert (few.answer, few.n_to_decide) == (Answer.INCONCLUSIVE, None)
    seldom = np.concatenate([np.nonzero(~pairs.effective)[0], np.nonzero(pairs.effective)[0][:100]])
    found = adequacy_of(pairs.subset(seldom), 0.2)
    assert (found.answer, found.n_to_decide) == (Answer.INCONCLUSIVE, None)


def test_a_complete_domain_needs_the_share_and_no_number_of_pairs():
    from tests.planted import load

    pairs = census(load("boolean").algorithm())
    found = adequacy_of(pairs, 0.2)
    assert found.figures["do nothing"]["pairs"] < 59
    assert found.answer is Answer.SUPPORTED
    assert "59" not in found.sentence
    assert (adequacy_of(pairs, 0.3).answer, adequacy_of(pairs, 0.3).n_to_decide) == (
        Answer.INCONCLUSIVE,
        None,
    )


# A6


def test_where_nothing_was_fitted_every_input_is_held_out(sampled):
    assert A6(sampled).answer is Answer.SUPPORTED


def test_a_fit_that_holds_out_is_supported(learnt):
    found = A6(learnt)
    assert found.answer is Answer.SUPPORTED
    assert found.figures["fitted"]["rate"] == found.figures["held_out"]["rate"] == 1.0


def test_a_fit_that_fails_on_new_inputs_is_refuted(learnt):
    assert A6(measured(learnt, overall=of(400, 600))).answer is Answer.REFUTED


def test_a_few_held_out_pairs_decide_nothing(learnt):
    found = A6(measured(learnt, overall=of(20, 20)))
    assert found.answer is Answer.INCONCLUSIVE
    assert found.n_to_decide > 20


def test_a_census_that_was_fitted_on_leaves_nothing_to_hold_out():
    case = planted(3, 300)
    pairs = census(case.algorithm)
    claim = case.claim.with_maps([case.truth], fitted_ids=pairs.input_ids)
    found = A6(case_of(claim, pairs, train=pairs))
    assert found.answer is Answer.VACUOUS
    assert found.reason == "the complete domain was fitted on: no input is left to hold out"


# A9


def test_the_true_neurons_reach(sampled, complete):
    for case in (sampled, complete):
        found = A9(case)
        assert found.answer is Answer.SUPPORTED
        assert found.figures["share"]["rate"] == 1.0
        assert found.figures["by_swap"] == {"left": 1.0, "right": 1.0}


class Dead(nn.Module):
    """The exact network beside a third neuron that is always 0."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner
        self.site = nn.Identity()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = self.inner.layers[1](self.inner.layers[0](x))
        h = self.site(torch.cat([h, torch.zeros(len(x), 1)], dim=1))
        return self.inner.head(self.inner.layers[2](h[:, :2]))


@pytest.mark.parametrize("make", [census, lambda a, swap: counterfactuals(a, 800, swap=swap, seed=0)])
def test_a_neuron_that_never_moves_reaches_nothing(make):
    algorithm, network, _ = exact()
    dead = Network(Dead(network.module), encode=joined, answers=[False, True])
    claim = Alignment(algorithm, {algorithm["left"]: Coordinates(dead.site("site"))[2]})
    found = A9(case_of(claim, make(algorithm, swap=["left"])))
    assert found.answer is Answer.REFUTED
    assert found.sentence.startswith("nothing was moved: edits are 0 of the whole difference")
    assert found.figures["moved"] == 0


def test_a_neuron_that_moves_with_something_else_has_reached_something(complete):
    wrong = neurons(complete.alignment.network, complete.alignment.algorithm, left=[1], right=[0])
    found = A9(case_of(wrong, complete.test))
    assert found.answer is Answer.VACUOUS
    assert found.figures["moved"] > 0.1
    assert found.reason == (
        "the coordinates move as far where the variable keeps its value: they carry something else"
    )


def test_lengths_that_are_alike_on_a_sample_are_inconclusive(sampled, monkeypatch):
    rng = np.random.default_rng(0)
    sizes = rng.random(len(sampled.test))
    monkeypatch.setattr("commutes.robustness._a9_reach.edit_sizes", lambda case: (sizes, sizes + 1))
    assert A9(sampled).answer is Answer.INCONCLUSIVE


def test_reach_compares_with_pairs_in_which_the_variable_keeps_its_value(sampled, monkeypatch):
    """Pairs that are neither move furthest, and must not be looked at."""
    pairs = sampled.test
    same = np.zeros(len(pairs), bool)
    for i, swap in enumerate(pairs.swaps):
        (v,) = swap.variables
        same |= (pairs.swap == i) & (pairs.base_value(v) == pairs.source_value(v))
    sizes = np.where(same, 0.0, np.where(pairs.effective, 1.0, 9.0))
    monkeypatch.setattr("commutes.robustness._a9_reach.edit_sizes", lambda case: (sizes, sizes + 1))
    assert A9(sampled).answer is Answer.SUPPORTED
    backwards = np.where(same, 1.0, 0.5)
    monkeypatch.setattr("commutes.robustness._a9_reach.edit_sizes", lambda case: (backwards, sizes + 1))
    assert A9(sampled).answer is Answer.VACUOUS


def test_without_placebo_pairs_reach_is_vacuous(sampled):
    pairs = sampled.test.subset(sampled.test.effective)
    found = A9(case_of(sampled.alignment, pairs))
    assert (found.answer, found.reason) == (Answer.VACUOUS, "no placebo pairs")


def test_edit_sizes_are_lengths_of_the_swapped_coordinates_alone(complete):
    sizes, whole = edit_sizes(complete)
    pairs = complete.test
    for i, name in enumerate(("left", "right")):
        rows = pairs.swap == i
        moved = pairs.base_value(name)[rows] != pairs.source_value(name)[rows]
        assert np.array_equal(sizes[rows], moved.astype(float))
    assert (whole >= sizes - 1e-12).all()
    assert whole.max() == pytest.approx(np.sqrt(2))


# B1


def test_the_truth_beats_untrained_networks(complete, sampled):
    for case in (complete, sampled):
        found = B1(case)
        assert found.answer is Answer.SUPPORTED
        assert len(found.figures["refits"]) == 5
        assert found.figures["null"]["n"] == 5
        assert found.forward_passes == 5 * len(case.test)


def test_untrained_networks_get_the_same_fit(learnt):
    found = B1(learnt)
    assert found.answer is Answer.SUPPORTED
    assert all(0 < rate <= 1 for rate in found.figures["fitted"])
    assert len({r["hits"] for r in found.figures["refits"]}) > 1
    steps = 5 * 60 * 64 * 2
    assert found.forward_passes > steps


def test_a_network_without_weights_cannot_be_untrained():
    """There is nothing to reset: its twins compute the same, and say nothing."""

    class Fixed(Rotated):
        def __init__(self) -> None:
            super().__init__()
            self.turn = nn.Identity()
            self.back = nn.Identity()

    algorithm = equality(8)
    network = Network(Fixed(), encode=joined, answers=[False, True])
    pairs = counterfactuals(algorithm, 800, seed=0)
    claim = neurons(network, algorithm, "site", left=[0], right=[1])
    found = B1(case_of(claim, pairs))
    assert found.answer is Answer.VACUOUS
    assert found.reason == "5 of 5 re-initialised networks still answer as the algorithm does"


def test_what_untrained_networks_reach_as_well_is_refuted(complete):
    wrong = neurons(complete.alignment.network, complete.alignment.algorithm, left=[1], right=[0])
    found = B1(case_of(wrong, complete.test))
    assert found.answer is Answer.REFUTED
    assert found.refuted_at(0.05)


def test_a_small_gap_to_untrained_networks_is_inconclusive(sampled):
    null = B1(sampled).figures["null"]["value"]
    hits = np.arange(len(sampled.test)) < round((null + 0.21) * len(sampled.test))
    spread = np.random.default_rng(0).permutation(hits)
    found = B1(measured(sampled, hits=spread, overall=of(int(hits.sum()), len(hits))))
    assert found.answer is Answer.INCONCLUSIVE


def test_fewer_than_five_refits_are_not_run(sampled):
    found = B1(replace(sampled, refits=4))
    assert found.answer is Answer.NOT_RUN
    assert found.reason == "4 refits were asked for; at least 5 are needed"


def test_a_network_that_cannot_be_initialised_again_is_vacuous():
    class Own(Rotated):
        def __init__(self) -> None:
            super().__init__()
            self.scale = nn.Parameter(torch.ones(6))

    algorithm = equality(6)
    network = Network(Own(), encode=joined, answers=[False, True])
    claim = Alignment(algorithm, {algorithm["left"]: Coordinates(network.site("site"))[0]})
    found = B1(case_of(claim, counterfactuals(algorithm, 200, swap=["left"], seed=0)))
    assert found.answer is Answer.VACUOUS
    assert "parameters scale in a module without reset_parameters()" in found.reason


# A5


def test_a_map_that_untrained_networks_withstand_is_not_too_powerful(complete, sampled, learnt):
    for case, family in ((complete, "neurons"), (sampled, "neurons"), (learnt, "a rotation")):
        found = A5(case)
        assert found.answer is Answer.SUPPORTED
        assert found.figures["family"] == family
        floor = max(case.evaluation.floors[name].rate for name in ("do nothing", "best constant"))
        assert found.figures["limit"] == pytest.approx(floor + 0.6 * (1 - floor))
        assert found.figures["null"] == B1(case).figures["null"]


def reaching(case, share):
    """The same case, with untrained networks that reach this share of the test pairs."""
    hits = np.arange(len(case.test)) < round(share * len(case.test))
    found = [
        replace(r, hits=hits, overall=rate_of(hits, case.test.members, census=case.test.complete))
        for r in case.untrained()
    ]
    return replace(case, untrained=lambda: found)


def test_a_map_that_aligns_untrained_networks_is_refuted_in_words(sampled):
    found = A5(reaching(sampled, 0.99))
    assert found.answer is Answer.REFUTED
    assert found.refuted_at(0.05)
    assert found.sentence.startswith(
        "networks that were never trained are aligned by neurons as well: what is reached here says nothing about this "
        "network: .990 ["
    )
    assert "of the way from" in found.sentence


def test_a_map_near_the_limit_is_inconclusive_and_below_it_supported(sampled):
    limit = A5(sampled).figures["limit"]
    assert A5(reaching(sampled, limit)).answer is Answer.INCONCLUSIVE
    assert A5(reaching(sampled, limit - 0.1)).answer is Answer.SUPPORTED


def test_without_refits_that_say_something_there_is_no_capacity(sampled):
    assert A5(replace(sampled, refits=4)).answer is Answer.NOT_RUN
    right = [replace(r, accuracy=1.0) for r in sampled.untrained()]
    assert A5(replace(sampled, untrained=lambda: right)).answer is Answer.VACUOUS


# B2


def test_the_truth_is_selective(complete, sampled):
    for case in (complete, sampled):
        found = B2(case)
        assert found.answer is Answer.SUPPORTED
        assert len(found.figures["variables"]["left"]["controls"]) == 3


def test_selectivity_is_against_the_worst_control(complete):
    found = B2(replace(complete, controls=5))
    for name in ("left", "right"):
        figures = found.figures["variables"][name]
        claim = figures["claim"]["rate"]
        assert figures["selectivity"]["value"] == pytest.approx(
            claim - max(control["rate"] for control in figures["controls"])
        )
    lowest = min(found.figures["variables"][name]["selectivity"]["value"] for name in ("left", "right"))
    assert f"selectivity .{round(lowest * 1000)}" in found.sentence


def test_only_what_is_held_out_is_called_held_out(learnt, complete):
    assert "its controls, fitted to held out: " in B2(learnt).sentence
    sentence = B2(complete).sentence
    assert "held out" not in sentence
    assert "its controls: ." in sentence
    case = planted(3, 300)
    pairs = census(case.algorithm)
    claim = case.claim.with_maps([case.truth], fitted_ids=pairs.input_ids)
    assert "held out" not in B2(case_of(claim, pairs, train=pairs)).sentence


def test_a_wrong_neuron_is_not_selective(complete):
    wrong = neurons(complete.alignment.network, complete.alignment.algorithm, left=[1], right=[0])
    assert B2(case_of(wrong, complete.test)).answer is Answer.REFUTED


def test_few_pairs_leave_selectivity_open(sampled):
    pairs = sampled.test.subset(np.arange(48))
    assert B2(case_of(sampled.alignment, pairs)).answer is Answer.INCONCLUSIVE


def test_fewer_than_three_control_functions_are_vacuous():
    algorithm, _, claim = exact(2)
    assert len(controls(algorithm, algorithm["left"], count=5, seed=0)) < 3
    found = B2(case_of(claim, census(algorithm)))
    assert found.answer is Answer.VACUOUS
    assert "left has 0 admissible control functions, 3 are needed" in found.reason


def test_fewer_than_three_controls_are_not_run(sampled):
    found = B2(replace(sampled, controls=2))
    assert found.answer is Answer.NOT_RUN
    assert found.reason == "2 control functions were asked for; at least 3 are needed"


def test_a_variable_that_is_never_swapped_alone_has_no_control_task(complete):
    algorithm = complete.alignment.algorithm
    both = counterfactuals(algorithm, 200, swap=[{algorithm["left"], algorithm["right"]}], seed=0)
    found = B2(case_of(complete.alignment, both))
    assert (found.answer, found.reason) == (Answer.VACUOUS, "no aligned variable is swapped alone")


def test_controls_of_learnt_claims_are_fitted_on_their_own_answers(learnt):
    found = B2(learnt)
    assert found.answer is Answer.SUPPORTED
    for name in ("left", "right"):
        assert all(0 < rate <= 1 for rate in found.figures["variables"][name]["fitted"])

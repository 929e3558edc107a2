"""A7: the verdict under other metrics, replacements, positions and templates."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

import commutes.robustness._challenge as challenge_module
from commutes import (
    Algorithm,
    Alignment,
    Coordinates,
    Network,
    Rotation,
    census,
    challenge,
    counterfactuals,
    reals,
)
from commutes.errors import AlignmentError, DataError
from commutes.evaluation import answer_scores
from commutes.features import Subspace
from commutes.robustness import CHECKS, Case, Thresholds
from commutes.robustness import _replacements as replacing
from commutes.robustness._case import Declared
from commutes.robustness._claim import fixed_claim
from commutes.robustness._gated import gated
from commutes.robustness._metrics import metrics
from commutes.robustness._replacements import replacements
from commutes.stats import Answer, gate
from tests.evaluation.test_language_selfchecks import claim as language_claim
from tests.network.transformers import models as M
from tests.planted import EQUALITY, QUICK, Rotated, equality, exact, joined, neurons, planted

from .cases import case_of
from .zoo_cases import found, told_case, zoo_case

A7 = CHECKS["A7"]


@pytest.fixture(scope="module")
def case() -> Case:
    """The truth about the planted network."""
    small = planted(10, 2000)
    return case_of(small.told(), small.parts[2], train=small.parts[0])


def names(of) -> list[str]:
    return [one.name for one in of]


# What it answers.


def test_the_truth_keeps_its_verdict_in_every_combination(case):
    outcome = A7(case)
    assert outcome.answer is Answer.SUPPORTED
    assert outcome.sentence.startswith(
        "8 of 8 combinations clear .900 in their worst cell, at least .900 of them must; the worst, "
    )
    assert outcome.sentence.endswith("; left out: zero")
    rows = outcome.figures["combinations"]
    assert {(row["metric"], row["replacement"]) for row in rows} == {
        (metric, put)
        for metric in ("argmax", "half the natural margin")
        for put in ("interchange", "resample", "mean", "noise")
    }
    assert all(row["rate"]["rate"] == 1 for row in rows)
    assert outcome.refuted_at is not None
    assert not outcome.refuted_at(0.05)


def test_the_cost_is_every_replacement_the_clean_runs_and_the_states_that_decoders_see(case):
    inputs = len(case.test.ids) + len(case.train.ids)
    assert A7(case).forward_passes == 4 * len(case.test) + inputs


def test_many_values_have_a_metric_more():
    outcome = found("many values", "one direction per value", "A7")
    assert outcome.answer is Answer.SUPPORTED
    assert "12 of 12 combinations" in outcome.sentence
    assert {row["metric"] for row in outcome.figures["combinations"]} == {
        "argmax",
        "margin over the base's answer",
        "half the natural margin",
    }


def test_a_claim_that_only_the_argmax_supports_is_refuted():
    outcome = found("cancellation", "with half of it", "A7")
    assert outcome.answer is Answer.REFUTED
    assert outcome.refuted_at is not None
    assert not outcome.refuted_at(1e-6)
    own = {(row["metric"], row["replacement"]): row["answer"] for row in outcome.figures["combinations"]}
    assert own["argmax", "interchange"] == "supported"
    assert own["half the natural margin", "interchange"] == "refuted"
    assert "; the worst, half the natural margin with " in outcome.sentence


def test_a_tilt_that_the_argmax_does_not_see_is_not_supported():
    """Any of eight combinations may refute: with 80 pairs in a cell none does yet."""
    outcome = found("tilt", "tilted by 15 degrees", "A7")
    assert outcome.answer is Answer.INCONCLUSIVE
    assert (outcome.figures["kept"], outcome.figures["not_lost"]) == (0.5, 1)
    assert outcome.n_to_decide is not None
    assert outcome.n_to_decide > 640


def test_a_claim_that_fails_keeps_nothing():
    outcome = found("clean", "everything", "A7")
    assert outcome.answer is Answer.REFUTED
    assert (outcome.figures["kept"], outcome.figures["not_lost"]) == (0, 0)


def test_a_code_that_has_no_mean_leaves_too_few_combinations():
    """What is right cannot be refuted by a replacement that does not set the variable."""
    outcome = found("nonlinear code", "two bits", "A7")
    assert outcome.answer is Answer.NOT_RUN
    assert outcome.reason is not None
    assert outcome.reason.startswith(
        "there are 4 combinations, at least 6 are needed; left out: zero: it takes the variable away instead of"
        " setting it: no answer is expected of that; mean: means do not tell the values of left apart: ."
    )
    # The means themselves would have refuted it.
    told = told_case("nonlinear code", "two bits")
    maps = told.alignment.featurizers
    logits = torch.cat(list(told.bench.edited(maps, change=replacing._Values(told).means)))
    hits = told.bench.answers.match(told.bench.answers.decode(logits), told.test.expected)
    assert gated(hits, told.test).answer(0.9) is Answer.REFUTED


def test_a_few_pairs_decide_nothing(case):
    outcome = A7(replace(case, thresholds=replace(case.thresholds, target=0.97)))
    assert outcome.answer is Answer.INCONCLUSIVE
    assert outcome.n_to_decide is not None
    assert outcome.n_to_decide > len(case.test)
    thin = A7(case_of(case.alignment, case.test.subset(np.arange(100)), train=case.train))
    assert (thin.answer, thin.n_to_decide) == (Answer.INCONCLUSIVE, None)
    assert thin.sentence == (
        "0 of 8 combinations clear .900 in their worst cell, at least .900 of them must; left out: zero"
    )


def test_a_complete_domain_is_gated_on_its_values():
    algorithm, _, claim = exact(2)
    outcome = A7(case_of(claim, census(algorithm)))
    assert outcome.answer is Answer.SUPPORTED
    assert all(row["lower"] == row["rate"]["rate"] == 1 for row in outcome.figures["combinations"])


def test_an_output_that_is_a_number_has_no_strata(case):
    algorithm = Algorithm("sum")
    a, b = algorithm.inputs("a b", domain=range(5))
    algorithm.add("v", a, f=lambda a: a, domain=range(5))
    algorithm.add("y", "v", b, f=lambda v, b: float(v + b), domain=reals(tolerance=0.1), output=True)
    pairs = counterfactuals(algorithm.check(), 40, seed=0)
    outcome = A7(replace(case, test=pairs))
    assert outcome.answer is Answer.VACUOUS
    assert outcome.reason == "the output is a number: it is compared within its tolerance, and has no strata"


# A deliberately wrong variant.


def test_the_mean_over_combinations_lets_a_cancellation_pass():
    outcome = found("cancellation", "with half of it", "A7")
    rates = [row["rate"]["rate"] for row in outcome.figures["combinations"]]
    mean = sum(rates) / len(rates)
    assert gate((mean, mean), 0.9) is Answer.SUPPORTED
    assert outcome.figures["not_lost"] < 0.9
    assert outcome.answer is Answer.REFUTED


def test_noise_on_top_of_the_source_would_double_the_spread(case):
    """Drawn about the mean, the coordinates vary as they do within a value, and no more."""
    values = replacing._Values(told_case("gate", "true"))
    told, site = values.case, 0
    rows = np.nonzero(told.test.swap == 0)[0]
    batch = told.bench.prepared.batch(torch.from_numpy(told.test.base), torch.from_numpy(told.test.source))
    drawn = values.drawn(batch, slice(None)).sources[site][rows, 0, 0]
    centres = values.means(batch, slice(None)).sources[site][rows, 0, 0]
    own = values.states[site][:, 0]
    which = torch.from_numpy(values.alike[0][0])
    residuals = own - torch.stack([own[which == v].mean(dim=0) for v in range(2)])[which]
    spread, expected = (drawn - centres).square().mean(dim=0), residuals.square().mean(dim=0)
    big = expected > 0.05 * expected.max()
    assert bool((spread[big] / expected[big] - 1).abs().max() < 0.35)


# What is put in.


def test_another_input_has_the_sources_value_and_is_another():
    told = told_case("many values", "one direction per value")
    pairs = told.test
    source, usable = replacing.resampled(told)
    assert usable.all()
    for variable in pairs.variables:
        rows = np.nonzero(pairs.slot_of(variable) >= 0)[0]
        slots = pairs.slot_of(variable)[rows]
        taken = source[rows, slots]
        assert (taken != pairs.source[rows, slots]).all()
        column = pairs.columns[variable.name]
        assert np.array_equal(column[taken], pairs.source_value(variable)[rows])
        # Dealt in turn: no input is taken much more often than another of its value.
        for value in np.unique(column[taken]):
            counts = np.bincount(taken[column[taken] == value], minlength=len(column))[column == value]
            assert counts.max() - counts.min() <= 3
    assert np.array_equal(source[pairs.source < 0], pairs.source[pairs.source < 0])
    assert np.array_equal(source, replacing.resampled(told)[0])


def test_a_value_that_one_input_has_cannot_be_taken_from_another():
    algorithm = Algorithm("copy")
    a, b = algorithm.inputs("a b", domain=range(200))
    algorithm.add("v", a, f=lambda a: a, domain=range(200))
    algorithm.add("y", "v", b, f=lambda v, b: (v + b) % 2 == 0, domain=[False, True], output=True)

    class Sum(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.site = nn.Identity()

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            h = self.site(x)
            even = ((h[:, 0] + h[:, 1]) % 2 == 0).float()
            return torch.stack([1 - even, even], dim=1)

    network = Network(
        Sum(),
        encode=lambda values: torch.from_numpy(np.stack([values["a"], values["b"]], axis=1)).float(),
        answers=[False, True],
    )
    claim = Alignment(algorithm, {algorithm["v"]: Coordinates(network.site("site"))[0]})
    told = case_of(claim, counterfactuals(algorithm, 40, seed=1))
    _, usable = replacing.resampled(told)
    assert 0 < usable.mean() < 0.8
    put = replacements(told)
    assert names(put.replacements) == ["interchange"]
    expected = f"for .{round((1 - usable.mean()) * 1000)} of the pairs no other input has the source's value"
    assert {put.left_out[name] for name in ("resample", "mean", "noise")} == {expected}


def test_the_mean_is_that_of_all_inputs_with_the_value(case):
    """By the network's formula, in a run of its own."""
    module = case.alignment.network.module
    pairs, q = case.test, case.alignment.network.module.q
    columns = {name: np.asarray(column) for name, column in pairs.inputs.items()}
    x = torch.from_numpy(np.stack([columns[n] for n in "wxyz"], axis=1).astype(np.float32))
    kept: list[torch.Tensor] = []
    handle = module.site.register_forward_hook(lambda *a: kept.append(a[2]))
    with torch.no_grad():
        module(x)
    handle.remove()
    z = kept[0]
    put = {one.name: one for one in replacements(case).replacements}["mean"]
    logits = torch.cat(list(case.bench.edited(case.alignment.featurizers, change=put.change)))
    for row in range(0, len(pairs), 40):
        label = pairs.swaps[pairs.swap[row]].label
        column = pairs.columns[label]
        mean = z[torch.from_numpy(column == column[pairs.source[row, 0]])].mean(dim=0)
        direction = q[:, 0 if label == "left" else 1]
        state = z[pairs.base[row]]
        u = module.back(state + direction * (direction @ (mean - state)))
        apart = (u[0] - u[1]).abs()
        assert logits[row] == pytest.approx(torch.stack([apart, 1 - apart]).detach(), abs=1e-5)


def test_noise_of_a_pair_does_not_depend_on_what_it_is_run_with(case):
    values = replacing._Values(case)
    pairs = case.test
    batch = case.bench.prepared.batch(torch.from_numpy(pairs.base), torch.from_numpy(pairs.source))
    whole = values.drawn(batch, slice(None)).sources[0]
    part = case.bench.prepared.batch(torch.from_numpy(pairs.base[7:19]), torch.from_numpy(pairs.source[7:19]))
    assert torch.allclose(values.drawn(part, slice(7, 19)).sources[0], whole[7:19], atol=1e-6)
    assert not torch.allclose(whole, values.means(batch, slice(None)).sources[0], atol=1e-3)


def test_a_spread_that_reaches_other_values_leaves_noise_out(case, monkeypatch):
    def anywhere(self, batch, own):
        order = np.random.default_rng(0).permutation(len(batch.base))
        return batch._replace(sources=tuple(states[order] for states in batch.sources))

    monkeypatch.setattr(replacing._Values, "drawn", anywhere)
    put = replacements(case)
    assert names(put.replacements) == ["interchange", "resample", "mean"]
    assert put.left_out["noise"].startswith("the spread within the values of left takes .")


@pytest.mark.slow
def test_variables_that_are_swapped_together_keep_both_values():
    small = planted(6)
    algorithm = small.algorithm
    pairs = counterfactuals(algorithm, 900, swap=[{"left"}, {"left", "right"}], seed=4)
    told = case_of(small.told(), pairs)
    source, _ = replacing.resampled(told)
    for variable in pairs.variables:
        rows = np.nonzero(pairs.slot_of(variable) >= 0)[0]
        taken = source[rows, pairs.slot_of(variable)[rows]]
        assert np.array_equal(pairs.columns[variable.name][taken], pairs.source_value(variable)[rows])
    shares = {row["replacement"]: row["rate"]["rate"] for row in A7(told).figures["combinations"]}
    assert shares == {"interchange": 1, "resample": 1, "mean": 1, "noise": 1}


# How it is scored.


def test_with_two_answers_a_margin_above_nothing_is_the_argmax(case):
    assert names(metrics(case).metrics) == ["argmax", "half the natural margin"]


def test_margins_are_those_of_unedited_runs(case):
    """The planted network's margin is 1 wherever it is right: half of it is one half."""
    by = metrics(case)
    half = by.metrics[1]
    assert by.passes == len(case.test.ids)
    assert np.array_equal(half.usable, case.test.effective)
    row = int(np.nonzero(case.test.effective)[0][0])
    after, before = case.test.expected[row], case.test.base_answer[row]
    for margin, right in ((0.49, False), (0.51, True), (-1.0, False)):
        logits = torch.zeros(1, 2)
        logits[0, after], logits[0, before] = margin, 0.0
        assert half.hits(logits, slice(row, row + 1)).tolist() == [right]


def test_without_a_score_for_each_answer_there_is_the_argmax_alone():
    algorithm, network, _ = exact()
    own = Network(network.module, encode=joined, decode=lambda logits: (logits.argmax(dim=-1) == 1).tolist())
    claim = neurons(own, algorithm, left=[0], right=[1])
    by = metrics(case_of(claim, counterfactuals(algorithm, 100, seed=0)))
    assert names(by.metrics) == ["argmax"]
    words = "the network has a decode= of its own, and no score for each answer"
    assert by.left_out == {"margin over the base's answer": words, "half the natural margin": words}


def test_a_language_model_is_also_asked_among_the_candidates():
    claim, pairs = language_claim(M.network("llama", dtype=torch.float32))
    told = case_of(claim, pairs)
    by = metrics(told)
    # An untrained model is right too seldom for a natural margin.
    assert names(by.metrics)[:3] == ["argmax", "argmax among the candidates", "margin over the base's answer"]
    (logits,) = list(told.bench.edited(claim.featurizers, rows=np.arange(5)))
    scores = answer_scores(logits, torch.from_numpy(told.bench.answers.spelling)).numpy()
    rows, own = np.arange(5), slice(0, 5)
    after, before = pairs.expected[own], pairs.base_answer[own]
    hits = {one.name: one.hits(logits, own) for one in by.metrics}
    assert np.array_equal(hits["argmax among the candidates"], scores.argmax(axis=1) == after)
    assert np.array_equal(hits["margin over the base's answer"], scores[rows, after] > scores[rows, before])


def test_answers_that_no_unedited_run_gives_have_no_natural_margin(case):
    algorithm = case.alignment.algorithm

    class Constant(Rotated):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return super().forward(x) * 0 + torch.tensor([1.0, 0.0])

    network = Network(Constant(), encode=joined, answers=[False, True])
    claim = case.alignment.on(network).with_maps(case.alignment.featurizers)
    told = case_of(claim, case.test)
    assert algorithm is claim.algorithm
    assert metrics(told).left_out == {
        "half the natural margin": "for .500 of effective pairs no unedited run gives the expected answer"
    }


# Other positions and templates.


def elsewhere(case: Case, path: str, *, right: bool = True) -> Alignment:
    """The same variables at another module, whose output is the site's."""
    algorithm, network = case.alignment.algorithm, case.alignment.network
    rotation = Rotation(network.site(path))
    module = network.module
    assert isinstance(module, Rotated)
    q = module.q[:, :2] if right else module.q[:, 2:4]
    claim = Alignment(algorithm, {algorithm["left"]: rotation[:1], algorithm["right"]: rotation[1:2]})
    return claim.with_maps([Subspace(q.clone(), q.clone())])


def test_a_variant_has_every_combination_again(case):
    variants = {"the layer before": elsewhere(case, "turn")}
    outcome = A7(replace(case, declared=Declared(variants=variants)))
    assert outcome.answer is Answer.SUPPORTED
    assert "16 of 16 combinations" in outcome.sentence
    assert {row["variant"] for row in outcome.figures["combinations"]} == {None, "the layer before"}
    inputs = len(case.test.ids) + len(case.train.ids)
    assert outcome.forward_passes == 2 * (4 * len(case.test) + inputs) + len(case.test.ids)


def test_a_variant_that_fails_refutes(case):
    variants = {"other directions": elsewhere(case, "turn", right=False)}
    outcome = A7(replace(case, declared=Declared(variants=variants)))
    assert outcome.answer is Answer.REFUTED
    assert " at other directions: " in outcome.sentence
    assert "mean at other directions" in outcome.figures["left_out"]


def message(kind, call) -> str:
    with pytest.raises(kind) as error:
        call()
    return str(error.value)


def test_variants_are_looked_at_before_anything_is_opened(case, monkeypatch):
    monkeypatch.setattr(challenge_module, "opened", lambda *a: pytest.fail("opened"))
    algorithm, network, claim = exact()
    test = counterfactuals(algorithm, 200, seed=0)

    def said(kind, variant) -> str:
        return message(kind, lambda: challenge(claim, test=test, variants={"other": variant}))

    assert "a variant is an alignment" in said(AlignmentError, network)
    rotation = Rotation(network.site("layers.1"))
    unfitted = Alignment(algorithm, {algorithm["left"]: rotation[:1], algorithm["right"]: rotation[1:2]})
    assert "the alignment is not fitted" in said(AlignmentError, unfitted)
    assert "the pairs were drawn under another algorithm" in said(AlignmentError, exact()[2])
    seen = claim.with_maps(claim.featurizers, fitted_ids=test.input_ids[:3])
    text = said(DataError, seen)
    assert "a variant was fitted or chosen on these inputs" in text
    assert f"got:      3 of {len(test.input_ids):,} test inputs were seen" in text


def test_declared_variants_reach_the_check_and_the_fingerprint(monkeypatch):
    algorithm = equality(8)
    network = EQUALITY.exact_network(algorithm)
    claim = neurons(network, algorithm, left=[0], right=[1])
    test = counterfactuals(algorithm, 500, seed=0)
    monkeypatch.setattr(challenge_module, "CHECKS", {"A7": A7})
    same = neurons(network, algorithm, left=[0], right=[1])
    crossed = neurons(network, algorithm, left=[1], right=[0])
    fingerprints = {
        fixed_claim(
            claim, test, Thresholds(), QUICK,
            level="R4", seed=0, refits=5, controls=3, variants=variants,
        ).fingerprint
        for variants in ({}, {"again": same}, {"other": same}, {"again": crossed})
    }  # fmt: skip
    assert len(fingerprints) == 4
    report = challenge(claim, test=test, level="R4", variants={"again": crossed})
    assert report.answers == {"A7": "refuted"}
    assert report.claim.fingerprint not in fingerprints


# The cells.


def test_cells_are_those_that_a2_gates(case):
    hits = np.random.default_rng(0).random(len(case.test)) < 0.97
    own = gated(hits, case.test)
    again = case_of(case.alignment, case.test)
    assert [part.name for part in own.parts] == [
        f"{cell.swap} · {cell.stratum}" for cell in again.evaluation.cells if cell.status == "gated"
    ]
    truth = gated(again.evaluation.hits, case.test).worst()
    worst = again.evaluation.worst
    assert truth is not None
    assert worst is not None
    assert (truth.rate.rate, truth.lower, truth.upper) == (worst.rate, worst.lower, worst.upper)


def test_a_stratum_that_was_not_measured_well_enough_takes_a_success_away(case):
    pairs = case.test
    flips = np.nonzero((pairs.swap == 0) & (pairs.stratum == pairs.strata.index("flip")))[0]
    usable = np.ones(len(pairs), bool)
    usable[flips[20:]] = False
    own = gated(np.ones(len(pairs), bool), pairs, usable=usable)
    assert own.ungated == ("left · flip",)
    assert own.answer(0.9) is Answer.INCONCLUSIVE
    assert gated(np.zeros(len(pairs), bool), pairs, usable=usable).answer(0.9) is Answer.REFUTED
    assert gated(np.ones(len(pairs), bool), pairs).answer(0.9) is Answer.SUPPORTED


def test_any_of_many_answers_refutes_at_its_share_of_the_error(case):
    rng = np.random.default_rng(1)
    hits = rng.random(len(case.test)) < 0.87
    alone, among = (gated(hits, case.test).answer(0.97, family=family) for family in (1, 10**6))
    assert alone is Answer.REFUTED
    assert among is Answer.INCONCLUSIVE


def passing() -> Iterator[tuple[str, int]]:
    """Every right claim of the zoo's networks with a linear site, by name and number."""
    from commutes.testing.zoo import LINEAR

    from .zoo_cases import SEEDS, member

    for name in LINEAR:
        for number, one in enumerate(member(name, SEEDS[0]).claims):
            if one.truth == "right":
                yield name, number


@pytest.mark.slow
@pytest.mark.parametrize(("name", "number"), list(passing()))
def test_no_right_claim_of_the_zoo_is_refuted(name, number):
    outcome = A7(zoo_case(name, 1, number))
    assert outcome.answer is (Answer.NOT_RUN if name == "nonlinear code" else Answer.SUPPORTED)

"""A4: margins of planted networks, by an oracle and by hand; what it cannot be asked; variants that would be wrong."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

import commutes as cm
from commutes import Alignment, Coordinates, Network, census, counterfactuals
from commutes.counterfactuals import nearest_inputs
from commutes.evaluation import bench
from commutes.robustness import CHECKS, Case, Outcome, Thresholds
from commutes.robustness._a4_margin import HIGH, LOW
from commutes.stats import Answer, Rate
from tests.network.transformers import models as M
from tests.planted import EQUALITY, equality, exact, joined, neurons
from tests.testing.zoo.oracles import Bench, margin_outside

from .cases import case_of
from .zoo_cases import answered, claims, member, zoo_case
from .zoo_cases import told as of

A4 = CHECKS["A4"]


def told(name: str, number: int, seed: int = 1) -> tuple[Case, Bench]:
    case = zoo_case(name, seed, number)
    return case, Bench(member(name, seed), of(name, seed, number), case.test)


def outside(found: Outcome) -> tuple[int, int]:
    rates = [one["outside"] for one in found.figures["sets"].values()]
    return sum(r["hits"] for r in rates), sum(r["n"] for r in rates)


@claims("A4")
def test_every_member_of_the_zoo_is_judged_as_told(name, seed, number):
    case, oracle = told(name, number, seed)
    found = answered("A4", name, seed, number)
    assert found.answer is oracle.told.ideal["A4"]
    hits, n = outside(found)
    assert n == case.test.effective.sum()
    assert hits == round(margin_outside(oracle) * n)


def test_the_sentence_has_the_figures():
    case, _ = told("clean", 0)
    found = A4(case)
    rates = {name: Rate.from_dict(one["outside"]) for name, one in found.figures["sets"].items()}
    worst = found.figures["worst"]
    assert found.sentence == (
        f"change of the margin outside [.800, 1.250] of a natural input's in {rates[worst]} of {worst}, the worst of 2"
        " sets, below .100 is asked for; pairs left out: none of 320; the wrong way in .000, same answer as the natural"
        " input in 1.000, KL <.001, probability of the expected answer .731 against .731; where the answer must stay,"
        " up to <.001 of a gap in 95 %"
    )
    assert found.forward_passes == 2 * 320 + len(np.unique(case.test.base[case.test.effective])) + 320
    assert found.figures["median"] == pytest.approx(1, abs=1e-4)
    assert found.figures["furthest"] == []
    assert found.n_to_decide is None
    assert not found.refuted_at(0.05)


def test_what_stands_beside_is_what_it_is_called():
    """A copy that nothing reads: the swap does nothing, so that all figures are those of the base."""
    case, _ = told("inert copy", 1)
    found = A4(case).figures
    base = 1 / (1 + np.exp(1))
    assert found["sets"]["left"]["outside"]["rate"] == 1
    assert found["sets"]["right"]["outside"]["rate"] == 0
    assert found["sets"]["left"]["median"] == pytest.approx(0, abs=1e-4)
    assert found["mean"] == pytest.approx(0.5, abs=1e-4)
    assert found["same_answer"] == 0.5
    assert found["probability"] == pytest.approx((base + 1 - base) / 2, abs=1e-4)
    assert found["natural_probability"] == pytest.approx(1 - base, abs=1e-4)
    divergence = (1 - 2 * base) * np.log((1 - base) / base)
    assert found["divergence"] == pytest.approx(divergence / 2, abs=1e-4)
    assert found["gap"] == pytest.approx(2, abs=1e-4)
    assert found["placebo"]["most"] == pytest.approx(0, abs=1e-4)
    assert len(found["furthest"]) == 5


def test_the_pairs_that_are_shown_replay():
    case, oracle = told("cancellation", 1)
    found = A4(case).figures
    shown = found["furthest"]
    rows = np.array([one["pair"] for one in shown])
    assert case.test.effective[rows].all()
    wanted, before = case.test.expected[rows], case.test.base_answer[rows]

    def margin(logits: torch.Tensor) -> np.ndarray:
        return (logits.gather(1, torch.tensor(wanted)[:, None]) - logits.gather(1, torch.tensor(before)[:, None]))[
            :, 0
        ].numpy()  # fmt: skip

    start = margin(oracle.clean[case.test.base[rows]])
    patched = margin(oracle.patched(*oracle.maps)[rows])
    # All margins of clean runs are -1 or 1.
    assert [one["recovered"] for one in shown] == pytest.approx(((patched - start) / 2).tolist(), abs=1e-3)
    effective = np.nonzero(case.test.effective)[0]
    again = nearest_inputs(case.test, effective, seed=found["seed"])
    places = again.row[np.searchsorted(effective, rows)]
    assert [f"{int(i):016x}" for i in again.ids[places]] == [one["natural"] for one in shown]


def test_a_census_is_exact():
    _, _, claim = exact(3)
    found = A4(case_of(claim, census(claim.algorithm)))
    assert found.answer is Answer.SUPPORTED
    assert found.figures["upper"] == 0
    assert "complete domain" in found.sentence


class Louder(nn.Module):
    """The exact network whose site is read with a gain, so that a swap there moves margins by more than nature."""

    def __init__(self, inner: nn.Module, gain: float) -> None:
        super().__init__()
        self.inner, self.gain = inner, gain
        self.site = nn.Identity()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        copy = self.site((x[:, :1] == x[:, 1:2]).float())
        own = (x[:, :1] == x[:, 1:2]).float()
        # By nature copy and left are the same, and what is added is nothing.
        right = (x[:, 2:3] == x[:, 3:4]).float()
        left = own + self.gain * (copy - own)
        same = 1 - 2 * (left - right).abs()
        return torch.cat([torch.zeros_like(same), same], dim=1)


@pytest.mark.parametrize(
    ("gain", "answer"), [(1.0, Answer.SUPPORTED), (1.4, Answer.REFUTED), (0.7, Answer.REFUTED)]
)
def test_too_much_is_as_wrong_as_too_little(gain, answer):
    """Answers are right in all three, and the margin moves by gain times the natural gap."""
    algorithm = equality(6)
    network = Network(Louder(EQUALITY.exact_network().module, gain), encode=joined, answers=[False, True])
    claim = Alignment(algorithm, {algorithm["left"]: Coordinates(network.site("site"))[0]})
    case = case_of(claim, counterfactuals(algorithm, 400, swap=["left"], seed=0))
    assert case.evaluation.effective.rate == 1
    found = A4(case)
    assert found.answer is answer
    assert found.figures["median"] == pytest.approx(gain if gain <= 1 else 1.0, abs=0.5)


# What it cannot be asked


def test_a_custom_decode_has_no_logits_of_answers():
    algorithm = equality(6)
    module = EQUALITY.exact_network(algorithm).module
    network = Network(module, encode=joined, decode=lambda logits: (logits[:, 1] > logits[:, 0]).tolist())
    case = case_of(neurons(network, algorithm, left=[0], right=[1]), counterfactuals(algorithm, 300, seed=0))
    found = A4(case)
    assert (found.answer, found.sentence) == (Answer.VACUOUS, "margins were not compared")
    assert found.reason == "a custom decode= has no logit for each answer"


def test_without_an_answer_that_changes_there_is_no_margin():
    algorithm, _, claim = exact(6)
    pairs = counterfactuals(algorithm, 300, seed=0)
    found = A4(case_of(claim, pairs.subset(~pairs.effective)))
    assert (found.answer, found.reason) == (Answer.VACUOUS, "no answer has to change")


def test_without_natural_inputs_there_is_nothing_to_compare_with():
    algorithm, _, claim = exact(6)
    case = case_of(claim, counterfactuals(algorithm, 300, seed=0))
    every = algorithm.input_ids(algorithm.enumerate_inputs())
    seen = claim.with_maps(claim.featurizers, fitted_ids=every)
    found = A4(replace(case, alignment=seen))
    assert found.answer is Answer.VACUOUS
    assert found.reason == (
        "no effective pair has a natural input with the swapped values and the base's others"
    )


def test_too_many_pairs_left_out_make_it_vacuous_and_are_counted():
    """A network that is wrong on most inputs has no gap there."""
    case, _ = told("random network", 0)
    found = A4(case)
    assert found.answer is Answer.VACUOUS
    sets = found.figures["sets"]
    parts = [
        f"{name}: {one['small_gap'] + one['no_natural_input']} of {one['effective']} ({one['no_natural_input']} without"
        f" a natural input, {one['small_gap']} with too small a gap)"
        for name, one in sets.items()
    ]
    assert found.reason == "more than a fifth of the effective pairs had to be left out: " + "; ".join(parts)
    assert all(one["small_gap"] > 0.2 * one["effective"] for one in sets.values())


def test_one_set_that_cannot_be_tested_takes_success_away_and_not_failure(monkeypatch):
    from commutes.robustness import _a4_margin as module

    real = module.nearest_inputs

    def without_left(pairs, rows, **options):
        found = real(pairs, rows, **options)
        return replace(found, row=np.where(pairs.swapped("left")[rows], -1, found.row))

    monkeypatch.setattr(module, "nearest_inputs", without_left)
    right = A4(told("clean", 0)[0])
    assert right.answer is Answer.VACUOUS
    assert right.reason == (
        "more than a fifth of the effective pairs had to be left out: left: 160 of 160 (160 without a natural input, 0"
        " with too small a gap)"
    )
    assert A4(told("clean", 2)[0]).answer is Answer.REFUTED


def test_a_few_pairs_decide_nothing():
    algorithm = equality(8)
    claim = neurons(EQUALITY.exact_network(algorithm), algorithm, left=[0], right=[1])
    found = A4(case_of(claim, counterfactuals(algorithm, 40, seed=0)))
    assert found.answer is Answer.INCONCLUSIVE
    assert found.n_to_decide > 40
    more = A4(case_of(claim, counterfactuals(algorithm, 2 * found.n_to_decide, seed=0)))
    assert more.answer is Answer.SUPPORTED


def test_holm_asks_at_other_error_rates():
    found = A4(told("tilt", 2)[0])
    assert found.answer is Answer.REFUTED
    assert found.refuted_at(0.05)
    assert found.refuted_at(0.0001)
    lenient = A4(replace(told("tilt", 2)[0], thresholds=Thresholds(margin=0.9)))
    assert lenient.answer is Answer.SUPPORTED
    assert not lenient.refuted_at(0.05)


# Answers of several tokens


def test_natural_inputs_are_fed_the_tokens_that_the_bases_are_fed():
    """Margins by hand: sums of the logits of both tokens, behind the base's own first token in every run."""
    algorithm = cm.Algorithm("sum")
    a, b = algorithm.inputs("a b", domain=range(10))
    algorithm.add("left", a, f=lambda a: a % 5)
    algorithm.add("total", "left", b, f=lambda left, b: (3 * left + b) % 10, output=True)
    answers = {i: f"{i:02d}" for i in range(10)}
    network = Network(M.model("llama"), M.fitting_tokenizer("llama"), template=M.PROMPT, answers=answers)
    site = network.site("block_output", layer=1, position=["{a}", "last"])
    claim = Alignment(algorithm, {algorithm["left"]: Coordinates(site)[:32]})
    pairs = counterfactuals(algorithm, 60, seed=0)
    case = replace(told("clean", 0)[0], alignment=claim, test=pairs, bench=bench(claim, pairs))
    from commutes.robustness._a4_margin import _measured

    effective = np.nonzero(pairs.effective)[0]
    nearest = nearest_inputs(pairs, effective, seed=0)
    there = nearest.row >= 0
    rows, natural = effective[there], nearest.row[there]
    found = _measured(case, rows, nearest, natural)
    spelt = torch.from_numpy(network.spelling)
    own, other = (spelt[column[rows]] for column in (pairs.expected, pairs.base_answer))

    def margins(logits: torch.Tensor) -> np.ndarray:
        each = [logits.double().gather(2, which[:, :, None])[:, :, 0] for which in (own, other)]
        return (each[0] - each[1]).sum(dim=1).numpy()

    def run(kwargs: dict[str, torch.Tensor]) -> torch.Tensor:
        with torch.no_grad():
            return network.logits_of(network.module(**kwargs, **network.options))

    based = {k: v[pairs.base[rows]] for k, v in case.bench.prepared.inputs.kwargs.items()}
    encoded = {k: v[natural] for k, v in network.encode(algorithm.arrays(nearest.inputs)).kwargs.items()}
    assert not torch.equal(encoded["input_ids"][:, -1], based["input_ids"][:, -1])
    forced = {
        **encoded,
        "input_ids": torch.cat([encoded["input_ids"][:, :-1], based["input_ids"][:, -1:]], dim=1),
    }
    start = margins(run(based))
    np.testing.assert_allclose(found.gap, margins(run(forced)) - start, atol=1e-4)
    assert np.abs(margins(run(encoded)) - start - found.gap).max() > 1e-2
    patched = torch.cat(list(bench(claim, pairs).edited(claim.featurizers, rows=rows)))
    np.testing.assert_allclose(found.change, margins(patched) - start, atol=1e-4)


# Variants that would be wrong


@pytest.mark.parametrize(("name", "number"), [("cancellation", 1), ("tilt", 2)])
def test_the_mean_instead_of_the_share_outside_lets_a_cancellation_and_a_tilt_pass(name, number):
    """What shifts margins up as often as down is nothing in the mean."""
    case, _ = told(name, number)
    found = A4(case)
    assert LOW < found.figures["mean"] < HIGH
    assert found.answer is Answer.REFUTED


class Scaled(nn.Module):
    """Equal to the exact network in all answers; with right it is three times as sure of them."""

    def __init__(self) -> None:
        super().__init__()
        self.site = nn.Identity()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        bits = self.site(torch.stack([x[:, 0] == x[:, 1], x[:, 2] == x[:, 3]], dim=1).float())
        same = (1 - 2 * (bits[:, 0] - bits[:, 1]).abs()) * (1 + 2 * bits[:, 1])
        return torch.stack([torch.zeros_like(same), same], dim=1)


def test_natural_inputs_that_are_not_controlled_would_refute_the_truth(monkeypatch):
    """The margin depends on what is not swapped: only an input in which that is as in the base says what to reach."""
    algorithm = equality(6)
    network = Network(Scaled(), encode=joined, answers=[False, True])
    claim = neurons(network, algorithm, "site", left=[0], right=[1])
    case = case_of(claim, counterfactuals(algorithm, 600, seed=0))
    assert A4(case).answer is Answer.SUPPORTED
    assert A4(case).figures["median"] == pytest.approx(1)
    from commutes.robustness import _a4_margin as module

    real = module.nearest_inputs

    def any_with_the_answer(pairs, rows, **options):
        found = real(pairs, rows, **options)
        answers = pairs.algorithm.run(found.inputs)[pairs.algorithm.output_variable.name]
        rng = np.random.default_rng(0)
        drawn = [rng.choice(np.nonzero(answers == pairs.expected[row])[0]) for row in rows]
        return replace(found, row=np.array(drawn))

    monkeypatch.setattr(module, "nearest_inputs", any_with_the_answer)
    assert A4(case).answer is Answer.REFUTED


def test_all_sets_together_would_hide_a_variable_that_is_not_recovered(monkeypatch):
    """Of ten variables one may be moved too little in every pair, and nine out of ten pairs are recovered."""
    case, _ = told("inert copy", 1)
    found = A4(case)
    hits, n = outside(found)
    assert hits / n == 0.5
    assert found.figures["worst"] == "left"
    loose = replace(case, thresholds=Thresholds(margin=0.6))
    assert A4(loose).answer is Answer.REFUTED

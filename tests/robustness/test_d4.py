"""D4: after something upstream was taken from another input, the network follows its variables or does not."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from commutes import Algorithm, Alignment, Coordinates, Network, Rotation, counterfactuals
from commutes.algorithm import Space
from commutes.features import Dictionary
from commutes.robustness import CHECKS
from commutes.robustness import _d4_agreement as module
from commutes.robustness._perturbed import perturbed, unperturbed
from commutes.robustness._upstream import upstream
from commutes.stats import Answer, gate, rate
from commutes.testing.zoo import compiled
from tests.network.transformers import models
from tests.planted import equality, exact, joined, neurons, planted
from tests.testing.zoo.oracles import Bench, agreement

from .cases import case_of
from .zoo_cases import answered, claims, found, member, told, told_case

D4 = CHECKS["D4"]


@claims("D4")
def test_told_claims_are_answered_as_told(name, seed, number):
    assert answered("D4", name, seed, number).answer is told(name, seed, number).ideal["D4"]


@pytest.mark.parametrize(
    ("name", "claim"),
    [
        ("clean", "true"),
        ("inert copy", "copy"),
        ("illusion", "copy and dormant direction"),
        ("many values in one number", "true"),
    ],
)
def test_the_rate_is_near_that_of_an_oracle(name, claim):
    """Other draws, and over all runs in which any variable moves."""
    case, one = told_case(name, claim), next(t for t in member(name, 1).claims if t.name == claim)
    place = upstream(case)
    runs = perturbed(case, place, unperturbed(case, place))
    rows = runs.near & np.any(list(runs.moved.values()), axis=0)
    by_hand = agreement(Bench(member(name, 1), one, case.test), seed=0)
    assert runs.agrees[rows].mean() == pytest.approx(by_hand, abs=0.06)


def test_runs_are_those_of_the_network_by_hand():
    """Units of the layer below the site, state and answer, pair by pair; and a clean run is one."""
    case = told_case("clean", "true")
    place, layers = upstream(case), case.alignment.network.module.layers
    assert (str(place.site), place.units) == ("layers.1", 13)
    base, source = np.arange(40), np.arange(40) + 100
    units = torch.from_numpy(np.random.default_rng(0).random((40, 13)) < 0.5)
    x = joined_inputs(case)
    with torch.no_grad():
        below = layers[1](layers[0](x))
        mixed = torch.where(units, below[source], below[base])
        state = layers[2](mixed)
        logits = case.alignment.network.module.head(layers[5](layers[4](layers[3](state))))
    (run,) = place.runs(base, source, units)
    assert torch.allclose(run.states[case.alignment.sites[0]][:, 0], state, atol=1e-6)
    assert torch.allclose(run.logits, logits, atol=1e-5)
    (clean,) = place.runs(base, source, None)
    with torch.no_grad():
        assert torch.allclose(clean.logits, case.alignment.network.module(x[:40]), atol=1e-5)


def joined_inputs(case):
    return case.alignment.network.encode(case.test.algorithm.arrays(case.test.inputs)).args[0]


def test_the_sentence_and_the_figures_of_an_illusion():
    one = found("illusion", "copy and dormant direction", "D4")
    left, right = one.figures["variables"]["left"], one.figures["variables"]["right"]
    assert one.sentence.startswith(
        "where left says something else under perturbation the network follows in .6"
    )
    assert one.sentence.endswith(
        ", the worst of 2 variables; at least .900 of the clean 1.000 is asked for; .000 of perturbed states say"
        " nothing and are left out"
    )
    assert right["agreement"]["rate"] > left["agreement"]["rate"]
    assert left["agreement"]["n"] == left["left"] == left["moved"]
    assert one.figures["perturbed"] == {"place": "layers.1", "units": 13, "runs": 3840}
    assert one.figures["reads"] == {"left": 1.0, "right": 1.0}
    assert len(left["missed"]) == 10
    assert one.refuted_at(0.001)
    case = told_case("illusion", "copy and dormant direction")
    again = D4(replace(case))
    assert again.figures == one.figures


# Where it has no power.


def test_variables_that_leave_the_answer_open_are_vacuous():
    one = found("clean", "left alone", "D4")
    assert (one.sentence, one.reason) == (
        "nothing was perturbed",
        "y -> right -> same passes no aligned variable, so that they do not decide the answer: align right",
    )


def test_where_the_network_uses_a_copy_as_well_it_is_vacuous():
    one = found("redundant", "one of two", "D4")
    assert one.answer is Answer.VACUOUS
    assert one.reason == found("redundant", "one of two", "C7").sentence


def test_what_cannot_be_decoded_is_vacuous():
    one = found("clean", "crossed", "D4")
    assert one.sentence == "a variable cannot be decoded"
    assert one.reason.endswith(" of clean states, below .900")
    numbers = Space("numbers", draw=lambda rng, n: rng.random(n), contains=lambda value: True)
    algorithm = Algorithm("above")
    algorithm.inputs("a b", domain=range(5))
    algorithm.add("total", "a", "b", f=lambda a, b: float(a + b), domain=numbers)
    algorithm.add("above", "total", f=lambda total: total > 4.5, domain=bool, output=True)
    network = Network(nn.Linear(2, 2), encode=lambda v: torch.zeros(len(v["a"]), 2), answers=[False, True])
    claim = Alignment(algorithm, {algorithm["total"]: Coordinates(network.site(""))[0]})
    case = case_of(claim, counterfactuals(algorithm, 60, seed=0))
    assert D4(case).reason == "total has no finite list of values to decode"


class Looked(nn.Module):
    """left and right straight from a table: nothing before them holds numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(4, 2)
        with torch.no_grad():
            self.table.weight.copy_(torch.tensor([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]]))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = self.table(x)
        apart = (h[:, :1] - h[:, 1:]).abs()
        return torch.cat([apart, 1 - apart], dim=1)


def test_inputs_that_are_no_numbers_cannot_be_taken():
    algorithm = equality(5)
    network = Network(
        Looked(),
        encode=lambda v: torch.from_numpy(2 * (v["w"] == v["x"]) + (v["y"] == v["z"])).long(),
        answers=[False, True],
    )
    x = Coordinates(network.site("table"))
    claim = Alignment(algorithm, {algorithm["left"]: x[:1], algorithm["right"]: x[1:2]})
    one = D4(case_of(claim, counterfactuals(algorithm, 400, seed=0)))
    assert (one.answer, one.reason) == (
        Answer.VACUOUS,
        "what comes before table cannot be taken from another input: the site holds no activations, int64 tensor (1,)",
    )


def test_too_small_a_share_of_states_that_say_anything_is_vacuous():
    case = told_case("clean", "true")
    place = upstream(case)
    runs = perturbed(case, place, unperturbed(case, place))
    moved = np.nonzero(runs.moved["left"])[0]
    near = runs.near.copy()
    near[moved[len(moved) // 25 :]] = False
    one = module._outcome(case, replace(runs, near=near), 0)
    assert (one.answer, one.reason) == (
        Answer.VACUOUS,
        f"of {len(moved):,} states in which left says something else {len(moved) // 25} are as near to a value as clean"
        " states are, less than .050",
    )
    nothing = module._outcome(case, replace(runs, near=np.zeros(len(near), bool)), 0)
    assert (nothing.answer, nothing.sentence) == (Answer.VACUOUS, "no variable is moved")
    still = {"left": np.zeros(len(near), bool), "right": runs.moved["right"]}
    one = module._outcome(case, replace(runs, moved=still), 0)
    assert (one.answer, one.reason) == (Answer.VACUOUS, "left never says something else under perturbation")


class OneUnit(nn.Module):
    """The site has left twice, both from one unit: nothing takes the two apart."""

    def __init__(self) -> None:
        super().__init__()
        self.below, self.site = nn.Identity(), nn.Linear(2, 3, bias=False)
        with torch.no_grad():
            self.site.weight.copy_(torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0]]))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        equal = torch.stack([x[:, 0] == x[:, 1], x[:, 2] == x[:, 3]], dim=1).float()
        h = self.site(self.below(equal))
        apart = (h[:, :1] - h[:, 1:2]).abs()
        return torch.cat([apart, 1 - apart], dim=1)


@pytest.mark.parametrize("place", [0, 2])
def test_a_copy_that_nothing_takes_apart_leaves_it_without_power(place):
    algorithm = equality(5)
    network = Network(OneUnit(), encode=joined, answers=[False, True])
    claim = neurons(network, algorithm, "site", left=[place], right=[1])
    one = D4(case_of(claim, counterfactuals(algorithm, 600, seed=0)))
    assert (one.answer, one.figures["variables"]["left"]["agreement"]["rate"]) == (Answer.VACUOUS, 1.0)
    assert one.reason == "what lies outside says the same of left in 1.000: nothing takes the two apart"


class Late(nn.Module):
    """left is read from the first block; the second hands it on, and nothing reads it there."""

    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.ModuleList([nn.Identity(), nn.Linear(2, 3, bias=False)])
        with torch.no_grad():
            self.blocks[1].weight.copy_(torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, -1.0]]))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        equal = torch.stack([x[:, 0] == x[:, 1], x[:, 2] == x[:, 3]], dim=1).float()
        apart = self.blocks[1](self.blocks[0](equal))[:, 2:].abs()
        return torch.cat([apart, 1 - apart], dim=1)


def test_what_was_read_before_the_site_is_no_support():
    algorithm = equality(5)
    network = Network(Late(), encode=joined, answers=[False, True], blocks="blocks")
    claim = neurons(network, algorithm, "blocks.1", left=[0], right=[1])
    one = D4(case_of(claim, counterfactuals(algorithm, 600, seed=0)))
    assert (one.answer, one.figures["variables"]["left"]["agreement"]["rate"]) == (Answer.VACUOUS, 1.0)
    assert one.reason.startswith("swaps of left alone give the expected answer in .000 [.000, .")
    assert one.reason.endswith(" of effective pairs: what the network follows is read before, or elsewhere")


def test_a_variable_that_seldom_matters_has_no_power():
    """What the clean answer agrees with as often is no agreement."""
    case = told_case("clean", "true")
    place = upstream(case)
    runs = perturbed(case, place, unperturbed(case, place))
    idle = replace(runs, stays=np.ones(len(runs.base), bool))
    assert module._outcome(case, idle, 0).reason == (
        "where left says something else the clean answer would be right in 1.000, too"
    )


def test_a_failure_is_not_held_against_a_claim_while_it_is_open_whether_there_is_a_copy():
    algorithm, network, _ = exact(5)
    latents = Dictionary(network.site("layers.1"), Same())
    claim = Alignment(algorithm, {algorithm["left"]: latents[0], algorithm["right"]: latents[1]})
    case = case_of(claim, counterfactuals(algorithm, 600, seed=0))
    place = upstream(case)
    runs = perturbed(case, place, unperturbed(case, place))
    wrong = module._outcome(case, replace(runs, agrees=~runs.agrees), 0)
    assert (wrong.answer, wrong.reason) == (
        Answer.VACUOUS,
        "whether a variable is used elsewhere as well is not known: what carries no variable is not known: a Latents, "
        "which has no complement; what carries no variable is not known: a Latents, which has no complement",
    )


class Same(nn.Module):
    def encode(self, state: torch.Tensor) -> torch.Tensor:
        return state

    def decode(self, latents: torch.Tensor) -> torch.Tensor:
        return latents


def test_a_few_runs_leave_it_open():
    case = told_case("clean", "true")
    few = case_of(case.alignment, case.test.subset(np.arange(8)), train=case.train)
    one = D4(few)
    assert (one.answer, one.reason) == (Answer.INCONCLUSIVE, None)
    assert one.n_to_decide > 8


# Wrong variants.


def runs_of(name: str, claim: str):
    case = told_case(name, claim)
    place = upstream(case)
    return perturbed(case, place, unperturbed(case, place))


def test_all_runs_instead_of_those_in_which_a_variable_moves_let_an_inert_copy_pass():
    """Where few units are taken nothing moves, and what does not move agrees."""
    runs = runs_of("inert copy", "copy")
    spared = runs.moved["left"] & (np.arange(len(runs.base)) % 4 > 0)
    everything = rate(runs.agrees[~spared], runs.members[~spared])
    assert gate(everything, 0.8) is Answer.SUPPORTED
    rows = runs.rows("left")
    assert gate(rate(runs.agrees[rows], runs.members[rows]), 0.8) is Answer.REFUTED


def test_states_that_say_nothing_would_refute_the_truth_about_many_values():
    runs = runs_of("many values", "one direction per value")
    rows = runs.moved["first"]
    assert gate(rate(runs.agrees[rows], runs.members[rows]), 0.9) is Answer.REFUTED
    assert found("many values", "one direction per value", "D4").answer is Answer.SUPPORTED


def test_without_a_look_at_redundancy_one_of_two_copies_would_be_refuted():
    """It is right as far as it goes, and the other copy answers for it."""
    runs = runs_of("redundant", "one of two")
    rows = runs.rows("left")
    assert gate(rate(runs.agrees[rows], runs.members[rows]), 0.9) is Answer.REFUTED
    assert found("redundant", "one of two", "D4").answer is Answer.VACUOUS


# Other networks.


def test_a_compiled_program_follows_its_variables():
    program = compiled("histogram", seed=1, length=3, symbols=2)
    one = program.claims[0]
    report = D4(case_of(one.alignment, program.pairs(one, 400, seed=0)))
    assert report.answer is Answer.SUPPORTED
    assert report.figures["variables"]["count_0"]["agreement"]["method"] == "disjoint"


@pytest.mark.parametrize("layer", [0, 1])
@pytest.mark.parametrize("family", ["gpt2", "llama", "bert"])
def test_a_language_model_is_perturbed_at_the_positions(family, layer):
    network = models.network(family)
    algorithm = Algorithm("sum")
    algorithm.inputs("a b", domain=range(10))
    algorithm.add("low", "b", f=lambda b: b % 2, domain=range(2))
    algorithm.add("high", "a", f=lambda a: a % 3, domain=range(3))
    algorithm.add("sum", "high", "low", f=lambda high, low: high + low, domain=range(10), output=True)
    x = Coordinates(network.site("block_output", layer=layer, position="{b}"))
    claim = Alignment(algorithm, {algorithm["low"]: x[:6], algorithm["high"]: x[6:12]})
    case = case_of(claim, counterfactuals(algorithm, 60, seed=1))
    place = upstream(case)
    assert place.units == 16
    above = network.site("block_output", layer=0, position="{b}") if layer else None
    assert above is None or str(place.site) == str(above)
    found_ = D4(case)
    assert found_.answer is Answer.VACUOUS
    assert found_.reason.endswith(" of clean states, below .900")


def test_a_rotated_site_of_a_network_without_blocks_is_perturbed_at_its_module():
    case = planted(8)
    one = case_of(case.told(), case.parts[2], train=case.parts[0])
    place = upstream(one)
    assert str(place.site) == "site.input"
    assert isinstance(case.claim.groups[0].features, Rotation)
    assert D4(one).answer is Answer.SUPPORTED

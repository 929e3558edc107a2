"""C7: other places that keep a variable, and whether the network uses them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from commutes import Algorithm, Alignment, Coordinates, Network, counterfactuals
from commutes.robustness import CHECKS
from commutes.robustness._c7_redundancy import copies, redundant
from commutes.robustness._decoding import decoder
from commutes.robustness._elsewhere import Within, best_part, outside
from commutes.robustness._upstream import parallel
from commutes.stats import Answer
from commutes.testing.zoo import compiled
from tests.network.transformers import models
from tests.planted import equality, joined
from tests.testing.zoo.oracles import Bench, used_twice

from .cases import case_of
from .zoo_cases import answered, claims, found, member, told, told_case

C7 = CHECKS["C7"]


@claims("C7")
def test_told_claims_are_answered_as_told(name, seed, number):
    assert answered("C7", name, seed, number).answer is told(name, seed, number).ideal["C7"]


@pytest.mark.parametrize(
    ("name", "claim"),
    [("redundant", "one of two"), ("redundant", "true"), ("gate", "behind the gate"), ("illusion", "true"),
     ("inert copy", "copy"), ("backup", "true")],
)  # fmt: skip
def test_it_is_what_an_oracle_finds(name, claim):
    case, one = told_case(name, claim), next(t for t in member(name, 1).claims if t.name == claim)
    by_hand = Bench(member(name, 1), one, case.test)
    assert (found(name, claim, "C7").answer is Answer.REFUTED) == used_twice(by_hand, "left")


def test_the_sentence_and_the_figures_of_one_of_two_copies():
    one = found("redundant", "one of two", "C7")
    whole, part = one.figures["places"]
    assert (whole["place"], part["place"]) == (
        "what lies outside at layers.2", "1 direction of what lies outside at layers.2",
    )  # fmt: skip
    case = told_case("redundant", "one of two")
    rows = case.rows("left")[case.test.effective[case.rows("left")]]
    assert whole["claimed"]["hits"] == int(case.evaluation.hits[rows].sum())
    # The copy is one direction, and all of what lies outside that matters.
    assert (whole["other"]["hits"], whole["both"]["rate"]) == (part["other"]["hits"], part["both"]["rate"])
    assert whole["both"]["rate"] == 1.0
    assert whole["other"]["rate"] == whole["claimed"]["rate"] < 0.6
    assert whole["only_both"]["hits"] + whole["claimed"]["hits"] == len(rows)
    share = f".{round(1000 * whole['claimed']['rate'])}"
    assert one.sentence.startswith(
        "left reads in 1.000 [.997, 1.000], n = 1,280 of inputs from what lies outside at layers.2 as well; swapped"
        f" alone that gives the expected answer in {share} ["
    )
    assert one.sentence.endswith(
        f"of effective pairs, the claimed coordinates alone in {share}, both in 1.000"
    )
    assert one.refuted_at is None


def test_what_reads_nowhere_else_is_said_with_the_most_that_it_does():
    one = found("clean", "true", "C7")
    assert one.sentence.startswith("no other place keeps a variable: at most ")
    assert one.sentence.endswith(", below .900")
    assert found("inert copy", "true", "C7").sentence == (
        "left also reads from what lies outside at layers.2 and 1 direction of what lies outside at layers.2; the"
        " network does not use both that and what is claimed"
    )


def test_it_is_looked_for_once():
    case = replace(told_case("redundant", "one of two"))
    first, again = C7(case), C7(case)
    assert first.figures == again.figures
    assert (first.forward_passes > 0, again.forward_passes) == (True, 0)
    assert copies(case) is copies(case)
    used, open_ = redundant(case)
    assert ([copy.variable for copy in used], open_) == (["left", "left"], [])


def test_a_few_pairs_leave_it_open():
    case = told_case("redundant", "one of two")
    rows = np.concatenate([np.nonzero(case.test.effective & (case.test.swap == i))[0][:1] for i in (0, 1)])
    few = replace(case_of(case.alignment, case.test.subset(rows), train=case.train), seed=1)
    assert C7(few).answer is Answer.INCONCLUSIVE


def test_where_there_is_no_other_place_it_is_vacuous():
    one = found("clean", "all but right", "C7")
    assert (one.answer, one.reason) == (Answer.VACUOUS, "there is no other place to look at")


def test_a_variable_that_cannot_be_looked_for_is_named():
    case = told_case("clean", "true")
    only = case.test.subset(case.test.swap == 0)
    assert C7(case_of(case.alignment, only)).reason == "no effective pair swaps right alone"


# Directions.


def test_swapping_directions_moves_a_state_along_the_means_and_along_nothing_else():
    rng = np.random.default_rng(0)
    codes = np.arange(300) % 3
    signal = torch.from_numpy(rng.normal(size=(3, 6)))
    x = signal[codes] + torch.from_numpy(rng.normal(size=(300, 6)) @ np.diag([3, 1, 1, 1, 0.1, 0.1]))
    case = told_case("redundant", "one of two")
    place = replace(outside(case)[case.alignment.sites[0]], size=6)
    part = best_part(place, decoder(x, codes), 4)
    assert isinstance(part.map, Within)
    # Three values differ in two directions, whatever is asked for.
    assert part.size == 2
    assert torch.allclose(part.map.reader.T @ part.map.writer, torch.eye(2), atol=1e-5)
    means = decoder(x, codes).means
    move = (means[1] - means[0]).float()
    assert torch.allclose(move @ part.map.reader @ part.map.writer.T, move, atol=1e-4)
    assert part.words == "2 directions of what lies outside at layers.2"
    assert best_part(replace(place, size=2), decoder(x[:, :2], codes), 4) is None


# Blocks beside a site.


class Towers(nn.Module):
    """Two modules that both compare w with x, each called with the input; left is either of them, or one of them."""

    def __init__(self, *, either: bool) -> None:
        super().__init__()
        self.first, self.second, self.last = Equal(), Equal(), nn.Identity()
        self.either = either

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        one, other = self.first(x), self.second(x)
        left = (one + other).clamp(max=1) if self.either else one
        right = (x[:, 2:3] == x[:, 3:4]).float()
        apart = self.last((left[:, :1] - right).abs())
        return torch.cat([apart, 1 - apart], dim=1)


class Equal(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.cat([(x[:, :1] == x[:, 1:2]).float(), x[:, 2:3] / 9], dim=1)


@pytest.mark.parametrize("either", [True, False])
def test_a_block_beside_the_site_counts_and_one_behind_it_does_not(either):
    algorithm = equality(6)
    network = Network(
        Towers(either=either), encode=joined, answers=[False, True], blocks=["first", "second", "last"]
    )
    claim = Alignment(algorithm, {algorithm["left"]: Coordinates(network.site("first"))[0]})
    case = case_of(claim, counterfactuals(algorithm, 600, swap=["left"], flip=["left"], seed=0))
    assert parallel(case) == ["second"]
    one = C7(case)
    assert one.answer is (Answer.REFUTED if either else Answer.SUPPORTED)
    places = {place["place"]: place for place in one.figures["places"]}
    assert list(places) == ["the output of second", "1 direction of the output of second"]
    assert places["the output of second"]["both"]["rate"] == 1.0


# A wrong variant.


def test_reading_alone_would_call_an_unread_copy_redundant():
    """And with it every check that asks for power would be silent about the truth beside it."""
    one = found("inert copy", "true", "C7")
    assert max(place["reads"]["rate"] for place in one.figures["places"]) == 1.0
    assert max(place["other"]["rate"] for place in one.figures["places"]) == 0.0
    assert one.answer is Answer.SUPPORTED


# Other networks.


def test_of_a_compiled_program():
    program = compiled("histogram", seed=1, length=3, symbols=2)
    one = program.claims[0]
    assert C7(case_of(one.alignment, program.pairs(one, 400, seed=0))).answer is Answer.SUPPORTED


def test_of_a_language_model():
    network = models.network("llama")
    algorithm = Algorithm("sum")
    algorithm.inputs("a b", domain=range(10))
    algorithm.add("low", "b", f=lambda b: b % 2, domain=range(2))
    algorithm.add("sum", "a", "low", f=lambda a, low: (a + low) % 10, domain=range(10), output=True)
    x = Coordinates(network.site("block_output", layer=1, position="{b}"))
    claim = Alignment(algorithm, {algorithm["low"]: x[:4]})
    case = case_of(claim, counterfactuals(algorithm, 400, flip=["low"], seed=1))
    assert parallel(case) == []
    one = C7(case)
    assert one.answer is not Answer.REFUTED
    assert 0 < one.figures["reads_at_most"]["low"]["rate"] <= 1

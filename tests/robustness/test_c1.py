"""C1: cause and isolation, by an oracle; what cannot be asked; variants that would be wrong."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

import commutes as cm
from commutes import Alignment, Coordinates, Network, census, counterfactuals
from commutes.robustness import CHECKS, Thresholds
from commutes.stats import Answer
from tests.planted import EQUALITY, equality, exact, neurons
from tests.testing.zoo.oracles import Bench, cause_and_isolation

from .cases import case_of, measured
from .test_decoys import inert
from .zoo_cases import answered, claims, member, told, told_case, zoo_case

C1 = CHECKS["C1"]


@claims("C1")
def test_every_member_of_the_zoo_is_judged_as_told(name, seed, number):
    found, ideal = answered("C1", name, seed, number), told(name, seed, number).ideal["C1"]
    assert found.answer is ideal
    by_hand = cause_and_isolation(
        Bench(member(name, seed), told(name, seed, number), zoo_case(name, seed, number).test)
    )
    rates = found.figures["rates"]
    for variable, (cause, isolation) in by_hand.items():
        assert rates[f"{variable} · cause"]["rate"] == cause
        assert rates[f"{variable} · isolation"]["rate"] == isolation
    assert (min(min(pair) for pair in by_hand.values()) == 1) is (ideal is Answer.SUPPORTED)


def test_the_sentence_has_the_figures():
    found = C1(told_case("inert copy", "copy"))
    assert found.sentence == (
        "smallest of 4 rates (left · cause .000, left · isolation 1.000, right · cause 1.000, right · isolation 1.000)"
        " is left · cause: .000 [.000, .023], n = 160; bounds [.000, .027], target .900"
    )
    assert found.refuted_at(0.05)
    assert found.forward_passes == 0


def test_a_census_is_exact():
    _, _, claim = exact(3)
    found = C1(case_of(claim, census(claim.algorithm)))
    assert (found.answer, found.figures["lower"]) == (Answer.SUPPORTED, 1.0)
    assert "complete domain" in found.sentence


def test_a_few_pairs_decide_nothing_and_the_number_that_would_does():
    algorithm = equality(10)
    claim = neurons(EQUALITY.exact_network(algorithm), algorithm, left=[0], right=[1])

    def check(n):
        (test,) = counterfactuals(algorithm, n, seed=1).split(test=1.0)
        return C1(replace(case_of(claim, test), thresholds=Thresholds(target=0.95)))

    found = check(160)
    assert found.answer is Answer.INCONCLUSIVE
    assert found.n_to_decide > 160
    assert check(2 * found.n_to_decide).answer is Answer.SUPPORTED


def test_a_variable_without_pairs_that_must_change_or_stay_is_named():
    algorithm, _, claim = exact(6)
    pairs = counterfactuals(algorithm, 640, seed=0)
    for kept, what in ((pairs.effective, "stay"), (~pairs.effective, "change")):
        found = C1(case_of(claim, pairs.subset(kept | pairs.swapped("right"))))
        assert found.answer is Answer.VACUOUS
        assert found.reason == f"there is no pair of left in which the answer must {what}"
        assert found.figures["worst"].endswith(("cause", "isolation"))
    # What fails elsewhere fails all the same.
    crossed = neurons(claim.network, algorithm, left=[1], right=[0])
    found = C1(case_of(crossed, pairs.subset(pairs.effective | pairs.swapped("right"))))
    assert (found.answer, found.reason) == (Answer.REFUTED, None)


def test_a_variable_that_is_never_swapped_alone_is_named():
    algorithm, _, claim = exact(6)
    pairs = counterfactuals(algorithm, 300, swap=[{"left", "right"}], seed=0)
    found = C1(case_of(claim, pairs))
    assert (found.answer, found.sentence) == (Answer.VACUOUS, "cause and isolation were not told apart")
    assert found.reason == "left is never swapped alone; right is never swapped alone"


def test_numbers_have_no_cause_and_isolation():
    algorithm = cm.Algorithm("a sum")
    algorithm.inputs("a b", domain=range(5))
    algorithm.add("twice", "a", f=lambda a: 2 * a, domain=range(9))
    algorithm.add(
        "total", "twice", "b", f=lambda twice, b: float(twice + b), output=True,
        domain=cm.algorithm.reals(-20.0, 20.0, tolerance=0.1),
    )  # fmt: skip
    network = Network(
        nn.Linear(2, 1), encode=lambda v: torch.zeros(len(v["a"]), 2), decode=lambda x: x[:, 0].tolist()
    )
    claim = Alignment(algorithm, {algorithm["twice"]: Coordinates(network.site("", side="input"))[0]})
    found = C1(case_of(claim, counterfactuals(algorithm, 100, seed=0)))
    assert found.answer is Answer.VACUOUS
    assert found.reason == "the output is a number: agreement within a tolerance is no IIA"


# Several questions about one thing


class Asked(nn.Module):
    """A thing has a colour and a size, each in a neuron of its own; the question chooses between them."""

    def __init__(self) -> None:
        super().__init__()
        self.thing = nn.Identity()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        known = self.thing(torch.stack([x[:, 0] // 4, x[:, 0] % 4], dim=1))
        said = torch.where(x[:, 1] == 0, known[:, 0], known[:, 1])
        return -(said[:, None] - torch.arange(4.0)).abs()


def asked() -> tuple[cm.Algorithm, Network]:
    algorithm = cm.Algorithm("colour and size")
    algorithm.input("thing", domain=range(16))
    algorithm.input("question", domain=["colour", "size"])
    algorithm.add("colour", "thing", f=lambda thing: thing // 4, domain=range(4))
    algorithm.add("size", "thing", f=lambda thing: thing % 4, domain=range(4))
    algorithm.add(
        "answer", "colour", "size", "question", output=True, domain=range(4),
        f=lambda colour, size, question: colour if question == "colour" else size,
    )  # fmt: skip

    def encode(values):
        size = (values["question"] == "size").astype(np.float32)
        return torch.from_numpy(np.stack([values["thing"].astype(np.float32), size], axis=1))

    return algorithm, Network(Asked(), encode=encode, answers=range(4))


def test_swapping_the_whole_thing_has_all_the_cause_and_no_isolation():
    """Cause alone would let it pass: whatever is asked becomes the source's."""
    algorithm, network = asked()
    x = Coordinates(network.site("thing"))
    pairs = census(algorithm, swap=[{"colour"}])
    right = C1(case_of(Alignment(algorithm, {algorithm["colour"]: x[0]}), pairs))
    assert right.answer is Answer.SUPPORTED
    whole = C1(case_of(Alignment(algorithm, {algorithm["colour"]: x[:2]}), pairs))
    rates = whole.figures["rates"]
    assert rates["colour · cause"]["rate"] == 1
    assert rates["colour · isolation"]["rate"] < 0.6
    assert whole.answer is Answer.REFUTED


# Variants that would be wrong


def test_the_mean_over_all_pairs_lets_an_unread_copy_pass():
    """Two of thirty numbers are seldom equal, so that the answer hardly ever has to change."""
    claim = inert(30)
    case = case_of(claim, counterfactuals(claim.algorithm, 800, swap=["left"], distribution="inputs", seed=0))
    (mean, *_) = case.evaluation.natural["left"]
    assert mean > case.thresholds.target
    found = C1(case)
    assert found.answer is Answer.REFUTED
    assert found.figures["worst"] == "left · cause"


def test_the_mean_over_variables_lets_one_that_fails_pass():
    case = told_case("clean", "true")
    pairs = case.test
    few = np.nonzero(pairs.swapped("left") & pairs.effective)[0][:50]
    hits = np.ones(len(pairs), bool)
    hits[few] = False
    spoilt = measured(case, hits=hits)
    assert hits.mean() > case.thresholds.target
    assert C1(spoilt).answer is Answer.REFUTED


@pytest.mark.parametrize(
    ("misses", "answer"), [(0, Answer.SUPPORTED), (10, Answer.INCONCLUSIVE), (40, Answer.REFUTED)]
)
def test_the_gate_is_on_the_bounds_of_the_smallest(misses, answer):
    case = told_case("clean", "true")
    rows = np.nonzero(case.test.swapped("right") & ~case.test.effective)[0]
    hits = np.ones(len(case.test), bool)
    hits[rows[:misses]] = False
    found = C1(measured(case, hits=hits))
    assert found.answer is answer
    assert found.refuted_at(0.05) is (answer is Answer.REFUTED)
    assert (found.n_to_decide is not None) is (answer is Answer.INCONCLUSIVE)

"""C8: randomised variables, by an oracle; what has no power; variants that would be wrong."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

import commutes as cm
from commutes import Alignment, Coordinates, Network, census, counterfactuals
from commutes.robustness import CHECKS, Thresholds
from commutes.robustness import _c8_necessity as module
from commutes.stats import Answer, Interval, Rate, gate
from tests.planted import EQUALITY, equality, exact, joined, neurons
from tests.testing.zoo.oracles import Bench, randomised

from .cases import case_of
from .zoo_cases import answered, claims, found, member, told, told_case, zoo_case

C8 = CHECKS["C8"]


@claims("C8")
def test_every_member_of_the_zoo_is_judged_as_told(name, seed, number):
    one, ideal = answered("C8", name, seed, number), told(name, seed, number).ideal["C8"]
    assert one.answer is ideal
    oracle = Bench(member(name, seed), told(name, seed, number), zoo_case(name, seed, number).test)
    by_hand = {v: randomised(oracle, v, seed=3) for v in one.figures["variables"]}
    for variable, (kept, lost) in by_hand.items():
        figures = one.figures["variables"][variable]
        stays = figures["algorithm"]
        assert figures["kept_too_often"]["rate"] / (1 - stays) == pytest.approx(kept, abs=0.15)
        assert figures["lost_too_often"]["rate"] / stays == pytest.approx(lost, abs=0.15)
    assert (max(max(pair) for pair in by_hand.values()) == 0) is (ideal is Answer.SUPPORTED)


def test_the_sentence_has_the_figures():
    case = told_case("inert copy", "copy")
    one = C8(case)
    figures = one.figures["variables"]["left"]
    worst = Rate.from_dict(figures["kept_too_often"])
    assert one.sentence == (
        "with left randomised the algorithm keeps .509 of its answers, the network 1.000, with as many random"
        f" coordinates 1.000; largest of 4 shares is left · kept too often: {worst}, upper bound .524, below .100 is"
        " asked for"
    )
    assert (figures["algorithm"], figures["network"], figures["n"]) == (1 - worst.rate, 1.0, 640)
    assert figures["difference"]["value"] == pytest.approx(worst.rate)
    assert one.forward_passes == 2 * 2 * 640
    assert one.refuted_at(0.01)
    assert not C8(told_case("clean", "true")).refuted_at(0.05)


def test_donors_are_inputs_of_the_test_part_that_have_nothing_to_do_with_the_base():
    case = told_case("clean", "true")
    left, right = case.alignment.variables
    rows, donors = module._donors(case, left)
    test = case.test
    assert sorted(donors.tolist()) == sorted(test.source[rows, 0].tolist())
    assert len(rows) == len(np.unique(test.base))
    assert (donors == test.source[rows, 0]).mean() < 0.05
    assert not np.array_equal(donors, module._donors(case, right)[1])
    assert np.array_equal(donors, module._donors(case, left)[1])
    # In the pairs themselves the sources are chosen for what they change.
    same = test.columns["left"][test.base[rows]] == test.columns["left"][donors]
    assert 0.4 < same.mean() < 0.6


def test_the_algorithm_and_the_network_are_given_the_same_draws():
    """A network that is the algorithm agrees on every pair, whatever is drawn."""
    for seed in (1, 2):
        one = C8(replace(told_case("clean", "true"), seed=seed))
        for figures in one.figures["variables"].values():
            assert figures["difference"]["value"] == 0
            assert figures["kept_too_often"]["hits"] == figures["lost_too_often"]["hits"] == 0


def test_in_a_complete_domain_every_input_is_the_donor_of_every_other():
    algorithm, _, claim = exact(3)
    one = C8(case_of(claim, census(algorithm)))
    assert one.answer is Answer.SUPPORTED
    left = one.figures["variables"]["left"]
    assert left["n"] == 81**2
    # left is true of a third of the inputs.
    assert left["algorithm"] == pytest.approx(1 / 9 + 4 / 9)
    assert left["kept_too_often"]["method"] == "census"


def test_a_few_pairs_decide_nothing_and_the_number_that_would_does():
    algorithm = equality(8)
    claim = neurons(EQUALITY.exact_network(algorithm), algorithm, left=[0], right=[1])

    def check(n):
        (test,) = counterfactuals(algorithm, n, seed=1).split(test=1.0)
        return C8(case_of(claim, test))

    one = check(20)
    assert one.answer is Answer.INCONCLUSIVE
    assert one.n_to_decide > 20
    assert check(one.n_to_decide + 10).answer is Answer.SUPPORTED


# What has no power


def test_a_variable_that_hardly_ever_matters_is_vacuous():
    """An output that reads left only where w is 0: an unused copy would lose as little."""
    algorithm = cm.Algorithm("hardly")
    algorithm.inputs("w x", domain=range(8))
    algorithm.add("left", "w", "x", f=lambda w, x: (w + x) % 2 == 0, domain=bool)
    algorithm.add("out", "left", "w", f=lambda left, w: left and w == 0, domain=bool, output=True)

    class Hardly(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.site = nn.Identity()

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            left = self.site(((x.sum(dim=1, keepdim=True) % 2) == 0).float())
            true = left * (x[:, :1] == 0)
            return torch.cat([1 - true, true], dim=1)

    def encode(values):
        return torch.from_numpy(np.stack([values["w"], values["x"]], axis=1).astype(np.float32))

    network = Network(Hardly(), encode=encode, answers=[False, True])
    claim = Alignment(algorithm, {algorithm["left"]: Coordinates(network.site("site"))[0]})
    one = C8(case_of(claim, census(algorithm)))
    assert one.figures["variables"]["left"]["algorithm"] == 1 - 1 / 16
    assert one.answer is Answer.VACUOUS
    assert one.reason == (
        "an unused copy would be within .100 of it: randomising left changes the algorithm's answer to .062 of the"
        " inputs"
    )
    assert one.sentence == one.reason
    assert (
        C8(replace(case_of(claim, census(algorithm)), thresholds=Thresholds(necessity=0.05))).answer
        is Answer.SUPPORTED
    )


def test_one_variable_without_power_takes_success_away_and_not_failure(monkeypatch):
    real = module._randomised

    def idle_right(case, variable, others):
        one = real(case, variable, others)
        return replace(one, predicted=np.ones_like(one.predicted)) if variable.name == "right" else one

    monkeypatch.setattr(module, "_randomised", idle_right)
    good = C8(told_case("clean", "true"))
    assert good.answer is Answer.VACUOUS
    assert good.reason == (
        "an unused copy would be within .100 of it: randomising right changes the algorithm's answer to .000 of the"
        " inputs"
    )
    assert "with left randomised" in good.sentence
    assert C8(told_case("inert copy", "copy")).answer is Answer.REFUTED


def test_numbers_stay_only_within_a_tolerance():
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
    one = C8(case_of(claim, counterfactuals(algorithm, 100, seed=0)))
    assert (one.answer, one.sentence) == (Answer.VACUOUS, "nothing was randomised")
    assert one.reason == "the output is a number: whether an answer stays depends on the tolerance"


# Variants that would be wrong


def of(case) -> list[module._Randomised]:
    maps = module.random_maps(case.alignment, [0])
    return [module._randomised(case, variable, maps) for variable in case.alignment.variables]


@pytest.mark.parametrize(("name", "claim"), [("clean", "everything"), ("clean", "crossed")])
def test_the_mean_accuracy_alone_lets_the_whole_space_and_another_variable_pass(name, claim):
    """As many answers are kept that should not be as are lost that should not be: the accuracy falls as predicted."""
    margin = Thresholds().necessity
    for one in of(told_case(name, claim)):
        difference = Interval(**one.record()["difference"])
        wide = one.kept.mean() - one.predicted.mean()
        assert abs(wide) < margin
        assert difference.value == pytest.approx(wide)
    assert found(name, claim, "C8").answer is Answer.REFUTED


def test_only_too_much_as_a_failure_lets_an_unused_copy_pass():
    lost = [one.parts[1].rate() for one in of(told_case("inert copy", "copy"))]
    assert all(gate(rate, 0.1, side="<") is Answer.SUPPORTED for rate in lost)
    assert found("inert copy", "copy", "C8").answer is Answer.REFUTED


class Sealed(nn.Module):
    """The exact network, with a seal beside its variables: where it is not the input's own there is no answer."""

    def __init__(self) -> None:
        super().__init__()
        self.site = nn.Identity()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        seal = (x.sum(dim=1) % 2)[:, None]
        bits = torch.stack([x[:, 0] == x[:, 1], x[:, 2] == x[:, 3]], dim=1).float()
        h = self.site(torch.cat([bits, seal], dim=1))
        apart = (h[:, 0] - h[:, 1]).abs()
        broken = (h[:, 2] - seal[:, 0]).abs()
        return torch.stack([apart, 1 - apart, 2 * broken], dim=1)


def test_only_too_little_as_a_failure_lets_a_claim_pass_that_breaks_what_it_should_leave():
    algorithm = equality(6)
    network = Network(Sealed(), encode=joined, answers=[False, True, "none"])
    pairs = counterfactuals(algorithm, 800, seed=0)
    case = case_of(neurons(network, algorithm, "site", left=[0, 2], right=[1]), pairs)
    kept = [one.parts[0].rate() for one in of(case)]
    assert all(gate(rate, 0.1, side="<") is Answer.SUPPORTED for rate in kept)
    one = C8(case)
    assert one.answer is Answer.REFUTED
    assert one.figures["worst"] == "left · lost too often"
    assert (
        C8(case_of(neurons(network, algorithm, "site", left=[0], right=[1]), pairs)).answer
        is Answer.SUPPORTED
    )


def test_sources_as_they_were_drawn_would_depend_on_the_base():
    """Pairs are in equal numbers per stratum: their own sources change more answers than unrelated inputs do."""
    algorithm = cm.Algorithm("both")
    algorithm.inputs("w x", domain=range(40))
    algorithm.add("left", "w", f=lambda w: w < 4, domain=bool)
    algorithm.add("right", "x", f=lambda x: x < 4, domain=bool)
    algorithm.add("out", "left", "right", f=lambda a, b: a and b, domain=bool, output=True)
    pairs = counterfactuals(algorithm, 800, swap=["left"], distribution="inputs", seed=0)

    class Both(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.site = nn.Identity()

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            true = self.site((x < 4).float()).prod(dim=1, keepdim=True)
            return torch.cat([1 - true, true], dim=1)

    def encode(values):
        return torch.from_numpy(np.stack([values["w"], values["x"]], axis=1).astype(np.float32))

    network = Network(Both(), encode=encode, answers=[False, True])
    claim = neurons(network, algorithm, "site", left=[0])
    one = C8(case_of(claim, pairs)).figures["variables"]["left"]
    assert 1 - one["algorithm"] < pairs.effective.mean() - 0.05

"""E4: the whole procedure on networks that were trained from other seeds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest
import torch

import commutes.robustness._challenge as challenge_module
from commutes import Network, challenge, counterfactuals
from commutes.errors import AlignmentError, NetworkError
from commutes.robustness import CHECKS, Case, Thresholds
from commutes.robustness._case import Declared
from commutes.robustness._e4_network_seeds import Share, distinct, further
from commutes.robustness._refits import NoMapError
from commutes.stats import Answer
from commutes.training import Settings
from tests.planted import EQUALITY, Rotated, equality, exact, joined, neurons, planted, settled

from .cases import case_of, measured

E4 = CHECKS["E4"]
ENOUGH = Settings(steps=200, lr=0.05, batch=64, starts=2, every=20)


def trained(seed: int) -> Network:
    """The planted network in another basis."""
    return Network(Rotated(seed=seed), encode=joined, answers=[False, True], name=f"seed {seed}")


def on(case: Case, networks: Sequence[Network]) -> Case:
    return replace(case, declared=Declared(networks=tuple(networks)))


@pytest.fixture(scope="module")
def learnt() -> Case:
    small = planted(10)
    train, select, test = small.parts
    claim = settled(small.claim, small.parts, [small.truth], ENOUGH)
    return replace(case_of(claim, test, train=train, select=select), settings=ENOUGH)


@pytest.fixture(scope="module")
def named() -> Case:
    """A claim about neurons of a network whose basis they are: in another basis it is wrong."""
    module = Rotated(seed=0)
    with torch.no_grad():
        module.turn.weight.copy_(torch.eye(6))
        module.back.weight.copy_(torch.eye(6))
    algorithm = equality(8)
    network = Network(module, encode=joined, answers=[False, True], name="own")
    claim = neurons(network, algorithm, "site", left=[0], right=[1])
    (test,) = counterfactuals(algorithm, 800, seed=1).split(test=1.0)
    return case_of(claim, test)


def test_the_procedure_finds_the_truth_on_other_networks(learnt):
    found = E4(on(learnt, [trained(1), trained(2), trained(3)]))
    assert found.answer is Answer.SUPPORTED
    assert found.sentence.startswith(
        "holds on 3 of 3 other trained networks, exact interval [.292, 1.000], lower bound .368, at least .333; worst"
        " cells: "
    )
    assert [one["network"] for one in found.figures["networks"]] == ["seed 1", "seed 2", "seed 3"]
    assert all(one["answer"] == "supported" for one in found.figures["networks"])
    inputs, pairs = len(learnt.test.ids), len(learnt.test)
    assert found.forward_passes > 3 * (inputs + pairs + 20 * 64 * 2)


def test_a_claim_about_named_neurons_holds_on_their_own_network_alone(named):
    three = E4(on(named, [trained(seed) for seed in (1, 2, 3)]))
    # None of three is no proof that it is less than a third: exact bounds say so.
    assert (three.answer, three.figures["holds"], three.figures["fails"]) == (Answer.INCONCLUSIVE, 0, 3)
    assert three.figures["upper"] == pytest.approx(1 - 0.05 ** (1 / 3))
    assert three.sentence.startswith("holds on 0 of 3 other trained networks, exact interval [.000, .708]")
    eight = E4(on(named, [trained(seed) for seed in range(1, 9)]))
    assert eight.answer is Answer.REFUTED
    assert eight.refuted_at is not None
    assert eight.refuted_at(0.05)
    assert not eight.refuted_at(0.01)


def test_refits_on_one_network_are_no_networks(named, learnt):
    """Counting them lets a claim replicate that holds nowhere else."""
    again = [named.evaluation.worst.lower >= named.thresholds.target] * 5
    assert Share(sum(again), 0, len(again), 0.05).lower > named.thresholds.replicated
    assert E4(on(named, [trained(seed) for seed in range(1, 9)])).answer is Answer.REFUTED
    one = named.alignment.network
    twin = Network(one.module, encode=joined, answers=[False, True], name="the same again")
    assert [n.name for n in distinct(one, [twin, trained(1), trained(1), trained(2)])] == ["seed 1", "seed 2"]
    found = E4(on(learnt, [trained(1)] * 5))
    assert (found.answer, found.reason) == (
        Answer.NOT_RUN,
        "1 other networks were declared, at least 3 are needed",
    )


def test_without_networks_it_is_not_run(learnt):
    found = E4(learnt)
    assert (found.answer, found.forward_passes) == (Answer.NOT_RUN, 0)
    assert found.reason == "0 other networks were declared, at least 3 are needed"


def test_networks_that_do_not_do_the_task_are_named_and_not_counted(named):
    fresh = [named.alignment.network.reinitialised(seed) for seed in (1, 2)]
    found = E4(on(named, [trained(1), trained(2), *fresh]))
    assert (found.answer, found.reason) == (
        Answer.NOT_RUN,
        "2 of 4 other networks are shown to answer as the algorithm does, at least 3 are needed",
    )
    assert found.forward_passes == 4 * len(named.test.ids)
    found = E4(on(named, [trained(1), trained(2), trained(3), *fresh]))
    assert found.figures["n"] == 3
    assert found.sentence.endswith("; of 2 more it is not shown that they answer as the algorithm does")


def test_what_it_needs(learnt, named):
    networks = [trained(seed) for seed in (1, 2, 3)]
    found = E4(on(replace(learnt, train=None), networks))
    assert (found.answer, found.reason) == (
        Answer.NOT_RUN,
        "what the claim was fitted on is not known, so that it cannot be fitted on another network",
    )
    rivals = measured(named, not_excluded={"left": ["do nothing"], "right": []})
    found = E4(on(rivals, networks))
    assert (found.answer, found.reason) == (
        Answer.VACUOUS,
        "for left no gated stratum excludes: do nothing",
    )


def test_a_closed_form_that_another_network_does_not_have_is_vacuous(learnt, monkeypatch):
    def fails(*args, **kwargs):
        raise NoMapError("lda: class means that coincide")

    monkeypatch.setattr("commutes.robustness._e4_network_seeds.refits", fails)
    found = E4(on(learnt, [trained(seed) for seed in (1, 2, 3)]))
    assert (found.answer, found.reason) == (Answer.VACUOUS, "lda: class means that coincide")


@pytest.mark.parametrize(
    ("held", "failed", "n", "least", "more"),
    [
        (3, 0, 3, 1 / 3, None),
        (2, 1, 3, 1 / 3, 2),
        (3, 0, 3, 0.5, 2),
        (0, 8, 8, 1 / 3, None),
        (3, 0, 3, 1.0, None),
    ],
)
def test_how_many_more_networks_would_decide(held, failed, n, least, more):
    share = Share(held, failed, n, 0.05)
    assert further(share, least) == more
    if more:
        assert Share(held + more, failed, n + more, 0.05).lower >= least
        assert Share(held + more - 1, failed, n + more - 1, 0.05).lower < least


def test_networks_of_which_nothing_is_shown_count_on_neither_side():
    open_ones = Share(2, 0, 4, 0.05)
    assert open_ones.lower == Share(2, 2, 4, 0.05).lower
    assert open_ones.upper == 1.0


# Declared.


def message(kind, call) -> str:
    with pytest.raises(kind) as error:
        call()
    return str(error.value)


def test_networks_are_looked_at_before_anything_is_opened(monkeypatch):
    algorithm, network, claim = exact()
    test = counterfactuals(algorithm, 200, seed=0)
    monkeypatch.setattr(challenge_module, "opened", lambda *a: pytest.fail("opened"))

    def said(networks, kind: type[Exception] = NetworkError) -> str:
        return message(kind, lambda: challenge(claim, test=test, networks=networks))

    assert "networks= lists networks" in said([network.module])
    text = said([EQUALITY.exact_network(algorithm)])
    assert "a network that computes the very same is no other network" in text
    assert "got:      the claim's own network" in text
    other = EQUALITY.network(EQUALITY.algorithm(3), seed=1, width=8, layers=2)
    text = said([other, other])
    assert "where:    networks=, number 2" in text
    assert "got:      the network of networks=, number 1 once more" in text
    text = said([Network(torch.nn.Linear(4, 2), encode=joined, answers=[False, True])], AlignmentError)
    assert "the claim's site is not there in another network" in text
    assert "got:      no module 'layers.1'" in text
    mute = Network(other.module, encode=joined, answers=["no", "yes"])
    assert "the network has no answer for a value of the algorithm's output" in said([mute])


def test_declared_networks_reach_the_check_and_the_fingerprint(monkeypatch):
    algorithm, _, claim = exact()
    test = counterfactuals(algorithm, 200, seed=0)
    networks = [EQUALITY.network(EQUALITY.algorithm(3), seed=s, width=8, layers=2) for s in (1, 2)]
    monkeypatch.setattr(challenge_module, "CHECKS", {"E4": E4})
    one = challenge(claim, test=test, level="R5", networks=networks)
    other = challenge(claim, test=test, level="R5", networks=networks[::-1])
    assert one.claim.fingerprint == other.claim.fingerprint
    fewer = challenge(claim, test=test, level="R5", networks=networks[:1])
    stricter = challenge(claim, test=test, level="R5", networks=networks, replicated=0.5)
    assert len({r.claim.fingerprint for r in (one, fewer, stricter)}) == 3
    assert stricter.thresholds == replace(Thresholds(), replicated=0.5)
    assert one.outcomes["E4"].outcome.reason == "2 other networks were declared, at least 3 are needed"
    assert "replicated= is a share" in message(Exception, lambda: challenge(claim, test=test, replicated=0))

"""D2: the effect of a subspace beside that of the component that holds it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from commutes import Algorithm, Alignment, Coordinates, Network, Rotation, census, counterfactuals
from commutes.counterfactuals import controlled_within
from commutes.evaluation import GATED
from commutes.features import Subspace
from commutes.robustness import CHECKS
from commutes.robustness import _d2_whole_component as module
from commutes.stats import Answer
from commutes.testing.compiler import compile_program, program
from commutes.testing.zoo import compiled
from tests.network.transformers import models as M
from tests.planted import equality, exact, joined
from tests.robustness.cases import case_of
from tests.robustness.zoo_cases import answered, claims, told, zoo_case

D2 = CHECKS["D2"]
YES, NO, VACUOUS, OPEN = Answer.SUPPORTED, Answer.REFUTED, Answer.VACUOUS, Answer.INCONCLUSIVE


@claims("D2")
def test_claims_of_the_zoo_are_answered_as_told(name, seed, number):
    assert answered("D2", name, seed, number).answer is told(name, seed, number).ideal["D2"]


def test_a_true_claim_does_what_its_site_does():
    found = answered("D2", "clean", 1, 0)
    for name in ("left", "right"):
        record = found.figures["by_variable"][name]
        # The two logits are 1 - |left - right| and |left - right|: a flip moves their difference by 2.
        assert record["alone"]["value"] == pytest.approx(2, abs=1e-4)
        assert record["whole"]["value"] == pytest.approx(2, abs=1e-4)
        assert record["ratio"]["value"] == pytest.approx(1, abs=1e-4)
        assert record["excess"]["value"] == pytest.approx(2 - 1.1 * 2, abs=1e-4)
    assert found.sentence == (
        "on 320 controlled pairs that change left its coordinates move the margin of the expected answer by"
        " 2.000 [2.000, 2.000], their whole site by 2.000 [2.000, 2.000]: ratio 1.000 [1.000, 1.000], at most 1.100"
    ) or found.sentence.replace("change right", "change left").startswith(
        "on 320 controlled pairs that change left"
    )


def test_effects_are_those_of_edits_by_hand():
    """Margins of edited states, computed from the module's own layers."""
    own = zoo_case("tilt", 1, 3)
    pairs = controlled_within(own.test, "left", 320, seed=own.seed)
    network, space = own.alignment.network, own.alignment.subspace(own.alignment.algorithm["left"])
    layers = [*network.module.layers, network.module.head]
    with torch.no_grad():
        states = network.encode(own.alignment.algorithm.arrays(pairs.inputs)).args[0]
        for layer in layers[:3]:
            states = layer(states)
        base, source = states[pairs.base], states[pairs.source[:, 0]]
        logits = []
        for state in (base, space.swap(base, source), source):
            for layer in layers[3:]:
                state = layer(state)
            logits.append(state.numpy())
    rows = np.arange(len(pairs))
    clean, alone, whole = (x[rows, pairs.expected] - x[rows, pairs.base_answer] for x in logits)
    keep = pairs.effective
    record = D2(own).figures["by_variable"]["left"]
    assert record["alone"]["value"] == pytest.approx((alone - clean)[keep].mean(), abs=1e-5)
    assert record["whole"]["value"] == pytest.approx((whole - clean)[keep].mean(), abs=1e-5)


class Component(nn.Module):
    """left is handed on beside a component that has a copy of it, which nothing reads, and a direction that is read.

    No input moves that direction, so that the whole component does nothing; copy and direction together, as one
    subspace, do all that left does.
    """

    def __init__(self) -> None:
        super().__init__()
        self.site = nn.Identity()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        left, right = (1 - (x[:, i] - x[:, i + 1]).abs().clamp(max=1) for i in (0, 2))
        component = self.site(torch.stack([left, torch.zeros_like(left), x[:, 0] / 4, x[:, 2] / 4], dim=1))
        apart = (left + 2 * component[:, 1] - right).abs()
        return torch.stack([apart, 1 - apart], dim=1)


def component(decode=None) -> Alignment:
    algorithm = equality(6)
    answers = None if decode else [False, True]
    network = Network(Component(), encode=joined, answers=answers, decode=decode, name="component")
    direction = torch.tensor([[0.5**0.5], [0.5**0.5], [0.0], [0.0]])
    claim = Alignment(algorithm, {algorithm["left"]: Rotation(network.site("site"))[:1]})
    return claim.with_maps([Subspace(direction, direction)])


@pytest.mark.parametrize("decode", [None, lambda logits: (logits[:, 1] > logits[:, 0]).tolist()])
def test_a_subspace_that_does_more_than_its_component_is_refuted(decode):
    claim = component(decode)
    pairs = counterfactuals(claim.algorithm, 400, swap=["left"], seed=1)
    found = D2(case_of(claim, pairs))
    assert found.answer is NO
    record = found.figures["by_variable"]["left"]
    unit = "the margin of the expected answer" if decode is None else "the share of expected answers"
    assert (record["unit"], record["ratio"]) == (unit, None)
    assert record["alone"]["value"] == pytest.approx(2.0 if decode is None else 1.0, abs=1e-5)
    assert record["whole"]["value"] == 0
    assert found.sentence == (
        f"on {record['alone']['n']} controlled pairs that change left its coordinates move {unit} by "
        + ("2.000 [2.000, 2.000]" if decode is None else "1.000 [1.000, 1.000]")
        + ", their whole site by 0.000 [0.000, 0.000]: which is no measure, at most 1.100"
    )
    assert found.refuted_at(1e-4)
    # By the interchange alone it looks as right as can be.
    assert case_of(claim, pairs).evaluation.overall.rate == 1.0


def test_where_a_variable_has_the_whole_site_there_is_nothing_to_compare():
    algorithm, network, _ = exact(3)
    claim = Alignment(algorithm, {algorithm["left"]: Coordinates(network.site("layers.1"))[:2]})
    found = D2(case_of(claim, census(algorithm, swap=["left"])))
    assert (found.answer, found.sentence) == (VACUOUS, "no whole component was swapped")
    assert found.reason == "left has all of layers.1: its coordinates are the whole component"


def test_coordinates_that_do_nothing_pass_nothing():
    found = D2(zoo_case("inert copy", 1, 1))
    assert found.answer is VACUOUS
    assert found.reason == "the coordinates of left alone are not shown to do anything"


def test_where_no_controlled_pairs_can_be_had_the_reason_is_theirs():
    made = compile_program(program("duplicate", length=4, symbols=3), rotation=1)
    inner = [v for v in made.algorithm.inner_variables if v.name in ("seen_1", "seen_2")]
    claim = made.alignment([made.true_home(v) for v in inner])
    found = D2(case_of(claim, counterfactuals(claim.algorithm, 300, swap=inner, seed=0)))
    assert found.answer is VACUOUS
    assert found.figures["by_variable"]["seen_1"]["ratio"]["value"] == pytest.approx(1)
    assert found.reason.startswith(
        "no pair makes the transition seen_2: 2 -> 3: 4 of 6 transitions (66.7%) can be made"
    )


def test_the_whole_last_state_of_a_language_model_gives_the_sources_margins():
    net = Network(
        M.model("gpt2", dtype=torch.float32),
        M.tokenizer(),
        template="{w}{x}{y}{z}=",
        answers={False: "1", True: "2"},
    )
    algorithm = equality(4)
    site = net.site("block_output", layer=-1, position="last")
    claim = Alignment(
        algorithm, {algorithm["left"]: Coordinates(site)[:4], algorithm["right"]: Coordinates(site)[4:8]}
    )
    own = case_of(claim, counterfactuals(algorithm, 60, seed=0))
    record = D2(own).figures["by_variable"]["left"]
    pairs = controlled_within(own.test, "left", module.FEWEST, seed=0)
    rows = np.nonzero(pairs.effective)[0]
    with torch.no_grad():
        run = net.module(**net.encode(algorithm.arrays(pairs.inputs)).kwargs, **net.options)
    # By hand: answers False and True are the tokens "1" and "2".
    scores = run.logits[:, -1, net.language.spelling[:, 0]].double().numpy()
    clean = scores[:, 1] - scores[:, 0]
    sign = np.where(pairs.expected[rows] == 1, 1, -1)
    expected = (sign * (clean[pairs.source[rows, 0]] - clean[pairs.base[rows]])).mean()
    assert record["whole"]["n"] == len(rows)
    assert record["whole"]["value"] == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("seed", [1, 2])
def test_what_enters_the_answer_by_another_way_is_not_held_against_the_coordinates(monkeypatch, seed):
    """A program that sorts reads a token by its place and then for what it is: the whole position brings both."""
    member = compiled("sort", seed=seed)
    (claim,) = [one for one in member.claims if one.truth == "right"]
    case = case_of(claim.alignment, member.pairs(claim, 0, seed=seed))
    found = D2(case)
    assert found.answer is VACUOUS
    assert found.reason == (
        "whatever changes place_0 changes what enters the answer beside it as well, "
        "and the whole site may bring that along"
    )
    monkeypatch.setattr(module, "_alone", lambda pairs, _variable: np.ones(len(pairs), bool))
    assert D2(case).answer is NO


def test_pairs_count_where_what_else_enters_the_answer_is_the_same():
    algorithm = Algorithm("one of two, and the first again")
    algorithm.inputs("a b c", domain=range(3))
    algorithm.add("same", "a", "b", f=lambda a, b: a == b, domain=bool)
    algorithm.add(
        "answer", "same", "a", "c", f=lambda s, a, c: (3 * s + a + c) % 5, domain=range(5), output=True
    )
    algorithm.check()
    pairs = counterfactuals(algorithm, 300, flip=algorithm["same"], seed=0)
    base, source = pairs.base, pairs.source[:, 0]
    a, c = (np.asarray(pairs.inputs[name]) for name in "ac")
    alone = module._alone(pairs, algorithm["same"])
    assert (alone == ((a[base] == a[source]) & (c[base] == c[source]))).all()
    assert 0 < alone.sum() < len(alone)


# Gates.


def effects(alone: np.ndarray, whole: np.ndarray, name: str = "left") -> module._Effects:
    pairs = zoo_case("clean", 1, 0).test
    return module._Effects(name, pairs, np.arange(len(alone)), alone, whole, "the margin", 0)


def noisy(mean: float, n: int = 100, spread: float = 1.0, seed: int = 0) -> np.ndarray:
    draw = np.random.default_rng(seed).normal(size=n)
    return mean + spread * (draw - draw.mean()) / draw.std()


@pytest.mark.parametrize(
    ("alone", "whole", "answer"),
    [(1.0, 1.0, YES), (1.4, 1.0, NO), (1.1, 1.0, OPEN), (1.0, 0.0, NO), (-1.0, 1.0, YES)],
)
def test_the_ratio_is_gated_on_its_bounds(alone, whole, answer):
    one = effects(noisy(alone, spread=0.3), noisy(whole, spread=0.3, seed=1))
    assert one.gated(1.1, 0.05) is answer


def test_effects_that_are_equal_are_at_most_themselves():
    same = np.full(GATED, 2.0)
    assert effects(1.1 * same, same).gated(1.1, 0.05) is YES
    assert effects(1.1001 * same, same).gated(1.1, 0.05) is NO


def test_a_few_effects_without_spread_decide_nothing(monkeypatch):
    few = effects(np.full(GATED - 1, 2.0), np.full(GATED - 1, 2.0))
    assert few.gated(1.1, 0.05) is OPEN
    monkeypatch.setattr(module, "_effects", lambda case, variable: replace(few, name=variable.name))
    found = D2(zoo_case("clean", 1, 0))
    assert found.answer is OPEN
    assert found.n_to_decide == 2 * -(-GATED * len(few.pairs) // (GATED - 1))


def test_the_number_that_would_decide_is_of_test_pairs(monkeypatch):
    unsure = effects(noisy(1.05, spread=0.4), noisy(1.0, spread=0.0))
    monkeypatch.setattr(module, "_effects", lambda case, variable: replace(unsure, name=variable.name))
    own = zoo_case("clean", 1, 0)
    found = D2(own)
    excess = unsure.excess(1.1, 0.05)
    assert found.answer is OPEN
    alone = np.ceil(100 * ((excess.upper - excess.value) / -excess.value) ** 2)
    needed = -(-int(alone) * len(unsure.pairs) // 100)
    assert found.n_to_decide == (2 * needed if needed <= module.MOST else None)


def test_a_variable_that_could_not_be_compared_takes_a_success_away_and_not_a_failure(monkeypatch):
    good, bad = effects(noisy(1.0), noisy(1.0)), effects(noisy(3.0), noisy(1.0, seed=1))
    for own, answer in ((good, VACUOUS), (bad, NO)):
        monkeypatch.setattr(
            module, "_effects", lambda case, variable, own=own: own if variable.name == "left" else "why not"
        )
        found = D2(zoo_case("clean", 1, 0))
        assert found.answer is answer
        assert found.reason == ("why not" if answer is VACUOUS else None)
        assert found.figures["without"] == {"right": "why not"}


# A wrong variant.


def test_the_ratio_on_pairs_that_are_not_controlled_refutes_the_truth(monkeypatch):
    """The whole site brings the other variables of the source with it, and on average does half as much."""

    def uncontrolled(pairs, variable, n, *, seed):
        return counterfactuals(pairs.algorithm, n, swap=[variable], seed=seed)

    monkeypatch.setattr(module, "controlled_within", uncontrolled)
    assert D2(zoo_case("clean", 1, 0)).answer is YES
    monkeypatch.setattr(module, "_alone", lambda pairs, _variable: np.ones(len(pairs), bool))
    found = D2(zoo_case("clean", 1, 0))
    ratio = found.figures["by_variable"]["left"]["ratio"]["value"]
    assert ratio > 1.5
    assert found.answer is NO
    monkeypatch.undo()
    assert D2(zoo_case("clean", 1, 0)).answer is YES

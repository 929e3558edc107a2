"""C9: inputs that a claim says nothing about, edited with coordinates of the claim's own sources."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from commutes import Algorithm, Alignment, Coordinates, Counterfactuals, Network, challenge, counterfactuals
from commutes.errors import AlignmentError, DataError
from commutes.evaluation import answers_of
from commutes.robustness import CHECKS, Outcome
from commutes.robustness import _c9_off_task as module
from commutes.robustness._case import Declared
from commutes.robustness._off_task import off_task_of
from commutes.stats import Answer
from commutes.testing.compiler import compile_program, program
from commutes.testing.zoo import linear
from tests.network.transformers import models as M
from tests.planted import equality, joined
from tests.robustness.cases import case_of
from tests.robustness.zoo_cases import zoo_case

C9 = CHECKS["C9"]
YES, NO, OPEN = Answer.SUPPORTED, Answer.REFUTED, Answer.INCONCLUSIVE
NEW = range(10, 16)


class TwoTasks(nn.Module):
    """Below 10 the network says whether [w = x] is [y = z]; from 10 on, whether [w > x] is not [y = z].

    Neurons 0 and 1 of the site are for the first task, 2 and 3 for the second; if they are shared, the second task
    reads [y = z] from neuron 1.
    """

    def __init__(self, shared: bool) -> None:
        super().__init__()
        self.site, self.shared = nn.Identity(), shared

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        equal = [(x[:, i] == x[:, i + 1]).to(x.dtype) for i in (0, 2)]
        above = (x[:, 0] > x[:, 1]).to(x.dtype)
        h = self.site(torch.stack([*equal, above, equal[1]], dim=1))
        first = 1 - (h[:, 0] - h[:, 1]).abs()
        second = (h[:, 2] - h[:, 1 if self.shared else 3]).abs()
        yes = torch.where(x.amax(dim=1) >= 10, second, first)
        return torch.stack([1 - yes, yes], dim=1)


def other() -> Algorithm:
    found = Algorithm("order against equality")
    found.inputs("w x y z", domain=NEW)
    found.add("above", "w", "x", f=lambda w, x: w > x, domain=bool)
    found.add("equal", "y", "z", f=lambda y, z: y == z, domain=bool)
    found.add("differ", "above", "equal", f=lambda above, equal: above != equal, domain=bool, output=True)
    return found.check()


def two_tasks(*, shared: bool, decode: Any = None) -> tuple[Alignment, Alignment]:
    """The two claims about a network, each with the neurons that it is about."""
    answers = None if decode else [False, True]
    network = Network(TwoTasks(shared), encode=joined, answers=answers, decode=decode, name="two tasks")
    neurons = Coordinates(network.site("site"))
    one, two = equality(6), other()
    return (
        Alignment(one, {one["left"]: neurons[0], one["right"]: neurons[1]}),
        Alignment(two, {two["above"]: neurons[2], two["equal"]: neurons[1 if shared else 3]}),
    )


def asked(claim: Alignment, given: Any, *, n: int = 400) -> Outcome:
    (test,) = counterfactuals(claim.algorithm, n, seed=1).split(test=1.0)
    case = case_of(claim, test)
    return C9(replace(case, declared=Declared(off_task=off_task_of(given, claim))))


def new_inputs(n: int = 300, seed: int = 0) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    w, y = rng.integers(10, 16, size=(2, n))
    same = rng.random(n) < 0.5
    return {"w": w, "x": rng.integers(10, 16, size=n), "y": y, "z": np.where(same, y, 25 - y)}


@pytest.mark.parametrize("number", [0, 1])
@pytest.mark.parametrize("seed", [1, 2])
def test_a_claim_that_takes_a_switch_along_is_told_from_one_that_does_not(seed, number):
    member = linear("asleep", seed=seed)
    told, case = member.claims[number], zoo_case("asleep", seed, number)
    found = C9(replace(case, declared=Declared(off_task=off_task_of(member.off_task, case.alignment))))
    assert found.answer is told.ideal["C9"]


def test_without_a_declaration_nothing_is_run():
    found = C9(zoo_case("clean", 1, 0))
    assert (found.answer, found.forward_passes) == (Answer.NOT_RUN, 0)
    assert found.reason == "no inputs that the claim says nothing about were declared (off_task=)"


@pytest.mark.parametrize("as_pairs", [False, True])
def test_edits_that_the_other_task_does_not_read_leave_it_alone(as_pairs):
    claim, _ = two_tasks(shared=False)
    given = counterfactuals(other(), 300, seed=2) if as_pairs else new_inputs()
    found = asked(claim, given)
    assert found.answer is YES
    for one in found.figures["sets"].values():
        assert one["changed"]["hits"] == 0
        assert one["kl"] == {"mean": 0.0, "most": 0.0}
        assert (one["accuracy"] is not None) is as_pairs
    if as_pairs:
        accuracy = found.figures["sets"]["left"]["accuracy"]
        assert accuracy["before"]["rate"] == accuracy["after"]["rate"] == 1.0


def test_edits_that_it_does_read_are_damage():
    claim, _ = two_tasks(shared=True)
    found = asked(claim, counterfactuals(other(), 300, seed=2))
    left, right = (found.figures["sets"][name] for name in ("left", "right"))
    assert found.answer is NO
    assert (left["changed"]["rate"], found.figures["worst"]) == (0.0, "right")
    # [y = z] of the source is another half of the time.
    assert right["changed"]["rate"] == pytest.approx(0.5, abs=0.1)
    assert right["accuracy"]["after"]["rate"] == pytest.approx(1 - right["changed"]["rate"])
    # A logit moves by 1 where the answer changes: softmax(0, 1) against softmax(1, 0).
    p = 1 / (1 + np.exp(-1.0))
    assert right["kl"]["most"] == pytest.approx(p - (1 - p), abs=1e-5)
    assert found.refuted_at(1e-6)
    n = right["changed"]["n"]
    assert found.forward_passes == 3 * n
    assert found.sentence.startswith("edits of right, the worst of 2 sets, change the answer to .")
    assert "of off-task inputs, at most .050; KL ." in found.sentence
    assert "; accuracy 1.000 [" in found.sentence


def test_two_claims_are_edited_on_each_others_inputs():
    for shared, answer, damaged in ((False, YES, []), (True, NO, ["right", "equal"])):
        claim, another = two_tasks(shared=shared)
        found = asked(claim, (another, counterfactuals(another.algorithm, 300, seed=2)))
        of = f" of {another.algorithm.name} on inputs of {claim.algorithm.name}"
        sets = {name.removesuffix(of): one["changed"] for name, one in found.figures["sets"].items()}
        assert list(sets) == ["left", "right", "above", "equal"]
        assert [name for name, changed in sets.items() if changed["rate"] > 0.3] == damaged
        assert found.answer is answer
        # Those of the other claim are tried on the first one's test inputs.
        assert sets["left"]["n"] < 600 < sets["above"]["n"]


def test_a_planted_network_that_does_the_task_elsewhere_too_is_damaged():
    """The claim is narrower than what the network does: beyond its domain a swap changes answers as well."""
    case = zoo_case("clean", 1, 0)
    rng = np.random.default_rng(0)
    beyond = {name: np.stack([rng.integers(4, 7, 200), rng.integers(3, size=200)], axis=1) for name in "wxyz"}
    found = C9(replace(case, declared=Declared(off_task=off_task_of(beyond, case.alignment))))
    assert found.answer is NO


def test_a_network_with_a_decoding_of_its_own_is_asked_what_it_says():
    claim, _ = two_tasks(shared=True, decode=lambda logits: (logits[:, 1] > logits[:, 0]).tolist())
    found = asked(claim, new_inputs())
    assert found.answer is NO
    right = found.figures["sets"]["right"]
    assert (right["kl"], right["accuracy"]) == (None, None)
    assert right["changed"]["rate"] == pytest.approx(0.5, abs=0.1)


def test_few_inputs_decide_nothing():
    claim, _ = two_tasks(shared=False)
    many = new_inputs(59 * 3)
    several = dict(zip("wxyz", np.array(sorted(set(zip(*many.values(), strict=True)))).T, strict=True))
    assert len(several["w"]) > 59
    found = asked(claim, {name: column[:58] for name, column in several.items()}, n=160)
    assert found.answer is OPEN
    assert found.n_to_decide in (59, 60)
    assert asked(claim, {name: column[:59] for name, column in several.items()}, n=160).answer is YES


def test_an_input_that_is_listed_twice_is_one():
    claim, _ = two_tasks(shared=False)
    few = {name: np.tile(column, 4) for name, column in new_inputs(30).items()}
    found = asked(claim, few)
    assert found.figures["sets"]["left"]["changed"]["n"] == len(
        set(zip(*(few[n] for n in "wxyz"), strict=True))
    )


def test_compiled_sequences_of_other_letters_cannot_be_read_by_the_same_encoder():
    made = compile_program(program("duplicate", length=3), rotation=1)
    inner = made.algorithm.inner_variables[0]
    claim = made.alignment([made.true_home(inner)])
    names = [v.name for v in claim.algorithm.input_variables]
    inside = {name: made.algorithm.arrays(made.algorithm.enumerate_inputs())[name][:20] for name in names}
    with pytest.raises(DataError) as caught:
        off_task_of(inside, claim)
    assert caught.value.what == f"{claim.algorithm.name} says something about these inputs"
    assert caught.value.got == "20 of 20 inputs are in its domain"


def language() -> tuple[Alignment, Network]:
    net = Network(
        M.model("gpt2", dtype=torch.float32),
        M.tokenizer(),
        template="{w}{x}{y}{z}=",
        # Neither of which it ever says.
        answers={False: "a", True: "b"},
    )
    algorithm = equality(4)
    site = net.site("block_output", layer=-1, position="last")
    return Alignment(algorithm, {algorithm["left"]: Coordinates(site)[:16]}), net


def test_a_language_model_is_asked_for_its_whole_vocabulary():
    claim, net = language()
    rng = np.random.default_rng(1)
    digits = {name: rng.integers(5, 10, size=80) for name in "wxyz"}
    case = case_of(claim, counterfactuals(claim.algorithm, 80, swap=["left"], seed=0))
    off = off_task_of(digits, claim)
    found = C9(replace(case, declared=Declared(off_task=off)))
    # The whole last state is swapped: the model says what it says to the sources.
    with torch.no_grad():
        said = {
            name: net.module(**net.encode(values).kwargs, **net.options).logits[:, -1].argmax(dim=-1)
            for name, values in (("off", off.values), ("own", claim.algorithm.arrays(case.test.inputs)))
        }
    own, counts = said["own"][case.test.source[:, 0]].unique(return_counts=True)
    expected = np.mean([float((counts[own != token]).sum() / counts.sum()) for token in said["off"]])
    changed = found.figures["sets"]["left"]["changed"]
    assert changed["rate"] == pytest.approx(expected, abs=4 * (0.25 / changed["n"]) ** 0.5)
    assert found.figures["sets"]["left"]["kl"]["mean"] > 0


# Declaring.


def given(change: Mapping[str, Any]) -> dict[str, Any]:
    return {**{name: list(column) for name, column in new_inputs(20).items()}, **change}


@pytest.mark.parametrize(
    ("off", "what", "got"),
    [
        ([1, 2], "off_task= is inputs that the claim says nothing about", "list"),
        (
            {"w": [10], "x": [11]},
            "off-task inputs are encoded together with the claim's own",
            "columns w, x",
        ),
        (given({"z": [10] * 19}), "off-task inputs have a value in every column", "w: 20, x: 20, y: 20, z: 19"),
        (given({"z": ["a"] * 20}), "off-task values are of another kind than the claim's", "object of shape ('n',)"),
        (
            given({"z": [[1, 2]] * 20}),
            "off-task values are of another kind than the claim's",
            "int64 of shape ('n', 2)",
        ),
        (
            {name: [1, 2, 12] for name in "wxyz"},
            "hierarchical equality (exact) says something about these inputs",
            "2 of 3 inputs are in its domain",
        ),
    ],
)  # fmt: skip
def test_what_is_no_off_task_input_is_refused(off, what, got):
    claim, _ = two_tasks(shared=False)
    with pytest.raises(DataError) as caught:
        off_task_of(off, claim)
    assert (
        caught.value.what.replace(claim.algorithm.name, "hierarchical equality (exact)"),
        caught.value.got,
    ) == (
        what,
        got,
    )


def test_pairs_of_the_claim_itself_are_refused():
    claim, _ = two_tasks(shared=False)
    with pytest.raises(DataError, match="says something about these inputs"):
        off_task_of(counterfactuals(claim.algorithm, 40, seed=0), claim)


def test_another_claim_is_about_the_same_network_and_fitted():
    claim, another = two_tasks(shared=False)
    pairs = counterfactuals(another.algorithm, 40, seed=0)
    _, elsewhere = two_tasks(shared=True)
    with pytest.raises(DataError) as caught:
        off_task_of((elsewhere, counterfactuals(elsewhere.algorithm, 40, seed=0)), claim)
    assert caught.value.what == "two claims that are to leave each other alone are about one network"
    with pytest.raises(DataError) as caught:
        off_task_of(("a claim", pairs), claim)
    assert caught.value.got == "str"
    with pytest.raises(AlignmentError):
        off_task_of((another, counterfactuals(other(), 40, seed=0)), claim)


def test_what_is_declared_is_part_of_the_claim_and_checked_before_anything_is_opened(monkeypatch):
    claim, another = two_tasks(shared=False)
    test = counterfactuals(claim.algorithm, 400, seed=1)

    def prints(off: Any) -> str:
        return challenge(claim, test=test, level="R0", off_task=off).claim.fingerprint

    pairs = counterfactuals(another.algorithm, 100, seed=2)
    found = [prints(off) for off in (None, new_inputs(60), new_inputs(60, seed=1), pairs, (another, pairs))]
    assert len(set(found)) == 5
    assert prints(new_inputs(60)) == found[1]
    monkeypatch.setattr("commutes.robustness._challenge.opened", lambda *_: pytest.fail("opened"))
    with pytest.raises(DataError, match="says something about these inputs"):
        challenge(claim, test=test, off_task=test)
    with pytest.raises(DataError, match="damage= is a share"):
        challenge(claim, test=test, off_task=new_inputs(60), damage=0.0)
    with pytest.raises(DataError, match="damage= of 1 is a gate that no claim can miss"):
        challenge(claim, test=test, off_task=new_inputs(60), damage=1)


def test_a_challenge_to_r4_runs_it_with_the_damage_that_was_declared():
    claim, _ = two_tasks(shared=True)
    test = counterfactuals(claim.algorithm, 200, seed=1)
    declared = Declared(off_task=off_task_of(new_inputs(), claim))
    case = replace(case_of(claim, test), declared=declared)
    lenient = replace(case.thresholds, damage=0.9)
    assert C9(replace(case, thresholds=lenient)).answer is YES
    assert C9(case).answer is NO


# A wrong variant.


def test_damage_among_the_algorithms_answers_alone_is_hidden():
    """Off task a model says what is no answer of the algorithm's, before and after: as answers both are "another"."""
    claim, net = language()
    rng = np.random.default_rng(1)
    case = case_of(claim, counterfactuals(claim.algorithm, 80, swap=["left"], seed=0))
    off = off_task_of({name: rng.integers(5, 10, size=80) for name in "wxyz"}, claim)
    answers, seen = answers_of(net, claim.algorithm), []
    real = module._Reading.compared

    def spy(self, before, after, rows):
        seen.append(answers.decode(before) != answers.decode(after))
        return real(self, before, after, rows)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module._Reading, "compared", spy)
        found = C9(replace(case, declared=Declared(off_task=off)))
    assert found.answer is NO
    assert found.figures["sets"]["left"]["changed"]["rate"] > 0.2
    assert not np.concatenate(seen).any()


def test_the_pairs_of_another_algorithm_need_not_be_answered():
    """What the network says to them may be nothing that it could be asked for."""
    claim, _ = two_tasks(shared=False)
    found = Algorithm("a sum")
    found.inputs("w x y z", domain=NEW)
    found.add("left", "w", "x", f=lambda w, x: w + x, domain=range(20, 31))
    found.add("total", "left", "y", "z", f=lambda left, y, z: left + y + z, domain=range(40, 61), output=True)
    pairs: Counterfactuals = counterfactuals(found.check(), 200, seed=0)
    outcome = asked(claim, pairs)
    assert outcome.answer is YES
    assert outcome.figures["sets"]["left"]["accuracy"] is None

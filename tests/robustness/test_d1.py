"""D1: the part of a claim that is read, and what the rest adds."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from commutes import Alignment, Coordinates, Network, Reversible, counterfactuals
from commutes.features import Subspace
from commutes.robustness import CHECKS, Thresholds
from commutes.robustness import _d1_row_space as module
from commutes.robustness import _parts as parts
from commutes.robustness._multiplicity import corrected
from commutes.stats import Answer
from commutes.testing.compiler import compile_program, program
from commutes.testing.zoo import LINEAR, trained_member
from tests.network.transformers import models as M
from tests.planted import equality
from tests.robustness.cases import case_of
from tests.robustness.zoo_cases import answered, claims, member, told, zoo_case
from tests.testing.zoo.oracles import Bench, unread_share

D1 = CHECKS["D1"]
YES, NO, VACUOUS, OPEN = Answer.SUPPORTED, Answer.REFUTED, Answer.VACUOUS, Answer.INCONCLUSIVE
ILLUSION = ("illusion", 1)


@claims("D1")
def test_claims_of_the_zoo_are_answered_as_told(name, seed, number):
    assert answered("D1", name, seed, number).answer is told(name, seed, number).ideal["D1"]


@claims("D1")
def test_what_the_rest_adds_is_what_an_oracle_finds(name, seed, number):
    found, pairs = answered("D1", name, seed, number), zoo_case(name, seed, number).test
    _, expected = unread_share(Bench(member(name, seed), told(name, seed, number), pairs))
    by_swap = found.figures["by_swap"].values()
    pairs = sum(one["gap"]["n"] for one in by_swap)
    assert sum(one["gap"]["value"] * one["gap"]["n"] for one in by_swap) / pairs == pytest.approx(expected)


@pytest.mark.slow
@pytest.mark.parametrize("name", LINEAR)
def test_nothing_but_the_illusion_is_refuted(name):
    """Wrong claims are wrong in other ways: what is read of them does all that they do."""
    for number in range(len(member(name, 1).claims)):
        assert (answered("D1", name, 1, number).answer is NO) is ((name, number) == ILLUSION)


def test_an_illusion_is_refuted_with_what_was_lost():
    own = zoo_case(ILLUSION[0], 1, ILLUSION[1])
    found = D1(own)
    left, right = found.figures["by_swap"]["left"], found.figures["by_swap"]["right"]
    assert (left["claimed"]["rate"], left["read"]["rate"], left["unread"]["rate"]) == (1.0, 0.0, 0.0)
    assert (right["claimed"]["rate"], right["read"]["rate"]) == (1.0, 1.0)
    assert found.figures["readers"] == "layers.3.0 reads 3 of 11 directions"
    assert found.figures["sizes"] == {"left": 1, "right": 1}
    assert found.sentence.startswith("left: 1.000 [")
    assert found.sentence.endswith("at most .200; layers.3.0 reads 3 of 11 directions")
    # The pairs that are named are some that the claim answers and its read part does not.
    assert len(left["lost"]) == 5
    assert own.evaluation.hits[left["lost"]].all()
    assert found.refuted_at(1e-6)
    assert corrected({"D1": found, "A1": replace(found)})["D1"].answer is NO
    assert found.forward_passes == 2 * int(own.test.effective.sum()) + 2


def test_a_claim_that_is_read_by_one_direction_is_left_open():
    found = D1(zoo_case("illusion, rank-one reader", 1, 1))
    assert found.answer is VACUOUS
    assert found.reason == (
        "layers.3.0 reads 1 of 11 directions, which keeps no variable apart: "
        "the part that is read swaps the others with it"
    )
    assert found.refuted_at is None


def test_one_variable_that_is_read_with_what_the_claim_leaves_out_is_left_open():
    """left alone through one direction that also reads right: swapping what is read swaps both."""
    one = member("clean, joint reader", 1)
    alignment = one.claims[0].alignment
    left = alignment.algorithm["left"]
    alone = Alignment(alignment.algorithm, {left: alignment.slices[left].features[:1]})
    alone = alone.with_maps([Subspace(alignment.subspace(left).reader, alignment.subspace(left).writer)])
    found = D1(case_of(alone, counterfactuals(alone.algorithm, 240, swap=["left"], seed=4)))
    assert found.answer is VACUOUS
    assert "keeps no variable apart" in found.reason
    assert found.figures["by_swap"]["left"]["gap"]["value"] > 0.2
    apart = member("clean", 1).claims[1].alignment
    assert D1(case_of(apart, counterfactuals(apart.algorithm, 240, swap=["left"], seed=4))).answer is YES


def test_a_claim_without_effect_has_nothing_to_divide():
    found = D1(zoo_case("inert copy", 1, 1))
    assert found.answer is VACUOUS
    assert found.reason.startswith("left gives the expected answer in .000 [")
    assert found.reason.endswith(": there is no effect to divide")


def test_where_everything_is_read_nothing_is_divided():
    one = trained_member("distributive", "and of or", seed=1)
    found = D1(case_of(one.claims[0].alignment, one.pairs(one.claims[0], 100, seed=1)))
    assert (found.answer, found.forward_passes) == (VACUOUS, 0)
    assert found.sentence == "the claim has no part that is read beside one that is not"
    assert found.reason == "layers.3.0 reads 32 of 32 directions: nothing of the claim goes unread"


def test_where_nearly_everything_is_read_a_success_says_nothing():
    one = trained_member("parity", "in pairs", seed=0)
    found = D1(case_of(one.claims[0].alignment, one.pairs(one.claims[0], 400, seed=2)))
    assert found.answer is VACUOUS
    assert found.reason == (
        "layers.3.0 reads 31 of 32 directions, and outside them states move along 1 direction, "
        "too few for another 14 like the claim's"
    )


def test_a_map_that_is_not_linear_has_no_row_part():
    one = member("clean", 1)
    algorithm = one.algorithm
    site = one.network.site("layers.2")
    features = Reversible(site)
    claim = Alignment(algorithm, {algorithm["left"]: features[:1], algorithm["right"]: features[1:2]})
    group = claim.groups[0]
    parametrisation = features.parametrisation(group.width, group.coordinates, list(group.columns.values()))
    fitted = claim.with_maps(
        [parametrisation.final(parametrisation.solve(parametrisation.start(0)[None])[0])]
    )
    found = D1(case_of(fitted, counterfactuals(algorithm, 80, seed=0)))
    assert found.answer is VACUOUS
    assert found.reason == "the variable's map is not linear: a reversible network"


def test_what_something_else_reads_is_found_out(monkeypatch):
    """Of a reader that was overlooked the unread part tells, since it then changes answers."""
    real = module.read_space

    def narrowed(prepared, site):
        found = real(prepared, site)
        (rows,) = found.rows
        return replace(found, rows=(replace(rows, basis=rows.basis[:, :1], gains=rows.gains[:1]),))

    monkeypatch.setattr(module, "read_space", narrowed)
    found = D1(zoo_case("clean", 1, 0))
    assert found.answer is VACUOUS
    assert found.reason.startswith("what layers.3.0 cannot read changes ")
    assert found.reason.endswith(" of the answers: something else reads it")


def test_the_residual_stream_of_a_compiled_program_is_read_by_all():
    made = compile_program(program("duplicate", length=3), rotation=1)
    inner = made.algorithm.inner_variables[0]
    claim = made.alignment([made.true_home(inner)])
    found = D1(case_of(claim, counterfactuals(claim.algorithm, 60, swap=[inner], seed=0)))
    assert found.answer is VACUOUS
    assert found.reason.endswith("as in a residual stream: all of it is read")


def test_neurons_of_a_language_model_are_divided():
    net = Network(
        M.model("gpt2", dtype=torch.float32),
        M.tokenizer(),
        template="{w}{x}{y}{z}=",
        answers={False: "1", True: "2"},
    )
    algorithm = equality(4)
    site = net.site("mlp_activation", layer=1, position="last")
    claim = Alignment(
        algorithm, {algorithm["left"]: Coordinates(site)[:4], algorithm["right"]: Coordinates(site)[4:8]}
    )
    found = D1(case_of(claim, counterfactuals(algorithm, 400, seed=0)))
    assert found.figures["readers"] == "transformer.h.1.mlp.c_proj reads 16 of 64 directions"
    assert set(found.figures["by_swap"]) == {"left", "right"}
    # The network is random, so that nothing of the claim holds.
    assert found.answer is VACUOUS
    assert "there is no effect to divide" in found.reason


# Gates.


def halves(
    claimed: int, read: int, n: int = 100, *, census: bool = False, label: str = "left"
) -> module._Halves:
    first, second = np.arange(n) < claimed, np.arange(n) < read
    return module._Halves(
        label, np.arange(n), np.arange(2 * n).reshape(n, 2), first, second, ~first & False, 0.0, census
    )


def judged(*found: module._Halves, parts: tuple = (), thresholds: Thresholds | None = None):
    own = zoo_case("clean", 1, 0)
    own = own if thresholds is None else replace(own, thresholds=thresholds)
    return module._outcome(own, found, parts, {}, "layers.3.0 reads 2 of 9 directions")


@pytest.mark.parametrize(
    ("claimed", "read", "census", "answer"),
    [
        (100, 80, True, NO),
        (100, 81, True, YES),
        (100, 60, False, NO),
        (100, 95, False, YES),
        (100, 75, False, OPEN),
    ],
)
def test_the_gap_is_gated_on_its_bounds(claimed, read, census, answer):
    found = judged(halves(claimed, read, census=census))
    assert found.answer is answer
    assert (found.n_to_decide is not None) == (answer is OPEN)


def test_the_number_of_pairs_that_would_decide_counts_all_pairs():
    own = zoo_case("clean", 1, 0)
    found = judged(halves(100, 88))
    assert found.answer is OPEN
    gap = found.figures["by_swap"]["left"]["gap"]
    alone = np.ceil(100 * ((gap["upper"] - gap["value"]) / (0.2 - gap["value"])) ** 2)
    assert found.n_to_decide == int(np.ceil(alone * len(own.test) / 100))


def test_one_set_refutes_and_all_are_needed_to_support():
    good, bad, unsure = halves(100, 100), halves(100, 20, label="right"), halves(100, 85, label="right")
    assert judged(good, bad).answer is NO
    assert judged(good, bad).sentence.startswith("right: ")
    assert judged(good, unsure).answer is OPEN
    # Of several sets each gets its share of the error.
    edge = next(k for k in range(100, 0, -1) if halves(100, k).gap(0.05).lower >= 0.2)
    assert judged(halves(100, edge)).answer is NO
    assert judged(good, halves(100, edge, label="right")).answer is OPEN


def test_without_effective_pairs_nothing_is_decided():
    own = zoo_case("clean", 1, 0)
    quiet = own.test.subset(~own.test.effective)
    found = D1(case_of(own.alignment, quiet))
    assert found.answer is OPEN
    assert found.n_to_decide is None


# Parts.


def test_the_part_of_an_orthogonal_map_is_its_orthogonal_projection():
    generator = torch.Generator().manual_seed(0)
    v, rows = (torch.linalg.qr(torch.randn(9, k, generator=generator, dtype=torch.float64)).Q for k in (2, 4))
    found = parts.part(Subspace(v, v), lambda d: rows @ (rows.T @ d))
    inside = torch.linalg.qr(rows @ (rows.T @ v)).Q
    torch.testing.assert_close(found.projector(), inside @ inside.T)


def test_the_part_of_an_oblique_map_reads_and_writes_within():
    generator = torch.Generator().manual_seed(1)
    draw = [torch.randn(9, 2, generator=generator, dtype=torch.float64) for _ in range(2)]
    own = Subspace(draw[0] @ torch.linalg.inv(draw[1].T @ draw[0]), draw[1])
    rows = torch.linalg.qr(torch.randn(9, 6, generator=generator, dtype=torch.float64)).Q
    found = parts.part(own, lambda d: rows @ (rows.T @ d))
    assert found.defect() < 1e-10
    for side in (found.reader, found.writer):
        torch.testing.assert_close(rows @ (rows.T @ side), side)
    # Where all of the pair is read the part is the pair.
    whole = parts.part(own, lambda d: d)
    torch.testing.assert_close(whole.projector(), own.projector())


def test_what_is_at_right_angles_has_no_part():
    e = torch.eye(4, dtype=torch.float64)
    found = parts.part(Subspace(e[:, :2], e[:, :2]), lambda d: torch.outer(e[0], e[0]) @ d)
    assert found.dimension == 1
    assert parts.part(Subspace(e[:, 1:2], e[:, 1:2]), lambda d: torch.outer(e[0], e[0]) @ d).dimension == 0


# A wrong variant.


def test_a_part_that_is_only_written_within_lets_an_illusion_pass(monkeypatch):
    """P D Eᵀ (h_source - h) looks like the whole edit to every reader, whatever Eᵀ reads."""

    def written(own, project):
        return Subspace(own.reader, project(own.writer))

    monkeypatch.setattr(parts, "part", written)
    found = D1(zoo_case(ILLUSION[0], 1, ILLUSION[1]))
    assert found.figures["by_swap"]["left"]["gap"]["value"] == 0
    assert found.answer is YES

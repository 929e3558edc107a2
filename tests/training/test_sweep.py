"""Fits at several sites of a decoder together: each as it would be alone, and as through whole runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

import commutes as cm
from commutes.engine import Certificate
from commutes.engine import _prepare as prepare_module
from commutes.features import Subspace, orthonormal
from commutes.training import Settings, fit_many
from commutes.training._cohort import cohort
from commutes.training._memory import Piece, bytes_of_a_row, pieces
from tests.network.transformers import models as M

SETTINGS = Settings(steps=12, lr=0.02, batch=16, starts=2, every=6)


def sums() -> cm.Algorithm:
    algorithm = cm.Algorithm("last digit")
    a, b = algorithm.inputs("a b", domain=range(12))
    algorithm.add("left", a, f=lambda a: a % 5)
    algorithm.add("digit", "left", b, f=lambda left, b: (left + b) % 10, output=True)
    return algorithm


PLACES: tuple[tuple[dict[str, Any], int], ...] = (
    ({"path": "block_output", "layer": 0, "position": "last"}, 2),
    ({"path": "block_output", "layer": 1, "position": "{b[last]}"}, 3),
    ({"path": "mlp_output", "layer": 2, "position": "last"}, 2),
    ({"path": "block_output", "layer": 2, "position": ["{b[last]}", "last"]}, 2),
    ({"path": "block_input", "layer": 0, "position": "{a[first]}"}, 1),
)


def claims(network: cm.Network, algorithm: cm.Algorithm) -> list[cm.Alignment]:
    return [
        cm.Alignment(algorithm, {algorithm["left"]: cm.Rotation(network.site(**where))[:k]})
        for where, k in PLACES
    ]


def setting(family: str) -> tuple[list[cm.Alignment], cm.Counterfactuals, cm.Counterfactuals]:
    algorithm = sums()
    pairs = cm.counterfactuals(algorithm, 120, seed=1)
    train, select = pairs.split(train=0.6, select=0.4)
    return claims(M.network(family), algorithm), train, select


def angle(first: cm.Alignment, second: cm.Alignment) -> float:
    ours, theirs = (a.featurizers[0] for a in (first, second))
    assert isinstance(ours, Subspace)
    assert isinstance(theirs, Subspace)
    return float(ours.angles(theirs).max())


def fitted(
    alignments: Sequence[cm.Alignment],
    train: cm.Counterfactuals,
    select: cm.Counterfactuals,
    *,
    settings: Settings = SETTINGS,
    **options: Any,
) -> list[cm.Alignment]:
    count = len(alignments)
    return fit_many(
        alignments, [train] * count, selects=[select] * count, seed=3, settings=settings, **options
    )


@pytest.mark.parametrize("family", ["gpt2", "qwen2", "bert"])
def test_a_sweep_finds_what_each_claim_finds_alone(family: str) -> None:
    alignments, train, select = setting(family)
    together = fitted(alignments, train, select)
    for alignment, found in zip(alignments, together, strict=True):
        (alone,) = fitted([alignment], train, select)
        assert angle(found, alone) < 1e-6
        assert found.history["start_scores"] == alone.history["start_scores"]
        assert found.history["chosen_step"] == alone.history["chosen_step"]
    moved = [angle(found, cm.fit(a, train, seed=3, steps=1, lr=1e-9, starts=1)) for a, found in
             zip(alignments, together, strict=True)]  # fmt: skip
    # Where an edit reaches nothing there is nothing to find: in BERT what stands behind the mask, in the last layer.
    assert max(moved) > 1e-2
    assert family == "bert" or min(moved) > 1e-2


@pytest.mark.parametrize("family", ["gpt2", "gemma3_text"])
def test_whole_runs_end_at_the_same_subspaces(family: str, monkeypatch: pytest.MonkeyPatch) -> None:
    alignments, train, select = setting(family)
    assert all(m.prepared.cone is not None for m in cohort(alignments, [train] * 5, budget=2**30).members)
    cones = fitted(alignments, train, select)
    monkeypatch.setattr(prepare_module, "cone_certificate", lambda *_: Certificate(False, "a test"))
    monkeypatch.setattr(prepare_module, "resume_block", lambda *_: None)
    alignments, train, select = setting(family)
    whole = cohort(alignments, [train] * 5, budget=2**30)
    assert all(m.prepared.cone is None and m.prepared.block is None for m in whole.members)
    for cone, one in zip(cones, fitted(alignments, train, select), strict=True):
        assert angle(cone, one) < 1e-6
        assert cone.history["start_scores"] == one.history["start_scores"]


@pytest.mark.slow
@pytest.mark.parametrize("budget", [0, 40_000, 400_000])
def test_any_budget_gives_the_same_fits(budget: int) -> None:
    alignments, train, select = setting("llama")
    # A step that is not the same shows at once: with Adam each of them turns a map by about the rate.
    few = replace(SETTINGS, steps=4, every=4)
    plenty = fitted(alignments, train, select, settings=few)
    other = fitted(alignments, train, select, settings=replace(few, steps=3, every=3))
    for found, expected, less in zip(
        fitted(alignments, train, select, settings=few, budget=budget), plenty, other, strict=True
    ):
        assert angle(found, expected) < 1e-6
        assert angle(found, less) > 1e-4


def test_what_a_step_keeps_is_within_the_budget() -> None:
    """Counted again by hooks on everything that is saved for the gradient, beside the model's own weights."""
    alignments, train, _ = setting("gpt2")
    budget = 400_000
    members = cohort(alignments, [train] * 5, budget=budget)
    raws = [
        part.start(0)[None].repeat(len(own) * 2, 1, 1).requires_grad_()
        for (_, part), own in zip(members.banks.parts, members.banks.claims, strict=True)
    ]
    alive: dict[int, int] = {}
    peak = 0
    weights = {t.untyped_storage().data_ptr() for t in members.members[0].weights.values()}

    class Held:
        def __init__(self, tensor: torch.Tensor) -> None:
            nonlocal peak
            self.tensor, self.key = tensor, tensor.untyped_storage().data_ptr()
            if self.key not in weights:
                alive[self.key] = alive.get(self.key, 0) + 1
                sizes[self.key] = tensor.untyped_storage().nbytes()
                peak = max(peak, sum(sizes[k] for k, n in alive.items() if n))

        def __del__(self) -> None:
            if self.key in alive:
                alive[self.key] -= 1

    sizes: dict[int, int] = {}
    generators = [torch.Generator().manual_seed(0) for _ in alignments]
    with torch.autograd.graph.saved_tensors_hooks(Held, lambda held: held.tensor):
        members.step(raws, 16, 2, generators)
    whole = sum(16 * 2 * b for b in members.row_bytes.values())
    assert whole > budget // 2
    # The rotations themselves are kept as well, whatever the batch.
    assert 0 < peak <= budget // 2 + 50_000


def test_units_share_a_forward_as_far_as_the_budget_goes() -> None:
    units = [(0, 0), (1, 1), (2, 2), (3, 3)]
    bytes_of = {0: 10, 1: 10, 3: 100}
    found = pieces(units, bytes_of, rows=4, budget=80)
    assert found == [
        Piece(((0, 0), (1, 1)), slice(0, 4)),
        Piece(((2, 2),), slice(0, 4)),
        *(Piece(((3, 3),), slice(i, i + 1)) for i in range(4)),
    ]
    assert pieces(units[:2], bytes_of, rows=4, budget=79) == [
        Piece(((0, 0),), slice(0, 4)),
        Piece(((1, 1),), slice(0, 4)),
    ]
    assert pieces([], {}, rows=4, budget=0) == []


def test_what_units_have_in_common_is_there_once_in_every_forward() -> None:
    units = [(0, 0), (1, 1), (2, 2), (3, 3)]
    found = pieces(units, {0: 10, 1: 10, 2: 10, 3: 100}, rows=4, budget=120, shared=10)
    assert found == [
        Piece(((0, 0), (1, 1)), slice(0, 4)),
        Piece(((2, 2),), slice(0, 4)),
        *(Piece(((3, 3),), slice(i, i + 1)) for i in range(4)),
    ]
    assert pieces(units[:3], {0: 10, 1: 10, 2: 10}, rows=4, budget=160, shared=10) == [
        Piece(((0, 0), (1, 1), (2, 2)), slice(0, 4))
    ]


def test_a_longer_cone_keeps_more_for_its_gradient() -> None:
    alignments, train, _ = setting("gpt2")
    members = cohort(alignments, [train] * 5, budget=2**30).members
    first, _, last, *_ = (bytes_of_a_row(m) for m in members)
    assert first > 1.5 * last > 0


def test_a_cut_batch_is_the_whole_batch() -> None:
    alignments, train, _ = setting("gpt2")
    found = []
    for budget in (2**30, 2 * min(cohort(alignments, [train] * 5, budget=2**30).row_bytes.values()) * 5):
        members = cohort(alignments, [train] * 5, budget=budget)
        raws = [
            part.start(0)[None].repeat(len(own), 1, 1).double().requires_grad_()
            for (_, part), own in zip(members.banks.parts, members.banks.claims, strict=True)
        ]
        found.append(members.step(raws, 16, 1, [torch.Generator().manual_seed(0) for _ in alignments]))
    assert (found[0][0] - found[1][0]).abs().max() < 1e-6
    for one, other in zip(found[0][1], found[1][1], strict=True):
        assert (one - other).abs().max() < 1e-6
    assert np.isfinite(found[0][0].numpy()).all()


@pytest.mark.parametrize("family", ["gpt2", "gemma3_text", "bert"])
def test_a_loss_over_the_answers_is_that_of_their_columns(family: str) -> None:
    """The head computes the answers' rows alone; by hand the same columns are taken out of all logits."""
    alignments, train, _ = setting(family)
    answers = cohort(alignments, [train] * 5, budget=2**30, objective="answers")
    every = cohort(alignments, [train] * 5, budget=2**30)
    raws = [
        part.start(0)[None].repeat(len(own), 1, 1).double().requires_grad_()
        for (_, part), own in zip(answers.banks.parts, answers.banks.claims, strict=True)
    ]
    rows = [
        torch.randint(len(m.base), (16,), generator=torch.Generator().manual_seed(0)) for m in every.members
    ]
    generators = [torch.Generator().manual_seed(0) for _ in alignments]
    losses, gradients = answers.step(raws, 16, 1, generators)
    spelling = torch.from_numpy(np.array(alignments[0].network.spelling))[:, 0]
    bases = [orthonormal(raw) for raw in raws]
    by_hand = []
    for claim, member in enumerate(every.members):
        batch, masks = member.chosen(rows[claim])
        logits = member.prepared.logits(batch, member.maps(every.banks.of(bases, claim, 0, 1), 0.0), masks)
        wanted = torch.from_numpy(train.expected)[rows[claim]]
        by_hand.append(torch.nn.functional.cross_entropy(logits[:, spelling], wanted))
    assert (torch.stack(by_hand) - losses).abs().max() < 1e-6
    expected = torch.autograd.grad(sum(by_hand), raws)  # type: ignore[arg-type]
    for found, other in zip(gradients, expected, strict=True):
        assert (found - other).abs().max() < 1e-8


def test_an_objective_that_there_is_not_is_refused() -> None:
    alignments, train, _ = setting("gpt2")
    with pytest.raises(cm.errors.FitError, match="no such objective"):
        cm.fit(alignments[0], train, seed=0, objective="margin")  # type: ignore[arg-type]


def test_a_fit_says_what_its_runs_computed() -> None:
    alignments, train, _ = setting("gpt2")
    settings = Settings(steps=1, batch=4, starts=1)
    said = [a.history["route"] for a in fit_many(alignments, [train] * 5, seed=0, settings=settings)]
    assert said[0] == "cone: behind transformer.h.0, from position 5 on"
    assert said[4] == "cone: from the first block, from position 1 on"
    alignments, train, _ = setting("bert")
    (found,) = fit_many(alignments[:1], [train], seed=0, settings=settings)
    assert found.history["route"].endswith("; no cone: its attention goes both ways")


def test_claims_with_other_answers_each_have_the_loss_of_their_own() -> None:
    """Two networks that spell their answers otherwise, and two algorithms with ten and five answers."""
    network = M.network("llama")
    digits = sums()
    words = dict(enumerate(["a", "b", "plus", "is", "Paris", "Rome", "x", "y", ":", "#"]))
    other = cm.Network(M.model("llama"), M.fitting_tokenizer("llama"), template=M.PROMPT, answers=words)
    few = cm.Algorithm("few")
    a, b = few.inputs("a b", domain=range(10, 40))
    left = few.add("left", a, f=lambda a: a % 5, domain=range(5))
    few.add("digit", left, b, f=lambda left, b: (left + b) % 5, domain=range(5), output=True)

    def claim(network: cm.Network, algorithm: cm.Algorithm, layer: int) -> cm.Alignment:
        site = network.site("block_output", layer=layer, position="last")
        return cm.Alignment(algorithm, {algorithm.inner_variables[0]: cm.Rotation(site)[:2]})

    asked = [claim(network, few, 1), claim(network, digits, 0), claim(other, digits, 1)]
    pairs = [cm.counterfactuals(alignment.algorithm, 100, seed=1) for alignment in asked]
    settings = Settings(steps=3, lr=1e-2, batch=16, starts=1, objective="answers")
    together = fit_many(asked, pairs, seed=3, settings=settings)
    for alignment, own, found in zip(asked, pairs, together, strict=True):
        (alone,) = fit_many([alignment], [own], seed=3, settings=settings)
        assert angle(found, alone) < 1e-6
        assert found.history["loss"][0] == pytest.approx(alone.history["loss"][0])


@pytest.mark.parametrize("cone", [False, True])
def test_answers_that_are_not_finite_are_found_before_the_fit(
    cone: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where all blocks are sound and the head is not."""
    if cone:
        monkeypatch.setattr(prepare_module, "cone_certificate", lambda *_: Certificate(True, ""))
    model = M.model("llama")
    with torch.no_grad():
        model.lm_head.weight[3, 0] = float("nan")
    algorithm = sums()
    pairs = cm.counterfactuals(algorithm, 60, seed=1)
    network = cm.Network(model, M.fitting_tokenizer("llama"), template=M.PROMPT, answers=M.DIGITS)
    steps: list[int] = []

    def note(step: int, *_: object) -> None:
        steps.append(step)

    with pytest.raises(cm.errors.EngineError) as caught:
        fit_many(claims(network, algorithm), [pairs] * 5, seed=0, settings=SETTINGS, progress=note)
    # Cones are run for bases alone.
    first = int(np.unique(pairs.base)[0]) if cone else 0
    assert str(caught.value) == (
        "the network's clean answers are not finite\n"
        f"  where:    example {first}\n"
        "  got:      NaN or infinity in the logits\n"
        "  expected: finite logits\n"
        "  do:       run the network on that example alone; the intervention is not at fault"
    )
    assert not steps

"""Where pyvene 0.1.8 silently does something else than is declared: subspaces, numbers and what is the user's.

Each test shows what pyvene does, what this library does and what plain hooks say, so that it fails on the day when
pyvene is mended: the entry in docs/pyvene.md goes then.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import commutes as cm
from commutes.engine.pyvene import pyvene
from commutes.errors import AlignmentError
from commutes.features import Neurons, random_raw
from tests.network.transformers import models as M
from tests.parity import rows as R
from tests.parity.claims import fitted, sums
from tests.parity.plain import run
from tests.parity.rows import BASE, BLOCK, CLOSE, FAR, SOURCE, N, gap

THREE = {"sources->base": 3}


def vanilla(**fields: Any) -> Any:
    return pyvene().VanillaIntervention(embed_dim=16, **fields)


def features(chosen: list[list[int]]) -> R.Swap:
    """A plain swap at position 3 of some features, of each example its own."""

    def change(h: torch.Tensor, s: torch.Tensor) -> torch.Tensor:
        for i, of_one in enumerate(chosen):
            h[i, 3, of_one] = s[i, 3, of_one]
        return h

    return change


# Subspaces.


def test_a_plain_swap_of_one_feature_per_example_is_one_of_all_of_them() -> None:
    """Asked for feature 0 of the first example, 1 of the second and so on, pyvene swaps 0 to 3 in every one."""
    model = M.model("gpt2")
    other = R.intervenable(model, R.at(1, vanilla()))
    found = R.theirs(
        other, [R.inputs(SOURCE)], {"sources->base": R.everywhere(3)}, subspaces=[[[0], [1], [2], [3]]]
    )
    assert gap(found, R.oracle(model, (BLOCK, "output", features([[0, 1, 2, 3]] * N)))) < CLOSE
    expected = R.oracle(model, (BLOCK, "output", features([[0], [1], [2], [3]])))
    assert gap(found, expected) > FAR
    net = R.network(model)
    mask = torch.eye(N, dtype=torch.bool)[:, None]
    site = net.site(BLOCK, position=3)
    assert gap(R.ours(net, [site], [Neurons(torch.arange(4))], [mask]), expected) < CLOSE


def test_two_features_are_read_as_a_range() -> None:
    """In a partition [3, 7] is 3, 4, 5, 6, and [3, 7, 9] is 3, 7 and 9."""
    model = M.model("gpt2")
    other = R.intervenable(model, R.at(1, vanilla(subspace_partition=[[3, 7]])))
    found = R.theirs(other, [R.inputs(SOURCE)], THREE, subspaces=0)
    assert gap(found, R.oracle(model, (BLOCK, "output", features([[3, 4, 5, 6]] * N)))) < CLOSE
    expected = R.oracle(model, (BLOCK, "output", features([[3, 7]] * N)))
    assert gap(found, expected) > FAR
    net = R.network(model)
    site = net.site(BLOCK, position=3)
    assert gap(R.ours(net, [site], [Neurons(torch.tensor([3, 7]))]), expected) < CLOSE
    # What is exported means the two.
    algorithm, words = sums("gpt2"), M.network("gpt2")
    space = cm.Coordinates(words.site("block_output", layer=1, position="last"))
    exported = cm.to_pyvene(cm.Alignment(algorithm, {algorithm["left"]: space[[3, 7]]}))
    assert set(next(iter(exported.interventions.values())).subspace_partition[0]) == {3, 7}


def test_a_partition_without_subspaces_is_a_swap_of_everything() -> None:
    """A map with a partition, called without `subspaces=`: all variables are swapped, whichever was meant."""
    model, w = M.model("gpt2"), R.basis(4)
    other = R.intervenable(model, R.at(1, R.low_rank(w, subspace_partition=[[0, 2], [2, 4]])))
    one = R.oracle(model, (BLOCK, "output", R.swap(w[:, :2], [3])))
    every = R.oracle(model, (BLOCK, "output", R.swap(w, [3])))
    assert gap(R.theirs(other, [R.inputs(SOURCE)], THREE, subspaces=0), one) < CLOSE
    assert gap(R.theirs(other, [R.inputs(SOURCE)], THREE), every) < CLOSE
    assert gap(one, every) > FAR
    net = R.network(model)
    site = net.site(BLOCK, position=3)
    # Here the coordinates that are swapped have to be said for every pair.
    first = [torch.tensor([True, True, False, False]).expand(N, 1, 4)]
    assert gap(R.ours(net, [site], [R.rotated(w)], first), one) < CLOSE


def test_the_first_coordinate_of_a_boundless_rotation_is_swapped_by_half() -> None:
    """However cool it is: its gate is sigmoid(j / T) sigmoid((b - j) / T), and the first factor is 1/2 at j = 0."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        boundless = pyvene().BoundlessRotatedSpaceIntervention(embed_dim=16).double()
    boundless.set_intervention_boundaries(2.5 / 16)
    boundless.set_temperature(torch.tensor(1e-9))
    basis = boundless.rotate_layer.weight.detach()
    base, source = (random_raw(4, 16, seed, dtype=torch.float64) for seed in (1, 2))
    with torch.no_grad():
        moved = (boundless(base, source) - base) @ basis
    gates = torch.tensor([0.5, 1.0, 1.0, *[0.0] * 13], dtype=torch.float64)
    assert torch.allclose(moved, gates * ((source - base) @ basis), atol=1e-5)
    own = cm.Boundless(R.network(M.model("gpt2")).site(BLOCK, position=3))
    part = own.parametrisation(16, range(4), [range(4)])
    solved = part.solve(part.start(0)[None])[0]
    open_ = part.hard(solved).gate
    assert open_.tolist() == [True, True, False, False]


def test_the_interchange_dimension_of_a_low_rank_rotation_is_ignored() -> None:
    """`set_interchange_dim(2)` means the first two columns of a square rotation, and of a low-rank one all four."""
    model, w = M.model("gpt2"), R.basis(4)
    rotation = R.low_rank(w)
    rotation.set_interchange_dim(2)
    found = R.theirs(R.intervenable(model, R.at(1, rotation)), [R.inputs(SOURCE)], THREE)
    assert gap(found, R.oracle(model, (BLOCK, "output", R.swap(w, [3])))) < CLOSE
    expected = R.oracle(model, (BLOCK, "output", R.swap(w[:, :2], [3])))
    assert gap(found, expected) > FAR
    net = R.network(model)
    site = net.site(BLOCK, position=3)
    assert gap(R.ours(net, [site], [R.rotated(w)[:2]]), expected) < CLOSE


@pytest.mark.parametrize("elsewhere", ["another layer", "another position"])
def test_linked_interventions_at_two_places_put_the_state_of_the_first_into_the_second(
    elsewhere: str,
) -> None:
    """Sharing a map between two layers or positions by a link key, the second place gets the first one's edited
    state, whole, with its own edit on top of that.
    """
    model, w = M.model("gpt2"), R.basis(2)
    shared, second = R.low_rank(w), 2 if elsewhere == "another layer" else 1
    other = R.intervenable(
        model, R.at(1, shared, intervention_link_key=0), R.at(second, shared, intervention_link_key=0)
    )
    places = [5, 5] if elsewhere == "another layer" else [3, 5]
    listed = [[[p]] * N for p in places]
    found = R.theirs(other, [R.inputs(SOURCE), R.inputs(SOURCE)], {"sources->base": (listed, listed)})
    path = f"transformer.h.{second}"
    edits = [(BLOCK, "output", R.swap(w, places[:1])), (path, "output", R.swap(w, places[1:]))]
    if elsewhere == "another position":
        edits = [(BLOCK, "output", R.swap(w, places))]
    expected = R.oracle(model, *edits)
    assert gap(found, expected) > FAR
    unlinked = R.intervenable(model, R.at(1, R.low_rank(w)), R.at(second, R.low_rank(w)))
    again = R.theirs(unlinked, [R.inputs(SOURCE), R.inputs(SOURCE)], {"sources->base": (listed, listed)})
    assert gap(again, expected) < CLOSE
    # Here one map for several positions is each=True.
    net = R.network(model)
    if elsewhere == "another position":
        sites, maps = [net.site(BLOCK, position=places, each=True)], [R.rotated(w)]
    else:
        sites, maps = [net.site(p, position=5) for p in (BLOCK, path)], [R.rotated(w), R.rotated(w)]
    assert gap(R.ours(net, sites, maps), expected) < CLOSE


def test_two_maps_at_one_place_are_swapped_one_after_the_other() -> None:
    """Of two maps that are not orthogonal the later one undoes part of the earlier: the order decides."""
    model, v, w = M.model("gpt2"), R.basis(2), R.basis(2, seed=1)
    found = []
    for first, second in ((v, w), (w, v)):
        other = R.intervenable(model, R.at(1, R.low_rank(first)), R.at(1, R.low_rank(second)))
        found.append(R.theirs(other, [R.inputs(SOURCE), R.inputs(SOURCE)], THREE))
    assert gap(found[0], found[1]) > FAR

    def together(h: torch.Tensor, s: torch.Tensor) -> torch.Tensor:
        change = s[:, 3] - h[:, 3]
        h[:, 3] = h[:, 3] + change @ v @ v.T + change @ w @ w.T
        return h

    written_together = R.oracle(model, (BLOCK, "output", together))
    assert min(gap(f, written_together) for f in found) > FAR
    # Here two variables at one place are slices of one map, which are orthogonal, and are written together.
    algorithm, net = sums("gpt2"), M.network("gpt2")
    one, two = (cm.Rotation(net.site("block_output", layer=1, position="last")) for _ in range(2))
    with pytest.raises(AlignmentError, match="two featurizers overlap"):
        cm.Alignment(algorithm, {algorithm["left"]: one[:2], algorithm["right"]: two[:2]})


def test_linked_maps_are_trained_twice_in_one_step() -> None:
    """A linked map stands twice among the trainable parameters, and an optimizer moves it twice as far."""
    model = M.model("gpt2")
    shared = R.low_rank(R.basis(2), subspace_partition=[[0, 1], [1, 2]])
    other = R.intervenable(
        model, R.at(1, shared, intervention_link_key=0), R.at(1, shared, intervention_link_key=0)
    )
    listed = other.get_trainable_parameters()
    assert len(listed) == 2
    assert listed[0] is listed[1]
    assert other.count_parameters() == listed[0].numel()
    before = listed[0].detach().clone()
    listed[0].grad = torch.ones_like(listed[0])
    with pytest.warns(UserWarning, match="duplicate parameters"):
        optimizer = torch.optim.SGD(listed, lr=0.5)
    optimizer.step()
    assert torch.allclose(listed[0].detach(), before - 2 * 0.5)
    # Here a group of variables has one map, and a fit one parameter.
    algorithm, net = sums("gpt2"), M.network("gpt2")
    space = cm.Rotation(net.site("block_output", layer=1, position="last"))
    claim = cm.Alignment(algorithm, {algorithm["left"]: space[:1], algorithm["right"]: space[1:2]})
    assert [(g.width, g.dimension) for g in claim.groups] == [(16, 2)]


# Numbers.


def test_a_square_rotation_moves_a_base_that_is_swapped_with_itself() -> None:
    """pyvene turns the state, swaps, and turns it back: what is not swapped comes back rounded. Here, as in the
    low-rank rotation, only the difference is written, which is 0.
    """
    model = M.model("gpt2", dtype=torch.float32)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        square = pyvene().RotatedSpaceIntervention(embed_dim=16, subspace_partition=[[0, 4], [4, 16]])
    other = R.intervenable(model, R.at(1, square))
    with torch.no_grad():
        clean = model(**BASE).logits[:, -1]
        assert not torch.equal(R.theirs(other, [R.inputs(BASE)], THREE, subspaces=0), clean)
        low = R.intervenable(model, R.at(1, R.low_rank(square.rotate_layer.weight.detach()[:, :4])))
        assert torch.equal(R.theirs(low, [R.inputs(BASE)], THREE), clean)
    algorithm, net = sums("gpt2"), M.network("gpt2", dtype=torch.float32)
    space = cm.Rotation(net.site("block_output", layer=1, position="last"))
    alignment = fitted(cm.Alignment(algorithm, {algorithm["left"]: space[:4]}), dtype=torch.float32)
    pairs = cm.counterfactuals(algorithm, 6, seed=0, swap=[{algorithm["left"]}])
    found = cm.evaluate(alignment, pairs)
    assert found.self_checks["base onto itself"] == 0


def test_a_map_in_double_precision_comes_back_in_single(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Saved in float64 and loaded, a rotation is one of float32, and the swap is off by its rounding."""
    model, w = M.model("gpt2"), R.basis(2)
    where = R.at(1, R.low_rank(w), low_rank_dimension=2)
    R.intervenable(model, where).save(str(tmp_path / "pyvene"))
    loaded = pyvene().IntervenableModel.load(str(tmp_path / "pyvene"), model)
    # It says on stdout that it makes a folder.
    assert "created successfully" in capsys.readouterr().out
    weight = next(iter(loaded.interventions.values())).rotate_layer.weight
    assert weight.dtype == torch.float32
    expected = R.oracle(model, (BLOCK, "output", R.swap(w, [3])))
    assert 1e-9 < gap(R.theirs(loaded, [R.inputs(SOURCE)], THREE), expected) < 1e-5
    algorithm, net = sums("gpt2"), M.network("gpt2")
    space = cm.Rotation(net.site("block_output", layer=1, position="last"))
    alignment = fitted(cm.Alignment(algorithm, {algorithm["left"]: space[:2]}))
    cm.save(alignment, tmp_path / "ours")
    back = cm.load(tmp_path / "ours", algorithm=algorithm, network=net)
    variable = algorithm["left"]
    assert torch.equal(back.subspace(variable).writer, alignment.subspace(variable).writer)


# What is the user's.


def test_wrapping_a_model_freezes_it_for_good() -> None:
    model = M.model("gpt2").train()
    R.intervenable(model, R.at(1, R.low_rank(R.basis(2))))
    assert not model.training
    assert not any(p.requires_grad for p in model.parameters())
    kept = M.network("gpt2")
    kept.module.requires_grad_(True)
    algorithm = sums("gpt2")
    space = cm.Rotation(kept.site("block_output", layer=1, position="last"))
    cm.to_pyvene(fitted(cm.Alignment(algorithm, {algorithm["left"]: space[:2]})))
    assert all(p.requires_grad for p in kept.module.parameters())


def test_the_users_hooks_are_taken_away() -> None:
    """Every call begins and ends by removing all hooks of the model, those of others too."""
    model = M.model("gpt2")
    seen: list[int] = []
    handle = model.transformer.h[0].register_forward_hook(lambda *_: seen.append(1))
    other = R.intervenable(model, R.at(1, R.low_rank(R.basis(2))))
    model(**BASE)
    assert len(seen) == 1
    R.theirs(other, [R.inputs(SOURCE)], THREE)
    model(**BASE)
    assert len(seen) == 1
    handle.remove()
    mine = M.model("gpt2")
    mine.transformer.h[0].register_forward_hook(lambda *_: seen.append(2))
    net = R.network(mine)
    R.ours(net, [net.site(BLOCK, position=3)], [R.rotated(R.basis(2))])
    calls = len(seen)
    mine(**BASE)
    assert len(seen) == calls + 1


def test_zeroing_gradients_leaves_those_of_the_model() -> None:
    """With the model's gradients enabled, dropout is on, and `set_zero_grad` and `zero_grad` zero the maps only:
    the model's gradients add up from step to step.
    """
    model = M.model("gpt2")
    other = R.intervenable(model, R.at(1, R.low_rank(R.basis(2))))
    other.enable_model_gradients()
    assert model.training
    assert any(isinstance(m, nn.Dropout) and m.training and m.p > 0 for m in model.modules())
    other.eval()
    sizes = []
    for _ in range(2):
        other.set_zero_grad()
        other.zero_grad()
        other(R.inputs(BASE), [R.inputs(SOURCE)], THREE)[1].logits.sum().backward()
        sizes.append(model.transformer.wte.weight.grad.abs().sum())
    assert torch.isclose(sizes[1], 2 * sizes[0])


def test_the_training_loop_leaves_the_attention_mask_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """`train_alignment` hands `input_ids` on and nothing else: padding is attended to."""
    net = M.network("gpt2", dtype=torch.float32)
    model: Any = M.model("gpt2", dtype=torch.float32)
    batch = net.encode({"a": np.array([3, 45]), "b": np.array([4, 67])}).kwargs
    other = R.intervenable(model, R.at(1, R.low_rank(R.basis(2).float())))
    where = [[3], [3]]
    data = {
        **batch,
        "source_input_ids": batch["input_ids"],
        "source_0->base.0.pos": where,
        "source_0->base.1.pos": where,
        "labels": torch.zeros(2),
    }
    seen: list[torch.Tensor] = []

    def loss(logits: torch.Tensor, _labels: torch.Tensor) -> torch.Tensor:
        seen.append(logits.detach()[:, -1])
        return logits.sum()

    other.train_alignment([data], loss, lambda *_: {}, None, epochs=1)
    with torch.no_grad():
        without = model(input_ids=batch["input_ids"]).logits[:, -1]
        masked = model(**batch).logits[:, -1]
    # The base is its own source, so that nothing else has changed.
    assert gap(seen[0], without) < 1e-5
    assert gap(seen[0][0], masked[0]) > FAR
    expected = run(model, {"input_ids": batch["input_ids"][:1, 2:]})[0, -1]
    algorithm = sums("gpt2")
    space = cm.Rotation(net.site("block_output", layer=1, position="last"))
    claim = fitted(cm.Alignment(algorithm, {algorithm["left"]: space[:2]}), dtype=torch.float32)
    mine = cm.to_pyvene(claim).model(**net.encode({"a": np.array([3, 45]), "b": np.array([4, 67])}).kwargs)
    assert gap(mine.logits[0, -1], expected) < 1e-5


def test_a_new_rotation_is_drawn_from_the_global_generator() -> None:
    """Two rotations made one after the other differ, and every later draw of the program with them."""
    kind = pyvene().LowRankRotatedSpaceIntervention
    with torch.random.fork_rng():
        torch.manual_seed(0)
        first = kind(embed_dim=8, low_rank_dimension=2).rotate_layer.weight
        second = kind(embed_dim=8, low_rank_dimension=2).rotate_layer.weight
        after = torch.rand(1)
        torch.manual_seed(0)
        assert not torch.equal(torch.rand(1), after)
    assert not torch.equal(first, second)
    with torch.random.fork_rng():
        state = torch.random.get_rng_state()
        assert torch.equal(random_raw(8, 2, 0), random_raw(8, 2, 0))
        assert torch.equal(torch.random.get_rng_state(), state)

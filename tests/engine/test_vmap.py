"""Several networks at once: `torch.func.vmap` over weights, batches, maps and masks equals the loop."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch.func import grad, stack_module_state, vmap
from torch.nn.functional import cross_entropy
from torch.utils._pytree import tree_map

from commutes.engine import Batch, Prepared, prepare
from commutes.features import Neurons, rotation
from commutes.network import Network, Site

from . import nets
from .nets import Case

# torch falls back to a loop for its fused cells and attention, and says so.
pytestmark = pytest.mark.filterwarnings("ignore:There is a performance drop:UserWarning")

PAIRS, NETWORKS = 6, 3
Sites = Callable[[Network], list[Site]]

CASES: dict[str, tuple[Callable[[], Case], dict[str, Any], Sites, list[int]]] = {
    "mlp, whole": (nets.mlp, {}, lambda n: [n.site("layers.1")], [2]),
    "mlp, resumed": (
        nets.mlp,
        {"blocks": "layers"},
        lambda n: [n.site("layers.0"), n.site("layers.2")],
        [2, 1],
    ),
    "mlp, in place": (
        lambda: nets.mlp(inplace=True),
        {"blocks": "layers"},
        lambda n: [n.site("layers.1.0", part=[3, 0, 1])],
        [2],
    ),
    "cnn": (nets.cnn, {}, lambda n: [n.site("first", part=[2, 0], position=[0, 4])], [2]),
    "gru": (nets.gru, {}, lambda n: [n.site("cell", call=1)], [2]),
    "gru, spread": (nets.gru, {}, lambda n: [n.site("cell", call=0) + n.site("cell", call=2)], [3]),
    "attention": (
        nets.attention,
        {"blocks": "blocks"},
        lambda n: [
            n.site("blocks.0", position=lambda v: v["i"] % 4),
            n.site("blocks.1.heads", part=[2, 3], position=[0, 1], each=True),
        ],
        [2, 1],
    ),
    "encoder": (nets.encoder, {"blocks": "layers"}, lambda n: [n.site("layers.0", position=[1])], [2]),
}


def _setting(
    name: str,
) -> tuple[list[Prepared], Batch, dict[str, torch.Tensor], list[int], list[torch.Tensor]]:
    make, options, sites, sizes = CASES[name]
    case = make()
    networks = [case.network(**options).reinitialised(seed) for seed in range(NETWORKS)]
    ready = [prepare(n, nets.values(), sites(n)) for n in networks]
    batches = [r.batch(*nets.pairs(PAIRS, 2, seed=i)) for i, r in enumerate(ready)]
    stacked = tree_map(lambda *tensors: torch.stack(tensors), *batches)
    parameters, buffers = stack_module_state([n.module for n in networks])
    weights = {k: v.detach() for k, v in {**parameters, **buffers}.items()}
    widths = [layout.width for layout in ready[0].plan.values()]
    raws = [nets.gaussian(NETWORKS, d, k, seed=d) for d, k in zip(widths, sizes, strict=True)]
    return ready, stacked, weights, sizes, raws


def _one(ready: Prepared) -> Callable[..., torch.Tensor]:
    def logits(
        raws: list[torch.Tensor], batch: Batch, masks: list[torch.Tensor], weights: dict[str, torch.Tensor]
    ) -> torch.Tensor:
        return ready.logits(batch, [rotation(raw) for raw in raws], masks, weights=weights)

    return logits


@pytest.mark.parametrize("name", CASES)
def test_stacked_networks_equal_the_loop(name: str) -> None:
    ready, batch, weights, sizes, raws = _setting(name)
    masks = [torch.stack([nets.mask(PAIRS, 2, k, seed + k) for seed in range(NETWORKS)]) for k in sizes]
    together = vmap(_one(ready[0]))(raws, batch, masks, weights)
    assert together.shape == (NETWORKS, PAIRS, 3)
    for i, alone in enumerate(ready):
        own = tree_map(lambda tensor, i=i: tensor[i], batch)
        plain = alone.logits(own, [rotation(raw[i]) for raw in raws], [m[i] for m in masks])
        assert (together[i] - plain).abs().max() < 1e-10


@pytest.mark.parametrize("name", CASES)
def test_gradients_of_stacked_networks_equal_the_loop(name: str) -> None:
    ready, batch, weights, sizes, raws = _setting(name)
    masks = [torch.stack([nets.mask(PAIRS, 2, k, seed + k) for seed in range(NETWORKS)]) for k in sizes]

    def loss(*arguments: Any) -> torch.Tensor:
        return cross_entropy(_one(ready[0])(*arguments), torch.arange(PAIRS) % 3)

    together = vmap(grad(loss))(raws, batch, masks, weights)
    for i, alone in enumerate(ready):
        own = tree_map(lambda tensor, i=i: tensor[i], batch)
        leaves = [raw[i].clone().requires_grad_() for raw in raws]
        logits = alone.logits(own, [rotation(leaf) for leaf in leaves], [m[i] for m in masks])
        plain = torch.autograd.grad(cross_entropy(logits, torch.arange(PAIRS) % 3), leaves)
        for one, other in zip(together, plain, strict=True):
            assert (one[i] - other).abs().max() < 1e-8


def test_one_network_with_several_maps_and_neurons() -> None:
    case = nets.mlp(blocks="layers")
    network = case.network()
    ready = prepare(network, nets.values(), [network.site("layers.0"), network.site("layers.2")])
    batch = ready.batch(*nets.pairs(PAIRS, 1))
    raws, whole = nets.gaussian(4, 5, 2), nets.everything(PAIRS, 2)
    chosen = Neurons(torch.tensor([0, 3]))

    def logits(raw: torch.Tensor) -> torch.Tensor:
        return ready.logits(batch, [rotation(raw), chosen], [whole, whole])

    together = vmap(logits)(raws)
    for raw, found in zip(raws, together, strict=True):
        assert (found - logits(raw)).abs().max() < 1e-10


def test_the_modules_are_as_they_were() -> None:
    ready, batch, weights, sizes, raws = _setting("mlp, resumed")
    before = [nets.state_of(r.network.module) for r in ready]
    masks = [torch.ones(NETWORKS, PAIRS, 2, k, dtype=torch.bool) for k in sizes]
    vmap(_one(ready[0]))(raws, batch, masks, weights)
    with pytest.raises(RuntimeError):
        vmap(_one(ready[0]))([raw[:, :-1] for raw in raws], batch, masks, weights)
    assert [nets.state_of(r.network.module) for r in ready] == before

"""Runs with other weights than the network's own: never from states that its own gave."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from commutes import Network
from commutes.engine import Edited, logits_together
from tests.network.transformers import models as M

from . import cones as C
from .cones import CLOSE

CASES = [("block_output", 0, "last"), ("mlp_output", 1, "{b[last]}")]
Weights = dict[str, torch.Tensor]


def own(network: Network) -> Weights:
    module = network.module
    return {k: t.detach() for k, t in (*module.named_parameters(), *module.named_buffers())}


def ready(network: Network) -> list[Edited]:
    prepared, raws = C.ready(network, C.values(True), [[C.site(network, *case)] for case in CASES])
    return [C.edited(one, raw) for one, raw in zip(prepared, raws, strict=True)]


def by_hand(run: Edited, weights: Weights) -> torch.Tensor:
    """A model with these weights, run whole, with the sources that the other gave."""
    other = M.model("llama")
    other.load_state_dict(weights, strict=False)
    network = Network(other, M.fitting_tokenizer("llama"), template=M.PROMPT, answers=M.DIGITS)
    (prepared,), _ = C.ready(network, C.values(True), [[C.site(network, *CASES[0])]])
    return C.whole(run._replace(prepared=prepared))


OTHER: dict[str, Callable[[Weights], Weights]] = {
    "all halved": lambda w: {k: t * 0.5 for k, t in w.items() if "inv_freq" not in k},
    "the last block alone": lambda w: {k: t * 2 if "layers.2.mlp" in k else t for k, t in w.items()},
    "of two blocks exchanged": lambda w: {k: w[k.replace("s.1.m", "s.0.m")] for k in w},
}


@pytest.mark.parametrize("kind", OTHER)
def test_other_weights_are_run_whole(kind: str) -> None:
    network = M.network("llama")
    run = ready(network)[0]
    assert run.prepared.cone is not None
    weights = OTHER[kind](own(network))
    with torch.no_grad():
        expected = by_hand(run, weights)
        for found in (
            run.prepared.logits(*run[1:4], weights=weights),
            logits_together([run._replace(weights=weights)])[0],
        ):
            assert (found - expected).abs().max() < CLOSE
        assert (expected - logits_together([run])[0]).abs().max() > 1e-3


def test_own_weights_are_a_cone_among_others(monkeypatch: pytest.MonkeyPatch) -> None:
    network = M.network("llama")
    one, two = ready(network)
    counts: list[int] = []
    module: Any = network.module
    old = module.forward

    def counted(*args: Any, **named: Any) -> Any:
        counts.append(len(named["input_ids"]))
        return old(*args, **named)

    monkeypatch.setitem(module.__dict__, "forward", counted)
    weights = own(network)
    other = OTHER["all halved"](weights)
    with torch.no_grad():
        logits_together([one._replace(weights=weights), two._replace(weights=weights)])
        assert len(counts) == 1 + (one.prepared.cone.start != two.prepared.cone.start)  # type: ignore[union-attr]
        found = logits_together([one._replace(weights=other), two])
        assert (found[1] - logits_together([two])[0]).abs().max() < CLOSE


def test_a_gradient_that_is_asked_of_weights_is_given() -> None:
    network = M.network("llama")
    run = ready(network)[0]
    weights = {k: t.clone() for k, t in own(network).items()}
    names = ["lm_head.weight", "model.layers.1.mlp.up_proj.weight"]
    for leaves in (weights, own(network)):
        chosen = {k: leaves[k].requires_grad_() for k in names}
        found = run.prepared.logits(*run[1:4], weights={**own(network), **chosen})
        gradients = torch.autograd.grad(found.square().sum(), list(chosen.values()))
        assert all(bool(g.abs().max() > 0) for g in gradients)

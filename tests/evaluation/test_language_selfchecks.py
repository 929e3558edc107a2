"""The engine's checks of itself, run with every evaluation, on language models."""

from __future__ import annotations

from typing import Any

import pytest
import torch

import commutes as cm
from commutes import Network
from commutes.engine import Prepared
from commutes.errors import EngineError
from commutes.evaluation import Bench, _selfchecks, bench
from tests.engine import decoders, nets
from tests.network.transformers import models as M


def claim(network: Network, *, digits: int = 1) -> tuple[cm.Alignment, Any]:
    """Whole features of a token, which need no fit."""
    algorithm = cm.Algorithm("sum")
    a, b = algorithm.inputs("a b", domain=range(10, 30))
    algorithm.add("left", a, f=lambda a: a % 5)
    algorithm.add("sum", "left", b, f=lambda left, b: (left + b) % 10**digits, output=True)
    site = network.site("block_output", layer=1, position="{b[last]}")
    alignment = cm.Alignment(algorithm, {algorithm["left"]: cm.Coordinates(site)[:5]})
    return alignment, cm.counterfactuals(algorithm, 80, seed=1)


def checks(network: Network, *, digits: int = 1) -> dict[str, Any]:
    return dict(cm.evaluate(*claim(network, digits=digits)).self_checks)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
@pytest.mark.parametrize("family", ["gpt2", "llama", "gemma2", "bert"])
def test_a_base_onto_itself_is_bit_exact_and_a_whole_swap_is_the_source(
    family: str, dtype: torch.dtype
) -> None:
    found = checks(M.network(family, dtype=dtype))
    assert found["base onto itself"] == 0
    swap = found["whole swap of what is read"]
    assert (swap.hits, swap.n) == (64, 64)


def test_of_answers_of_several_tokens() -> None:
    answers = {i: f"{i:02d}" for i in range(100)}
    network = Network(M.model("qwen3"), M.tokenizer(), template=M.PROMPT, answers=answers)
    found = checks(network, digits=2)
    assert (found["base onto itself"], found["whole swap of what is read"].hits) == (0, 64)


def test_of_a_model_without_a_head_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    network = decoders.network()
    assert checks(network)["whole swap of what is read"].rate == 1
    monkeypatch.setattr(decoders.OwnModel, "get_output_embeddings", lambda _: None)
    assert checks(decoders.network())["whole swap of what is read"] is None


def test_a_swap_of_something_else_is_no_whole_swap(monkeypatch: pytest.MonkeyPatch) -> None:
    """What goes into the last block is not what is read: the check can fail."""
    network = M.network("llama")
    monkeypatch.setattr(_selfchecks, "_read_path", lambda _: "model.layers.0")
    assert checks(network)["whole swap of what is read"].rate < 1


ROUTES = {
    "cone": (lambda: M.network("llama"), "cone: "),
    "whole": (lambda: decoders.network("by name"), "whole runs; no cone: "),
    "resumed": (lambda: nets.mlp(blocks="layers").network(), "resumed behind layers.1"),
    "no blocks": (lambda: nets.mlp().network(), "whole runs"),
}


def benched(kind: str) -> tuple[cm.Alignment, Bench, str]:
    make, route = ROUTES[kind]
    network = make()
    if network.language is not None:
        alignment, pairs = claim(network)
    else:
        algorithm = cm.Algorithm("third")
        i = algorithm.input("i", domain=range(nets.INPUTS))
        algorithm.add("rest", i, f=lambda i: i % 3)
        algorithm.add("out", "rest", f=lambda rest: (rest + 1) % 3, output=True)
        alignment = cm.Alignment(algorithm, {algorithm["rest"]: cm.Coordinates(network.site("layers.1"))[:2]})
        pairs = cm.counterfactuals(algorithm, 20, seed=1)
    found = bench(alignment, pairs)
    assert found.prepared.route.startswith(route)
    return alignment, found, route


@pytest.mark.parametrize("kind", ROUTES)
def test_runs_as_they_are_measured_are_whole_runs(kind: str) -> None:
    alignment, found, _ = benched(kind)
    gap = _selfchecks.self_checks(alignment, found)["edited runs beside whole ones"]
    assert isinstance(gap, float)
    assert gap < 1e-12
    if "whole" in found.prepared.route[:5]:
        assert gap == 0


@pytest.mark.parametrize("kind", ROUTES)
@pytest.mark.parametrize("size", [1e-3, 1e-8])
def test_a_way_of_running_that_is_wrong_is_found_out(
    kind: str, size: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only the runs that are measured are wrong, and only where something is swapped."""
    alignment, found, route = benched(kind)
    right = Prepared.logits

    def wrong(self: Prepared, batch: Any, featurizers: Any, masks: Any, **more: Any) -> torch.Tensor:
        logits = right(self, batch, featurizers, masks, **more)
        return logits + size * any(mask.any() for mask in masks)

    assert _selfchecks.self_checks(alignment, found)
    monkeypatch.setattr(Prepared, "logits", wrong)
    with pytest.raises(EngineError) as caught:
        _selfchecks.self_checks(alignment, found)
    said = str(caught.value)
    assert said.startswith("edited runs are not what whole runs are\n")
    assert f"{found.prepared.network.name}, {route}" in said
    assert f"got:      a logit that differs by {size:.3g}\n" in said
    assert "this way of running should have been refused" in said


def test_kept_states_that_are_another_inputs_are_found_out() -> None:
    alignment, found, _ = benched("cone")
    cone = found.prepared.cone
    assert cone is not None
    (tier,) = cone.kept.states.tiers
    for output in tier.outputs.values():
        output.copy_(output.flip(0))
    with pytest.raises(EngineError, match="bases as their own sources\n"):
        _selfchecks.self_checks(alignment, found)


def test_source_states_that_are_another_inputs_are_found_out() -> None:
    """Whole runs are given the same ones: here the run without edits tells."""
    for kind in ("cone", "resumed", "no blocks"):
        alignment, found, _ = benched(kind)
        for states in found.prepared.sources.tiers[0].values():
            states.copy_(states.flip(0))
        with pytest.raises(EngineError, match="bases as their own sources beside no edit\n"):
            _selfchecks.self_checks(alignment, found)


def test_every_swapped_set_is_run_beside(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pairs of the second set alone go wrong."""
    network = M.network("llama")
    algorithm = cm.Algorithm("sum")
    a, b = algorithm.inputs("a b", domain=range(10, 30))
    algorithm.add("left", a, f=lambda a: a % 5)
    algorithm.add("right", b, f=lambda b: b % 5)
    algorithm.add("sum", "left", "right", f=lambda left, right: (left + right) % 10, output=True)
    places = [network.site("block_output", layer=1, position=p) for p in ("{a[last]}", "{b[last]}")]
    alignment = cm.Alignment(
        algorithm,
        {algorithm[n]: cm.Coordinates(p)[:5] for n, p in zip(("left", "right"), places, strict=True)},
    )
    found = bench(alignment, cm.counterfactuals(algorithm, 80, seed=1))
    right = Prepared.logits

    def wrong(self: Prepared, batch: Any, featurizers: Any, masks: Any, **more: Any) -> torch.Tensor:
        logits = right(self, batch, featurizers, masks, **more)
        return logits + (masks[1].any() and not masks[0].any())

    monkeypatch.setattr(Prepared, "logits", wrong)
    with pytest.raises(EngineError, match="; right, 8 pairs\n"):
        _selfchecks.self_checks(alignment, found)


def test_a_base_read_elsewhere_as_a_source_is_no_source_of_itself() -> None:
    network = M.network("llama")
    algorithm = cm.Algorithm("sum")
    a, b = algorithm.inputs("a b", domain=range(10, 30))
    algorithm.add("left", a, f=lambda a: a % 5)
    algorithm.add("sum", "left", b, f=lambda left, b: (left + b) % 10, output=True)
    site = network.site("block_output", layer=1, position="{b[last]}", source_position="{a[last]}")
    alignment = cm.Alignment(algorithm, {algorithm["left"]: cm.Coordinates(site)[:5]})
    found = cm.evaluate(alignment, cm.counterfactuals(algorithm, 80, seed=1))
    assert 0 <= found.self_checks["edited runs beside whole ones"] < 1e-12  # type: ignore[operator]

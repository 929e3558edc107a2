"""The engine's checks of itself, run with every evaluation, on language models."""

from __future__ import annotations

from typing import Any

import pytest
import torch

import commutes as cm
from commutes import Network
from commutes.evaluation import _selfchecks
from tests.engine import decoders
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

"""Cones and whole runs of models in single precision, multiplied by oneDNN, are what torch's own products give."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pytest
import torch
import transformers as hf
from torch.nn.functional import cross_entropy

from commutes import Network
from commutes.engine import _products as P
from commutes.engine import logits_together
from tests.network.transformers import models as M

from . import cones as C

FAMILIES = ("gpt2", "gpt_neox", "llama", "qwen3", "gemma3_text", "phi3", "in place")
CASES = (("block_output", 0, "last"), ("mlp_output", 1, "{b[last]}"), ("block_output", 1, "{a}"))
# Of logits of about 3, in 24 bits and through three layers.
CLOSE = 3e-5


@pytest.fixture(autouse=True)
def any_size(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name, value in (("_PAYS", 0), ("_SMALL", 0), ("_FEW", 1), ("_COLUMNS", 10)):
        monkeypatch.setattr(P, name, value)
    yield
    torch.backends.mkldnn.set_flags(True)


def network(family: str) -> Network:
    if family != "in place":
        return M.network(family, dtype=torch.float32)
    # What its projections return it clips where it stands.
    config = hf.OlmoConfig(
        **{**M.CONFIGS["llama"][1], "head_dim": 4, "clip_qkv": 0.5, "attention_bias": False}
    )
    with torch.random.fork_rng():
        torch.manual_seed(11)
        model = hf.AutoModelForCausalLM.from_config(config).eval()
    return Network(model, M.tokenizer(), template=M.PROMPT, answers=M.DIGITS)


@pytest.mark.parametrize("family", FAMILIES)
def test_logits_and_gradients_are_those_of_torchs_products(family: str, calls: list[torch.Size]) -> None:
    own = network(family)
    sites = [[C.site(own, *case)] for case in CASES]
    prepared, raws = C.ready(own, C.values(True), sites)
    assert all(one.cone is not None for one in prepared)

    def found(whole: bool) -> tuple[torch.Tensor, Sequence[torch.Tensor]]:
        leaves = [[raw.float().requires_grad_() for raw in own] for own in raws]
        runs = [C.edited(one, own) for one, own in zip(prepared, leaves, strict=True)]
        logits = torch.cat([C.whole(run) for run in runs] if whole else logits_together(runs))
        loss = cross_entropy(logits, torch.arange(len(logits)) % 10, reduction="sum")
        return logits.detach(), torch.autograd.grad(loss, [leaf for own in leaves for leaf in own])

    calls.clear()
    torch.backends.mkldnn.set_flags(False)
    expected, slopes = found(True)
    torch.backends.mkldnn.set_flags(True)
    assert not calls
    for whole in (False, True):
        calls.clear()
        logits, gradients = found(whole)
        # Of whole runs the weights' own gradients are kept as long as they are asked for, and torch multiplies.
        assert bool(calls) is not whole
        assert (logits - expected).abs().max() < CLOSE
        for gradient, slope in zip(gradients, slopes, strict=True):
            assert (gradient - slope).abs().max() < CLOSE * (1 + slope.abs().max())
    own.module.requires_grad_(False)
    calls.clear()
    logits, _ = found(True)
    assert calls
    assert (logits - expected).abs().max() < CLOSE

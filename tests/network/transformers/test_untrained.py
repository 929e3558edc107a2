"""Untrained twins of transformers: the model's own way of drawing weights, tied ones once."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from commutes.engine import capture

from . import models as M

VALUES = {"a": np.array([12, 30]), "b": np.array([40, 67])}


def changed(one: Any, other: Any) -> list[str]:
    pairs = zip(one.named_parameters(), other.named_parameters(), strict=True)
    return [name for (name, a), (_, b) in pairs if not torch.equal(a, b)]


@pytest.mark.parametrize("family", M.FAMILIES)
def test_a_reset_draws_every_weight_anew_and_leaves_the_original(family: str) -> None:
    network = M.network(family)
    marked = next(network.module.parameters())
    marked._is_hf_initialized = True  # as what is loaded from a file is marked
    before = {k: v.clone() for k, v in network.module.state_dict().items()}
    state = torch.random.get_rng_state()
    one, same, other = (network.reinitialised(seed) for seed in (1, 1, 2))
    assert torch.equal(torch.random.get_rng_state(), state)
    assert all(torch.equal(before[k], v) for k, v in network.module.state_dict().items())
    assert changed(one.module, same.module) == []
    matrices = {name for name, p in network.module.named_parameters() if p.ndim > 1}
    assert set(changed(one.module, network.module)) >= matrices
    assert set(changed(one.module, other.module)) >= matrices
    # The configuration's own 0.3, which GPT-2 lowers where blocks write; torch's layers would have .14.
    spread = torch.cat([p.flatten() for p in one.module.parameters() if p.ndim > 1]).std()
    assert 0.2 < spread < 0.35
    site = one.site("block_output", layer=1, position="last")
    assert bool(torch.isfinite(capture(one, VALUES, [site])[site]).all())


def test_a_cascade_keeps_the_lower_half_and_what_is_tied_to_it() -> None:
    network = M.network("gpt2")
    twin = network.reinitialised(1, kind="cascade")
    assert twin.module.lm_head.weight is twin.module.transformer.wte.weight
    moved = changed(twin.module, network.module)
    assert "transformer.h.1.attn.c_attn.weight" in moved
    assert "transformer.h.2.mlp.c_proj.weight" in moved
    assert not any(
        name.startswith(("transformer.wte", "transformer.wpe", "transformer.h.0.")) for name in moved
    )

"""A prompt that is padded is answered as it is alone; a network that does otherwise is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from commutes import Network
from commutes.engine import prepare
from commutes.errors import NetworkError
from tests.network.transformers import models as M

from . import cones as C
from . import decoders


def ready(network: Network, inputs: dict[str, np.ndarray]) -> None:
    prepare(network, inputs, [network.site("block_output", layer=0, position="last")])


def test_a_model_that_counts_padding_is_refused() -> None:
    """Positions from the start of what is fed, padding and all."""
    model = M.model("gpt2")
    model.register_forward_pre_hook(
        lambda _m, args, named: (args, {**named, "position_ids": None}), with_kwargs=True
    )
    network = Network(model, M.tokenizer(), template=M.PROMPT, answers=M.DIGITS)
    ready(network, C.values(False))
    for _ in range(2):
        with pytest.raises(NetworkError) as caught:
            ready(network, C.values(True))
        head, moved, rest = str(caught.value).partition("  got:      a logit that moves by ")
        assert head == (
            "padding changes what the model answers\n  where:    example 0, of 5 tokens, beside one of 6\n"
        )
        assert moved
        assert rest.partition("\n")[2] == (
            "  expected: the logits of the prompt alone\n"
            "  do:       use prompts of equal length: this model does not leave padding out"
        )


def test_a_model_that_does_not_mask_padding_is_refused() -> None:
    model = decoders.model()
    model.register_forward_pre_hook(
        lambda _m, args, named: (args, {**named, "attention_mask": torch.ones_like(named["attention_mask"])}),
        with_kwargs=True,
    )
    network = Network(model, M.tokenizer(), template=M.PROMPT, answers=M.DIGITS)
    with pytest.raises(NetworkError, match="padding changes what the model answers"):
        ready(network, C.values(True))


def test_longrope_on_both_sides_of_its_switch_is_refused() -> None:
    scaling = {
        "rope_type": "longrope",
        "rope_theta": 100.0,
        "short_factor": [1.0, 1.5],
        "long_factor": [3.0, 7.0],
    }
    network = M.network("phi3", rope_parameters=scaling, original_max_position_embeddings=5)
    ready(network, C.values(False))
    with pytest.raises(NetworkError, match="padding changes what the model answers"):
        ready(network, C.values(True))


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
@pytest.mark.parametrize("family", M.PADDED)
def test_no_family_is_refused(family: str, dtype: torch.dtype) -> None:
    network = M.network(family, dtype=dtype)
    runs: list[Any] = []
    handle = network.module.register_forward_hook(lambda *_: runs.append(1))
    ready(network, C.values(True))
    first = len(runs)
    ready(network, C.values(True))
    handle.remove()
    # Tried once for these lengths, as the cone is.
    assert len(runs) - first < first

"""Weights of few bits are refused before the first run."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from commutes import Network
from commutes.errors import NetworkError

from . import models as M

FIX = (
    "  do:       load it with dtype='bfloat16' and without its quantisation, or call model.dequantize() first"
)


def said(where: str, got: str) -> str:
    return (
        "the model's weights are quantised\n"
        f"  where:    {where}\n"
        f"  got:      {got}\n"
        "  expected: weights of float16, bfloat16, float32 or float64\n" + FIX
    )


def refused(make: Callable[[], object]) -> str:
    with pytest.raises(NetworkError) as caught:
        make()
    return str(caught.value)


def around(model: Any) -> Network:
    return Network(model, M.fitting_tokenizer("llama"), template=M.PROMPT, answers=M.DIGITS)


class Packed(nn.Module):
    """A projection as libraries for few bits write it; it must never be run."""

    def __init__(self, **tensors: torch.Tensor) -> None:
        super().__init__()
        for name, tensor in tensors.items():
            self.register_buffer(name, tensor)

    def forward(self, state: torch.Tensor) -> torch.Tensor:
        raise AssertionError


class Fewer(nn.Linear):
    """A linear layer whose weight is a parameter of few bits."""

    def __init__(self, dtype: torch.dtype) -> None:
        super().__init__(1, 1)
        self.weight = nn.Parameter(torch.zeros(16, 16).to(dtype), requires_grad=False)


class Foreign(nn.Module):
    """Of a package of quantised modules, which hide their weights."""


Foreign.__module__ = "torch.ao.nn.quantized.dynamic.modules.linear"

PLACE = "model.layers.1.mlp.down_proj"
PACKED: list[tuple[nn.Module, str, str]] = [
    (Fewer(torch.int8), f"{PLACE}.weight", "a tensor of int8"),
    (Fewer(torch.uint8), f"{PLACE}.weight", "a tensor of uint8"),
    (Fewer(torch.float8_e4m3fn), f"{PLACE}.weight", "a tensor of float8_e4m3fn"),
    (Packed(qweight=torch.zeros(4, 4).int(), scales=torch.ones(4)), f"{PLACE}.qweight", "a tensor of int32"),
    (Foreign(), PLACE, "a module of torch.ao.nn.quantized.dynamic.modules.linear"),
]


@pytest.mark.parametrize(("module", "where", "got"), PACKED, ids=[got for _, _, got in PACKED])
def test_packed_weights_are_refused_by_name(module: nn.Module, where: str, got: str) -> None:
    model = M.model("llama")
    model.model.layers[1].mlp.down_proj = module
    assert refused(lambda: around(model)) == said(where, got)


@pytest.mark.parametrize("attribute", ["hf_quantizer", "is_quantized"])
def test_what_the_library_marks_is_refused(attribute: str) -> None:
    model = M.model("llama")
    setattr(model, attribute, True)
    assert refused(lambda: around(model)) == said("LlamaForCausalLM", "a model that was loaded quantised")


@pytest.mark.parametrize(
    ("asked", "got"),
    [
        ({"quant_method": "mxfp4"}, "quantisation by mxfp4"),
        ({"bits": 4}, "quantisation by its configuration"),
    ],
)
def test_a_configuration_is_read_before_the_weights(tmp_path: Path, asked: dict[str, Any], got: str) -> None:
    """The folder has neither weights nor a tokenizer."""
    written = {**M.model("llama").config.to_dict(), "quantization_config": asked}
    (tmp_path / "config.json").write_text(json.dumps(written))
    found = refused(lambda: Network.pretrained(str(tmp_path), template=M.PROMPT, answers=M.DIGITS))
    assert found == said(str(tmp_path), got)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_sixteen_bits_and_more_are_no_fault(dtype: torch.dtype) -> None:
    """Nor are whole numbers that are no weights, such as a table of positions."""
    model = M.model("gpt2", dtype=dtype)
    model.register_buffer("places", torch.arange(24).view(1, -1))
    Network(model, M.tokenizer(), template=M.PROMPT, answers=M.DIGITS)

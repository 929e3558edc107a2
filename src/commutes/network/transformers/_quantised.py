"""Weights of fewer than 16 bits are refused: what they round is no smooth function of the states to edit."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import nn

from commutes.errors import NetworkError

_FIX = "load it with dtype='bfloat16' and without its quantisation, or call model.dequantize() first"


def check_configuration(config: Any, name: str) -> None:
    """Refuse by what the configuration says, before any weight is read.

    Raises:
        NetworkError: The weights are quantised.
    """
    asked = getattr(config, "quantization_config", None)
    if asked is not None:
        get = asked.get if isinstance(asked, dict) else lambda key, default: getattr(asked, key, default)
        raise _quantised(name, f"quantisation by {get('quant_method', None) or 'its configuration'}")


def check_weights(model: nn.Module) -> None:
    """Refuse by the weights themselves, whoever packed them.

    Raises:
        NetworkError: They are quantised; the first of them is named.
    """
    quantizer = getattr(model, "hf_quantizer", None)
    if quantizer is not None or getattr(model, "is_quantized", False):
        raise _quantised(type(model).__name__, "a model that was loaded quantised")
    found = next(_packed(model), None)
    if found is not None:
        raise _quantised(*found)


def _packed(model: nn.Module) -> Iterator[tuple[str, str]]:
    """Weights of few bits, by path and in words. Other buffers may be whole numbers: masks, positions, counters."""
    for path, module in model.named_modules():
        if "nn.quantized" in type(module).__module__:
            yield path, f"a module of {type(module).__module__}"
        for name, tensor in (*module._parameters.items(), *module._buffers.items()):
            if tensor is None or "weight" not in name or tensor.dtype == torch.bool:
                continue
            if not tensor.is_floating_point() or tensor.element_size() < 2:
                yield f"{path}.{name}".strip("."), f"a tensor of {str(tensor.dtype).removeprefix('torch.')}"


def _quantised(where: str, got: str) -> NetworkError:
    return NetworkError(
        "the model's weights are quantised",
        where=where,
        got=got,
        expected="weights of float16, bfloat16, float32 or float64",
        fix=_FIX,
    )

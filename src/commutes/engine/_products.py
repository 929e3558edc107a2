"""Products of a few rows with a large matrix on a processor: by pieces of the matrix that fit in its cache.

Libraries lay a matrix out anew before they multiply with it. For hundreds of rows that is nothing; where there are as
many as a cone has, it is half of the time, unless what is laid out is still in the cache when it is used.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

# Bytes of a piece: what the second cache of a core takes. A matrix of a few pieces is multiplied with whole.
_PIECE, _SMALL = 2**20, 6
# Rows beyond which the layout is paid for by what is computed.
_FEW = 256


def linear_modules(module: nn.Module) -> tuple[nn.Module, ...]:
    """Those inside, other than by subclasses, that multiply what they are given with one matrix."""
    from transformers.pytorch_utils import Conv1D

    return tuple(part for part in module.modules() if type(part) in (nn.Linear, Conv1D))


def few_rows(module: nn.Module) -> Callable[[torch.Tensor], torch.Tensor]:
    """What a linear module may run instead of its own forward: the same products, in pieces where that is faster.

    The weights are looked up at every call, and get no gradient.
    """
    own: Callable[[torch.Tensor], torch.Tensor] = module.forward
    product = _Forward if type(module) is nn.Linear else _Backward

    def forward(x: torch.Tensor) -> torch.Tensor:
        weight: Any = module.weight
        bias: Any = module.bias
        if not _pays(x, weight, bias):
            return own(x)
        out: Any = product.apply(x.reshape(-1, x.shape[-1]), weight, bias)
        return out.reshape(*x.shape[:-1], out.shape[-1])

    return forward


def _pays(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None) -> bool:
    plain = all(t.device.type == "cpu" and t.dtype in (torch.float32, torch.float64) for t in (x, weight))
    frozen = not weight.requires_grad and (bias is None or not bias.requires_grad)
    return (
        plain
        and frozen
        and x.dtype == weight.dtype
        and x.shape[-1] < x.numel() <= _FEW * x.shape[-1]
        and weight.is_contiguous()
        and weight.numel() * weight.element_size() > _SMALL * _PIECE
        and not torch.is_autocast_enabled("cpu")
    )


def _by_pieces(x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """x Wᵀ by pieces of W's rows.  # (n, k), (m, k) -> (n, m)"""
    out = x.new_empty(len(x), len(weight))
    rows = max(1, _PIECE // (weight.shape[1] * weight.element_size()))
    for begin in range(0, len(weight), rows):
        part = slice(begin, begin + rows)
        torch.mm(x, weight[part].T, out=out[:, part])
    return out


class _Forward(torch.autograd.Function):
    """x Wᵀ + b, as of `nn.Linear`: forward in pieces. Its gradient goes along W's rows as they lie."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
        ctx.weight = weight
        out = _by_pieces(x, weight)
        return out if bias is None else out.add_(bias)

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor, None, None]:
        return grads[0] @ ctx.weight, None, None


class _Backward(torch.autograd.Function):
    """x W + b, as of the `Conv1D` of transformers: the gradient in pieces."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
        ctx.weight = weight
        return torch.addmm(bias, x, weight)

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor, None, None]:
        return _by_pieces(grads[0], ctx.weight), None, None

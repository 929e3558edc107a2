"""Products with the frozen weights of large modules on a processor, by oneDNN.

Libraries that lay a matrix out anew before they multiply with it spend half of the time on that where there are as few
rows as a cone has. oneDNN multiplies with the weights as they lie, transposed or not, and on some processors reaches
twice the rate of torch's own library with any number of rows.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import nn
from torch._C._functorch import is_functorch_wrapped_tensor  # pyright: ignore[reportMissingImports]
from torch.autograd import forward_ad
from torch.nn.functional import pad

from commutes.engine._patched import patched

# Rows that are multiplied at once. For every other number kernels would be made anew, about a megabyte each.
_ROWS = (128, 64, 32, 16)
# Columns of the product that are made at once: beside the whole there is never more than a small part.
_COLUMNS = 2**12
# Rows from which a piece that is filled up costs less than torch's own product.
_FEW = 8
# Multiply-adds from which the call costs less than it saves.
_PAYS = 2**21
# Numbers of a matrix that never comes to as many.
_SMALL = 2**14


def fast_products(module: nn.Module) -> AbstractContextManager[None]:
    """In which the large linear modules inside make the products that they would make, by oneDNN where that is faster.

    Those that a caller has given another forward keep it.
    """
    there = torch.backends.mkldnn.is_available() and torch.backends.mkldnn.enabled
    found = linear_modules(module) if there else ()
    return patched([(part, multiplied(part)) for part in found if "forward" not in part.__dict__])


def linear_modules(module: nn.Module) -> tuple[nn.Module, ...]:
    """Those inside, other than by subclasses, that multiply what they are given with one large matrix.

    Inside what is compiled they stay as they are: another forward would have it compiled anew at every run.
    """
    # No module is of a class that was never imported.
    transformers: Any = sys.modules.get("transformers.pytorch_utils")
    kinds = (nn.Linear,) if transformers is None else (nn.Linear, transformers.Conv1D)
    found: list[Any] = [part for part in _uncompiled(module) if type(part) in kinds]
    return tuple(part for part in found if _plain(part.weight) and part.weight.numel() >= _SMALL)


def _uncompiled(module: nn.Module) -> Iterator[nn.Module]:
    if module._compiled_call_impl is None and type(module).__name__ != "OptimizedModule":
        yield module
        for child in module.children():
            yield from _uncompiled(child)


def multiplied(module: nn.Module) -> Callable[[torch.Tensor], torch.Tensor]:
    """What a linear module may run instead of its own forward. Weights are looked up at every call."""
    own: Callable[[torch.Tensor], torch.Tensor] = module.forward
    transposed = type(module) is not nn.Linear

    def forward(x: torch.Tensor) -> torch.Tensor:
        weight: Any = module.weight
        bias: Any = module.bias
        if not _pays(x, weight, bias, transposed=transposed):
            return own(x)
        found: Any = _Product.apply(x, weight.detach().T if transposed else weight.detach(), bias)
        return found

    return forward


def _plain(tensor: Any) -> bool:
    kinds = (torch.Tensor, nn.Parameter)
    return type(tensor) in kinds and tensor.device.type == "cpu" and tensor.dtype is torch.float32


def _pays(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None, *, transposed: bool) -> bool:
    learnt = weight.requires_grad or (bias is not None and bias.requires_grad)
    return (
        not (learnt and torch.is_grad_enabled())
        # Modules that transform their own parts, by other weights or along with their derivatives, do so with torch's.
        and not is_functorch_wrapped_tensor(weight)
        and forward_ad._current_level < 0
        and _plain(x)
        and _plain(weight)
        and x.shape[-1] == weight.shape[0 if transposed else 1]
        and x.numel() >= _FEW * x.shape[-1]
        and x.numel() // x.shape[-1] * weight.numel() >= _PAYS
        and weight.is_contiguous()
        and not torch.is_autocast_enabled("cpu")
    )


class _Product(torch.autograd.Function):
    """x Wᵀ + b, with a gradient of x alone.  # (..., k), (m, k), (m,) -> (..., m)"""

    @staticmethod
    def forward(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
        rows = x.reshape(-1, x.shape[-1])
        # No view is returned: modules may write into it.
        whole = x.new_empty(*x.shape[:-1], len(weight))
        found = whole.view(-1, len(weight))
        for begin, size in _pieces(len(rows)):
            part = rows[begin : begin + size]
            filled = pad(part, (0, 0, 0, size - len(part)))
            for left in range(0, len(weight), _COLUMNS):
                own = slice(left, left + _COLUMNS)
                # What torch's own compiler emits; `nn.functional.linear` takes it for tensors that are oneDNN's own.
                piece = torch.ops.mkldnn._linear_pointwise(
                    filled, weight[own], None if bias is None else bias[own], "none", [], ""
                )
                found[begin : begin + size, own] = piece[: len(part)]
        return whole

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: torch.Tensor) -> None:
        ctx.save_for_backward(inputs[1])

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor, None, None]:
        (weight,) = ctx.saved_tensors
        found: Any = _Product.apply(grads[0], weight.T, None)
        return found, None, None

    @staticmethod
    def vmap(info: Any, in_dims: Any, *args: Any) -> tuple[torch.Tensor, int]:
        # Rows of all members are rows. Weights never differ between members: these are runs with the module's own.
        assert in_dims[1:] == (None, None)
        x, weight, bias = args
        found: Any = _Product.apply(x.movedim(in_dims[0], 0), weight, bias)
        return found, 0


def _pieces(rows: int) -> Iterator[tuple[int, int]]:
    """Where each piece begins and how many rows are multiplied for it; the last may be filled up.

    >>> list(_pieces(300)), list(_pieces(120)), list(_pieces(5))
    ([(0, 128), (128, 128), (256, 32), (288, 16)], [(0, 128)], [(0, 16)])
    """
    begin = 0
    while begin < rows:
        left = rows - begin
        enough = [size for size in _ROWS if left <= size <= left * 8 // 7]
        size = min(enough, default=next((size for size in _ROWS if size <= left), _ROWS[-1]))
        yield begin, size
        begin += size

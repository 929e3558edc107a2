"""Cross-entropy over a whole vocabulary, without tables of it beside the logits and their gradient."""

from __future__ import annotations

from typing import Any

import torch
from torch.nn.functional import cross_entropy

# Columns from which memory is what it costs: what is allocated for every row is found anew by the system.
_WIDE = 2**12
# Numbers that are worked on at a time.
_AT_ONCE = 2**19


def cross_entropies(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Of every row to its target.  # (n, columns), (n,) -> (n,)"""
    # Sums of half precision are too coarse to take a logit from, and an accelerator's own kernel is one pass.
    plain = logits.device.type == "cpu" and logits.dtype in (torch.float32, torch.float64)
    if logits.shape[-1] < _WIDE or not plain:
        return cross_entropy(logits, targets, reduction="none")
    found: Any = _Wide.apply(logits, targets)
    return found


class _Wide(torch.autograd.Function):
    """log sum exp(x) - x[t], and softmax(x) less one at t for its gradient; a few rows at a time."""

    @staticmethod
    def forward(ctx: Any, logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        sums = torch.cat([part.logsumexp(dim=1) for part in _parts(logits)])
        ctx.save_for_backward(logits, targets, sums)
        return sums - logits.gather(1, targets[:, None]).squeeze(1)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx: Any, *grads: torch.Tensor
    ) -> tuple[torch.Tensor, None]:
        logits, targets, sums = ctx.saved_tensors
        found = torch.empty_like(logits, memory_format=torch.contiguous_format)
        given = zip(
            _parts(logits),
            _parts(found),
            sums.split(_rows(logits)),
            grads[0].split(_rows(logits)),
            strict=True,
        )
        for part, out, own, grad in given:
            torch.sub(part, own[:, None], out=out).exp_().mul_(grad[:, None])
        found[torch.arange(len(found), device=found.device), targets] -= grads[0]
        return found, None


def _rows(logits: torch.Tensor) -> int:
    return max(1, _AT_ONCE // logits.shape[1])


def _parts(logits: torch.Tensor) -> tuple[torch.Tensor, ...]:
    return logits.split(_rows(logits))

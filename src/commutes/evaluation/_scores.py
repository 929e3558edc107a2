"""How likely each answer is, all of its tokens together."""

from __future__ import annotations

import torch


def answer_scores(logits: torch.Tensor, spelling: torch.Tensor) -> torch.Tensor:
    """Logarithm of the probability of every answer, up to a number that all answers share.  # shape: (n, answers)

    The logits of an answer's tokens are summed; what a softmax at each token divides by is the same for all.

    Args:
        logits: (n, columns), or (n, tokens, columns) for answers of several tokens.
        spelling: Columns that spell each answer.  # shape: (answers, tokens)
    """
    # In half precision a sum over tokens would round answers together.
    exact = logits.to(torch.promote_types(logits.dtype, torch.float32))
    tokens = exact.unsqueeze(1) if exact.ndim == 2 else exact
    return torch.stack([tokens[:, t, spelling[:, t]] for t in range(spelling.shape[1])]).sum(dim=0)

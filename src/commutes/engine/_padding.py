"""Padding must not change what a language model answers: run whole or as a cone, a prompt means what it means alone."""

from __future__ import annotations

import weakref

import torch

from commutes.engine._forward import forward
from commutes.errors import NetworkError
from commutes.network import Inputs, Network, hooks_of

# Lengths of the shortest and the longest prompt with which a network was tried, and the hooks that it had.
_tried: weakref.WeakKeyDictionary[Network, set[tuple[int, int, tuple[int, ...]]]] = (
    weakref.WeakKeyDictionary()
)

# How far a padded prompt may be from the same prompt alone, relative to the largest logit. Another position moves
# logits by tenths of it; rounding, where parts of a model are computed in float32, by 1e-6. Few digits round more.
_SHARE, _ROUNDING = 1e-3, 16


def check_padding(network: Network, inputs: Inputs) -> None:
    """Run the shortest prompt alone and beside the longest, once for these lengths and hooks.

    Raises:
        NetworkError: It is answered otherwise: the model does not mask padding, counts positions from its start, or
            has positions that depend on the longest prompt.
    """
    if network.language is None:
        return
    lengths = inputs.kwargs["attention_mask"].sum(dim=1)
    short, long = int(lengths.argmin()), int(lengths.argmax())
    few, many = int(lengths[short]), int(lengths[long])
    tried = _tried.setdefault(network, set())
    kind = (few, many, hooks_of(network.module))
    if few == many or kind in tried:
        return
    both = inputs.rows(torch.tensor([short, long]))
    alone = {name: tensor[:1, many - few :] for name, tensor in both.kwargs.items()}
    with torch.no_grad():
        expected = forward(network, both.args, alone, taps={})[0]
        found = forward(network, both.args, both.kwargs, taps={})[0]
    gap, size = float((found - expected).abs().max()), float(expected.abs().max())
    # What is not finite is found and said elsewhere, by the example.
    if gap > max(_SHARE, _ROUNDING * torch.finfo(expected.dtype).eps) * (1 + size):
        raise NetworkError(
            "padding changes what the model answers",
            where=f"example {short}, of {few} tokens, beside one of {many}",
            got=f"a logit that moves by {gap:.2g}",
            expected="the logits of the prompt alone",
            fix="use prompts of equal length: this model does not leave padding out",
        )
    tried.add(kind)

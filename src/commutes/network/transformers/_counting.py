"""How a model counts positions, read off what it does with a prompt alone.

Positions are given with every prompt, because those that a model counts itself would count the padding too. They must
be the ones that it would have used: most count from 0, RoBERTa and its kin from behind the index of the padding.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import nn

from commutes.errors import NetworkError

# How far logits at the model's own positions may be from those at ours, relative to the largest: another position
# moves them by tenths of it, rounding by 1e-6 and, in a type of few digits, by some of its units.
_SHARE, _ROUNDING = 1e-3, 16

Run = Callable[[Mapping[str, torch.Tensor]], Any]


def ordinary_tokens(model: Any, count: int) -> list[int]:
    """Ids of tokens without a meaning of their own, falling, so that none is mistaken for a position.

    From the middle of the vocabulary: tokens of special meaning are at its ends.
    """
    rows = model.get_input_embeddings().weight.shape[0]
    special = [value for name, value in vars(model.config).items() if "token_i" in name]
    special += [one for several in special if isinstance(several, list) for one in several]
    middle = [i for i in range(rows // 2, -1, -1) if i not in special][:count]
    return middle if len(middle) == count else (middle or [0]) * count


def takes_positions(model: nn.Module) -> bool:
    """Whether the model can be given positions; one that passes on what it is given may take them further in."""
    taken = inspect.signature(model.forward).parameters
    return "position_ids" in taken or any(p.kind is p.VAR_KEYWORD for p in taken.values())


def fed(ids: Sequence[int], start: int | None, device: torch.device) -> dict[str, torch.Tensor]:
    """One prompt without padding; without positions if `start` is None."""
    tokens = torch.tensor([ids], device=device)
    given = {"input_ids": tokens, "attention_mask": torch.ones_like(tokens)}
    if start is not None:
        given["position_ids"] = torch.arange(start, start + len(ids), device=device)[None]
    return given


def first_position(model: nn.Module, ids: Sequence[int], run: Run, found: torch.Tensor) -> int:
    """The number that the model gives to the first token of a prompt.

    Args:
        model: That takes positions.
        ids: Of the prompt.
        run: Runs the model on tensors by argument name and gives its logits.
        found: The logits at positions from 0.

    Raises:
        NetworkError: At no positions that rise by one are the logits those of the model alone.
    """
    device = next(model.parameters()).device
    starts: list[int] = []
    handles = [
        module.register_forward_pre_hook(_listening(starts), with_kwargs=True)
        for module in model.modules()
        if isinstance(module, nn.Embedding)
    ]
    try:
        alone = run(fed(ids, None, device))
    finally:
        for handle in handles:
            handle.remove()
    if _alike(found, alone):
        return 0
    for start in dict.fromkeys(starts):
        if _alike(run(fed(ids, start, device)), alone):
            return start
    raise NetworkError(
        "the model counts positions in a way of its own",
        where=type(model).__name__,
        got=f"logits that move by {float((found - alone).abs().max()):.2g} when positions from 0 are given"
        + "".join(f", and when they are from {start}" for start in dict.fromkeys(starts)),
        expected="positions that rise by one from some number: with others it would not be the model itself",
        fix="encode and read it in your own way (encode=, read=), with prompts of equal length",
    )


def _listening(starts: list[int]) -> Any:
    """A hook that notes where whole numbers begin that rise by one: what a table of positions is asked for."""

    def hook(_module: nn.Module, args: tuple[Any, ...], named: dict[str, Any]) -> None:
        for value in (*args, *named.values()):
            if isinstance(value, torch.Tensor) and not value.is_floating_point() and value.shape[-1:] > (1,):
                row = value.reshape(-1, value.shape[-1])[0].long()
                if bool((row.diff() == 1).all()):
                    starts.append(int(row[0]))

    return hook


def _alike(found: torch.Tensor, alone: torch.Tensor) -> bool:
    gap, size = float((found - alone).abs().max()), float(alone.abs().max())
    # What is not finite is found and said elsewhere, by the example.
    return not gap > max(_SHARE, _ROUNDING * torch.finfo(alone.dtype).eps) * (1 + size)

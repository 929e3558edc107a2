"""Keys and values of a decoder: recorded in a base run, and handed to an edited one as a cache that stays as it is."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any, NamedTuple

import torch

Pair = tuple[torch.Tensor, torch.Tensor]
"""Keys and values of a layer.  # shape of each: (n, heads, positions, width of a head)"""


def recording() -> Any:
    """A cache that keeps the keys and values of all positions in all layers.

    It is made without a configuration: of a sliding layer the library's own cache keeps the window only.
    """
    from transformers import DynamicCache

    return DynamicCache()


def recorded(kept: Any) -> list[Pair]:
    """What a `recording` cache holds after a run, by layer."""
    return [(layer.keys, layer.values) for layer in kept.layers]


class Prefix(NamedTuple):
    """What a layer's rows see of earlier positions."""

    kept: Pair
    """Of some inputs, as many positions as are kept of them or more than the prefix has."""
    rows: torch.Tensor
    """Which of these each row of the batch is.  # shape: (n,)"""

    def before(self, side: int, length: int, new: torch.Tensor) -> torch.Tensor:
        """The keys (0) or values (1) of the prefix, and the new ones behind them."""
        kept = self.kept[side]
        if kept.dtype != new.dtype:
            # Under autocast a model may compute its keys in one type and its values in another.
            return torch.cat([kept[:, :, :length][self.rows].to(new.device), new], dim=-2)
        heads, width = kept.shape[1], kept.shape[3]
        whole = kept.new_empty(len(self.rows), heads, length + new.shape[-2], width)
        torch.index_select(kept[:, :, :length], 0, self.rows, out=whole[:, :, :length])
        found: Any = _Placed.apply(whole.to(new.device), new)
        return found


class _Placed(torch.autograd.Function):
    """New keys or values written behind a prefix that is laid out for them, and has no gradient."""

    @staticmethod
    def forward(ctx: Any, whole: torch.Tensor, new: torch.Tensor) -> torch.Tensor:
        ctx.mark_dirty(whole)
        ctx.new = new.shape[-2]
        whole[:, :, -new.shape[-2] :] = new
        return whole

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[None, torch.Tensor]:
        return None, grads[0][:, :, -ctx.new :]


def prefixed(length: int, layers: Sequence[Prefix | None]) -> Any:
    """A cache that answers each layer's new keys and values with the prefix before them, and stores nothing.

    Args:
        length: Positions of the prefix. Layers that do not run report it too: masks and positions come from the
            first layer, or the first sliding one, whichever runs.
        layers: Prefix of every layer; None for one that does not run.
    """
    from transformers.cache_utils import Cache

    return Cache(layers=[_layer_class()(length, prefix) for prefix in layers])


@cache
def _layer_class() -> Any:
    from transformers.cache_utils import DynamicLayer

    class Layer(DynamicLayer):
        """Read only: a stock layer grows with every run."""

        def __init__(self, length: int, prefix: Prefix | None) -> None:
            super().__init__()
            self.length, self.prefix = length, prefix
            self.is_initialized = True

        def update(
            self, key_states: torch.Tensor, value_states: torch.Tensor, *_: object, **__: object
        ) -> Pair:
            assert self.prefix is not None
            return (
                self.prefix.before(0, self.length, key_states),
                self.prefix.before(1, self.length, value_states),
            )

        def get_seq_length(self) -> int:
            return self.length

        def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
            return self.length + query_length, 0

    return Layer

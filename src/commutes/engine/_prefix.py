"""Keys and values of a decoder: recorded in a base run, and handed to an edited one as a cache that stays as it is."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

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


def prefixed(length: int, layers: Sequence[Pair | None]) -> Any:
    """A cache that answers each layer's new keys and values with the prefix before them, and stores nothing.

    Args:
        length: Positions of the prefix. Layers that do not run report it too: masks and positions come from the
            first layer, or the first sliding one, whichever runs.
        layers: Prefix of every layer; None for one that does not run.
    """
    from transformers.cache_utils import Cache

    return Cache(layers=[_layer_class()(length, pair) for pair in layers])


@cache
def _layer_class() -> Any:
    from transformers.cache_utils import DynamicLayer

    class Prefix(DynamicLayer):
        """Read only: a stock layer grows with every run."""

        def __init__(self, length: int, pair: Pair | None) -> None:
            super().__init__()
            self.length, self.pair = length, pair
            self.is_initialized = True

        def update(
            self, key_states: torch.Tensor, value_states: torch.Tensor, *_: object, **__: object
        ) -> Pair:
            assert self.pair is not None
            keys, values = self.pair
            return (
                torch.cat([keys.to(key_states.device), key_states], dim=-2),
                torch.cat([values.to(value_states.device), value_states], dim=-2),
            )

        def get_seq_length(self) -> int:
            return self.length

        def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
            return self.length + query_length, 0

    return Prefix

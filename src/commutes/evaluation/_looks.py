"""How often held-out inputs of a network were looked at: a number chosen among several looks is optimistic."""

from __future__ import annotations

import weakref
from collections import Counter

import numpy as np
from torch import nn

from commutes.network import Network

# Per module, the inputs of every look, as the bytes of their sorted ids, and how often these very ones were seen.
# Another network is another experiment: what is seen of one says nothing about the other.
_seen: weakref.WeakKeyDictionary[nn.Module, Counter[bytes]] = weakref.WeakKeyDictionary()


def look(network: Network, ids: np.ndarray) -> None:
    """Note that what an alignment does on these inputs was looked at."""
    _seen.setdefault(network.module, Counter())[np.ascontiguousarray(ids).tobytes()] += 1


def looks(network: Network, ids: np.ndarray) -> int:
    """How many looks, in this process, were at inputs that are among these."""
    return sum(
        times
        for seen, times in _seen.get(network.module, Counter()).items()
        if np.isin(np.frombuffer(seen, np.uint64), ids).any()
    )

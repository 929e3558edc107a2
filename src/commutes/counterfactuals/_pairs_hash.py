"""What pairs are, as a hash."""

from __future__ import annotations

import hashlib
import json

import numpy as np

from commutes.counterfactuals._value import Counterfactuals


def pairs_hash(pairs: Counterfactuals) -> str:
    """What the pairs are: the inputs of every one, and what is swapped in it. Not what is expected of them."""
    digest = hashlib.sha256(json.dumps([swap.label for swap in pairs.swaps]).encode())
    absent = pairs.members < 0
    for column in (np.where(absent, 0, pairs.ids[pairs.members]), absent, pairs.swap):
        digest.update(str((column.shape, column.dtype)).encode())
        digest.update(np.ascontiguousarray(column).tobytes())
    return digest.hexdigest()

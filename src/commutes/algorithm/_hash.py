"""Hashes that are the same in every process: never Python's own `hash`, which PYTHONHASHSEED changes."""

from __future__ import annotations

import hashlib

import numpy as np


def hash64(data: bytes) -> int:
    """A 64-bit blake2b."""
    return int.from_bytes(hashlib.blake2b(data, digest_size=8).digest(), "little")


def mix(words: np.ndarray) -> np.ndarray:
    """The splitmix64 finaliser: a bijection of uint64 that spreads every bit of the input over the output."""
    words = words + np.uint64(0x9E3779B97F4A7C15)
    words = (words ^ (words >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    words = (words ^ (words >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return words ^ (words >> np.uint64(31))


def words(column: np.ndarray) -> np.ndarray:
    """The bit patterns of an int64 or float64 column, as uint64 of shape (n, width)."""
    wide = column if column.ndim == 2 else column[:, None]
    return np.ascontiguousarray(wide).view(np.uint64)


def distinct_rows(columns: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Where each distinct row of the columns occurs first, and which of them every row is.

    Rows are grouped by a 64-bit hash, which is fast, and compared within their group, which makes it exact.
    """
    matrix = np.concatenate([words(column) for column in columns], axis=1)
    hashed = np.zeros(len(matrix), dtype=np.uint64)
    for column in matrix.T:
        hashed = mix(hashed ^ column)
    ordered = np.sort(hashed)
    if (ordered[1:] != ordered[:-1]).all():  # real-valued rows seldom recur, and sorting alone is cheap
        every = np.arange(len(matrix))
        return every, every
    _, first, inverse = np.unique(hashed, return_index=True, return_inverse=True)
    if not np.array_equal(matrix[first[inverse]], matrix):  # a collision: about 1 in 10**7 for a million rows
        _, first, inverse = np.unique(matrix, axis=0, return_index=True, return_inverse=True)
    return first, inverse.reshape(-1)

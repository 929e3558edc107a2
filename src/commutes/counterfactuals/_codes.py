"""Exact integer codes of joint values, rows gathered by code, and quotas that are as equal as possible."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

__all__ = ["Gathered", "joint_codes", "level", "mix", "unit"]

_WIDEST = 2**62
_TABLE = 2**24


def _compact(code: np.ndarray, size: int) -> np.ndarray:
    """`code` renumbered to 0..K-1 in the order of its values, without sorting if a table is small enough."""
    if size <= max(4 * len(code), 1024) and size <= _TABLE:
        present = np.zeros(size, dtype=bool)
        present[code] = True
        return (np.cumsum(present) - 1)[code]
    return np.unique(code, return_inverse=True)[1].reshape(-1)


def joint_codes(columns: Sequence[np.ndarray], rows: int) -> np.ndarray:
    """The joint value of several columns as one code 0..K-1 per row: equal codes if and only if equal rows.

    Mixed radix on the integer codes, never a joined text: (1, 12) and (11, 2) are two classes.

    >>> joint_codes([np.array([1, 11, 1]), np.array([12, 2, 12])], 3).tolist()
    [0, 1, 0]
    """
    code = np.zeros(rows, dtype=np.int64)
    size = 1
    for column in columns:
        if column.dtype.kind == "f":
            flat = column.reshape(rows, -1) + 0.0  # -0.0 and 0.0 are one value
            column = np.unique(flat, axis=0, return_inverse=True)[1].reshape(-1)
        column = np.asarray(column, dtype=np.int64)
        width = int(column.max()) + 1 if rows else 1
        if size * width > _WIDEST:
            code = _compact(code, size)
            size = int(code.max()) + 1
        code = code * width + column
        size *= width
    return _compact(code, size) if rows else code


def first_rows(code: np.ndarray) -> np.ndarray:
    """The first row of every code 0..K-1."""
    count = int(code.max()) + 1 if len(code) else 0
    first = np.empty(count, dtype=np.int64)
    # Written backwards, so that the smallest row is the one that stays.
    first[code[::-1]] = np.arange(len(code) - 1, -1, -1)
    return first


class Gathered:
    """Rows gathered by label; a row of a wanted label is drawn in proportion to its weight."""

    def __init__(self, labels: np.ndarray, weights: np.ndarray, count: int) -> None:
        self.labels = labels
        self.count = count
        self.order = np.argsort(labels, kind="stable")
        sizes = np.bincount(labels, minlength=count)
        self.stop = np.cumsum(sizes)
        self.start = self.stop - sizes
        self._weigh(weights)

    def _weigh(self, weights: np.ndarray) -> None:
        self.cumulative = np.concatenate([[0.0], np.cumsum(weights[self.order])])
        self.low = self.cumulative[self.start]
        self.mass = self.cumulative[self.stop] - self.low

    def weighted(self, weights: np.ndarray) -> Gathered:
        """The same gathering under other weights."""
        other = object.__new__(Gathered)
        other.labels, other.count, other.order = self.labels, self.count, self.order
        other.start, other.stop = self.start, self.stop
        other._weigh(weights)
        return other

    def pick(self, rng: np.random.Generator, wanted: np.ndarray) -> np.ndarray:
        """One row for every wanted label, with replacement; every wanted label must have a positive mass."""
        point = self.low[wanted] + rng.random(len(wanted)) * self.mass[wanted]
        place = np.searchsorted(self.cumulative, point, side="right") - 1
        # The last step of a running sum can be rounded past the end of its segment.
        np.clip(place, self.start[wanted], self.stop[wanted] - 1, out=place)
        return self.order[place]


def level(total: int, caps: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Whole numbers below `caps`, as equal as possible, that sum to min(total, sum of caps).

    >>> level(10, np.array([2, 100, 100]), np.random.default_rng(0)).tolist()
    [2, 4, 4]
    """
    share = np.zeros(len(caps), dtype=np.int64)
    left = int(min(total, int(caps.sum())))
    while left > 0:
        unfilled = np.flatnonzero(share < caps)
        step = left // len(unfilled)
        if step == 0:
            share[rng.choice(unfilled, size=left, replace=False)] += 1
            break
        added = np.minimum(caps[unfilled] - share[unfilled], step)
        share[unfilled] += added
        left -= int(added.sum())
    return share


def mix(values: np.ndarray) -> np.ndarray:
    """The finaliser of splitmix64: a bijection of 64-bit words that scatters them."""
    word = values.astype(np.uint64, copy=True)
    word += np.uint64(0x9E3779B97F4A7C15)
    word ^= word >> np.uint64(30)
    word *= np.uint64(0xBF58476D1CE4E5B9)
    word ^= word >> np.uint64(27)
    word *= np.uint64(0x94D049BB133111EB)
    return word ^ (word >> np.uint64(31))


def unit(ids: np.ndarray, seed: int) -> np.ndarray:
    """A number in [0, 1) for every id, the same in every process: where the id falls under this seed."""
    word = seed & 0xFFFFFFFFFFFFFFFF
    folded = word ^ (seed >> 64) & 0xFFFFFFFFFFFFFFFF if seed >> 64 else word
    salt = mix(np.array([folded], dtype=np.uint64))
    return (mix(ids ^ salt) >> np.uint64(11)).astype(np.float64) * 2.0**-53

"""What every function of this package refuses, in one place."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from commutes.errors import StatisticsError

BoolArray = npt.NDArray[np.bool_]
IntArray = npt.NDArray[np.int64]
FloatArray = npt.NDArray[np.float64]

# Inclusion-exclusion over the members of a pair has 2^m - 1 terms.
MOST_MEMBERS = 12


def checked_alpha(alpha: float) -> float:
    """`alpha` as a float, refused outside (0, .5)."""
    if not (isinstance(alpha, (int, float)) and 0 < alpha < 0.5):
        raise StatisticsError(
            "alpha is the error rate of a one-sided bound",
            got=f"alpha = {alpha!r}",
            expected="a number above 0 and below 0.5",
            fix="write alpha=0.05 for a bound that holds in 95 % of samples",
        )
    return float(alpha)


def checked_level(level: float) -> float:
    """`level` as a float, refused outside (0, 1)."""
    if not (isinstance(level, (int, float)) and 0 < level < 1):
        raise StatisticsError(
            "level is the coverage of a two-sided interval",
            got=f"level = {level!r}",
            expected="a number above 0 and below 1",
            fix="write level=0.95 for a 95 % interval",
        )
    return float(level)


def checked_share(name: str, value: float) -> float:
    """`value` as a float, refused outside [0, 1]."""
    if not (isinstance(value, (int, float)) and 0 <= value <= 1):
        raise StatisticsError(
            f"{name} is a share",
            got=f"{name} = {value!r}",
            expected="a number from 0 to 1",
            fix="divide percentages by 100",
        )
    return float(value)


def checked_count(hits: float, n: float) -> None:
    """Refuse a negative n and more hits than n."""
    if n < 0:
        raise StatisticsError(
            "n is a number of pairs",
            got=f"n = {n!r}",
            expected="0 or more",
            fix="count the pairs that were run",
        )
    if not 0 <= hits <= n:
        raise StatisticsError(
            "hits are counted among the n",
            got=f"hits = {hits!r}, n = {n!r}",
            expected=f"hits from 0 to {n!r}",
            fix="pass the number of hits first, then the number of pairs",
        )


def checked_hits(hits: npt.ArrayLike) -> BoolArray:
    """`hits` as a one-dimensional boolean array; an empty list is a sample of no pairs."""
    array = np.asarray(hits)
    if array.ndim != 1:
        raise StatisticsError(
            "hits are one truth value per pair",
            got=f"an array of shape {array.shape}",
            expected="shape (n,)",
            fix="flatten the hits, and the members with them",
        )
    if array.dtype != np.bool_ and array.size:
        raise StatisticsError(
            "hits are one truth value per pair",
            got=f"values of type {array.dtype}, the first one {array[0]!r}",
            expected="booleans",
            fix="pass the comparison itself: decoded == expected",
        )
    return array.astype(np.bool_)


def checked_members(members: npt.ArrayLike, n: int) -> IntArray:
    """`members` as an (n, m) integer array in which every row names at least one input."""
    array: npt.NDArray[Any] = np.asarray(members)
    if n == 0 and array.size == 0:
        return np.zeros((0, 1), dtype=np.int64)
    if array.ndim != 2 or array.dtype.kind not in "iu" or not 1 <= array.shape[1] <= MOST_MEMBERS:
        raise StatisticsError(
            "members name the inputs of every pair",
            got=f"an array of shape {array.shape} and type {array.dtype}",
            expected=f"integer ids of shape (n, m), m from 1 to {MOST_MEMBERS}, -1 where a pair has fewer",
            fix="pass Counterfactuals.members, or np.stack([base, source], axis=1)",
        )
    if len(array) != n:
        raise StatisticsError(
            "hits and members differ in length",
            got=f"{n} hits, members of {len(array)} pairs",
            expected="one row of members per hit",
            fix="select the same rows of both",
        )
    if array.dtype.kind == "u":
        # Ids of 64 bits without a sign do not fit into int64; only which of them are equal matters.
        array = np.unique(array, return_inverse=True)[1].reshape(array.shape)
    array = array.astype(np.int64)
    wrong = np.flatnonzero((array < -1).any(axis=1) | (array < 0).all(axis=1))
    if wrong.size:
        raise StatisticsError(
            "every pair has at least one input, and ids are 0 or more",
            where=f"row {wrong[0]} of members",
            got=str(array[wrong[0]].tolist()),
            expected="ids of 0 or more, and -1 only where a further source is absent",
            fix="give the base's id, then one id per source",
        )
    return array

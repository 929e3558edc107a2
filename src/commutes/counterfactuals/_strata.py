"""Strata: how the expected answer compares with the base's and the sources' answers."""

from __future__ import annotations

from itertools import product

import numpy as np

__all__ = ["AGREEMENT", "Strata", "differs", "label_strata", "strata_of"]

AGREEMENT = ("agreement",)
_ONE = ("flip", "placebo", "novel", "neutral")
_TWO = tuple(f"b={b} s1={s1} s2={s2}" for b, s1, s2 in product((0, 1), repeat=3))
_MORE = tuple(f"b={b} sources={s}" for b in (0, 1) for s in ("all", "some", "none"))

Strata = tuple[str, ...]


def strata_of(sources: int, real: bool) -> Strata:
    """The names of the strata for this number of sources; one stratum where the output is real-valued.

    >>> strata_of(1, real=False)
    ('flip', 'placebo', 'novel', 'neutral')
    """
    if real:
        return AGREEMENT
    return _ONE if sources == 1 else _TWO if sources == 2 else _MORE


def label_strata(expected: np.ndarray, base: np.ndarray, sources: np.ndarray) -> np.ndarray:
    """Each pair's place in `strata_of`.

    Args:
        expected: The expected answers, as codes.  # shape: (n,)
        base: The bases' answers.  # shape: (n,)
        sources: The sources' answers.  # shape: (n, S)
    """
    as_base = expected == base
    as_source = expected[:, None] == sources
    count = sources.shape[1]
    if count == 1:
        # flip: source's answer only; placebo: base's only; novel: neither's; neutral: all agree.
        return np.where(as_base, np.where(as_source[:, 0], 3, 1), np.where(as_source[:, 0], 0, 2))
    if count == 2:
        return 4 * as_base + 2 * as_source[:, 0] + 1 * as_source[:, 1]
    spread = np.where(as_source.all(axis=1), 0, np.where(as_source.any(axis=1), 1, 2))
    return 3 * as_base + spread


def differs(left: np.ndarray, right: np.ndarray, tolerance: float | None = None) -> np.ndarray:
    """Where answers differ: codes exactly, real values by more than the tolerance.  # shape: (n,)"""
    if left.dtype.kind != "f":
        return left != right
    apart = np.abs(left - right) > (tolerance or 0.0)
    return np.asarray(apart.reshape(len(apart), -1).any(axis=1))

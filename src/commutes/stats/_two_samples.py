"""Whether two samples of kinds are of one distribution, and how far apart they are."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from commutes.stats._checks import IntArray

__all__ = ["Apart", "apart"]

# Kinds that came up less often in both samples together are counted as one, as the approximation asks: the smaller
# sample of two alike then expects five of each.
_RARE = 10


class Apart(NamedTuple):
    """How far two samples are apart."""

    distance: float
    """Total variation: half the sum of the differences of shares, from 0 to 1."""
    p: float
    """That two samples of one distribution are as far apart, by the chi-squared test."""


def apart(one: IntArray, other: IntArray) -> Apart:
    """Total variation between two samples of kinds, and the p-value of the test that they are of one distribution.

    Args:
        one: The kind of each draw, as a code.  # shape: (n,)
        other: The same of the other sample.  # shape: (m,)

    See On the criterion that a given system of deviations ... can be reasonably supposed to have arisen from random
    sampling (Pearson, 1900).

    >>> half = np.repeat([0, 1], 100)
    >>> apart(half, half).p
    1.0
    >>> apart(half, np.zeros(200, int)).distance
    0.5
    """
    from scipy.stats import chi2

    kinds, place = np.unique(np.concatenate([one, other]), return_inverse=True)
    parts = np.split(place.reshape(-1), [len(one)])
    counts = np.stack([np.bincount(part, minlength=len(kinds)) for part in parts])
    rare = counts.sum(axis=0) < _RARE
    counts = np.concatenate([counts[:, ~rare], counts[:, rare].sum(axis=1, keepdims=True)], axis=1)
    counts = counts[:, counts.sum(axis=0) > 0].astype(np.float64)
    totals = counts.sum(axis=1, keepdims=True)
    if counts.shape[1] < 2 or not totals.all():
        return Apart(0.0, 1.0)
    expected = totals * counts.sum(axis=0) / counts.sum()
    statistic = float(((counts - expected) ** 2 / expected).sum())
    distance = float(np.abs(counts[0] / totals[0] - counts[1] / totals[1]).sum() / 2)
    return Apart(distance, float(chi2.sf(statistic, counts.shape[1] - 1)))

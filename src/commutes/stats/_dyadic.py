"""Pairs that share inputs: who shares with whom, the variance that follows, bounds that no miss raises."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from itertools import combinations

import numpy as np
import numpy.typing as npt

from commutes.stats._binomial import clopper_pearson, score_bound, t_quantile
from commutes.stats._checks import BoolArray, FloatArray, IntArray, checked_members

__all__ = ["Sharing", "dyadic_bound", "dyadic_interval", "dyadic_variance"]

# Some milliseconds for thousands of pairs. The j that decides is nearly always among the largest.
_JOINTLY = 128


@dataclass(frozen=True, eq=False)
class Sharing:
    """Which of n pairs share an input, an input being the same whatever its role."""

    members: IntArray
    """(n, m): per pair its distinct inputs, numbered from 0, in ascending order, then -1."""
    pairs_of: IntArray
    """(ids,): the number of pairs that each input occurs in."""

    @classmethod
    def of(cls, members: IntArray) -> Sharing:
        """Number the inputs from 0 and drop repetitions: a pair of an input with itself has one member."""
        present = members >= 0
        codes = np.full(members.shape, -1, dtype=np.int64)
        ids, inverse = np.unique(members[present], return_inverse=True)
        codes[present] = inverse
        codes = np.where(codes < 0, len(ids), codes)
        codes.sort(axis=1)
        repeated = np.zeros(codes.shape, dtype=np.bool_)
        repeated[:, 1:] = codes[:, 1:] == codes[:, :-1]
        codes[repeated] = len(ids)
        codes.sort(axis=1)
        codes[codes == len(ids)] = -1
        return cls(codes, np.bincount(codes[codes >= 0], minlength=len(ids)).astype(np.int64))

    @property
    def ids(self) -> int:
        """How many different inputs there are."""
        return len(self.pairs_of)

    @property
    def disjoint(self) -> bool:
        """Whether no input occurs in two pairs."""
        return not (self.pairs_of > 1).any()

    @cached_property
    def cover(self) -> int:
        """The fewest inputs whose numbers of pairs add up to n.

        No smaller set of inputs can touch every pair, so this is the number of independent units if misses
        are the doing of inputs: n for disjoint pairs, G for all pairs of G bases with G sources, about G / 2
        where the same G inputs play both roles, 1 where one source serves every base.
        """
        reached = np.cumsum(np.sort(self.pairs_of)[::-1])
        return int(np.searchsorted(reached, len(self.members))) + 1

    @cached_property
    def _groups(self) -> list[tuple[int, IntArray, IntArray]]:
        groups: list[tuple[int, IntArray, IntArray]] = []
        width = self.members.shape[1]
        for size in range(1, width + 1):
            rows: list[IntArray] = []
            chosen: list[IntArray] = []
            for columns in combinations(range(width), size):
                part = self.members[:, columns]
                complete = np.flatnonzero((part >= 0).all(axis=1))
                rows.append(complete)
                chosen.append(part[complete])
            subsets = np.concatenate(chosen)
            if not len(subsets):
                break
            key = subsets[:, 0]
            for column in range(1, size):
                # Renumbered at every step, so that the product never leaves 64 bits.
                key = np.unique(key * self.ids + subsets[:, column], return_inverse=True)[1]
            groups.append((1 if size % 2 else -1, np.concatenate(rows), key))
        return groups

    def sums(self, weights: FloatArray) -> FloatArray:
        """Per pair, the sum of the weights of all pairs that share an input with it, itself included.

        By inclusion and exclusion over the subsets of its members: two pairs with t > 0 common inputs are
        counted sum_r (-1)^(r+1) C(t, r) = 1 times.
        """
        total = np.zeros(len(self.members))
        for sign, rows, keys in self._groups:
            of_key = np.bincount(keys, weights=weights[rows])
            total += sign * np.bincount(rows, weights=of_key[keys], minlength=len(total))
        return total

    @cached_property
    def degrees(self) -> FloatArray:
        """Per pair, how many pairs share an input with it, itself included."""
        return self.sums(np.ones(len(self.members)))


def dyadic_variance(values: npt.ArrayLike, members: npt.ArrayLike) -> float:
    """n^-2 sum of u_d u_e over all ordered (d, e) that share a member, u = values - mean; may be negative.

    No small-sample correction. Where no input recurs this is the plain variance of a mean.

    Args:
        values: One number per pair.  # shape: (n,)
        members: Ids of the pair's inputs, -1 where absent.  # shape: (n, m)

    Raises:
        StatisticsError: the lengths differ, or a row names no input.

    See The formation of risk sharing networks (Fafchamps and Gubert, 2007); Cluster-robust variance
    estimation for dyadic data (Aronow, Samii and Assenova, 2015), arXiv 1312.3398.
    """
    array = np.asarray(values, dtype=np.float64)
    sharing = Sharing.of(checked_members(members, len(array)))
    residuals = array - array.mean()
    return float(residuals @ sharing.sums(residuals)) / len(array) ** 2


def _correction(cover: int) -> float:
    """Residuals about the mean are too small by one unit in `cover`."""
    return cover / (cover - 1)


def dyadic_interval(hits: BoolArray, sharing: Sharing, level: float) -> tuple[float, float]:
    """The two-sided score interval for n_eff = p (1 - p) / V pairs, t with cover - 1 degrees of freedom.

    n_eff is at most n, since V may come out small or negative, and at most cover (1 + k) where only k pairs
    miss (or hit): that many say little about how misses cluster, and without any the estimate of V is 0.
    """
    n, cover = len(hits), sharing.cover
    if cover < 2:
        return 0.0, 1.0
    quantile = t_quantile(0.5 + level / 2, cover - 1)
    total = int(hits.sum())
    share, rarer = total / n, min(total, n - total)
    residuals = hits.astype(np.float64) - share
    variance = _correction(cover) * float(residuals @ sharing.sums(residuals)) / n**2
    effective = float(min(n, cover * (1 + rarer)))
    if variance > 0:
        effective = min(effective, share * (1 - share) / variance)
    low = float(score_bound(share, effective, quantile)) if total else 0.0
    high = float(score_bound(share, effective, -quantile)) if total < n else 1.0
    return low, high


def dyadic_bound(hits: BoolArray, sharing: Sharing, alpha: float) -> float:
    """A lower confidence bound of the share of hits that one more miss never raises.

    With y = 1 where a pair misses, q its mean, and A[d, e] = 1 where d and e share an input (A[d, d] = 1),

        n^2 V(y) = sum_d y_d N_d(y) - 2 q sum_d y_d D_d + q^2 sum_d D_d,   N(y) = A y,  D = A 1.

    The plain bound B(q, V(y)) is Wilson's for n_eff = q (1 - q) / V pairs, with t and a continuity correction
    of 1 / (2 n_eff). It can rise with a miss, because V can fall. Taken instead is the least bound that the
    sample could have had with any j <= sum(y) of its misses,

        F(y) = min over j of B(j / n, U_j(y)),
        n^2 U_j(y) = max over J of [ sum_{d in J} (N_d - 2 (j / n) D_d) - sum_{d not in J} (N_d - k)+ ]
                     + (j / n)^2 sum_d D_d,

    where J is any j of the misses, d not in J the other misses, k = sum(y) - j and (x)+ = max(x, 0).

    F is at most the plain bound: at j = sum(y) there is one J, all misses, and U_j = V.

    F never rises with a miss. Let z be y with the miss f added, j fixed, J the best choice for y. Of the sum
    over J the N_d rise by s, the number of pairs in J that share with f. Every N_d rises by at most 1, as k
    does, so no other (N_d - k)+ rises. That of f is at most s, since f shares with s pairs in J, at most k
    others and itself. So U_j(z) >= U_j(y). B falls in its variance (Wilson's lower bound rises with n and
    with the share), and z has all the j of y and one more. Nothing is assumed of A but entries 0 and 1, so
    repeated pairs, three members and pairs of an input with itself need no further care.

    The maximum over J takes a partition for every j. Beyond the _JOINTLY largest j its two parts, N and D,
    are maximised apart, which is larger, so that a miss that moves a j across the border raises nothing.

    The result is never above the exact bound of `cover` hits of `cover` independent units, nor above the
    exact bound of these hits among n independent pairs (both fall with a miss, or stay).
    """
    n, cover = len(hits), sharing.cover
    if cover < 2:
        return 0.0
    total = int(hits.sum())
    bound = min(clopper_pearson(total, n, alpha=alpha)[0], clopper_pearson(cover, cover, alpha=alpha)[0])
    if total in (0, n):
        return bound
    near, degrees = sharing.sums((~hits).astype(np.float64))[~hits], sharing.degrees[~hits]
    every = float(sharing.degrees.sum())
    quantile = t_quantile(1 - alpha, cover - 1)

    def plain(spread: FloatArray, kept: IntArray) -> FloatArray:
        share = kept / n
        independent = share * (1 - share)
        effective = independent / np.maximum(_correction(cover) * spread / n**2, independent / n)
        return score_bound(np.maximum(1 - share - 0.5 / effective, 0), effective, quantile)

    kept = np.arange(1, len(near) + 1)
    apart = plain(_spreads_apart(near, degrees, every, n), kept)
    border = max(len(near) - _JOINTLY, 0)
    bound = min(bound, float(apart[:border].min(initial=1.0)))
    for j in range(len(near), border, -1):
        # U_j is at most what its parts give apart: a bound that is not undercut there is not undercut at all.
        if apart[j - 1] < bound:
            spread = _spread_jointly(near, degrees, every, n, j)
            bound = min(bound, float(plain(np.array([spread]), np.array([j]))[0]))
    return bound


def _spread_jointly(near: FloatArray, degrees: FloatArray, every: float, n: int, j: int) -> float:
    """n^2 U_j of `dyadic_bound`; in whole numbers until the last line, so no rounding breaks the order."""
    k = len(near) - j
    over = np.maximum(near - k, 0)
    weights = n * (near + over) - 2.0 * j * degrees
    left = float(np.partition(weights, k - 1)[:k].sum()) if k else 0.0
    return float(weights.sum() - left - n * over.sum()) / n + (j / n) ** 2 * every


def _spreads_apart(near: FloatArray, degrees: FloatArray, every: float, n: int) -> FloatArray:
    """At least n^2 U_j, for every j: N and D each with a J of its own, which one sort of each finds.

    Neither part falls with a miss: that of N is U_j for D = 0, that of D is minus the sum of the j smallest.
    """
    total = len(near)
    kept = np.arange(1, total + 1)
    left = total - kept
    ordered = np.sort(near)
    below = np.concatenate([[0.0], np.cumsum(ordered)])
    few = np.minimum(np.searchsorted(ordered, left, side="right"), left)
    over = below[left] - below[few] - left * (left - few)
    parts = n * (below[total] - below[left] - over) - 2.0 * kept * np.cumsum(np.sort(degrees))
    return parts / n + (kept / n) ** 2 * every

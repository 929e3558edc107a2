"""Contrast: what changes with the variable, against what changes with everything else."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from commutes.errors import FitError
from commutes.features._moments import Moments
from commutes.features._spectra import Map, check_count, generalised, pair
from commutes.features._subspace import Subspace

# Multiples of tr(S0)/d that were found to serve each map: the orthogonal one reads unwhitened and needs more.
RIDGE: dict[Map, float] = {"oblique": 0.1, "orthogonal": 1.0}


@dataclass(frozen=True, eq=False)
class Contrast:
    """All the generalised eigenvectors of one contrast, of which `subspace` takes the first k."""

    values: torch.Tensor
    """lambda, falling: variance that comes with the variable per variance (and ridge) that comes without.
    # shape: (d,)"""
    readers: torch.Tensor
    """w, as columns.  # shape: (d, d)"""
    metric: torch.Tensor
    """S0 + rho I.  # shape: (d, d)"""
    map: Map

    def subspace(self, k: int) -> Subspace:
        """The leading k: E = W_k, D = (S0 + rho I) W_k, or an orthonormal basis of W_k.

        Raises:
            FitError: No number of dimensions, or more than the site has.
        """
        check_count(k, len(self.metric))
        return pair(self.readers[:, :k], self.metric, self.map, None)


def contrast(flips: Moments, holds: Moments, *, map: Map = "oblique", ridge: float | None = None) -> Contrast:
    """S1 w = lambda (S0 + rho I) w, with S1 = E[delta deltaᵀ] where the variable changes and S0 where it does not.

    S1 is taken over *controlled* pairs, in which only the variable (and what it depends on) changes; S0 over pairs that
    hold the variable and draw something else anew (`nuisance_pairs`). It is LDA with controlled flips for the scatter
    between classes. Of a variable with several values the classes of `flips` are the unordered pairs of values
    (`transitions`); each has its mean squared length divided out, so that no gap outweighs the others.

    Args:
        flips: Of differences source - base over controlled pairs, by transition where there are several.
        holds: Of differences over pairs that hold the variable; their classes do not matter.
        map: "oblique" (E = W, D = (S0 + rho I) W), or "orthogonal".
        ridge: rho as a multiple of tr(S0)/d; 0.1 for the oblique map and 1 for the orthogonal one by default.

    Raises:
        FitError: Different widths, differences that are all zero, or a ridge that is not positive.

    See Finding Alignments Between Interpretable Causal Variables and Distributed Neural Representations,
    arXiv 2303.02536, for what is sought; the estimator is this library's.
    """
    if flips.width != holds.width:
        raise FitError(
            "the two sets of differences belong to different sites",
            got=f"states of {flips.width} and of {holds.width} numbers",
            expected="one width",
        )
    if map not in RIDGE:
        raise FitError("there is no such map", got=repr(map), expected="'oblique' or 'orthogonal'")
    share = RIDGE[map] if ridge is None else ridge
    if not 0 < share < float("inf"):
        raise FitError("the ridge is a multiple of tr(S0)/d", got=repr(ridge), expected="a number above 0")
    moving, still = _scaled(flips), holds.second
    if not float(still.trace()) > 0:
        raise FitError(
            "the pairs that hold the variable change nothing at this site",
            got=f"{holds.n:,} differences, all zero",
            expected="differences of what the variable does not depend on",
            fix='draw them with nuisance="all", or choose a site that holds more than the variable',
        )
    eye = torch.eye(len(still), dtype=still.dtype, device=still.device)
    metric = still + share * still.trace() / len(still) * eye
    values, readers = generalised(moving, metric, what="the scatter without the variable")
    return Contrast(values, readers, metric, map)


def _scaled(flips: Moments) -> torch.Tensor:
    """S1: the mean over transitions of E[delta deltaᵀ], each at mean squared length 1 where there are several."""
    parts = [flips.one(label).second for label in flips.labels]
    lengths = [float(part.trace()) for part in parts]
    if not all(length > 0 for length in lengths):
        raise FitError(
            "the variable changes nothing at this site",
            got=f"{sum(length <= 0 for length in lengths)} of {len(parts)} transitions with no difference at all",
            expected="states that differ when the variable does",
            fix="choose a site that the variable reaches",
        )
    if len(parts) == 1:
        return parts[0]
    return torch.stack([part / length for part, length in zip(parts, lengths, strict=True)]).mean(dim=0)

"""Least-squares concept erasure: the smallest change after which no linear probe sees the variable."""

from __future__ import annotations

import torch

from commutes.features._moments import Moments
from commutes.features._spectra import check_classes, rounding
from commutes.features._subspace import Subspace

# Singular values below this share of the largest are rounding: the sample's class means span no more directions.
NEGLIGIBLE = 1e-8


def leace(moments: Moments) -> Subspace:
    """E = W U, D = W^+ U, with W = Sigma^(-1/2) and U the left singular vectors of W Sigma_hz, z the one-hot class.

    `erase` is the eraser: afterwards the class means are equal and, of all affine maps that make them so, it moves the
    states least. In directions without variance W is 0, so that a singular covariance is no trouble.

    Args:
        moments: Of states by the variable's value.

    Returns:
        An oblique pair of c - 1 dimensions (fewer where the class means span fewer), centred at the mean.

    Raises:
        FitError: One class, or class means that coincide.

    See LEACE: Perfect linear concept erasure in closed form, arXiv 2306.03819.
    """
    check_classes(moments, "concept erasure")
    covariance = moments.covariance
    values, axes = torch.linalg.eigh(covariance)
    varies = values > rounding(covariance)
    whiten = (axes * torch.where(varies, values, 1.0).rsqrt() * varies) @ axes.T
    colour = (axes * torch.where(varies, values, 0.0).sqrt()) @ axes.T
    # The column of a class in Sigma_hz is its share times how far its mean is from the common one.
    shares = moments.counts / moments.counts.sum()
    cross = ((moments.means - moments.mean) * shares[:, None]).T
    left, sizes, _ = torch.linalg.svd(whiten @ cross, full_matrices=False)
    kept = left[:, sizes > NEGLIGIBLE * sizes[0]]
    return Subspace((whiten @ kept).contiguous(), (colour @ kept).contiguous(), moments.mean)

"""Directions along which the output depends on a site."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from commutes.errors import FitError
from commutes.features._moments import Moments
from commutes.features._spectra import leading
from commutes.features._subspace import Subspace


def active_subspace(moments: Moments, *, k: int) -> Subspace:
    """E = D = the k leading eigenvectors of E[g gᵀ], g the gradient of the logit difference at the site.

    Args:
        moments: Of gradients, about the origin.
        k: Dimensions.

    Raises:
        FitError: More dimensions than the gradients vary in.

    See Active subspace methods in theory and practice: applications to kriging surfaces, arXiv 1304.2070.
    """
    basis = leading(moments.second, k, what="the second moment of the gradients")
    return Subspace(basis, basis)


@dataclass(frozen=True, eq=False)
class Products:
    """Sum of g deltaᵀ over pairs; sums of parts add up to that of the whole."""

    n: int
    """Pairs."""
    total: torch.Tensor
    """# shape: (d, d)"""

    def __add__(self, other: Products) -> Products:
        return Products(self.n + other.n, self.total + other.total)


def products(gradients: torch.Tensor, deltas: torch.Tensor) -> Products:
    """The sum of g deltaᵀ over these pairs, in double precision.

    Args:
        gradients: g_base + g_source, or one of the two.  # shape: (n, ..., d)
        deltas: State of the source minus that of the base.  # shape: (n, ..., d)

    Raises:
        FitError: No pairs, other shapes, or numbers that are not finite.
    """
    if gradients.shape != deltas.shape or not gradients.numel():
        raise FitError(
            "every difference needs its gradient",
            got=f"gradients {tuple(gradients.shape)}, differences {tuple(deltas.shape)}",
            expected="one shape, and at least one pair",
        )
    g, delta = (t.detach().reshape(-1, t.shape[-1]).double() for t in (gradients, deltas))
    if not bool(torch.isfinite(g).all()) or not bool(torch.isfinite(delta).all()):
        raise FitError("gradients or differences are not finite", got="nan or inf", expected="finite numbers")
    return Products(len(g), g.T @ delta)


def attribution(products: Products, *, k: int) -> Subspace:
    """E = D = the k leading eigenvectors of A = sym E[(g_base + g_source) deltaᵀ].

    bᵀ A b is the change of the logit difference that first-order patching along a unit vector b attributes to it; in
    the basis of the neurons the diagonal of A is attribution patching. Directions that push against the difference
    have negative eigenvalues and are never chosen.

    Args:
        products: Of gradients and differences.
        k: Dimensions.

    Raises:
        FitError: More dimensions than have a positive attribution.

    See Attribution Patching Outperforms Automated Circuit Discovery, arXiv 2310.10348.
    """
    mean = products.total / products.n
    basis = leading((mean + mean.T) / 2, k, what="the attribution of the logit difference")
    return Subspace(basis, basis)

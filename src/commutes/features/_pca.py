"""Principal components, of states and of differences, and working within them."""

from __future__ import annotations

import torch

from commutes.errors import FitError
from commutes.features._moments import Moments
from commutes.features._spectra import check_count, leading, settled
from commutes.features._subspace import Subspace

# Beyond this many components a closed form would fit noise in most samples, and the generalised eigenproblem is slow.
MOST_COMPONENTS = 256


def pca(moments: Moments, *, k: int) -> Subspace:
    """E = D = the k leading eigenvectors of the covariance of all states; centred at their mean.

    Raises:
        FitError: More dimensions than the states vary in.

    See On lines and planes of closest fit to systems of points in space (Pearson, 1901).
    """
    basis = leading(moments.covariance, k, what="the covariance of the states")
    return Subspace(basis, basis, moments.mean)


def pca_of_differences(moments: Moments, *, k: int) -> Subspace:
    """E = D = the k leading eigenvectors of E[delta deltaᵀ], delta the source's state minus the base's.

    Args:
        moments: Of differences; their classes do not matter.
        k: Dimensions.

    Raises:
        FitError: More dimensions than the differences vary in.

    See Representation Engineering: A Top-Down Approach to AI Transparency, arXiv 2310.01405.
    """
    basis = leading(moments.second, k, what="the second moment of the differences")
    return Subspace(basis, basis)


def principal(states: torch.Tensor, most: int = MOST_COMPONENTS) -> torch.Tensor:
    """An orthonormal basis of the leading principal components of n states, for closed forms where d is beyond n.

    Args:
        states: # shape: (n, d)
        most: Components; fewer are returned where the states vary in fewer directions.

    Returns:
        Shape (d, p): `states @ basis` are the coordinates to take moments of, `lift` brings a subspace back.

    Raises:
        FitError: States that do not vary, or no number of components.
    """
    flat = states.detach().reshape(-1, states.shape[-1]).double()
    check_count(most, max(most, flat.shape[1]))
    _, values, rows = torch.linalg.svd(flat - flat.mean(dim=0), full_matrices=False)
    tiny = max(flat.shape) * torch.finfo(torch.float64).eps * float(flat.abs().max()) * len(flat) ** 0.5
    rank = int((values > tiny).sum())
    if not rank:
        raise FitError(
            "the states do not vary", got=f"{len(flat):,} equal states", expected="states that differ"
        )
    return settled(rows[: min(most, rank)].T)


def lift(subspace: Subspace, basis: torch.Tensor, mean: torch.Tensor | None = None) -> Subspace:
    """A subspace that was found in the coordinates of a basis, as one of the whole space: V E and V D.

    Args:
        subspace: Found among `states @ basis`.
        basis: V, orthonormal.  # shape: (d, p)
        mean: Of the states in the whole space, where the subspace has a centre; V Vᵀ of it by default.

    Raises:
        FitError: A subspace of another width than the basis has columns.
    """
    if len(subspace.reader) != basis.shape[1]:
        raise FitError(
            "the subspace was not found in this basis",
            got=f"states of {len(subspace.reader)} numbers, {basis.shape[1]} basis vectors",
            expected="as many of both",
        )
    reader = basis @ subspace.reader
    writer = reader if subspace.reader is subspace.writer else basis @ subspace.writer
    centre = None if subspace.centre is None else basis @ subspace.centre
    return Subspace(reader, writer, centre if mean is None else mean.to(reader))

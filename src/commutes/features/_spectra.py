"""Eigenvectors with one sign and one order, and what may be asked of them."""

from __future__ import annotations

from typing import Literal

import torch

from commutes.errors import FitError
from commutes.features._moments import Moments
from commutes.features._subspace import Subspace, orthonormal

Map = Literal["oblique", "orthogonal"]


def leading(matrix: torch.Tensor, k: int, *, what: str) -> torch.Tensor:
    """The k eigenvectors of the largest eigenvalues, largest first, each with its largest entry positive.

    Args:
        matrix: Symmetric.  # shape: (d, d)
        k: How many.
        what: What the matrix is, for errors.

    Returns:
        Shape (d, k).

    Raises:
        FitError: More than the width, or more than have an eigenvalue above rounding: the others are arbitrary.
    """
    check_count(k, len(matrix))
    values, vectors = torch.linalg.eigh(matrix)
    values, vectors = values.flip(0), vectors.flip(1)
    rank = int((values > rounding(matrix)).sum())
    if k > rank:
        raise FitError(
            f"{what} has fewer directions than were asked for",
            got=f"k = {k}, and {rank} of {len(matrix)} eigenvalues above rounding",
            expected=f"k from 1 to {rank}" if rank else "states that differ",
            fix="ask for fewer dimensions"
            if rank
            else "nothing varies here: choose another site or other pairs",
        )
    return settled(vectors[:, :k])


def generalised(
    matrix: torch.Tensor, metric: torch.Tensor, *, what: str
) -> tuple[torch.Tensor, torch.Tensor]:
    """All w with A w = lambda M w, wᵀ M w = 1, by falling lambda.

    Args:
        matrix: A, symmetric.  # shape: (d, d)
        metric: M, symmetric and positive.  # shape: (d, d)
        what: What the metric is, for errors.

    Returns:
        The eigenvalues (d,) and the vectors as columns (d, d).

    Raises:
        FitError: The metric is singular.
    """
    scales, axes = torch.linalg.eigh(metric)
    smallest = rounding(metric)
    if not bool((scales > smallest).all()):
        raise FitError(
            f"{what} is singular",
            got=f"{int((scales <= smallest).sum())} of {len(scales)} directions without variance",
            expected="variance in every direction",
            fix="shrink it, or work in the leading principal components: principal(states), then lift",
        )
    white = axes * scales.rsqrt()
    values, vectors = torch.linalg.eigh(white.T @ matrix @ white)
    return values.flip(0), settled(white @ vectors.flip(1))


def settled(vectors: torch.Tensor) -> torch.Tensor:
    """The columns, each with the sign that makes its largest entry positive."""
    largest = vectors.abs().argmax(dim=0, keepdim=True)
    signs = torch.where(vectors.gather(0, largest) < 0, -1.0, 1.0).to(vectors.dtype)
    # In the layout in which a file gives them back: in another one products round otherwise.
    return (vectors * signs).contiguous()


def rounding(matrix: torch.Tensor) -> float:
    """The size below which an eigenvalue of a symmetric matrix is rounding: d eps |A|, as in a numerical rank."""
    # Ten times that: the matrix is itself a sum of many rounded products.
    largest = float(torch.linalg.matrix_norm(matrix, 2)) if matrix.numel() else 0.0
    return 10 * len(matrix) * torch.finfo(matrix.dtype).eps * largest


def pair(reader: torch.Tensor, metric: torch.Tensor, map: Map, centre: torch.Tensor | None) -> Subspace:
    """The pair of readers that are orthonormal in a metric: D = M E, or E and D an orthonormal basis of the readers.

    Raises:
        FitError: Another map than these two.
    """
    if map == "oblique":
        return Subspace(reader.contiguous(), metric @ reader, centre)
    if map == "orthogonal":
        basis = orthonormal(reader).contiguous()
        return Subspace(basis, basis, centre)
    raise FitError("there is no such map", got=repr(map), expected="'oblique' or 'orthogonal'")


def check_count(k: object, width: int) -> None:
    """Refuse a number of dimensions that is none, or that the states do not have.

    Raises:
        FitError: Not a whole number from 1 to the width.
    """
    if isinstance(k, bool) or not isinstance(k, int) or k < 1:
        raise FitError("k is a number of dimensions", got=repr(k), expected="a whole number from 1")
    if k > width:
        raise FitError(
            "more dimensions are asked for than the site has",
            got=f"k = {k}",
            expected=f"at most {width}",
            fix="ask for fewer dimensions, or find the variable at a wider site",
        )


def check_classes(moments: Moments, method: str) -> None:
    """Refuse a method that compares classes where there is nothing to compare.

    Raises:
        FitError: One class, or class means that coincide.
    """
    first, *others = moments.labels
    if not others:
        raise FitError(
            f"{method} compares classes, and there is one",
            got=f"class {first} in all {moments.n:,} states",
            expected="states of at least two values of the variable",
            fix="the variable is constant on these inputs: draw others",
        )
    if float(moments.between.trace()) <= rounding(moments.covariance):
        raise FitError(
            f"{method} compares classes, and their means coincide",
            got=f"{len(moments.labels)} classes of which no coordinate knows",
            expected="a site whose mean state depends on the variable",
            fix="look further down the network, or check that labels and states belong together",
        )

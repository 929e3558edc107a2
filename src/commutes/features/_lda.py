"""Linear discriminant analysis."""

from __future__ import annotations

import torch

from commutes.errors import FitError
from commutes.features._moments import Moments
from commutes.features._spectra import Map, check_classes, check_count, generalised, pair
from commutes.features._subspace import Subspace


def lda(
    moments: Moments, *, k: int | None = None, shrinkage: float | None = None, map: Map = "oblique"
) -> Subspace:
    """S_b w = lambda S_w w, the largest lambda first, with S_w shrunk; E = W, D = S_w W.

    Args:
        moments: Of states by the variable's value.
        k: Dimensions; c - 1 by default, the most that c classes can be told apart in.
        shrinkage: Of S_w towards a multiple of the identity, from 0 to 1; Ledoit and Wolf's by default.
        map: "oblique", or "orthogonal" for an orthonormal basis of the readers.

    Returns:
        A pair centred at the mean of all states.

    Raises:
        FitError: One class, class means that coincide, more dimensions than c - 1, or a singular S_w.

    See The use of multiple measurements in taxonomic problems (Fisher, 1936); A well-conditioned estimator for
    large-dimensional covariance matrices (Ledoit and Wolf, 2004).
    """
    check_classes(moments, "linear discriminant analysis")
    most = min(len(moments.labels) - 1, moments.width)
    k = most if k is None else k
    check_count(k, moments.width)
    if k > most:
        raise FitError(
            "more dimensions are asked for than tell the classes apart",
            got=f"k = {k} for {len(moments.labels)} classes",
            expected=f"at most {most}",
            fix="ask for fewer, or use a method that does not go by class means: contrast, PCA of differences",
        )
    if shrinkage is None:
        within, _ = moments.shrunk()
    else:
        if not 0 <= shrinkage <= 1:
            raise FitError("shrinkage is a share", got=repr(shrinkage), expected="a number from 0 to 1")
        level = moments.within.trace() / moments.width
        eye = torch.eye(moments.width, dtype=level.dtype, device=level.device)
        within = (1 - shrinkage) * moments.within + shrinkage * level * eye
    _, vectors = generalised(moments.between, within, what="the covariance within the classes")
    return pair(vectors[:, :k], within, map, moments.mean)

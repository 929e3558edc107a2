"""The direction between two class means, or the span of several."""

from __future__ import annotations

import torch

from commutes.features._moments import Moments
from commutes.features._spectra import check_classes, check_count, leading
from commutes.features._subspace import Subspace


def difference_of_means(moments: Moments, *, k: int | None = None) -> Subspace:
    """E = D = (m_1 - m_0) / |m_1 - m_0|; of more classes, the leading directions of the centred class means.

    Args:
        moments: Of states by the variable's value.
        k: Dimensions; all c - 1 that the means span by default.

    Returns:
        An orthogonal pair, centred at the mean of all states. Of two classes it points from the first to the second.

    Raises:
        FitError: One class, class means that coincide, or more dimensions than the means span.

    See The Geometry of Truth: Emergent Linear Structure in Large Language Model Representations of True/False
    Datasets, arXiv 2310.06824.
    """
    check_classes(moments, "a difference of means")
    if len(moments.labels) == 2 and (k is None or k == 1):
        gap = moments.means[1] - moments.means[0]
        basis = (gap / gap.norm())[:, None]
    else:
        what = "the span of the class means"
        if k is None:
            k = int(torch.linalg.matrix_rank(moments.between, hermitian=True))
        check_count(k, moments.width)
        basis = leading(moments.between, k, what=what)
    return Subspace(basis, basis, moments.mean)

"""How alike two fits' subspaces are: whole, and as far as the answer depends on them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from commutes.algorithm import Variable
from commutes.alignment import Alignment
from commutes.engine import Featurizer
from commutes.errors import AlignmentError
from commutes.evaluation import Bench, answer_scores
from commutes.features import Neurons

# A few pairs show along which directions a network reads; of these so many are differentiated at once.
PAIRS, _AT_ONCE = 64, 32
# Where the answer depends on a fit's coordinates less than this share of how it depends on the whole state, nothing is
# read: what is left is rounding.
_NOTHING = 1e-3


def read_overlaps(bench: Bench, fits: Sequence[Sequence[Featurizer]], rows: np.ndarray) -> np.ndarray | None:
    """<M_i, M_j> / (|M_i| |M_j|) of all fits, M = E[g gᵀ], g the gradient of the answer's margin in the source's state.

    What a fit holds and the network does not read has no part in g. Where both fits read r orthonormal directions
    evenly this is the share of them that they have in common. nan where a fit holds nothing that is read.

    Args:
        bench: The prepared pairs.
        fits: Maps of each fit, one per site.
        rows: Which pairs; their expected answers differ from the bases'. At most `PAIRS` of them are taken.

    Returns:
        Shape (fits, fits); None where the network has a custom `decode=`, so that answers have no scores.
    """
    if bench.answers.spelling is None:
        return None
    chosen = rows[:PAIRS]
    masks = [mask[torch.from_numpy(chosen).to(mask.device)] for mask in bench.masks]
    slopes = [_slopes(bench, maps, masks, chosen) for maps in fits]
    products = np.array([[_product(one, other) for other in slopes] for one in slopes])
    norms = np.sqrt(np.diag(products))
    norms[norms <= _NOTHING**2 * _whole_norm(bench, masks, chosen)] = np.nan
    return products / np.outer(norms, norms)


def whole_overlap(one: Alignment, other: Alignment, variable: Variable) -> float | None:
    """Mean squared cosine of the principal angles between what is written.

    Dimensions that one has and the other lacks count as 0. None where the map is not linear, or all of a variable's
    gates are closed.
    """
    try:
        mine, theirs = one.subspace(variable), other.subspace(variable)
    except AlignmentError:
        return None
    if not mine.dimension or not theirs.dimension:
        return None
    cosines = torch.cos(mine.angles(theirs).double())
    return float(cosines.square().sum()) / max(mine.dimension, theirs.dimension)


def _whole_norm(bench: Bench, masks: Sequence[torch.Tensor], rows: np.ndarray) -> float:
    """|M| where the whole state comes from the source that some of it came from."""
    sites = bench.prepared.batch(*_pair(bench, rows[:1])).sources
    maps = [Neurons(torch.arange(state.shape[-1], device=state.device)) for state in sites]
    everything = [
        mask.any(dim=2, keepdim=True).expand(-1, -1, state.shape[-1])
        for mask, state in zip(masks, sites, strict=True)
    ]
    slopes = _slopes(bench, maps, everything, rows)
    return _product(slopes, slopes) ** 0.5


def _slopes(
    bench: Bench, maps: Sequence[Featurizer], masks: Sequence[torch.Tensor], rows: np.ndarray
) -> list[torch.Tensor]:
    """Of every site, the gradients of score(y*) - score(y_b) in the sources' states.  # shape of each: (n, d)"""
    prepared, spelling = bench.prepared, bench.answers.spelling
    assert spelling is not None
    found: list[list[torch.Tensor]] = [[] for _ in maps]
    for start in range(0, len(rows), _AT_ONCE):
        own = slice(start, start + _AT_ONCE)
        batch = prepared.batch(*_pair(bench, rows[own]))
        sources = tuple(state.detach().clone().requires_grad_() for state in batch.sources)
        with torch.enable_grad():
            logits = prepared.logits(batch._replace(sources=sources), maps, [m[own] for m in masks])
            scores = answer_scores(logits, torch.from_numpy(spelling).to(logits.device))
            after, before = (
                torch.from_numpy(codes[rows[own]]).to(logits.device).unsqueeze(1)
                for codes in (bench.pairs.expected, bench.pairs.base_answer)
            )
            margin = scores.gather(1, after) - scores.gather(1, before)
            # Behind a hard threshold no gradient arrives: what is read is then not known.
            slopes = (
                torch.autograd.grad(margin.sum(), sources, materialize_grads=True)
                if margin.requires_grad
                else [torch.zeros_like(state) for state in sources]
            )
        for site, slope in enumerate(slopes):
            found[site].append(slope.reshape(-1, slope.shape[-1]).double().cpu())
    return [torch.cat(parts) for parts in found]


def _pair(bench: Bench, rows: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.from_numpy(bench.pairs.base[rows]), torch.from_numpy(bench.pairs.source[rows])


def _product(one: Sequence[torch.Tensor], other: Sequence[torch.Tensor]) -> float:
    """<M_i, M_j>, up to a factor that the normalisation takes away, without any d x d matrix."""
    return sum(float((a @ b.T).square().sum()) for a, b in zip(one, other, strict=True))

"""The step that is kept: the best on the selection split by the worst of what was asked for."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from commutes.alignment import Alignment
from commutes.counterfactuals import Counterfactuals
from commutes.evaluation import bench, cell_rows, is_gated
from commutes.network import Network
from commutes.training._iit_settings import IIT
from commutes.training._iit_strictness import Resampling


@dataclass(frozen=True)
class Score:
    """How a network does on the selection split, each a share."""

    interchange: float
    """The worst cell of swapped set and stratum."""
    behaviour: float
    """Distinct inputs that are answered as the algorithm does, without intervention."""
    strict: float | None
    """Bases whose answer stays in the sense of the strict term; None where that has no weight."""
    worst: float
    """What a step is chosen by: the lowest of those whose terms have a weight."""


def score(
    alignment: Alignment, module: torch.nn.Module, pairs: Counterfactuals, settings: IIT, *, seed: int
) -> Score:
    """What the module reaches with its present weights.

    Args:
        alignment: The claim, about any network of this structure.
        module: What is trained.
        pairs: The selection split.
        settings: Whether strictness is asked for, and which.
        seed: Of the other inputs that strictness is measured with.
    """
    claim = about(alignment, alignment.network.with_module(module))
    found = bench(claim, pairs)
    hits = found.hits(claim.featurizers)
    cells = [rows for *_, rows in cell_rows(pairs) if len(rows)]
    # A cell of a few pairs is no ground for a choice, unless there is no other.
    gated = [rows for rows in cells if is_gated(pairs, rows)] or cells
    strict = None
    if settings.strict:
        resampled = Resampling(claim, pairs, seed=seed)
        strict = (resampled.joint() if settings.strictness == "joint" else resampled.one()).rate
    shares = {
        "interchange": min(float(hits[rows].mean()) for rows in gated),
        "behaviour": float(found.right.mean()),
        "strict": strict,
    }
    # A step is not chosen by what was not asked for: a network that says one thing only has half of a cell right.
    asked = [share for name, share in shares.items() if share is not None and settings.weights[name]]
    return Score(**shares, worst=min(asked))


def about(alignment: Alignment, network: Network) -> Alignment:
    """The same claim with the same maps about a network that shares nothing with the old one but its structure.

    A network object knows what was found out about it: with new weights it has to be a new one.
    """
    ids, selected = alignment.fitted_ids, alignment.selected_ids
    return alignment.on(network).with_maps(
        alignment.featurizers, fitted_ids=ids, selected_ids=selected, history=alignment.history
    )

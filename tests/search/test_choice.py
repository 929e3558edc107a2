"""By what a place of the sweep is chosen."""

from __future__ import annotations

import numpy as np
import pytest

from commutes import counterfactuals, evaluate
from commutes.search._sweep import cell_record
from tests.planted import exact


def spoilt(found, rows):
    """The same evaluation with these pairs missed, measured again."""
    from dataclasses import replace

    from commutes.evaluation._rates import cells

    hits = found.hits.copy()
    hits[rows] = False
    return replace(found, hits=hits, cells=tuple(cells(hits, found.pairs, {})))


@pytest.mark.parametrize("gated", [True, False])
def test_a_cell_of_three_pairs_chooses_only_where_there_is_no_other(gated):
    algorithm, _, claim = exact(6)
    pairs = counterfactuals(algorithm, 800 if gated else 80, seed=0)
    left_flips = np.nonzero((pairs.swap == 0) & (pairs.stratum == 0))[0]
    few = pairs.subset(np.setdiff1d(np.arange(len(pairs)), left_flips[3:]))
    missed = np.nonzero((few.swap == 0) & (few.stratum == 0))[0]
    assert len(missed) == 3
    found = spoilt(evaluate(claim, few), missed)
    assert any(c.status == "gated" for c in found.cells) == gated
    assert cell_record(found)["worst"] == (1.0 if gated else 0.0)

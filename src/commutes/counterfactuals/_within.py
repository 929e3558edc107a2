"""More data from where a data set came from: other pairs of its own part, and which inputs belong to it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from commutes.algorithm import Variable
from commutes.counterfactuals._design import check_count, check_seed
from commutes.counterfactuals._pool import inside
from commutes.counterfactuals._swap import resolve_all
from commutes.counterfactuals._value import Counterfactuals, from_drawn

__all__ = ["belongs", "controlled_within", "swapped_within"]


def controlled_within(
    pairs: Counterfactuals,
    variable: Variable | str,
    n: int,
    *,
    hold: Sequence[Variable | str] | None = None,
    seed: int,
) -> Counterfactuals:
    """n controlled pairs of the same distribution and the same part of a split; inputs recur.

    Sources that are put together from two inputs are new inputs, and they too are of this part.

    Args:
        pairs: Whose distribution and part these are.
        variable: What changes between base and source.
        n: Pairs, equally many per transition.
        hold: As in `counterfactuals(flip=...)`.
        seed: Of the drawing.

    Raises:
        DataError: As `counterfactuals(flip=...)`.
    """
    flipped = pairs.algorithm[variable]
    held = None if hold is None else tuple(v.name for v in resolve_all(pairs.algorithm, hold, "hold"))
    design = replace(
        pairs.design,
        n=check_count(n, "controlled_within, n"),
        swaps=(((flipped.name,), False),),
        flip=(flipped.name,),
        hold=held,
        reuse=True,
        seed=check_seed(seed, "controlled_within, seed"),
        complete=False,
    )
    known = pairs._reservoir
    return from_drawn(pairs.algorithm, design, None if known is None else known.sibling())


def swapped_within(
    pairs: Counterfactuals, variables: Sequence[Variable | str], n: int, *, seed: int
) -> Counterfactuals:
    """n pairs of the same distribution and the same part of a split that swap these variables at once.

    Each variable has a source of its own. Inputs recur or are used once as in a part of that name.

    Args:
        pairs: Whose distribution and part these are.
        variables: One swap set.
        n: Pairs, equally many per stratum.
        seed: Of the drawing.

    Raises:
        DataError: As `counterfactuals(swap=...)`.
    """
    names = tuple(v.name for v in resolve_all(pairs.algorithm, variables, "swap"))
    design = replace(
        pairs.design,
        n=check_count(n, "swapped_within, n"),
        swaps=((names, False),),
        flip=None,
        hold=None,
        seed=check_seed(seed, "swapped_within, seed"),
        complete=False,
    )
    return from_drawn(pairs.algorithm, design, None)


def belongs(pairs: Counterfactuals, ids: np.ndarray) -> np.ndarray:
    """Which of these inputs are of the part that the pairs were drawn from; all, where nothing was split.

    Args:
        pairs: Undivided data or a part of a split.
        ids: As `Algorithm.input_ids` gives them.  # shape: (n,) uint64

    Returns:
        Truth values, shape (n,).
    """
    return inside(ids, pairs.design)

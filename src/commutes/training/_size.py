"""How many dimensions a claim needs: the fewest with which it does as well as with more, on the selection split."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from commutes.alignment import Alignment
from commutes.counterfactuals import Counterfactuals
from commutes.engine import BUDGET
from commutes.errors import FitError
from commutes.evaluation import bench
from commutes.stats import show
from commutes.training._closed_form import ClosedForm
from commutes.training._descent import Progress
from commutes.training._fit import fit_many
from commutes.training._selection import cells_of, score
from commutes.training._settings import Settings, check_pairs

# As smallest sizes are compared elsewhere: what one pair in fifty is worth.
MARGIN = 0.02


@dataclass(frozen=True, eq=False)
class Sized:
    """The size that was chosen, and what every other did."""

    size: int
    alignment: Alignment
    """The claim of that size, fitted."""
    scores: Mapping[int, tuple[float, float]]
    """By size the mean over the cells of the selection split and the worst of them: by these it was chosen."""
    margin: float

    def __str__(self) -> str:
        lines = [
            f"{'>' if size == self.size else ' '} {size:>3}  {show(mean):>5}  {show(worst):>5}"
            for size, (mean, worst) in self.scores.items()
        ]
        head = f"the smallest size within {show(self.margin)} of the best, on the selection split"
        return "\n".join([head, "  size   mean  worst cell", *lines])


def smallest_size(
    claims: Mapping[int, Alignment],
    train: Counterfactuals,
    *,
    select: Counterfactuals,
    seed: int,
    settings: Settings | ClosedForm | None = None,
    margin: float = MARGIN,
    progress: Progress | None = None,
    budget: int = BUDGET,
) -> Sized:
    """The same claim in several sizes, all fitted, and the smallest of them that does as well as the best.

    A spectrum may have many directions above its null though one is enough, where variables move together on the pairs.
    So the size is found on inputs that were not fitted on, by the mean over the cells of swapped set and stratum: sizes
    within `margin` of the best are as good. The worst cell stands beside it, and is not gone by: of a few pairs a
    single one would decide.

    Args:
        claims: By size the claim to be fitted, such as {k: Alignment(algorithm, {v: hidden[:k]}) for k in (1, 2, 4)}.
        train: What they are fitted on.
        select: On what the size is chosen, and step and start where there is a descent.
        seed: Of starts and batches, the same for all.
        settings: Of the descent, or a `ClosedForm` to compute the maps by.
        margin: By how much a smaller size may do worse.
        progress: As for `fit`.
        budget: As for `fit`.

    Raises:
        FitError: No size, or a margin that is none; and as `fit`, or as `closed_form`.
        DataError: Training and selection share inputs, or no pair's answer changes.
    """
    _check(claims, margin)
    sizes = sorted(claims)
    settings = settings or Settings()
    if isinstance(settings, ClosedForm):
        check_pairs(train, select)
        found = [settings.maps(claims[size], train, seed=seed) for size in sizes]
    else:
        found = fit_many(
            [claims[size] for size in sizes], [train] * len(sizes), selects=[select] * len(sizes),
            seed=seed, settings=settings, progress=progress, budget=budget,
        )  # fmt: skip
    cells = cells_of(select)
    reached = {}
    for size, one in zip(sizes, found, strict=True):
        worst, mean = score(cells, bench(one, select, budget=budget).hits(one.featurizers))
        reached[size] = (mean, worst)
    best = max(mean for mean, _ in reached.values())
    size = next(size for size in sizes if reached[size][0] >= best - margin)
    one = found[sizes.index(size)]
    told = {"sizes": {str(k): list(both) for k, both in reached.items()}, "size_margin": margin}
    chosen = one.with_maps(
        one.featurizers,
        fitted_ids=one.fitted_ids,
        selected_ids=np.union1d(one.selected_ids, select.input_ids),
        history={**one.history, **told},
    )
    return Sized(size, chosen, reached, margin)


def _check(claims: Mapping[int, Alignment], margin: object) -> None:
    wrong = [size for size in claims if isinstance(size, bool) or not isinstance(size, int) or size < 1]
    if not claims or wrong:
        raise FitError(
            "a size is a number of dimensions",
            got=", ".join(map(repr, wrong)) or "no claims",
            expected="claims by size, such as {1: ..., 2: ...}",
        )
    if isinstance(margin, bool) or not isinstance(margin, int | float) or not 0 <= margin < 1:
        raise FitError(
            "margin is a difference of two rates", got=repr(margin), expected="from 0 to less than 1"
        )

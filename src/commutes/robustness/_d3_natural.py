"""D3: do the readers see edited states as they see natural ones?"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from commutes.algorithm import Finite, Variable
from commutes.alignment import Group
from commutes.counterfactuals import Swap
from commutes.evaluation import GATED
from commutes.robustness._case import ALPHA, Case, Outcome, pairs_needed, said
from commutes.robustness._decoding import decoder
from commutes.robustness._readers import ReadSpace, read_space
from commutes.robustness._uses import ROWS
from commutes.robustness._views import Pool, Views, pool_of, quantile, views_of
from commutes.robustness._worst import of_all
from commutes.stats import Answer, Interval, gap, gate, rate, show, weighted_share

# Natural states beyond the quantile, and how much further out than it a state has to lie. Natural states are often
# of a few kinds, so that an edit which is a hundredth too long lies outside of them all; at a quarter too long, the
# most that A4 takes for right, that of a variable with two equally frequent values lies half as far out again.
SHARE, SLACK = 0.05, 0.50
# Of a variable that the rest of what is read says as often as this, an edit cannot be like any natural state.
_TWICE = 0.90
# Edits that move what is read by less than this share of how far natural states lie apart move nothing of it.
_MOVES = 1e-3
# With more pairs than this for which no natural input has the same values, the rest says too little.
_MOST_DROPPED = 0.20


@dataclass(frozen=True, eq=False)
class _Seen:
    """Edited and natural states of one swapped set at one site, as the readers see them."""

    name: str
    asked: int
    """Pairs whose swap changes a value at the site."""
    rows: np.ndarray
    """Those of them for which a natural input has the same values."""
    members: np.ndarray
    edited: np.ndarray
    """Whether each lies beyond the natural quantile.  # shape: (n,)"""
    natural: np.ndarray
    """The same of the natural inputs.  # shape: (m,)"""
    cells: np.ndarray
    weights: np.ndarray
    """Cells of equal values, in which natural inputs weigh what edited states do.  # shapes: (m,)"""
    quantile: float
    median: float
    """Of the distances of edited states."""
    moved: float
    """How far edits move the view, in units of how far natural views lie from their mean."""
    on: str
    """What the natural view was learnt from."""
    census: bool
    alone: _Seen | None = None
    """The same along the directions of the edits only, where the others that are read say the variable as well."""

    def excess(self, alpha: float) -> Interval:
        """Share of edited states beyond the quantile, minus that of natural ones with the same values."""
        if not len(self.rows):
            return Interval(0.0, -1.0, 1.0, -1.0, 1.0, 0)
        edited = rate(self.edited, self.members, census=self.census, alpha=alpha)
        natural = weighted_share(self.natural, self.weights, self.cells, census=self.census, alpha=alpha)
        return gap(edited, natural)

    def gated(self, most: float, alpha: float) -> Answer:
        """Whether the excess is below `most`; of too few pairs or natural inputs nothing is said."""
        if not self.census and min(len(self.rows), int((self.weights > 0).sum())) < GATED:
            return Answer.INCONCLUSIVE
        answer = gate(self.excess(alpha), most, side="<")
        if answer is Answer.REFUTED and self.alone is not None:
            # What is left to be seen are the edits by themselves: they may still be of no natural size.
            return (
                self.alone.gated(most, alpha)
                if self.alone.excess(alpha).lower >= most
                else Answer.INCONCLUSIVE
            )
        return answer

    def record(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "edited": rate(self.edited, self.members, census=self.census).as_dict(),
            "natural": float((self.weights * self.natural).sum() / max(1.0, self.weights.sum())),
            "excess": self.excess(ALPHA).as_dict(),
            "quantile": self.quantile,
            "median": self.median,
            "moved": self.moved,
            "left_out": self.asked - len(self.rows),
            "furthest": self.rows[self.edited][:5].tolist(),
            "alone": None if self.alone is None else self.alone.record(),
        }


def natural_to_readers(case: Case) -> Outcome:
    """Share of edited states that lie far beyond natural ones in the readers' view, minus that of natural ones.

    Far beyond is half as far out again as the 95 % quantile of natural states; the worst swapped set decides. The view
    is what the linear maps that read the site make of a state, before their bias; distances are Mahalanobis', by mean
    and shrunk covariance of clean states of the training split. Natural states are held-out ones, weighted so that the
    variables' values are as frequent among them as among edited states.

    See A Reply to Makelov et al. (2023)'s "Interpretability Illusion" Arguments, arXiv 2401.12631; A well-conditioned
    estimator for large-dimensional covariance matrices (Ledoit and Wolf, 2004).
    """
    most, groups = case.thresholds.unnatural, case.alignment.groups
    spaces = [read_space(case.bench.prepared, group.site) for group in groups]
    both = list(zip(groups, spaces, strict=True))
    without = {str(g.site): why for g, s in both if (why := _unseen(case, g, s))}
    seen = [(g, s) for g, s in both if isinstance(s, ReadSpace) and str(g.site) not in without]
    passes = ROWS * sum(len(group.site.moments) for group in groups)
    found: list[_Seen] = []
    if seen:
        pool = pool_of(case)
        passes += len(pool.learnt)
        for group, space in seen:
            found += [_seen(case, views, swap, pool) for swap, views in views_of(case, group, space, pool)]
    if not found:
        reason = next(iter(without.values()), "no swap changes a value")
        sentence = "the readers have no view of their own"
        return Outcome(Answer.VACUOUS, sentence, {"without": without}, reason=reason, forward_passes=passes)

    def answered(alpha: float) -> Answer:
        return of_all(found, lambda one, share: one.gated(most, share), alpha)

    worst = max(found, key=lambda one: one.excess(ALPHA).value)
    answer, reason = answered(ALPHA), None
    short = [*(why for one in found if (why := _short(one))), *without.values()]
    if answer is not Answer.REFUTED and short:
        answer, reason = Answer.VACUOUS, short[0]
    figures = {
        "readers": "; ".join(dict.fromkeys(str(space) for _, space in seen)),
        "by_set": {one.name: one.record() for one in found},
        "fitted_on": found[0].on,
        "without": without,
        "most": most,
    }
    share = rate(worst.edited, worst.members, census=worst.census)
    return Outcome(
        answer,
        f"{worst.name}: {share} of edited states lie far beyond natural ones with the same values, excess"
        f" {said(worst.excess(ALPHA))}, below {show(most)} is asked for; {figures['readers']}",
        figures,
        n_to_decide=_needed(case, worst, most, answer),
        reason=reason,
        forward_passes=passes,
        refuted_at=lambda alpha: answered(alpha) is Answer.REFUTED,
    )


def _unseen(case: Case, group: Group, space: ReadSpace | str) -> str | None:
    """Why the readers have no view of their own; None where they have one."""
    if isinstance(space, str):
        return space
    if space.width - space.rank >= sum(case.alignment.sizes(group).values()):
        return None
    much = "the whole space" if space.rank == space.width else "nearly the whole space"
    return f"{space}: their view is {much}, in which true edits are flagged as well"


def _short(one: _Seen) -> str | None:
    if one.asked - len(one.rows) > _MOST_DROPPED * one.asked:
        return (
            f"for {one.asked - len(one.rows):,} of {one.asked:,} pairs of {one.name} no natural input has the same"
            " values"
        )
    if one.alone is not None:
        return (
            f"what is read beside the coordinates of {one.name} says it as well: whichever of the two is edited, they"
            " come to disagree, as no natural state does"
        )
    return f"edits of {one.name} move nothing that is read" if one.moved < _MOVES else None


def _needed(case: Case, worst: _Seen, most: float, answer: Answer) -> int | None:
    excess, n = worst.excess(ALPHA), len(worst.rows)
    if answer is not Answer.INCONCLUSIVE or not n:
        return None
    reached = (excess.value, excess.lower, excess.upper)
    fewest = GATED if n < GATED else pairs_needed(answer, most, reached, n, complete=worst.census)
    return None if fewest is None else -(-fewest * len(case.test) // n)


def _seen(case: Case, views: Views, swap: Swap, pool: Pool) -> _Seen:
    """One swapped set, and where need be the same along its own edits alone."""
    found = _compared(case, views, pool.on)
    if float(found.edited.mean() if len(found.edited) else 0) <= SHARE:
        return found
    moves = views.after - views.before
    squares, directions = torch.linalg.eigh(moves.T @ moves)
    own = squares > _MOVES**2 * squares.max()
    rest = views.along(directions[:, ~own])
    if bool(own.all()) or not all(_says(case, rest, variable, pool) for variable in swap.variables):
        return found
    return replace(found, alone=_compared(case, views.along(directions[:, own]), pool.on))


def _says(case: Case, rest: Views, variable: Variable, pool: Pool) -> bool:
    """Whether the other directions tell the variable's value, in natural inputs."""
    if not isinstance(case.test.algorithm.domain(variable), Finite):
        return False
    values = pool.pairs.columns[variable.name][pool.learnt]
    told = decoder(rest.fitted, values).decode(rest.natural)
    return bool((told == case.test.columns[variable.name][rest.inputs]).mean() >= _TWICE)


def _compared(case: Case, views: Views, on: str) -> _Seen:
    """Distances of edited states beside those of natural ones with the same values."""
    measure = decoder(views.fitted, np.zeros(len(views.fitted), np.int64))
    natural, edited = (measure.distances(v)[:, 0].numpy() for v in (views.natural, views.after))
    own, asked = views.cells
    there = np.bincount(own, minlength=int(max(own.max(), asked.max())) + 1)
    kept = there[asked] > 0
    weights = np.bincount(asked[kept], minlength=len(there))[own] / there[own]
    bound = quantile(natural, weights, SHARE) if kept.any() else 0.0
    limit = bound * (1 + SLACK)
    moved, reach = (
        float(moves.square().sum(dim=1).mean().sqrt())
        for moves in (views.after - views.before, views.fitted - views.fitted.mean(dim=0))
    )
    return _Seen(
        views.name,
        len(views.rows),
        views.rows[kept],
        case.test.members[views.rows[kept]],
        edited[kept] > limit,
        natural > limit,
        own,
        weights,
        bound,
        float(np.median(edited[kept])) if kept.any() else 0.0,
        moved / reach if reach > 0 else 0.0,
        on,
        case.test.complete,
    )

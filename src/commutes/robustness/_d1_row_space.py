"""D1: does the effect come from the part of the subspace that the next layer reads?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from commutes.algorithm import Variable
from commutes.alignment import Group
from commutes.counterfactuals import Swap
from commutes.errors import AlignmentError
from commutes.robustness._case import ALPHA, Case, Outcome, pairs_needed, said
from commutes.robustness._parts import Divided, Half, divided
from commutes.robustness._readers import ReadSpace, read_space
from commutes.robustness._uses import ROWS
from commutes.robustness._worst import of_all
from commutes.stats import Answer, Interval, Rate, gate, paired_gap, rate, show

# Editing the unread part alone may change this share of the answers, by ties that rounding breaks.
_STIRRED = 0.01
# Pairs that are kept for a replay.
_SHOWN = 5


@dataclass(frozen=True, eq=False)
class _Halves:
    """One swapped set on its effective pairs: by the whole claim, and by each part of it."""

    label: str
    rows: np.ndarray
    members: np.ndarray
    claimed: np.ndarray
    read: np.ndarray
    unread: np.ndarray
    stirred: float
    """Share of answers that the unread part alone changes."""
    census: bool

    def gap(self, alpha: float) -> Interval:
        """What the whole claim reaches beyond its read part."""
        return paired_gap(self.claimed, self.read, self.members, census=self.census, alpha=alpha)

    def rate(self, hits: np.ndarray) -> Rate:
        """A rate of these pairs."""
        return rate(hits, self.members, census=self.census)

    def record(self) -> dict[str, Any]:
        """Plain values."""
        lost = self.rows[self.claimed & ~self.read][:_SHOWN]
        rates = {name: self.rate(getattr(self, name)).as_dict() for name in ("claimed", "read", "unread")}
        return rates | {"gap": self.gap(ALPHA).as_dict(), "lost": lost.tolist(), "stirred": self.stirred}


def row_space(case: Case) -> Outcome:
    """IIA of the claim minus IIA of the part of it that is read, on the same effective pairs: the worst swapped set.

    With P the projector on to what the readers read, the part of h' = h + D Eᵀ (h_source - h) that is read is
    h' = h + P D (Eᵀ P D)^+ Eᵀ P (h_source - h), of an orthogonal map the orthogonal projection on to P V. It must read
    what it writes: with the whole of Eᵀ the readers would see the claim's own edit again, whatever that is made of.

    See Is This the Subspace You Are Looking for? An Interpretability Illusion for Subspace Activation Patching,
    arXiv 2311.17030.
    """
    groups = case.alignment.groups
    spaces = [read_space(case.bench.prepared, group.site) for group in groups]
    powerless: dict[Variable, str] = {}
    for group, space in zip(groups, spaces, strict=True):
        powerless |= _powerless(case, group, space)
    sets = [s for s in case.test.swaps if not any(v in powerless for v in s.variables)]
    if not sets:
        sentence = "the claim has no part that is read beside one that is not"
        return Outcome(Answer.VACUOUS, sentence, reason=next(iter(powerless.values())))
    parts = [
        divided(case, group, space)
        if isinstance(space, ReadSpace) and not any(v in powerless for v in group.columns)
        else None
        for group, space in zip(groups, spaces, strict=True)
    ]
    found = [_halves(case, parts, one) for one in sets]
    readers = "; ".join(dict.fromkeys(str(s) for s in spaces if isinstance(s, ReadSpace)))
    return _outcome(case, found, [p for p in parts if p is not None], powerless, readers)


def _powerless(case: Case, group: Group, space: ReadSpace | str) -> dict[Variable, str]:
    """The variables of which no part can be told to be read, or to be unread, and why."""
    if isinstance(space, str):
        return dict.fromkeys(group.columns, space)
    if space.rank == space.width:
        return dict.fromkeys(group.columns, f"{space}: nothing of the claim goes unread")
    try:
        for variable in group.columns:
            case.alignment.subspace(variable)
    except AlignmentError as error:
        return dict.fromkeys(group.columns, f"{error.what}: {error.got}")
    return {}


def _halves(case: Case, parts: Sequence[Divided | None], swap: Swap) -> _Halves:
    pairs, match = case.test, case.bench.answers.match
    rows = np.nonzero((pairs.swap == pairs.swaps.index(swap)) & pairs.effective)[0]
    read, unread = _answered(case, parts, "read", rows), _answered(case, parts, "unread", rows)
    stirred = ~match(unread, case.bench.clean[pairs.base[rows]])
    expected = pairs.expected[rows]
    return _Halves(
        swap.label,
        rows,
        pairs.members[rows],
        case.evaluation.hits[rows],
        match(read, expected),
        match(unread, expected),
        float(stirred.mean()) if len(rows) else 0.0,
        pairs.complete,
    )


def _answered(case: Case, parts: Sequence[Divided | None], half: Half, rows: np.ndarray) -> np.ndarray:
    maps = [
        whole if cut is None else getattr(cut, half)
        for whole, cut in zip(case.alignment.featurizers, parts, strict=True)
    ]
    decoded = [case.bench.answers.decode(logits) for logits in case.bench.edited(maps, rows=rows)]
    return np.concatenate(decoded) if decoded else case.bench.clean[:0]


def _outcome(
    case: Case,
    found: Sequence[_Halves],
    parts: Sequence[Divided],
    powerless: Mapping[Variable, str],
    readers: str,
) -> Outcome:
    most = case.thresholds.unread
    worst = max(found, key=lambda one: one.gap(ALPHA).value)
    gap = worst.gap(ALPHA)
    figures = {
        "readers": readers,
        "sizes": {name: size for one in parts for name, size in one.sizes.items()},
        "by_swap": {one.label: one.record() for one in found},
        "most": most,
    }
    sentence = (
        f"{worst.label}: {worst.rate(worst.claimed)} as claimed, {worst.rate(worst.read)} by the part that is read"
        f" alone; the rest adds {said(gap)}, at most {show(most)}; {readers}"
    )

    def answered(alpha: float) -> Answer:
        return of_all(found, lambda one, share: gate(one.gap(share), most, side="<"), alpha)

    answer, reason = answered(ALPHA), None
    stirred = max(found, key=lambda one: one.stirred)
    short = _short(case, found, parts, powerless, readers)
    if stirred.stirred > _STIRRED:
        answer = Answer.VACUOUS
        reason = f"what {readers.partition(' read')[0]} cannot read changes {show(stirred.stirred)} of the answers: "
        reason += "something else reads it"
    elif answer is Answer.REFUTED and any(one.crowded for one in parts):
        answer = Answer.VACUOUS
        reason = f"{readers}, which keeps no variable apart: the part that is read swaps the others with it"
    elif answer is not Answer.REFUTED and short is not None:
        answer, reason = Answer.VACUOUS, short
    n = len(worst.rows)
    needed = pairs_needed(answer, most, (gap.value, gap.lower, gap.upper), n, complete=worst.census)
    return Outcome(
        answer,
        sentence,
        figures,
        n_to_decide=None if needed is None else -(-needed * len(case.test) // n),
        reason=reason,
        forward_passes=2 * sum(len(one.rows) for one in found)
        + ROWS * sum(len(site.moments) for site in case.alignment.sites),
        refuted_at=None if answer is Answer.VACUOUS else lambda alpha: answered(alpha) is Answer.REFUTED,
    )


def _short(
    case: Case,
    found: Sequence[_Halves],
    parts: Sequence[Divided],
    powerless: Mapping[Variable, str],
    readers: str,
) -> str | None:
    """Why no refutation could have come about; None where one could."""
    for one in found:
        claimed = one.rate(one.claimed)
        if claimed.upper <= case.thresholds.unread:
            return f"{one.label} gives the expected answer in {claimed}: there is no effect to divide"
    for one in parts:
        if one.spare < one.moving:
            some = "direction" if one.spare == 1 else "directions"
            return (
                f"{readers}, and outside them states move along {one.spare} {some}, too few for "
                f"another {one.moving} like the claim's"
            )
    return next(iter(powerless.values()), None)

"""E5: does another algorithm with the same function align as well, in the claim's place and at the claim's price?"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from commutes.robustness._case import ALPHA, Case, Outcome, pairs_needed, said
from commutes.robustness._refits import NoMapError, Refit, refits
from commutes.robustness._rival_contenders import Expectation, Field, bets_of, field_of, placed
from commutes.robustness._rival_relations import entailed_by
from commutes.robustness._worst import weakness
from commutes.stats import Answer, Interval, gate, show, weighted_gap, weighted_share


def rival_algorithms(case: Case) -> Outcome:
    """Every rival that is not entailed, fitted as the claim was and measured on the claim's pairs, pair by pair.

    The claim must do better than each of them: a rival that does not lose may as well be what the network computes.
    Where the two expect the same answer nothing is compared: there they swap one variable, up to a relabelling of its
    values, or swapping the one comes to the same as swapping the other.
    """
    nothing = "no rival was fitted in the claim's place"
    if case.train is None:
        reason = "a rival needs a fit of its own, and there is no train= to fit it on"
        return Outcome(Answer.VACUOUS, nothing, reason=reason)
    if not case.test.complete and np.isin(case.train.input_ids, case.test.input_ids).any():
        return Outcome(Answer.VACUOUS, nothing, reason="a rival would be fitted on inputs of the test pairs")
    field = field_of(case, case.train)
    if not field.contenders:
        told = [f"{name} is no rival here, {apart.words}" for name, apart in field.apart.items()]
        reason = "; ".join([*told, f"no rival was made: {field.reason}"])
        return Outcome(Answer.VACUOUS, nothing, {"apart": _apart(field)}, reason=reason)
    try:
        found = _fitted(case, field)
    except NoMapError as error:
        return Outcome(
            Answer.VACUOUS, nothing, {"apart": _apart(field)}, reason=f"a rival has no map, {error}"
        )
    return _judged(case, field, found)


def _fitted(case: Case, field: Field) -> list[Refit]:
    progress = case.progress
    report = None if progress is None else (lambda s, n, f: progress("rival algorithms", s, n, f))
    selects = [c.select for c in field.contenders if c.select is not None]
    return refits(
        [placed(case.alignment, contender) for contender in field.contenders],
        [contender.train for contender in field.contenders],
        selects or None,
        [contender.pairs for contender in field.contenders],
        settings=case.settings,
        seed=case.seed,
        folder=case.folder,
        progress=report,
    )


@dataclass(frozen=True, eq=False)
class _Tried:
    """An algorithm with what came of it on the claim's test pairs."""

    expects: Expectation
    hits: np.ndarray
    """# shape: (n,)"""

    @property
    def name(self) -> str:
        return self.expects.name


def _judged(case: Case, field: Field, found: Sequence[Refit]) -> Outcome:
    least = case.thresholds.over_rivals
    claim = _Tried(field.claim, case.evaluation.hits)
    tried = [_tried(case, c.expects, refit) for c, refit in zip(field.contenders, found, strict=True)]
    gaps = [_gap(case, claim, rival) for rival in tried]
    answers = [gate(gap, least, side=">") for gap in gaps]
    nearest = min(range(len(gaps)), key=lambda i: (weakness(answers[i]), gaps[i].lower))
    answer = answers[nearest]
    untold = [name for name, apart in field.apart.items() if apart.open]
    if answer is Answer.SUPPORTED and untold:
        answer = Answer.INCONCLUSIVE
    finest = _finest(case, [claim, *tried])

    def refuted_at(alpha: float) -> bool:
        # Any rival may refute, so that each gets its share.
        each = (_gap(case, claim, rival, alpha / len(tried)) for rival in tried)
        return any(gate(gap, least, side=">") is Answer.REFUTED for gap in each)

    records = [
        _record(case, claim, rival, gap, refit, finer=contender.finer)
        for rival, gap, refit, contender in zip(tried, gaps, found, field.contenders, strict=True)
    ]
    return Outcome(
        answer,
        _sentence(case, field, claim, tried[nearest], gaps[nearest], finest, len(tried)),
        {
            "least": least,
            "rivals": {rival.name: record for rival, record in zip(tried, records, strict=True)},
            "apart": _apart(field),
            "finest survivors": finest,
        },
        n_to_decide=_needed(case, gaps) if answer is Answer.INCONCLUSIVE else None,
        forward_passes=sum(r.forward_passes + len(r.test) + len(r.seen_hits) for r in found),
        refuted_at=refuted_at,
    )


def _tried(case: Case, expects: Expectation, refit: Refit) -> _Tried:
    hits = np.zeros(len(case.test), bool)
    hits[expects.swaps] = refit.hits
    return _Tried(expects, hits)


def _gap(case: Case, one: _Tried, other: _Tried, alpha: float = ALPHA) -> Interval:
    """How much better the one does, pair by pair; without a pair that tells them apart, all is possible."""
    bets = bets_of(case.test, one.expects, other.expects)
    if not len(bets.rows):
        return Interval(math.nan, -1.0, 1.0, -1.0, 1.0, 0)
    return weighted_gap(
        one.hits[bets.rows],
        other.hits[bets.rows],
        bets.weights,
        bets.cells,
        case.test.members[bets.rows],
        census=case.test.complete,
        alpha=alpha,
    )


def _reached(case: Case, claim: _Tried, rival: _Tried) -> tuple[Interval, Interval]:
    """What each reaches where the two expect different answers."""
    bets = bets_of(case.test, claim.expects, rival.expects)
    members, complete = case.test.members[bets.rows], case.test.complete
    ours, theirs = (
        weighted_share(one.hits[bets.rows], bets.weights, bets.cells, members, census=complete)
        for one in (claim, rival)
    )
    return ours, theirs


def _finest(case: Case, tried: Sequence[_Tried]) -> list[str]:
    """Those that none beats, without those that another of them entails."""
    least = case.thresholds.over_rivals

    def beaten(one: _Tried) -> bool:
        others = (other for other in tried if other is not one)
        return any(gate(_gap(case, other, one), least, side=">") is Answer.SUPPORTED for other in others)

    def entailed(one: _Tried, other: _Tried) -> bool:
        return entailed_by(other.expects.view, one.expects.view, seed=case.seed)

    left = [one for one in tried if not beaten(one)]
    return [one.name for one in left if not any(entailed(one, other) for other in left if other is not one)]


def _needed(case: Case, gaps: Sequence[Interval]) -> int | None:
    """Test pairs that would decide every gate that is open; a gap rests on some of the pairs only."""
    least, found = case.thresholds.over_rivals, []
    for gap in gaps:
        answer = gate(gap, least, side=">")
        if answer is not Answer.INCONCLUSIVE:
            continue
        bounds = gap.value, gap.lower, gap.upper
        needed = pairs_needed(answer, least, bounds, gap.n, complete=case.test.complete)
        # So near to the gate, no number of pairs is worth naming.
        if needed is None or needed > 1_000_000:
            return None
        found.append(math.ceil(needed * len(case.test) / gap.n))
    return max(found, default=None)


def _sentence(
    case: Case,
    field: Field,
    claim: _Tried,
    rival: _Tried,
    gap: Interval,
    finest: Sequence[str],
    count: int,
) -> str:
    ours, theirs = _reached(case, claim, rival)
    which = "the rival" if count == 1 else f"the nearest of {count} rivals,"
    apart = [
        f"{name} is {'not told from the claim' if one.open else 'no rival'}, {one.words}"
        for name, one in field.apart.items()
    ]
    parts = [
        f"where they expect different answers the claim {ours} and {which} {rival.name}, fitted in its place,"
        f" {theirs}: gap {said(gap)}, more than {show(case.thresholds.over_rivals)}",
        f"finest {'survivor' if len(finest) == 1 else 'survivors'}: {', '.join(finest)}",
        *apart,
    ]
    return "; ".join(parts)


def _record(
    case: Case, claim: _Tried, rival: _Tried, gap: Interval, refit: Refit, *, finer: bool
) -> dict[str, Any]:
    ours, theirs = _reached(case, claim, rival)
    return {
        "algorithm": rival.expects.view.algorithm.fingerprint,
        "claim": ours.as_dict(),
        "rival": theirs.as_dict(),
        "gap": gap.as_dict(),
        "fitted": refit.fitted,
        "finer": finer,
    }


def _apart(field: Field) -> Mapping[str, str]:
    return {name: apart.words for name, apart in field.apart.items()}

"""B1: does the same procedure find as much in an untrained network?"""

from __future__ import annotations

from collections.abc import Sequence

from commutes.errors import NetworkError
from commutes.robustness._case import ALPHA, Case, Outcome, said
from commutes.robustness._refits import NoMapError, Refit
from commutes.stats import Answer, Interval, gap, gate, mean_interval, rate, show

# Fewer refits than this do not make a distribution.
LEAST = 5


def untrained(case: Case) -> Outcome:
    """The same steps, starts and selection on re-initialised networks, measured on the same test pairs."""
    least, target = case.thresholds.over_untrained, case.thresholds.target
    found = nulls(case)
    if isinstance(found, Outcome):
        return found
    null = null_interval(found, ALPHA)
    difference = gap(case.evaluation.overall, null)

    def refuted_at(alpha: float) -> bool:
        # Two gates stand behind the one answer.
        again = null_interval(found, alpha / 2)
        claim = rate(case.evaluation.hits, case.test.members, census=case.test.complete, alpha=alpha / 2)
        return _weaker(gap(claim, again), again, least, target) is Answer.REFUTED

    return Outcome(
        _weaker(difference, null, least, target),
        f"overall {case.evaluation.overall}; {len(found)} refits on untrained networks {null}:"
        f" gap {said(difference)}, at least {show(least)}",
        {
            "claim": case.evaluation.overall.as_dict(),
            "refits": [r.overall.as_dict() for r in found],
            "worst_cells": [r.worst for r in found],
            "fitted": [r.fitted for r in found],
            "accuracy": [r.accuracy for r in found],
            "null": null.as_dict(),
            "gap": difference.as_dict(),
            "least": least,
        },
        forward_passes=sum(len(r.test) + r.forward_passes for r in found),
        refuted_at=refuted_at,
    )


def nulls(case: Case) -> list[Refit] | Outcome:
    """Refits on untrained networks, or why there are none that say anything."""
    if case.refits < LEAST:
        reason = f"{case.refits} refits were asked for; at least {LEAST} are needed"
        return Outcome(Answer.NOT_RUN, reason, reason=reason)
    try:
        found = case.untrained()
    except NetworkError as error:  # raised before any fit: parameters that no module knows how to reset
        return Outcome(
            Answer.VACUOUS, "the network cannot be re-initialised", reason=f"{error.what}: {error.got}"
        )
    except NoMapError as error:
        return Outcome(
            Answer.VACUOUS, "the closed form gives no map on an untrained network", reason=str(error)
        )
    behaving = [r for r in found if r.accuracy >= case.thresholds.behaviour]
    if behaving:
        reason = f"{len(behaving)} of {len(found)} re-initialised networks still answer as the algorithm does"
        return Outcome(Answer.VACUOUS, "re-initialising leaves the behaviour as it was", reason=reason)
    return found


def _weaker(difference: Interval, null: Interval, least: float, target: float) -> Answer:
    """The weaker answer of the two gates: the gap is large enough, and the null does not reach the target."""
    answers = {gate(difference, least, side=">"), gate(null, target, side="<")}
    return next(a for a in (Answer.REFUTED, Answer.INCONCLUSIVE, Answer.SUPPORTED) if a in answers)


def null_interval(found: Sequence[Refit], alpha: float) -> Interval:
    """Mean over refits, at least as uncertain as the refits themselves.

    A few refits may agree by accident (two kinds of constant answer, say): their spread alone would then be no
    measure of what another refit would reach.
    """
    spread = mean_interval([r.overall.rate for r in found], alpha=alpha, limits=(0, 1))
    own = [rate(r.hits, r.test.members, census=r.test.complete, alpha=alpha) for r in found]

    def mean(name: str) -> float:
        return sum(getattr(r, name) for r in own) / len(own)

    return Interval(
        spread.value,
        min(spread.low, mean("low")),
        max(spread.high, mean("high")),
        min(spread.lower, mean("lower")),
        max(spread.upper, mean("upper")),
        len(found),
    )

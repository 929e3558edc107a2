"""B1: does the same procedure find as much in an untrained network?"""

from __future__ import annotations

from commutes.errors import NetworkError
from commutes.robustness._case import Case, Outcome, said
from commutes.stats import Answer, gap, gate, mean_interval, show

# Fewer refits than this do not make a distribution.
LEAST = 5


def untrained(case: Case) -> Outcome:
    """The same steps, starts and selection on re-initialised networks, measured on the same test pairs."""
    least, target = case.thresholds.over_untrained, case.thresholds.target
    if case.refits < LEAST:
        reason = f"{case.refits} refits were asked for; at least {LEAST} are needed"
        return Outcome(Answer.NOT_RUN, reason, reason=reason)
    try:
        found = case.untrained()
    except NetworkError as error:  # raised before any fit: parameters that no module knows how to reset
        return Outcome(
            Answer.VACUOUS, "the network cannot be re-initialised", reason=f"{error.what}: {error.got}"
        )
    null = mean_interval([r.overall.rate for r in found], limits=(0, 1))
    difference = gap(case.evaluation.overall, null)
    answers = {gate(difference, least, side=">"), gate(null, target, side="<")}
    answer = (
        Answer.REFUTED
        if Answer.REFUTED in answers
        else Answer.INCONCLUSIVE
        if Answer.INCONCLUSIVE in answers
        else Answer.SUPPORTED
    )
    return Outcome(
        answer,
        f"overall {case.evaluation.overall}; {len(found)} refits on untrained networks {null}:"
        f" gap {said(difference)}, at least {show(least)}",
        {
            "claim": case.evaluation.overall.as_dict(),
            "refits": [r.overall.as_dict() for r in found],
            "worst_cells": [r.worst for r in found],
            "fitted": [r.fitted for r in found],
            "null": null.as_dict(),
            "gap": difference.as_dict(),
            "least": least,
        },
        forward_passes=sum(len(r.test) + r.forward_passes for r in found),
    )

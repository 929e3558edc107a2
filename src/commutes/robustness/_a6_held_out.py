"""A6: does it hold on inputs that the fit has not seen?"""

from __future__ import annotations

import numpy as np

from commutes.evaluation import bench, rate_of
from commutes.robustness._case import Case, Outcome, said
from commutes.stats import Answer, gap, gate, rate, show


def held_out(case: Case) -> Outcome:
    """IIA on fitted pairs minus IIA on held-out ones; the parts are split by input."""
    most = case.thresholds.held_out
    if case.train is None or not any(group.features.learnt for group in case.alignment.groups):
        return Outcome(Answer.SUPPORTED, "nothing was fitted: every input is held out", {"most": most})
    if np.isin(case.test.input_ids, case.alignment.fitted_ids).any():
        reason = "the complete domain was fitted on: no input is left to hold out"
        return Outcome(Answer.VACUOUS, reason, {"most": most}, reason=reason)
    count = min(len(case.train), len(case.test))
    seen = case.train.subset(np.arange(count))
    hits = bench(case.alignment, seen).hits(case.alignment.featurizers)
    fitted, held = rate_of(hits, seen), case.evaluation.overall
    difference = gap(fitted, held)

    def refuted_at(alpha: float) -> bool:
        before = rate(hits, seen.members, alpha=alpha)
        after = rate(case.evaluation.hits, case.test.members, census=case.test.complete, alpha=alpha)
        return gate(gap(before, after), most, side="<") is Answer.REFUTED

    answer = gate(difference, most, side="<")
    return Outcome(
        answer,
        f"fitted {fitted}, held out {held}: gap {said(difference)}, at most {show(most)}",
        {"fitted": fitted.as_dict(), "held_out": held.as_dict(), "gap": difference.as_dict(), "most": most},
        n_to_decide=None if case.test.complete else _needed(difference.value, difference.upper, most, held.n),
        forward_passes=count,
        refuted_at=refuted_at,
    )


def _needed(value: float, upper: float, most: float, n: int) -> int | None:
    """Pairs at which the half-width, which falls with the root of n, would fit below the gate."""
    if not value < most < upper:
        return None
    return int(np.ceil(n * ((upper - value) / (most - value)) ** 2))

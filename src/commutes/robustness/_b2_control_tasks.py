"""B2: does the procedure find just as well a variable that the network has no reason to compute?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from commutes.algorithm import Algorithm, Variable
from commutes.counterfactuals import Counterfactuals
from commutes.errors import DataError
from commutes.robustness._case import ALPHA, Case, Outcome, said
from commutes.robustness._controls import controls
from commutes.robustness._refits import NoMapError, Refit, refits
from commutes.robustness._worst import weakest
from commutes.stats import Answer, Rate, gap, gate, rate, show

# Fewer admissible control functions than this say nothing about what a random function would reach.
LEAST = 3


def control_tasks(case: Case) -> Outcome:
    """Each variable against random functions of its parents, refitted on their own answers; the worst one decides."""
    least = case.thresholds.selectivity
    if case.controls < LEAST:
        reason = f"{case.controls} control functions were asked for; at least {LEAST} are needed"
        return Outcome(Answer.NOT_RUN, reason, reason=reason)
    variables, answers, figures, reasons = case.alignment.variables, [], {}, []
    passes, lowest = 0, None
    # A complete domain is fitted on and measured on: nothing of it is held out. Nor where nothing is fitted.
    learnt = any(group.features.learnt for group in case.alignment.groups)
    apart = learnt and case.train is not None and not case.test.complete
    measured: list[tuple[np.ndarray, list[Refit], Variable]] = []
    for variable in variables:
        rows = case.rows(variable.name)
        if variable.kind != "inner" or not len(rows):
            continue
        algorithms = controls(case.alignment.algorithm, variable, count=case.controls, seed=case.seed)
        if len(algorithms) < LEAST:
            answers.append(Answer.VACUOUS)
            reasons.append(
                f"{variable.name} has {len(algorithms)} admissible control functions, {LEAST} are needed"
            )
            continue
        try:
            drawn = [_drawn(case, algorithm) for algorithm in algorithms]
        except DataError as error:
            answers.append(Answer.VACUOUS)
            reasons.append(f"the controls of {variable.name} cannot be drawn: {error.what}")
            continue
        try:
            found = _refitted(case, algorithms, drawn)
        except NoMapError as error:
            answers.append(Answer.VACUOUS)
            reasons.append(f"a control of {variable.name} has no map, {error}")
            continue
        claim = _claimed(case, rows, ALPHA)
        controlled = [_own_rate(refit.test, refit.hits, variable) for refit in found]
        gaps = [gap(claim, r) for r in controlled]
        worst = min(range(len(gaps)), key=lambda i: gaps[i].lower)
        answers.append(gate(gaps[worst], least, side=">"))
        fits = [None if r.seen is None else _own_rate(r.seen, r.seen_hits, variable).rate for r in found]
        measured.append((rows, found, variable))
        passes += sum(len(r.test) + r.forward_passes for r in found)
        figures[variable.name] = {
            "claim": claim.as_dict(),
            "controls": [r.as_dict() for r in controlled],
            "fitted": fits,
            "accuracy": [refit.accuracy for refit in found],
            "selectivity": gaps[worst].as_dict(),
        }
        if lowest is None or gaps[worst].lower < lowest[1].lower:
            lowest = (
                variable.name,
                gaps[worst],
                claim,
                controlled[worst],
                _each(fits if apart else [None] * len(fits), controlled),
            )
    if lowest is None:
        reason = "; ".join(reasons) or "no aligned variable is swapped alone"
        return Outcome(Answer.VACUOUS, "no control task could be made", reason=reason)
    beside = ", fitted to held out" if apart else ""
    name, gap_, claim, control, each = lowest
    sentence = (
        f"{name} {claim} against the worst control task {control}: selectivity {said(gap_)}, at least"
        f" {show(least)}; its controls{beside}: {each}"
    )

    def refuted_at(alpha: float) -> bool:
        # Any control of any variable may refute, so that each gets its share.
        share = alpha / sum(len(found) for _, found, _ in measured)
        return any(
            gate(gap(_claimed(case, rows, share), _own_rate(r.test, r.hits, v, share)), least, side=">")
            is Answer.REFUTED
            for rows, found, v in measured
            for r in found
        )

    answer = weakest(answers)
    reason = "; ".join(reasons) if answer is Answer.VACUOUS else None
    return Outcome(
        answer,
        sentence,
        {"least": least, "variables": figures},
        reason=reason,
        forward_passes=passes,
        refuted_at=refuted_at,
    )


def _each(fitted: Sequence[float | None], held_out: Sequence[Rate]) -> str:
    """Every control's rate on the pairs that it was fitted on, and on others.

    A control that cannot even be fitted says that the network does not hold it; one that can, and does not carry over,
    that it was learnt by heart.
    """
    pairs = zip(fitted, held_out, strict=True)
    return ", ".join(f"{'' if f is None else show(f) + ' to '}{show(h.rate)}" for f, h in pairs)


def _claimed(case: Case, rows: np.ndarray, alpha: float) -> Rate:
    """The claim's accuracy where one variable alone is swapped."""
    return rate(case.evaluation.hits[rows], case.test.members[rows], census=case.test.complete, alpha=alpha)


@dataclass(frozen=True, eq=False)
class _Parts:
    """The claim's data, redrawn under a control algorithm."""

    train: Counterfactuals | None
    select: Counterfactuals | None
    test: Counterfactuals


def _drawn(case: Case, algorithm: Algorithm) -> _Parts:
    parts = (case.train, case.select, case.test)
    train, select, test = (None if p is None else p.for_algorithm(algorithm) for p in parts)
    assert test is not None
    return _Parts(train, select, test)


def _refitted(case: Case, algorithms: list[Algorithm], drawn: list[_Parts]) -> list[Refit]:
    progress = case.progress
    report = None if progress is None else (lambda s, n, f: progress("control tasks", s, n, f))
    trains = [parts.train for parts in drawn if parts.train is not None]
    selects = [parts.select for parts in drawn if parts.select is not None]
    return refits(
        [case.alignment.under(a) for a in algorithms],
        trains or None,
        selects or None,
        [parts.test for parts in drawn],
        settings=case.settings,
        seed=case.seed,
        folder=case.folder,
        progress=report,
    )


def _own_rate(pairs: Counterfactuals, hits: np.ndarray, variable: Variable, alpha: float = ALPHA) -> Rate:
    """The control's accuracy where the control variable itself is swapped."""
    for i, swap in enumerate(pairs.swaps):
        if swap.label == variable.name:
            rows = pairs.swap == i
            return rate(hits[rows], pairs.members[rows], census=pairs.complete, alpha=alpha)
    raise AssertionError("the control's pairs swap what the claim's pairs swap")

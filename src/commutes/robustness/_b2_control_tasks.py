"""B2: does the procedure find just as well a variable that the network has no reason to compute?"""

from __future__ import annotations

from dataclasses import dataclass

from commutes.algorithm import Algorithm, Variable
from commutes.counterfactuals import Counterfactuals
from commutes.errors import DataError
from commutes.robustness._case import Case, Outcome, said
from commutes.robustness._controls import controls
from commutes.robustness._refits import Refit, refits
from commutes.stats import Answer, Rate, gap, gate, rate, show

# Fewer admissible control functions than this say nothing about what a random function would reach.
LEAST = 3


def control_tasks(case: Case) -> Outcome:
    """Each variable against random functions of its parents, refitted on their own answers; the worst one decides."""
    least = case.thresholds.selectivity
    variables, answers, figures, reasons = case.alignment.variables, [], {}, []
    passes, lowest = 0, None
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
        found = _refitted(case, algorithms, drawn)
        claim = rate(case.evaluation.hits[rows], case.test.members[rows], census=case.test.complete)
        controlled = [_own_rate(refit, variable) for refit in found]
        gaps = [gap(claim, r) for r in controlled]
        worst = min(range(len(gaps)), key=lambda i: gaps[i].lower)
        answers.append(gate(gaps[worst], least, side=">"))
        passes += sum(len(r.test) + r.forward_passes for r in found)
        figures[variable.name] = {
            "claim": claim.as_dict(),
            "controls": [r.as_dict() for r in controlled],
            "fitted": [refit.fitted for refit in found],
            "selectivity": gaps[worst].as_dict(),
        }
        if lowest is None or gaps[worst].lower < lowest[1].lower:
            lowest = (variable.name, gaps[worst], claim, controlled[worst], len(found))
    if lowest is None:
        reason = "; ".join(reasons) or "no aligned variable is swapped alone"
        return Outcome(Answer.VACUOUS, "no control task could be made", reason=reason)
    name, gap_, claim, control, count = lowest
    sentence = (
        f"{name} {claim} against the worst of {count} control tasks {control}:"
        f" selectivity {said(gap_)}, at least {show(least)}"
    )
    answer = _weakest(answers)
    reason = "; ".join(reasons) if answer is Answer.VACUOUS else None
    return Outcome(answer, sentence, figures | {"least": least}, reason=reason, forward_passes=passes)


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
        progress=report,
    )


def _own_rate(refit: Refit, variable: Variable) -> Rate:
    """The control's accuracy where the control variable itself is swapped."""
    for i, swap in enumerate(refit.test.swaps):
        if swap.label == variable.name:
            rows = refit.test.swap == i
            return rate(refit.hits[rows], refit.test.members[rows], census=refit.test.complete)
    raise AssertionError("the control's pairs swap what the claim's pairs swap")


def _weakest(answers: list[Answer]) -> Answer:
    order = [Answer.REFUTED, Answer.VACUOUS, Answer.INCONCLUSIVE, Answer.SUPPORTED]
    return min(answers, key=order.index)

"""E1: does the claim hold where the inputs shift, and is it the network or the alignment that fails?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from commutes.algorithm import Finite
from commutes.robustness._case import ALPHA, NUMBER, Case, Outcome, pairs_needed
from commutes.robustness._rungs import rungs_of
from commutes.robustness._travel import Travelled, travelled
from commutes.robustness._worst import weakness
from commutes.stats import Answer, show

# Fewer shifts than this are no reason to believe in a next one.
LEAST = 2


def shifts(case: Case) -> Outcome:
    """A1 and the worst cell of A2 on every declared shift; the weakest of them decides.

    A shift that changes nothing does not count. Where the network fails, the shift neither supports nor refutes the
    alignment, unless the failure lies in the aligned coordinates: then the network answers rightly once they hold what
    the claim's own inputs of the same values put there.
    """
    declared = case.declared.shifts
    if len(declared) < LEAST:
        reason = f"{_number(len(declared))} declared; at least {LEAST} are needed"
        return Outcome(Answer.NOT_RUN, reason, reason=reason)
    algorithm = case.alignment.algorithm
    if not isinstance(algorithm.domain(algorithm.output_variable), Finite):
        reason = NUMBER
        return Outcome(Answer.VACUOUS, "no cells to measure under a shift", reason=reason)
    found = [
        travelled(case, rung, number)
        for number, rung in enumerate(rungs_of(declared, case.alignment, case.test))
    ]
    counted = [one for one in found if one.counts]
    share = _share(counted)
    answers = {one.name: one.answer(ALPHA, share) for one in counted}
    answer = min((a for a, _ in answers.values()), key=weakness, default=Answer.VACUOUS)
    deciding = [one for one in counted if answers[one.name][0] is answer]
    worst = min(deciding, key=lambda one: one.lower, default=None)
    reason = None
    if len(counted) < LEAST and answer is not Answer.REFUTED:
        answer = Answer.VACUOUS
        reason = f"{_number(len(counted))} left that change{'s' * (len(counted) == 1)} the pairs; {LEAST} are needed"
    elif answer is Answer.VACUOUS:
        reason = "; ".join(f"{one.name}: {answers[one.name][1]}" for one in deciding)
    return Outcome(
        answer,
        _sentence(case, found, counted, worst, answers),
        _figures(case, found, answers, share, None if worst is None else worst.name),
        n_to_decide=_needed(case, deciding) if answer is Answer.INCONCLUSIVE else None,
        reason=reason,
        forward_passes=sum(one.forward_passes for one in found),
        refuted_at=lambda alpha: any(one.answer(alpha, share)[0] is Answer.REFUTED for one in counted),
    )


def _share(counted: Sequence[Travelled]) -> int:
    """Tests that may refute: every cell of every shift, and for each whether its failure lies in the coordinates."""
    return max(1, sum(len(one.cells) + 1 for one in counted))


def _number(count: int) -> str:
    return {0: "no shifts are", 1: "1 shift is"}.get(count, f"{count} shifts are")


def _needed(case: Case, deciding: Sequence[Travelled]) -> int | None:
    """Test pairs with which the weakest cells would be decided: a shift gets as many as the test has."""
    target, floor = case.thresholds.target, case.thresholds.behaviour
    found = []
    for one in deciding:
        cells = [cell.rate for cell in one.cells]
        bounds = [(r, target) for r in cells] + [(one.accuracy, floor)]
        for rate, least in bounds:
            inconclusive = Answer.INCONCLUSIVE if rate.lower < least <= rate.upper else Answer.SUPPORTED
            reached = (rate.rate, rate.lower, rate.upper)
            more = pairs_needed(inconclusive, least, reached, rate.n, complete=rate.method == "census")
            if more is not None:
                found.append(more / rate.n)
        if one.short is not None:
            found.append(one.short)
    return None if not found else int(max(found) * len(case.test)) + 1


def _sentence(
    case: Case,
    found: Sequence[Travelled],
    counted: Sequence[Travelled],
    worst: Travelled | None,
    answers: dict[str, tuple[Answer, str]],
) -> str:
    target, floor = case.thresholds.target, case.thresholds.behaviour
    parts = []
    measured = [one for one in counted if one.cells and not one.network_fails]
    lowest = worst if worst in measured else min(measured, key=lambda one: one.lower, default=None)
    if lowest is not None and lowest.worst is not None:
        swap, stratum, found_rate = lowest.worst
        bounds = f"[{show(lowest.lower)}, {show(lowest.upper(ALPHA / _share(counted)))}]"
        parts.append(
            f"worst of {len(counted)} shifts is {lowest.name}, {swap} · {stratum}: {show(found_rate.rate)},"
            f" bounds {bounds}, target {show(target)}; the network's accuracy there {lowest.accuracy}"
        )
    for one in counted:
        if one.network_fails:
            text = f"the network itself fails on {one.name} (accuracy {one.accuracy} against a floor of {show(floor)})"
            if one.mended is not None:
                where = " and ".join(one.mended.variables)
                text += f"; with {where} as in the claim's own inputs of the same values: {one.mended.rate(ALPHA)}"
            parts.append(text)
        elif one.trouble:
            parts.append(f"{one.name} was not measured: {one.trouble}")
        elif answers[one.name][0] in (Answer.VACUOUS, Answer.INCONCLUSIVE):
            parts.append(f"{one.name}: {answers[one.name][1]}")
    for one in found:
        if not one.counts:
            parts.append(f"{one.name} changes nothing and does not count")
        elif one.gone:
            parts.append(f"impossible on {one.name}: {', '.join(one.gone)}")
    dropped = [one for one in counted if one.left_out]
    if dropped:
        most = max(dropped, key=lambda one: one.share)
        parts.append(
            f"inputs that were fitted or selected on are left out, at most {show(most.share)} of a shift ({most.name})"
        )
    return (
        "; ".join(parts) if parts else f"{len(found)} shifts were declared and none of them changes the pairs"
    )


def _figures(
    case: Case,
    found: Sequence[Travelled],
    answers: dict[str, tuple[Answer, str]],
    share: int,
    worst: str | None,
) -> dict[str, Any]:
    rungs = []
    for one in found:
        answer, reason = answers.get(one.name, (None, "it changes nothing"))
        record = one.record(ALPHA / share)
        rungs.append(
            record | {"answer": None if answer is None else str(answer.value), "reason": reason or None}
        )
    return {
        "target": case.thresholds.target,
        "floor": case.thresholds.behaviour,
        "counted": len(answers),
        "tests": share,
        "worst": worst,
        "rate": min((cell.rate.rate for one in found if one.counts for cell in one.cells), default=None),
        "shifts": rungs,
    }

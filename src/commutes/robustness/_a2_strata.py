"""A2: does every swapped set reach the target in every stratum?"""

from __future__ import annotations

from commutes.algorithm import Finite
from commutes.evaluation import DRAWS
from commutes.robustness._case import Case, Outcome, pairs_needed
from commutes.stats import Answer, gate, pairs_to_pass, show


def strata(case: Case) -> Outcome:
    """The worst cell of swapped set x gated stratum; vacuous for a set that does not exclude a trivial rival."""
    evaluation, target = case.evaluation, case.thresholds.target
    algorithm = case.test.algorithm
    if not isinstance(algorithm.domain(algorithm.output_variable), Finite):
        reason = "the output is a number: agreement within a tolerance is no IIA and has no strata"
        sentence = f"agreement {evaluation.overall}"
        return Outcome(Answer.VACUOUS, sentence, {"agreement": evaluation.overall.as_dict()}, reason=reason)
    worst = evaluation.worst
    if worst is None:
        return Outcome(
            Answer.INCONCLUSIVE,
            "no cell has enough pairs and inputs to be gated",
            {"target": target},
            n_to_decide=pairs_to_pass(target) if target < 1 else None,
        )
    open_rivals = {swap: names for swap, names in evaluation.not_excluded.items() if names}
    figures = {
        "worst": {"swap": worst.swap, "stratum": worst.stratum, "rate": worst.rate},
        "lower": worst.lower,
        "upper": worst.upper,
        "cells": worst.cells,
        "target": target,
        "not_excluded": open_rivals,
    }
    where = f"worst of {worst.cells} cells is {worst.swap} · {worst.stratum}"
    sentence = f"{where}: {show(worst.rate)}, bounds [{show(worst.lower)}, {show(worst.upper)}], target {show(target)}"
    # Once for the claim, once for every random subspace beside it.
    passes = len(case.test) * (1 + DRAWS)
    answer = gate((worst.lower, worst.upper), target)
    # A failure is a failure whoever else would fail too; only a success may be somebody else's.
    if open_rivals and answer is not Answer.REFUTED:
        swap, names = next(iter(open_rivals.items()))
        reason = f"for {swap} no gated stratum excludes: {', '.join(names)}"
        return Outcome(Answer.VACUOUS, sentence, figures, reason=reason, forward_passes=passes)
    return Outcome(
        answer,
        sentence,
        figures,
        n_to_decide=pairs_needed(answer, target, worst.rate, complete=case.test.complete),
        forward_passes=passes,
    )

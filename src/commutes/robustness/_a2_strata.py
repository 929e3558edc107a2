"""A2: does every swapped set reach the target in every stratum?"""

from __future__ import annotations

import math

from commutes.algorithm import Finite
from commutes.evaluation import DRAWS, GATED, Evaluation, cell_rows
from commutes.robustness._case import NUMBER, Case, Outcome
from commutes.stats import Answer, gate, pairs_to_pass, rate, show


def strata(case: Case) -> Outcome:
    """The worst cell of swapped set x gated stratum; vacuous for a set that does not exclude a trivial rival."""
    evaluation, target = case.evaluation, case.thresholds.target
    algorithm = case.test.algorithm
    if not isinstance(algorithm.domain(algorithm.output_variable), Finite):
        reason = NUMBER
        sentence = f"agreement {evaluation.overall}"
        return Outcome(Answer.VACUOUS, sentence, {"agreement": evaluation.overall.as_dict()}, reason=reason)
    worst = evaluation.worst
    if worst is None:
        return Outcome(
            Answer.INCONCLUSIVE,
            "no cell has enough pairs and inputs to be gated",
            {"target": target},
            n_to_decide=GATED * sum(cell.weight > 0 for cell in evaluation.cells),
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
    ungated = evaluation.ungated
    if ungated and answer is Answer.SUPPORTED:
        # A stratum that could show the claim wrong was not measured well enough to.
        answer = Answer.INCONCLUSIVE
        few = ", ".join(f"{swap} · {stratum}" for swap, stratum in ungated)
        sentence += f"; possible and effective, but with too few pairs or inputs to gate: {few}"
    # A failure is a failure whoever else would fail too; only a success may be somebody else's.
    if open_rivals and answer is not Answer.REFUTED:
        swap, names = next(iter(open_rivals.items()))
        reason = f"for {swap} no gated stratum excludes: {', '.join(names)}"
        return Outcome(Answer.VACUOUS, sentence, figures, reason=reason, forward_passes=passes)
    return Outcome(
        answer,
        sentence,
        figures,
        n_to_decide=_needed(case) if answer is Answer.INCONCLUSIVE else None,
        forward_passes=passes,
        refuted_at=lambda alpha: worst_upper(evaluation, alpha) < target,
    )


def worst_upper(evaluation: Evaluation, alpha: float) -> float:
    """Upper bound of the worst cell: the minimum over gated cells of their bounds at alpha / cells."""
    pairs, hits = evaluation.pairs, evaluation.hits
    gated = {(c.swap, c.stratum) for c in evaluation.cells if c.status == "gated"}
    bounds = [
        rate(hits[rows], pairs.members[rows], census=pairs.complete, alpha=alpha / len(gated)).upper
        for swap, stratum, rows in cell_rows(pairs)
        if (swap, stratum) in gated
    ]
    return min(bounds, default=1.0)


def _needed(case: Case) -> int | None:
    """Pairs in all with which the cell that holds the gate up would be decided, if its rate stays as it is."""
    target = case.thresholds.target
    if case.evaluation.ungated:
        return GATED * sum(cell.weight > 0 for cell in case.evaluation.cells)
    rates = [c.rate for c in case.evaluation.cells if c.status == "gated" and c.rate is not None]
    held = min(rates, key=lambda r: (r.lower, r.rate))
    if not 0 < target < 1 or held.rate == target:
        return None
    if held.method == "disjoint":
        fewest = pairs_to_pass(target, held.rate)
        growth = math.nan if fewest is None else fewest / held.n
    elif held.rate == 1:
        # Without a miss the bound is alpha ** (1 / n) for some n, of inputs more than of pairs.
        growth = math.log(held.lower) / math.log(target) if held.lower > 0 else math.nan
    else:
        width = held.rate - held.lower if held.rate > target else held.upper - held.rate
        growth = (width / (held.rate - target)) ** 2
    return math.ceil(growth * len(case.test)) if growth > 1 else None

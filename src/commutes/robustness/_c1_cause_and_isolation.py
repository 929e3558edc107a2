"""C1: does each variable's place change what it should, and nothing else?"""

from __future__ import annotations

import numpy as np

from commutes.algorithm import Finite
from commutes.robustness._case import ALPHA, Case, Outcome, pairs_needed
from commutes.robustness._worst import Part, Worst, lowest, some, weakest
from commutes.stats import Answer, gate, show

# More rates than this are in the figures, and only the smallest in the sentence.
LISTED = 8


def cause_and_isolation(case: Case) -> Outcome:
    """The least of all variables' rates where the answer must change (cause) and where it must stay (isolation).

    Doing nothing has no cause and full isolation, so that their mean is one half; the smaller one is 0. Where the
    algorithm is asked one of several questions, isolation is that about the others.

    See RAVEL: Evaluating Interpretability Methods on Disentangling Language Model Representations, arXiv 2402.17700.
    """
    pairs, target = case.test, case.thresholds.target
    algorithm = pairs.algorithm
    if not isinstance(algorithm.domain(algorithm.output_variable), Finite):
        reason = "the output is a number: agreement within a tolerance is no IIA"
        return Outcome(Answer.VACUOUS, "cause and isolation were not told apart", reason=reason)
    parts, lacking = _parts(case)
    reason = some(lacking)
    if not parts:
        return Outcome(Answer.VACUOUS, "cause and isolation were not told apart", reason=reason)

    def worst(alpha: float) -> Worst:
        return lowest(parts, alpha)

    reached = worst(ALPHA)
    measured = gate(reached.bounds, target)
    answer = weakest([measured, Answer.VACUOUS] if lacking else [measured])
    rates = {part.name: part.rate() for part in parts}
    each = ", ".join(f"{name} {show(rate.rate)}" for name, rate in rates.items())
    beside = f" ({each})" if len(rates) <= LISTED else ""
    return Outcome(
        answer,
        f"smallest of {len(rates)} rates{beside} is {reached.name}: {reached.rate}; bounds [{show(reached.lower)},"
        f" {show(reached.upper)}], target {show(target)}",
        {
            "rates": {name: rate.as_dict() for name, rate in rates.items()},
            "worst": reached.name,
            "lower": reached.lower,
            "upper": reached.upper,
            "target": target,
        },
        n_to_decide=pairs_needed(answer, target, reached.reached, len(pairs), complete=pairs.complete),
        reason=reason if answer is Answer.VACUOUS else None,
        refuted_at=lambda alpha: gate(worst(alpha).bounds, target) is Answer.REFUTED,
    )


def _parts(case: Case) -> tuple[list[Part], list[str]]:
    """Hits of each variable by whether the answer must change, and what there are no pairs for."""
    pairs, hits, parts, lacking = case.test, case.evaluation.hits, [], []
    for variable in case.alignment.variables:
        rows = case.rows(variable.name)
        if not len(rows):
            lacking.append(f"{variable.name} is never swapped alone")
            continue
        change = pairs.effective[rows]
        for word, own, what in (("cause", change, "change"), ("isolation", ~change, "stay")):
            if own.any():
                chosen = rows[np.nonzero(own)[0]]
                name = f"{variable.name} · {word}"
                parts.append(Part(name, hits[chosen], pairs.members[chosen], pairs.complete))
            else:
                lacking.append(f"there is no pair of {variable.name} in which the answer must {what}")
    return parts, lacking

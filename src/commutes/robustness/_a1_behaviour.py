"""A1: does the network answer as the algorithm does?"""

from __future__ import annotations

from commutes.robustness._case import Case, Outcome, pairs_needed
from commutes.stats import Answer, gate, rate, show


def behaviour(case: Case) -> Outcome:
    """Accuracy of the network against the algorithm on the evaluated inputs, none of them filtered out."""
    accuracy, complete = case.evaluation.accuracy, case.test.complete
    floor = case.thresholds.behaviour
    answer = gate(accuracy, floor)
    reached = (accuracy.rate, accuracy.lower, accuracy.upper)

    def refuted_at(alpha: float) -> bool:
        return gate(rate(case.bench.right, census=complete, alpha=alpha), floor) is Answer.REFUTED

    return Outcome(
        answer,
        f"accuracy {accuracy} against a floor of {show(floor)}; no input was filtered out",
        {"accuracy": accuracy.as_dict(), "floor": floor, "kept": 1.0},
        # Pairs have as many inputs as they have members: the card speaks of pairs.
        n_to_decide=pairs_needed(answer, floor, reached, len(case.test), complete=complete),
        forward_passes=accuracy.n,
        refuted_at=refuted_at,
    )

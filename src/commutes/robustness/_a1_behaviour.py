"""A1: does the network answer as the algorithm does?"""

from __future__ import annotations

from commutes.robustness._case import Case, Outcome, pairs_needed
from commutes.stats import gate, show


def behaviour(case: Case) -> Outcome:
    """Accuracy of the network against the algorithm on the evaluated inputs, none of them filtered out."""
    accuracy = case.evaluation.accuracy
    floor = case.thresholds.behaviour
    answer = gate(accuracy, floor)
    return Outcome(
        answer,
        f"accuracy {accuracy} against a floor of {show(floor)}; no input was filtered out",
        {"accuracy": accuracy.as_dict(), "floor": floor, "kept": 1.0},
        n_to_decide=pairs_needed(answer, floor, accuracy.rate, complete=case.test.complete),
        forward_passes=accuracy.n,
    )

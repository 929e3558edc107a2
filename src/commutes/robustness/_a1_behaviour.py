"""A1: does the network answer as the algorithm does?"""

from __future__ import annotations

import numpy as np

from commutes.robustness._case import Case, Outcome, pairs_needed
from commutes.stats import Answer, Rate, gate, rate, show


def behaviour(case: Case) -> Outcome:
    """Accuracy of the network against the algorithm on the evaluated inputs, none of them filtered out."""
    return gated_behaviour(
        case.evaluation.accuracy,
        case.bench.right,
        floor=case.thresholds.behaviour,
        pairs=len(case.test),
        complete=case.test.complete,
    )


def gated_behaviour(
    accuracy: Rate, right: np.ndarray, *, floor: float, pairs: int, complete: bool, on: str = ""
) -> Outcome:
    """The gate on the accuracy.

    Args:
        accuracy: Of the network, nothing swapped.
        right: The same, input by input.  # shape: (m,)
        floor: What it has to clear.
        pairs: Pairs over these inputs, in which the card counts what would decide.
        complete: Whether the inputs are all there are.
        on: Which inputs these are, where they are not those that the claim is measured on.
    """
    answer = gate(accuracy, floor)
    reached = (accuracy.rate, accuracy.lower, accuracy.upper)

    def refuted_at(alpha: float) -> bool:
        return gate(rate(right, census=complete, alpha=alpha), floor) is Answer.REFUTED

    return Outcome(
        answer,
        f"accuracy {accuracy}{on} against a floor of {show(floor)}; no input was filtered out",
        {"accuracy": accuracy.as_dict(), "floor": floor, "kept": 1.0},
        # Pairs have as many inputs as they have members: the card speaks of pairs.
        n_to_decide=pairs_needed(answer, floor, reached, pairs, complete=complete),
        forward_passes=accuracy.n,
        refuted_at=refuted_at,
    )

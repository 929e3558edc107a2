"""What a check is given, and what it answers. Checks see the network and the claim, never how the truth was planted."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from commutes.alignment import Alignment
from commutes.counterfactuals import Counterfactuals
from commutes.evaluation import Bench, Evaluation
from commutes.robustness._refits import Refit
from commutes.stats import Answer, Interval, pairs_to_pass, show
from commutes.training import Settings

Progress = Callable[[str, int, int, Mapping[str, Any]], None]


@dataclass(frozen=True)
class Thresholds:
    """What the claim must clear, declared before the test split is opened."""

    target: float = 0.90
    """Interchange-intervention accuracy of the worst cell."""
    behaviour: float = 0.95
    """Accuracy of the network against the algorithm."""
    adequacy: float = 0.20
    """Share of pairs on which every rival expects another answer."""
    held_out: float = 0.05
    """How much better the fitted inputs may do than the held-out ones."""
    reach: float = 0.50
    """Share of effective pairs whose edit is larger than that of a placebo pair; chance is one half."""
    over_untrained: float = 0.20
    """Gap to refits on untrained networks."""
    selectivity: float = 0.20
    """Gap to the worst control task."""


@dataclass(frozen=True)
class Outcome:
    """What one check found."""

    answer: Answer
    sentence: str
    """The finding in words, with its figures."""
    figures: Mapping[str, Any] = field(default_factory=dict)
    n_to_decide: int | None = None
    """Pairs that would decide an inconclusive gate."""
    reason: str | None = None
    """Why a check is vacuous or was not run."""
    forward_passes: int = 0
    """Inputs that the network was run on for this check."""


@dataclass(frozen=True, eq=False)
class Case:
    """A fixed claim with its data, after the test split was opened."""

    alignment: Alignment
    train: Counterfactuals | None
    select: Counterfactuals | None
    test: Counterfactuals
    thresholds: Thresholds
    settings: Settings
    seed: int
    refits: int
    controls: int
    bench: Bench
    """The network prepared for the test pairs."""
    evaluation: Evaluation
    """The claim on the test pairs."""
    adequacy: Outcome
    """A3, which was answered from labels before the network ran."""
    untrained: Callable[[], list[Refit]]
    """Refits of the claim on untrained networks, computed once."""
    progress: Progress | None

    def rows(self, variable: str) -> np.ndarray:
        """Test pairs that swap this one variable alone."""
        for i, swap in enumerate(self.test.swaps):
            if swap.label == variable:
                return np.nonzero(self.test.swap == i)[0]
        return np.zeros(0, np.int64)


Check = Callable[[Case], Outcome]


def pairs_needed(answer: Answer, target: float, rate: float, *, complete: bool) -> int | None:
    """Disjoint pairs (or inputs) that would decide a gate; None where it is decided or none are left to draw."""
    if answer is not Answer.INCONCLUSIVE or complete or not 0 < target < 1:
        return None
    return pairs_to_pass(target, rate)


def said(difference: Interval) -> str:
    """A difference with its interval. It has no n of its own: its two parts have theirs.

    >>> said(Interval(0.5, 0.4, 0.6, 0.42, 0.58, 5))
    '.500 [.400, .600]'
    """
    return f"{show(difference.value)} [{show(difference.low)}, {show(difference.high)}]"

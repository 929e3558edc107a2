"""What a check is given, and what it answers. Checks see the network and the claim, never how the truth was planted."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from commutes.algorithm import Algorithm
from commutes.alignment import Alignment
from commutes.counterfactuals import Counterfactuals
from commutes.evaluation import Bench, Evaluation
from commutes.network import Network
from commutes.report import CATALOGUE
from commutes.robustness._off_task import OffTask
from commutes.robustness._refits import Procedure, Refit
from commutes.robustness._shift import Shift
from commutes.stats import Answer, Interval, show

Progress = Callable[[str, int, int, Mapping[str, Any]], None]


# The check that each threshold belongs to; where it belongs to several, the one of the lowest level.
_GATES = {
    "target": "A2", "behaviour": "A1", "adequacy": "A3", "held_out": "A6", "reach": "A9", "capacity": "A5",
    "over_untrained": "B1", "selectivity": "B2", "margin": "A4", "strictness": "C3", "necessity": "C8", "unread": "D1",
    "component": "D2", "unnatural": "D3", "agreement": "D4", "unused": "D6", "multiverse": "A7", "damage": "C9",
    "cross_swap": "E3", "replicated": "E4", "over_rivals": "E5",
}  # fmt: skip


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
    capacity: float = 0.60
    """How far, from the floor to 1, the same fit may get on untrained networks."""
    over_untrained: float = 0.20
    """Gap to refits on untrained networks."""
    selectivity: float = 0.20
    """Gap to the worst control task."""
    margin: float = 0.10
    """Share of effective pairs whose margin is not recovered (A4)."""
    strictness: float = 0.95
    """How often the answer stays when all that carries no variable comes from another input (C3)."""
    necessity: float = 0.10
    """How far the accuracy with a randomised variable may be from what the algorithm predicts (C8)."""
    unread: float = 0.20
    """What the part of the subspace that nothing reads may add (D1)."""
    component: float = 1.10
    """Effect of the subspace over that of the whole component (D2)."""
    unnatural: float = 0.05
    """Excess share of edited states that the readers find unlike natural ones (D3)."""
    agreement: float = 0.90
    """Share of clean agreement that is kept where a decoded value changes under perturbation (D4)."""
    unused: float = 0.20
    """Decodability beyond what patching shows to be used (D6)."""
    multiverse: float = 0.90
    """Share of combinations of metric, replacement, position and template that keep the verdict (A7)."""
    damage: float = 0.05
    """What an edit may cost on inputs that the claim says nothing about (C9)."""
    cross_swap: float = 0.90
    """Agreement where one fit edits and another reads (E3)."""
    replicated: float = 1 / 3
    """Share of independently trained networks on which the claim holds (E4); three of three show no more."""
    over_rivals: float = 0.10
    """Gap to a rival algorithm that is not entailed (E5)."""

    def up_to(self, level: str) -> dict[str, float]:
        """Those of the checks that decide levels up to this one, by name."""
        ranks = {entry.id: entry.level for entry in CATALOGUE}
        return {
            name: value for name, value in asdict(self).items() if (ranks[_GATES[name]] or level) <= level
        }


@dataclass(frozen=True)
class Declared:
    """What the claim is to be held against: declared by its owner, hashed with it."""

    rivals: Mapping[str, Algorithm] = field(default_factory=dict)
    """Other algorithms over the same inputs, by name."""
    variants: Mapping[str, Alignment] = field(default_factory=dict)
    """The claim at another position or under another template, fitted, by name: its verdict must be the same there."""
    networks: Sequence[Network] = ()
    """Networks that were trained independently of the claim's and of each other, on which it is to hold as well."""
    shifts: tuple[Shift, ...] = ()
    """Changes of the inputs under which the claim must hold as it is (E1)."""
    off_task: OffTask | None = None
    """Inputs that the claim says nothing about, on which its edits must leave the answer alone (C9)."""
    every_input: bool = False
    """Whether the claim is about every input of the domain, so that one counterexample refutes it (E2)."""


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
    refuted_at: Callable[[float], bool] | None = field(default=None, compare=False, repr=False)
    """Whether bounds at another error rate still refute: what a correction for several gates asks."""


@dataclass(frozen=True, eq=False)
class Case:
    """A fixed claim with its data, after the test split was opened."""

    alignment: Alignment
    train: Counterfactuals | None
    select: Counterfactuals | None
    test: Counterfactuals
    thresholds: Thresholds
    settings: Procedure
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
    reseeded: Callable[[], list[Refit]]
    """Refits of a learnt claim on its own network from other seeds, computed once."""
    progress: Progress | None
    declared: Declared = field(default_factory=Declared)
    """What was written down beside the claim, before the test split was opened."""
    folder: Path | None = None
    """That keeps refits; None keeps none."""

    def rows(self, variable: str) -> np.ndarray:
        """Test pairs that swap this one variable alone."""
        for i, swap in enumerate(self.test.swaps):
            if swap.label == variable:
                return np.nonzero(self.test.swap == i)[0]
        return np.zeros(0, np.int64)


Check = Callable[[Case], Outcome]

Bounds = tuple[float, float, float]
"""A value with its lower and its upper bound."""


# The error rate of one gate.
ALPHA = 0.05
# Why what is counted in cells of strata says nothing there.
NUMBER = "the output is a number: agreement within a tolerance is no IIA and has no strata"


def pairs_needed(answer: Answer, target: float, reached: Bounds, n: int, *, complete: bool) -> int | None:
    """About how many pairs would decide a gate at `target`, if the rate stays and intervals shrink as they do.

    Taken from the width that was reached, so that inputs which recur are allowed for. None where the gate is decided,
    no pairs are left to draw, or the rate is the target itself.
    """
    value, lower, upper = reached
    if answer is not Answer.INCONCLUSIVE or complete or math.isnan(value) or value == target:
        return None
    width, room = (value - lower, value - target) if value > target else (upper - value, target - value)
    # Without a miss (or without a hit) a bound moves with 1 / n, otherwise with 1 / sqrt(n).
    power = 1 if value in (0.0, 1.0) else 2
    return max(n + 1, math.ceil(n * (width / room) ** power))


def said(difference: Interval) -> str:
    """A difference with its interval. It has no n of its own: its two parts have theirs.

    >>> said(Interval(0.5, 0.4, 0.6, 0.42, 0.58, 5))
    '.500 [.400, .600]'
    """
    return f"{show(difference.value)} [{show(difference.low)}, {show(difference.high)}]"

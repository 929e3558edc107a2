"""C8: does randomising a variable's place cost exactly what the algorithm says it should?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from commutes.algorithm import Finite, Variable
from commutes.engine import Featurizer
from commutes.evaluation import random_maps
from commutes.robustness._case import ALPHA, Case, Outcome, pairs_needed
from commutes.robustness._worst import Part, Worst, highest, some, weakest
from commutes.stats import Answer, gate, paired_gap, show


@dataclass(frozen=True, eq=False)
class _Randomised:
    """One variable taken from inputs that have nothing to do with the base; a truth value per base unless said."""

    name: str
    predicted: np.ndarray
    """Whether the algorithm's answer stays."""
    kept: np.ndarray
    """Whether the network's does."""
    random: float
    """How often it does where as many random coordinates are randomised instead."""
    members: np.ndarray
    """Base and donor.  # shape: (n, 2)"""
    complete: bool

    @property
    def fall(self) -> float:
        """How much accuracy the algorithm loses."""
        return 1 - float(self.predicted.mean())

    @property
    def parts(self) -> tuple[Part, Part]:
        """Answers that stay and should not, and answers that are lost and should not be."""
        too_little, too_much = self.kept & ~self.predicted, self.predicted & ~self.kept
        return (
            Part(f"{self.name} · kept too often", too_little, self.members, self.complete),
            Part(f"{self.name} · lost too often", too_much, self.members, self.complete),
        )

    def record(self) -> dict[str, Any]:
        """Plain values."""
        difference = paired_gap(self.kept, self.predicted, self.members, census=self.complete)
        return {
            "n": len(self.kept),
            "algorithm": float(self.predicted.mean()),
            "network": float(self.kept.mean()),
            "random_coordinates": self.random,
            "difference": difference.as_dict(),
            "kept_too_often": self.parts[0].rate().as_dict(),
            "lost_too_often": self.parts[1].rate().as_dict(),
        }


def necessity(case: Case) -> Outcome:
    """How often an answer is kept, or lost, where the algorithm with the same variable randomised says otherwise.

    The variable's coordinates come from inputs that are drawn without regard to the base, and the algorithm takes its
    value from the very same ones. Both shares must be below the margin: accuracy falls to what the algorithm predicts,
    by no less (a copy that is not used) and by no more (what carries something else as well), and the two cannot make
    up for each other. In a complete domain every input is the donor of every other.

    See Amnesic Probing: Behavioral Explanation with Amnesic Counterfactuals, arXiv 2006.00995.
    """
    algorithm, most = case.test.algorithm, case.thresholds.necessity
    if not isinstance(algorithm.domain(algorithm.output_variable), Finite):
        reason = "the output is a number: whether an answer stays depends on the tolerance"
        return Outcome(Answer.VACUOUS, "nothing was randomised", reason=reason)
    others = random_maps(case.alignment, [case.seed, 41])
    found = [_randomised(case, variable, others) for variable in case.alignment.variables]
    idle = [
        f"randomising {one.name} changes the algorithm's answer to {show(one.fall)} of the inputs"
        for one in found
        if one.fall <= most
    ]
    parts = [part for one in found if one.fall > most for part in one.parts]
    figures = {"variables": {one.name: one.record() for one in found}, "most": most, "seed": case.seed}
    passes = 2 * sum(len(one.kept) for one in found)
    reason = f"an unused copy would be within {show(most)} of it: " + some(idle)
    if not parts:
        return Outcome(Answer.VACUOUS, reason, figures, reason=reason, forward_passes=passes)

    def worst(alpha: float) -> Worst:
        return highest(parts, alpha)

    reached = worst(ALPHA)
    measured = gate(reached.bounds, most, side="<")
    answer = weakest([measured, Answer.VACUOUS] if idle else [measured])
    complete = case.test.complete
    return Outcome(
        answer,
        _sentence(found, reached, most),
        figures | {"worst": reached.name, "lower": reached.lower, "upper": reached.upper},
        n_to_decide=pairs_needed(answer, most, reached.reached, len(case.test), complete=complete),
        reason=reason if answer is Answer.VACUOUS else None,
        forward_passes=passes,
        refuted_at=lambda alpha: gate(worst(alpha).bounds, most, side="<") is Answer.REFUTED,
    )


def _sentence(found: list[_Randomised], reached: Worst, most: float) -> str:
    one = next(one for one in found if reached.name in [part.name for part in one.parts])
    return (
        f"with {one.name} randomised the algorithm keeps {show(float(one.predicted.mean()))} of its answers, the"
        f" network {show(float(one.kept.mean()))}, with as many random coordinates {show(one.random)}; largest of"
        f" {reached.parts} shares is {reached.name}: {reached.rate}, upper bound {show(reached.upper)}, below"
        f" {show(most)} is asked for"
    )


def _randomised(case: Case, variable: Variable, others: list[Featurizer]) -> _Randomised:
    """The variable's coordinates from unrelated inputs, in the network and in the algorithm."""
    pairs, algorithm = case.test, case.test.algorithm
    rows, donors = _donors(case, variable)
    base = pairs.base[rows]
    inputs = {name: column[base] for name, column in pairs.inputs.items()}
    answers = algorithm.run(inputs, {variable: pairs.columns[variable.name][donors]})
    predicted = answers[algorithm.output_variable.name] == pairs.answers[base]
    kept, random = (
        _kept(case, variable, maps, rows, donors) for maps in (case.alignment.featurizers, others)
    )
    members = np.stack([base, donors], axis=1)
    return _Randomised(variable.name, predicted, kept, float(random.mean()), members, pairs.complete)


def _donors(case: Case, variable: Variable) -> tuple[np.ndarray, np.ndarray]:
    """Pairs, one for each base, and another input for each; in a complete domain every input for every base."""
    pairs = case.test
    rows = np.unique(pairs.base, return_index=True)[1]
    if pairs.complete:
        inputs = np.unique(pairs.members[pairs.members >= 0])
        return np.repeat(rows, len(inputs)), np.tile(inputs, len(rows))
    # Sources, shuffled among the pairs: as many inputs as bases, most often others than these.
    order = [v.name for v in case.alignment.variables].index(variable.name)
    rng = np.random.default_rng([case.seed, 42, order])
    return rows, rng.permutation(pairs.source[rows, 0])


def _kept(
    case: Case,
    variable: Variable,
    maps: tuple[Featurizer, ...] | list[Featurizer],
    rows: np.ndarray,
    donors: np.ndarray,
) -> np.ndarray:
    """Whether the network's answer to each base stays when the variable comes from the donor."""
    bench = case.bench
    masks = []
    for group, table in zip(case.alignment.groups, bench.masks, strict=True):
        mask = torch.zeros(len(rows), 1, table.shape[-1], dtype=torch.bool, device=table.device)
        mask[:, :, list(group.columns.get(variable, ()))] = True
        masks.append(mask)
    runs = bench.edited(maps, rows=rows, source=donors[:, None], masks=masks)
    answered = np.concatenate([bench.answers.decode(logits) for logits in runs])
    return bench.answers.match(answered, bench.clean[case.test.base[rows]])

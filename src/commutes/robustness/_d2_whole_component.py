"""D2: is the effect of the subspace no larger than that of the component that holds it?"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch

from commutes.algorithm import Variable
from commutes.counterfactuals import Counterfactuals, controlled_within
from commutes.engine import Featurizer
from commutes.errors import DataError
from commutes.evaluation import GATED, Bench, answer_scores, bench, clean_logits
from commutes.features import Neurons
from commutes.robustness._case import ALPHA, Case, Outcome, pairs_needed
from commutes.robustness._worst import of_all
from commutes.stats import Answer, Interval, gate, mean_of_pairs, show

# Controlled pairs of a variable: as many as it has test pairs, but enough that some of them have to change the answer,
# and no more than a mean needs.
FEWEST, MOST = 4 * GATED, 2_000
# Changes of a margin below this share of the mean clean margin are rounding, which must not look like an effect.
_ROUNDING = 1e-4


@dataclass(frozen=True, eq=False)
class _Effects:
    """What one variable's coordinates do, and what their whole site does, on effective controlled pairs."""

    name: str
    pairs: Counterfactuals
    rows: np.ndarray
    alone: np.ndarray
    """Change of the margin of the expected answer over the base's, or of being right.  # shape: (n,)"""
    whole: np.ndarray
    unit: str
    passes: int

    @property
    def members(self) -> np.ndarray:
        """The inputs of each pair."""
        return self.pairs.members[self.rows]

    @cached_property
    def means(self) -> tuple[Interval, Interval]:
        """Of the coordinates alone, and of the whole site."""
        return mean_of_pairs(self.alone, self.members), mean_of_pairs(self.whole, self.members)

    def excess(self, most: float, alpha: float) -> Interval:
        """Mean of the one minus `most` times the other: above 0 exactly where the ratio is above `most`.

        A ratio itself has no bounds where what it divides by may be nothing.
        See Some problems in interval estimation (Fieller, 1954).
        """
        return mean_of_pairs(self.alone - most * self.whole, self.members, alpha=alpha)

    def gated(self, most: float, alpha: float) -> Answer:
        """Whether the ratio is at most `most`. Effects that are all alike have no spread, however few they are."""
        if len(self.rows) < GATED:
            return Answer.INCONCLUSIVE
        return gate(self.excess(most, alpha), 0.0, side="<=")

    @cached_property
    def ratio(self) -> Interval | None:
        """Of the two means, by their linear parts; None where the whole site is not shown to do anything."""
        alone, whole = self.means
        if not whole.lower > 0:
            return None
        value = alone.value / whole.value
        apart = mean_of_pairs((self.alone - value * self.whole) / whole.value, self.members)
        return Interval(
            value, value + apart.low, value + apart.high, value + apart.lower, value + apart.upper, apart.n
        )

    @property
    def idle(self) -> bool:
        """Whether the coordinates alone are not shown to do anything."""
        return not self.means[0].lower > 0

    def record(self, most: float) -> dict[str, Any]:
        """Plain values."""
        alone, whole = self.means
        return {
            "alone": alone.as_dict(),
            "whole": whole.as_dict(),
            "ratio": None if self.ratio is None else self.ratio.as_dict(),
            "excess": self.excess(most, ALPHA).as_dict(),
            "unit": self.unit,
            "seed": self.pairs.design.seed,
        }


def whole_component(case: Case) -> Outcome:
    """Mean effect of the coordinates over that of their whole site, on controlled pairs; the worst variable decides.

    In a controlled pair the variable changes and what does not hang on it stays, so that a whole site may come from the
    source without bringing anything else; counted are pairs that agree on whatever else enters the answer behind it.
    Other pairs exchange the other variables too: the whole site then has little
    effect on average, and the ratio of a true claim is large.

    See Is This the Subspace You Are Looking for? An Interpretability Illusion for Subspace Activation Patching,
    arXiv 2311.17030.
    """
    most = case.thresholds.component
    looked = {variable.name: _effects(case, variable) for variable in case.test.variables}
    without = {name: one for name, one in looked.items() if isinstance(one, str)}
    found = [one for one in looked.values() if isinstance(one, _Effects)]
    if not found:
        reason = next(iter(without.values()))
        return Outcome(Answer.VACUOUS, "no whole component was swapped", {"without": without}, reason=reason)

    def answered(alpha: float) -> Answer:
        return of_all(found, lambda one, share: one.gated(most, share), alpha)

    worst = max(found, key=lambda one: one.excess(most, ALPHA).value)
    answer, reason = answered(ALPHA), None
    idle = [f"the coordinates of {one.name} alone are not shown to do anything" for one in found if one.idle]
    if answer is Answer.SUPPORTED and (idle or without):
        answer, reason = Answer.VACUOUS, [*idle, *without.values()][0]
    return Outcome(
        answer,
        _sentence(worst, most),
        {"by_variable": {one.name: one.record(most) for one in found}, "without": without, "most": most},
        n_to_decide=_needed(case, found, most) if answer is Answer.INCONCLUSIVE else None,
        reason=reason,
        forward_passes=sum(one.passes for one in found),
        refuted_at=lambda alpha: answered(alpha) is Answer.REFUTED,
    )


def _needed(case: Case, found: Sequence[_Effects], most: float) -> int | None:
    """Test pairs with which all variables would be decided: the more there are, the more controlled ones are drawn."""
    needed = [0]
    for one in found:
        excess, n = one.excess(most, ALPHA), len(one.rows)
        reached = (excess.value, excess.lower, excess.upper)
        fewest = GATED if n < GATED else pairs_needed(one.gated(most, ALPHA), 0.0, reached, n, complete=False)
        if n and fewest is not None:
            needed.append(-(-fewest * len(one.pairs) // n))
    # Beyond the most that are drawn, more test pairs decide nothing.
    return max(needed) * len(case.test.variables) if 0 < max(needed) <= MOST else None


def _sentence(worst: _Effects, most: float) -> str:
    alone, whole = worst.means
    share = "which is no measure" if worst.ratio is None else f"ratio {_said(worst.ratio)}"
    return (
        f"on {alone.n:,} controlled pairs that change {worst.name} its coordinates move {worst.unit} by {_said(alone)},"
        f" their whole site by {_said(whole)}: {share}, at most {show(most)}"
    )


def _said(mean: Interval) -> str:
    """A number that is no share, with its interval."""
    return f"{mean.value:.3f} [{mean.low:.3f}, {mean.high:.3f}]"


def _effects(case: Case, variable: Variable) -> _Effects | str:
    """What a variable's coordinates and their whole site do; in words why that cannot be compared."""
    alignment = case.alignment
    number = next(i for i, group in enumerate(alignment.groups) if variable in group.columns)
    group = alignment.groups[number]
    if len(group.columns[variable]) == group.width:
        return f"{variable.name} has all of {group.site}: its coordinates are the whole component"
    count = int(np.clip(len(case.test) // len(case.test.variables), FEWEST, MOST))
    try:
        pairs = controlled_within(case.test, variable, count, seed=case.seed)
    except DataError as error:
        return f"{error.what}: {error.got}"
    prepared = bench(alignment, pairs)
    rows = np.nonzero(pairs.effective & _alone(pairs, variable))[0]
    if not len(rows):
        return (
            f"whatever changes {variable.name} changes what enters the answer beside it as well, "
            "and the whole site may bring that along"
        )
    maps: list[Featurizer] = list(alignment.featurizers)
    maps[number] = Neurons(torch.arange(group.width, device=alignment.network.device))
    masks = [mask[torch.from_numpy(rows).to(mask.device)] for mask in prepared.masks]
    masks[number] = masks[number].new_ones(len(rows), masks[number].shape[1], group.width)
    alone = prepared.edited(alignment.featurizers, rows=rows)
    whole = prepared.edited(maps, rows=rows, masks=masks)
    effects, unit, passes = _changes(prepared, rows, [alone, whole])
    passes += len(pairs.ids) + 2 * len(rows)
    return _Effects(variable.name, pairs, rows, effects[0], effects[1], unit, passes)


def _alone(pairs: Counterfactuals, variable: Variable) -> np.ndarray:
    """Whether base and source agree on all that what hangs on the variable reads beside it.  # shape: (n,)

    Held are the variables that do not hang on it; inputs that it is made of may enter the answer by another way, and a
    whole site that brings them does by right what the coordinates alone do not.
    """
    algorithm = pairs.algorithm
    below = set(algorithm.descendants(variable))
    entering = {p.name for v in below for p in algorithm.parents(v) if p not in below and p != variable}
    agree = np.ones(len(pairs), bool)
    for name in sorted(entering):
        agree &= pairs.columns[name][pairs.base] == pairs.columns[name][pairs.source[:, 0]]
    return agree


def _changes(
    prepared: Bench, rows: np.ndarray, runs: Sequence[Iterator[torch.Tensor]]
) -> tuple[list[np.ndarray], str, int]:
    """What each of several edited runs of these pairs changes, in what unit, and inputs that were run for it."""
    pairs, answers = prepared.pairs, prepared.answers
    expected, before = pairs.expected[rows], pairs.base_answer[rows]
    if answers.spelling is None:
        hits = [np.concatenate([answers.decode(logits) for logits in run] or [expected[:0]]) for run in runs]
        clean = answers.match(prepared.clean[pairs.base[rows]], expected)
        changed = [answers.match(found, expected).astype(float) - clean for found in hits]
        return changed, "the share of expected answers", 0
    spelling = torch.from_numpy(answers.spelling).to(prepared.prepared.network.device)
    once, again = np.unique(pairs.base[rows], return_inverse=True)
    inputs = prepared.prepared.inputs.rows(torch.from_numpy(once))
    own = clean_logits(prepared.prepared.network, inputs, budget=prepared.room)

    def margins(found: Iterator[torch.Tensor], which: np.ndarray) -> np.ndarray:
        scores = [answer_scores(logits, spelling).double().cpu().numpy() for logits in found]
        table = np.concatenate(scores)[which] if scores else np.zeros((0, len(spelling)))
        places = np.arange(len(rows))
        return table[places, expected] - table[places, before]

    clean = margins(own, again.reshape(-1))
    changed = [margins(run, np.arange(len(rows))) - clean for run in runs]
    least = _ROUNDING * float(np.abs(clean).mean()) if len(rows) else 0.0
    changed = [np.where(np.abs(change) > least, change, 0.0) for change in changed]
    return changed, "the margin of the expected answer", len(once)

"""A7: does the verdict survive other defensible metrics, replacements, positions and templates?"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from commutes.algorithm import Finite
from commutes.evaluation import bench
from commutes.robustness._case import ALPHA, Case, Outcome, pairs_needed
from commutes.robustness._gated import Gated, gated
from commutes.robustness._metrics import Metric, metrics
from commutes.robustness._replacements import Replacement, replacements
from commutes.robustness._worst import Worst
from commutes.stats import Answer, gate, show

# Fewer combinations than this are no multiverse.
LEAST = 6


def multiverse(case: Case) -> Outcome:
    """The worst cell under every metric and replacement, and at every position and template that was declared.

    A combination keeps the verdict when its worst cell clears the claim's target. The share that does is gated: shown
    to keep it below, not shown to lose it above.

    See Towards Best Practices of Activation Patching in Language Models: Metrics and Methods, arXiv 2309.16042.
    """
    output = case.test.algorithm.domain(case.test.algorithm.output_variable)
    if not isinstance(output, Finite):
        reason = "the output is a number: it is compared within its tolerance, and has no strata"
        return Outcome(Answer.VACUOUS, reason, reason=reason)
    plan = _planned(case)
    count = sum(len(universe.metrics) * len(universe.replacements) for universe in plan)
    left_out = dict(item for universe in plan for item in universe.left_out.items())
    prepared = sum(universe.passes for universe in plan)
    if count < LEAST:
        words = "; ".join(f"{name}: {why}" for name, why in left_out.items())
        reason = f"there are {count} combinations, at least {LEAST} are needed; left out: {words}"
        figures = {"left_out": left_out}
        return Outcome(Answer.NOT_RUN, reason, figures, reason=reason, forward_passes=prepared)
    found = [one for universe in plan for one in _run(universe)]
    answers = _answers(case, found, ALPHA)
    answer = gate(_bounds(answers), case.thresholds.multiverse)
    return Outcome(
        answer,
        _sentence(case, found, answers, left_out),
        _figures(case, found, answers, left_out),
        n_to_decide=_needed(case, found, answers) if answer is Answer.INCONCLUSIVE else None,
        forward_passes=prepared + sum(len(universe.replacements) for universe in plan) * len(case.test),
        refuted_at=lambda alpha: (
            gate(_bounds(_answers(case, found, alpha)), case.thresholds.multiverse) is Answer.REFUTED
        ),
    )


@dataclass(frozen=True, eq=False)
class Universe:
    """One place and template, with the metrics and replacements that there are for it."""

    name: str
    case: Case
    metrics: tuple[Metric, ...]
    replacements: tuple[Replacement, ...]
    left_out: dict[str, str]
    passes: int


def _planned(case: Case) -> list[Universe]:
    """Everything that is decided before any swap is run."""
    found = []
    for name, own in [("", case), *_variants(case)]:
        by, put = metrics(own), replacements(own)
        passes = by.passes + put.passes + (len(case.test.ids) if name else 0)
        left_out = {f"{k} at {name}" if name else k: why for k, why in (by.left_out | put.left_out).items()}
        found.append(Universe(name, own, by.metrics, put.replacements, left_out, passes))
    return found


def _variants(case: Case) -> Iterator[tuple[str, Case]]:
    for name, alignment in case.declared.variants.items():
        yield name, replace(case, alignment=alignment, bench=bench(alignment, case.test))


@dataclass(frozen=True, eq=False)
class Combination:
    """What one metric says of one replacement at one place."""

    metric: str
    replacement: str
    variant: str
    gated: Gated

    @property
    def name(self) -> str:
        """In words."""
        return f"{self.metric} with {self.replacement}" + (f" at {self.variant}" if self.variant else "")


def _run(universe: Universe) -> Iterator[Combination]:
    """Every replacement once, its logits read by every metric."""
    case, pairs = universe.case, universe.case.test
    maps = case.alignment.featurizers
    for put in universe.replacements:
        parts: list[list[np.ndarray]] = [[] for _ in universe.metrics]
        start = 0
        for logits in case.bench.edited(maps, source=put.source, change=put.change):
            own = slice(start, start + len(logits))
            start = own.stop
            for found, metric in zip(parts, universe.metrics, strict=True):
                found.append(metric.hits(logits, own))
        members = np.concatenate([pairs.base[:, None], put.source], axis=1)
        for metric, found in zip(universe.metrics, parts, strict=True):
            usable = metric.usable & put.usable
            cells = gated(np.concatenate(found), pairs, members=members, usable=usable)
            yield Combination(metric.name, put.name, universe.name, cells)


def _answers(case: Case, found: Sequence[Combination], alpha: float) -> list[Answer]:
    """Of every combination; any of them may refute, so that each has its share of the error."""
    target = case.thresholds.target
    return [one.gated.answer(target, alpha=alpha, family=len(found)) for one in found]


def _bounds(answers: Sequence[Answer]) -> tuple[float, float]:
    """The share that is shown to keep the verdict, and the share that is not shown to lose it."""
    kept, lost = (sum(a is word for a in answers) for word in (Answer.SUPPORTED, Answer.REFUTED))
    return kept / len(answers), 1 - lost / len(answers)


def _worst(found: Sequence[Combination]) -> tuple[Combination, Worst] | None:
    rated = [(one, worst) for one in found if (worst := one.gated.worst()) is not None]
    return min(rated, key=lambda pair: (pair[1].rate.rate, pair[1].lower), default=None)


def _sentence(
    case: Case, found: Sequence[Combination], answers: Sequence[Answer], left_out: dict[str, str]
) -> str:
    kept = sum(answer is Answer.SUPPORTED for answer in answers)
    words = (
        f"{kept} of {len(found)} combinations clear {show(case.thresholds.target)} in their worst cell, at least"
        f" {show(case.thresholds.multiverse)} of them must"
    )
    worst = _worst(found)
    if worst is not None:
        combination, cell = worst
        words += (
            f"; the worst, {combination.name}: {cell.name} {show(cell.rate.rate)},"
            f" bounds [{show(cell.lower)}, {show(cell.upper)}]"
        )
    return words + f"; left out: {', '.join(left_out)}"


def _figures(
    case: Case, found: Sequence[Combination], answers: Sequence[Answer], left_out: dict[str, str]
) -> dict[str, Any]:
    rows = []
    for one, answer in zip(found, answers, strict=True):
        worst = one.gated.worst()
        rows.append(
            {
                "metric": one.metric,
                "replacement": one.replacement,
                "variant": one.variant or None,
                "answer": str(answer.value),
                "cell": None if worst is None else worst.name,
                "rate": None if worst is None else worst.rate.as_dict(),
                "lower": None if worst is None else worst.lower,
                "upper": None if worst is None else worst.upper,
                "cells": len(one.gated.parts),
                "ungated": list(one.gated.ungated),
            }
        )
    shares = _bounds(answers)
    return {
        "combinations": rows,
        "kept": shares[0],
        "not_lost": shares[1],
        "least": case.thresholds.multiverse,
        "target": case.thresholds.target,
        "left_out": left_out,
    }


def _needed(case: Case, found: Sequence[Combination], answers: Sequence[Answer]) -> int | None:
    """The fewest pairs in all by which so many combinations would be decided that the share is; None if not known."""
    target, pairs = case.thresholds.target, case.test
    needed: dict[int, tuple[int, Answer]] = {}
    for number, (one, answer) in enumerate(zip(found, answers, strict=True)):
        worst, shared = one.gated.worst(), one.gated.worst(ALPHA / len(found))
        if worst is None or shared is None or one.gated.ungated:
            continue
        value = worst.rate.rate
        n = pairs_needed(
            answer, target, (value, worst.lower, shared.upper), len(pairs), complete=pairs.complete
        )
        if n is not None:
            needed[number] = n, Answer.SUPPORTED if value > target else Answer.REFUTED
    for n in sorted({own for own, _ in needed.values()}):
        then = [
            needed[i][1] if i in needed and needed[i][0] <= n else answer for i, answer in enumerate(answers)
        ]
        if gate(_bounds(then), case.thresholds.multiverse) is not Answer.INCONCLUSIVE:
            return n
    return None

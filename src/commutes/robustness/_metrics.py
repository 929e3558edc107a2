"""Ways to say from the logits whether a swap gave the expected answer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from commutes.evaluation import Bench, answer_scores, clean_logits
from commutes.robustness._case import Case
from commutes.stats import show

ARGMAX = "argmax"
AMONG = "argmax among the candidates"
OVER = "margin over the base's answer"
HALF = "half the natural margin"

# Of more pairs than this something is missing that a metric or a replacement needs: it is then left out.
SPARED = 0.20


@dataclass(frozen=True, eq=False)
class Metric:
    """One way to score pairs."""

    name: str
    hits: Callable[[torch.Tensor, slice], np.ndarray]
    """From the logits of some pairs, and their places, to whether each is as expected."""
    usable: np.ndarray
    """Which pairs it says something about.  # shape: (n,)"""


@dataclass(frozen=True, eq=False)
class Metrics:
    """The metrics that there are for a claim."""

    metrics: tuple[Metric, ...]
    left_out: dict[str, str]
    """By name, why there is no such metric here."""
    passes: int
    """Inputs that the network was run on to find what is natural."""


def metrics(case: Case) -> Metrics:
    """The metrics that can differ on these pairs. All but the argmax are about pairs whose answer must change.

    With two answers a margin above 0 is the argmax itself, and no second metric.
    """
    bench, pairs = case.bench, case.test
    answers, everything = bench.answers, np.ones(len(case.test), bool)
    found = [Metric(ARGMAX, _decoded(bench), everything)]
    left_out: dict[str, str] = {}
    if answers.spelling is None:
        words = "the network has a decode= of its own, and no score for each answer"
        return Metrics(tuple(found), dict.fromkeys((OVER, HALF), words), 0)
    if bench.unedited.among is not None:
        found.append(Metric(AMONG, _among(bench), everything))
    if len(answers.spelling) > 2:
        found.append(Metric(OVER, _above(bench, np.zeros(len(pairs)), strictly=True), pairs.effective))
    natural, passes = _natural_margins(case)
    known = pairs.effective & ~np.isnan(natural)
    missing = 1 - known.sum() / max(1, pairs.effective.sum())
    if missing > SPARED:
        left_out[HALF] = f"for {show(missing)} of effective pairs no unedited run gives the expected answer"
    else:
        found.append(Metric(HALF, _above(bench, natural / 2, strictly=False), known))
    return Metrics(tuple(found), left_out, passes)


def _decoded(bench: Bench) -> Callable[[torch.Tensor, slice], np.ndarray]:
    return lambda logits, own: bench.answers.match(bench.answers.decode(logits), bench.pairs.expected[own])


def _among(bench: Bench) -> Callable[[torch.Tensor, slice], np.ndarray]:
    def hits(logits: torch.Tensor, own: slice) -> np.ndarray:
        found = bench.answers.among(logits)
        assert found is not None
        return bench.answers.match(found, bench.pairs.expected[own])

    return hits


def _above(bench: Bench, least: np.ndarray, *, strictly: bool) -> Callable[[torch.Tensor, slice], np.ndarray]:
    """Whether the margin of the expected answer over the base's reaches what is asked of each pair."""

    def hits(logits: torch.Tensor, own: slice) -> np.ndarray:
        scores = scores_of(bench, logits)
        rows = np.arange(len(scores))
        margin = scores[rows, bench.pairs.expected[own]] - scores[rows, bench.pairs.base_answer[own]]
        return margin > least[own] if strictly else margin >= least[own]

    return hits


def scores_of(bench: Bench, logits: torch.Tensor) -> np.ndarray:
    """The score of every answer.  # shape: (n, answers)"""
    assert bench.answers.spelling is not None
    spelling = torch.from_numpy(bench.answers.spelling).to(logits.device)
    return answer_scores(logits, spelling).double().cpu().numpy()


def _natural_margins(case: Case) -> tuple[np.ndarray, int]:
    """Median margin of each pair's expected answer over its base's in unedited runs that rightly give the former.

    Returns:
        (n,), nan where there is no such run; and how many inputs were run.
    """
    bench, pairs = case.bench, case.test
    runs = clean_logits(case.alignment.network, bench.prepared.inputs, budget=bench.room)
    scores = np.concatenate([scores_of(bench, logits) for logits in runs])
    right = bench.clean == pairs.answers
    wanted = np.stack([pairs.expected, pairs.base_answer], axis=1)
    kinds, kind = np.unique(wanted, axis=0, return_inverse=True)
    margins = np.full(len(kinds), np.nan)
    for number, (after, before) in enumerate(kinds):
        rows = right & (pairs.answers == after)
        if rows.any():
            margins[number] = np.median(scores[rows, after] - scores[rows, before])
    return margins[kind.reshape(-1)], len(scores)

"""A4: does a swap move the margin between the answers as far as a natural input does?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch.nn.functional import log_softmax

from commutes.counterfactuals import Nearest, nearest_inputs
from commutes.engine import BUDGET
from commutes.evaluation import answer_scores, clean_logits, fed_alike
from commutes.network import Inputs
from commutes.robustness._case import ALPHA, Case, Outcome, pairs_needed
from commutes.robustness._worst import Part, Worst, highest, some, weakest
from commutes.stats import Answer, gate, show

# What counts as recovered; and of which gaps too little can be recovered to say how much it was.
LOW, HIGH, SMALL = 0.80, 1.25, 0.05
# Of a swapped set that loses more of its effective pairs than this, the rest says too little.
MOST_DROPPED = 0.20
# Gaps that are equal but for rounding are not told apart by a quantile of them, nor is a shift of that size one.
ROUNDING = 1e-4
# Pairs outside that are written down, for whoever wants to see them.
SHOWN = 5


def margin(case: Case) -> Outcome:
    """Share of effective pairs whose margin is not recovered: (m_patched - m_base) / (m_c - m_base) outside [.8, 1.25].

    m is the expected answer's logit minus that of the base's answer, m_c that of a natural input which has by itself
    what the interchange gives the base. The worst swapped set decides.

    See Towards Best Practices of Activation Patching in Language Models: Metrics and Methods, arXiv 2309.16042.
    """
    if case.bench.answers.spelling is None:
        return _vacuous("a custom decode= has no logit for each answer")
    effective = np.nonzero(case.test.effective)[0]
    if not len(effective):
        return _vacuous("no answer has to change")
    seen = np.union1d(case.alignment.fitted_ids, case.alignment.selected_ids)
    avoid = None if case.test.complete else seen
    nearest = nearest_inputs(case.test, effective, seed=case.seed, avoid=avoid)
    rows = effective[nearest.row >= 0]
    if not len(rows):
        return _vacuous("no effective pair has a natural input with the swapped values and the base's others")
    found = _measured(case, rows, nearest, nearest.row[nearest.row >= 0])
    return _judged(case, effective, nearest, found)


def _vacuous(reason: str) -> Outcome:
    return Outcome(Answer.VACUOUS, "margins were not compared", reason=reason)


@dataclass(frozen=True, eq=False)
class _Measured:
    """Margins of pairs with a natural input, and what stands beside them; a number per pair unless said otherwise."""

    rows: np.ndarray
    gap: np.ndarray
    """m_c - m_base."""
    change: np.ndarray
    """m_patched - m_base."""
    divergence: np.ndarray
    """KL(natural || patched) over everything that the network can answer, in nats."""
    probability: np.ndarray
    """Of the expected answer after the swap, and in the natural run.  # shape: (n, 2)"""
    agree: np.ndarray
    """Whether the likeliest answer is the same in both."""
    members: np.ndarray
    """The inputs of each pair and the natural one, numbered together."""
    passes: int

    @property
    def recovered(self) -> np.ndarray:
        """The share of the gap that the swap makes up for; infinite where there is no gap."""
        with np.errstate(divide="ignore", invalid="ignore"):
            return self.change / self.gap

    @property
    def outside(self) -> np.ndarray:
        """Where the gap is not made up for, or exceeded."""
        return ~((self.recovered >= LOW) & (self.recovered <= HIGH))


def _measured(case: Case, rows: np.ndarray, nearest: Nearest, natural: np.ndarray) -> _Measured:
    """Patched, clean and natural margins of these pairs, each of which has this natural input."""
    pairs, network = case.test, case.bench.prepared.network
    inputs = network.encode(pairs.algorithm.arrays(nearest.inputs))
    spelling = torch.from_numpy(_spelling(case)).to(network.device)
    wanted, before = (torch.from_numpy(a[rows]) for a in (pairs.expected, pairs.base_answer))
    clean = _clean_scores(case, pairs.base[rows])
    start = _margin(clean, wanted, before)
    parts: list[torch.Tensor] = []
    place = 0
    for patched in case.bench.edited(case.alignment.featurizers, rows=rows):
        own = slice(place, place + len(patched))
        beside = _natural(case, inputs, natural[own], pairs.base[rows[own]])
        scores = [answer_scores(logits, spelling).double().cpu() for logits in (beside, patched)]
        margins = [_margin(score, wanted[own], before[own]) - start[own] for score in scores]
        parts.append(torch.stack([*margins, *_beside(beside, patched, spelling[wanted[own]])], dim=1))
        place = own.stop
    gap, change, divergence, agree, after, natural_probability = torch.cat(parts).numpy().T
    return _Measured(
        rows,
        gap,
        change,
        divergence,
        np.stack([after, natural_probability], axis=1),
        agree > 0,
        _members(case, rows, nearest.ids[natural]),
        2 * len(rows) + len(np.unique(pairs.base[rows])),
    )


def _spelling(case: Case) -> np.ndarray:
    spelling = case.bench.answers.spelling
    assert spelling is not None
    return spelling


def _margin(scores: torch.Tensor, wanted: torch.Tensor, before: torch.Tensor) -> torch.Tensor:
    rows = torch.arange(len(scores))
    return scores[rows, wanted] - scores[rows, before]


def _clean_scores(case: Case, base: np.ndarray) -> torch.Tensor:
    """Scores of every answer in the clean runs of these inputs.  # shape: (n, answers)"""
    prepared = case.bench.prepared
    spelling = torch.from_numpy(_spelling(case)).to(prepared.network.device)
    once, again = np.unique(base, return_inverse=True)
    runs = clean_logits(
        prepared.network, prepared.inputs.rows(torch.from_numpy(once)), budget=case.bench.room
    )
    found = torch.cat([answer_scores(logits, spelling).double().cpu() for logits in runs])
    return found[torch.from_numpy(again.reshape(-1))]


def _natural(case: Case, inputs: Inputs, which: np.ndarray, base: np.ndarray) -> torch.Tensor:
    """Logits of natural inputs, fed the answer's tokens that the bases are fed."""
    prepared = case.bench.prepared
    own = inputs.rows(torch.from_numpy(which))
    alike = fed_alike(prepared.network, own, prepared.inputs.rows(torch.from_numpy(base)))
    return torch.cat(list(clean_logits(prepared.network, alike, budget=min(case.bench.room, BUDGET))))


def _beside(natural: torch.Tensor, patched: torch.Tensor, spelt: torch.Tensor) -> list[torch.Tensor]:
    """KL, agreement of the likeliest answers, and the expected answer's probability after the swap and by nature."""
    p, q = (log_softmax(_exact(x.unsqueeze(1) if x.ndim == 2 else x), dim=-1) for x in (natural, patched))
    divergence = (p.exp() * (p - q)).sum(dim=(1, 2))
    agree = (p.argmax(dim=-1) == q.argmax(dim=-1)).all(dim=1)
    # Of an answer of several tokens the probability is the product over them.
    likely = [x.gather(2, spelt.unsqueeze(2)).sum(dim=(1, 2)).exp() for x in (q, p)]
    return [x.double().cpu() for x in (divergence, agree, *likely)]


def _exact(logits: torch.Tensor) -> torch.Tensor:
    """In half precision sums over a vocabulary mean little."""
    return logits.to(torch.promote_types(logits.dtype, torch.float32))


def _members(case: Case, rows: np.ndarray, ids: np.ndarray) -> np.ndarray:
    """The inputs of every pair beside its natural one, an input having one number whatever its role."""
    known = case.test.ids
    number = np.unique(np.concatenate([known, ids]), return_inverse=True)[1].reshape(-1)
    own = case.test.members[rows]
    return np.concatenate([np.where(own >= 0, number[own], -1), number[len(known) :, None]], axis=1)


def _judged(case: Case, effective: np.ndarray, nearest: Nearest, found: _Measured) -> Outcome:
    pairs, most = case.test, case.thresholds.margin
    sets = _sets(case, effective, found)
    thin = [f"{one.name}: {one.dropped}" for one in sets if one.thin]
    parts = [one.part for one in sets if not one.thin]
    kept = np.concatenate([one.kept for one in sets])
    beside = _figures(case, nearest, found, kept) if len(kept) else {}
    beside |= {
        "most": most,
        "seed": case.seed,
        "sets": {one.name: one.record() for one in sets},
    }
    reason = "more than a fifth of the effective pairs had to be left out: " + some(thin)
    if not parts:
        return replace(_vacuous(reason), figures=beside, forward_passes=found.passes)

    def worst(alpha: float) -> Worst:
        return highest(parts, alpha)

    reached = worst(ALPHA)
    measured = gate(reached.bounds, most, side="<")
    answer = weakest([measured, Answer.VACUOUS] if thin else [measured])
    placebo = _placebo(case, beside["gap"])
    return Outcome(
        answer,
        _sentence(reached, most, sets, beside, placebo),
        beside | {"placebo": placebo, "worst": reached.name, "lower": reached.lower, "upper": reached.upper},
        n_to_decide=pairs_needed(answer, most, reached.reached, len(pairs), complete=pairs.complete),
        reason=reason if answer is Answer.VACUOUS else None,
        forward_passes=found.passes + placebo["n"],
        refuted_at=lambda alpha: gate(worst(alpha).bounds, most, side="<") is Answer.REFUTED,
    )


@dataclass(frozen=True, eq=False)
class _Set:
    """One swapped set."""

    name: str
    effective: int
    natural: int
    """Effective pairs with a natural input."""
    kept: np.ndarray
    """Those of them with a clear gap, as places among what was measured."""
    part: Part
    """Whether each of these is outside."""
    median: float | None

    @property
    def thin(self) -> bool:
        """Whether too many pairs had to be left out."""
        return self.effective - len(self.kept) > MOST_DROPPED * self.effective

    @property
    def dropped(self) -> str:
        """How many pairs were left out, and why."""
        return _dropped(self.effective, self.natural, len(self.kept))

    def record(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "effective": self.effective,
            "no_natural_input": self.effective - self.natural,
            "small_gap": self.natural - len(self.kept),
            "outside": self.part.rate().as_dict(),
            "median": self.median,
        }


def _sets(case: Case, effective: np.ndarray, found: _Measured) -> list[_Set]:
    """Every swapped set that has effective pairs."""
    pairs, sets = case.test, []
    for index, swap in enumerate(pairs.swaps):
        asked = int((pairs.swap[effective] == index).sum())
        mine = np.nonzero(pairs.swap[found.rows] == index)[0]
        kept = mine[_clear(found.gap[mine])]
        part = Part(swap.label, found.outside[kept], found.members[kept], pairs.complete)
        median = float(np.median(found.recovered[kept])) if len(kept) else None
        if asked:
            sets.append(_Set(swap.label, asked, len(mine), kept, part, median))
    return sets


def _clear(gap: np.ndarray) -> np.ndarray:
    """Where a gap is large enough to say how much of it is made up for."""
    if not len(gap):
        return np.zeros(0, bool)
    return (gap > 0) & (gap >= float(np.quantile(gap, SMALL)) * (1 - ROUNDING))


def _dropped(effective: int, natural: int, kept: int) -> str:
    if effective == kept:
        return f"none of {effective:,}"
    return (
        f"{effective - kept:,} of {effective:,} ({effective - natural:,} without a natural input,"
        f" {natural - kept:,} with too small a gap)"
    )


def _sentence(
    reached: Worst, most: float, sets: Sequence[_Set], beside: Mapping[str, Any], placebo: Mapping[str, Any]
) -> str:
    of = f" of {reached.name}, the worst of {reached.parts} sets" if reached.parts > 1 else ""
    totals = [sum(n) for n in zip(*((s.effective, s.natural, len(s.kept)) for s in sets), strict=True)]
    words = (
        f"change of the margin outside [{show(LOW)}, {show(HIGH)}] of a natural input's in {reached.rate}{of},"
        f" below {show(most)} is asked for; pairs left out: {_dropped(*totals)}; the wrong way in"
        f" {show(beside['wrong_way'])}, same answer as the natural input in {show(beside['same_answer'])}, KL"
        f" {show(beside['divergence'])}, probability of the expected answer {show(beside['probability'])} against"
        f" {show(beside['natural_probability'])}"
    )
    if placebo["n"]:
        words += f"; where the answer must stay, up to {show(placebo['most'])} of a gap in 95 %"
    return words


def _figures(case: Case, nearest: Nearest, found: _Measured, kept: np.ndarray) -> dict[str, Any]:
    """What stands beside the gate, over all pairs with a clear gap."""
    recovered, outside = found.recovered[kept], found.outside[kept]
    natural = np.nonzero(nearest.row >= 0)[0][kept]
    order = np.argsort(-np.abs(recovered - 1), kind="stable")
    return {
        "median": float(np.median(recovered)),
        "mean": float(recovered.mean()),
        "wrong_way": float((found.recovered[kept] < -ROUNDING).mean()),
        # By rounding a divergence of nothing may fall below 0.
        "divergence": max(0.0, float(found.divergence[kept].mean())),
        "probability": float(found.probability[kept, 0].mean()),
        "natural_probability": float(found.probability[kept, 1].mean()),
        "same_answer": float(found.agree[kept].mean()),
        "gap": float(np.median(found.gap[kept])),
        "inputs_moved": float(nearest.moved[natural].mean()),
        "furthest": [
            {
                "pair": int(found.rows[kept[i]]),
                "natural": f"{int(nearest.ids[nearest.row[natural[i]]]):016x}",
                "recovered": float(recovered[i]),
            }
            for i in order[:SHOWN]
            if outside[i]
        ],
    }


def _placebo(case: Case, unit: float) -> dict[str, Any]:
    """How far the margin of the base's answer over its second best moves where the answer must stay.

    In units of the median gap of effective pairs.
    """
    rows = np.nonzero(~case.test.effective)[0]
    if not len(rows):
        return {"n": 0, "median": None, "most": None}
    clean = _clean_scores(case, case.test.base[rows])
    best = torch.from_numpy(case.test.base_answer[rows])
    others = clean.clone()
    others[torch.arange(len(rows)), best] = -torch.inf
    second = others.argmax(dim=1)
    spelling = torch.from_numpy(_spelling(case)).to(case.bench.prepared.network.device)
    runs = case.bench.edited(case.alignment.featurizers, rows=rows)
    patched = torch.cat([answer_scores(logits, spelling).double().cpu() for logits in runs])
    moved = (_margin(patched, best, second) - _margin(clean, best, second)).abs().numpy() / unit
    return {"n": len(rows), "median": float(np.median(moved)), "most": float(np.quantile(moved, 0.95))}

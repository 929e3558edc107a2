"""C2: does it hold when several variables are swapped at once, each from its own source?"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np

from commutes.algorithm import Finite, Variable
from commutes.counterfactuals import GATED, Counterfactuals, best_constant, census, swapped_within
from commutes.errors import DataError
from commutes.evaluation import bench, cell_rows, is_effective, is_gated
from commutes.robustness._case import ALPHA, NUMBER, Case, Outcome, pairs_needed
from commutes.robustness._worst import Part, Worst, lowest, some, weakest
from commutes.stats import Answer, gate, show

# Sets that are tried; of more variables so many are drawn.
MOST = 16
# Pairs of all sets together of which a complete domain is run completely; sets beyond are sampled.
COMPLETE = 200_000
# Pairs per stratum, a few above the fewest that can be gated, and the most strata that a set has.
EACH, STRATA = 64, 8
# A stratum of less weight may be missing: it hardly ever comes up, and few pairs of it can be found.
RARE = 1e-3


@dataclass(frozen=True, eq=False)
class _Joint:
    """One set of variables, measured."""

    pairs: Counterfactuals
    parts: list[Part]
    """Its gated strata."""
    few: list[str]
    """Strata in which the answer must change, that are not rare and have too few pairs or inputs."""

    def record(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "n": len(self.pairs),
            "distinct_inputs": len(self.pairs.ids),
            "complete": self.pairs.complete,
            "strata": {part.name: part.rate().as_dict() for part in self.parts},
        }


def joint(case: Case) -> Outcome:
    """The worst gated stratum of any set of at least two aligned variables, each taken from a source of its own.

    Pairs are drawn anew, from inputs of the test part alone.

    See Causal Abstraction: A Theoretical Foundation for Mechanistic Interpretability, arXiv 2301.04709.
    """
    algorithm, target = case.test.algorithm, case.thresholds.target
    if not isinstance(algorithm.domain(algorithm.output_variable), Finite):
        return _vacuous(NUMBER)
    if len(case.alignment.variables) < 2:
        return _vacuous("one variable is aligned: nothing can be swapped with it")
    sets, every = _sets(case)
    found: dict[str, _Joint] = {}
    out: dict[str, str] = {}
    room = COMPLETE
    for number, variables in enumerate(sets):
        label = "+".join(v.name for v in variables)
        drawn = _drawn(case, variables, number, room)
        if isinstance(drawn, str):
            out[label] = drawn
        else:
            found[label] = _measured(case, drawn)
            room -= len(drawn) * drawn.complete
    figures = {
        "sets": {label: one.record() for label, one in found.items()},
        "left_out": out,
        "possible_sets": every,
        "target": target,
        "seed": case.seed,
    }
    passes = sum(len(one.pairs) + len(one.pairs.ids) for one in found.values())
    if not found:
        reasons = some([f"{label}: {why}" for label, why in out.items()])
        return _vacuous(f"no set can be tested: {reasons}")
    return _judged(case, found, figures, passes)


def _vacuous(reason: str) -> Outcome:
    return Outcome(Answer.VACUOUS, "nothing was swapped jointly", reason=reason)


def _sets(case: Case) -> tuple[list[tuple[Variable, ...]], int]:
    """All sets of two and more aligned variables, or the largest and some of the others; and how many there are."""
    aligned = [v for v in case.test.algorithm.variables if v in case.alignment.variables]
    every = 2 ** len(aligned) - len(aligned) - 1
    if every <= MOST:
        return [s for size in range(2, len(aligned) + 1) for s in combinations(aligned, size)], every
    rng = np.random.default_rng([case.seed, 31])
    chosen = {tuple(aligned)}
    while len(chosen) < MOST:
        within = rng.random(len(aligned)) < 0.5
        if within.sum() > 1:
            chosen.add(tuple(v for v, taken in zip(aligned, within, strict=True) if taken))
    place = {v: i for i, v in enumerate(aligned)}
    return sorted(chosen, key=lambda one: (len(one), [place[v] for v in one])), every


def _drawn(case: Case, variables: tuple[Variable, ...], number: int, room: int) -> Counterfactuals | str:
    """Pairs that swap these at once, or why they would say nothing."""
    test = case.test
    try:
        if test.complete and (test.algorithm.input_count or 0) ** (1 + len(variables)) <= room:
            pairs = census(test.algorithm, swap=[set(variables)])
        else:
            n = EACH * STRATA if test.complete else max(len(test) // len(test.swaps), EACH * STRATA)
            seed = int(np.random.default_rng([case.seed, 32, number]).integers(2**31))
            pairs = swapped_within(test, variables, n, seed=seed)
    except DataError as error:
        return error.what
    if not test.complete:
        # Undivided test data have no part of their own to be drawn from: what the claim was made on is left out.
        seen = np.isin(pairs.ids, np.union1d(case.alignment.fitted_ids, case.alignment.selected_ids))
        kept = np.nonzero(~(seen[pairs.members] & (pairs.members >= 0)).any(axis=1))[0]
        if not len(kept):
            return "the fit or the selection has seen inputs of all pairs"
        pairs = pairs.subset(kept)
    if _few(case, pairs):
        return pairs
    strata = [rows for *_, rows in cell_rows(pairs) if _enough(case, pairs, rows)]
    rivals = _not_excluded(pairs, strata, case.thresholds.target)
    return f"no gated stratum excludes {', '.join(rivals)}" if rivals else pairs


def _few(case: Case, pairs: Counterfactuals) -> list[str]:
    """Strata in which the answer must change, that are not rare and have too few pairs or inputs."""
    return [
        f"{label} · {stratum}"
        for label, stratum, rows in cell_rows(pairs)
        if is_effective(stratum) and pairs.weights[label, stratum] >= RARE and not _enough(case, pairs, rows)
    ]


def _enough(case: Case, pairs: Counterfactuals, rows: np.ndarray) -> bool:
    """Whether a stratum can be gated. Of a complete domain the inputs are no sample, however few there are."""
    return len(rows) >= (1 if pairs.complete else GATED) if case.test.complete else is_gated(pairs, rows)


def _not_excluded(pairs: Counterfactuals, strata: list[np.ndarray], target: float) -> list[str]:
    """Trivial rivals that reach the target on all these strata."""
    rivals = {"do nothing": ~pairs.effective, "best constant": best_constant(pairs)}
    for slot in range(pairs.source.shape[1]):
        rivals[f"whole source {slot + 1}"] = pairs.expected == pairs.source_answer[:, slot]
    return [name for name, hits in rivals.items() if all(hits[rows].mean() >= target for rows in strata)]


def _measured(case: Case, pairs: Counterfactuals) -> _Joint:
    hits = bench(case.alignment, pairs, budget=2 * case.bench.room).hits(case.alignment.featurizers)
    parts = []
    for label, stratum, rows in cell_rows(pairs):
        if _enough(case, pairs, rows):
            # Pairs that are drawn from a complete domain are independent draws from all of its pairs.
            members = None if case.test.complete else pairs.members[rows]
            parts.append(Part(f"{label} · {stratum}", hits[rows], members, pairs.complete))
    return _Joint(pairs, parts, _few(case, pairs))


def _judged(case: Case, found: dict[str, _Joint], figures: dict[str, Any], passes: int) -> Outcome:
    target = case.thresholds.target
    parts = [part for one in found.values() for part in one.parts]
    few = [name for one in found.values() for name in one.few]
    n = sum(len(one.pairs) for one in found.values())
    if not parts:
        words = f"none of {len(found)} joint swaps has a stratum with enough pairs and inputs to be gated"
        return Outcome(Answer.INCONCLUSIVE, words, figures, n_to_decide=None, forward_passes=passes)

    def worst(alpha: float) -> Worst:
        return lowest(parts, alpha)

    reached = worst(ALPHA)
    measured = gate(reached.bounds, target)
    answer = weakest([measured, Answer.INCONCLUSIVE] if few else [measured])
    of = (
        ""
        if figures["possible_sets"] <= MOST
        else f" {MOST} of {figures['possible_sets']:,} sets were drawn;"
    )
    whose = "the complete domain" if case.test.complete else "the test part's own inputs"
    words = (
        f"worst of {reached.parts} strata of {len(found)} joint swap{'s' * (len(found) > 1)} is {reached.name}:"
        f" {reached.rate}; bounds [{show(reached.lower)}, {show(reached.upper)}], target {show(target)};{of}"
        f" {n:,} pairs of {whose}"
    )
    if few and answer is Answer.INCONCLUSIVE:
        words += f"; possible and effective, but with too few pairs or inputs to gate: {some(few, ', ')}"
    if figures["left_out"]:
        words += "; left out: " + some([f"{label}: {why}" for label, why in figures["left_out"].items()])
    complete = all(one.pairs.complete for one in found.values())
    # Sets are as large as those of the test part, so that this needs so many times more pairs there.
    each = pairs_needed(
        answer, target, reached.reached, max(len(j.pairs) for j in found.values()), complete=complete
    )
    return Outcome(
        answer,
        words,
        figures | {"worst": reached.name, "lower": reached.lower, "upper": reached.upper},
        n_to_decide=None if each is None else each * len(case.test.swaps),
        forward_passes=passes,
        refuted_at=lambda alpha: gate(worst(alpha).bounds, target) is Answer.REFUTED,
    )

"""E3: do other fits find the same variable, so that one edits and another reads?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from commutes.alignment import Alignment
from commutes.engine import Featurizer
from commutes.robustness._case import Case, Outcome, pairs_needed
from commutes.robustness._overlap import PAIRS, read_overlaps, whole_overlap
from commutes.robustness._refits import NoMapError, Refit
from commutes.robustness._worst import Part, lowest
from commutes.stats import Answer, gate, show
from commutes.training import ClosedForm

# Fewer refits than this do not make a distribution.
LEAST = 5


def fitting_seeds(case: Case) -> Outcome:
    """Cross-swap between the claim and refits from other seeds: what one fit edits, another must read as the same.

    Of a pair (i, j) of fits the base is edited through V_i with the source's coordinates, and of that state the
    coordinates in V_j, and nothing else, are put into the base. A pair of inputs counts where both this and the swap
    through V_i alone give the algorithm's answer, among those whose answer must change. The worst ordered pair of the
    claim's fit with a refit, and swapped set, decides. Agreement alone would pass maps that move nothing, and the
    overlap of subspaces fails where two of them share the variable and differ in what nothing reads.

    See Underspecification Presents Challenges for Credibility in Modern Machine Learning, arXiv 2011.03395.
    """
    least, pairs = case.thresholds.cross_swap, case.test
    if not any(group.features.learnt for group in case.alignment.groups):
        sentence = "nothing was fitted: every seed gives the same coordinates"
        return Outcome(Answer.SUPPORTED, sentence, {"least": least, "fits": 1})
    reason = _not_run(case)
    if reason is not None:
        return Outcome(Answer.NOT_RUN, reason, reason=reason)
    rows = effective_rows(case)
    if not rows:
        reason = "no pair's answer must change"
        return Outcome(Answer.VACUOUS, reason, {"least": least}, reason=reason)
    try:
        refits = case.reseeded()
    except NoMapError as error:
        return Outcome(
            Answer.VACUOUS, "the closed form gives no map again", {"least": least}, reason=str(error)
        )
    fits = [case.alignment, *(refit.alignment for refit in refits)]
    right = {label: crossed(case, fits, own) for label, own in rows.items()}
    parts = _parts(case, right, rows)
    worst = lowest(list(parts))
    answer = gate(worst.bounds, least)
    overlaps = {label: _overlaps(case, fits, label, own) for label, own in rows.items()}
    alone = [min(float(found[i, i].mean()) for found in right.values()) for i in range(len(fits))]
    i, j, label = next(key for part, key in parts.items() if part.name == worst.name)
    figures = {
        "least": least,
        "fits": len(fits),
        "seeds": [fit.history.get("seed") for fit in fits],
        "worst": {"edited": i, "read": j, "swap": label, "rate": worst.rate.as_dict()},
        "lower": worst.lower,
        "upper": worst.upper,
        "cells": worst.parts,
        "alone": alone,
        "between_refits": _between(right),
        "cross_swap": {name: found.mean(axis=2).tolist() for name, found in right.items()},
        "overlap": overlaps,
    }
    return Outcome(
        answer,
        _sentence(case, figures, str(worst.rate)),
        figures,
        n_to_decide=pairs_needed(answer, least, worst.reached, len(pairs), complete=pairs.complete),
        forward_passes=_passes(refits, rows, len(fits)),
        refuted_at=lambda alpha: lowest(list(parts), alpha).upper < least,
    )


def _not_run(case: Case) -> str | None:
    if case.train is None:
        return "what the claim was fitted on is not known, so that it cannot be fitted again"
    if case.refits < LEAST:
        return f"{case.refits} refits were asked for; at least {LEAST} are needed"
    return None


def effective_rows(case: Case) -> dict[str, np.ndarray]:
    """By swapped set, the pairs whose answer must change; sets without any are left out."""
    pairs = case.test
    found = {
        swap.label: np.nonzero((pairs.swap == index) & pairs.effective)[0]
        for index, swap in enumerate(pairs.swaps)
    }
    return {label: rows for label, rows in found.items() if len(rows)}


@dataclass(frozen=True, eq=False)
class Crossed:
    """The state whose coordinates in one map are those that it has after an edit through another."""

    edits: Featurizer
    reads: Featurizer
    columns: torch.Tensor
    """Which coordinates belong to what is swapped.  # shape: (k,) bool"""

    def read(self, state: torch.Tensor, /) -> torch.Tensor:
        """Coordinates in the map that edits.  # (..., d) -> (..., k)"""
        return self.edits.read(state)

    def write(self, state: torch.Tensor, old: torch.Tensor, new: torch.Tensor, /) -> torch.Tensor:
        """The state with what the other map reads of the edited one."""
        edited = self.edits.write(state, old, new)
        before = self.reads.read(state)
        after = torch.where(self.columns, self.reads.read(edited), before)
        return self.reads.write(state, before, after)


def crossed(case: Case, fits: Sequence[Alignment], rows: np.ndarray) -> np.ndarray:
    """Whether pairs of one swapped set come out right, edited through one fit and read through another.

    Args:
        case: Whose network and test pairs are meant.
        fits: Maps of one family at the same sites.
        rows: Which pairs.

    Returns:
        By the fit that edits, the fit that reads and the pair, (fits, fits, n). The diagonal has the swap through
        that fit alone; elsewhere a pair counts only where that is right, too.
    """
    bench = case.bench
    # Of one swapped set all pairs swap the same coordinates.
    columns = [mask[int(rows[0])].any(dim=0) for mask in bench.masks]
    expected = bench.pairs.expected[rows]

    def right(maps: Sequence[Featurizer]) -> np.ndarray:
        found = [bench.answers.decode(logits) for logits in bench.edited(maps, rows=rows)]
        return bench.answers.match(np.concatenate(found), expected)

    alone = [right(fit.featurizers) for fit in fits]
    return np.stack(
        [
            np.stack(
                [
                    alone[i] if i == j else alone[i] & right(_crossed_maps(one, other, columns))
                    for j, other in enumerate(fits)
                ]
            )
            for i, one in enumerate(fits)
        ]
    )


def _crossed_maps(one: Alignment, other: Alignment, columns: Sequence[torch.Tensor]) -> list[Featurizer]:
    return [
        Crossed(edits, reads, own)
        for edits, reads, own in zip(one.featurizers, other.featurizers, columns, strict=True)
    ]


def _parts(
    case: Case, right: dict[str, np.ndarray], rows: dict[str, np.ndarray]
) -> dict[Part, tuple[int, int, str]]:
    """Every ordered pair of the claim's fit with another, and swapped set."""
    return {
        Part(f"{label} {i} {j}", found[i, j], case.test.members[rows[label]], case.test.complete): (
            i,
            j,
            label,
        )
        for label, found in right.items()
        for i in range(len(found))
        for j in range(len(found))
        if i != j and 0 in (i, j)
    }


def _between(right: dict[str, np.ndarray]) -> float:
    """The lowest rate of two refits: how precise the procedure is, whatever it finds."""
    return min(
        float(found[i, j].mean())
        for found in right.values()
        for i in range(1, len(found))
        for j in range(1, len(found))
        if i != j
    )


def _overlaps(case: Case, fits: Sequence[Alignment], label: str, rows: np.ndarray) -> dict[str, Any]:
    """The smallest overlap of two fits, in what is read and whole; None where it is not defined."""
    read = read_overlaps(case.bench, [fit.featurizers for fit in fits], rows)
    swap = next(swap for swap in case.test.swaps if swap.label == label)
    whole = [
        whole_overlap(one, other, variable)
        for variable in swap.variables
        for i, one in enumerate(fits)
        for other in fits[:i]
    ]
    known = [value for value in whole if value is not None]
    return {
        "read": None if read is None or np.isnan(read).any() else float(read.min()),
        "whole": min(known) if len(known) == len(whole) else None,
    }


def _sentence(case: Case, figures: dict[str, Any], rate: str) -> str:
    worst, least, alone = figures["worst"], figures["least"], figures["alone"]
    count = figures["fits"] - 1
    words = (
        f"{count} refits from other seeds; of {2 * count} ordered pairs with the claim's fit the worst, edited through"
        f" {_name(worst['edited'])} and read through {_name(worst['read'])}, gives the algorithm's answer for"
        f" {worst['swap']} in {rate}, at least {show(least)}; between refits {show(figures['between_refits'])} at least"
    )
    if min(alone) < case.thresholds.target:
        lowest_fit = alone.index(min(alone))
        words += f"; {_name(lowest_fit)} alone reaches {show(alone[lowest_fit])}"
    read = [found["read"] for found in figures["overlap"].values() if found["read"] is not None]
    if read:
        identified = "" if min(read) >= least else "subspace not identified: "
        words += f"; {identified}what is read of two fits overlaps by {show(min(read))} at least"
    if isinstance(case.settings, ClosedForm):
        words += "; computed maps depend on a seed little or not at all"
    return words


def _name(fit: int) -> str:
    return "the claim's fit" if fit == 0 else f"refit {fit}"


def _passes(refits: Sequence[Refit], rows: dict[str, np.ndarray], fits: int) -> int:
    """The fits and their own measurement, every fit and ordered pair on the effective pairs, and the gradients."""
    fitted = sum(len(refit.test) + refit.forward_passes for refit in refits)
    effective = sum(map(len, rows.values()))
    slopes = sum(min(len(own), PAIRS) for own in rows.values())
    return fitted + fits * fits * effective + (fits + 1) * slopes

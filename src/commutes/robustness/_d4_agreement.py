"""D4: when something upstream changes, does the network follow what its variables then say?"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from commutes.algorithm import Finite
from commutes.robustness._c7_redundancy import READS, copies, redundant, said_of
from commutes.robustness._case import Case, Outcome, pairs_needed
from commutes.robustness._perturbed import Perturbed, perturbed, unperturbed
from commutes.robustness._upstream import Nothing, upstream
from commutes.robustness._worst import Part, Worst, lowest
from commutes.stats import Answer, gate, rate, show
from commutes.training import left_open, way_around

LEAST, SHARE = 59, 0.05
"""States that must be left of those in which a variable says something else: so many, and such a share of them."""


def agreement(case: Case) -> Outcome:
    """How often the network answers as its decoded variables say, where they say something else than in the clean run.

    A random share of the units before the first site, drawn for every run, is taken from another input; the variables
    are decoded from the states that arrive, nothing is edited there, and the algorithm is run with what they say.
    States that are further from every value than clean ones are, or between two, say nothing and are left out.

    See Causal Abstraction: A Theoretical Foundation for Mechanistic Interpretability, arXiv 2301.04709.
    """
    why, spent = _without_power(case)
    if why is not None:
        return _vacuous("nothing was perturbed", why, spent)
    place = upstream(case)
    if isinstance(place, Nothing):
        return _vacuous("nothing was perturbed", place.reason, spent)
    before = unperturbed(case, place)
    name, reads = min(before.reads.items(), key=lambda pair: pair[1])
    if reads < READS:
        why = f"{name} reads in {show(reads)} of clean states, below {show(READS)}"
        return _vacuous("a variable cannot be decoded", why, spent + before.runs)
    found = perturbed(case, place, before)
    outcome = _outcome(case, found, spent + before.runs + len(found.base))
    return replace(outcome, figures={**outcome.figures, "reads": before.reads})


def _vacuous(sentence: str, why: str, passes: int) -> Outcome:
    return Outcome(Answer.VACUOUS, sentence, reason=why, forward_passes=passes)


def _without_power(case: Case) -> tuple[str | None, int]:
    """Why decoding under perturbation would say nothing, and the inputs that were run to know."""
    algorithm, variables = case.alignment.algorithm, case.alignment.variables
    path = way_around(case.alignment)
    if path:
        names = " and ".join(v.name for v in left_open(algorithm, variables))
        return f"{path} passes no aligned variable, so that they do not decide the answer: align {names}", 0
    numbers = [v.name for v in variables if not isinstance(algorithm.domain(v), Finite)]
    if numbers:
        return f"{numbers[0]} has no finite list of values to decode", 0
    known = copies(case)
    used, _ = redundant(case)
    return (said_of(used[0]) if used else None), known.passes


def _outcome(case: Case, found: Perturbed, passes: int) -> Outcome:
    share = case.thresholds.agreement
    least = share * found.clean
    figures: dict[str, Any] = {
        "clean": found.clean,
        "share": share,
        "least": least,
        "perturbed": {"place": found.place, "units": found.units, "runs": len(found.base)},
        "variables": {name: _record(found, name) for name in found.moved},
        "seed": case.seed,
    }
    parts = [
        Part(name, found.agrees[rows], found.members[rows])
        for name, rows in ((name, found.rows(name)) for name in found.moved)
        if rows.any()
    ]
    if not parts:
        why = next(
            filter(None, (_few(found, name) for name in found.moved)),
            "no state that is left says anything else",
        )
        return Outcome(Answer.VACUOUS, "no variable is moved", figures, reason=why, forward_passes=passes)
    worst = lowest(parts)
    answer, reason = _answered(case, found, worst, least)
    among = f", the worst of {worst.parts} variables" if worst.parts > 1 else ""
    dropped = 1 - found.near[np.any(list(found.moved.values()), axis=0)].mean()
    return Outcome(
        answer,
        f"where {worst.name} says something else under perturbation the network follows in {worst.rate}{among}; at"
        f" least {show(share)} of the clean {show(found.clean)} is asked for; {show(float(dropped))} of perturbed"
        " states say nothing and are left out",
        figures,
        n_to_decide=_needed(case, worst, least) if answer is Answer.INCONCLUSIVE else None,
        reason=reason,
        forward_passes=passes,
        refuted_at=lambda alpha: gate(lowest(parts, alpha).bounds, least) is Answer.REFUTED,
    )


def _answered(case: Case, found: Perturbed, worst: Worst, least: float) -> tuple[Answer, str | None]:
    """The answer, and why it has no power."""
    answer = gate(worst.bounds, least)
    if answer is Answer.REFUTED:
        doubt = _in_doubt(case)
        return (answer, None) if doubt is None else (Answer.VACUOUS, doubt)
    names = list(found.moved)
    weak = next(
        filter(None, (_few(found, n) or _weak(found, n, least) or _unused(case, n) for n in names)), None
    )
    if weak is not None:
        return Answer.VACUOUS, weak
    if min(int(found.rows(name).sum()) for name in names) < LEAST:
        return Answer.INCONCLUSIVE, None
    return answer, None


def _record(found: Perturbed, name: str) -> dict[str, Any]:
    rows = found.rows(name)
    missed = np.nonzero(rows & ~found.agrees)[0][:10]
    return {
        "agreement": rate(found.agrees[rows], found.members[rows]).as_dict(),
        "moved": int(found.moved[name].sum()),
        "left": int(rows.sum()),
        "clean_answer_right": rate(found.stays[rows], found.members[rows]).as_dict(),
        "same_outside": float(found.alike[name][rows].mean()) if name in found.alike and rows.any() else None,
        "missed": np.stack([found.base[missed], found.source[missed]], axis=1).tolist(),
    }


def _few(found: Perturbed, name: str) -> str | None:
    """Why too few states are left of those in which the variable says something else."""
    moved, left = int(found.moved[name].sum()), int(found.rows(name).sum())
    if not moved:
        return f"{name} never says something else under perturbation"
    if left < SHARE * moved:
        return (
            f"of {moved:,} states in which {name} says something else {left:,} are as near to a value as clean states"
            f" are, less than {show(SHARE)}"
        )
    return None


def _weak(found: Perturbed, name: str, least: float) -> str | None:
    """Why agreement says nothing about a variable."""
    rows = found.rows(name)
    if not rows.any():
        return None
    stays = float(found.stays[rows].mean())
    if stays >= least:
        return f"where {name} says something else the clean answer would be right in {show(stays)}, too"
    alike = float(found.alike[name][rows].mean()) if name in found.alike else 0.0
    if alike > least:
        return f"what lies outside says the same of {name} in {show(alike)}: nothing takes the two apart"
    return None


def _unused(case: Case, name: str) -> str | None:
    """Why the network may follow a variable that is not used where it is claimed."""
    rows = case.rows(name)
    rows = rows[case.test.effective[rows]]
    swaps = rate(case.evaluation.hits[rows], case.test.members[rows], census=case.test.complete)
    if swaps.upper >= case.thresholds.agreement:
        return None
    return (
        f"swaps of {name} alone give the expected answer in {swaps} of effective pairs: what the network follows is"
        " read before, or elsewhere"
    )


def _in_doubt(case: Case) -> str | None:
    """Why a failure may be nobody's fault: the network may use the variable elsewhere, too."""
    unknown = copies(case).unknown
    if unknown:
        return f"whether a variable is used elsewhere as well is not known: {'; '.join(unknown.values())}"
    _, open_ = redundant(case)
    return f"whether a variable is used elsewhere as well is open: {said_of(open_[0])}" if open_ else None


def _needed(case: Case, worst: Worst, least: float) -> int | None:
    """Pairs in all with which the variable would be decided, or moved often enough to be gated."""
    pairs, left = len(case.test), worst.rate.n
    if case.test.complete:
        return None
    decided = pairs_needed(gate(worst.bounds, least), least, worst.reached, pairs, complete=False)
    enough = int(np.ceil(LEAST / left * pairs)) if left < LEAST else None
    return max((n for n in (decided, enough) if n is not None), default=None)

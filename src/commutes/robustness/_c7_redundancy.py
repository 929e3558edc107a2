"""C7: is the variable also kept, and used, somewhere else?"""

from __future__ import annotations

import weakref
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from commutes.algorithm import Variable
from commutes.robustness._case import ALPHA, Case, Outcome
from commutes.robustness._decoding import Clean, clean, read_as_sources, undecodable
from commutes.robustness._elsewhere import (
    Elsewhere,
    beside,
    best_part,
    decoded_at,
    outside,
    swapped,
    whole_decoder,
)
from commutes.robustness._resampling import agreements
from commutes.stats import Answer, Rate, rate, show

READS = 0.9
"""A place that says the variable's value less often than this does not keep it."""


@dataclass(frozen=True, eq=False)
class Copy:
    """Another place where a variable reads, and what swaps of it do on pairs that swap the variable alone."""

    variable: str
    words: str
    reads: Rate
    claimed: np.ndarray
    """Whether the claimed coordinates alone give the expected answer, per pair."""
    other: np.ndarray
    """The same of the other place alone."""
    both: np.ndarray
    members: np.ndarray
    complete: bool

    def rate(self, hits: np.ndarray) -> Rate:
        """The share of hits."""
        return rate(hits, self.members, census=self.complete, alpha=ALPHA)

    @property
    def only_both(self) -> np.ndarray:
        """Pairs that come out when both are swapped, and with neither alone."""
        return self.both & ~self.claimed & ~self.other

    def used(self, most: float) -> Answer:
        """Whether the network uses both: each sets the variable in more than this share of pairs, or both together do.

        SUPPORTED is no.
        """
        shares = [self.rate(hits) for hits in (self.claimed, self.other, self.only_both)]
        lower, upper = ([getattr(share, name) for share in shares] for name in ("lower", "upper"))
        if min(lower[0], lower[1]) > most or lower[2] > most:
            return Answer.REFUTED
        clear = min(upper[0], upper[1]) <= most and upper[2] <= most
        return Answer.SUPPORTED if clear else Answer.INCONCLUSIVE

    def record(self) -> dict[str, Any]:
        """Plain values."""
        shares = {
            "claimed": self.claimed,
            "other": self.other,
            "both": self.both,
            "only_both": self.only_both,
        }
        return {
            "variable": self.variable,
            "place": self.words,
            "reads": self.reads.as_dict(),
            **{name: self.rate(hits).as_dict() for name, hits in shares.items()},
        }


@dataclass(frozen=True, eq=False)
class Copies:
    """All other places where a variable reads."""

    found: list[Copy] = field(default_factory=list)
    best: dict[str, Rate] = field(default_factory=dict)
    """Per variable, how often it reads at the place where it does so most often; of places that were looked at."""
    unknown: dict[str, str] = field(default_factory=dict)
    """Per variable, why it is not known where else it may be."""
    looked_at: int = 0
    passes: int = 0


# D4 asks for them, and so does the check itself.
_known: weakref.WeakKeyDictionary[Case, Copies] = weakref.WeakKeyDictionary()


def redundancy(case: Case) -> Outcome:
    """Every other place where a variable reads and where swapping it sets it, as well: alone, or with the claimed one.

    Looked at are what lies outside the alignment at its sites, as a whole and in its best directions, and the outputs
    of blocks beside them; what comes before a site or behind it is the same variable on its way.

    See The Hydra Effect: Emergent Self-repair in Language Model Computations, arXiv 2307.15771.
    """
    passes = 0 if case in _known else None
    found, most = copies(case), _most(case)
    passes = found.passes if passes is None else passes
    answers = {copy: copy.used(most) for copy in found.found}
    used = [copy for copy, answer in answers.items() if answer is Answer.REFUTED]
    open_ = [copy for copy, answer in answers.items() if answer is Answer.INCONCLUSIVE]
    figures = {
        "places": [copy.record() for copy in found.found],
        "reads_at_most": {name: best.as_dict() for name, best in found.best.items()},
        "unknown": dict(found.unknown),
        "least_reading": READS,
        "most": most,
    }
    if used:
        return Outcome(Answer.REFUTED, said_of(used[0]), figures, forward_passes=passes)
    if open_:
        answer, sentence = Answer.INCONCLUSIVE, said_of(open_[0])
    else:
        answer, sentence = Answer.SUPPORTED, _nowhere(found)
    reason = "; ".join(found.unknown.values()) or None
    if not found.looked_at and not found.unknown:
        reason = "there is no other place to look at"
    answer = Answer.VACUOUS if reason else answer
    return Outcome(answer, sentence, figures, reason=reason, forward_passes=passes)


def copies(case: Case) -> Copies:
    """Where else each variable reads, and what swaps do there; looked for once for a case."""
    if case not in _known:
        _known[case] = _looked_for(case)
    return _known[case]


def redundant(case: Case) -> tuple[list[Copy], list[Copy]]:
    """Places that the network uses beside the claimed ones, and places of which that is open."""
    found, most = copies(case).found, _most(case)
    used, open_ = (
        [c for c in found if c.used(most) is answer] for answer in (Answer.REFUTED, Answer.INCONCLUSIVE)
    )
    return used, open_


def said_of(copy: Copy) -> str:
    """A copy in words, with its figures."""
    return (
        f"{copy.variable} reads in {copy.reads} of inputs from {copy.words} as well; swapped alone that gives the"
        f" expected answer in {copy.rate(copy.other)} of effective pairs, the claimed coordinates alone in"
        f" {show(copy.rate(copy.claimed).rate)}, both in {show(copy.rate(copy.both).rate)}"
    )


def _most(case: Case) -> float:
    # What may be amiss in agreement (D4) before it is lost.
    return 1 - case.thresholds.agreement


def _looked_for(case: Case) -> Copies:
    total, fitted = Copies(), clean(case)
    rest = outside(case)
    here = read_as_sources(case)
    agree = dict(zip(case.alignment.sites, agreements(case), strict=True))
    passes, looked_at = len(fitted.inputs), 0
    for group in case.alignment.groups:
        if isinstance(rest, str):
            total.unknown.update({v.name: rest for v in group.columns})
        own = [] if isinstance(rest, str) or group.site not in rest else [rest[group.site]]
        places = [*own, *beside(case, group)]
        looked_at += len(places)
        for variable in group.columns:
            why = undecodable(case, variable, here[variable])
            rows = case.rows(variable.name)
            rows = rows[case.test.effective[rows] & _agreeing(case, variable, rows, agree[group.site])]
            # A network that is wrong about the base may be right about the pair whatever is swapped.
            rows = rows[
                ~case.bench.answers.match(case.bench.clean[case.test.base[rows]], case.test.expected[rows])
            ]
            if not len(rows):
                held = " and ".join(v.name for v in agree[group.site])
                why = why or f"no effective pair swaps {variable.name} alone" + (
                    f" and agrees on {held}" if held else ""
                )
            if why:
                total.unknown[variable.name] = why
                continue
            for place in places:
                passes += _add(case, total, place, variable, fitted, rows, len(group.columns[variable]))
    return Copies(total.found, total.best, total.unknown, looked_at, passes)


def _agreeing(case: Case, variable: Variable, rows: np.ndarray, agree: tuple[Variable, ...]) -> np.ndarray:
    """Pairs whose source agrees with the base on what else decides the answer."""
    base, source = case.test.base[rows], case.test.source_of(variable)[rows]
    same = np.ones(len(rows), bool)
    for other in agree:
        column = case.test.columns[other.name].reshape(len(case.test.ids), -1)
        same &= (column[base] == column[source]).all(axis=1)
    return same


def _add(
    case: Case,
    total: Copies,
    place: Elsewhere,
    variable: Variable,
    fitted: Clean,
    rows: np.ndarray,
    size: int,
) -> int:
    """Look at a place, and at its best part where the variable reads there; returns the inputs that were run."""
    decoders, coordinates = decoded_at(case, place, variable, fitted)
    inputs = np.arange(len(case.test.ids))
    column = case.test.columns[variable.name]
    read = rate(decoders.decode(place.of_tests(), inputs) == column, census=case.test.complete)
    best = total.best.get(variable.name)
    if best is None or read.rate > best.rate:
        total.best[variable.name] = read
    if read.upper < READS:
        return 0
    part = best_part(place, whole_decoder(fitted, variable, coordinates), size)
    both = [place] if part is None else [place, part]
    for one in both:
        other, together = (swapped(case, one, variable, rows, claimed=claimed) for claimed in (False, True))
        total.found.append(
            Copy(
                variable.name, one.words, read, case.evaluation.hits[rows], other, together,
                case.test.members[rows], case.test.complete,
            )
        )  # fmt: skip
    return 2 * len(both) * len(rows)


def _nowhere(found: Copies) -> str:
    if found.found:
        where: Mapping[str, None] = dict.fromkeys(copy.words for copy in found.found)
        names = " and ".join(dict.fromkeys(copy.variable for copy in found.found))
        return f"{names} also reads from {' and '.join(where)}; the network does not use both that and what is claimed"
    if not found.best:
        return "nothing was looked at"
    name, best = max(found.best.items(), key=lambda pair: pair[1].rate)
    return f"no other place keeps a variable: at most {name} reads in {best}, below {show(READS)}"

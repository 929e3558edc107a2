"""What stands against a claim: rivals that were declared or made, sorted by what the data and logic say of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from commutes.algorithm import Domain
from commutes.alignment import Alignment
from commutes.counterfactuals import GATED, Counterfactuals, same_pairs
from commutes.errors import CommutesError
from commutes.features import Rotation, Slice
from commutes.network import Site
from commutes.robustness._case import Case
from commutes.robustness._rival_algorithms import MADE, regroupings
from commutes.robustness._rival_relations import (
    View,
    differing,
    otherwise,
    recoded,
    relation,
    shared_inputs,
    spoken_of,
    standing,
)


@dataclass(frozen=True, eq=False)
class Expectation:
    """What an algorithm expects of the claim's test pairs."""

    name: str
    view: View
    expected: np.ndarray
    """As an answer of the claim's.  # shape: (n,)"""
    swaps: np.ndarray
    """Pairs for which it has variables to swap.  # shape: (n,) bool"""


@dataclass(frozen=True, eq=False)
class Contender:
    """A rival that the data can tell from the claim."""

    expects: Expectation
    names: Mapping[str, str]
    """Which of its variables stands for each of the claim's."""
    pairs: Counterfactuals
    """The claim's test pairs under the rival, those for which it has variables to swap."""
    train: Counterfactuals
    """The claim's design, drawn for the rival."""
    select: Counterfactuals | None
    finer: bool
    """Whether whoever claims it has claimed the claim as well."""


@dataclass(frozen=True)
class Apart:
    """Why an algorithm is no contender."""

    words: str
    open: bool = False
    """Whether it may be right for all that the data say."""


@dataclass(frozen=True, eq=False)
class Field:
    """All that was declared or made."""

    claim: Expectation
    contenders: Sequence[Contender]
    apart: Mapping[str, Apart]
    """Declared ones that are no contenders."""
    reason: str
    """Why no rival was made, where none was."""


def field_of(case: Case, train: Counterfactuals) -> Field:
    """Declared rivals, then up to `MADE` that are made from the claim."""
    algorithm, aligned = case.alignment.algorithm, case.alignment.variables
    inputs, complete = shared_inputs(algorithm, seed=case.seed)
    view = View(algorithm, spoken_of(algorithm, aligned), inputs, complete)
    claim = Expectation("the claim", view, case.test.expected, np.ones(len(case.test), bool))
    contenders, apart = [], {}
    for name, rival in case.declared.rivals.items():
        found = _placed_among(case, train, claim, name, View(rival, spoken_of(rival), inputs, complete))
        if isinstance(found, Contender):
            contenders.append(found)
        else:
            apart[name] = found
    made, reason = _made(case, train, claim, [c.expects.view for c in contenders])
    return Field(claim, [*contenders, *made], apart, reason)


def _placed_among(
    case: Case, train: Counterfactuals, claim: Expectation, name: str, rival: View
) -> Contender | Apart:
    wrong = otherwise(claim.view, rival)
    if wrong:
        return Apart(f"it is another function: another answer to {wrong:,} of {rival.rows:,} inputs")
    kind = relation(claim.view, rival, seed=case.seed)
    if kind == "the same":
        return Apart("it is the claim, up to a relabelling of values")
    if kind == "entailed":
        return Apart("the claim entails it")
    names = standing(claim.view, [v.name for v in case.alignment.variables], rival)
    try:
        own, rows = same_pairs(case.test, rival.algorithm, names=names)
        fitted, chosen = (
            None if part is None else part.for_algorithm(rival.algorithm, names=names)
            for part in (train, case.select)
        )
    except CommutesError as error:
        return Apart(f"its pairs cannot be drawn: {error.what}", open=True)
    assert fitted is not None
    expected, swaps = claim.expected.copy(), np.zeros(len(case.test), bool)
    expected[rows], swaps[rows] = recoded(own.expected, rival.output, claim.view.output), True
    expects = Expectation(name, rival, expected, swaps)
    few = _not_told(case, claim, expects)
    return few or Contender(expects, names, own, fitted, chosen, kind == "finer")


def _not_told(case: Case, claim: Expectation, rival: Expectation) -> Apart | None:
    """Why the pairs do not tell a rival from the claim."""
    bets, least = bets_of(case.test, claim, rival), 1 if case.test.complete else GATED
    if len(bets.rows) >= least:
        return None
    n, of = len(bets.rows), int(rival.swaps.sum())
    return Apart(f"the two expect different answers on {n:,} of {of:,} pairs", open=True)


@dataclass(frozen=True, eq=False)
class Bets:
    """Pairs on which two algorithms expect different answers, weighted so that no trivial rule favours either."""

    rows: np.ndarray
    """Which of the test pairs.  # shape: (m,)"""
    weights: np.ndarray
    """# shape: (m,)"""
    cells: np.ndarray
    """What the weights are equal in, from 0.  # shape: (m,)"""


def bets_of(pairs: Counterfactuals, one: Expectation, other: Expectation) -> Bets:
    """Where the two expect different answers, and both have something to swap.

    A pair is of a kind: is the answer that the one expects the base's, is it that of each source; and the same for the
    other. Pairs of a kind and of its mirror image, in which the two have changed places, weigh the same in sum, and
    kinds whose mirror image does not occur are left out: an edit that does nothing, or puts in all of a source, then
    does as well for the one as for the other.
    """
    output = one.view.output
    rows = np.flatnonzero(one.swaps & other.swaps & differing(one.expected, other.expected, output))
    first, second = (_likeness(pairs, rows, e.expected[rows], output) for e in (one, other))
    both = 2 ** (1 + pairs.source.shape[1])
    kind, mirror = first * both + second, second * both + first
    count = np.bincount(kind, minlength=both**2)
    kept = count[mirror] > 0
    weights = (count[kind] + count[mirror])[kept] / (2 * count[kind][kept])
    return Bets(rows[kept], weights, np.unique(kind[kept], return_inverse=True)[1])


def _likeness(pairs: Counterfactuals, rows: np.ndarray, expected: np.ndarray, output: Domain) -> np.ndarray:
    """Which of the base's and the sources' answers an expected answer is, as a number.  # shape: (rows,)"""
    found = (~differing(expected, pairs.base_answer[rows], output)).astype(np.int64)
    for slot in range(pairs.source.shape[1]):
        same = ~differing(expected, pairs.source_answer[rows, slot], output)
        found = 2 * found + (same & (pairs.source[rows, slot] >= 0))
    return found


def _made(
    case: Case, train: Counterfactuals, claim: Expectation, known: Sequence[View]
) -> tuple[list[Contender], str]:
    """Rivals that are made from the claim, none of them known already."""
    algorithm = case.alignment.algorithm
    made = regroupings(claim.view, case.alignment.variables, seed=case.seed)
    found: list[Contender] = []
    for rival in made.algorithms:
        if len(found) == MADE:
            break
        view = View(rival, spoken_of(rival), claim.view.inputs, claim.view.complete)
        if any(relation(other, view, seed=case.seed) == "the same" for other in known):
            continue
        one = _placed_among(case, train, claim, rival.name.removeprefix(f"{algorithm.name} "), view)
        if isinstance(one, Contender):
            found.append(one)
    return found, "" if found else made.reason or "these data tell no other grouping of its inputs from it"


def placed(alignment: Alignment, contender: Contender) -> Alignment:
    """A rival's variables in the claim's places, of the claim's sizes, unfitted.

    What was picked by hand was picked for the claim's variables: there the rival gets as many dimensions of a rotation
    of the same site, which is a fit that the claim did not have.
    """
    turned: dict[Site, Rotation] = {}
    taken: dict[Site, int] = {}
    slices = {}
    for group in alignment.groups:
        for variable, columns in group.columns.items():
            part = alignment.slices[variable]
            if not group.features.learnt:
                start = taken.get(group.site, 0)
                taken[group.site] = start + len(columns)
                rotation = turned.setdefault(group.site, Rotation(group.site))
                part = Slice(rotation, range(start, start + len(columns)))
            if variable.name in contender.names:
                slices[contender.expects.view.algorithm[contender.names[variable.name]]] = part
    return Alignment(contender.expects.view.algorithm, slices)

"""E2: how often does the claim fail on pairs that come at random, and can a failure be found by looking for one?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from commutes.counterfactuals import Counterfactuals, best_constant, given_pairs, input_sampler
from commutes.robustness._case import ALPHA, Case, Outcome, pairs_needed
from commutes.robustness._replay import pair_record
from commutes.robustness._rungs import own_distribution
from commutes.robustness._search import Searched, Tried, climbed, every_pair, tried
from commutes.stats import Answer, Rate, gate, rate, show

# All pairs are run where they are no more than this; a search runs so many for each pair of the test, and no more.
MOST, SEARCHED = 100_000, 10

# Draws of the distribution in which inputs are looked for that were neither fitted nor selected on.
_DRAWS = 50


def counterexamples(case: Case) -> Outcome:
    """Share of failures on random pairs, base and sources drawn by themselves; then every pair, or a search.

    The rate decides, by the swapped set that fails most often. What is found beyond it is shown; it decides only where
    the claim is about every input: then one failure refutes. A claim on a complete domain is about every input of it.
    """
    if case.test.complete:
        return _complete(case)
    random = _random_pairs(case)
    if random is None:
        reason = "too few inputs are left that were neither fitted nor selected on"
        return Outcome(Answer.VACUOUS, reason, reason=reason)
    found = tried(case.alignment, random)
    most = 1 - case.thresholds.target
    rates = _rates(found.hits, random, ALPHA)
    open_rivals = _not_excluded(random, case.thresholds.target)
    all_pairs, searched, example, how = None, None, found.failing, "random pairs"
    listed = every_pair(case.alignment.algorithm, case.test.swaps, MOST)
    if listed is not None:
        all_pairs = tried(case.alignment, listed)
        if example is None:
            example, how = all_pairs.failing, "all pairs"
    elif example is None:
        budget = min(MOST, SEARCHED * len(case.test))
        searched = climbed(case.alignment, found, budget=budget, seed=case.seed)
        example, how = searched.found, "a search"
    answer = _weakest(
        [gate(r, most, side="<") for r in rates.values()], _refuted(found.hits, random, most, ALPHA)
    )
    reason = None
    if case.declared.every_input and example is not None:
        answer = Answer.REFUTED
    elif answer is not Answer.REFUTED and open_rivals:
        swap, names = next(iter(open_rivals.items()))
        answer = Answer.VACUOUS
        reason = f"random pairs of {swap} do not exclude: {', '.join(names)}"
    figures = {
        "most": most,
        "random": {swap: r.as_dict() for swap, r in rates.items()},
        "not_excluded": open_rivals,
        "every_input": case.declared.every_input,
        "all_pairs": None if all_pairs is None else _count(all_pairs.hits),
        "search": None if searched is None else {"pairs": searched.tried, "lowest_margin": searched.lowest},
        "found_by": None if example is None else how,
        "counterexample": example,
    }

    def refuted_at(alpha: float) -> bool:
        if case.declared.every_input and example is not None:
            return True
        return _refuted(found.hits, random, most, alpha)

    return Outcome(
        answer,
        _sentence(case, rates, most, all_pairs, searched, example, how),
        figures,
        n_to_decide=_needed(case, rates, most) if answer is Answer.INCONCLUSIVE else None,
        reason=reason,
        forward_passes=sum(_passes(part) for part in (found, all_pairs) if part is not None)
        + (0 if searched is None else 2 * searched.tried),
        refuted_at=refuted_at,
    )


def _complete(case: Case) -> Outcome:
    """The test has every pair of the domain: what fails in it is all that fails, and nothing has to be looked for."""
    hits, pairs = case.evaluation.hits, case.test
    missed = np.nonzero(~hits)[0]
    example = None
    if len(missed):
        example = pair_record(pairs, int(missed[0]), case.evaluation.answered, case.bench.right)
    n, failed = len(hits), len(missed)
    words = f"{failed:,} of all {n:,} pairs fail" if failed else f"none of all {n:,} pairs fails"
    figures = {
        "most": 0.0,
        "random": {
            swap.label: rate(~hits[pairs.swap == i], census=True).as_dict()
            for i, swap in enumerate(pairs.swaps)
        },
        "every_input": True,
        "all_pairs": _count(hits),
        "search": None,
        "found_by": "all pairs" if failed else None,
        "counterexample": example,
    }
    return Outcome(
        Answer.REFUTED if failed else Answer.SUPPORTED,
        f"{words}; a claim on a complete domain is about every input of it" + _told(example),
        figures,
        refuted_at=lambda _: failed > 0,
    )


def _random_pairs(case: Case) -> Counterfactuals | None:
    """As many pairs as the test has, base and sources independent draws of the claim's own distribution."""
    test, algorithm = case.test, case.alignment.algorithm
    seen = np.union1d(case.alignment.fitted_ids, case.alignment.selected_ids)
    sampler, rng = input_sampler(algorithm, own_distribution(test)), np.random.default_rng([case.seed, 35])
    slots = max(len(swap.slots) for swap in test.swaps)
    wanted = len(test) * (1 + slots)
    kept: list[dict[str, np.ndarray]] = []
    have = 0
    for _ in range(_DRAWS):
        columns = sampler(rng, wanted)
        new = ~np.isin(algorithm.input_ids(columns), seen)
        kept.append({name: column[new] for name, column in columns.items()})
        have += int(new.sum())
        if have >= wanted:
            break
    else:
        return None
    drawn = {name: np.concatenate([part[name] for part in kept])[:wanted] for name in kept[0]}
    roles = [{name: column[role :: 1 + slots] for name, column in drawn.items()} for role in range(1 + slots)]
    swap = np.arange(len(test)) % len(test.swaps)
    return given_pairs(algorithm, test.swaps, swap, roles[0], roles[1:])


def _rates(hits: np.ndarray, pairs: Counterfactuals, alpha: float) -> dict[str, Rate]:
    """Share of failures by swapped set, its bounds at the error rate alpha."""
    found = {}
    for number, swap in enumerate(pairs.swaps):
        rows = pairs.swap == number
        if rows.any():
            found[swap.label] = rate(~hits[rows], pairs.members[rows], alpha=alpha)
    return found


def _refuted(hits: np.ndarray, pairs: Counterfactuals, most: float, alpha: float) -> bool:
    """Whether some swapped set fails too often, each at its share of the error rate."""
    share = alpha / len(pairs.swaps)
    return any(gate(r, most, side="<") is Answer.REFUTED for r in _rates(hits, pairs, share).values())


def _weakest(answers: Sequence[Answer], refuted: bool) -> Answer:
    """Every set has to be supported, each at the full error rate; any one refutes, at its share."""
    if refuted:
        return Answer.REFUTED
    return Answer.SUPPORTED if all(a is Answer.SUPPORTED for a in answers) else Answer.INCONCLUSIVE


def _not_excluded(pairs: Counterfactuals, target: float) -> dict[str, list[str]]:
    """Per swapped set the trivial rivals that answer as the claim says in at least the target's share of pairs."""
    found = {}
    constant = best_constant(pairs)
    for number, swap in enumerate(pairs.swaps):
        rows = np.nonzero(pairs.swap == number)[0]
        rivals = {"do nothing": ~pairs.effective[rows], "best constant": constant[rows]}
        for slot in range(len(swap.slots)):
            name = "whole source" if len(swap.slots) == 1 else f"whole source {slot + 1}"
            same = pairs.expected[rows] == pairs.source_answer[rows, slot]
            rivals[name] = same.reshape(len(rows), -1).all(axis=1)
        names = [name for name, hits in rivals.items() if len(rows) and hits.mean() >= target]
        if names:
            found[swap.label] = names
    return found


def _count(hits: np.ndarray) -> dict[str, Any]:
    return {"pairs": len(hits), "failing": int((~hits).sum())}


def _passes(found: Tried) -> int:
    return len(found.pairs) + len(found.pairs.ids)


def _needed(case: Case, rates: dict[str, Rate], most: float) -> int | None:
    """Test pairs with as many of which at random the set that holds the gate up would be decided."""
    held = max(rates.values(), key=lambda r: (r.upper, r.rate))
    needed = pairs_needed(
        Answer.INCONCLUSIVE, most, (held.rate, held.lower, held.upper), held.n, complete=False
    )
    return None if needed is None else int(np.ceil(needed / held.n * len(case.test)))


def _sentence(
    case: Case,
    rates: dict[str, Rate],
    most: float,
    all_pairs: Tried | None,
    searched: Searched | None,
    example: dict[str, Any] | None,
    how: str,
) -> str:
    swap, worst = max(rates.items(), key=lambda item: (item[1].rate, item[1].upper))
    parts = [
        f"random pairs of {swap} fail in {worst}, upper bound {show(worst.upper)}, asked for less than {show(most)}"
    ]
    if all_pairs is not None:
        failed = int((~all_pairs.hits).sum())
        parts.append(
            f"of all {len(all_pairs.hits):,} pairs of the domain {failed or 'none'} fail{'s' * (failed < 2)}"
        )
    if searched is not None:
        end = (
            "" if searched.found is not None else f" and found none, the lowest margin {searched.lowest:.2g}"
        )
        parts.append(f"a search ran {searched.tried:,} pairs{end}")
    if example is not None and how != "random pairs" and not case.declared.every_input:
        parts.append("the claim is not declared about every input, so that what was found does not decide")
    return "; ".join(parts) + _told(example)


def _told(example: dict[str, Any] | None) -> str:
    if example is None:
        return ""
    clean = "" if example["right without a swap"] else ", where the network is wrong without any swap, too"
    answers = f"expected {example['expected']!r}, answered {example['answered']!r}"
    return f"; a counterexample is kept ({example['swap']}: {answers}{clean})"

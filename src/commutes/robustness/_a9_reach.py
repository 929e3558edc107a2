"""A9: did the intervention move anything?"""

from __future__ import annotations

import numpy as np
import torch

from commutes.robustness._case import Case, Outcome
from commutes.stats import Answer, Rate, gate, rate, show

# An edit below this share of the whole difference between base and source moved nothing, and edits that differ by
# less than the smaller one, far above rounding, are of one size.
NOTHING, EQUAL = 1e-3, 1e-5


def reach(case: Case) -> Outcome:
    """Share of effective pairs whose edit is larger than that of a placebo pair drawn at random.

    Placebo pairs are those of the same swapped set in which the variable's values are equal, so that the swap should
    change nothing. Where the share misses its gate there are two cases. If nothing was moved at all the check is
    refuted, and a low accuracy says nothing about the variable. If something was moved, but as far where the variable
    stays as it is, then the coordinates carry something else (as well): whether the variable was moved cannot be told
    from lengths, and the check is vacuous.
    """
    pairs, least = case.test, case.thresholds.reach
    sizes, whole = edit_sizes(case)
    scale = float(np.sqrt(np.mean(whole**2)))
    found = [
        (swap.label, *_kinds(case, index))
        for index, swap in enumerate(pairs.swaps)
        if all(len(rows) for rows in _kinds(case, index))
    ]
    if not found:
        sentence = "no swapped set has both effective and placebo pairs"
        return Outcome(Answer.VACUOUS, sentence, reason="no placebo pairs")
    rng = np.random.default_rng([case.seed, 4])
    shares = {
        label: _larger(case, sizes, effective, placebo, EQUAL * scale, rng)
        for label, effective, placebo in found
    }
    share = _pooled(case, list(shares.values()))
    rows = np.concatenate([effective for _, effective, _ in found])
    moved = float(np.sqrt(np.mean(sizes[rows] ** 2))) / scale if scale > 0 else 0.0
    figures = {
        "share": share.as_dict(),
        "by_swap": {label: float(won.mean()) for label, (won, _) in shares.items()},
        "chance": least,
        "moved": moved,
    }
    sentence = f"effective pairs move further than placebo pairs in {share} (chance {show(least)})"
    answer, reason = gate(share, least, side=">"), None
    if answer is Answer.REFUTED and moved < NOTHING:
        sentence = f"nothing was moved: edits are {moved:.1g} of the whole difference between base and source"
    elif answer is Answer.REFUTED:
        answer = Answer.VACUOUS
        reason = "the coordinates move as far where the variable keeps its value: they carry something else"
    return Outcome(answer, sentence, figures, reason=reason)


def _kinds(case: Case, index: int) -> tuple[np.ndarray, np.ndarray]:
    """The effective and the placebo pairs of a swapped set."""
    pairs = case.test
    mine = pairs.swap == index
    unmoved = mine.copy()
    for variable in pairs.swaps[index].variables:
        same = pairs.base_value(variable) == pairs.source_value(variable)
        unmoved &= same.reshape(len(same), -1).all(axis=1)
    return np.nonzero(mine & pairs.effective)[0], np.nonzero(unmoved)[0]


def _larger(
    case: Case,
    sizes: np.ndarray,
    effective: np.ndarray,
    placebo: np.ndarray,
    equal: float,
    rng: np.random.Generator,
) -> tuple[np.ndarray, np.ndarray]:
    """Whether each effective pair's edit is larger than a placebo pair's, with the inputs of both pairs.

    In a complete domain every effective pair meets the placebo pair in the middle: nothing there is drawn.
    """
    members = case.test.members
    if case.test.complete:
        middle = float(np.median(sizes[placebo]))
        return sizes[effective] > middle + equal, members[effective]
    against = np.resize(rng.permutation(placebo), len(effective))
    won = sizes[effective] > sizes[against] + equal
    return won, np.concatenate([members[effective], members[against]], axis=1)


def _pooled(case: Case, shares: list[tuple[np.ndarray, np.ndarray]]) -> Rate:
    hits = np.concatenate([won for won, _ in shares])
    return rate(hits, np.concatenate([members for _, members in shares]), census=case.test.complete)


def edit_sizes(case: Case) -> tuple[np.ndarray, np.ndarray]:
    """Length of the change of the swapped coordinates, and of the whole difference at their sites.  # shapes: (n,)"""
    prepared, pairs = case.bench.prepared, case.test
    base = torch.from_numpy(pairs.base)
    here = prepared.batch(base, base.unsqueeze(1))
    there = prepared.batch(base, torch.from_numpy(pairs.source))
    total = torch.zeros(2, len(pairs), dtype=torch.float64)
    with torch.no_grad():
        for site, featurizer in enumerate(case.alignment.featurizers):
            state = here.sources[site][:, 0]
            old = featurizer.read(state)
            for slot in range(there.sources[site].shape[1]):
                source, mask = there.sources[site][:, slot], case.bench.masks[site][:, slot]
                moved = (featurizer.read(source) - old) * mask.unsqueeze(1)
                total[0] += moved.double().square().sum(dim=(1, 2)).cpu()
                difference = (source - state) * mask.any(dim=1)[:, None, None]
                total[1] += difference.double().square().sum(dim=(1, 2)).cpu()
    sizes, whole = total.sqrt().numpy()
    return sizes, whole

"""A9: did the intervention move anything?"""

from __future__ import annotations

import numpy as np
import torch

from commutes.robustness._case import Case, Outcome
from commutes.stats import Answer, gate, rate


def reach(case: Case) -> Outcome:
    """Share of effective pairs whose edit, read by E, is larger than that of a placebo pair drawn at random.

    Placebo pairs are those of the same swapped set in which the variable's values are equal, so that the swap should
    change nothing.
    """
    pairs, least = case.test, case.thresholds.reach
    sizes = edit_sizes(case)
    rng = np.random.default_rng([case.seed, 4])
    larger, rows, by_swap = [], [], {}
    for index, swap in enumerate(pairs.swaps):
        mine = pairs.swap == index
        unmoved = np.ones(len(pairs), bool)
        for variable in swap.variables:
            unmoved &= pairs.base_value(variable) == pairs.source_value(variable)
        placebo, effective = np.nonzero(mine & unmoved)[0], np.nonzero(mine & pairs.effective)[0]
        if not len(placebo) or not len(effective):
            continue
        against = rng.choice(placebo, size=len(effective))
        won = sizes[effective] > sizes[against]
        larger.append(won)
        rows.append(effective)
        by_swap[swap.label] = float(won.mean())
    if not larger:
        return Outcome(
            Answer.VACUOUS, "no swapped set has both effective and placebo pairs", reason="no placebo pairs"
        )
    hits = np.concatenate(larger)
    share = rate(hits, pairs.members[np.concatenate(rows)], census=pairs.complete)
    return Outcome(
        gate(share, least, side=">"),
        f"the edit of an effective pair is the larger one in {share} (chance .5)",
        {"share": share.as_dict(), "by_swap": by_swap, "chance": least},
        forward_passes=0,
    )


def edit_sizes(case: Case) -> np.ndarray:
    """Length of the change of the swapped coordinates, per pair, over all sites.  # shape: (n,)"""
    prepared, pairs = case.bench.prepared, case.test
    base = torch.from_numpy(pairs.base)
    here = prepared.batch(base, base.unsqueeze(1))
    there = prepared.batch(base, torch.from_numpy(pairs.source))
    total = torch.zeros(len(pairs), dtype=torch.float64)
    with torch.no_grad():
        for site, featurizer in enumerate(case.alignment.featurizers):
            old = featurizer.read(here.sources[site][:, 0])
            for slot in range(there.sources[site].shape[1]):
                new = featurizer.read(there.sources[site][:, slot])
                moved = (new - old) * case.bench.masks[site][:, slot].unsqueeze(1)
                total += moved.double().square().sum(dim=(1, 2)).cpu()
    return total.sqrt().numpy()

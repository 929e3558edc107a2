"""What an accuracy must be seen beside: doing nothing, a constant answer, a random subspace of the same size."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from commutes.algorithm import Finite
from commutes.alignment import Alignment
from commutes.counterfactuals import Counterfactuals, best_constant
from commutes.engine import Featurizer
from commutes.evaluation._predictions import Bench
from commutes.evaluation._rates import cell_rows, is_gated
from commutes.features import Neurons, random_raw, rotation

DO_NOTHING, CONSTANT, RANDOM = "do nothing", "best constant", "random subspace"


def floors(alignment: Alignment, bench: Bench, *, draws: int, seed: int) -> dict[str, np.ndarray]:
    """Per floor, the hits of each pair, one row a draw.  # shape of each: (draws, n)

    Args:
        alignment: Whose sites and sizes the random subspaces have.
        bench: The prepared pairs.
        draws: Random subspaces.
        seed: Of the draws.
    """
    pairs = bench.pairs
    nothing = bench.answers.match(bench.clean[pairs.base], pairs.expected)
    random = [bench.hits(random_maps(alignment, [seed, draw])) for draw in range(draws)]
    return {
        DO_NOTHING: nothing[None],
        CONSTANT: best_constant(pairs)[None],
        RANDOM: np.stack(random),
    }


def random_maps(alignment: Alignment, seed: Sequence[int]) -> list[Featurizer]:
    """Uniformly random subspaces (random neurons where the map is one of neurons) of the alignment's sizes."""
    rng = np.random.default_rng(seed)
    device = alignment.network.device
    maps: list[Featurizer] = []
    for group in alignment.groups:
        if group.features.learnt:
            raw = random_raw(group.width, group.dimension, int(rng.integers(2**62)))
            maps.append(rotation(raw.to(device)))
        else:
            chosen = rng.permutation(group.width)[: group.dimension]
            maps.append(Neurons(torch.from_numpy(chosen).to(device)))
    return maps


def same_answers(pairs: Counterfactuals, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Where two output columns are the same answer, within the tolerance where it is a number.  # shape: (n,)"""
    domain = pairs.algorithm.domain(pairs.algorithm.output_variable)
    if isinstance(domain, Finite):
        return np.asarray(first == second)
    close = np.asarray(np.abs(first - second) <= (getattr(domain, "tolerance", None) or 0.0))
    return np.asarray(close.reshape(len(close), -1).all(axis=1))


def not_excluded(pairs: Counterfactuals, target: float) -> dict[str, list[str]]:
    """Per swapped set, the trivial rivals that reach the target on all gated strata: this data cannot exclude them.

    Rivals answer as the algorithm says: doing nothing gives the base's answer, swapping everything a source's,
    the best constant the most frequent expected answer of the swapped set. Doing nothing scores 0 where the
    answer must change, a whole source 0 where it must not become the source's; a constant scores about
    1 / (number of answers) everywhere when the data are balanced, so that it is the target, not 0, that it must
    miss. Where no stratum is gated nothing is excluded.
    """
    rivals = {DO_NOTHING: ~pairs.effective, CONSTANT: best_constant(pairs)}
    found: dict[str, list[str]] = {}
    for swap in pairs.swaps:
        strata = [
            rows for label, _, rows in cell_rows(pairs) if label == swap.label and is_gated(pairs, rows)
        ]
        own = dict(rivals)
        for slot in range(len(swap.slots)):
            name = "whole source" if len(swap.slots) == 1 else f"whole source {slot + 1}"
            own[name] = same_answers(pairs, pairs.expected, pairs.source_answer[:, slot])
        found[swap.label] = [
            name for name, hits in own.items() if all(hits[rows].mean() >= target for rows in strata)
        ]
    return found

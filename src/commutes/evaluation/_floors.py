"""What an accuracy must be seen beside: doing nothing, a constant answer, a random subspace of the same size."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch

from commutes.algorithm import Finite
from commutes.alignment import Alignment
from commutes.counterfactuals import Counterfactuals, best_constant
from commutes.engine import Featurizer
from commutes.evaluation._predictions import Bench
from commutes.evaluation._rates import cell_rows, is_gated
from commutes.features import Gated, Mask, Subspace, random_raw, rotation
from commutes.stats import Rate, mean_interval, rate

DO_NOTHING, CONSTANT, RANDOM = "do nothing", "best constant", "random subspace"


def floors(bench: Bench, clean: np.ndarray, drawn: Sequence[np.ndarray]) -> dict[str, np.ndarray]:
    """Per floor, the hits of each pair, one row a draw.  # shape of each: (draws, n)

    Args:
        bench: The prepared pairs.
        clean: The network's own answer to every distinct input, as an output column.
        drawn: What it answers to every pair through each random subspace.
    """
    pairs, match = bench.pairs, bench.answers.match
    return {
        DO_NOTHING: match(clean[pairs.base], pairs.expected)[None],
        CONSTANT: best_constant(pairs)[None],
        RANDOM: np.stack([match(answered, pairs.expected) for answered in drawn]),
    }


def random_maps(alignment: Alignment, seed: Sequence[int]) -> list[Featurizer]:
    """Uniformly random subspaces (random neurons, latents or gates where those are chosen) of the alignment's sizes."""
    rng = np.random.default_rng(seed)
    device = alignment.network.device
    maps: list[Featurizer] = []
    for group, found in zip(alignment.groups, alignment.maps, strict=True):
        if isinstance(found, Gated):
            # As many open gates of every variable, wherever.
            gate = found.gate.clone()
            for columns in group.columns.values():
                own = torch.tensor(columns, device=gate.device)
                gate[own] = gate[own[torch.from_numpy(rng.permutation(len(columns))).to(gate.device)]]
            inner = found.inner
            if isinstance(inner, Subspace) and not isinstance(group.features, Mask):
                raw = random_raw(group.width, group.dimension, int(rng.integers(2**62)))
                inner = rotation(raw.to(device))
            maps.append(Gated(inner, gate))
        elif group.features.learnt:
            raw = random_raw(group.width, group.dimension, int(rng.integers(2**62)))
            maps.append(rotation(raw.to(device)))
        else:
            chosen = rng.permutation(group.features.size(group.width))[: group.dimension]
            given = group.features.given(chosen.tolist(), device)
            assert given is not None
            maps.append(given)
    return maps


def floor_rate(drawn: np.ndarray, pairs: Counterfactuals) -> Rate:
    """The rate over all draws; of several draws with the spread between them and that over pairs in quadrature."""
    # The draws of one pair share its inputs, and so a cluster.
    total = rate(drawn.reshape(-1), np.tile(pairs.members, (len(drawn), 1)), census=pairs.complete)
    if len(drawn) == 1:
        return total
    # All pairs may be there, but never all subspaces.
    spread, mean = mean_interval(drawn.mean(axis=1), limits=(0, 1)), total.rate
    return replace(
        total,
        low=max(0.0, mean - math.hypot(mean - total.low, mean - spread.low)),
        high=min(1.0, mean + math.hypot(total.high - mean, spread.high - mean)),
        lower=max(0.0, mean - math.hypot(mean - total.lower, mean - spread.lower)),
        upper=min(1.0, mean + math.hypot(total.upper - mean, spread.upper - mean)),
        method="dyadic" if total.method == "census" else total.method,
        clusters=len(drawn),
    )


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

"""Looking for a pair that fails: through all of them where they are few, otherwise uphill towards failure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from commutes.algorithm import Algorithm, Columns
from commutes.alignment import Alignment
from commutes.counterfactuals import Counterfactuals, Swap, given_pairs
from commutes.evaluation import Answers, bench
from commutes.robustness._replay import pair_record

# Pairs that are changed in each round. A climber that found nothing better for so many rounds starts elsewhere.
CLIMBERS, PATIENCE = 128, 12


@dataclass(frozen=True, eq=False)
class Tried:
    """Pairs that were run, and what came of them."""

    pairs: Counterfactuals
    hits: np.ndarray
    margin: np.ndarray
    """Logit of the expected answer less that of the best other one; not above 0 where the pair fails.  # shape: (n,)"""
    answered: np.ndarray
    right: np.ndarray

    @property
    def failing(self) -> dict[str, Any] | None:
        """The first pair that fails, as it is replayed."""
        missed = np.nonzero(~self.hits)[0]
        return pair_record(self.pairs, int(missed[0]), self.answered, self.right) if len(missed) else None


@dataclass(frozen=True)
class Searched:
    """How a search went."""

    tried: int
    """Pairs that were run."""
    lowest: float
    """The lowest margin that was met, in logits; 1 or -1 where the network's answers have no logits."""
    found: dict[str, Any] | None


def tried(alignment: Alignment, pairs: Counterfactuals) -> Tried:
    """Run the pairs."""
    measured = bench(alignment, pairs)
    answers, margins, start = [], [], 0
    for logits in measured.edited(alignment.featurizers):
        expected = pairs.expected[start : start + len(logits)]
        answered = measured.answers.decode(logits)
        hits = measured.answers.match(answered, expected)
        answers.append(answered)
        margins.append(_margins(measured.answers, logits, expected, hits))
        start += len(logits)
    answered = np.concatenate(answers)
    hits = measured.answers.match(answered, pairs.expected)
    return Tried(pairs, hits, np.concatenate(margins), answered, measured.right)


def _margins(answers: Answers, logits: torch.Tensor, expected: np.ndarray, hits: np.ndarray) -> np.ndarray:
    """Of an answer of several tokens that of the token which is worst off: one wrong token makes it wrong."""
    if answers.spelling is None:
        return np.where(hits, 1.0, -1.0)
    own = torch.from_numpy(answers.spelling[expected]).to(logits.device)
    rows = logits.double().reshape(len(logits), own.shape[1], -1)
    wanted = rows.gather(2, own.unsqueeze(2)).squeeze(2)
    others = rows.scatter(2, own.unsqueeze(2), -torch.inf).amax(dim=2)
    return (wanted - others).amin(dim=1).cpu().numpy()


def every_pair(algorithm: Algorithm, swaps: Sequence[Swap], most: int) -> Counterfactuals | None:
    """All pairs of the domain; None where they are more than `most`, or cannot be listed."""
    count = algorithm.input_count
    if count is None or sum(count ** (1 + len(one.slots)) for one in swaps) > most:
        return None
    inputs = algorithm.enumerate_inputs()
    slots = max(len(one.slots) for one in swaps)
    base, source, swap = [], [], []
    for number, one in enumerate(swaps):
        rows = np.indices([count] * (1 + len(one.slots))).reshape(1 + len(one.slots), -1)
        padded = np.zeros((slots, rows.shape[1]), np.int64)
        padded[: len(one.slots)] = rows[1:]
        base.append(rows[0])
        source.append(padded)
        swap.append(np.full(rows.shape[1], number))
    sources = np.concatenate(source, axis=1)
    return given_pairs(
        algorithm,
        swaps,
        np.concatenate(swap),
        _at(inputs, np.concatenate(base)),
        [_at(inputs, rows) for rows in sources],
    )


def climbed(alignment: Alignment, start: Tried, *, budget: int, seed: int) -> Searched:
    """Change one input of a base or a source at a time and keep what lowers the margin, from the lowest ones on.

    Args:
        alignment: The claim.
        start: Pairs that hold, from which climbers begin.
        budget: Pairs that may be run.
        seed: Of the changes.
    """
    algorithm, pairs = alignment.algorithm, start.pairs
    rng = np.random.default_rng([seed, 36])
    order = np.argsort(start.margin, kind="stable")
    count = min(CLIMBERS, len(order), max(budget, 1))
    begun = order[:count]
    waiting = count
    roles = _roles(pairs, begun)
    swap, margin = pairs.swap[begun].copy(), start.margin[begun].copy()
    idle, run, lowest = np.zeros(count, np.int64), 0, float(margin.min())
    while run + count <= budget:
        moved = _changed(algorithm, pairs.swaps, swap, roles, rng)
        now = tried(alignment, given_pairs(algorithm, pairs.swaps, swap, moved[0], moved[1:]))
        run += count
        lowest = min(lowest, float(now.margin.min()))
        if now.failing is not None:
            return Searched(run, lowest, now.failing)
        better = now.margin < margin
        margin = np.where(better, now.margin, margin)
        for role, new in zip(roles, moved, strict=True):
            for name in role:
                role[name][better] = new[name][better]
        idle = np.where(better, 0, idle + 1)
        for climber in np.nonzero(idle >= PATIENCE)[0]:
            fresh = order[waiting % len(order)]
            waiting += 1
            for role, new in zip(roles, _roles(pairs, np.array([fresh])), strict=True):
                for name in role:
                    role[name][climber] = new[name][0]
            swap[climber], margin[climber], idle[climber] = pairs.swap[fresh], start.margin[fresh], 0
    return Searched(run, lowest, None)


def _at(inputs: Columns, rows: np.ndarray) -> Columns:
    return {name: column[rows] for name, column in inputs.items()}


def _roles(pairs: Counterfactuals, rows: np.ndarray) -> list[Columns]:
    """Columns of the bases, then of the sources of each slot; where a slot is empty, of the base once more."""
    members = pairs.members[rows]
    members = np.where(members < 0, members[:, :1], members)
    return [_at(pairs.inputs, members[:, role]) for role in range(members.shape[1])]


def _changed(
    algorithm: Algorithm,
    swaps: Sequence[Swap],
    swap: np.ndarray,
    roles: Sequence[Columns],
    rng: np.random.Generator,
) -> list[Columns]:
    """Each pair with another value of one input of its base or of one of its sources."""
    n, names = len(swap), [v.name for v in algorithm.input_variables]
    slots = np.array([len(one.slots) for one in swaps])[swap]
    which, name = rng.integers(1 + slots), rng.integers(len(names), size=n)
    found = [{key: column.copy() for key, column in role.items()} for role in roles]
    for number, key in enumerate(names):
        domain = algorithm.domain(key)
        for role, columns in enumerate(found):
            mine = np.flatnonzero((which == role) & (name == number))
            if not len(mine):
                continue
            if domain.size is None:
                columns[key][mine] = domain.sample(rng, len(mine))
            elif domain.size > 1:
                # Any value but the one that is there.
                step = rng.integers(1, domain.size, size=len(mine))
                columns[key][mine] = (columns[key][mine] + step) % domain.size
    return found

"""Where a network's failure lies: in the aligned coordinates, or elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from commutes.algorithm import Finite, Variable
from commutes.alignment import Alignment
from commutes.counterfactuals import Counterfactuals
from commutes.engine import Batch
from commutes.evaluation import GATED, Bench
from commutes.robustness._case import Case
from commutes.robustness._rungs import Rung
from commutes.stats import Rate
from commutes.stats import rate as rate_of_hits


@dataclass(frozen=True, eq=False)
class Mended:
    """What the network answers once the aligned coordinates are the claim's own."""

    right: np.ndarray
    """Which bases it then answers as the algorithm does.  # shape: (n,)"""
    members: np.ndarray
    """Each base and the inputs that the coordinates are from.  # shape: (n, 1 + variables)"""
    variables: tuple[str, ...]

    def rate(self, alpha: float) -> Rate:
        """The accuracy; the claim's inputs may serve several times."""
        return rate_of_hits(self.right, self.members, alpha=alpha)


def mended(case: Case, rung: Rung, benches: Sequence[Bench], seed: int) -> Mended | None:
    """Run a shift's bases with the aligned coordinates of the claim's own inputs in which the variables are the same.

    The claim's inputs are ones that the network answers rightly. Nothing is expected to change, so that what was
    wrong and becomes right was wrong in the coordinates: they did not hold what the algorithm says.

    Args:
        case: The claim.
        rung: A shift of its inputs or of how they are read.
        benches: The shift's pairs.
        seed: Of the choice among inputs of the same values.

    Returns:
        None where values are numbers, where the shift has variables of its own, and where fewer bases than a gate
        needs have such inputs.
    """
    variables = [v for v in case.test.variables if v in case.alignment.variables]
    finite = all(isinstance(case.test.algorithm.domain(v), Finite) for v in variables)
    if rung.shift.kind == "alignment" or not finite or not variables:
        return None
    rng = np.random.default_rng([seed, 32])
    right, members, offset = [], [], len(case.test.ids)
    for measured in benches:
        rows, sources = _same_values(case, measured.pairs, variables, rng)
        base = measured.pairs.base[rows]
        if not len(rows):
            continue
        logits = measured.edited(
            rung.alignment.featurizers,
            rows=rows,
            source=np.repeat(base[:, None], len(variables), axis=1),
            masks=_masks(rung.alignment, variables, len(rows)),
            change=_Own(case.bench, sources),
        )
        answered = np.concatenate([measured.answers.decode(some) for some in logits])
        right.append(measured.answers.match(answered, measured.pairs.answers[base]))
        members.append(np.column_stack([offset + base, sources]))
        offset += len(measured.pairs.ids)
    if sum(map(len, right)) < GATED:
        return None
    return Mended(np.concatenate(right), np.concatenate(members), tuple(v.name for v in variables))


@dataclass(frozen=True, eq=False)
class _Own:
    """Puts states of the claim's own inputs in place of a batch's sources."""

    bench: Bench
    sources: np.ndarray

    def __call__(self, batch: Batch, rows: slice) -> Batch:
        own = torch.from_numpy(self.sources[rows])
        return batch._replace(sources=self.bench.prepared.batch(own[:, 0], own).sources)


def _masks(alignment: Alignment, variables: Sequence[Variable], n: int) -> list[torch.Tensor]:
    """Each variable's coordinates from a source of its own."""
    slots = {v.name: slot for slot, v in enumerate(variables)}
    tables = []
    for group in alignment.groups:
        mask = torch.zeros(n, len(variables), group.dimension, dtype=torch.bool)
        for variable, columns in group.columns.items():
            if variable.name in slots:
                mask[:, slots[variable.name], list(columns)] = True
        tables.append(mask.to(alignment.network.device))
    return tables


def _same_values(
    case: Case, pairs: Counterfactuals, variables: Sequence[Variable], rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """A pair of every distinct base, and for each variable a trusted input of the claim's own with the same value."""
    rows = np.unique(pairs.base, return_index=True)[1]
    trusted = np.nonzero(case.bench.right)[0]
    sources = np.full((len(rows), len(variables)), -1, np.int64)
    for slot, variable in enumerate(variables):
        here, there = pairs.algorithm.domain(variable.name), case.test.algorithm.domain(variable)
        assert isinstance(here, Finite)
        assert isinstance(there, Finite)
        known = np.array([there.code(value) if value in there else -1 for value in here.values], np.int64)
        wanted = known[pairs.base_value(variable.name)[rows]]
        held = case.test.columns[variable.name][trusted]
        for code in np.unique(wanted[wanted >= 0]):
            among, mine = trusted[held == code], np.flatnonzero(wanted == code)
            if len(among):
                sources[mine, slot] = rng.choice(among, size=len(mine))
    whole = (sources >= 0).all(axis=1)
    return rows[whole], sources[whole]

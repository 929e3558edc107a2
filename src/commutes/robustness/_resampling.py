"""Inputs of the test part, each with other ones from which something is taken."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from commutes.algorithm import Variable
from commutes.counterfactuals import Counterfactuals
from commutes.engine import Featurizer, Tap, observe
from commutes.network import Moment, Site
from commutes.robustness._case import Case
from commutes.stats import Rate, rate
from commutes.training import donors, left_open

# Of a complete domain all pairs of inputs are looked at up to this number, and so many at random beyond it; where there
# is more to draw than one other input, so many at least.
MOST, LEAST = 2**14, 2**10


@dataclass(frozen=True, eq=False)
class Taken:
    """Which input takes from which."""

    base: np.ndarray
    """Inputs of the pairs.  # shape: (n,)"""
    source: np.ndarray
    """Other ones, or itself where no other one agrees where it has to.  # shape: (n, columns)"""
    column: tuple[int, ...]
    """Which of them each place takes from."""
    alone: int
    """Inputs that are left out, because no other one agrees anywhere."""
    whole: bool
    """Whether all pairs of a complete domain are there."""
    drawn: bool
    """Whether they are drawn from those, so that an interval has nothing to do with how often an input recurs."""

    def __len__(self) -> int:
        return len(self.base)

    @property
    def members(self) -> np.ndarray:
        """The inputs of each, the base first.  # shape: (n, 1 + columns)"""
        return np.concatenate([self.base[:, None], self.source], axis=1)

    def some(self, most: int, rng: np.random.Generator) -> tuple[np.ndarray, Taken]:
        """At most so many at random, by their numbers, and what they are."""
        if most >= len(self):
            return np.arange(len(self)), self
        rows = np.sort(rng.choice(len(self), most, replace=False))
        part = replace(self, base=self.base[rows], source=self.source[rows])
        return rows, replace(part, whole=False, drawn=self.drawn or self.whole)

    def rate(self, hits: np.ndarray, *, alpha: float = 0.05) -> Rate:
        """The share of hits, one per pair."""
        return rate(hits, None if self.drawn else self.members, census=self.whole, alpha=alpha)


def taken(
    pairs: Counterfactuals,
    inputs: np.ndarray,
    rng: np.random.Generator,
    agree: Sequence[Sequence[Variable]] = ((),),
) -> Taken:
    """Each input with another one at random, every one taken once; of a complete domain all of them with all others.

    Args:
        pairs: Whose inputs.
        inputs: Which of them.  # shape: (n,)
        rng: Of who takes from whom.
        agree: For each place the variables on which an input and the one that it takes from agree. Places that differ
            in them take from inputs of their own.
    """
    distinct = list(dict.fromkeys(tuple(variables) for variables in agree))
    column = tuple(distinct.index(tuple(variables)) for variables in agree)
    groups = [_groups(pairs, inputs, variables) for variables in distinct]
    lonely = np.all([np.bincount(group)[group] == 1 for group in groups], axis=0)
    kept, alone, m = np.nonzero(~lonely)[0], int(lonely.sum()), len(inputs)
    if pairs.complete and len(groups) == 1:
        base, source = np.nonzero((groups[0][:, None] == groups[0]) & ~np.eye(m, dtype=bool))
        found = Taken(inputs[base], inputs[source][:, None], column, alone, whole=True, drawn=False)
        return found.some(MOST, rng)[1]
    times = max(1, min(MOST, max(LEAST, m * (m - 1))) // m) if pairs.complete else 1
    sources = [inputs[np.stack([donors(group, rng)[kept] for group in groups], axis=1)] for _ in range(times)]
    base = np.tile(inputs[kept], times)
    return Taken(base, np.concatenate(sources), column, alone, whole=False, drawn=pairs.complete)


def _groups(pairs: Counterfactuals, inputs: np.ndarray, agree: Sequence[Variable]) -> np.ndarray:
    """Numbers that are equal for inputs which agree on the variables."""
    columns = [pairs.columns[v.name][inputs].reshape(len(inputs), -1) for v in agree]
    table = np.concatenate([np.zeros((len(inputs), 1)), *columns], axis=1)
    return np.unique(table, axis=0, return_inverse=True)[1].reshape(-1)


@dataclass(frozen=True, eq=False)
class Beside:
    """Two maps of one site that share nothing, read and written together: the coordinates of one, then of the other."""

    first: Featurizer
    second: Featurizer
    size: int
    """Coordinates of the first."""

    def read(self, state: torch.Tensor, /) -> torch.Tensor:
        """The coordinates of both.  # (..., d) -> (..., k)"""
        return torch.cat([self.first.read(state), self.second.read(state)], dim=-1)

    def write(self, state: torch.Tensor, old: torch.Tensor, new: torch.Tensor, /) -> torch.Tensor:
        """The state with the new coordinates of both."""
        k = self.size
        state = self.first.write(state, old[..., :k], new[..., :k])
        return self.second.write(state, old[..., k:], new[..., k:])


def agreements(case: Case) -> list[tuple[Variable, ...]]:
    """For every site, what the other input must agree on.

    A variable of an earlier site may be carried on by what lies outside a later one, and be read behind it: there it
    is not held.
    """
    alignment = case.alignment
    when = order(case)
    found = []
    for site in alignment.sites:
        held = [v for g in alignment.groups if when[g.site] >= when[site] for v in g.columns]
        found.append(left_open(alignment.algorithm, held))
    return found


def order(case: Case) -> dict[Site, int]:
    """When each site is first reached in a run; places of one tensor are reached together."""
    network, seen = case.alignment.network, []
    one = case.bench.prepared.inputs.rows(torch.zeros(1, dtype=torch.long))
    moments = dict.fromkeys(moment for site in case.alignment.sites for moment in site.moments)

    def note(moment: Moment) -> Tap:
        return lambda _: seen.append(moment)

    with torch.no_grad():
        observe(network, one.args, one.kwargs, taps={moment: note(moment) for moment in moments})
    return {site: min(seen.index(moment) for moment in site.moments) for site in case.alignment.sites}

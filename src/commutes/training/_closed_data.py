"""What a closed form is computed from: states of inputs, each run once, and pairs drawn from one part's inputs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
import torch

from commutes.algorithm import Algorithm, Columns, Finite, Space, Variable
from commutes.counterfactuals import Counterfactuals, belongs, controlled_within
from commutes.engine import capture
from commutes.errors import DataError, FitError
from commutes.features import HeldPairs, nuisance_pairs, transitions
from commutes.network import Network, Site

__all__ = ["Activations", "Flips", "Nuisance", "flips_of", "held_of", "seeded"]

Nuisance = Literal["others", "all"]


class Activations:
    """The clean states of some sites, on the CPU: an input is run once, for all sites together."""

    def __init__(self, algorithm: Algorithm, network: Network, sites: Sequence[Site]) -> None:
        self.algorithm, self.network = algorithm, network
        self.sites = list(dict.fromkeys(sites))
        self.ids = np.zeros(0, np.uint64)
        """Of the inputs that have been run, in the order of the states."""
        self._states: dict[tuple[Site, bool], list[torch.Tensor]] = {}

    def add(self, *columns: Columns) -> None:
        """Run those of these inputs that have not been run, in one go."""
        names = [v.name for v in self.algorithm.input_variables]
        together = {name: np.concatenate([c[name] for c in columns]) for name in names}
        ids, first = np.unique(self.algorithm.input_ids(together), return_index=True)
        new = ~np.isin(ids, self.ids)
        if not new.any():
            return
        rows = first[new]
        values = self.algorithm.arrays({name: column[rows] for name, column in together.items()})
        for source in (False, True):
            sites = [s for s in self.sites if _apart(s) or not source]
            if not sites:
                continue
            for site, states in capture(self.network, values, sites, source=source).items():
                self._states.setdefault((site, source), []).append(_finite(states.cpu(), site, values))
        self.ids = np.concatenate([self.ids, ids[new]])

    def of(self, site: Site, columns: Columns, *, source: bool = False) -> torch.Tensor:
        """The site's states in these inputs.  # shape: (n, groups, d)"""
        self.add(columns)
        key = (site, source and _apart(site))
        if len(self._states[key]) > 1:
            self._states[key] = [torch.cat(self._states[key])]
        order = np.argsort(self.ids)
        wanted = self.algorithm.input_ids({v.name: columns[v.name] for v in self.algorithm.input_variables})
        rows = order[np.searchsorted(self.ids, wanted, sorter=order)]
        return self._states[key][0][torch.from_numpy(rows)]

    def delta(self, site: Site, base: Columns, source: Columns) -> torch.Tensor:
        """State of the source minus that of the base, in double precision.  # shape: (n, groups, d)"""
        return self.of(site, source, source=True).double() - self.of(site, base).double()


def _apart(site: Site) -> bool:
    """Whether the source is read elsewhere than the base."""
    return any(place.source_position is not None for place in site.places)


def _finite(states: torch.Tensor, site: Site, values: Mapping[str, np.ndarray]) -> torch.Tensor:
    bad = torch.nonzero(~torch.isfinite(states).flatten(1).all(dim=1)).squeeze(1)
    if len(bad):
        first = ", ".join(f"{name}={column[int(bad[0])]}" for name, column in values.items())
        raise FitError(
            "activations are not finite",
            where=str(site),
            got=f"nan or inf in {len(bad):,} of {len(states):,} inputs, the first is {first}",
            expected="finite numbers",
            fix="look at what the network does with these inputs, or leave them out",
        )
    return states


@dataclass(frozen=True, eq=False)
class Flips:
    """Controlled pairs of one variable."""

    pairs: Counterfactuals
    variable: Variable

    @cached_property
    def base(self) -> Columns:
        """# shape: (n,) or (n, width) each"""
        return {name: column[self.pairs.base] for name, column in self.pairs.inputs.items()}

    @cached_property
    def source(self) -> Columns:
        """# shape: (n,) or (n, width) each"""
        rows = self.pairs.source_of(self.variable)
        return {name: column[rows] for name, column in self.pairs.inputs.items()}

    @cached_property
    def labels(self) -> np.ndarray | None:
        """The unordered transition of each pair; None of a variable with more than finitely many values."""
        if not isinstance(self.pairs.algorithm.domain(self.variable), Finite):
            return None
        return transitions(self.pairs.base_value(self.variable), self.pairs.source_value(self.variable))


def seeded(seed: int, *parts: int) -> int:
    """A seed of its own for one purpose."""
    return int(np.random.default_rng([seed, 51, *parts]).integers(2**62))


def flips_of(pairs: Counterfactuals, variable: Variable, n: int, seed: int) -> tuple[Flips, tuple[str, ...]]:
    """Controlled pairs of the part, and the names of what they hold.

    What is held by default may fix the variable, where one of its own ancestors is among it: then the ancestors go.

    Raises:
        DataError: No pair can change the variable, or not by every transition.
    """
    algorithm = pairs.algorithm
    below, above = algorithm.descendants(variable), algorithm.ancestors(variable)
    everything = [v for v in algorithm.variables if v is not variable and v not in below]
    held = [v for v in everything if v in algorithm.inner_variables or v not in above]
    fewer = [v for v in held if v not in above]
    if _fixed(algorithm, variable, set(held)):
        return Flips(controlled_within(pairs, variable, n, hold=fewer, seed=seed), variable), _names(fewer)
    try:
        return Flips(controlled_within(pairs, variable, n, seed=seed), variable), _names(held)
    except DataError as first:
        if len(fewer) == len(held):
            raise
        try:
            found = controlled_within(pairs, variable, n, hold=fewer, seed=seed)
        except DataError:
            raise first from None
        return Flips(found, variable), _names(fewer)


def _fixed(algorithm: Algorithm, variable: Variable, held: Set[Variable]) -> bool:
    """Whether the held variables fix this one by the graph alone, so that no search for pairs can help."""
    parents = algorithm.parents(variable)
    return bool(parents) and all(p in held or _fixed(algorithm, p, held) for p in parents)


def held_of(
    pairs: Counterfactuals, variable: Variable, n: int, seed: int, nuisance: Nuisance
) -> tuple[HeldPairs, bool]:
    """Pairs of the part's inputs that hold the variable, and whether sources were put together from two inputs.

    They are where no two inputs agree in what has to be held; a source that falls into another part is left out.

    Raises:
        DataError: There is nothing that could be drawn again.
    """
    algorithm = pairs.algorithm
    if variable in algorithm.input_variables:
        # An input has no parents that could be drawn again.
        nuisance = "others"
    whole = all(not isinstance(algorithm.domain(v), Space) for v in algorithm.input_variables)
    if whole:
        try:
            return nuisance_pairs(algorithm, variable, pairs.inputs, n, seed=seed, nuisance=nuisance), False
        except DataError:
            # Refused for good below, if not for want of inputs that agree.
            pass
    share = dict(pairs.design.shares).get(pairs.part or "", 1.0)
    wanted = int(np.ceil(2 * n / share))
    try:
        drawn = nuisance_pairs(
            algorithm, variable, pairs.inputs, wanted, seed=seed, nuisance=nuisance, recombine=True
        )
    except DataError as error:
        if nuisance == "others":
            raise
        raise DataError(
            error.what, where=error.where, got=error.got, expected=error.expected,
            fix='give more inputs, or use nuisance="others", which leaves the variable\'s ancestors alone',
        ) from error  # fmt: skip
    # The two kinds of nuisance are one after the other: keep as many of either.
    kept = np.flatnonzero(belongs(pairs, algorithm.input_ids(drawn.source)))
    rows = kept[np.linspace(0, len(kept) - 1, min(n, len(kept))).astype(int)] if len(kept) else kept
    return HeldPairs(
        *({name: c[rows] for name, c in side.items()} for side in (drawn.base, drawn.source))
    ), True


def _names(variables: Sequence[Variable]) -> tuple[str, ...]:
    return tuple(v.name for v in variables)

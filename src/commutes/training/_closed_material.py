"""Where one group's maps are found: its states, its pairs, and what is computed from them."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import torch

from commutes.algorithm import Columns, Finite, Variable
from commutes.alignment import Group
from commutes.counterfactuals import Counterfactuals
from commutes.errors import DataError, FitError, NetworkError
from commutes.evaluation import answers_of
from commutes.features import HeldPairs, Moments, gradients, moments, principal
from commutes.features._spectra import Map
from commutes.training._closed_data import Activations, Flips, Nuisance, flips_of, held_of, seeded

__all__ = ["Material"]

SIZE = 1_024
"""Controlled pairs, and as many that hold the variable: four for each of 256 coordinates."""
WIDE = 256
"""Coordinates up to which nothing is reduced."""
PER_COORDINATE = 4
"""Fewer states than this for each coordinate do not give a covariance."""
SCATTERS = 2**24
"""Numbers in the scatters of all classes beyond which they are taken among principal components: 128 MiB."""
SAMPLED = 2048
"""States from which principal components are taken: eight for each of 256."""
ROUNDING = 10
"""Roundings of the largest number of a state; its components are sums of many rounded numbers."""


@dataclass(frozen=True, eq=False)
class Material:
    """Where one group's maps are found: its states, and the pairs of each of its variables."""

    pairs: Counterfactuals
    group: Group
    activations: Activations
    map: Map
    nuisance: Nuisance
    size: int | None
    seed: int
    _flips: dict[Variable, tuple[Flips, tuple[str, ...]]] = field(default_factory=dict)
    _held: dict[Variable, tuple[HeldPairs, bool]] = field(default_factory=dict)

    @property
    def place(self) -> tuple[int, ...]:
        """Numbers that tell this group from the others, whatever the order in which variables were named."""
        return tuple(sorted(self.number(v) for v in self.group.columns))

    def number(self, variable: Variable) -> int:
        """The variable's place in the algorithm."""
        return self.pairs.algorithm.variables.index(variable)

    def flips(self, variable: Variable) -> tuple[Flips, tuple[str, ...]]:
        """Its controlled pairs, and what they hold."""
        if variable not in self._flips:
            seed = seeded(self.seed, 0, self.number(variable))
            self._flips[variable] = flips_of(self.pairs, variable, self.size or SIZE, seed)
        return self._flips[variable]

    def held(self, variable: Variable) -> tuple[HeldPairs, bool]:
        """Pairs that hold it, and whether their sources were put together."""
        if variable not in self._held:
            seed = seeded(self.seed, 1, self.number(variable))
            self._held[variable] = held_of(self.pairs, variable, self.size or SIZE, seed, self.nuisance)
        return self._held[variable]

    @cached_property
    def rows(self) -> np.ndarray:
        """Which of the pairs' distinct inputs are used."""
        return self._some(len(self.pairs.ids), 2)

    @cached_property
    def inputs(self) -> Columns:
        """The inputs whose states are used."""
        return {name: column[self.rows] for name, column in self.pairs.inputs.items()}

    @cached_property
    def states(self) -> torch.Tensor:
        """# shape: (n, groups, p)"""
        return self.reduced(self.whole.double())

    @cached_property
    def whole(self) -> torch.Tensor:
        """The states in the site's own coordinates.  # shape: (n, groups, d)"""
        return self.activations.of(self.group.site, self.inputs)

    @cached_property
    def basis(self) -> torch.Tensor | None:
        """Leading principal components, where the states are too few for the width or the scatters too large.

        # shape: (d, p)
        """
        width = self.group.width
        flat = self.whole.flatten(0, 1)
        values = max(
            (len(np.unique(self.classes(v))) for v in self.group.columns if self.finite(v)), default=1
        )
        scatters = max(values, values * (values - 1) // 2) * width**2
        if width <= WIDE or (len(flat) >= PER_COORDINATE * width and scatters <= SCATTERS):
            return None
        if any(place.source_position is not None for place in self.group.site.places):
            # What is swapped in comes from another position, whose states may lie elsewhere.
            flat = torch.cat(
                [flat, self.activations.of(self.group.site, self.inputs, source=True).flatten(0, 1)]
            )
        rows = np.unique(np.linspace(0, len(flat) - 1, min(len(flat), SAMPLED)).astype(int))
        some = flat[torch.from_numpy(rows)]
        basis = principal(some, max(WIDE, 2 * self.group.dimension))
        # Components that are the rounding of the network's own precision are no directions of its states.
        spread = (some.double() @ basis).std(dim=0)
        # In half precision what is rounding for one state is a difference between others: nothing more is left out.
        rounded = min(torch.finfo(some.dtype).eps, torch.finfo(torch.float32).eps)
        return basis[:, spread > ROUNDING * rounded * float(some.abs().max())]

    def finite(self, variable: Variable) -> bool:
        """Whether the variable has classes."""
        return isinstance(self.pairs.algorithm.domain(variable), Finite)

    def classes(self, variable: Variable) -> np.ndarray:
        """The variable's code in each of the inputs.  # shape: (n,)"""
        return self.pairs.columns[variable.name][self.rows]

    def of_classes(self, variable: Variable) -> Moments:
        """Moments of the states by the variable's value.

        Raises:
            FitError: A variable without classes.
        """
        if not self.finite(variable):
            raise FitError(
                "this method compares classes, and the variable has none",
                got=f"{variable.name} in {self.pairs.algorithm.domain(variable).describe()}",
                expected="a variable with finitely many values",
                fix='use a method that goes by differences: "contrast", "pca_of_flips" or "attribution"',
            )
        return moments(self.states, self.classes(variable))

    def of_flips(self, variable: Variable) -> torch.Tensor:
        """Differences of the controlled pairs.  # shape: (n, groups, p)"""
        flips = self.flips(variable)[0]
        return self.reduced(self.activations.delta(self.group.site, flips.base, flips.source))

    def of_held(self, variable: Variable) -> torch.Tensor:
        """Differences of the pairs that hold the variable.  # shape: (n, groups, p)"""
        held = self.held(variable)[0]
        return self.reduced(self.activations.delta(self.group.site, held.base, held.source))

    def reduced(self, states: torch.Tensor) -> torch.Tensor:
        """In the coordinates of the basis, where there is one."""
        return states if self.basis is None else states @ self.basis

    def slopes(
        self, columns: Columns, plus: np.ndarray, minus: np.ndarray, *, source: bool = False
    ) -> torch.Tensor:
        """Gradients of logit(plus) - logit(minus), answers as output codes.  # shape: (n, groups, p)"""
        network, algorithm = self.group.site.network, self.pairs.algorithm
        answers = answers_of(network, algorithm)
        up, down = answers.targets(plus), answers.targets(minus)
        if up.ndim > 1:
            raise NetworkError(
                "the gradient of a logit difference is that of answers of one token",
                where=network.name,
                got=f"answers of {up.shape[1]} tokens",
                expected="answers of one token",
                fix='use a method without gradients, such as "contrast" or "difference_of_means"',
            )
        self.activations.add(columns)
        values = algorithm.arrays(columns)
        chunk = network.batch_size(network.encode(values))
        found = gradients(self.group.site, values, plus=up, minus=down, source=source, chunk=chunk)
        return self.reduced(found.cpu().double())

    def some_pairs(self, allowed: np.ndarray) -> np.ndarray:
        """Rows of the pairs, of those that are allowed.

        Raises:
            DataError: None is.
        """
        rows = np.flatnonzero(allowed)
        if not len(rows):
            raise DataError(
                "no pair changes the answer",
                got=f"{len(self.pairs):,} pairs, 0 effective",
                expected="pairs whose expected answer is not the base's",
                fix="draw other pairs, or use a method that does not go by the answer",
            )
        return rows[self._some(len(rows), 3)]

    def _some(self, n: int, purpose: int) -> np.ndarray:
        """All of n, or as many as were asked for, in order."""
        if self.size is None or n <= self.size:
            return np.arange(n)
        rng = np.random.default_rng(seeded(self.seed, purpose, *self.place))
        return np.sort(rng.choice(n, size=self.size, replace=False))

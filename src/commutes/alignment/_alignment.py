"""Which variable lives where: a frozen map from variables to disjoint slices of featurizers."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from commutes.algorithm import Algorithm, Variable
from commutes.alignment._groups import Group, groups_of, refuse_overlap
from commutes.alignment._saved_maps import shape_of
from commutes.engine import Featurizer, layouts
from commutes.errors import AlignmentError
from commutes.features import AffineMap, Features, Gated, Mask, Neurons, Slice, Subspace
from commutes.network import Network, Site

if TYPE_CHECKING:
    from commutes.counterfactuals import Counterfactuals


class Alignment:
    """A claim about where an algorithm's variables live in a network. A value: fitting returns a new one.

    Args:
        algorithm: The hypothesis.
        slices: For each aligned variable, the coordinates that carry it, such as `Rotation(site)[:4]`.

    Raises:
        AlignmentError: Unknown variables, slices that overlap or exceed the site, several networks.
    """

    def __init__(self, algorithm: Algorithm, slices: Mapping[Variable, Slice]) -> None:
        self.algorithm = algorithm.check()
        self.slices = {_variable(algorithm, v): _slice(v, s) for v, s in slices.items()}
        if not self.slices:
            raise AlignmentError(
                "an alignment needs at least one variable",
                got="none",
                expected="{variable: featurizer[slice], ...}",
            )
        self.network = _one_network(self.slices)
        resolved = layouts(self.network, self.network.encode(_sample(algorithm)), _sites(self.slices))
        self.groups = groups_of(self.slices, resolved)
        refuse_overlap(self.groups, resolved, _sample(algorithm))
        self.maps: tuple[Featurizer | None, ...] = tuple(_given_map(g, self.network) for g in self.groups)
        self.fitted_ids = np.zeros(0, np.uint64)
        self.selected_ids = np.zeros(0, np.uint64)
        self.history: Mapping[str, Any] = {}

    @property
    def variables(self) -> tuple[Variable, ...]:
        """The aligned variables."""
        return tuple(self.slices)

    @property
    def sites(self) -> tuple[Site, ...]:
        """One site per group."""
        return tuple(group.site for group in self.groups)

    @property
    def fitted(self) -> bool:
        """Whether every map is known."""
        return all(m is not None for m in self.maps)

    @property
    def featurizers(self) -> tuple[Featurizer, ...]:
        """The maps, one per group.

        Raises:
            AlignmentError: A learnt slice is not fitted yet.
        """
        missing = [g for g, m in zip(self.groups, self.maps, strict=True) if m is None]
        if missing:
            names = ", ".join(v.name for v in missing[0].columns)
            raise AlignmentError(
                "the alignment is not fitted",
                where=str(missing[0].site),
                got=f"an unfitted {missing[0].features} for {names}",
                expected="a fitted alignment",
                fix="alignment = cm.fit(alignment, pairs, seed=0) returns a fitted one",
            )
        return tuple(m for m in self.maps if m is not None)

    def subspace(self, variable: Variable) -> Subspace:
        """Reader and writer of one variable, d x k; of a mask, those behind open gates."""
        for group, featurizer in zip(self.groups, self.featurizers, strict=True):
            if variable in group.columns:
                columns = list(group.columns[variable])
                if isinstance(featurizer, Gated):
                    columns = [column for column in columns if column in featurizer.open]
                    featurizer = featurizer.inner
                if isinstance(featurizer, Subspace):
                    return featurizer[columns]
                if isinstance(featurizer, AffineMap):
                    return featurizer.subspace()[columns]
                if isinstance(featurizer, Neurons):
                    basis = torch.eye(group.width)[:, featurizer.index[columns].cpu()]
                    return Subspace(basis, basis)
                raise AlignmentError(
                    "the variable's map is not linear",
                    where=f"{variable.name} at {group.site}",
                    got=f"a {group.features}",
                    expected="neurons, a rotation, an oblique or an affine map",
                    fix="use alignment.featurizers, which read and write",
                )
        raise AlignmentError(
            "the variable is not aligned",
            got=variable.name,
            expected=", ".join(v.name for v in self.variables),
        )

    def sizes(self, group: Group) -> dict[Variable, int]:
        """How many coordinates of a group each of its variables has; of a fitted mask, behind open gates."""
        found = self.maps[self.groups.index(group)]
        shown = set(found.open) if isinstance(found, Gated) else set(range(group.dimension))
        return {variable: len(shown & set(columns)) for variable, columns in group.columns.items()}

    @property
    def gates(self) -> list[dict[str, Any]]:
        """Of every variable whose coordinates a fitted mask or boundary chose: how many gates are open, of how many."""
        told: list[dict[str, Any]] = []
        for group, found in zip(self.groups, self.maps, strict=True):
            if isinstance(found, Gated):
                # Coordinates of one head or position have one gate.
                per = group.features.per if isinstance(group.features, Mask) else 1
                for variable, columns in group.columns.items():
                    every = {group.coordinates[c] // per for c in columns}
                    count = len({group.coordinates[c] // per for c in set(columns) & set(found.open)})
                    word = "none" if not count else "all" if count == len(every) else "some"
                    told.append({"variable": variable.name, "open": count, "of": len(every), "gates": word})
        return told

    def masks(self, pairs: Counterfactuals) -> list[torch.Tensor]:
        """Per group, which coordinate of which pair comes from which source.  # shape of each: (n, slots, k)

        Raises:
            AlignmentError: The pairs swap a variable that is not aligned, or belong to another algorithm.
        """
        if pairs.algorithm is not self.algorithm:
            raise AlignmentError(
                "the pairs were drawn under another algorithm than the aligned one",
                got=f"pairs of {pairs.algorithm.name!r}",
                expected=f"pairs of {self.algorithm.name!r}, of the very same object",
                fix="draw them under alignment.algorithm, or use pairs.for_algorithm(alignment.algorithm)",
            )
        unaligned = [v.name for v in pairs.variables if v not in self.slices]
        if unaligned:
            raise AlignmentError(
                "the pairs swap a variable that is not aligned",
                got=", ".join(unaligned),
                expected=f"swaps of {', '.join(v.name for v in self.variables)}",
                fix="align it too, or draw pairs with swap=[...] of the aligned variables",
            )
        tables = []
        for group in self.groups:
            mask = torch.zeros(len(pairs), pairs.source.shape[1], group.dimension, dtype=torch.bool)
            for variable, columns in group.columns.items():
                slots = torch.from_numpy(np.ascontiguousarray(pairs.slot_of(variable)))
                rows = torch.nonzero(slots >= 0).squeeze(1)
                for column in columns:
                    mask[rows, slots[rows], column] = True
            tables.append(mask.to(self.network.device))
        return tables

    def with_maps(
        self,
        maps: Sequence[Featurizer],
        *,
        fitted_ids: np.ndarray | None = None,
        selected_ids: np.ndarray | None = None,
        history: Mapping[str, Any] | None = None,
    ) -> Alignment:
        """The same claim with these maps, and with the hashed ids of the inputs that they were found on.

        Raises:
            AlignmentError: Too few or too many, a map of another family or shape than declared, or subspaces of which
                reader and writer are not biorthogonal, so that what is swapped for one variable changes another.
        """
        if len(maps) != len(self.groups):
            raise AlignmentError(
                "an alignment takes a map for every featurizer",
                where=repr(self),
                got=f"{len(maps)} maps",
                expected=f"{len(self.groups)}, for "
                + "; ".join(f"{', '.join(v.name for v in g.columns)} at {g.site}" for g in self.groups),
            )
        for group, featurizer in zip(self.groups, maps, strict=True):
            if not group.features.accepts(featurizer):
                raise AlignmentError(
                    "the map is not of the family that was declared",
                    where=str(group.site),
                    got=f"a {type(featurizer).__name__} for a {group.features}",
                    expected="a map of that family: no fit changes it",
                    fix="declare the family that is meant, or find the map by a method for this one",
                )
            d, k = shape_of(featurizer, group.width)
            if (d, k) not in ((group.width, group.dimension), (group.width, -1)):
                raise AlignmentError(
                    "the map is of another size than its site and its variables",
                    where=str(group.site),
                    got=f"{d} x {k}",
                    expected=f"{group.width} x {group.dimension}",
                )
            inner = featurizer.inner if isinstance(featurizer, Gated) else featurizer
            if isinstance(inner, Subspace):
                inner.checked(str(group.site))
        other = copy.copy(self)
        other.maps = tuple(maps)
        other.fitted_ids = self.fitted_ids if fitted_ids is None else np.union1d(self.fitted_ids, fitted_ids)
        other.selected_ids = (
            self.selected_ids if selected_ids is None else np.union1d(self.selected_ids, selected_ids)
        )
        other.history = dict(self.history if history is None else history)
        return other

    def on(self, network: Network) -> Alignment:
        """The same claim, unfitted where it is learnt, about another network of the same structure."""
        # One new site per old one and one new featurizer per old one, so that what was shared stays shared.
        sites = {s: s.on(network) for s in _sites(self.slices)}
        moved: dict[Features, Features] = {}
        for part in self.slices.values():
            features = part.features
            moved.setdefault(features, features.at(sites[features.site]))
        return Alignment(
            self.algorithm, {v: Slice(moved[s.features], s.index) for v, s in self.slices.items()}
        )

    def under(self, algorithm: Algorithm) -> Alignment:
        """The same places for the variables of another algorithm that have the same names, unfitted where learnt."""
        return Alignment(algorithm, {algorithm[v.name]: s for v, s in self.slices.items()})

    def __repr__(self) -> str:
        state = "fitted" if self.fitted else "not fitted"
        opened = {one["variable"]: f", {one['open']} of {one['of']} gates open" for one in self.gates}
        parts = ", ".join(
            f"{v.name}: {s!r} at {s.features.site}{opened.get(v.name, '')}" for v, s in self.slices.items()
        )
        return f"Alignment({self.algorithm.name} in {self.network.name}, {state}; {parts})"


def _variable(algorithm: Algorithm, variable: Variable) -> Variable:
    if not isinstance(variable, Variable):
        raise AlignmentError(
            "an alignment maps variables to slices",
            got=repr(variable),
            expected="a Variable of the algorithm",
        )
    known = algorithm[variable]
    if known is algorithm.output_variable:
        raise AlignmentError(
            "the output is what is measured, it is not aligned",
            got=known.name,
            expected="an inner variable: " + ", ".join(v.name for v in algorithm.inner_variables),
        )
    return known


def _slice(variable: Variable, candidate: object) -> Slice:
    if isinstance(candidate, Features):
        raise AlignmentError(
            "a variable is aligned with a slice of a featurizer",
            where=variable.name,
            got=f"the whole {candidate}",
            expected="a slice such as featurizer[:4]",
            fix="say which coordinates the variable gets",
        )
    if not isinstance(candidate, Slice):
        raise AlignmentError(
            "a variable is aligned with a slice of a featurizer",
            where=variable.name,
            got=type(candidate).__name__,
            expected="Coordinates(site)[...] or Rotation(site)[...]",
        )
    return candidate


def _one_network(slices: Mapping[Variable, Slice]) -> Network:
    networks = list(dict.fromkeys(s.features.site.network for s in slices.values()))
    if len(networks) > 1:
        raise AlignmentError(
            "the sites belong to different networks",
            got=" and ".join(n.name for n in networks),
            expected="sites made by one Network object",
        )
    return networks[0]


def _sample(algorithm: Algorithm) -> dict[str, np.ndarray]:
    """One input, from which widths are learnt."""
    rng = np.random.default_rng(0)
    return algorithm.arrays({v.name: algorithm.domain(v).sample(rng, 1) for v in algorithm.input_variables})


def _sites(slices: Mapping[Variable, Slice]) -> list[Site]:
    return list(dict.fromkeys(s.features.site for s in slices.values()))


def _given_map(group: Group, network: Network) -> Featurizer | None:
    return group.features.given(group.coordinates, network.device)

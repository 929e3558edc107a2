"""The featurizers of an alignment, each with its variables, and that no two of them write the same place."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from commutes.algorithm import Variable
from commutes.engine import SiteLayout
from commutes.errors import AlignmentError
from commutes.features import Dictionary, Features, Mask, Slice
from commutes.network import Moment, Site


@dataclass(frozen=True, eq=False)
class Group:
    """The variables that one featurizer carries, and where its coordinates are.

    All variables of a group are read and written together, through one map.
    """

    features: Features
    columns: Mapping[Variable, tuple[int, ...]]
    """Columns of the map that belong to each variable."""
    coordinates: tuple[int, ...]
    """The coordinates that the variables named, in the order of the map's columns."""
    width: int
    """d, coordinates of the site."""

    @property
    def site(self) -> Site:
        """Where the featurizer reads and writes."""
        return self.features.site

    @property
    def dimension(self) -> int:
        """k, columns of the map: the union of the variables' slices."""
        return len(self.coordinates)


def groups_of(slices: Mapping[Variable, Slice], resolved: Mapping[Site, SiteLayout]) -> tuple[Group, ...]:
    """The featurizers of an alignment, each with the variables that it carries.

    Raises:
        AlignmentError: Two variables of one featurizer overlap, or a slice exceeds the site.
    """
    # Neurons of one site are one group, however many Coordinates were made of it; any other map is its own.
    found: dict[object, tuple[Features, dict[Variable, tuple[int, ...]]]] = {}
    for variable, part in slices.items():
        features = part.features
        size = features.size(resolved[features.site].width)
        key = features if features.spreads else (type(features), features.site)
        members = found.setdefault(key, (features, {}))[1]
        inner = features.features if isinstance(features, Mask) else features
        owner = "dictionary" if isinstance(inner, Dictionary) else "site"
        members[variable] = part.resolve(size, of=variable.name, owner=owner)
    return tuple(_group(features, members, resolved) for features, members in found.values())


def _group(
    features: Features, members: Mapping[Variable, tuple[int, ...]], resolved: Mapping[Site, SiteLayout]
) -> Group:
    taken: dict[int, Variable] = {}
    for variable, chosen in members.items():
        for coordinate in chosen:
            if coordinate in taken:
                raise AlignmentError(
                    "two variables overlap",
                    where=str(features.site),
                    got=f"coordinate {coordinate} for {taken[coordinate].name} and for {variable.name}",
                    expected="disjoint slices",
                    fix="give each variable coordinates of its own",
                )
            taken[coordinate] = variable
    union = tuple(sorted(taken))
    column = {coordinate: i for i, coordinate in enumerate(union)}
    columns = {v: tuple(column[c] for c in chosen) for v, chosen in members.items()}
    return Group(features, columns, union, resolved[features.site].width)


def refuse_overlap(
    groups: Sequence[Group], resolved: Mapping[Site, SiteLayout], sample: Mapping[str, np.ndarray]
) -> None:
    """Refuse two featurizers that may write the same place.

    Raises:
        AlignmentError: Naming the position and the feature that both may write.
    """
    for i, first in enumerate(groups):
        for second in groups[i + 1 :]:
            shared = _common(_cells(first, resolved, sample), _cells(second, resolved, sample))
            if shared is not None:
                raise AlignmentError(
                    "two featurizers overlap",
                    where=shared,
                    got=f"{first.features} at {first.site} and {second.features} at {second.site}",
                    expected="one featurizer per place, sliced for several variables",
                    fix="make one featurizer of the site and give each variable a slice of it",
                )


def _cells(
    group: Group, resolved: Mapping[Site, SiteLayout], sample: Mapping[str, np.ndarray]
) -> dict[Moment, set[tuple[int, int]]]:
    """The (position, feature) cells that the group may write, by moment."""
    cells: dict[Moment, set[tuple[int, int]]] = {}
    order: list[tuple[Moment, tuple[int, int]]] = []
    for place in resolved[group.site].places:
        table = place.positions(sample, 1, source=False)
        positions = range(place.length) if table is None else table[0].tolist()
        features = range(place.width) if place.features is None else place.features.tolist()
        # A module that runs once has call 0 for its only call, and a tensor alone is member 0 of its tuple.
        moment = replace(
            place.place.moment, call=place.place.moment.call or 0, item=place.place.moment.item or 0
        )
        order.extend((moment, (int(p), int(f))) for p in positions for f in features)
    # Neurons write what they name and nothing else; any other map may write anywhere in its site.
    written = range(len(order)) if group.features.spreads or group.site.each else group.coordinates
    for index in written:
        moment, cell = order[index]
        cells.setdefault(moment, set()).add(cell)
    return cells


def _common(
    first: Mapping[Moment, set[tuple[int, int]]], second: Mapping[Moment, set[tuple[int, int]]]
) -> str | None:
    for moment, cells in first.items():
        both = cells & second.get(moment, set())
        if both:
            position, feature = min(both)
            plain = replace(moment, call=moment.call or None, item=moment.item or None)
            return f"{plain}, position {position}, feature {feature}"
    return None

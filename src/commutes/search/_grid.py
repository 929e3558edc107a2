"""The places and sizes that a spec asks for, held against the algorithm and the network."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from commutes.errors import CommutesError, SpecError
from commutes.search._asked import Asked, Keys, asked, by_name, found, located, told
from commutes.search._claimed import claimed_variables, sample_values

if TYPE_CHECKING:
    from commutes.algorithm import Algorithm, Variable
    from commutes.alignment import Alignment
    from commutes.network import Network, Site
    from commutes.search._spec import Spec

__all__ = ["SIZES", "Axis", "Grid", "GridRow", "claim", "grid"]


@dataclass(frozen=True)
class Axis:
    """One side of the picture of a sweep."""

    name: str
    """what its labels are: "layer", "site", "position", ..."""
    labels: tuple[int | str, ...]
    """in the order of the spec"""


@dataclass(frozen=True, eq=False)
class GridRow:
    """One place of the sweep."""

    label: str
    """the place in words, one of a kind in the sweep"""
    layer: int | str
    """its label among the layers or sites"""
    column: str
    """its label among the heads and positions; empty where neither is named"""
    sites: Mapping[Variable, Site]
    """where each claimed variable is sought; the same site for all, unless the spec says otherwise"""
    widths: Mapping[Site, int]
    """how many coordinates each of these sites has"""

    @property
    def width(self) -> int:
        """The coordinates of its narrowest site."""
        return min(self.widths.values())

    def sharing(self, site: Site) -> int:
        """How many variables live side by side at `site`."""
        return sum(other is site for other in self.sites.values())


@dataclass(frozen=True, eq=False)
class Grid:
    """The cells of a sweep: every place with every size."""

    rows: tuple[GridRow, ...]
    """the places, in the order of the spec"""
    sizes: tuple[int, ...]
    """dimensions per variable, in the order of the spec"""
    variables: tuple[Variable, ...]
    """the claimed variables"""
    place: str
    """what every row is one of: the name of a place in every layer, or nothing"""
    down: Axis
    """layers or sites"""
    across: Axis
    """heads and positions where there are several, otherwise sizes"""

    @property
    def cells(self) -> tuple[tuple[GridRow, int], ...]:
        """Every place with every size, place by place."""
        return tuple((row, size) for row in self.rows for size in self.sizes)

    def column(self, row: GridRow, size: int) -> int | str:
        """The label of a cell on the side that goes across."""
        return size if self.across.name == SIZES else row.column


SIZES = "coordinates per variable"


def grid(
    spec: Spec, algorithm: Algorithm, network: Network, *, inputs: Mapping[str, np.ndarray] | None = None
) -> Grid:
    """The sweep that the spec asks for, every place found and every size held against its width.

    Args:
        spec: Names layers or sites, heads, positions and sizes.
        algorithm: Gives the variables, and one example on which the places' widths are learnt.
        network: Trained or not.
        inputs: Inputs on which positions are held against the prompts; by default that one example.

    Raises:
        SpecError: A layer beyond the last block, a module, head or position that does not exist, a position that
            does not mean the same in every prompt, a size beyond the width.
    """
    variables = claimed_variables(spec, algorithm)
    swept = asked(spec, network)
    own = [{v: located(spec, network, v.name, place) for v in variables} for place in swept]
    _refuse_repeated(spec, swept, own)
    asking = _sites(spec, network, own)
    sample = sample_values(algorithm, 1, seed=spec.seed)
    _check_positions(spec, network, asking, sample if inputs is None else inputs)
    sites = {place: site for place, (site, _) in asking.items()}
    widths = _widths(network, sites, sample)
    rows = tuple(
        _row(spec, network, place, {v: sites[p] for v, p in members.items()}, widths)
        for place, members in zip(swept, own, strict=True)
    )
    _check_sizes(spec, algorithm, rows)
    down = Axis("layer" if by_name(spec, network) and spec.claim.sites is None else "site",
                tuple(dict.fromkeys(row.layer for row in rows)))  # fmt: skip
    place = swept[0].name if down.name == "layer" else ""
    return Grid(rows, spec.claim.sizes, variables, place, down, _across(spec, rows))


def _across(spec: Spec, rows: Sequence[GridRow]) -> Axis:
    columns = tuple(dict.fromkeys(row.column for row in rows))
    if len(columns) == 1:
        return Axis(SIZES, spec.claim.sizes)
    named = [("head", spec.claim.heads), ("position", spec.claim.positions)]
    return Axis(" and ".join(name for name, given in named if given is not None), columns)


def _row(
    spec: Spec, network: Network, place: Asked, sites: Mapping[Variable, Site], widths: Mapping[Site, int]
) -> GridRow:
    named = place.layer is not None and by_name(spec, network)
    layer = place.layer if named and place.layer is not None else place.name
    return GridRow(str(place), layer, place.column, sites, {s: widths[s] for s in sites.values()})


def _refuse_repeated(spec: Spec, swept: Sequence[Asked], own: Sequence[Mapping[Variable, Asked]]) -> None:
    seen: dict[tuple[Asked, ...], Asked] = {}
    for place, members in zip(swept, own, strict=True):
        first = seen.setdefault(tuple(members.values()), place)
        if first is not place:
            raise SpecError(
                "two places of the sweep are one and the same",
                where=spec.where(_own_table(spec)),
                got=f"{first} and {place}, where claim.at puts every variable at the same place",
                expected="places that differ for at least one variable",
                fix="let claim.at leave a variable where it is swept, or sweep one place only",
            )


def _own_table(spec: Spec) -> str:
    """The key of the first table of a variable's own: without one no two places meet."""
    return f"claim.at.{next(iter(spec.claim.at))}"


def _sites(
    spec: Spec, network: Network, own: Sequence[Mapping[Variable, Asked]]
) -> dict[Asked, tuple[Site, str | None]]:
    """One site for each place that is asked for, and the variable whose own table asks, if one does.

    Variables at one place share its site, and so one map.
    """
    sites: dict[Asked, tuple[Site, str | None]] = {}
    for members in own:
        for variable, place in members.items():
            if place not in sites:
                at = variable.name if variable.name in spec.claim.at else None
                sites[place] = found(spec, network, place, at=at), at
    return sites


def _check_positions(
    spec: Spec,
    network: Network,
    sites: Mapping[Asked, tuple[Site, str | None]],
    inputs: Mapping[str, np.ndarray],
) -> None:
    """Hold every position against every prompt: this needs the tokenizer, and no run of the network."""
    language = network.language
    if language is None:
        return
    key = "network.build" if spec.network.pretrained is None else "network.template"
    told(spec, key, lambda: language.prompts(inputs), listed=False)
    checked = set()
    for place, (site, at) in sites.items():
        position = site.places[0].position
        if callable(position) and place.position not in checked:
            checked.add(place.position)
            told(spec, Keys(spec, at).position(place), functools.partial(position, inputs))


def _widths(
    network: Network, sites: Mapping[Asked, Site], sample: Mapping[str, np.ndarray]
) -> dict[Site, int]:
    from commutes.engine import layouts

    resolved = layouts(network, network.encode(sample), list(sites.values()))
    return {site: layout.width for site, layout in resolved.items()}


def _check_sizes(spec: Spec, algorithm: Algorithm, rows: Sequence[GridRow]) -> None:
    for number, size in enumerate(spec.claim.sizes):
        for row in rows:
            for site, width in row.widths.items():
                if size * row.sharing(site) > width:
                    raise _too_wide(spec, number, size, row, site)
    apart = [row for row in rows if len(row.widths) > 1]
    for row in apart:
        try:
            claim(row, max(spec.claim.sizes), algorithm, spec.claim.map)
        except CommutesError as error:
            raise SpecError(
                error.what,
                where=f"{spec.where(_own_table(spec))}; {row.label}",
                got=error.got,
                expected=error.expected,
                fix="give the variables one place, or places that share nothing",
            ) from error


def claim(row: GridRow, size: int, algorithm: Algorithm, map: Literal["rotation", "oblique"]) -> Alignment:
    """The claim of one cell: the variables of one site side by side in one map, sites apart in their own.

    Args:
        row: Where.
        size: Dimensions per variable.
        algorithm: Whose variables they are.
        map: Of which family.
    """
    from commutes.alignment import Alignment
    from commutes.features import Oblique, Rotation

    family = Oblique if map == "oblique" else Rotation
    maps = {site: family(site) for site in row.widths}
    slices, taken = {}, dict.fromkeys(row.widths, 0)
    for variable, site in row.sites.items():
        slices[variable] = maps[site][taken[site] : taken[site] + size]
        taken[site] += size
    return Alignment(algorithm, slices)


def _too_wide(spec: Spec, number: int, size: int, row: GridRow, site: Site) -> SpecError:
    variables, width = row.sharing(site), row.widths[site]
    where = row.label if len(row.widths) == 1 else str(site)
    count = f"{variables} variables x {size} dimensions" if variables > 1 else f"{size} dimensions"
    return SpecError(
        f"the size {size} does not fit into {where}",
        where=spec.where(f"claim.sizes.{number}"),
        got=f"{count} = {variables * size}" if variables > 1 else count,
        expected=f"at most {width} in all, the width of {where}",
        fix=f"use sizes of at most {width // variables}" if width >= variables else "choose a wider place",
    )

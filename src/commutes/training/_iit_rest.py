"""The coordinates of an alignment's sites that carry no variable: what a strict implementation does not depend on."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any

import torch

from commutes.algorithm import Algorithm, Variable
from commutes.alignment import Alignment, Group
from commutes.engine import Featurizer, PlaceLayout, SiteLayout
from commutes.errors import FitError, SiteError
from commutes.features import Gated, Neurons
from commutes.network import Site
from commutes.training._iit_runs import Tables


@dataclass(frozen=True, eq=False)
class Rest:
    """Per site of an alignment the map to all coordinates that carry no variable; units are numbered site by site."""

    sites: tuple[Site, ...]
    maps: tuple[Featurizer, ...]
    sizes: tuple[int, ...]
    """Units of every site."""

    @property
    def units(self) -> int:
        """How many there are in all."""
        return sum(self.sizes)

    def masks(self, chosen: torch.Tensor | None, n: int, device: torch.device) -> list[torch.Tensor]:
        """Per site, which unit of which example is taken from the one source.  # shape of each: (n, 1, k)

        Args:
            chosen: The one unit of every example, (n,); None is all of them.
            n: Examples.
            device: Of the masks.
        """
        whole = torch.ones(n, self.units, dtype=torch.bool)
        if chosen is not None:
            whole = torch.zeros_like(whole).scatter_(1, chosen.unsqueeze(1), True)
        return [mask.unsqueeze(1).to(device) for mask in whole.split(list(self.sizes), dim=1)]

    def name(self, unit: int) -> str:
        """A unit in words: its neuron, or its number among the directions that no variable has."""
        for site, found, size in zip(self.sites, self.maps, self.sizes, strict=True):
            if unit < size:
                if isinstance(found, Neurons):
                    return f"{site}, neuron {int(found.index[unit])}"
                return f"{site}, direction {unit} of the complement"
            unit -= size
        raise IndexError(unit)


def rest_of(alignment: Alignment, plan: Mapping[Site, SiteLayout], written: Mapping[Site, Tables]) -> Rest:
    """What the alignment leaves over at its own sites.

    Args:
        alignment: A fitted claim.
        plan: Its sites, resolved.
        written: Where they are edited.

    Raises:
        FitError: It leaves nothing over, a map has no complement, or one site holds coordinates of another.
    """
    _check_apart(plan, written)
    found = [_complement(g, m) for g, m in zip(alignment.groups, alignment.featurizers, strict=True)]
    sizes = [_size(m, g, alignment) for m, g in zip(found, alignment.groups, strict=True)]
    if not sum(sizes):
        raise FitError(
            "every coordinate of the alignment's sites carries a variable",
            where=", ".join(map(str, alignment.sites)),
            got="nothing that could be taken from another input",
            expected="coordinates that carry no variable",
            fix="leave strict= out, or align slices of a wider site",
        )
    return Rest(alignment.sites, tuple(found), tuple(sizes))


def _complement(group: Group, featurizer: Featurizer) -> Featurizer:
    if isinstance(featurizer, Gated):
        # What lies behind a closed gate carries nothing.
        featurizer = featurizer.opened()
    if isinstance(featurizer, Neurons):
        return featurizer.complement(group.width)
    found: Any = getattr(featurizer, "complement", None)
    if found is None:
        raise FitError(
            "what carries no variable is not known",
            where=str(group.site),
            got=f"a {type(featurizer).__name__}, which has no complement",
            expected="neurons, a rotation, an oblique, an affine or a reversible map",
            fix="leave strict= out",
        )
    return found()


def _size(featurizer: Featurizer, group: Group, alignment: Alignment) -> int:
    if isinstance(featurizer, Neurons):
        return len(featurizer.index)
    weights = next(p for p in alignment.network.module.parameters() if p.is_floating_point())
    blank = torch.zeros(1, 1, group.width, dtype=weights.dtype, device=alignment.network.device)
    return featurizer.read(blank).shape[-1]


def _check_apart(plan: Mapping[Site, SiteLayout], written: Mapping[Site, Tables]) -> None:
    """What is left over at one site must not be what carries a variable at another."""
    for first, second in combinations(plan, 2):
        places = [_plainly(p) for site in (first, second) for p in plan[site].places]
        try:
            replace(plan[first], places=tuple(places)).check_disjoint([*written[first], *written[second]])
        except SiteError as error:
            raise FitError(
                "two sites of the alignment share coordinates",
                where=f"{first} and {second}",
                got=error.got,
                expected="sites of their own: what is left over at one may carry a variable at the other",
                fix="make one Coordinates of one site, and give each variable a slice of it",
            ) from None


def _plainly(layout: PlaceLayout) -> PlaceLayout:
    # A module that runs once has call 0 for its only call, and a tensor alone is member 0 of its tuple.
    moment = layout.place.moment
    moment = replace(moment, call=moment.call or 0, item=moment.item or 0)
    return replace(layout, place=replace(layout.place, moment=moment))


def way_around(alignment: Alignment) -> str:
    """A path from an input to the output on which no variable is aligned, in words; empty where there is none.

    Where there is one the answer may change with coordinates that carry no aligned variable: they may carry another.
    """
    algorithm = alignment.algorithm
    paths = [[algorithm.output_variable]]
    while paths:
        path = paths.pop()
        if path[0] in algorithm.input_variables:
            return " -> ".join(variable.name for variable in path)
        parents = [v for v in algorithm.parents(path[0]) if v not in alignment.slices]
        paths += [[parent, *path] for parent in reversed(parents)]
    return ""


def left_open(algorithm: Algorithm, held: Collection[Variable]) -> tuple[Variable, ...]:
    """The variables that decide the answer beside those that are held; no held one is among them or above them.

    Among inputs that agree on them the answer hangs on the held variables alone. Of the variables of an alignment some
    are left open exactly where there is a `way_around`.
    """
    below = {v for one in held for v in algorithm.descendants(one)} - set(held)
    found: set[Variable] = set()
    asked = [algorithm.output_variable]
    while asked:
        for parent in algorithm.parents(asked.pop()):
            if parent in below:
                asked.append(parent)
            elif parent not in held:
                found.add(parent)
    return tuple(v for v in algorithm.variables if v in found)


def whole(widths: Sequence[int], device: torch.device) -> list[Featurizer]:
    """Per site the map to all of its coordinates."""
    return [Neurons(torch.arange(width, device=device)) for width in widths]

"""What a fitted mask chose, as coordinates that are simply there."""

from __future__ import annotations

from commutes.algorithm import Variable
from commutes.alignment._alignment import Alignment
from commutes.alignment._groups import Group
from commutes.engine import Featurizer
from commutes.errors import AlignmentError
from commutes.features import Coordinates, Features, Gated, Neurons, Rotation, Slice, Subspace


def opened(alignment: Alignment) -> Alignment:
    """The same interchanges without gates: neurons and orthogonal subspaces behind open ones, as families of their own.

    Other maps stay as they are, and so does a claim that is not fitted.

    Raises:
        AlignmentError: A variable without an open gate.
    """
    if not any(_plain(found) for found in alignment.maps):
        return alignment
    slices: dict[Variable, Slice] = {}
    maps: dict[Features, Featurizer | None] = {}
    for group, found in zip(alignment.groups, alignment.maps, strict=True):
        if isinstance(found, Gated) and _plain(found):
            slices |= _slices(group, found, maps)
        else:
            slices |= {variable: alignment.slices[variable] for variable in group.columns}
            maps[group.features] = found
    other = Alignment(alignment.algorithm, {v: slices[v] for v in alignment.variables})
    given = [
        maps.get(group.features) if own is None else own
        for group, own in zip(other.groups, other.maps, strict=True)
    ]
    if any(one is None for one in given):
        return other
    return other.with_maps(
        [one for one in given if one is not None],
        fitted_ids=alignment.fitted_ids,
        selected_ids=alignment.selected_ids,
        history=alignment.history,
    )


def _plain(found: Featurizer | None) -> bool:
    if not isinstance(found, Gated):
        return False
    inner = found.inner
    return isinstance(inner, Neurons) or (
        isinstance(inner, Subspace) and bool((inner.reader == inner.writer).all())
    )


def _slices(group: Group, found: Gated, maps: dict[Features, Featurizer | None]) -> dict[Variable, Slice]:
    """Of every variable what is behind its open gates; the map of a rotation goes into `maps`."""
    own = {v: [c for c in columns if c in found.open] for v, columns in group.columns.items()}
    for variable, columns in own.items():
        if not columns:
            raise AlignmentError(
                "a mask with no gate on swaps nothing",
                where=f"{variable.name} at {group.site}",
                got=f"{len(group.columns[variable])} gates, none open",
                expected="at least one",
                fix="leave the variable out, or fit it with less sparsity",
            )
    inner = found.inner
    if isinstance(inner, Neurons):
        neurons = Coordinates(group.site)
        return {v: neurons[inner.index[columns].tolist()] for v, columns in own.items()}
    assert isinstance(inner, Subspace)
    order = [c for columns in own.values() for c in columns]
    space = Rotation(group.site)
    maps[space] = inner[order]
    return {v: space[[order.index(c) for c in columns]] for v, columns in own.items()}

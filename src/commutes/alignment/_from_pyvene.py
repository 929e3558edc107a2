"""An alignment out of a model of pyvene's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple, cast

import torch

from commutes.algorithm import Algorithm, Variable
from commutes.alignment._alignment import Alignment, _sample
from commutes.alignment._pyvene_parts import Part, parts_of
from commutes.counterfactuals import Counterfactuals
from commutes.engine import layouts
from commutes.engine.pyvene import first_item, path_of, weights_of
from commutes.errors import AlignmentError
from commutes.features import Coordinates, Features, Rotation, Slice, Subspace
from commutes.network import Inputs, Network, Position, Site
from commutes.network.transformers import Head, Meaning

Where = Position | Meaning


class _Said(NamedTuple):
    """What pyvene learns only when it is called."""

    position: Any
    source_position: Any
    head: Any


def from_pyvene(
    intervenable: Any,
    algorithm: Algorithm,
    network: Network,
    *,
    variables: Sequence[Variable | None],
    position: Where | Mapping[Variable, Where] | None = None,
    source_position: Where | Mapping[Variable, Where] | None = None,
    head: Head | Mapping[Variable, Head] | None = None,
    fitted_on: Counterfactuals | None = None,
) -> Alignment:
    """The alignment that a `pyvene.IntervenableModel` stands for.

    pyvene is told positions and heads only when it is called, so that they have to be said here.

    Args:
        intervenable: With rotations (low-rank or square), plain swaps, or masks, of which is taken what they come to as
            they cool: boundless and masked rotations, masked neurons.
        algorithm: The hypothesis.
        network: Around the weights that the intervenable model has.
        variables: Which variable each part is, None to leave one out. A representation is one part, or as many as
            its `subspace_partition` has members; of linked ones each is the next member.
        position: Of all variables, or by variable, as in `network.site`.
        source_position: In the source, where it differs.
        head: Of components that have heads.
        fitted_on: The pairs that the maps were trained on: `evaluate` refuses their inputs. Where it is left out
            nobody can, and what is measured is labelled so.

    Raises:
        AlignmentError: An intervention that is no orthogonal subspace and no plain swap, other weights, or one map
            at several places.
        SiteError: A component that is no place of the network's.
    """
    parts = parts_of(intervenable)
    if len(parts) != len(variables):
        raise AlignmentError(
            "variables and parts differ in number",
            got=f"{len(variables)} variables",
            expected=f"{len(parts)}, one for each of: " + "; ".join(map(str, parts)),
            fix="write None for a part that is left out",
        )
    _check_weights(intervenable.model, network)
    inputs = network.encode(_sample(algorithm))
    features: dict[int, Features] = {}
    bases: dict[Features, torch.Tensor] = {}
    slices: dict[Variable, Slice] = {}
    gates: list[dict[str, Any]] = []
    for part, variable in zip(parts, variables, strict=True):
        if variable is not None:
            said = _Said(*(_of(variable, what) for what in (position, source_position, head)))
            family = _family(part, features, intervenable.model, network, inputs, said)
            if part.is_rotation:
                bases[family] = part.basis
            chosen = _coordinates(part, family.site, inputs, said)
            slices[variable] = family[chosen]
            if part.is_mask:
                every = int(part.intervention.embed_dim)
                word = "all" if len(chosen) == every else "some"
                gates.append({"variable": variable.name, "open": len(chosen), "of": every, "gates": word})
    empty = Alignment(algorithm, slices)
    maps = [
        _subspace(bases[group.features][:, list(group.coordinates)], group.site) if given is None else given
        for group, given in zip(empty.groups, empty.maps, strict=True)
    ]
    return empty.with_maps(
        maps,
        fitted_ids=None if fitted_on is None else fitted_on.input_ids,
        # Neurons are found, not fitted, unless a mask chose them.
        history={
            "origin": "pyvene",
            "inputs": "unknown" if fitted_on is None and (bases or gates) else "known",
            **({"gates": gates} if gates else {}),
        },
    )


def _of(variable: Variable, what: object) -> object:
    return cast("Mapping[Variable, object]", what).get(variable) if isinstance(what, Mapping) else what


def _check_weights(model: Any, network: Network) -> None:
    mine, theirs = network.module.state_dict(), weights_of(model)
    for name in dict.fromkeys((*mine, *theirs)):
        a, b = mine.get(name), theirs.get(name)
        alike = a is not None and b is not None and a.shape == b.shape and a.dtype == b.dtype
        if not alike or not torch.equal(a, b.to(a.device)):  # type: ignore[union-attr, arg-type]
            raise AlignmentError(
                "the intervenable model has other weights than the network",
                where=name,
                got="another tensor, or none",
                expected=f"the weights of {network.name}",
                fix="wrap one and the same model in both",
            )


def _family(
    part: Part, known: dict[int, Features], model: Any, network: Network, inputs: Inputs, said: _Said
) -> Features:
    """The featurizer of the part's intervention, of which there is one however many variables share it."""
    site = _site(part, model, network, inputs, said)
    found = known.get(id(part.intervention))
    if found is None:
        found = known[id(part.intervention)] = (Rotation if part.is_rotation else Coordinates)(site)
    elif str(found.site) != str(site):
        raise AlignmentError(
            "variables of one map are at one place",
            where=str(part),
            got=f"{site} beside {found.site}",
            expected="the same positions and heads",
        )
    return found


def _site(part: Part, model: Any, network: Network, inputs: Inputs, said: _Said) -> Site:
    component, layer = part.representation.component, int(part.representation.layer)
    where: dict[str, Any] = {"position": said.position, "source_position": said.source_position}
    if network.language is not None and network.language.knows(component):
        site = network.site(component, layer=layer, head=said.head, **where)
    else:
        path, side = path_of(model, component, layer)
        item = first_item(network, inputs, path, side)
        site = network.site(path, side=side, item=item, **where)
    layout = layouts(network, inputs, [site])[site]
    count = layout.width // layout.places[0].width
    if not part.is_rotation or part.basis.shape[0] == layout.width:
        return replace(site, each=count > 1) if not part.is_rotation else site
    if part.basis.shape[0] * count == layout.width:
        # One map for every position: of heads always, of others where it was told to keep the last axis.
        return replace(site, each=True)
    raise AlignmentError(
        "the map does not fit the place",
        where=f"{part} at {site}",
        got=f"a map of {part.basis.shape[0]} coordinates",
        expected=f"{layout.width}: {count} positions of {layout.places[0].width} features",
        fix="say the positions and heads that it was trained with",
    )


def _coordinates(part: Part, site: Site, inputs: Inputs, said: _Said) -> list[int]:
    """Columns of the map; of a plain swap features of the site, in each of its heads alike."""
    if part.is_rotation:
        return part.coordinates(part.basis.shape[0])
    width = layouts(site.network, inputs, [site])[site].places[0].width
    heads = 1
    if part.representation.unit == "h.pos":
        heads = 1 if isinstance(said.head, int) or said.head is None else len(said.head)
    chosen = part.coordinates(width // heads)
    return list(dict.fromkeys(h * (width // heads) + f for h in range(heads) for f in chosen))


def _subspace(basis: torch.Tensor, site: Site) -> Subspace:
    basis = basis.to(site.network.device).contiguous()
    return Subspace(basis, basis).checked(str(site))

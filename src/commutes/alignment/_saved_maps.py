"""What a file holds of a featurizer, and the featurizer again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from commutes.engine import Featurizer
from commutes.errors import AlignmentError, ArtefactError
from commutes.features import (
    Affine,
    AffineMap,
    Boundless,
    Coordinates,
    Dictionary,
    Directions,
    Features,
    Gated,
    Mask,
    Oblique,
    Reversible,
    ReversibleMap,
    Rotation,
    SparseAutoencoder,
    Subspace,
)
from commutes.network import Network, Site

_PLAIN = {"neurons": Coordinates, "rotation": Rotation, "oblique map": Oblique, "affine map": Affine}
_DTYPES = {
    "float32": torch.float32,
    "float64": torch.float64,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
}
_MAPS: dict[type[Features], type[Subspace] | type[AffineMap] | type[ReversibleMap]] = {
    Rotation: Subspace,
    Boundless: Subspace,
    Oblique: Subspace,
    Affine: AffineMap,
    Reversible: ReversibleMap,
}


def parts_of(features: Features, featurizer: Featurizer) -> dict[str, torch.Tensor]:
    """What a file must hold of a group's map, beyond the coordinates that the record has."""
    if isinstance(featurizer, Gated):
        given = features.features if isinstance(features, Mask) else features
        inner = parts_of(given, featurizer.inner)
        return {"gate": featurizer.gate} | {f"inner.{name}": tensor for name, tensor in inner.items()}
    if isinstance(features, Coordinates):
        return {}
    if isinstance(features, Directions):
        return features.subspace.tensors()
    if isinstance(features, Dictionary):
        if isinstance(features.dictionary, SparseAutoencoder):
            return features.dictionary.tensors()
        raise _code("dictionary", type(features.dictionary).__name__, features)
    if isinstance(featurizer, Subspace | AffineMap | ReversibleMap) and type(features) in _MAPS:
        return featurizer.tensors()
    raise _code("map", type(featurizer).__name__, features)


def _code(what: str, got: str, features: Features) -> AlignmentError:
    return AlignmentError(
        f"a {what} of a kind of your own cannot be saved",
        where=str(features.site),
        got=got,
        expected="a SparseAutoencoder" if what == "dictionary" else "one of this library's maps",
        fix="keep the code with your own files, and put the map back with alignment.with_maps([...])",
    )


def settings_of(features: Features) -> dict[str, Any]:
    """What the family's constructor takes beside the site."""
    if isinstance(features, Mask | Boundless):
        own: dict[str, Any] = {
            "sparsity": features.sparsity,
            "temperature": list(features.temperature),
            "cooling": features.cooling,
        }
        if isinstance(features, Mask):
            given = features.features
            own |= {"per": features.per, "of": {"features": str(given), "settings": settings_of(given)}}
        return own
    if isinstance(features, Reversible):
        return {"depth": features.depth, "hidden": features.hidden}
    if isinstance(features, Dictionary):
        return {"dtype": str(features.dtype).removeprefix("torch.")}
    return {}


def declared(features: Features) -> tuple[str, dict[str, Any], dict[str, torch.Tensor]]:
    """All that a family says of itself: its name, its settings, and the tensors that it is given."""
    inner: Any = features.features if isinstance(features, Mask) else features
    given: dict[str, torch.Tensor] = {}
    if isinstance(inner, Directions):
        given = inner.subspace.tensors()
    elif isinstance(inner, Dictionary):
        dictionary: Any = inner.dictionary
        module = isinstance(dictionary, torch.nn.Module)
        own = dictionary.state_dict() if module else getattr(dictionary, "__dict__", {})
        given = {name: tensor for name, tensor in own.items() if isinstance(tensor, torch.Tensor)}
    return str(features), settings_of(features), given


def family_of(site: Site, group: Mapping[str, Any], tensors: Mapping[str, torch.Tensor]) -> Features:
    """The family that `settings_of` and `parts_of` were asked of."""
    name, settings = group["features"], group.get("settings", {})
    if "temperature" in settings:
        first, last = settings["temperature"]
        # Files that were written before there was another one do not have it.
        cooling = settings.get("cooling", "linear")
        if "of" not in settings:
            return Boundless(site, settings["sparsity"], (first, last), cooling)
        given = family_of(site, settings["of"], _inner(tensors))
        assert isinstance(given, Coordinates | Directions | Dictionary)
        return Mask(given, int(settings["per"]), settings["sparsity"], (first, last), cooling)
    if name == "given directions":
        return Directions(site, Subspace.from_tensors(tensors).to(device=site.network.device))
    if name == "dictionary":
        dictionary = SparseAutoencoder.from_tensors(tensors).to(device=site.network.device)
        return Dictionary(site, dictionary, _DTYPES[settings["dtype"]])
    if name == "reversible network":
        return Reversible(site, int(settings["depth"]), int(settings["hidden"]))
    return _PLAIN[name](site)


def _inner(tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {
        name.removeprefix("inner."): tensor for name, tensor in tensors.items() if name.startswith("inner.")
    }


def map_of(
    features: Features,
    coordinates: Sequence[int],
    tensors: Mapping[str, torch.Tensor],
    network: Network,
    where: Path,
) -> Featurizer:
    """The map that `parts_of` was asked of, on the network's device.

    Args:
        features: The family.
        coordinates: Of the family, those that the map has.
        tensors: What the file holds.
        network: Whose states it reads.
        where: The file, for errors.

    Raises:
        ArtefactError: Tensors that make no invertible map.
    """
    if "gate" in tensors:
        gate = tensors["gate"].to(device=network.device)
        if isinstance(features, Mask):
            inner = features.features.given(coordinates, network.device)
            assert inner is not None
            return Gated(inner, gate)
        return Gated(_linear(features, _inner(tensors), network, where), gate)
    return _linear(features, tensors, network, where)


def _linear(
    features: Features, tensors: Mapping[str, torch.Tensor], network: Network, where: Path
) -> Subspace | AffineMap | ReversibleMap:
    try:
        found = _MAPS[type(features)].from_tensors(tensors)
        if isinstance(found, Subspace):
            found.checked(str(where))
    except AlignmentError as error:
        raise ArtefactError(
            error.what,
            where=error.where or str(where),
            got=error.got,
            expected=error.expected,
            fix=error.fix,
        ) from error
    return found.to(device=network.device)


def shape_of(found: Featurizer, width: int) -> tuple[int, int]:
    """(d, k) of a map; of one that serves any width, such as neurons, with this one."""
    if isinstance(found, Gated):
        return shape_of(found.inner, width)[0], len(found.gate)
    if isinstance(found, Subspace):
        d, k = found.reader.shape
        return d, k
    if isinstance(found, AffineMap):
        return len(found.matrix), len(found.index)
    if isinstance(found, ReversibleMap):
        return len(found.rotation), len(found.index)
    return width, -1

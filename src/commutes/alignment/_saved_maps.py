"""What a file holds of a featurizer, and the featurizer again."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from commutes.engine import Featurizer
from commutes.errors import AlignmentError, ArtefactError
from commutes.features import (
    Affine,
    AffineMap,
    Coordinates,
    Dictionary,
    Features,
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
    Oblique: Subspace,
    Affine: AffineMap,
    Reversible: ReversibleMap,
}


def parts_of(features: Features, featurizer: Featurizer) -> dict[str, torch.Tensor]:
    """What a file must hold of a group's map, beyond the coordinates that the record has."""
    if isinstance(features, Coordinates):
        return {}
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


def settings_of(features: Features) -> dict[str, int | str]:
    """What the family's constructor takes beside the site."""
    if isinstance(features, Reversible):
        return {"depth": features.depth, "hidden": features.hidden}
    if isinstance(features, Dictionary):
        return {"dtype": str(features.dtype).removeprefix("torch.")}
    return {}


def family_of(site: Site, group: Mapping[str, Any], tensors: Mapping[str, torch.Tensor]) -> Features:
    """The family that `settings_of` and `parts_of` were asked of."""
    name, settings = group["features"], group.get("settings", {})
    if name == "dictionary":
        dictionary = SparseAutoencoder.from_tensors(tensors).to(device=site.network.device)
        return Dictionary(site, dictionary, _DTYPES[settings["dtype"]])
    if name == "reversible network":
        return Reversible(site, int(settings["depth"]), int(settings["hidden"]))
    return _PLAIN[name](site)


def map_of(
    features: Features, tensors: Mapping[str, torch.Tensor], network: Network, where: Path
) -> Subspace | AffineMap | ReversibleMap:
    """The map that `parts_of` was asked of, on the network's device.

    Raises:
        ArtefactError: Tensors that make no invertible map.
    """
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


def shape_of(found: Subspace | AffineMap | ReversibleMap) -> tuple[int, int]:
    """(d, k) of a map."""
    if isinstance(found, Subspace):
        d, k = found.reader.shape
        return d, k
    square = found.matrix if isinstance(found, AffineMap) else found.rotation
    return len(square), len(found.index)

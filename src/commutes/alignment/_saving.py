"""Alignments on disk: tensors in safetensors, everything else in a record beside them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors

from commutes.algorithm import Algorithm
from commutes.alignment._alignment import Alignment
from commutes.alignment._saved_maps import family_of, map_of, parts_of, settings_of, shape_of
from commutes.errors import AlignmentError, ArtefactError
from commutes.features import Slice
from commutes.network import Moment, Network, Place, Position, Site
from commutes.network.transformers import TokenPosition, token_position
from commutes.report import make_folder, read_bytes, write_bytes, write_text

FORMAT = 1
# Bytes beyond which a file is no alignment: 64 subspaces of 1,000 dimensions in a network of width 8,000, or one
# dictionary of 65,000 latents there.
LARGEST = 2**32
RECORD, TENSORS = "alignment.json", "alignment.safetensors"
_KEYS = {"algorithm", "network", "groups", "variables", "history", "sha256"}


def save(alignment: Alignment, folder: str | Path) -> Path:
    """Write a fitted alignment into `folder`: `alignment.safetensors`, then `alignment.json` with its SHA-256.

    Raises:
        AlignmentError: Not fitted, or a position, a dictionary or a map that is code, which a file cannot hold.
        ArtefactError: The folder cannot be written.
    """
    folder, data = Path(folder), save_tensors(_tensors(alignment))
    record = {
        "format": FORMAT,
        "algorithm": {"name": alignment.algorithm.name, "fingerprint": alignment.algorithm.fingerprint},
        "network": {"name": alignment.network.name, "fingerprint": alignment.network.fingerprint},
        "groups": [
            {
                "features": str(group.features),
                "settings": settings_of(group.features),
                "site": _site_record(group.site),
                "variables": {v.name: [group.coordinates[c] for c in cs] for v, cs in group.columns.items()},
            }
            for group in alignment.groups
        ],
        "variables": [v.name for v in alignment.variables],
        "history": dict(alignment.history),
        "sha256": hashlib.sha256(data).hexdigest(),
    }
    text = json.dumps(record, indent=1, sort_keys=True)
    # Only now, when nothing can be refused any more, is anything written.
    make_folder(folder)
    write_bytes(folder / TENSORS, data)
    write_text(folder / RECORD, text)
    return folder


def _tensors(alignment: Alignment) -> dict[str, torch.Tensor]:
    tensors: dict[str, torch.Tensor] = {
        "fitted_ids": torch.from_numpy(alignment.fitted_ids.view(np.int64).copy()),
        "selected_ids": torch.from_numpy(alignment.selected_ids.view(np.int64).copy()),
    }
    for number, (group, featurizer) in enumerate(zip(alignment.groups, alignment.featurizers, strict=True)):
        for name, tensor in parts_of(group.features, featurizer).items():
            # A copy: safetensors refuses two names for one memory.
            tensors[f"{number}.{name}"] = tensor.detach().cpu().contiguous().clone()
    return tensors


def load(folder: str | Path, *, algorithm: Algorithm, network: Network) -> Alignment:
    """The alignment that `save` wrote, for the algorithm and the network that it was fitted for.

    Raises:
        ArtefactError: A missing or damaged file, another algorithm or network, or EᵀD that is not the identity.
    """
    folder = Path(folder)
    record = _record(folder / RECORD)
    _same(record, "algorithm", algorithm.fingerprint, folder)
    _same(record, "network", network.fingerprint, folder)
    data = read_bytes(folder / TENSORS, limit=LARGEST)
    found = hashlib.sha256(data).hexdigest()
    if found != record["sha256"]:
        raise ArtefactError(
            "the alignment's tensors are damaged",
            where=str(folder / TENSORS),
            got=f"SHA-256 {found}",
            expected=f"SHA-256 {record['sha256']}",
            fix="restore the file from its source, or fit again",
        )
    try:
        tensors = load_tensors(data)
    except SafetensorError as error:
        raise ArtefactError(
            "the alignment's tensors cannot be read",
            where=str(folder / TENSORS),
            got=str(error),
            expected="safetensors",
        ) from error
    try:
        return _assembled(record, tensors, algorithm, network, folder)
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise _damaged(folder / RECORD, f"{type(error).__name__}: {error}") from error


def _assembled(
    record: Mapping[str, Any],
    tensors: Mapping[str, torch.Tensor],
    algorithm: Algorithm,
    network: Network,
    folder: Path,
) -> Alignment:
    found, maps = {}, {}
    for number, group in enumerate(record["groups"]):
        own = {n.partition(".")[2]: t for n, t in tensors.items() if n.startswith(f"{number}.")}
        features = family_of(_site(network, group["site"]), group, own)
        for name, coordinates in group["variables"].items():
            found[name] = Slice(features, tuple(coordinates))
        if features.learnt:
            named = sorted(c for coordinates in group["variables"].values() for c in coordinates)
            maps[features] = map_of(features, named, own, network, folder / TENSORS)
    # In the order in which the claim named them.
    empty = Alignment(algorithm, {algorithm[name]: found[name] for name in record["variables"]})
    for group in empty.groups:
        if group.features.learnt:
            found_shape = shape_of(maps[group.features], group.width)
            if found_shape != (group.width, group.dimension):
                raise ValueError(f"a map of shape {found_shape} for {(group.width, group.dimension)}")
    return empty.with_maps(
        [
            maps[group.features] if given is None else given
            for group, given in zip(empty.groups, empty.maps, strict=True)
        ],
        fitted_ids=tensors["fitted_ids"].numpy().view(np.uint64),
        selected_ids=tensors["selected_ids"].numpy().view(np.uint64),
        history=record["history"],
    )


def _damaged(path: Path, got: str) -> ArtefactError:
    return ArtefactError(
        "the alignment's record is damaged",
        where=str(path),
        got=got,
        expected="the record that save wrote",
        fix="restore the file from its source, or fit again",
    )


def _record(path: Path) -> dict[str, Any]:
    try:
        record = json.loads(read_bytes(path))
    except ValueError as error:
        raise ArtefactError(
            "the alignment's record cannot be read",
            where=str(path),
            got=str(error),
            expected="the JSON that save wrote",
        ) from error
    if not isinstance(record, dict) or "format" not in record:
        raise _damaged(path, f"JSON, but no record of an alignment: a {type(record).__name__}")
    if record["format"] != FORMAT:
        raise ArtefactError(
            "the alignment was written by another version",
            where=str(path),
            got=f"format {record['format']!r}",
            expected=f"format {FORMAT}",
            fix="read it with the version of commutes that wrote it",
        )
    missing = sorted(_KEYS - record.keys())
    if missing:
        raise _damaged(path, f"nothing under {', '.join(missing)}")
    return record


def _same(record: Mapping[str, Any], what: str, fingerprint: str, folder: Path) -> None:
    found = record[what]["fingerprint"]
    if found != fingerprint:
        raise ArtefactError(
            f"the alignment was fitted for another {what}",
            where=str(folder),
            got=f"{record[what]['name']}, fingerprint {found[:12]}",
            expected=f"fingerprint {fingerprint[:12]}",
            fix=f"load it with the {what} that it was fitted for",
        )


def _site_record(site: Site) -> dict[str, Any]:
    places = []
    for place in site.places:
        if any(_is_code(position) for position in (place.position, place.source_position)):
            raise AlignmentError(
                "a position that is a function cannot be saved",
                where=str(site),
                got="a Python function",
                expected="positions as numbers",
                fix="keep the function in your code and save alignment.subspace(variable) tensors, or use numbers",
            )
        part = place.part
        moment = place.moment
        places.append(
            {
                "path": moment.path,
                "side": moment.side,
                "item": moment.item,
                "call": moment.call,
                "axis": place.axis,
                "part": [part.start, part.stop, part.step] if isinstance(part, slice) else _numbers(part),
                "part_is_slice": isinstance(part, slice),
                "position": _position_record(place.position),
                "source_position": _position_record(place.source_position),
            }
        )
    return {"places": places, "each": site.each}


def _is_code(position: Position | None) -> bool:
    return callable(position) and not isinstance(position, TokenPosition)


def _position_record(position: Position | None) -> int | list[int] | dict[str, list[str | int]] | None:
    return {"tokens": list(position.spec)} if isinstance(position, TokenPosition) else _numbers(position)


def _position(network: Network, record: Any) -> Position | None:
    if not isinstance(record, dict):
        return record
    if network.language is None:
        raise ValueError("positions of tokens in a network without a tokenizer")
    return token_position(network.language.prompt, record["tokens"])


def _numbers(what: Any) -> int | list[int] | None:
    if what is None or isinstance(what, int):
        return what
    return [int(i) for i in what]


def _site(network: Network, record: Mapping[str, Any]) -> Site:
    places = []
    for p in record["places"]:
        network.site(p["path"])  # refuses a module that the network does not have
        part = slice(*p["part"]) if p["part_is_slice"] else p["part"]
        moment = Moment(p["path"], p["side"], p["item"], p["call"])
        where, there = (_position(network, p[key]) for key in ("position", "source_position"))
        places.append(Place(moment, part, where, there, p["axis"]))
    return Site(network, tuple(places), record["each"])

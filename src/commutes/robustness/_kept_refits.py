"""Refits kept by what decides them: a challenge that is broken off, or goes further later, does not repeat them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from commutes import __version__
from commutes.alignment import Alignment, load, save
from commutes.counterfactuals import Counterfactuals, pairs_hash
from commutes.errors import AlignmentError, ArtefactError
from commutes.report import whole_folder
from commutes.training import ClosedForm, Settings

LAST = "alignment.json"


def kept(
    folder: Path | None,
    alignments: Sequence[Alignment],
    trains: Sequence[Counterfactuals],
    selects: Sequence[Counterfactuals] | None,
    settings: Settings | ClosedForm,
    seeds: Sequence[int],
    fit: Callable[[], Sequence[Alignment]],
) -> Sequence[Alignment]:
    """What `fit` returns, from the folder where it is there already, and into it otherwise.

    Args:
        folder: That keeps refits; None keeps none.
        alignments: The claims that are fitted, one batch.
        trains: What each is fitted on.
        selects: What each is chosen on.
        settings: How.
        seeds: Of each.
        fit: Fits them all.
    """
    if folder is None:
        return fit()
    # The bits of a fit depend on what else is in its batch.
    what = [
        _what(a, t, None if selects is None else selects[i], settings, seed)
        for i, (a, t, seed) in enumerate(zip(alignments, trains, seeds, strict=True))
    ]
    places = [folder / _digest([one, what]) / str(i) for i, one in enumerate(what)]
    read = [_read(place, alignment) for place, alignment in zip(places, alignments, strict=True)]
    known = [one for one in read if one is not None]
    if len(known) == len(read):
        return known
    found = fit()
    for place, alignment in zip(places, found, strict=True):
        _write(place, alignment)
    return found


def _what(
    alignment: Alignment,
    train: Counterfactuals,
    select: Counterfactuals | None,
    settings: Settings | ClosedForm,
    seed: int,
) -> dict[str, Any]:
    """Everything that decides a refit."""
    return {
        "commutes": __version__,
        "torch": torch.__version__,
        "algorithm": alignment.algorithm.fingerprint,
        "network": alignment.network.fingerprint,
        "groups": [
            [
                str(g.site),
                str(g.features),
                list(g.coordinates),
                {v.name: list(c) for v, c in g.columns.items()},
            ]
            for g in alignment.groups
        ],
        "train": pairs_hash(train),
        "select": None if select is None else pairs_hash(select),
        "how": [type(settings).__name__, asdict(settings)],
        "seed": seed,
    }


def _digest(value: object) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def _read(place: Path, alignment: Alignment) -> Alignment | None:
    """The refit that is kept; None where there is none, or what is there is damaged: it is then fitted again."""
    if not (place / LAST).is_file():
        return None
    try:
        found = load(place, algorithm=alignment.algorithm, network=alignment.network)
    except ArtefactError:
        return None
    return alignment.with_maps(
        found.featurizers, fitted_ids=found.fitted_ids, selected_ids=found.selected_ids, history=found.history
    )


def _write(place: Path, alignment: Alignment) -> None:
    try:
        with whole_folder(place, LAST) as inside:
            save(alignment, inside)
    except AlignmentError:
        # A position or a map that is code cannot be written down: it is fitted again next time.
        return

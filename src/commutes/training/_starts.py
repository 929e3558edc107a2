"""Where the fits of a claim begin: at random, and at what closed forms give."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch

from commutes.alignment import Alignment
from commutes.counterfactuals import Counterfactuals
from commutes.errors import CommutesError, FitError
from commutes.evaluation import bench
from commutes.training._closed_form import closed_forms
from commutes.training._closed_methods import METHODS, Method
from commutes.training._members import Member
from commutes.training._selection import cells_of, score
from commutes.training._settings import Settings

# At most so many pairs, equally many of each cell that has them, on which closed forms are compared before the descent.
_CALIBRATION = 256

Raws = tuple[torch.Tensor, ...]
"""Of one start, a raw tensor per learnt group."""


@dataclass(frozen=True, eq=False)
class Starts:
    """Where the fits of one claim begin."""

    raws: tuple[Raws, ...]
    told: tuple[dict[str, Any], ...]
    """Of every start its name. Where one was chosen among closed forms, of every random start its rate on the
    calibration pairs, and of the chosen one those of all closed forms, and why others could not be had."""
    ids: np.ndarray
    """Hashed ids of the inputs that closed forms have seen."""


def starts_of(member: Member, train: Counterfactuals, seed: int, settings: Settings) -> Starts:
    """The starts of one claim, the random ones first.

    Raises:
        CommutesError: A closed form that was named and cannot be had here; of "auto" none of them, where there is no
            random start to go on from.
    """
    raws = [_random(member, seed, start) for start in range(settings.starts)]
    told: list[dict[str, Any]] = [{"start": "random"} for _ in raws]
    if not settings.init:
        return Starts(tuple(raws), tuple(told), np.zeros(0, np.uint64))
    methods = METHODS if "auto" in settings.init else cast("tuple[Method, ...]", settings.init)
    try:
        found = closed_forms(member.alignment, train, methods, seed=seed)
        good = {str(name): one for name, one in found.items() if isinstance(one, Alignment)}
        if not good:
            raise next(one for one in found.values() if not isinstance(one, Alignment))
    except CommutesError as error:
        if settings.init != ("auto",) or not raws:
            raise
        # In its place one more random one: claims that are fitted together have equally many starts.
        raws.append(_random(member, seed, settings.starts))
        told.append({"start": "random", "no_closed_form": error.what})
        return Starts(tuple(raws), tuple(told), np.zeros(0, np.uint64))
    for asked in settings.init:
        name, notes = asked, {}
        if asked == "auto":
            rates, randoms, n = _calibrated(member, good, raws[: settings.starts], train)
            name = max(rates, key=lambda one: rates[one])
            refused = {str(m): one.what for m, one in found.items() if not isinstance(one, Alignment)}
            notes = {"calibration": rates, "calibration_pairs": n, "refused": refused}
            told[: settings.starts] = [{"start": "random", "calibration": rate} for rate in randoms]
        chosen = found[cast("Method", name)]
        if not isinstance(chosen, Alignment):
            raise chosen
        raws.append(_raws(member, chosen, name))
        told.append({"start": name} | notes)
    ids = [one.fitted_ids for one in good.values()]
    return Starts(tuple(raws), tuple(told), np.unique(np.concatenate(ids)))


def _random(member: Member, seed: int, start: int) -> Raws:
    return tuple(
        part.start(int(np.random.default_rng([seed, 0, start, group]).integers(2**62)))
        for group, part in enumerate(member.parts)
    )


def _calibrated(
    member: Member, found: Mapping[str, Alignment], randoms: Sequence[Raws], train: Counterfactuals
) -> tuple[dict[str, float], list[float], int]:
    """Accuracy of closed forms and of random starts on training pairs, mean over cells, and how many pairs these are.

    Equally many of every cell: of the pairs whose answer must change alone, and of controlled ones, a map that swaps
    too much gets the most right.
    """
    cells = cells_of(train)
    first = [rows[: max(1, _CALIBRATION // len(cells))] for rows in cells]
    chosen = np.unique(np.concatenate(first))
    pairs = train.subset(chosen)
    places = [np.searchsorted(chosen, rows) for rows in first]
    on = bench(member.alignment, pairs)

    def mean(hits: np.ndarray) -> float:
        return score(places, hits)[1]

    rates = {name: mean(on.hits(one.featurizers)) for name, one in found.items()}
    device = member.alignment.network.device
    chance = [
        [part.solve(raw[None].to(device))[0] for part, raw in zip(member.parts, start, strict=True)]
        for start in randoms
    ]
    return rates, [mean(on.hits(member.maps(solved, None))) for solved in chance], len(pairs)


def _raws(member: Member, found: Alignment, name: str) -> Raws:
    learnt = [
        one
        for group, one in zip(member.alignment.groups, found.featurizers, strict=True)
        if group.features.learnt
    ]
    raws = [part.raw(one) for part, one in zip(member.parts, learnt, strict=True)]
    known = tuple(raw for raw in raws if raw is not None)
    if len(known) < len(raws):
        raise FitError(
            "this family of maps cannot begin at a closed form",
            where=repr(member.alignment),
            got=f"init={name!r}",
            expected="slices of a Rotation or of an Oblique map",
            fix="leave init out, and begin at random",
        )
    return known

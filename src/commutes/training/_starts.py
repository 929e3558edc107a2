"""Where the fits of a claim begin: at random, and at what closed forms give."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch

from commutes.alignment import Alignment
from commutes.counterfactuals import Counterfactuals
from commutes.errors import FitError
from commutes.evaluation import bench
from commutes.training._closed_form import closed_form
from commutes.training._closed_methods import METHODS, Method
from commutes.training._members import Member
from commutes.training._settings import Settings

# Pairs on which closed forms are compared with each other before the descent.
_CALIBRATION = 256


@dataclass(frozen=True, eq=False)
class Starts:
    """Of one claim: raw tensors per start and learnt group, what they are, and the inputs that they were found on."""

    raws: tuple[tuple[torch.Tensor, ...], ...]
    told: tuple[dict[str, Any], ...]
    """Of every start its name, and of a closed form the rate on the calibration pairs."""
    ids: np.ndarray
    """Hashed ids of inputs beside those of the training pairs."""


def starts_of(member: Member, train: Counterfactuals, seed: int, settings: Settings) -> Starts:
    """The starts of one claim, the random ones first.

    Raises:
        FitError: A closed form that the claim's family cannot begin at.
    """
    raws = [random_start(member, seed, start) for start in range(settings.starts)]
    told: list[dict[str, Any]] = [{"start": "random"}] * settings.starts
    ids = [np.zeros(0, np.uint64)]
    for name in settings.init:
        tried = METHODS if name == "auto" else (name,)
        found = [
            _closed(member, train, method, seed, refuse=name != "auto", calibrate=name == "auto")
            for method in tried
        ]
        usable = [one for one in found if one is not None]
        if not usable:
            raise FitError(
                "no closed form can be found for this claim",
                where=repr(member.alignment),
                got=f"errors from {', '.join(tried)}",
                expected="at least one that works on the training pairs",
                fix="leave init out, and begin at random",
            )
        best = max(usable, key=lambda one: one[1]["calibration"] or 0.0)
        raws.append(best[0])
        told.append(best[1] | {"tried": {one[1]["start"]: one[1]["calibration"] for one in usable}})
        # What was tried was seen, whether it was taken or not.
        ids.extend(one[2] for one in usable)
    return Starts(tuple(raws), tuple(told), np.unique(np.concatenate(ids)))


def random_start(member: Member, seed: int, start: int) -> tuple[torch.Tensor, ...]:
    """Raw tensors of a random start, of every learnt group."""
    return tuple(
        part.start(int(np.random.default_rng([seed, 0, start, group]).integers(2**62)))
        for group, part in enumerate(member.parts)
    )


def _closed(
    member: Member, train: Counterfactuals, method: str, seed: int, *, refuse: bool, calibrate: bool
) -> tuple[tuple[torch.Tensor, ...], dict[str, Any], np.ndarray] | None:
    alignment = member.alignment
    try:
        found = closed_form(alignment, train, method=cast("Method", method), seed=seed)
    except FitError:
        if refuse:
            raise
        return None
    learnt = [
        m for group, m in zip(alignment.groups, found.featurizers, strict=True) if group.features.learnt
    ]
    raws = tuple(part.raw(m) for part, m in zip(member.parts, learnt, strict=True))
    known = tuple(raw for raw in raws if raw is not None)
    if len(known) < len(raws):
        raise FitError(
            "this family of maps cannot begin at a closed form",
            where=str(alignment),
            got=f"init={method!r}",
            expected="a Rotation or an Oblique map",
            fix="leave init out, and begin at random",
        )
    rate = calibration_rate(found, train) if calibrate else None
    return known, {"start": method, "calibration": rate}, found.fitted_ids


def calibration_rate(alignment: Alignment, train: Counterfactuals) -> float:
    """Interchange-intervention accuracy on effective training pairs: never on controlled ones, which maps that swap
    everything pass."""
    rows = np.nonzero(train.effective)[0][:_CALIBRATION]
    return float(bench(alignment, train.subset(rows)).hits(alignment.featurizers).mean())

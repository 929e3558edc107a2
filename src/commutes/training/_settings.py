"""How a fit is done, and what is refused before it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from commutes.alignment import Alignment
from commutes.counterfactuals import Counterfactuals
from commutes.errors import DataError, FitError
from commutes.training._closed_methods import METHODS
from commutes.training._members import Objective, parametrised

Schedule = Literal["cosine", "linear", "constant"]


@dataclass(frozen=True)
class Settings:
    """How a fit is done. Nulls are fitted with the very same settings as the claim."""

    steps: int = 1000
    """Optimiser steps of Adam."""
    lr: float = 1e-2
    """Learning rate of Adam."""
    batch: int = 256
    """Pairs per step."""
    starts: int = 3
    """Random starts; of all starts the one that does best on the selection split is kept."""
    every: int = 100
    """Steps between measurements on the selection split; the best of them is kept (early stopping), and once every
    claim has a start that is right on all of it the fit ends."""
    objective: Objective = "vocabulary"
    """Of a language model: cross-entropy over all that it can answer, or over the declared answers alone, which is
    faster, as the rest of the vocabulary is not computed. What is measured is the argmax over all in either case."""
    init: tuple[str, ...] = ()
    """Closed forms, each the beginning of one more start; "auto" is the one that does best on training pairs."""
    schedule: Schedule = "cosine"
    """The rate falls to a tenth of itself, by a cosine or in a line, or stays."""
    warmup: int = 0
    """Steps through which the rate rises to what it is."""
    patience: int | None = None
    """Measurements on the selection split without a gain after which a start is over; None waits to the end."""
    threads: int = 1
    """Threads of the processor. Bits depend on how sums are divided among them: with 1 they are the same anywhere."""

    @property
    def fits(self) -> int:
        """How many starts a claim has."""
        return self.starts + len(self.init)


def check_seed(seed: object) -> int:
    """The seed, which is a whole number from 0.

    Raises:
        FitError: It is none.
    """
    if isinstance(seed, bool) or not isinstance(seed, int) or seed < 0:
        raise FitError("seed is a whole number from 0", got=repr(seed), expected="such as seed=0")
    return seed


def check_claims(
    alignments: Sequence[Alignment],
    trains: Sequence[Counterfactuals],
    selects: Sequence[Counterfactuals] | None,
    settings: Settings,
) -> None:
    """Refuse before the long work what cannot be fitted, or chosen honestly.

    Raises:
        FitError: Nothing to learn, a family of maps that is not fitted, or settings out of range.
        DataError: Training and selection share inputs, no pair's answer changes, or none changes a variable.
    """
    _check_settings(settings)
    if (
        not alignments
        or len(trains) != len(alignments)
        or (selects is not None and len(selects) != len(alignments))
    ):
        raise FitError(
            "every claim needs its own pairs",
            got=f"{len(alignments)} alignments, {len(trains)} training parts",
            expected="as many of each, and at least one",
        )
    if settings.patience is not None and selects is None:
        raise FitError(
            "patience waits for a gain on the selection split, and there is none",
            got=f"patience={settings.patience}, and no select=",
            expected="pairs to select on, or a number of steps that is taken",
            fix="give select=, or leave patience= out",
        )
    for i, (alignment, train) in enumerate(zip(alignments, trains, strict=True)):
        if not any(group.features.learnt for group in alignment.groups):
            raise FitError(
                "there is nothing to learn",
                where=repr(alignment),
                got="only maps that are given",
                expected="at least one slice of a learnt map, such as a Rotation",
                fix="evaluate it as it is: neurons need no fit",
            )
        other = [g for g in alignment.groups if g.features.learnt and parametrised(g) is None]
        if other:
            raise FitError(
                "maps of this family are not found by descent",
                where=str(other[0].site),
                got=str(other[0].features),
                expected="a family with a parametrisation, such as Rotation, Oblique or Mask",
                fix="find the map in another way and give it with alignment.with_maps([...])",
            )
        check_pairs(train, None if selects is None else selects[i])
        check_changed(alignment, train)


def check_changed(alignment: Alignment, train: Counterfactuals, *, swapped: bool = False) -> None:
    """Refuse a variable of which nothing could be learnt, because no pair changes it.

    Args:
        alignment: The claim.
        train: Pairs to learn from.
        swapped: Whether variables that no pair swaps may be there, and any map's count, not only learnt ones.

    Raises:
        DataError: Of a variable no training pair has another value in the source.
    """
    for group in (g for g in alignment.groups if g.features.learnt or swapped):
        for variable in group.columns:
            rows = train.source_of(variable) >= 0
            if (train.base_value(variable)[rows] != train.source_value(variable)[rows]).any():
                continue
            if swapped and not rows.any():
                continue
            raise DataError(
                "no training pair changes the variable",
                where=variable.name,
                got=f"{rows.sum():,} of {len(train):,} pairs swap it, for the value that it has"
                if rows.any()
                else f"{len(train):,} pairs, none of which swaps it",
                expected="pairs whose source has another value of it",
                fix="draw pairs that swap it and in which it changes, or leave it out of the alignment",
            )


def check_pairs(train: Counterfactuals, select: Counterfactuals | None) -> None:
    """Refuse pairs that teach nothing, and a choice on inputs that were trained on.

    Raises:
        DataError: Training and selection share inputs, or no pair's answer changes.
    """
    if not train.effective.any():
        raise DataError(
            "no training pair changes the answer",
            got=f"{len(train):,} pairs, 0 effective",
            expected="pairs whose expected answer is not the base's",
            fix="a fit on these would learn to change nothing; draw other pairs",
        )
    if select is not None:
        shared = int(np.isin(select.input_ids, train.input_ids).sum())
        if shared:
            raise DataError(
                "training and selection share inputs",
                got=f"{shared:,} of {len(select.input_ids):,} selection inputs are in training",
                expected="disjoint inputs",
                fix="take both from one pairs.split(train=..., select=..., test=...)",
            )


def _check_settings(settings: Settings) -> None:
    least = {
        "steps": 1,
        "batch": 1,
        "starts": 0 if settings.init else 1,
        "every": 1,
        "warmup": 0,
        "patience": 1,
        "threads": 1,
    }
    for name, first in least.items():
        value: object = getattr(settings, name)
        absent = name == "patience" and value is None
        if not absent and (isinstance(value, bool) or not isinstance(value, int) or value < first):
            raise FitError(f"{name} is a count", got=repr(value), expected=f"a whole number from {first}")
    named: list[tuple[str, object, tuple[str, ...]]] = [
        ("objective", settings.objective, get_args(Objective)),
        ("schedule", settings.schedule, get_args(Schedule)),
        *(("closed form", name, ("auto", *METHODS)) for name in settings.init),
    ]
    for what, value, known in named:
        if value not in known:
            raise FitError(f"no such {what}", got=repr(value), expected=" or ".join(map(repr, known)))
    rate = isinstance(settings.lr, int | float) and not isinstance(settings.lr, bool)
    if not rate or not 0 < settings.lr < float("inf"):
        raise FitError("lr is a learning rate", got=repr(settings.lr), expected="a finite number above 0")

"""Distributed alignment search: the rotation whose coordinates, taken from the source, give the expected answer.

All variables are fitted together, each pair swapping the set that it was drawn for. Fits of one shape (starts, seeds,
networks of the same architecture, nulls) run as one batch, and fits at several sites of a decoder share its forward.
See Finding Alignments Between Interpretable Causal Variables and Distributed Neural Representations,
arXiv 2303.02536.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch

from commutes.alignment import Alignment, declared
from commutes.counterfactuals import Counterfactuals, pairs_hash
from commutes.engine import BUDGET, Featurizer
from commutes.errors import FitError, is_out_of_memory, memory_error
from commutes.training._cohort import cohort
from commutes.training._descent import Progress, descend, on_threads
from commutes.training._members import Objective
from commutes.training._selection import Selection
from commutes.training._settings import Schedule, Settings, check_claims, check_seed
from commutes.training._starts import starts_of
from commutes.training._summary import summary


def fit(
    alignment: Alignment,
    train: Counterfactuals,
    *,
    seed: int,
    select: Counterfactuals | None = None,
    method: str = "das",
    steps: int = Settings.steps,
    lr: float = Settings.lr,
    batch: int = Settings.batch,
    starts: int = Settings.starts,
    every: int = Settings.every,
    init: str | Sequence[str] = (),
    schedule: Schedule = Settings.schedule,
    warmup: int = Settings.warmup,
    patience: int | None = Settings.patience,
    objective: Objective = Settings.objective,
    threads: int = Settings.threads,
    budget: int = BUDGET,
    checkpoint: str | Path | None = None,
    progress: Progress | None = None,
    quiet: bool = False,
) -> Alignment:
    """A new alignment whose learnt maps are fitted jointly over all variables; the old one is as it was.

    Args:
        alignment: The claim; maps that are given stay as they are.
        train: Interchange interventions to fit on.
        seed: Of the starts and of the batches.
        select: Interventions on other inputs, on which the step and the start are chosen. Without it the last step
            is taken, and the start that does best on the training pairs.
        method: "das" descends; "auto" also begins at the closed form that does best on training pairs, does not
            descend where that is right on all of the selection split, and prints what it did and what it saved.
        steps: Optimiser steps.
        lr: Learning rate of Adam.
        batch: Pairs per step.
        starts: Random starts.
        every: Steps between measurements on the selection split. The fit ends once a start is right on all of it.
        init: Closed forms from which further starts begin, such as "contrast"; see `closed_form`.
        schedule: Whether the rate falls to a tenth of itself by a cosine, in a line, or not.
        warmup: Steps through which the rate rises first.
        patience: Measurements without a gain after which a start is over.
        objective: Cross-entropy over all that a language model can answer, or over the declared answers (faster).
        threads: Threads of the processor; more are faster for a large model, and bits then depend on their number.
        budget: Bytes of memory for what is kept of clean runs and for what a step keeps for its gradient.
        checkpoint: A file in which the fit is kept; where it is there, the fit goes on from it with the same bits.
        progress: Called with (step, steps, figures).
        quiet: Print nothing; `commutes.training.summary` gives the text of any fit.

    Raises:
        FitError: Nothing to learn, or settings out of range.
        DataError: Training and selection share inputs, or no pair's answer changes.
        NetworkError: The network has a custom `decode=`.
        ArtefactError: The checkpoint is of another fit.
    """
    if method not in ("das", "auto"):
        raise FitError(
            "no such method",
            got=repr(method),
            expected="'das' or 'auto'",
            fix="closed forms alone are cm.closed_form(alignment, pairs, method=...)",
        )
    if not isinstance(init, str | list | tuple):
        raise FitError(
            "init names closed forms",
            got=repr(init),
            expected='a name such as "contrast", or several; () for none',
        )
    named = (init,) if isinstance(init, str) else tuple(init)
    if method == "auto" and "auto" not in named:
        named = (*named, "auto")
    settings = Settings(
        steps,
        lr,
        batch,
        starts,
        every,
        init=named,
        schedule=schedule,
        warmup=warmup,
        patience=patience,
        objective=objective,
        threads=threads,
    )
    selects = None if select is None else [select]
    found = fit_many(
        [alignment],
        [train],
        selects=selects,
        seed=seed,
        settings=settings,
        checkpoint=checkpoint,
        progress=progress,
        budget=budget,
    )[0]
    if method == "auto" and not quiet:
        print(summary(found))
    return found


def fit_many(
    alignments: Sequence[Alignment],
    trains: Sequence[Counterfactuals],
    *,
    seed: int | Sequence[int],
    selects: Sequence[Counterfactuals] | None = None,
    settings: Settings | None = None,
    checkpoint: str | Path | None = None,
    progress: Progress | None = None,
    budget: int = BUDGET,
) -> list[Alignment]:
    """`fit` for several claims at once, each on its own pairs: a sweep over sites and sizes, refits, controls.

    Claims of one shape, whatever their networks, run as one batch; claims about one decoder, whatever their sites and
    sizes, share each forward behind the blocks at which they begin. Each gets the fit that it would get alone.

    Args:
        alignments: The claims.
        trains: Of each claim, what it is fitted on.
        seed: Of the starts and of the batches: one for all claims, or one of each.
        selects: Of each claim, on what its step and start are chosen.
        settings: How they are fitted.
        checkpoint: A file in which the fits are kept.
        progress: Called with (step, steps, figures).
        budget: Bytes of memory for what is kept of clean runs and for what a step keeps for its gradient.

    Raises:
        FitError: Nothing to learn, settings out of range, or the device is out of memory.
        ArtefactError: The checkpoint is of other fits.
    """
    if torch.is_inference_mode_enabled():
        raise FitError(
            "a fit needs gradients",
            got="a call inside torch.inference_mode(), where there are none",
            expected="gradients of the maps; the network's weights have none anyway",
            fix="fit outside of it",
        )
    settings = settings or Settings()
    seeds = _seeds(seed, len(alignments))
    check_claims(alignments, trains, selects, settings)
    kept = None
    if checkpoint is not None:
        kept = (Path(checkpoint), _identity(alignments, trains, selects, seed, settings))
    try:
        with on_threads(settings.threads):
            # What is kept for the fit and for the choice lies in memory together.
            members = cohort(
                alignments, trains, budget=budget // 2 if selects else budget, objective=settings.objective
            )
            selection = Selection(members, alignments, selects or trains, budget=budget // 2)
            begun = [
                starts_of(member, train, own, settings)
                for member, train, own in zip(members.members, trains, seeds, strict=True)
            ]
            found = descend(
                members,
                selection,
                [one.raws for one in begun],
                seeds,
                settings,
                progress=progress,
                choose_step=selects is not None,
                checkpoint=kept,
            )
            soft = selection.scores(found.raws, settings.fits, progress=1.0) if found.cools.any() else None
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        fits = len(alignments) * settings.fits
        many = f"{fits} fit{'s' if fits > 1 else ''} at once, {settings.batch} pairs a step"
        raise memory_error(error, where=many) from error
    result: list[Alignment] = []
    for i, alignment in enumerate(alignments):
        start, raws = found.best(i)
        maps = members.maps(raws, i)
        history = found.history(i, start) | {"method": "das", "seed": seeds[i]} | asdict(settings)
        history["starts_told"] = begun[i].told
        history["route"] = members.members[i].prepared.route
        if soft is not None:
            history["gates"] = alignment.with_maps(maps).gates
            history["selection_soft"] = float(soft[i * settings.fits + start, 1])
        ids = selects[i].input_ids if selects is not None else None
        seen = np.union1d(trains[i].input_ids, begun[i].ids)
        result.append(alignment.with_maps(maps, fitted_ids=seen, selected_ids=ids, history=history))
    return result


def _seeds(seed: int | Sequence[int], claims: int) -> list[int]:
    """The seed of each claim.

    Raises:
        FitError: No whole numbers from 0, or not one for each claim.
    """
    # Whatever is no sequence is looked at as one seed, and refused below if it is none.
    found: list[Any] = list(seed) if isinstance(seed, list | tuple) else [seed] * claims
    for one in found:
        check_seed(one)
    if len(found) != claims:
        raise FitError(
            "every claim needs its own seed",
            got=f"{len(found)} seeds for {claims} claims",
            expected="one seed for all, or one of each",
        )
    return found


def _identity(
    alignments: Sequence[Alignment],
    trains: Sequence[Counterfactuals],
    selects: Sequence[Counterfactuals] | None,
    seed: int | Sequence[int],
    settings: Settings,
) -> str:
    """What a checkpoint is of: everything that the fits depend on."""
    parts: list[object] = [seed if isinstance(seed, int) else tuple(seed), asdict(settings)]
    for i, alignment in enumerate(alignments):
        parts += [alignment.algorithm.fingerprint, alignment.network.fingerprint, repr(alignment)]
        parts += [pairs_hash(trains[i]), None if selects is None else pairs_hash(selects[i])]
        for group, given in zip(alignment.groups, alignment.maps, strict=True):
            name, own, tensors = declared(group.features)
            if given is not None and not group.features.learnt:
                tensors = tensors | _tensors_of(given)
            parts += [name, own, {key: _digest(tensor) for key, tensor in sorted(tensors.items())}]
    return hashlib.sha256(repr(parts).encode()).hexdigest()


def _tensors_of(featurizer: Featurizer) -> dict[str, torch.Tensor]:
    own = {field: getattr(featurizer, field, None) for field in getattr(featurizer, "__dict__", {})}
    return {f"map.{name}": value for name, value in own.items() if isinstance(value, torch.Tensor)}


def _digest(tensor: torch.Tensor) -> str:
    raw = tensor.detach().cpu().contiguous()
    told = f"{tuple(raw.shape)} {raw.dtype} ".encode()
    return hashlib.sha256(told + raw.flatten().view(torch.uint8).numpy().tobytes()).hexdigest()


__all__ = ["Progress", "Settings", "fit", "fit_many"]

"""Distributed alignment search: the rotation whose coordinates, taken from the source, give the expected answer.

All variables are fitted together, each pair swapping the set that it was drawn for. Fits of one shape (starts, seeds,
networks of the same architecture, nulls) run as one batch, and fits at several sites of a decoder share its forward.
See Finding Alignments Between Interpretable Causal Variables and Distributed Neural Representations,
arXiv 2303.02536.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch

from commutes.alignment import Alignment
from commutes.counterfactuals import Counterfactuals
from commutes.engine import BUDGET
from commutes.errors import FitError, is_out_of_memory, memory_error
from commutes.features import random_raw
from commutes.training._cohort import Cohort, cohort
from commutes.training._members import Banks, Objective
from commutes.training._selection import PERFECT, Selection
from commutes.training._settings import Settings, check_claims

Progress = Callable[[int, int, Mapping[str, float]], None]


def fit(
    alignment: Alignment,
    train: Counterfactuals,
    *,
    seed: int,
    select: Counterfactuals | None = None,
    steps: int = Settings.steps,
    lr: float = Settings.lr,
    batch: int = Settings.batch,
    starts: int = Settings.starts,
    objective: Objective = Settings.objective,
    progress: Progress | None = None,
) -> Alignment:
    """A new alignment whose learnt maps are fitted jointly over all variables; the old one is as it was.

    Args:
        alignment: The claim; slices of `Coordinates` stay as they are.
        train: Interchange interventions to fit on.
        seed: Of the starts and of the batches.
        select: Interventions on other inputs, on which the step and the start are chosen. Without it the last step
            is taken, and the start that does best on the training pairs.
        steps: Optimiser steps.
        lr: Learning rate of Adam, falling by a cosine to a tenth of itself.
        batch: Pairs per step.
        starts: Random starts.
        objective: Cross-entropy over all that a language model can answer, or over the declared answers (faster).
        progress: Called with (step, steps, figures).

    Raises:
        FitError: Nothing to learn, or settings out of range.
        DataError: Training and selection share inputs, or no pair's answer changes.
        NetworkError: The network has a custom `decode=`.
    """
    settings = Settings(steps, lr, batch, starts, objective=objective)
    selects = None if select is None else [select]
    return fit_many([alignment], [train], selects=selects, seed=seed, settings=settings, progress=progress)[0]


def fit_many(
    alignments: Sequence[Alignment],
    trains: Sequence[Counterfactuals],
    *,
    seed: int,
    selects: Sequence[Counterfactuals] | None = None,
    settings: Settings | None = None,
    progress: Progress | None = None,
    budget: int = BUDGET,
) -> list[Alignment]:
    """`fit` for several claims at once, each on its own pairs: a sweep over sites and sizes, refits, controls.

    Claims of one shape, whatever their networks, run as one batch; claims about one decoder, whatever their sites and
    sizes, share each forward behind the blocks at which they begin. Each gets the fit that it would get alone.

    Args:
        alignments: The claims.
        trains: Of each claim, what it is fitted on.
        seed: Of the starts and of the batches, the same for all.
        selects: Of each claim, on what its step and start are chosen.
        settings: How they are fitted.
        progress: Called with (step, steps, figures).
        budget: Bytes of memory for what is kept of clean runs and for what a step keeps for its gradient.

    Raises:
        FitError: Nothing to learn, settings out of range, or the device is out of memory.
    """
    settings = settings or Settings()
    if isinstance(seed, bool) or not isinstance(seed, int) or seed < 0:
        raise FitError("seed is a whole number from 0", got=repr(seed), expected="such as seed=0")
    check_claims(alignments, trains, selects, settings)
    try:
        with _threads(1):
            # What is kept for the fit and for the choice lies in memory together.
            members = cohort(
                alignments, trains, budget=budget // 2 if selects else budget, objective=settings.objective
            )
            selection = Selection(members, alignments, selects or trains, budget=budget // 2)
            found = _descend(members, selection, seed, settings, progress, choose_step=selects is not None)
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        fits = len(alignments) * settings.starts
        many = f"{fits} fit{'s' if fits > 1 else ''} at once, {settings.batch} pairs a step"
        raise memory_error(error, where=many) from error
    result = []
    for i, alignment in enumerate(alignments):
        start, raws = found.best(i, members.banks)
        maps = members.maps(raws, i)
        history = found.history(i, start) | {"method": "das", "seed": seed} | asdict(settings)
        history["route"] = members.members[i].prepared.route
        ids = selects[i].input_ids if selects is not None else None
        fitted = alignment.with_maps(maps, fitted_ids=trains[i].input_ids, selected_ids=ids, history=history)
        result.append(fitted)
    return result


@dataclass(eq=False)
class _Found:
    """The best parameters of every member so far, and the curves that led there. Member = claim x start."""

    starts: int
    raws: list[torch.Tensor]
    score: np.ndarray
    step: np.ndarray
    losses: list[tuple[int, np.ndarray]]
    scores: list[tuple[int, np.ndarray]]

    def note(
        self, step: int, raws: Sequence[torch.Tensor], banks: Banks, score: np.ndarray, *, choose: bool
    ) -> None:
        """Keep the members that have improved; without a selection split, keep the latest.

        Args:
            step: How far the fit is.
            raws: Where it is.
            banks: Which of them are whose.
            score: Worst cell and mean over cells.  # shape: (members, 2)
            choose: Whether a selection split chooses the step.
        """
        self.scores.append((step, score))
        score = score.sum(axis=1)
        better = score > self.score if choose else np.ones_like(score, dtype=bool)
        self.score[better], self.step[better] = score[better], step
        for kept, new, claims in zip(self.raws, raws, banks.claims, strict=True):
            where = torch.from_numpy(np.nonzero(better.reshape(-1, self.starts)[list(claims)].ravel())[0])
            kept[where] = new[where]

    def best(self, claim: int, banks: Banks) -> tuple[int, list[torch.Tensor]]:
        """The start that does best for a claim, and its parameters."""
        first = claim * self.starts
        # Of starts that do equally well the one that got there first, then the first one.
        order = [(-self.score[first + i], self.step[first + i], i) for i in range(self.starts)]
        start = min(order)[2]
        return start, banks.of(self.raws, claim, start, self.starts)

    @property
    def settled(self) -> bool:
        """Whether every claim has a perfect start: no later step can be chosen before it."""
        return bool((self.score.reshape(-1, self.starts).max(axis=1) >= PERFECT).all())

    def history(self, claim: int, start: int) -> dict[str, Any]:
        """The curves of the chosen start (the selection split's mean over cells, and its worst cell), and the sum of
        the two that every start reached."""
        member = claim * self.starts + start
        first = claim * self.starts
        return {
            "loss": [[step, float(loss[member])] for step, loss in self.losses],
            "selection": [[step, float(score[member, 1])] for step, score in self.scores],
            "selection_worst": [[step, float(score[member, 0])] for step, score in self.scores],
            "chosen_start": start,
            "chosen_step": int(self.step[member]),
            "last_step": self.losses[-1][0],
            "measured": len(self.scores),
            "start_scores": [float(s) for s in self.score[first : first + self.starts]],
        }


def _descend(
    members: Cohort,
    selection: Selection,
    seed: int,
    settings: Settings,
    progress: Progress | None,
    *,
    choose_step: bool,
) -> _Found:
    claims, starts = members.claims, settings.starts
    raws = [
        torch.cat([torch.stack([_start(d, k, seed, s, group) for s in range(starts)])] * len(own)).to(
            members.device, members.dtype
        )
        for (group, d, k), own in zip(members.banks.shapes, members.banks.claims, strict=True)
    ]
    for raw in raws:
        raw.requires_grad_(True)
    optimiser = torch.optim.Adam(raws, lr=settings.lr)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, settings.steps, eta_min=settings.lr / 10)
    batches = int(np.random.default_rng([seed, 1]).integers(2**62))
    generators = [torch.Generator().manual_seed(batches) for _ in range(claims)]
    blank = np.full(claims * starts, -np.inf)
    found = _Found(starts, [r.detach().clone() for r in raws], blank, np.zeros(claims * starts, int), [], [])
    for step in range(1, settings.steps + 1):
        losses, gradients = members.step(raws, settings.batch, starts, generators)
        for raw, gradient in zip(raws, gradients, strict=True):
            raw.grad = gradient
        optimiser.step()
        schedule.step()
        if step % settings.every == 0 or step == settings.steps:
            _finite(losses, raws, step, settings)
            found.losses.append((step, losses.cpu().numpy()))
            detached = [raw.detach() for raw in raws]
            if choose_step or step == settings.steps:
                scores = selection.scores(detached, starts)
                found.note(step, detached, members.banks, scores, choose=choose_step)
            stop = choose_step and found.settled
            if progress is not None:
                figures = {"loss": float(losses.mean())}
                if found.scores:
                    figures["selection"] = float(found.score.max())
                progress(settings.steps if stop else step, settings.steps, figures)
            if stop:
                break
    return found


def _start(width: int, k: int, seed: int, start: int, group: int) -> torch.Tensor:
    return random_raw(width, k, int(np.random.default_rng([seed, 0, start, group]).integers(2**62)))


def _finite(losses: torch.Tensor, raws: Sequence[torch.Tensor], step: int, settings: Settings) -> None:
    parameters = all(bool(torch.isfinite(raw).all()) for raw in raws)
    if not parameters or not bool(torch.isfinite(losses).all()):
        raise FitError(
            "the loss is no longer finite" if parameters else "the map is no longer finite",
            where=f"step {step}",
            got=f"losses {losses.tolist()}",
            expected="finite numbers",
            fix=f"lower the learning rate (it is {settings.lr:g})",
        )


class _threads:
    """Bits depend on how sums are divided among threads: a fit runs on a fixed number of them."""

    def __init__(self, count: int) -> None:
        self.count = count
        self.before = torch.get_num_threads()

    def __enter__(self) -> None:
        torch.set_num_threads(self.count)

    def __exit__(self, *_: object) -> None:
        torch.set_num_threads(self.before)


__all__ = ["Progress", "Settings", "fit", "fit_many"]

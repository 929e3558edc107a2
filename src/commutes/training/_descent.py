"""Adam on the maps of claims that are fitted together, measured now and then on the selection split."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType

import numpy as np
import torch

from commutes.errors import FitError
from commutes.training._checkpoint import restored, save
from commutes.training._cohort import Cohort
from commutes.training._found import Found
from commutes.training._selection import Selection
from commutes.training._settings import Settings

Progress = Callable[[int, int, Mapping[str, float]], None]

# Where a falling learning rate ends, as a share of where it began.
_LOWEST = 0.1


def descend(
    members: Cohort,
    selection: Selection,
    begins: Sequence[Sequence[Sequence[torch.Tensor]]],
    seeds: Sequence[int],
    settings: Settings,
    *,
    progress: Progress | None,
    choose_step: bool,
    checkpoint: tuple[Path, str] | None,
) -> Found:
    """Fit the claims from where they begin.

    Args:
        members: The claims.
        selection: On what steps and starts are chosen.
        begins: Raw tensors of every claim, start and learnt group.
        seeds: Of each claim's batches.
        settings: How they are fitted.
        progress: Called with (step, steps, figures).
        choose_step: Whether the step is chosen, too; otherwise the last one is kept.
        checkpoint: A file that the fit is kept in, and what it says it is a fit of.

    Raises:
        FitError: A loss or a map that is no longer finite.
        ArtefactError: The file holds another fit.
    """
    starts = settings.fits
    raws = _stacked(members, begins)
    optimiser = torch.optim.Adam(raws, lr=settings.lr)
    batches = [int(np.random.default_rng([seed, 1]).integers(2**62)) for seed in seeds]
    generators = [torch.Generator().manual_seed(own) for own in batches]
    found = Found.nothing(raws, members.banks, members.claims * starts, starts)
    done = 0 if checkpoint is None else restored(checkpoint, raws, optimiser, generators, found)
    if settings.init and choose_step and not done:
        # A closed form may be right as it is.
        begun = [raw.detach() for raw in raws]
        found.note(0, begun, selection.scores(begun, starts), choose=True, patience=settings.patience)
    for step in range(done + 1, settings.steps + 1):
        if (done or settings.init) and choose_step and found.settled(settings.patience):
            break
        optimiser.param_groups[0]["lr"] = rate(settings, step)
        along = (step - 1) / max(settings.steps - 1, 1)
        losses, gradients = members.step(raws, settings.batch, starts, generators, along)
        for raw, gradient in zip(raws, gradients, strict=True):
            raw.grad = gradient
        optimiser.step()
        if step % settings.every == 0 or step == settings.steps:
            _check_finite(losses, raws, step, settings)
            found.losses.append((step, losses.cpu().numpy()))
            detached = [raw.detach() for raw in raws]
            if choose_step or step == settings.steps:
                scores = selection.scores(detached, starts)
                found.note(step, detached, scores, choose=choose_step, patience=settings.patience)
            if checkpoint is not None:
                save(checkpoint, step, raws, optimiser, generators, found)
            stop = choose_step and found.settled(settings.patience)
            if progress is not None:
                figures = {"loss": float(losses.mean())}
                if found.scores:
                    figures["selection"] = float(found.score.max())
                progress(settings.steps if stop else step, settings.steps, figures)
            if stop:
                break
    return found


def rate(settings: Settings, step: int) -> float:
    """The learning rate of a step, counted from 1."""
    along = (step - 1) / settings.steps
    fall = {
        "cosine": (1 + math.cos(math.pi * along)) / 2,
        "linear": 1 - along,
        "constant": 1.0,
    }[settings.schedule]
    rise = min(1.0, step / settings.warmup) if settings.warmup else 1.0
    return settings.lr * rise * (_LOWEST + (1 - _LOWEST) * fall)


def _stacked(members: Cohort, begins: Sequence[Sequence[Sequence[torch.Tensor]]]) -> list[torch.Tensor]:
    """One tensor per bank, the starts of a claim side by side."""
    raws: list[torch.Tensor] = []
    for (group, _), claims in zip(members.banks.parts, members.banks.claims, strict=True):
        rows = [start[group] for claim in claims for start in begins[claim]]
        raws.append(torch.stack(rows).to(members.device, members.dtype).requires_grad_())
    return raws


def _check_finite(losses: torch.Tensor, raws: Sequence[torch.Tensor], step: int, settings: Settings) -> None:
    parameters = all(bool(torch.isfinite(raw).all()) for raw in raws)
    if not parameters or not bool(torch.isfinite(losses).all()):
        raise FitError(
            "the loss is no longer finite" if parameters else "the map is no longer finite",
            where=f"step {step}",
            got=f"losses {losses.tolist()}",
            expected="finite numbers",
            fix=f"lower the learning rate (it is {settings.lr:g})",
        )


class on_threads:
    """Bits depend on how sums are divided among threads: a fit runs on a fixed number of them."""

    def __init__(self, count: int) -> None:
        self.count = count
        self.before = torch.get_num_threads()

    def __enter__(self) -> None:
        torch.set_num_threads(self.count)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        torch.set_num_threads(self.before)

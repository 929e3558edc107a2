"""Training of small networks: supervised, deterministic, one network or many of one shape at once."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import nn
from torch.func import functional_call, stack_module_state
from torch.nn import functional

from commutes.errors import FitError
from commutes.network._examples import Batch

Progress = Callable[[int, int, dict[str, float]], None]
Schedule = Literal["constant", "cosine"]

# How often progress is reported and the loss looked at: often enough for a bar, rarely enough to be free.
REPORTS = 100


@dataclass(frozen=True)
class Course:
    """How far and how fast a training descends."""

    steps: int
    lr: float
    schedule: Schedule
    weight_decay: float
    warmup: float = 0.0
    """Share of the steps over which the learning rate rises."""
    clip: float | None = None
    """Largest norm of the gradient; what is longer is shortened."""

    def __post_init__(self) -> None:
        steps, schedule = self.steps, self.schedule
        if isinstance(steps, bool) or not isinstance(steps, int) or steps < 1:
            raise FitError(
                "steps is a number of optimiser steps", got=repr(steps), expected="a whole number from 1"
            )
        if not _is_number(self.lr) or self.lr <= 0:
            raise FitError("lr is a learning rate", got=repr(self.lr), expected="a finite number above 0")
        if not _is_number(self.weight_decay) or self.weight_decay < 0:
            got = repr(self.weight_decay)
            raise FitError("weight_decay is a rate of decay", got=got, expected="a finite number from 0")
        if schedule not in ("constant", "cosine"):
            raise FitError("no such schedule", got=repr(schedule), expected="'constant' or 'cosine'")
        if not _is_number(self.warmup) or not 0 <= self.warmup < 1:
            got = repr(self.warmup)
            raise FitError("warmup is a share of the steps", got=got, expected="from 0 to less than 1")
        if self.clip is not None and (not _is_number(self.clip) or self.clip <= 0):
            got = repr(self.clip)
            raise FitError("clip is a length", got=got, expected="a finite number above 0, or None")

    def rate(self, step: int) -> float:
        """The learning rate of a step, counted from 0."""
        rising = int(self.warmup * self.steps)
        if step < rising:
            return self.lr * (step + 1) / rising
        if self.schedule == "constant":
            return self.lr
        return self.lr * (0.5 * (1 + math.cos(math.pi * (step - rising) / (self.steps - rising))))


def train(
    module: nn.Module,
    batches: Iterable[Batch],
    *,
    steps: int,
    lr: float = 1e-3,
    schedule: Schedule = "constant",
    weight_decay: float = 0.0,
    seed: int = 0,
    progress: Progress | None = None,
) -> nn.Module:
    """A trained copy of `module`: Adam on the cross-entropy between its logits and the targets.

    Afterwards the module, the global generators, the number of threads and the gradient mode are as before.

    Args:
        module: Maps inputs to logits (n, classes).
        batches: (inputs, targets) in order; targets are classes (n,). `steps` of them are taken.
        steps: Number of optimiser steps.
        lr: Learning rate of the first step.
        schedule: "constant", or "cosine" down to zero after the last step.
        weight_decay: Share of every parameter, times the learning rate, that each step takes away (AdamW).
        seed: Of whatever the module itself draws in training mode (dropout).
        progress: Called with the steps done, all steps and {"loss", "accuracy"} of the last batch.

    Returns:
        The copy, each of its modules in the mode in which it was.

    Raises:
        FitError: A number that cannot be, batches that end early, or a loss that is not finite.
    """
    course = Course(steps, lr, schedule, weight_decay)
    twin = copy.deepcopy(module)
    parameters = [p for p in twin.parameters() if p.requires_grad]
    if not parameters:
        raise FitError(
            "nothing to train",
            got=f"{type(module).__name__} without a parameter that requires a gradient",
            expected="at least one",
            fix="set requires_grad on the parameters that are to be trained",
        )
    modes = [(m, m.training) for m in twin.modules()]
    twin.train()
    with alone(seed, parameters):
        descend(parameters, lambda x: twin(x)[None], batches, course, progress, members=None)
    for part, mode in modes:
        part.training = mode
    twin.zero_grad(set_to_none=True)
    return twin


def train_many(
    modules: Sequence[nn.Module],
    batches: Iterable[Batch],
    *,
    steps: int,
    lr: float = 1e-3,
    schedule: Schedule = "constant",
    weight_decay: float = 0.0,
    seed: int = 0,
    progress: Progress | None = None,
) -> list[nn.Module]:
    """Trained copies of modules of one shape, all in one batched pass: what `train` does to each of them.

    Adam works entry by entry and the losses are added, so no network feels another. All parameters are
    trained; buffers stay as they are.

    Args:
        modules: Of one class and shape, without batch statistics.
        batches: (inputs, targets), each with the networks first: (m, n, ...) and (m, n).
        steps: As in `train`.
        lr: As in `train`.
        schedule: As in `train`.
        weight_decay: As in `train`.
        seed: As in `train`.
        progress: As in `train`; the figures are means over the networks.

    Returns:
        One copy per module, in order.

    Raises:
        FitError: As in `train`, or modules that are not of one shape.
    """
    course = Course(steps, lr, schedule, weight_decay)
    twins = [copy.deepcopy(module) for module in modules]
    _check_alike(twins)
    parameters, buffers = stack_module_state(twins)
    template = copy.deepcopy(twins[0]).to("meta").train()

    def one(values: dict[str, torch.Tensor], kept: dict[str, torch.Tensor], x: torch.Tensor) -> torch.Tensor:
        return functional_call(template, (values, kept), (x,))

    together = torch.vmap(one, randomness="different")
    leaves = {name: value.detach().requires_grad_() for name, value in parameters.items()}
    with alone(seed, list(leaves.values())):
        descend(
            list(leaves.values()),
            lambda x: together(leaves, buffers, x),
            batches,
            course,
            progress,
            members=len(twins),
        )
    with torch.no_grad():
        for i, twin in enumerate(twins):
            for name, parameter in twin.named_parameters():
                parameter.copy_(leaves[name][i])
    return twins


def share_right(logits: torch.Tensor, targets: torch.Tensor) -> float:
    """The share of targets that the logits are highest for."""
    return float((logits.argmax(-1).reshape(-1) == targets.reshape(-1)).float().mean())


def descend(
    parameters: Sequence[torch.Tensor] | Sequence[dict[str, Any]],
    forward: Callable[[torch.Tensor], torch.Tensor],
    batches: Iterable[Batch],
    course: Course,
    progress: Progress | None,
    *,
    members: int | None,
    accuracy: Callable[[torch.Tensor, torch.Tensor], float] = share_right,
) -> None:
    """Take the steps, within `alone`.

    Args:
        parameters: All of them, or groups of them as torch's optimisers take them.
        forward: Gives logits with the networks first.
        batches: As in `train`.
        course: How far and how fast.
        progress: As in `train`.
        members: How many networks there are; None is one network alone.
        accuracy: Of logits and targets of a batch, for the progress.
    """
    optimiser = torch.optim.AdamW(parameters, lr=course.lr, weight_decay=course.weight_decay)
    stream, steps = iter(batches), course.steps
    for step in range(steps):
        inputs, targets = _next(stream, step, steps, members)
        for group in optimiser.param_groups:
            group["lr"] = course.rate(step)
        logits = forward(inputs)
        # The sum over networks of each one's mean: every network gets the gradient it would get alone.
        loss = functional.cross_entropy(logits.flatten(0, 1), targets.reshape(-1)) * len(logits)
        optimiser.zero_grad()
        loss.backward()
        if course.clip is not None:
            torch.nn.utils.clip_grad_norm_(
                [p for group in optimiser.param_groups for p in group["params"]], course.clip
            )
        optimiser.step()
        done = step + 1
        if done == steps or done % max(1, steps // REPORTS) == 0:
            _check_finite(done, steps, value := float(loss.detach() / len(logits)))
            if progress is not None:
                figures = {"loss": value, "accuracy": accuracy(logits.detach(), targets)}
                progress(done, steps, figures)


def _next(stream: Iterator[Batch], step: int, steps: int, members: int | None) -> Batch:
    try:
        inputs, targets = next(stream)
    except StopIteration:
        raise FitError(
            "the batches end before the training does",
            got=f"{step} batches",
            expected=f"{steps}, one per step",
            fix="give fewer steps, or batches without end (minibatches)",
        ) from None
    if members is not None and (len(inputs) != members or len(targets) != members):
        raise FitError(
            "a batch for several networks has the networks on its first axis",
            where=f"batch {step}",
            got=f"inputs {tuple(inputs.shape)}, targets {tuple(targets.shape)}",
            expected=f"({members}, examples, ...) and ({members}, examples)",
        )
    return inputs, targets


def _check_finite(done: int, steps: int, loss: float) -> None:
    if not math.isfinite(loss):
        raise FitError(
            "the training diverged",
            where=f"step {done} of {steps}",
            got=f"a loss of {loss}",
            expected="a finite loss",
            fix="lower lr, or look for inputs that are not finite",
        )


@contextmanager
def alone(seed: int, parameters: Sequence[torch.Tensor]) -> Iterator[None]:
    """One thread, gradients on, a generator of our own; afterwards everything is as it was.

    The bits of a sum depend on how it is divided among threads: a result would change with the machine.
    """
    devices = sorted({p.device.index or 0 for p in parameters if p.device.type == "cuda"})
    threads = torch.get_num_threads()
    with torch.random.fork_rng(devices=devices), torch.enable_grad():
        torch.manual_seed(seed)
        torch.set_num_threads(1)
        try:
            yield
        finally:
            torch.set_num_threads(threads)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _check_alike(twins: Sequence[nn.Module]) -> None:
    if not twins:
        raise FitError("no networks to train", got="an empty list", expected="at least one module")
    shapes = [{name: tuple(t.shape) for name, t in twin.state_dict().items()} for twin in twins]
    for i, (twin, shape) in enumerate(zip(twins, shapes, strict=True)):
        if type(twin) is not type(twins[0]) or shape != shapes[0]:
            differing = sorted(n for n in shape.keys() | shapes[0].keys() if shape.get(n) != shapes[0].get(n))
            raise FitError(
                "networks that are trained together are of one shape",
                where=f"module {i}",
                got=f"{type(twin).__name__}, differing in {', '.join(differing) or 'its class'}",
                expected=f"a {type(twins[0]).__name__} like module 0",
            )

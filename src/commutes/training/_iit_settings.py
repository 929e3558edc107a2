"""How a network is trained to implement an alignment, and what is refused before it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import torch

from commutes.alignment import Alignment
from commutes.counterfactuals import Counterfactuals
from commutes.engine import prepare
from commutes.errors import FitError
from commutes.network._train import Course, Schedule
from commutes.training._iit_rest import way_around
from commutes.training._settings import check_changed, check_pairs

Resampled = Literal["unit", "joint"]

# Digits of a step of Adam are lost in weights of so few bits.
_COARSE = (torch.float16, torch.bfloat16)


@dataclass(frozen=True)
class IIT:
    """Settings of interchange-intervention training: the weights of its terms, and how it descends."""

    interchange: float = 1.0
    """Weight of the answers after an interchange."""
    behaviour: float = 1.0
    """Weight of the answers without one."""
    strict: float = 0.0
    """Weight of the base's answers after coordinates that carry no variable were taken from another input."""
    strictness: Resampled = "unit"
    """Which of them are taken at once: one, drawn for every pair, or all ("joint")."""
    steps: int = 2_000
    """Optimiser steps of Adam."""
    lr: float = 1e-3
    """Highest learning rate."""
    batch: int = 256
    """Pairs per step; all of them where there are fewer."""
    schedule: Schedule = "cosine"
    """The learning rate stays, or falls to zero by a cosine."""
    warmup: float = 0.0
    """Share of the steps over which the learning rate rises."""
    ramp: float = 0.0
    """Share of the steps over which the weight of the interchange term rises from zero."""
    weight_decay: float = 0.0
    """Share of every parameter, times the learning rate, that each step takes away (AdamW)."""
    clip: float | None = None
    """Largest norm of the gradient; None leaves it as it is."""
    every: int = 100
    """Steps between measurements on the selection split."""
    detach_source: bool = False
    """Whether source states are constants of a step. By default the gradient flows through the sources' runs too."""

    def __post_init__(self) -> None:
        self.course  # noqa: B018 - it checks its own numbers
        for name, count in (("batch", self.batch), ("every", self.every)):
            if isinstance(count, bool) or not isinstance(count, int) or count < 1:
                raise FitError(f"{name} is a count", got=repr(count), expected="a whole number from 1")
        for name, weight in self.weights.items():
            if not _is_number(weight) or weight < 0:
                raise FitError(
                    f"{name} is the weight of a term", got=repr(weight), expected="a finite number from 0"
                )
        if not any(self.weights.values()):
            raise FitError(
                "the loss has no term",
                got="interchange=0, behaviour=0, strict=0",
                expected="at least one weight above 0",
            )
        if self.strictness not in get_args(Resampled):
            raise FitError(
                "no such strictness",
                got=repr(self.strictness),
                expected=" or ".join(map(repr, get_args(Resampled))),
            )
        if not _is_number(self.ramp) or not 0 <= self.ramp < 1:
            raise FitError(
                "ramp is a share of the steps", got=repr(self.ramp), expected="from 0 to less than 1"
            )

    @property
    def course(self) -> Course:
        """How far and how fast it descends."""
        return Course(self.steps, self.lr, self.schedule, self.weight_decay, self.warmup, self.clip)

    @property
    def weights(self) -> dict[str, float]:
        """The weight of every term once the ramp is over."""
        return {"interchange": self.interchange, "behaviour": self.behaviour, "strict": self.strict}

    def weights_at(self, step: int) -> dict[str, float]:
        """The weight of every term at a step, counted from 0."""
        rising = int(self.ramp * self.steps)
        share = min(1.0, (step + 1) / rising) if rising else 1.0
        return self.weights | {"interchange": self.interchange * share}


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def check_training(
    alignment: Alignment, train: Counterfactuals, select: Counterfactuals | None, settings: IIT
) -> None:
    """Refuse before the long work what cannot be trained, or chosen honestly.

    Raises:
        AlignmentError: The alignment is not fitted, or the pairs are not of its variables.
        DataError: Training and selection share inputs, no pair's answer changes, or pairs swap a variable for the value
            that it has.
        EngineError: The clean run of an input gives NaN or infinity at a site.
        FitError: A strict term, where the answer does not hang on the aligned variables alone.
        NetworkError: The network is in training mode with dropout or batch statistics.
    """
    alignment.featurizers  # noqa: B018 - an alignment that is not fitted says so
    check_pairs(train, select)
    check_changed(alignment, train, swapped=True)
    for pairs in (train, select):
        if pairs is not None:
            alignment.masks(pairs)
    path = way_around(alignment) if settings.strict else ""
    if path:
        raise FitError(
            "the answer does not hang on the aligned variables alone",
            where=alignment.algorithm.name,
            got=f"strict={settings.strict:g}, and {path} passes no aligned variable",
            expected="an aligned variable on every path from an input to the output",
            fix="align a variable on that path too, or leave strict= out",
        )
    # Clean states of all inputs are looked at once, and no base run is kept: what is not finite is told before a step
    # makes more of it.
    inputs = alignment.algorithm.arrays(train.inputs)
    prepare(alignment.network, inputs, alignment.sites, bases=train.base[:1])


def trained_parameters(module: torch.nn.Module) -> list[torch.nn.Parameter]:
    """The parameters that require a gradient.

    Raises:
        FitError: None does, or one has too few digits for small steps.
    """
    parameters = [p for p in module.parameters() if p.requires_grad]
    if not parameters:
        raise FitError(
            "nothing to train",
            got=f"{type(module).__name__} without a parameter that requires a gradient",
            expected="at least one",
            fix="set requires_grad on the parameters that are to be trained",
        )
    _check_digits(module, parameters)
    return parameters


def _check_digits(module: torch.nn.Module, parameters: Sequence[torch.nn.Parameter]) -> None:
    coarse = next((p.dtype for p in parameters if p.dtype in _COARSE), None)
    if coarse is not None:
        raise FitError(
            "weights of sixteen bits round small steps away",
            where=type(module).__name__,
            got=str(coarse).removeprefix("torch."),
            expected="float32 or float64",
            fix="train network.with_module(copy.deepcopy(module).float()), and round afterwards",
        )

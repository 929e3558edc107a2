"""Settings of interchange-intervention training that cannot be are refused when they are written."""

from __future__ import annotations

import pytest

from commutes.errors import FitError
from commutes.training import IIT


def refused(**settings: object) -> str:
    with pytest.raises(FitError) as found:
        IIT(**settings)  # type: ignore[arg-type]
    return str(found.value)


@pytest.mark.parametrize("name", ["batch", "every"])
@pytest.mark.parametrize("value", [0, -1, True, 2.0, "3"])
def test_counts(name, value):
    assert refused(**{name: value}) == (
        f"{name} is a count\n  got:      {value!r}\n  expected: a whole number from 1"
    )


@pytest.mark.parametrize("name", ["interchange", "behaviour", "strict"])
@pytest.mark.parametrize("value", [-0.1, float("nan"), float("inf"), True, "1"])
def test_weights(name, value):
    assert refused(**{name: value}) == (
        f"{name} is the weight of a term\n  got:      {value!r}\n  expected: a finite number from 0"
    )


def test_a_loss_without_terms():
    assert refused(interchange=0, behaviour=0) == (
        "the loss has no term\n"
        "  got:      interchange=0, behaviour=0, strict=0\n"
        "  expected: at least one weight above 0"
    )
    assert IIT(interchange=0).weights == {"interchange": 0, "behaviour": 1.0, "strict": 0.0}


def test_strictness():
    assert refused(strictness="all") == (
        "no such strictness\n  got:      'all'\n  expected: 'unit' or 'joint'"
    )


@pytest.mark.parametrize("value", [1.0, -0.1, True, float("nan"), "half"])
def test_ramp(value):
    assert refused(ramp=value) == (
        f"ramp is a share of the steps\n  got:      {value!r}\n  expected: from 0 to less than 1"
    )


@pytest.mark.parametrize(
    ("settings", "first"),
    [
        ({"steps": 0}, "steps is a number of optimiser steps"),
        ({"lr": 0.0}, "lr is a learning rate"),
        ({"schedule": "linear"}, "no such schedule"),
        ({"warmup": 1.0}, "warmup is a share of the steps"),
        ({"weight_decay": -1.0}, "weight_decay is a rate of decay"),
        ({"clip": 0.0}, "clip is a length"),
    ],
)
def test_how_far_and_how_fast(settings, first):
    assert refused(**settings).startswith(first + "\n")

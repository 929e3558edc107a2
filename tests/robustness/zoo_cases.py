"""Claims of the zoo as cases, made once for all tests of a run: checks see them as a challenge would show them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import pytest

from commutes.evaluation import bench
from commutes.robustness import CHECKS, Case, Outcome, Thresholds
from commutes.stats import Answer
from commutes.testing.zoo import LINEAR, Member, Told, linear
from tests.planted import QUICK

SEEDS, MORE = (1,), (2, 3)


@dataclass(frozen=True)
class Measured:
    """What of an evaluation these checks look at."""

    hits: np.ndarray


@cache
def member(name: str, seed: int) -> Member:
    return linear(name, seed=seed)


@cache
def zoo_case(name: str, seed: int, number: int, pairs: int = 640) -> Case:
    """A told claim on test pairs, with a training split beside them that shares no input."""
    one = member(name, seed)
    told = one.claims[number]
    train, test = one.pairs(told, 2 * pairs, seed=seed + 2).split(train=0.5, test=0.5)
    prepared = bench(told.alignment, test)
    measured: Any = Measured(prepared.hits(told.alignment.featurizers))
    return Case(
        alignment=told.alignment,
        train=train,
        select=None,
        test=test,
        thresholds=Thresholds(),
        settings=QUICK,
        seed=seed,
        refits=0,
        controls=0,
        bench=prepared,
        evaluation=measured,
        adequacy=Outcome(Answer.NOT_RUN, ""),
        untrained=list,
        reseeded=list,
        progress=None,
    )


@cache
def answered(check: str, name: str, seed: int, number: int) -> Outcome:
    return CHECKS[check](zoo_case(name, seed, number))


def found(name: str, claim: str, check: str, seed: int = 1) -> Outcome:
    """What a check finds of the claim of that name."""
    number = next(i for i, told in enumerate(member(name, seed).claims) if told.name == claim)
    return answered(check, name, seed, number)


def told_case(name: str, claim: str, seed: int = 1) -> Case:
    number = next(i for i, told in enumerate(member(name, seed).claims) if told.name == claim)
    return zoo_case(name, seed, number)


def claims(check: str) -> pytest.MarkDecorator:
    """Every claim of which the answer of a check is told; those of further seeds are slow."""
    listed = [
        pytest.param(name, seed, number, marks=[pytest.mark.slow] if seed in MORE else [])
        for seed in (*SEEDS, *MORE)
        for name in LINEAR
        for number, told in enumerate(member(name, SEEDS[0]).claims)
        if check in told.ideal
    ]
    return pytest.mark.parametrize(("name", "seed", "number"), listed, ids=str)


def told(name: str, seed: int, number: int) -> Told:
    return member(name, seed).claims[number]

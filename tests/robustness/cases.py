"""A check is asked about a case: real ones, and real ones of which one figure is replaced."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np

from commutes import Alignment, Counterfactuals, evaluate
from commutes.evaluation import bench
from commutes.robustness import Case, Thresholds
from commutes.robustness._a3_adequacy import adequacy_of
from commutes.robustness._refits import reseeded, untrained
from commutes.stats import Rate, rate
from commutes.training import Settings
from tests.planted import QUICK


def case_of(
    alignment: Alignment,
    test: Counterfactuals,
    *,
    train: Counterfactuals | None = None,
    select: Counterfactuals | None = None,
    refits: int = 5,
    controls: int = 3,
    seed: int = 0,
    settings: Settings = QUICK,
    **changes: Any,
) -> Case:
    """The case that `challenge` would build, with some of its parts replaced."""
    thresholds = Thresholds()
    case = Case(
        alignment=alignment,
        train=train,
        select=select,
        test=test,
        thresholds=thresholds,
        settings=settings,
        seed=seed,
        refits=refits,
        controls=controls,
        bench=bench(alignment, test),
        evaluation=evaluate(alignment, test, census=test.complete),
        adequacy=adequacy_of(test, thresholds.adequacy),
        untrained=lambda: untrained(
            alignment, train, select, test, count=refits, settings=settings, seed=seed
        ),
        reseeded=cache(
            lambda: reseeded(alignment, train, select, test, count=refits, settings=settings, seed=seed)
        ),
        progress=None,
    )
    return replace(case, **changes)


def measured(case: Case, **figures: Any) -> Case:
    """The same case with other figures in its evaluation."""
    return replace(case, evaluation=replace(case.evaluation, **figures))


def of(hits: int, n: int) -> Rate:
    """A rate of disjoint pairs."""
    return rate(np.arange(n) < hits)

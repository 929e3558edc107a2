"""The claim's own fitting procedure, run again: where there is nothing to find, or from other seeds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from commutes.alignment import Alignment
from commutes.counterfactuals import Counterfactuals
from commutes.errors import AlignmentError, DataError, FitError, NetworkError
from commutes.evaluation import bench, cell_rows, rate_of
from commutes.robustness._kept_refits import kept
from commutes.stats import Rate
from commutes.training import ClosedForm, Progress, Settings, fit_many

Procedure = Settings | ClosedForm
"""How a claim's maps were found: by descent, or computed."""


class NoMapError(Exception):
    """A closed form that there is for the claim cannot be computed for one of its nulls."""


@dataclass(frozen=True, eq=False)
class Refit:
    """One refit: the same steps, starts and selection as the claim, on other weights, for another variable, or from
    another seed."""

    alignment: Alignment
    test: Counterfactuals
    hits: np.ndarray
    """On the test pairs.  # shape: (n,)"""
    overall: Rate
    worst: float
    """Lowest rate of a cell that has pairs."""
    accuracy: float
    """Of the network, without intervention, against the algorithm of this refit."""
    seen: Counterfactuals | None
    """A sample of the fitted pairs; None where nothing was fitted."""
    seen_hits: np.ndarray
    """On those pairs."""
    forward_passes: int
    """Inputs that the network was run on for the fit."""

    @property
    def fitted(self) -> float | None:
        """Rate on the fitted pairs, as a check that the fit could learn at all; None where nothing was fitted."""
        return float(self.seen_hits.mean()) if len(self.seen_hits) else None


def refits(
    alignments: Sequence[Alignment],
    trains: Sequence[Counterfactuals] | None,
    selects: Sequence[Counterfactuals] | None,
    tests: Sequence[Counterfactuals],
    *,
    settings: Procedure,
    seed: int | Sequence[int],
    folder: Path | None = None,
    progress: Progress | None = None,
) -> list[Refit]:
    """Fit all the claims in one batch and measure each on its own test pairs. Neurons need no fit, and get none.

    Args:
        alignments: The claims.
        trains: What each is fitted on; None where nothing is fitted.
        selects: What each is chosen on.
        tests: What each is measured on.
        settings: How the claim itself was found.
        seed: Of all, or one of each.
        folder: That keeps refits, by what decides them.
        progress: Called with (step, steps, figures).

    Raises:
        NoMapError: A closed form that cannot be computed for one of them.
    """
    if trains is None or all(alignment.fitted for alignment in alignments):
        return [_measured(a, None, None, test) for a, test in zip(alignments, tests, strict=True)]
    seeds = [seed] * len(trains) if isinstance(seed, int) else list(seed)

    def fit() -> Sequence[Alignment]:
        if isinstance(settings, ClosedForm):
            return [_computed(a, t, settings, s) for a, t, s in zip(alignments, trains, seeds, strict=True)]
        try:
            return fit_many(
                alignments, trains, selects=selects, seed=seed, settings=settings, progress=progress
            )
        except (AlignmentError, FitError) as error:
            # Where a start begins with a closed form, there may be none.
            if settings.init:
                raise NoMapError(f"{error.what}: {error.got}") from error
            raise

    found = kept(folder, alignments, trains, selects, settings, seeds, fit)
    chosen = selects or [None] * len(tests)
    return [_measured(*one) for one in zip(found, trains, chosen, tests, strict=True)]


def _computed(alignment: Alignment, train: Counterfactuals, how: ClosedForm, seed: int) -> Alignment:
    try:
        return how.maps(alignment, train, seed=seed)
    except (AlignmentError, DataError, FitError, NetworkError) as error:
        raise NoMapError(f"{how.method}: {error.what}") from error


def _measured(
    alignment: Alignment,
    train: Counterfactuals | None,
    select: Counterfactuals | None,
    test: Counterfactuals,
) -> Refit:
    measured = bench(alignment, test)
    hits, accuracy = measured.hits(alignment.featurizers), float(measured.right.mean())
    rates = [float(hits[rows].mean()) for *_, rows in cell_rows(test) if len(rows)]
    overall = rate_of(hits, test)
    if train is None:
        return Refit(alignment, test, hits, overall, min(rates), accuracy, None, np.zeros(0, bool), 0)
    # A sample of the fitted pairs as large as the test part says as much as all of them would.
    seen = train.subset(np.arange(min(len(train), len(test))))
    fitted = bench(alignment, seen).hits(alignment.featurizers)
    passes = _fit_passes(alignment, select)
    return Refit(alignment, test, hits, overall, min(rates), accuracy, seen, fitted, passes)


def _fit_passes(alignment: Alignment, select: Counterfactuals | None) -> int:
    """Inputs that the network was run on to fit the alignment, batches and measurements."""
    history = alignment.history
    if "batch" not in history:
        return len(alignment.fitted_ids)
    measured = 0 if select is None else int(history["measured"]) * len(select)
    return len(history["start_scores"]) * (int(history["last_step"]) * int(history["batch"]) + measured)


def untrained(
    alignment: Alignment,
    train: Counterfactuals | None,
    select: Counterfactuals | None,
    test: Counterfactuals,
    *,
    count: int,
    settings: Procedure,
    seed: int,
    folder: Path | None = None,
    progress: Progress | None = None,
) -> list[Refit]:
    """Refits on `count` re-initialised networks.

    Raises:
        NetworkError: The network cannot be re-initialised.
        NoMapError: A closed form that cannot be computed on one of them.
    """
    seeds = np.random.default_rng([seed, 2]).integers(2**31, size=count)
    twins = [alignment.on(alignment.network.reinitialised(int(s))) for s in seeds]
    return refits(
        twins,
        None if train is None else [train] * count,
        None if select is None else [select] * count,
        [test] * count,
        settings=settings,
        seed=seed,
        folder=folder,
        progress=progress,
    )


def reseeded(
    alignment: Alignment,
    train: Counterfactuals,
    select: Counterfactuals | None,
    test: Counterfactuals,
    *,
    count: int,
    settings: Procedure,
    seed: int,
    folder: Path | None = None,
    progress: Progress | None = None,
) -> list[Refit]:
    """Refits of a learnt claim on its own network from `count` other seeds, none of them the claim's own.

    Raises:
        NoMapError: A closed form that cannot be computed.
    """
    drawn = np.random.default_rng([seed, 21]).integers(2**31, size=2 * count + 2).tolist()
    seeds = [one for one in dict.fromkeys(drawn) if one != alignment.history.get("seed")][:count]
    return refits(
        [alignment.under(alignment.algorithm)] * count,
        [train] * count,
        None if select is None else [select] * count,
        [test] * count,
        settings=settings,
        seed=seeds,
        folder=folder,
        progress=progress,
    )

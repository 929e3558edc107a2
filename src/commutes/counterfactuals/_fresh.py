"""Pairs of inputs that nothing was found on, from any distribution; and inputs by themselves."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from commutes.algorithm import Algorithm, Columns
from commutes.counterfactuals._design import Design, Distribution, Reuse
from commutes.counterfactuals._pool import Reservoir, inside
from commutes.counterfactuals._value import Counterfactuals, from_drawn
from commutes.errors import DataError

__all__ = ["Fresh", "drawn_without", "input_sampler"]

Sampler = Callable[[np.random.Generator, int], Columns]


@dataclass(frozen=True, eq=False)
class Fresh:
    """Pairs, and what was kept out of them."""

    pairs: Counterfactuals
    left_out: int
    """Inputs that the distribution gives and that were kept out."""
    share: float
    """Their probability."""


def drawn_without(algorithm: Algorithm, design: Design, ids: np.ndarray, *, reuse: Reuse = "auto") -> Fresh:
    """Pairs of a design without certain inputs, each other one used once while the domain allows it.

    Args:
        algorithm: Under which they are labelled.
        design: What is drawn; its part of a split, if it has one, does not count.
        ids: Of the inputs that are kept out.  # shape: (m,) uint64
        reuse: True lets inputs recur from the start, so that every pair is a draw of its own.

    Raises:
        DataError: No input is left, or too few for a stratum to which the distribution gives weight.
    """
    without = np.unique(np.asarray(ids, np.uint64)).tobytes()
    design = replace(
        design, shares=(("test", 1.0),), part="test", reuse=reuse, complete=False, without=without
    )
    reservoir = Reservoir(algorithm, design)
    pool = reservoir.pool()
    kept = inside(pool.ids, design)
    if not kept.any():
        raise DataError(
            "every input was seen before",
            where=f"algorithm {algorithm.name!r}",
            got=f"{len(pool):,} inputs, all of them among those that are kept out",
            expected="inputs that neither the fit nor the selection has seen",
            fix="fit on fewer inputs, or draw from a larger domain",
        )
    pairs = from_drawn(algorithm, design, reservoir)
    return Fresh(pairs, int((~kept).sum()), float(pool.weights[~kept].sum()))


def input_sampler(algorithm: Algorithm, distribution: str | Distribution) -> Sampler:
    """A function that draws columns of inputs, each input by itself, all randomness from the generator it is given."""
    some = algorithm.input_variables[0].name
    design = Design(
        n=1, swaps=(((some,), False),), flip=None, hold=None, distribution=distribution,
        reuse=True, seed=0, partition=0,
    )  # fmt: skip
    reservoir = Reservoir(algorithm, design)
    return lambda rng, n: reservoir.inputs(n, rng)

"""The pairs of the anchor: the library's own, and pairs drawn as the published rerun draws them.

Sutter et al., The Non-Linear Representation Dilemma, arXiv 2507.08802, publish the code of their rerun of
distributed alignment search (Geiger et al., arXiv 2303.02536). It draws pairs independently, without balance:

- *both equalities*: the set that is swapped is left, right or both, each a third of the time. The base and
  one source per swapped variable are drawn independently, the members of each pair of vectors equal half of
  the time. Where both are swapped they have two sources.
- *identity of the first argument*: the source depends on the base. Its first vector is the base's *second*
  vector half of the time and fresh otherwise, so that the expected answer depends on which vector it is. Its
  own pairs are equal half of the time.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from commutes.algorithm import Algorithm
from commutes.counterfactuals import Counterfactuals, Design, Distribution, Swap, counterfactuals

# Task -> the variables that are fitted jointly. "first-independent" is the control with the library's own
# pairs, in which base and source are drawn independently.
TASKS = {"both": ("left", "right"), "first": ("first",), "first-independent": ("first",)}
SHARES = {"train": 0.5, "select": 0.1, "test": 0.4}


@dataclass(frozen=True)
class Counts:
    """How many pairs are drawn."""

    library: int
    """Over train, select and test, by SHARES."""
    published: tuple[int, int, int]
    """Train, select and test."""


@dataclass(frozen=True, eq=False)
class Data:
    """The pairs of one task for one network; what a task does not have is None."""

    train: Counterfactuals
    select: Counterfactuals
    library: Counterfactuals | None
    """The library's own estimand: balanced strata, each input used once."""
    published: Counterfactuals | None
    """Drawn as the published runs draw them."""


def draw(task: str, algorithm: Algorithm, inputs: Distribution, counts: Counts, *, seed: int) -> Data:
    """The pairs of a task for the network of this seed.

    Both equalities are fitted on the library's pairs and measured on both kinds; the control is fitted and
    measured on one kind.
    """
    if task == "first":
        drawn = first_pairs(algorithm, sum(counts.published), distribution=inputs, seed=seed)
        edges = np.cumsum((0, *counts.published))
        train, select, test = (drawn.subset(np.arange(edges[i], edges[i + 1])) for i in range(3))
        return Data(train, select, None, test)
    variables = [algorithm[name] for name in TASKS[task]]
    swap = [{v} for v in variables] + ([set(variables)] if len(variables) > 1 else [])
    drawn = counterfactuals(algorithm, counts.library, swap=swap, distribution=inputs, seed=seed)
    train, select, test = drawn.split(**SHARES)
    if task != "both":
        return Data(train, select, test, None)
    published = both_pairs(algorithm, counts.published[2], distribution=inputs, seed=seed)
    return Data(train, select, test, published)


def both_pairs(algorithm: Algorithm, n: int, *, distribution: Distribution, seed: int) -> Counterfactuals:
    """n interventions on left, right or both, each with sources of its own."""
    rng = np.random.default_rng([seed, 41])
    left, right = algorithm["left"], algorithm["right"]
    swaps = (Swap((left,)), Swap((right,)), Swap((left, right)))
    swap = rng.integers(0, 3, n)
    drawn = distribution.draw(rng, 3 * n)
    source = np.stack([np.arange(n, 2 * n), np.arange(2 * n, 3 * n)], axis=1)
    source[swap < 2, 1] = -1
    return _labelled(algorithm, drawn, source, swaps, swap, distribution.name, seed)


def first_pairs(algorithm: Algorithm, n: int, *, distribution: Distribution, seed: int) -> Counterfactuals:
    """n interventions on the first argument, which is the base's second half of the time."""
    rng = np.random.default_rng([seed, 43])
    base, source = distribution.draw(rng, n), dict(distribution.draw(rng, n))
    low, high, width = -0.5, 0.5, np.shape(base["w"])[1]
    taken, equal = rng.random(n) < 0.5, rng.random(n) < 0.5
    source["w"] = np.where(taken[:, None], base["x"], rng.uniform(low, high, (n, width)))
    source["x"] = np.where(equal[:, None], source["w"], rng.uniform(low, high, (n, width)))
    drawn = {name: np.concatenate([base[name], source[name]]) for name in base}
    rows = np.arange(n, 2 * n)[:, None]
    swaps = (Swap((algorithm["first"],)),)
    name = "as the published control: the source's first vector is the base's second half of the time"
    return _labelled(algorithm, drawn, rows, swaps, np.zeros(n, np.int64), name, seed)


def _labelled(
    algorithm: Algorithm,
    drawn: Mapping[str, object],
    source: np.ndarray,
    swaps: tuple[Swap, ...],
    swap: np.ndarray,
    name: str,
    seed: int,
) -> Counterfactuals:
    """The pairs (row i of `drawn` is the base of pair i) with the algorithm's answers; one stratum."""
    n = len(source)
    used = np.unique(np.concatenate([np.arange(n), source[source >= 0]]))
    place = np.full(int(used.max()) + 2, -1, np.int64)  # the last entry answers for -1, no source
    place[used] = np.arange(len(used))
    inputs = {k: c[used] for k, c in algorithm.columns(drawn).items()}  # pyright: ignore[reportArgumentType]
    base, source = place[np.arange(n)], np.where(source < 0, -1, place[source])
    clean = algorithm.run(inputs)
    expected = np.empty(n, np.int64)
    for index, one in enumerate(swaps):
        rows = np.flatnonzero(swap == index)
        do = {v: clean[v.name][source[rows, slot]] for slot, (v,) in enumerate(one.slots)}
        ran = algorithm.run({k: column[base[rows]] for k, column in inputs.items()}, do)
        expected[rows] = ran[algorithm.output_variable.name]
    return Counterfactuals(
        algorithm=algorithm,
        design=Design(
            n=n,
            swaps=tuple((tuple(v.name for v in one.variables), one.shared) for one in swaps),
            flip=None,
            hold=None,
            distribution=Distribution(name, _no_redraw),
            reuse=True,
            seed=seed,
            partition=seed,
        ),
        part=None,
        inputs=inputs,
        ids=algorithm.input_ids(inputs),
        base=base,
        source=source,
        swap=swap,
        swaps=swaps,
        expected=expected,
        stratum=np.zeros(n, np.int64),
        strata=("any",),
        moved=np.zeros(n, bool),
        complete=False,
        weights={(one.label, "any"): 1.0 for one in swaps},
        weight_draws=0,
        reused=False,
    )


def _no_redraw(rng: np.random.Generator, n: int) -> Mapping[str, np.ndarray]:
    raise RuntimeError("these pairs are not drawn input by input; draw them with both_pairs or first_pairs")

"""The inputs that pairs are drawn from: the whole domain where it can be listed, a large sample otherwise."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from commutes.algorithm import Algorithm, Columns, Space
from commutes.counterfactuals._blocks import ENUMERABLE, Block, blocks
from commutes.counterfactuals._codes import joint_codes, unit
from commutes.counterfactuals._design import Design, Distribution, grouping
from commutes.errors import DataError

if TYPE_CHECKING:
    from commutes.counterfactuals._natural import Natural

__all__ = ["ENUMERABLE", "LEVELS", "Pool", "Reservoir", "inside", "pool_of_all"]

LEVELS = 4
"""How often a sampled pool may be drawn larger."""
_LARGEST_SAMPLE = 2**20
_LARGEST_REAL_SAMPLE = 2**17
"""Fresh real vectors are never twice the same, so every row costs a call of every mechanism."""
_WANTED_PER_GROUP = 256
_FEW = 4
"""Inputs per group, on average, below which groups are too many to be filled: of dozens of variables hardly any joint
value comes twice, and twice as many inputs have twice as many."""


@dataclass(frozen=True, eq=False)
class Pool:
    """Distinct inputs with all variables' columns and the probability of each.

    Args:
        algorithm: Whose variables these are.
        columns: All variables.  # shape: (P,) or (P, width) each
        ids: The ids of the inputs.  # shape: (P,)
        count: How often each was drawn; 1 where the domain was listed.  # shape: (P,)
        group: The joint value over which the distribution is uniform first.  # shape: (P,)
        complete: True where these are all the inputs of the domain.
        draws: How many inputs were drawn; 0 where the domain was listed.
    """

    algorithm: Algorithm
    columns: Columns
    ids: np.ndarray
    count: np.ndarray
    group: np.ndarray
    complete: bool
    draws: int

    def __len__(self) -> int:
        return len(self.ids)

    @cached_property
    def weights(self) -> np.ndarray:
        """The probability of each input: uniform over the groups that occur, then within each."""
        if not len(self):
            return np.zeros(0)
        totals = np.bincount(self.group, weights=self.count)
        return self.count / (totals[self.group] * np.count_nonzero(totals))

    def restrict(self, rows: np.ndarray) -> Pool:
        """The pool of these rows only (a mask or indices)."""
        return Pool(
            self.algorithm,
            {name: column[rows] for name, column in self.columns.items()},
            self.ids[rows],
            self.count[rows],
            self.group[rows],
            self.complete,
            self.draws,
        )


def _grouped(algorithm: Algorithm, columns: Columns, rows: int, by_value: bool) -> np.ndarray:
    names = [v.name for v in grouping(algorithm)] if by_value else []
    return joint_codes([columns[name] for name in names], rows)


def pool_of_all(algorithm: Algorithm, by_value: bool) -> Pool:
    """Every input of a domain that can be listed."""
    inputs = algorithm.enumerate_inputs(ENUMERABLE)
    columns = algorithm.run(inputs)
    rows = len(next(iter(columns.values())))
    group = _grouped(algorithm, columns, rows, by_value)
    return Pool(algorithm, columns, algorithm.input_ids(inputs), np.ones(rows), group, True, 0)


def inside(ids: np.ndarray, design: Design) -> np.ndarray:
    """Which of these inputs the design's part may have, by a hash of the id and the seed; none that is kept out."""
    kept = ~np.isin(ids, np.frombuffer(design.without, np.uint64))
    return kept if design.part is None else kept & _of_part(ids, design)


def _of_part(ids: np.ndarray, design: Design) -> np.ndarray:
    assert design.part is not None
    names = [name for name, _ in design.shares]
    bounds = np.concatenate([[0.0], np.cumsum([share for _, share in design.shares])])
    # A sum such as 0.5 + 0.2 + 0.3 may fall a rounding short of one, and every input has a part then.
    bounds[np.abs(bounds - 1.0) < 1e-9] = 1.0
    place = names.index(design.part)
    at = unit(ids, design.partition)
    return (at >= bounds[place]) & (at < bounds[place + 1])


class Reservoir:
    """Pools of growing size for one algorithm and design, each drawn from the design's seed alone."""

    def __init__(self, algorithm: Algorithm, design: Design) -> None:
        self.algorithm = algorithm
        self.distribution = design.distribution
        self.seed = design.seed
        self.real = any(isinstance(algorithm.domain(v), Space) for v in algorithm.input_variables)
        most = max(len(names) if not shared else 1 for names, shared in design.swaps)
        share = dict(design.shares).get(design.part or "", 1.0)
        wanted = 2 * design.n * (1 + most) / share
        self.first = int(np.clip(wanted, 2**13, 2**15 if self.real else 2**17))
        self.natural: Natural | None = None
        """The weights of the undivided design once they are known."""
        self._pools: dict[int, Pool] = {}

    def sibling(self) -> Reservoir:
        """The same inputs for another design of the same distribution."""
        other = copy.copy(self)
        other.natural = None
        return other

    @property
    def listed(self) -> bool:
        """Whether the domain is listed instead of sampled."""
        count = self.algorithm.input_count
        return count is not None and count <= ENUMERABLE and not isinstance(self.distribution, Distribution)

    @property
    def largest(self) -> int:
        """The largest number of inputs that is ever drawn."""
        return _LARGEST_REAL_SAMPLE if self.real else _LARGEST_SAMPLE

    def pool(self, step: int = 0) -> Pool:
        """The pool after `step` doublings; the whole domain where it can be listed."""
        step = 0 if self.listed else step
        if step not in self._pools:
            by_value = self.distribution == "values"
            self._pools[step] = pool_of_all(self.algorithm, by_value) if self.listed else self._sample(step)
        return self._pools[step]

    def last(self, step: int) -> bool:
        """Whether a larger pool cannot be had."""
        return self.listed or step >= LEVELS or self.first << step >= self.largest

    def inputs(self, n: int, rng: np.random.Generator) -> Columns:
        """n inputs from the distribution, each drawn by itself and with replacement."""
        if not self.listed:
            return self._draw(n, rng)
        pool = self.pool()
        rows = rng.choice(len(pool), size=n, p=pool.weights)
        return {v.name: pool.columns[v.name][rows] for v in self.algorithm.input_variables}

    def _block(self, number: int) -> np.random.Generator:
        return np.random.default_rng([self.seed, 11, number])

    def _sample(self, step: int) -> Pool:
        drawn = min(self.first << step, self.largest)
        inputs = self._draw(drawn, self._block(0))
        pool = self._pool_from(inputs, drawn)
        block = 1
        # Groups that are rare under the sampler carry as much weight as the others under "values", so they
        # need inputs of their own: draw on, and keep of each block only what the poor groups gain.
        while 2 * drawn <= self.largest and (poor := self._poor(pool)).any():
            more = self._draw(drawn, self._block(block))
            rich = pool.restrict(~poor[pool.group])
            keep = ~self._grouped_with(rich, self.algorithm.run(more), drawn)
            inputs = {name: np.concatenate([column, more[name][keep]]) for name, column in inputs.items()}
            drawn *= 2
            block += 1
            pool = self._pool_from(inputs, drawn)
        return pool

    def _poor(self, pool: Pool) -> np.ndarray:
        """Per group whether it has too few inputs to be drawn from."""
        sizes = np.bincount(pool.group)
        if self.distribution != "values" or len(sizes) == 1 or len(pool) < _FEW * len(sizes):
            return np.zeros(len(sizes), dtype=bool)
        return sizes < min(_WANTED_PER_GROUP, self.largest // (4 * len(sizes)))

    def _grouped_with(self, pool: Pool, columns: Columns, rows: int) -> np.ndarray:
        """Which of the new rows fall into a group that the pool has."""
        keys = [v.name for v in grouping(self.algorithm)]
        together = joint_codes(
            [np.concatenate([pool.columns[k], columns[k]]) for k in keys], len(pool) + rows
        )
        return np.isin(together[len(pool) :], together[: len(pool)])

    def _draw(self, rows: int, rng: np.random.Generator) -> Columns:
        if not isinstance(self.distribution, Distribution):
            uniform = self.algorithm.input_variables
            inputs = {v.name: self.algorithm.domain(v).sample(rng, rows) for v in uniform}
            for part in self._blocks:
                inputs |= part.draw(rng, rows)
            return inputs
        drawn = self.distribution.draw(rng, rows)
        columns = self.algorithm.columns(drawn)  # pyright: ignore[reportArgumentType]
        got = {name: len(column) for name, column in columns.items()}
        if set(got.values()) != {rows}:
            raise DataError(
                f"the distribution {self.distribution.name!r} drew the wrong number of rows",
                where="its draw(rng, n)",
                got=", ".join(f"{name}: {count:,}" for name, count in got.items()),
                expected=f"n = {rows:,} rows of every input",
                fix="return n values for every input variable",
            )
        return columns

    @cached_property
    def _blocks(self) -> list[Block]:
        return blocks(self.algorithm) if self.distribution == "values" else []

    def _pool_from(self, inputs: Columns, drawn: int) -> Pool:
        ids, first, count = np.unique(self.algorithm.input_ids(inputs), return_index=True, return_counts=True)
        columns = self.algorithm.run({name: column[first] for name, column in inputs.items()})
        group = _grouped(self.algorithm, columns, len(ids), self.distribution == "values")
        return Pool(self.algorithm, columns, ids, count.astype(np.float64), group, False, drawn)

"""Filling quotas with pairs of inputs: inputs recurring, or each used once for as long as the domain allows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from commutes.counterfactuals._candidates import Candidates, Kinds
from commutes.counterfactuals._codes import Gathered, level

__all__ = ["Filled", "Requests", "fill_disjoint", "fill_recurring", "quotas"]

_RESTARTS = 4
"""How often the cells that went short are served first in a new attempt."""
_CHUNKS = 16
"""Requests are served in so many shuffled portions, so that no swap set takes the scarce inputs first."""
_PATIENCE = 3
_SWEEPS = 8
"""How often all inputs may be used afresh, as evenly as possible, before they are drawn with replacement."""


@dataclass(frozen=True, eq=False)
class Requests:
    """One row per pair that is wanted: its swap set and its cell there."""

    swap: np.ndarray
    cell: np.ndarray

    def __len__(self) -> int:
        return len(self.swap)


@dataclass(eq=False)
class Filled:
    """The rows of the pool that each request got; -1 where it got none."""

    atom: np.ndarray
    base: np.ndarray
    source: np.ndarray

    @property
    def missing(self) -> np.ndarray:
        """The requests that got nothing."""
        return np.flatnonzero(self.atom < 0)


def quotas(options: Sequence[Candidates], counts: Sequence[int], rng: np.random.Generator) -> Requests:
    """Equal numbers per outer class and, within one, per cell, as far as the caps allow, in random order."""
    swaps: list[np.ndarray] = []
    cells: list[np.ndarray] = []
    for index, (option, count) in enumerate(zip(options, counts, strict=True)):
        caps = option.caps
        total = int(caps.sum())
        if total < count:
            caps = caps * -(-count // total)
        outer_caps = np.bincount(option.outer_of, weights=caps).astype(np.int64)
        share = np.zeros(len(caps), dtype=np.int64)
        for outer, wanted in enumerate(level(count, outer_caps, rng)):
            inside = np.flatnonzero(option.outer_of == outer)
            if wanted:
                share[inside] = level(int(wanted), caps[inside], rng)
        cells.append(np.repeat(np.arange(len(caps)), share))
        swaps.append(np.full(count, index, dtype=np.int64))
    order = rng.permutation(sum(counts))
    return Requests(np.concatenate(swaps)[order], np.concatenate(cells)[order])


def _empty(options: Sequence[Candidates], count: int) -> Filled:
    slots = max(len(option.source_kinds) for option in options)
    return Filled(
        np.full(count, -1, dtype=np.int64),
        np.full(count, -1, dtype=np.int64),
        np.full((count, slots), -1, dtype=np.int64),
    )


def _draw_freely(
    filled: Filled,
    options: Sequence[Candidates],
    requests: Requests,
    rows: np.ndarray,
    rng: np.random.Generator,
) -> None:
    for index, option in enumerate(options):
        mine = rows[requests.swap[rows] == index]
        atom = option.by_cell.pick(rng, requests.cell[mine])
        filled.atom[mine] = atom
        filled.base[mine] = option.base_kinds.gathered.pick(rng, option.base[atom])
        for slot, kinds in enumerate(option.source_kinds):
            filled.source[mine, slot] = kinds.gathered.pick(rng, option.source[atom, slot])


def fill_recurring(options: Sequence[Candidates], requests: Requests, rng: np.random.Generator) -> Filled:
    """Every request from the distribution given its cell; inputs recur."""
    filled = _empty(options, len(requests))
    _draw_freely(filled, options, requests, np.arange(len(requests)), rng)
    return filled


class _Queue:
    """A role's inputs in the order in which they are used up: by kind, then at random by their weights."""

    def __init__(self, kinds: Kinds, rng: np.random.Generator) -> None:
        self.code = kinds.code
        self.count = len(kinds.first)
        # Exponential clocks with the weights as rates: the order of sampling without replacement.
        with np.errstate(divide="ignore"):
            clock = rng.exponential(size=len(kinds.code)) / kinds.weights
        self.order = np.lexsort((clock, kinds.code))

    def left(self, used: np.ndarray) -> np.ndarray:
        """How many unused inputs each kind has."""
        return np.bincount(self.code[~used], minlength=self.count)

    def take(self, used: np.ndarray, wanted: np.ndarray) -> np.ndarray:
        """Different unused inputs of the wanted kinds, -1 where a kind has no more."""
        free = self.order[~used[self.order]]
        code = self.code[free]
        by_kind = np.argsort(wanted, kind="stable")
        ordered = wanted[by_kind]
        start = np.searchsorted(code, ordered, side="left")
        stop = np.searchsorted(code, ordered, side="right")
        place = start + np.arange(len(ordered)) - np.searchsorted(ordered, ordered, side="left")
        got = np.full(len(wanted), -1, dtype=np.int64)
        there = place < stop
        got[by_kind[there]] = free[place[there]]
        return got


class _Attempt:
    """One pass over all requests in a given order, each input used once."""

    def __init__(
        self, options: Sequence[Candidates], requests: Requests, rng: np.random.Generator, loose: bool
    ) -> None:
        self.options, self.requests, self.rng, self.loose = options, requests, rng, loose
        self.used = np.zeros(len(options[0].base_kinds.code), dtype=bool)
        self.filled = _empty(options, len(requests))

    @cached_property
    def queues(self) -> list[list[_Queue]]:
        return [[_Queue(kinds, self.rng) for kinds in (o.base_kinds, *o.source_kinds)] for o in self.options]

    def run(self, order: np.ndarray) -> None:
        for chunk in np.array_split(order, max(1, min(_CHUNKS, len(order) // 64))):
            pending, idle, first = chunk, 0, True
            while len(pending) and idle < _PATIENCE:
                for index in range(len(self.options)):
                    self._serve(index, pending[self.requests.swap[pending] == index], first)
                rest = pending[self.filled.atom[pending] < 0]
                idle = idle + 1 if len(rest) == len(pending) else 0
                pending, first = rest, False

    def _serve(self, index: int, rows: np.ndarray, natural: bool) -> None:
        option, queues = self.options[index], self.queues[index]
        if not len(rows):
            return
        left = queues[0].left(self.used)[option.base]
        for slot, queue in enumerate(queues[1:]):
            left = np.minimum(left, queue.left(self.used)[option.source[:, slot]])
        # First as the distribution has it; what then goes short is steered to where inputs are left.
        weight = option.mass * (left > 0 if natural else left)
        by = option.by_outer if self.loose else option.by_cell
        wanted = self.requests.cell[rows]
        wanted = option.outer_of[wanted] if self.loose else wanted
        by = by.weighted(weight)
        can = by.mass[wanted] > 0
        rows, wanted = rows[can], wanted[can]
        atom = by.pick(self.rng, wanted)
        kinds = np.concatenate([option.base[atom][:, None], option.source[atom]], axis=1)
        got = np.empty_like(kinds)
        for role, queue in enumerate(queues):
            got[:, role] = queue.take(self.used, kinds[:, role])
            self.used[got[got[:, role] >= 0, role]] = True
        served = (got >= 0).all(axis=1)
        back = got[~served]
        self.used[back[back >= 0]] = False
        self.filled.atom[rows[served]] = atom[served]
        self.filled.base[rows[served]] = got[served, 0]
        self.filled.source[rows[served], : got.shape[1] - 1] = got[served, 1:]


def _once(
    options: Sequence[Candidates], requests: Requests, rng: np.random.Generator, restarts: int
) -> _Attempt:
    """The best of some attempts; the cells that went short in one are served first in the next."""
    best: _Attempt | None = None
    hungry = np.zeros(len(requests), dtype=np.int64)
    width = 1 + int(requests.cell.max())
    key = requests.swap * width + requests.cell
    for _ in range(restarts):
        attempt = _Attempt(options, requests, rng, loose=False)
        attempt.run(np.argsort(-hungry, kind="stable"))
        missing = attempt.filled.missing
        if best is None or len(missing) < len(best.filled.missing):
            best = attempt
        if not len(missing):
            break
        hungry += np.isin(key, key[missing])
    assert best is not None
    return best


def fill_disjoint(
    options: Sequence[Candidates],
    requests: Requests,
    rng: np.random.Generator,
    *,
    strict: bool,
    restarts: int = _RESTARTS,
) -> Filled:
    """Every input used once while that is possible.

    Args:
        options: What can be drawn.
        requests: What is wanted.
        rng: For the order and the choice.
        strict: True leaves what cannot be had without repetition missing (balance over the expected answers
            gives way first); False lets inputs recur for it, as evenly as possible.
        restarts: How many attempts are made.
    """
    attempt = _once(options, requests, rng, restarts)
    missing = attempt.filled.missing
    if not len(missing):
        return attempt.filled
    if strict:
        attempt.loose = True
        attempt.run(missing)
        return attempt.filled
    for _ in range(_SWEEPS):
        attempt.used[:] = False
        attempt.run(missing)
        rest = attempt.filled.missing
        if not len(rest) or len(rest) == len(missing):
            break
        missing = rest
    _draw_freely(attempt.filled, options, requests, attempt.filled.missing, rng)
    return attempt.filled

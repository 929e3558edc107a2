"""Filling quotas with pairs: inputs recur, or each is used once for as long as the domain allows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from commutes.counterfactuals._candidates import Candidates
from commutes.counterfactuals._codes import Gathered, first_rows, joint_codes, level

__all__ = ["Filled", "Requests", "Stock", "fill_disjoint", "fill_recurring", "quotas"]

_RESTARTS = 4
"""How often the cells that went short are served first in a new attempt."""
_CHUNKS = 64
"""Requests are served in so many shuffled portions, so that no swap set takes the scarce inputs first."""
_PATIENCE = 3
_SWEEPS = 8
"""How often all inputs may be used once more, evenly, before they are drawn with replacement."""
_FAIR = 0.25
"""The part of an equal share that every expected answer of a stratum keeps before inputs recur: with less, an
answer would be all but untested in a stratum that seems well filled."""


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

    def copy(self) -> Filled:
        """A copy that can be changed on its own."""
        return Filled(self.atom.copy(), self.base.copy(), self.source.copy())

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


def _ranks(codes: np.ndarray) -> np.ndarray:
    """The how manieth of its code each entry is, from 0."""
    order = np.argsort(codes, kind="stable")
    ordered = codes[order]
    rank = np.empty(len(codes), dtype=np.int64)
    rank[order] = np.arange(len(codes)) - np.searchsorted(ordered, ordered, side="left")
    return rank


class Stock:
    """The inputs by *stock kind*, the coarsest partition that refines every role's kinds, each with a queue.

    Inputs of one stock kind are interchangeable in every role, so what is left is counted per kind, not per
    input.
    """

    def __init__(self, options: Sequence[Candidates], rng: np.random.Generator) -> None:
        roles = [[o.base_kinds, *o.source_kinds] for o in options]
        weights = options[0].base_kinds.weights
        kind = joint_codes([k.code for row in roles for k in row], len(weights))
        first = first_rows(kind)
        self.size = np.bincount(kind, minlength=len(first))
        self.start = np.cumsum(self.size) - self.size
        # Exponential clocks with the weights as rates: the order of sampling without replacement.
        with np.errstate(divide="ignore"):
            clock = rng.exponential(size=len(weights)) / weights
        self.order = np.lexsort((clock, kind))
        self.weight = np.bincount(kind, weights=weights) / self.size
        self.role_kind = [[k.code[first] for k in row] for row in roles]
        self.role_size = [[len(k.first) for k in row] for row in roles]
        self.gathered = [
            [Gathered(code, self.weight, size) for code, size in zip(codes, sizes, strict=True)]
            for codes, sizes in zip(self.role_kind, self.role_size, strict=True)
        ]
        self.taken = np.zeros(len(first), dtype=np.int64)
        self.allowed = self.size.copy()

    def refill(self) -> None:
        """Every input as good as unused."""
        self.taken[:] = 0
        self.allowed = self.size.copy()

    def allow_more(self) -> None:
        """Every input may be used once more; those that have not been used yet still come first."""
        self.allowed = self.allowed + self.size

    @property
    def left(self) -> np.ndarray:
        """How many uses each stock kind has left."""
        return self.allowed - self.taken

    def left_for(self, index: int, role: int) -> np.ndarray:
        """How many uses each of a role's kinds has left."""
        size = self.role_size[index][role]
        return np.bincount(self.role_kind[index][role], weights=self.left, minlength=size)

    def take(self, index: int, wanted: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Inputs of the wanted kinds, requests x roles; a row of -1 where a kind is short."""
        weight = self.weight * self.left
        kind = np.stack(
            [
                gathered.weighted(weight).pick(rng, wanted[:, role])
                for role, gathered in enumerate(self.gathered[index])
            ],
            axis=1,
        )
        flat = kind.reshape(-1)
        served = (_ranks(flat) < self.left[flat]).reshape(kind.shape).all(axis=1)
        flat = kind[served].reshape(-1)
        place = (self.taken[flat] + _ranks(flat)) % self.size[flat]
        got = np.full(wanted.shape, -1, dtype=np.int64)
        got[served] = self.order[self.start[flat] + place].reshape(-1, wanted.shape[1])
        self.taken += np.bincount(flat, minlength=len(self.taken))
        return got


class _Attempt:
    """One pass over requests in a given order."""

    def __init__(
        self, options: Sequence[Candidates], requests: Requests, stock: Stock, rng: np.random.Generator
    ) -> None:
        self.options, self.requests, self.stock, self.rng = options, requests, stock, rng
        self.filled = _empty(options, len(requests))

    def run(self, order: np.ndarray, *, loose: bool = False) -> None:
        """Serves the requests, in portions; `loose`: another answer of the same stratum may stand in."""
        for chunk in np.array_split(order, max(1, min(_CHUNKS, len(order) // 16))):
            pending, idle, natural = chunk, 0, True
            while len(pending) and idle < _PATIENCE:
                for index in range(len(self.options)):
                    self._serve(index, pending[self.requests.swap[pending] == index], natural, loose)
                rest = pending[self.filled.atom[pending] < 0]
                idle = idle + 1 if len(rest) == len(pending) else 0
                pending, natural = rest, False

    def _serve(self, index: int, rows: np.ndarray, natural: bool, loose: bool) -> None:
        if not len(rows):
            return
        option, stock = self.options[index], self.stock
        left = stock.left_for(index, 0)[option.base]
        for slot in range(option.source.shape[1]):
            left = np.minimum(left, stock.left_for(index, slot + 1)[option.source[:, slot]])
        # First as the distribution has it; what then goes short is steered to where inputs are left.
        weight = option.mass * (left > 0 if natural else left)
        wanted = self.requests.cell[rows]
        wanted = option.outer_of[wanted] if loose else wanted
        by = (option.by_outer if loose else option.by_cell).weighted(weight)
        can = by.mass[wanted] > 0
        rows, wanted = rows[can], wanted[can]
        atom = by.pick(self.rng, wanted)
        got = stock.take(
            index, np.concatenate([option.base[atom][:, None], option.source[atom]], axis=1), self.rng
        )
        served = got[:, 0] >= 0
        rows = rows[served]
        self.filled.atom[rows] = atom[served]
        self.filled.base[rows] = got[served, 0]
        self.filled.source[rows, : got.shape[1] - 1] = got[served, 1:]


def _tight(
    options: Sequence[Candidates], requests: Requests, stock: Stock, rng: np.random.Generator, restarts: int
) -> _Attempt:
    """The last of some attempts; the cells that went short in one are served first in the next."""
    hungry = np.zeros(len(requests), dtype=np.int64)
    key = requests.swap * (1 + int(requests.cell.max())) + requests.cell
    # In turn, one of every cell, so that cells which need the same scarce inputs share them.
    turn = _ranks(key)
    while True:
        stock.refill()
        attempt = _Attempt(options, requests, stock, rng)
        attempt.run(np.lexsort((turn, -hungry)))
        missing = attempt.filled.missing
        restarts -= 1
        if not len(missing) or not restarts:
            return attempt
        hungry += np.isin(key, key[missing])


def fill_disjoint(
    options: Sequence[Candidates],
    requests: Requests,
    rng: np.random.Generator,
    *,
    strict: bool,
    restarts: int = _RESTARTS,
    stock: Stock | None = None,
) -> Filled:
    """Every input used once while that is possible.

    Numbers per stratum stand; balance over the expected answers gives way to disjoint inputs. Where inputs
    may recur it gives way only so far, and they recur instead of leaving an answer of a stratum nearly
    untested.

    Args:
        options: What can be drawn.
        requests: What is wanted.
        rng: For the order and the choice.
        strict: True leaves what cannot be had without repetition missing; False lets inputs recur for it, as
            evenly as possible.
        restarts: How many attempts are made.
        stock: The inputs, where they are gathered already.
    """
    stock = stock or Stock(options, rng)
    attempt = _tight(options, requests, stock, rng, restarts)
    missing = attempt.filled.missing
    if not len(missing):
        return attempt.filled
    before = attempt.filled.copy(), stock.taken.copy()
    attempt.run(missing, loose=True)
    if strict or (not len(attempt.filled.missing) and _balanced(options, requests, attempt.filled)):
        return attempt.filled
    attempt.filled, stock.taken = before
    for _ in range(_SWEEPS):
        stock.allow_more()
        attempt.run(attempt.filled.missing)
        if not len(attempt.filled.missing):
            return attempt.filled
    _draw_freely(attempt.filled, options, requests, attempt.filled.missing, rng)
    return attempt.filled


def _balanced(options: Sequence[Candidates], requests: Requests, filled: Filled) -> bool:
    """Whether each answer of each stratum keeps a fair part of the number that balance gives it."""
    for index, option in enumerate(options):
        mine = requests.swap == index
        wanted = np.bincount(requests.cell[mine], minlength=len(option.outer_of))
        got = np.bincount(option.cell[filled.atom[mine]], minlength=len(option.outer_of))
        if (got < np.floor(_FAIR * wanted)).any():
            return False
    return True

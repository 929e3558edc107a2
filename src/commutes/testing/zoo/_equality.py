"""Hierarchical equality of symbols that have a shade: what the networks with a linear site compute."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from commutes.algorithm import Algorithm
from commutes.counterfactuals import Distribution
from commutes.testing.zoo._wiring import Layer, Terms, passing

INPUTS = ("w", "x", "y", "z")
COLUMNS = tuple(f"{name}.{part}" for name in INPUTS for part in ("id", "shade"))
"""What the networks read."""


def equality(symbols: int = 4, shades: int = 3) -> Algorithm:
    """left = (w is x), right = (y is z), same = (left == right): identities count, shades do not.

    Args:
        symbols: Identities.
        shades: In how many shades each comes; an input is (identity, shade).
    """
    found = Algorithm(f"hierarchical equality of {symbols} symbols in {shades} shades")
    found.inputs(INPUTS, domain=[(i, s) for i in range(symbols) for s in range(shades)])
    found.add("left", "w", "x", f=_is, domain=bool)
    found.add("right", "y", "z", f=_is, domain=bool)
    found.add("same", "left", "right", f=_equal, domain=bool, output=True)
    return found.check()


def by_shade(symbols: int = 4, shades: int = 3) -> Algorithm:
    """The same with left = (w has the shade of x): what a network computes that has learnt a shortcut."""
    found = Algorithm(f"equality of shades and of {symbols} symbols")
    found.inputs(INPUTS, domain=[(i, s) for i in range(symbols) for s in range(shades)])
    found.add("left", "w", "x", f=_alike, domain=bool)
    found.add("right", "y", "z", f=_is, domain=bool)
    found.add("same", "left", "right", f=_equal, domain=bool, output=True)
    return found.check()


def _is(one: tuple[int, int], other: tuple[int, int]) -> bool:
    return one[0] == other[0]


def _alike(one: tuple[int, int], other: tuple[int, int]) -> bool:
    return one[1] == other[1]


def _equal(one: bool, other: bool) -> bool:
    return one == other


def joined(values: Mapping[str, np.ndarray]) -> torch.Tensor:
    """The inputs as numbers, in the order of `COLUMNS`.  # shape: (n, 8)"""
    return torch.from_numpy(np.concatenate([values[name] for name in INPUTS], axis=1).astype(np.float32))


# Distributions: where a variable, or a circumstance, is tied to something else.


class _Draw:
    """Inputs whose identities are equal within each pair half of the time.

    Args:
        symbols: Identities.
        shades: Shades.
        tied: Whether w and x have the same shade exactly when they are the same symbol.
        last: The shade that z always has; None for any.
    """

    def __init__(self, symbols: int, shades: int, *, tied: bool = False, last: int | None = None) -> None:
        self.symbols, self.shades, self.tied, self.last = symbols, shades, tied, last

    def __call__(self, rng: np.random.Generator, n: int) -> dict[str, list[tuple[int, int]]]:
        found: dict[str, list[tuple[int, int]]] = {}
        for one, other in (("w", "x"), ("y", "z")):
            same = rng.random(n) < 0.5
            first, second = _pairs(rng, same, self.symbols)
            tied = same if self.tied and one == "w" else rng.random(n) < 1 / self.shades
            lit, unlit = _pairs(rng, tied, self.shades)
            if other == "z" and self.last is not None:
                unlit = np.full(n, self.last)
            found[one] = list(zip(first.tolist(), lit.tolist(), strict=True))
            found[other] = list(zip(second.tolist(), unlit.tolist(), strict=True))
        return found


def _pairs(rng: np.random.Generator, same: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Two numbers below `size`, the same where it says so and different elsewhere."""
    first = rng.integers(size, size=len(same))
    return first, np.where(same, first, (first + rng.integers(1, size, size=len(same))) % size)


def free(symbols: int, shades: int) -> Distribution:
    """Shades that have nothing to do with identities."""
    return Distribution("equal within a pair half of the time, any shades", _Draw(symbols, shades))


def tied(symbols: int, shades: int) -> Distribution:
    """Shades of w and x that are the same exactly where the identities are."""
    draw = _Draw(symbols, shades, tied=True)
    return Distribution("w and x of one shade exactly where they are one symbol", draw)


def last_shade(symbols: int, shades: int) -> Distribution:
    """A fourth symbol that is always of shade 0."""
    return Distribution("z always of shade 0", _Draw(symbols, shades, last=0))


# Inputs that the algorithm says nothing about.

ASLEEP = -1
"""A shade that no input of the algorithm has."""


def asleep_inputs(symbols: int, shades: int, n: int, seed: int) -> dict[str, np.ndarray]:
    """Inputs whose first symbol is of no shade: the network that has a second task is to answer "different".

    Args:
        symbols: Identities.
        shades: Shades of the other three.
        n: How many.
        seed: Of the draw.
    """
    rng = np.random.default_rng([seed, 105])
    found = {name: rng.integers([symbols, shades], size=(n, 2)) for name in INPUTS}
    found["w"][:, 1] = ASLEEP
    return found


# Layers that all variants share.


def compared(one: str, other: str, name: str = "") -> dict[str, Terms]:
    """Two units whose sum is the distance of two numbers; `name` keeps several of them apart."""
    return {
        f"{one}>{other}{name}": {one: 1.0, other: -1.0},
        f"{other}>{one}{name}": {other: 1.0, one: -1.0},
    }


def equal_bit(one: str, other: str, name: str = "") -> Terms:
    """1 where the distance is 0, and not above 0 elsewhere."""
    return {"1": 1.0, f"{one}>{other}{name}": -1.0, f"{other}>{one}{name}": -1.0}


RAW = ("w.id", "x.id", "w.shade", "z.shade")
DISTANCES: Layer = {
    **compared("w.id", "x.id"), **compared("y.id", "z.id"), **compared("w.id", "y.id"),
    **compared("w.shade", "x.shade"), **compared("y.shade", "z.shade"),
    **compared("w.id", "x.id", "'"), **passing(*RAW),
}  # fmt: skip
"""The first layer. The distance of w and x is there twice: its copy has units of its own."""
BITS: Layer = {
    "left": equal_bit("w.id", "x.id"),
    "right": equal_bit("y.id", "z.id"),
    "w is y": equal_bit("w.id", "y.id"),
    "left shades": equal_bit("w.shade", "x.shade"),
    "right shades": equal_bit("y.shade", "z.shade"),
    "copy": equal_bit("w.id", "x.id", "'"),
    "w is dark": {"1": 1.0, "w.shade": -1.0},
    "w is dark'": {"1": 1.0, "w.shade": -1.0},
    "z is dark": {"1": 1.0, "z.shade": -1.0},
    **passing(*RAW),
}
"""The second layer: what the features are made of."""


def features(symbols: int, more: Mapping[str, Terms] | None = None) -> dict[str, Terms]:
    """left and right beside features that nothing reads, and what a variant adds.

    Args:
        symbols: Identities, by which numbers are scaled.
        more: Features by name; None of them is read unless the variant reads it.
    """
    found: dict[str, Terms] = dict(passing("left", "right", "w is y", "left shades", "right shades"))
    found |= {name: {name: 1.0 / symbols} for name in RAW}
    return found | dict(more or {})


def bystanders(found: Mapping[str, Terms], *, without: Sequence[str]) -> dict[str, Terms]:
    """The features without some of them."""
    return {name: terms for name, terms in found.items() if name not in without}


def verdict(left: Terms, right: Terms) -> dict[str, Terms]:
    """Two units whose sum is how far left and right are apart.

    >>> verdict({"a": 1.0}, {"b": 1.0})
    {'l>r': {'a': 1.0, 'b': -1.0}, 'r>l': {'a': -1.0, 'b': 1.0}}
    """
    apart: dict[str, Any] = {name: left.get(name, 0.0) - right.get(name, 0.0) for name in {**left, **right}}
    return {"l>r": apart, "r>l": {name: -value for name, value in apart.items()}}


LOGITS: Layer = {
    "different": {"l>r": 1.0, "r>l": 1.0},
    "same": {"1": 1.0, "l>r": -1.0, "r>l": -1.0},
}

"""Pairs of algorithms that compute one function by different variables, and the networks that are trained for them."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache

import numpy as np
import torch

from commutes.algorithm import Algorithm

WIDTH, UNITS = 32, 8
"""Units of every hidden layer, and how many of them carry each variable."""
LAYER = 1
"""The hidden layer, counted from 0, in which the variables are trained to live."""


@dataclass(frozen=True, eq=False)
class Arm:
    """One of two algorithms with the same function."""

    task: str
    name: str
    algorithm: Algorithm
    variables: tuple[str, ...]
    """What its networks carry, each in `UNITS` units, in this order. With them the answer is determined."""

    @property
    def inputs(self) -> tuple[str, ...]:
        """The input variables, in order."""
        return tuple(v.name for v in self.algorithm.input_variables)

    @property
    def size(self) -> int:
        """Values of every input."""
        found = self.algorithm.domain(self.inputs[0]).size
        assert found is not None
        return found


class OneHot:
    """Encodes each input as one direction per value, one input after the other.

    Args:
        names: The inputs, in order.
        size: Values of each, from 0.
    """

    def __init__(self, names: tuple[str, ...], size: int) -> None:
        self.names, self.size = names, size

    def __call__(self, values: Mapping[str, np.ndarray]) -> torch.Tensor:
        """# shape: (n, inputs * size)"""
        codes = torch.from_numpy(np.stack([values[name] for name in self.names], axis=1))
        return torch.nn.functional.one_hot(codes, self.size).flatten(1).float()


Bits = Callable[[bool, bool], bool]


def _odd(one: int, other: int) -> tuple[bool, bool]:
    return one % 2 == 1, other % 2 == 1


def _of_inputs(join: Bits) -> Callable[[int, int], bool]:
    """An operation of bits as one of whole numbers, whose bit is whether they are odd."""
    return lambda one, other: join(*_odd(one, other))


def _parity(name: str, groups: tuple[tuple[str, str], tuple[str, str]]) -> Arm:
    found = Algorithm(f"parity of four numbers, {name}")
    found.inputs("a b c d", domain=range(5))
    for variable, (one, other) in zip(("first", "second"), groups, strict=True):
        found.add(variable, one, other, f=_of_inputs(operator.xor), domain=bool)
    found.add("odd", "first", "second", f=operator.xor, domain=bool, output=True)
    return Arm("parity", name, found.check(), ("first", "second"))


def _and_or() -> Arm:
    found = Algorithm("a and (b or c)")
    found.inputs("a b c", domain=range(8))
    found.add("either", "b", "c", f=_of_inputs(operator.or_), domain=bool)
    found.add("holds", "a", "either", f=lambda a, either: a % 2 == 1 and either, domain=bool, output=True)
    # Without a the answer is not determined by what is carried.
    return Arm("distributive", "and of or", found.check(), ("either", "a"))


def _and_or_and() -> Arm:
    found = Algorithm("(a and b) or (a and c)")
    found.inputs("a b c", domain=range(8))
    found.add("with_b", "a", "b", f=_of_inputs(operator.and_), domain=bool)
    found.add("with_c", "a", "c", f=_of_inputs(operator.and_), domain=bool)
    found.add("holds", "with_b", "with_c", f=operator.or_, domain=bool, output=True)
    return Arm("distributive", "or of ands", found.check(), ("with_b", "with_c"))


@cache
def arms() -> tuple[Arm, ...]:
    """All arms, those of one task behind each other."""
    return (
        _parity("in pairs", (("a", "b"), ("c", "d"))),
        _parity("regrouped", (("a", "c"), ("b", "d"))),
        _and_or(),
        _and_or_and(),
    )


def rival(arm: Arm) -> Arm:
    """The other arm of the same task."""
    return next(other for other in arms() if other.task == arm.task and other is not arm)

"""Algorithms that the tests of this package share."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from commutes.algorithm import Algorithm


def build_equality(values: int = 20) -> Algorithm:
    equality = Algorithm("hierarchical equality")
    equality.inputs("w x y z", domain=range(values))
    equality.add("left", "w", "x", f=lambda w, x: w == x, domain=[False, True])
    equality.add("right", "y", "z", f=lambda y, z: y == z, domain=[False, True])
    equality.add("same", "left", "right", f=lambda a, b: a == b, domain=[False, True], output=True)
    return equality.check()


def build_boolean() -> Algorithm:
    boolean = Algorithm("and-or")
    boolean.inputs("a b c", domain=[False, True])
    boolean.add("p", "a", "b", f=lambda a, b: a and b, domain=[False, True])
    boolean.add("q", "a", "c", f=lambda a, c: a and c, domain=[False, True])
    boolean.add("out", "p", "q", f=lambda p, q: p or q, domain=[False, True], output=True)
    return boolean.check()


@pytest.fixture(name="equality_of")
def _equality_of() -> Callable[[int], Algorithm]:
    return build_equality


@pytest.fixture
def equality() -> Algorithm:
    return build_equality()


@pytest.fixture
def boolean() -> Algorithm:
    return build_boolean()

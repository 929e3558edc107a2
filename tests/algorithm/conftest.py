"""The algorithms that the tests of this package share."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from commutes.algorithm import Algorithm


def build_equality(symbols: int = 20) -> Algorithm:
    algorithm = Algorithm("hierarchical equality")
    algorithm.inputs("w x y z", domain=range(symbols))

    @algorithm.variable
    def left(w, x) -> bool:
        return w == x

    @algorithm.variable
    def right(y, z) -> bool:
        return y == z

    @algorithm.output
    def same(left, right) -> bool:
        return left == right

    return algorithm


@pytest.fixture
def equality() -> Algorithm:
    return build_equality()


@pytest.fixture
def make_equality() -> Callable[..., Algorithm]:
    return build_equality

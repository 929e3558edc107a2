"""All members of the zoo for a seed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import get_args

from commutes.errors import DataError
from commutes.testing.compiler import PROGRAMS
from commutes.testing.zoo._arms import arms
from commutes.testing.zoo._linear import LINEAR, linear
from commutes.testing.zoo._member import Family, Member
from commutes.testing.zoo._programs import compiled
from commutes.testing.zoo._trained import trained_member

FAMILIES: tuple[Family, ...] = get_args(Family)


def members(*, seed: int, families: Sequence[Family] = FAMILIES) -> Iterator[Member]:
    """Every member, made one by one in a fixed order; the same seed gives the same members, bit for bit.

    What is chosen by looking at members of even seeds is to be reported on those of odd seeds.

    Args:
        seed: Of the bases in which variables stand, of gains and offsets, and which trained networks are taken.
        families: "linear" (networks with a linear site and planted truth), "compiled" (programs), "trained"
            (networks trained to implement one of two algorithms with the same function).

    Raises:
        DataError: No such family, or a seed that is no whole number from 0.
    """
    unknown = [family for family in families if family not in FAMILIES]
    if unknown:
        raise DataError(
            "the zoo has no such family",
            got=repr(unknown[0]),
            expected=f"one of {', '.join(FAMILIES)}",
        )
    if isinstance(seed, bool) or not isinstance(seed, int) or seed < 0:
        raise DataError("seed is a whole number from 0", got=repr(seed), expected="such as seed=0")
    return _made(seed, tuple(families))


def _made(seed: int, families: tuple[Family, ...]) -> Iterator[Member]:
    for family in families:
        if family == "linear":
            yield from (linear(name, seed=seed) for name in LINEAR)
        elif family == "compiled":
            yield from (compiled(name, seed=seed) for name in PROGRAMS)
        else:
            yield from (trained_member(arm.task, arm.name, seed=seed) for arm in arms())

"""The recipe of a data set: everything that is needed to draw it again."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from commutes.algorithm import Algorithm
from commutes.counterfactuals._swap import Swap
from commutes.errors import DataError, similar

__all__ = ["Design", "Distribution", "Reuse", "check_count", "check_distribution", "check_seed", "words"]

Reuse = Literal["auto"] | bool
Rows = Mapping[str, Sequence[Any] | np.ndarray]


@dataclass(frozen=True)
class Distribution:
    """A distribution of inputs: `draw(rng, n)` gives n rows, a column of plain values per input variable.

    For inputs whose fields hang together, such as fresh vectors that are equal half of the time.

    Args:
        name: The words that every number drawn from it is printed with.
        draw: From a generator and n to a mapping from each input's name to n values (not codes), shape (n,)
            or (n, width) for vectors. It must take all its randomness from the generator.
    """

    name: str
    draw: Callable[[np.random.Generator, int], Rows]


@dataclass(frozen=True)
class Design:
    """How a data set was drawn. Variables are names, so that another algorithm can be drawn for too."""

    n: int
    """The number of pairs."""
    swaps: tuple[tuple[tuple[str, ...], bool], ...]
    """Per swap set the names of its variables, and whether they share one source."""
    flip: tuple[str, ...] | None
    """The variables that change in controlled pairs."""
    hold: tuple[str, ...] | None
    """The variables that a controlled pair leaves alone; None is the default of `counterfactuals`."""
    distribution: str | Distribution
    """"values", "inputs" or the user's own."""
    reuse: Reuse
    """Whether inputs may recur; "auto" lets them where nothing is measured."""
    seed: int
    """The seed of the drawing."""
    partition: int
    """The seed of the partition by input: redrawn parts keep it."""
    shares: tuple[tuple[str, float], ...] = ()
    """The parts and their shares of the inputs, in order."""
    part: str | None = None
    """Which part this is."""
    complete: bool = False
    """True for a census."""
    without: bytes = b""
    """Ids of inputs that the part may not have, one behind the other as uint64: what was fitted on, say."""

    @property
    def disjoint(self) -> bool:
        """Whether each input should be used once: always, never, or in the parts that are measured."""
        if self.reuse == "auto":
            return self.part is not None and self.part != "train"
        return not self.reuse

    def swaps_of(self, algorithm: Algorithm) -> tuple[Swap, ...]:
        """The swap sets as variables of `algorithm`."""
        return tuple(Swap(tuple(algorithm[name] for name in names), shared) for names, shared in self.swaps)

    def under(self, names: Mapping[str, str]) -> Design:
        """The same recipe with other variables in the place of these.

        Args:
            names: What stands for each swapped variable; a swap set with a variable without one is left out. Variables
                that are held keep their names where they have none here.
        """
        swaps = tuple(
            (tuple(names[name] for name in own), shared)
            for own, shared in self.swaps
            if all(name in names for name in own)
        )
        flip = None if self.flip is None else tuple(names[name] for name in self.flip if name in names)
        hold = None if self.hold is None else tuple(names.get(name, name) for name in self.hold)
        return replace(self, swaps=swaps, flip=flip, hold=hold)


def words(algorithm: Algorithm, distribution: str | Distribution) -> str:
    """The distribution as it is printed beside every number."""
    if isinstance(distribution, Distribution):
        return distribution.name
    if distribution == "inputs":
        return "uniform over the inputs"
    names = ", ".join(v.name for v in grouping(algorithm))
    if not names:
        return "uniform over the inputs (no variable has finitely many values)"
    return f"uniform over the values of {names}, then over the inputs that give them"


def grouping(algorithm: Algorithm) -> tuple[Any, ...]:
    """The variables over whose joint values "values" is uniform: the finite inner ones, else the output."""
    from commutes.algorithm import Finite

    inner = tuple(v for v in algorithm.inner_variables if isinstance(algorithm.domain(v), Finite))
    output = algorithm.output_variable
    return inner or ((output,) if isinstance(algorithm.domain(output), Finite) else ())


def check_seed(seed: object, where: str) -> int:
    """The seed as an integer; True and 1.0 are not integers."""
    if isinstance(seed, bool | np.bool_) or not isinstance(seed, int | np.integer) or seed < 0:
        raise DataError(
            "the seed is not a whole number",
            where=where,
            got=f"{seed!r} ({type(seed).__name__})",
            expected="a whole number that is not negative",
            fix="write seed=0, or any other whole number",
        )
    return int(seed)


def check_count(n: object, where: str) -> int:
    """The number of pairs as an integer that is at least 1."""
    if isinstance(n, bool | np.bool_) or not isinstance(n, int | np.integer):
        raise DataError(
            "the number of pairs is not a whole number",
            where=where,
            got=f"{n!r} ({type(n).__name__})",
            expected="a whole number of pairs, 1 or more",
            fix="write n=8_000, say",
        )
    if n < 1:
        raise DataError(
            "no data: fewer than one pair was asked for",
            where=where,
            got=f"n = {n}",
            expected="1 pair or more",
            fix="ask for at least 59 pairs per stratum that is to be gated",
        )
    return int(n)


def check_distribution(distribution: object, where: str) -> str | Distribution:
    """The distribution: one of the two names, or a `Distribution`."""
    if isinstance(distribution, Distribution) or distribution in ("values", "inputs"):
        return distribution  # pyright: ignore[reportReturnType]
    close = similar(distribution, ("values", "inputs")) if isinstance(distribution, str) else None
    raise DataError(
        f"no distribution {distribution!r}",
        where=where,
        got=f"{distribution!r} ({type(distribution).__name__})",
        expected="'values', 'inputs' or a Distribution(name, draw)",
        fix=f"write distribution={close or 'values'!r}",
    )

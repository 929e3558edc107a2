"""Several rates of which the worst decides, and several answers of which the weakest counts."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from commutes.robustness._case import ALPHA
from commutes.stats import Answer, Rate, rate

T = TypeVar("T")


@dataclass(frozen=True, eq=False)
class Part:
    """Outcomes of some pairs, under a name."""

    name: str
    hits: np.ndarray
    """# shape: (n,) bool"""
    members: np.ndarray | None
    """The inputs of each pair, -1 where absent; None where pairs are drawn independently.  # shape: (n, m)"""
    complete: bool = False
    """Whether these are all the pairs of a domain."""

    def rate(self, alpha: float = ALPHA) -> Rate:
        """Its rate, with bounds at `alpha`."""
        return rate(self.hits, self.members, census=self.complete, alpha=alpha)


@dataclass(frozen=True)
class Worst:
    """The worst of several rates with the bounds of the worst, which need not be its own."""

    name: str
    rate: Rate
    lower: float
    upper: float
    parts: int

    @property
    def bounds(self) -> tuple[float, float]:
        """What a gate takes."""
        return self.lower, self.upper

    @property
    def reached(self) -> tuple[float, float, float]:
        """Value, lower and upper bound."""
        return self.rate.rate, self.lower, self.upper


def lowest(parts: Sequence[Part], alpha: float = ALPHA) -> Worst:
    """The lowest rate: the minimum of the lower bounds at `alpha`, and of the upper bounds at alpha / parts.

    Args:
        parts: At least one, none of them empty.
        alpha: Error rate of each bound of the minimum.
    """
    own = [part.rate(alpha) for part in parts]
    shared = [part.rate(alpha / len(parts)) for part in parts]
    which = min(range(len(parts)), key=lambda i: (own[i].rate, own[i].lower))
    lower, upper = min(one.lower for one in own), min(one.upper for one in shared)
    return Worst(parts[which].name, own[which], lower, upper, len(parts))


def highest(parts: Sequence[Part], alpha: float = ALPHA) -> Worst:
    """The highest rate: the maximum of the upper bounds at `alpha`, and of the lower bounds at alpha / parts."""
    own = [part.rate(alpha) for part in parts]
    shared = [part.rate(alpha / len(parts)) for part in parts]
    which = max(range(len(parts)), key=lambda i: (own[i].rate, own[i].upper))
    lower, upper = max(one.lower for one in shared), max(one.upper for one in own)
    return Worst(parts[which].name, own[which], lower, upper, len(parts))


def weakness(answer: Answer) -> int:
    """Its place among answers: a refutation counts before all else, and what could not be tested is no success."""
    order = [Answer.REFUTED, Answer.NOT_RUN, Answer.VACUOUS, Answer.INCONCLUSIVE, Answer.SUPPORTED]
    return order.index(answer)


def weakest(answers: Iterable[Answer]) -> Answer:
    """The first of them by `weakness`.

    >>> weakest([Answer.SUPPORTED, Answer.INCONCLUSIVE, Answer.VACUOUS])
    <Answer.VACUOUS: 'vacuous'>
    """
    return min(answers, key=weakness)


def of_all(parts: Sequence[T], gated: Callable[[T, float], Answer], alpha: float = ALPHA) -> Answer:
    """The answer of several gates of one check: support needs each at `alpha`, any one refutes at its share of it.

    >>> def under(p: float, alpha: float) -> Answer:
    ...     return Answer.REFUTED if p <= alpha else Answer.SUPPORTED
    >>> [of_all(ps, under).value for ps in ([0.5, 0.9], [0.04, 0.9], [0.02, 0.9])]
    ['supported', 'inconclusive', 'refuted']
    """
    if any(gated(part, alpha / len(parts)) is Answer.REFUTED for part in parts):
        return Answer.REFUTED
    supported = all(gated(part, alpha) is Answer.SUPPORTED for part in parts)
    return Answer.SUPPORTED if supported else Answer.INCONCLUSIVE


def some(words: Sequence[str], between: str = "; ", most: int = 4) -> str:
    """The first ones, and how many more there are.

    >>> some(["a", "b", "c"], ", ", 2)
    'a, b, and 1 more'
    """
    more = [f"and {len(words) - most:,} more"] if len(words) > most else []
    return between.join([*words[:most], *more])

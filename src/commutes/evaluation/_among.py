"""The same pairs by argmax over the candidate answers only: beside the interchange-intervention accuracy.

A network that would say something else altogether is still counted as right where the expected answer is the
likeliest of the candidates. Chance is higher, which the floors show.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from commutes.evaluation._answers import Outcome
from commutes.evaluation._floors import floor_rate, floors
from commutes.evaluation._predictions import Bench
from commutes.evaluation._rates import rate_of
from commutes.stats import Rate, rate


@dataclass(frozen=True, eq=False)
class Among:
    """What was reached where the network may choose among the candidate answers alone. No gate takes it."""

    answers: int
    """How many candidates there are."""
    hits: np.ndarray
    """Whether the candidate with the highest score is the expected one, per pair.  # shape: (n,)"""
    accuracy: Rate
    """On the distinct inputs, without intervention."""
    overall: Rate
    effective: Rate
    """On pairs whose expected answer is not the base's."""
    floors: Mapping[str, Rate]
    """The floors of the evaluation, read in the same way."""

    def record(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {
            "answers": self.answers,
            "accuracy": self.accuracy.as_dict(),
            "overall": self.overall.as_dict(),
            "effective": self.effective.as_dict(),
            "floors": {name: one.as_dict() for name, one in self.floors.items()},
        }


def among(bench: Bench, outcome: Outcome, drawn: Sequence[Outcome]) -> Among | None:
    """The rates among the candidates; None where these are all that the network can say.

    Args:
        bench: The prepared pairs.
        outcome: What the network answers to every pair.
        drawn: The same through each random subspace.
    """
    pairs, clean, spelling = bench.pairs, bench.unedited.among, bench.answers.spelling
    through = [one.among for one in drawn if one.among is not None]
    if outcome.among is None or clean is None or spelling is None:
        return None
    hits = bench.answers.match(outcome.among, pairs.expected)
    beside = floors(bench, clean, through)
    return Among(
        answers=len(spelling),
        hits=hits,
        accuracy=rate(bench.answers.match(clean, pairs.answers), census=pairs.complete),
        overall=rate_of(hits, pairs),
        effective=rate_of(hits, pairs, np.nonzero(pairs.effective)[0]),
        floors={name: floor_rate(one, pairs) for name, one in beside.items()},
    )

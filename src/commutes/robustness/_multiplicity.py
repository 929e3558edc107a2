"""Refuting by any one of several gates: Holm's correction over the family that was declared.

Support needs every gate, each at its own level, and is not corrected (an intersection-union test). A refutation by
any one gate is: with k gates left, the next one must refute at .05 / k.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from commutes.robustness._case import ALPHA, Outcome
from commutes.stats import Answer


def corrected(outcomes: Mapping[str, Outcome]) -> dict[str, Outcome]:
    """The outcomes, with refutations that do not survive the correction made inconclusive.

    Gates without a test at another error rate (a property of the data alone) stay as they are and take no share.

    See A simple sequentially rejective multiple test procedure (Holm, 1979).
    """
    family = {name: o.refuted_at for name, o in outcomes.items() if o.refuted_at is not None}
    left = dict(family)
    while left:
        fallen = [name for name, refuted_at in left.items() if refuted_at(ALPHA / len(left))]
        if not fallen:
            break
        for name in fallen:
            del left[name]
    return {
        name: _spared(o, len(family)) if name in left and o.answer is Answer.REFUTED else o
        for name, o in outcomes.items()
    }


def _spared(outcome: Outcome, family: int) -> Outcome:
    words = f"{outcome.sentence}; below the gate at .05, but not after Holm's correction over {family} gates"
    return replace(outcome, answer=Answer.INCONCLUSIVE, sentence=words)

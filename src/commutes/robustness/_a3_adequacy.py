"""A3: can this data tell the claim from its rivals at all? Answered before the network runs."""

from __future__ import annotations

import math
from collections.abc import Mapping

from commutes.algorithm import Algorithm
from commutes.counterfactuals import Counterfactuals
from commutes.evaluation import GATED
from commutes.robustness._case import Case, Outcome
from commutes.stats import Answer, show

# Where not one of so many pairs tells two explanations apart, more pairs of the same kind will not.
_MANY = 10 * GATED


def adequacy(case: Case) -> Outcome:
    """Share of measured pairs, over the union of swaps, on which each rival expects another answer."""
    return case.adequacy


def adequacy_of(
    pairs: Counterfactuals, least: float, rivals: Mapping[str, Algorithm] | None = None
) -> Outcome:
    """`adequacy` of a set of pairs, from labels alone.

    Args:
        pairs: What is to be measured.
        least: The share that every rival must differ on.
        rivals: Algorithms over the same inputs that the data must tell from the claim's, too.
    """
    union = pairs.coverage(rivals or {}).union
    figures = {name: {"pairs": s.count, "n": s.n, "share": s.share} for name, s in union.items()}
    if not figures:
        return Outcome(Answer.VACUOUS, "there is no rival to tell apart", {}, reason="no rivals")
    name, lowest = min(union.items(), key=lambda item: (item[1].share, item[0]))
    # The least number of pairs is one of samples: a complete domain has all that there are.
    fewest = 1 if pairs.complete else GATED
    few = {n: s for n, s in union.items() if s.count < fewest}
    enough = not few and all(s.share >= least for s in union.values())
    asked = show(least) if pairs.complete else f"{show(least)} and {GATED} pairs"
    sentence = (
        f"the rival hardest to tell apart is {name}: another answer on {lowest.count:,} of {lowest.n:,} pairs"
        f" ({show(lowest.share)}); {asked} are asked for"
    )
    if enough:
        return Outcome(Answer.SUPPORTED, sentence, figures)
    if lowest.count == 0 and len(pairs) >= _MANY:
        reason = f"not one of {len(pairs):,} pairs tells the claim from {name}: the two expect the same of these data"
        return Outcome(Answer.VACUOUS, sentence, figures, reason=reason)
    needed = None
    if all(s.share >= least > 0 for s in union.values()):
        needed = max(math.ceil(GATED * len(pairs) / s.count) for s in few.values())
    return Outcome(Answer.INCONCLUSIVE, sentence, figures, n_to_decide=needed)

"""A5: is the map so powerful that it would align anything?"""

from __future__ import annotations

from commutes.alignment import Alignment
from commutes.evaluation import RANDOM
from commutes.robustness._b1_untrained import null_interval, nulls
from commutes.robustness._case import ALPHA, Case, Outcome
from commutes.robustness._claim import with_article
from commutes.stats import Answer, gate, show


def capacity(case: Case) -> Outcome:
    """What the family reaches on untrained networks, by the claim's own procedure, on the way from the floor to 1.

    See The Non-Linear Representation Dilemma: Is Causal Abstraction Enough for Mechanistic Interpretability?,
    arXiv 2507.08802.
    """
    found = nulls(case)
    if isinstance(found, Outcome):
        return found
    # A random subspace of a small site may be the truth, and is itself a map: no floor for what maps can do.
    plain = {name: found for name, found in case.evaluation.floors.items() if name != RANDOM}
    name, floor = max(plain.items(), key=lambda item: item[1].rate)
    limit = floor.rate + case.thresholds.capacity * (1 - floor.rate)
    null = null_interval(found, ALPHA)
    answer = gate(null, limit, side="<")
    family = families(case.alignment)
    words = {
        Answer.SUPPORTED: f"networks that were never trained are not aligned by {family}",
        Answer.REFUTED: f"networks that were never trained are aligned by {family} as well: what is reached here "
        "says nothing about this network",
        Answer.INCONCLUSIVE: f"networks that were never trained may be aligned by {family} as well",
    }
    sentence = (
        f"{words[answer]}: {null} in {len(found)} refits, at most {show(limit)} allowed"
        f" ({show(case.thresholds.capacity)} of the way from {name}, {show(floor.rate)}, to 1)"
    )
    return Outcome(
        answer,
        sentence,
        {
            "family": family,
            "null": null.as_dict(),
            "floor": {"name": name, "rate": floor.rate},
            "limit": limit,
            "share": case.thresholds.capacity,
            "claim": case.evaluation.overall.as_dict(),
        },
        refuted_at=lambda alpha: gate(null_interval(found, alpha), limit, side="<") is Answer.REFUTED,
    )


def families(alignment: Alignment) -> str:
    """The kinds of maps that a claim is made with: "a rotation", "neurons and an affine map"."""
    names = dict.fromkeys(str(group.features) for group in alignment.groups)
    return " and ".join(with_article(name) for name in names)

"""E4: does the whole procedure succeed on other trained networks?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from commutes.algorithm import Finite
from commutes.evaluation import behaviour
from commutes.network import Network
from commutes.robustness._case import ALPHA, NUMBER, Case, Outcome
from commutes.robustness._gated import Gated, gated
from commutes.robustness._refits import NoMapError, Refit, refits
from commutes.stats import Answer, Rate, clopper_pearson, gate, rate, show

# Fewer networks than this say nothing about networks.
LEAST = 3


def network_seeds(case: Case) -> Outcome:
    """The claim's procedure on networks that were trained independently: the share that holds, with exact bounds.

    On each network that does the task the claim is fitted again with the same steps, starts and selection; it holds
    there when the worst cell clears the claim's target. The claim's own network is not among them: it is the one that
    the claim was found on. Refits on one network are no networks.

    See Underspecification Presents Challenges for Credibility in Modern Machine Learning, arXiv 2011.03395.
    """
    least, others = case.thresholds.replicated, distinct(case.alignment.network, case.declared.networks)
    stopped = _powerless(case, len(others))
    if stopped is not None:
        return stopped
    doing = [_behaves(case, network) for network in others]
    able = [network for network, found in zip(others, doing, strict=True) if found[1] is Answer.SUPPORTED]
    asked = len(others) * len(case.test.ids)
    figures: dict[str, Any] = {"least": least, "behaviour": [found[0].as_dict() for found in doing]}
    if len(able) < LEAST:
        reason = (
            f"{len(able)} of {len(others)} other networks are shown to answer as the algorithm does, at least"
            f" {LEAST} are needed"
        )
        return Outcome(Answer.NOT_RUN, reason, figures, reason=reason, forward_passes=asked)
    try:
        found = _fitted(case, able)
    except NoMapError as error:
        words = "the closed form gives no map on another network"
        return Outcome(Answer.VACUOUS, words, figures, reason=str(error), forward_passes=asked)
    share = _share(case, found, ALPHA)
    return Outcome(
        gate((share.lower, share.upper), least),
        _sentence(case, found, share, len(others)),
        figures
        | {
            "networks": [one.record(case) for one in found],
            "holds": share.held,
            "fails": share.failed,
            "n": share.n,
            "exact": list(share.interval),
            "lower": share.lower,
            "upper": share.upper,
        },
        forward_passes=asked + sum(len(case.test) + one.refit.forward_passes for one in found),
        refuted_at=lambda alpha: _share(case, found, alpha).upper < least,
    )


def distinct(own: Network, networks: Sequence[Network]) -> list[Network]:
    """The networks that are neither the claim's nor each other again."""
    seen, found = {own.fingerprint}, []
    for network in networks:
        if network.fingerprint not in seen:
            seen.add(network.fingerprint)
            found.append(network)
    return found


def _powerless(case: Case, others: int) -> Outcome | None:
    """Why nothing is asked of the networks, from what is known without them."""
    if others < LEAST:
        reason = f"{others} other networks were declared, at least {LEAST} are needed"
        return Outcome(Answer.NOT_RUN, reason, reason=reason)
    if case.train is None and any(group.features.learnt for group in case.alignment.groups):
        reason = "what the claim was fitted on is not known, so that it cannot be fitted on another network"
        return Outcome(Answer.NOT_RUN, reason, reason=reason)
    if not isinstance(case.test.algorithm.domain(case.test.algorithm.output_variable), Finite):
        reason = NUMBER
        return Outcome(Answer.VACUOUS, reason, reason=reason)
    open_rivals = {swap: names for swap, names in case.evaluation.not_excluded.items() if names}
    if open_rivals:
        swap, names = next(iter(open_rivals.items()))
        reason = f"for {swap} no gated stratum excludes: {', '.join(names)}"
        return Outcome(Answer.VACUOUS, "these pairs cannot show that a claim holds", reason=reason)
    return None


def _behaves(case: Case, network: Network) -> tuple[Rate, Answer]:
    accuracy = rate(behaviour(network, case.test), census=case.test.complete)
    return accuracy, gate(accuracy, case.thresholds.behaviour)


@dataclass(frozen=True, eq=False)
class _Found:
    """The claim on one network."""

    network: Network
    refit: Refit
    gated: Gated

    def record(self, case: Case) -> dict[str, Any]:
        worst = self.gated.worst()
        return {
            "network": self.network.name,
            "fingerprint": self.network.fingerprint,
            "accuracy": self.refit.accuracy,
            "overall": self.refit.overall.as_dict(),
            "worst": None if worst is None else {"cell": worst.name, "rate": worst.rate.rate},
            "bounds": None if worst is None else list(worst.bounds),
            "answer": str(self.gated.answer(case.thresholds.target).value),
        }


def _fitted(case: Case, networks: Sequence[Network]) -> list[_Found]:
    progress, count = case.progress, len(networks)
    refitted = refits(
        [case.alignment.on(network) for network in networks],
        None if case.train is None else [case.train] * count,
        None if case.select is None else [case.select] * count,
        [case.test] * count,
        settings=case.settings,
        seed=case.seed,
        folder=case.folder,
        progress=None if progress is None else (lambda s, n, f: progress("other networks", s, n, f)),
    )
    return [
        _Found(network, refit, gated(refit.hits, case.test))
        for network, refit in zip(networks, refitted, strict=True)
    ]


@dataclass(frozen=True)
class Share:
    """How many networks the claim holds on."""

    held: int
    """Shown to clear the target."""
    failed: int
    """Shown to miss it."""
    n: int
    alpha: float

    @property
    def lower(self) -> float:
        """Exact bound of the share, those that are open counted as failures."""
        return clopper_pearson(self.held, self.n, alpha=self.alpha)[0]

    @property
    def upper(self) -> float:
        """Exact bound of the share, those that are open counted as successes."""
        return clopper_pearson(self.n - self.failed, self.n, alpha=self.alpha)[1]

    @property
    def interval(self) -> tuple[float, float]:
        """Exact, at .95 on both sides, of the share that is shown to hold."""
        return clopper_pearson(self.held, self.n, alpha=0.025)


def _share(case: Case, found: Sequence[_Found], alpha: float) -> Share:
    target = case.thresholds.target
    answers = [one.gated.answer(target, alpha=alpha) for one in found]
    held, failed = (sum(a is word for a in answers) for word in (Answer.SUPPORTED, Answer.REFUTED))
    return Share(held, failed, len(answers), alpha)


def further(share: Share, least: float) -> int | None:
    """How many further networks that hold would support the claim; None where it is decided, or never would be."""
    if least >= 1 or not share.lower < least <= share.upper:
        return None
    more = 1
    while clopper_pearson(share.held + more, share.n + more, alpha=share.alpha)[0] < least:
        more += 1
    return more


def _sentence(case: Case, found: Sequence[_Found], share: Share, others: int) -> str:
    least = case.thresholds.replicated
    low, high = share.interval
    words = (
        f"holds on {share.held} of {share.n} other trained networks, exact interval [{show(low)}, {show(high)}],"
        f" lower bound {show(share.lower)}, at least {show(least)}"
    )
    worst = [one.gated.worst() for one in found]
    words += f"; worst cells: {', '.join('n/a' if w is None else show(w.rate.rate) for w in worst)}"
    more = further(share, least)
    if more is not None:
        words += f"; {more} more on which it holds would decide"
    if others > share.n:
        words += f"; of {others - share.n} more it is not shown that they answer as the algorithm does"
    return words

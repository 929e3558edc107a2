"""A network that does not do the task: the card says so, and no claim is made about how it does it."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from commutes.counterfactuals import Counterfactuals
from commutes.evaluation import behaviour as answers_right
from commutes.network import Network
from commutes.report import CATALOGUE, as_report, card, headline, plain, upgrade, verdict
from commutes.robustness._a1_behaviour import gated_behaviour
from commutes.robustness._case import Thresholds
from commutes.robustness._report import Timed, check_record, environment, write_report
from commutes.stats import Answer, Rate, rate

ID = "A1"
WHY = "the network does not do the task: nothing was fitted"


@dataclass(frozen=True, eq=False)
class Stopped:
    """What is known of a network before anything is claimed of it: how often it answers as the algorithm does."""

    network: Network
    pairs: Counterfactuals
    """One part of the data, for what all parts share."""
    accuracy: Rate
    behaviour: Timed
    thresholds: Thresholds
    sought: str
    seed: int
    reproduce: str

    @property
    def failed(self) -> bool:
        """Whether the accuracy is shown to be below the floor; where it is open the claim's own test decides."""
        return self.behaviour.outcome.answer is Answer.REFUTED

    def record(self) -> dict[str, Any]:
        """The card as plain values: one check, no claim, no measurement."""
        from commutes import __version__

        outcome = self.behaviour.outcome
        answers = {ID: str(outcome.answer.value)}
        algorithm = self.pairs.algorithm
        raw = {
            "format": 1,
            "commutes": __version__,
            "claim": {
                "words": f"none: {self.network.name} does not answer as {algorithm.name} does, so that there is "
                "nothing to explain",
                "mode": "behavioural",
                "algorithm": algorithm.name,
                "algorithm_fingerprint": algorithm.fingerprint,
                "network": self.network.name,
                "network_fingerprint": self.network.fingerprint,
                "distribution": self.pairs.distribution,
                "variables": [],
                "scope": {"not tested": "every claim about the inside of the network"},
                "fingerprint": "",
                "opened": 0,
                "content": {},
                "parameters": sum(weight.numel() for weight in self.network.module.parameters()),
            },
            "thresholds": self.thresholds.up_to(self.sought),
            "level": "R0",
            "sought": self.sought,
            "verdict": verdict(answers, self.sought),
            "headline": headline(answers, self.sought, details={ID: outcome.sentence}),
            "checks": [
                check_record(entry, self.behaviour if entry.id == ID else None, self.sought, why=WHY)
                for entry in CATALOGUE
            ],
            "evaluation": None,
            "selection": None,
            "seeds": {"challenge": self.seed},
            "environment": environment(),
            "cost": {
                "forward_passes": outcome.forward_passes,
                "seconds": round(self.behaviour.seconds, 2),
            },
            "upgrade": upgrade(answers),
            "reproduce": self.reproduce,
            "could_have_caught": [],
        }
        as_report(raw)
        return plain(raw)

    def save(self, folder: str | Path, *, figures: Mapping[str, str] | None = None) -> Path:
        """Write the record and the page into `folder`; there is no alignment and there are no pairs.

        Args:
            folder: Where to; made if it is not there.
            figures: SVG texts for the page by name, beside the drawing of the algorithm.
        """
        drawing = {"algorithm": self.pairs.algorithm.svg(), **(figures or {})}
        return write_report(Path(folder), self.record(), drawing)

    def __str__(self) -> str:
        return card(self.record())


def unclaimed(
    network: Network,
    parts: Sequence[Counterfactuals],
    *,
    behaviour: float = Thresholds.behaviour,
    level: str = "R2",
    seed: int = 0,
    reproduce: str = "",
) -> Stopped:
    """A1 before anything is fitted, on inputs that may be looked at.

    Args:
        network: Trained.
        parts: Parts of the data whose inputs are used; never the test part, unless the domain is complete.
        behaviour: The floor.
        level: The level that is sought.
        seed: Of the run.
        reproduce: The command that repeats it.

    Raises:
        NetworkError: The network cannot answer what the algorithm expects.
        EngineError: Logits that are not finite; the first such example is named.
    """
    start = time.perf_counter()
    right = np.concatenate([answers_right(network, part) for part in parts])
    complete = all(part.complete for part in parts)
    accuracy = rate(right, census=complete)
    names = [part.part for part in parts if part.part]
    outcome = gated_behaviour(
        accuracy,
        right,
        floor=behaviour,
        pairs=sum(map(len, parts)),
        complete=complete,
        on=f" on the inputs for {' and '.join(_PURPOSES.get(name, name) for name in names)}" if names else "",
    )
    timed = Timed(outcome, time.perf_counter() - start)
    thresholds = Thresholds(behaviour=behaviour)
    return Stopped(network, parts[0], accuracy, timed, thresholds, level, seed, reproduce)


_PURPOSES = {"train": "fitting", "select": "choosing"}

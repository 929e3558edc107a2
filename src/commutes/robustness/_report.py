"""The outcome of a challenge: a card to read, a record to keep, a folder to hand on."""

from __future__ import annotations

import platform
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np

from commutes.alignment import Alignment, save
from commutes.counterfactuals import Counterfactuals
from commutes.evaluation import Evaluation
from commutes.report import (
    CATALOGUE,
    as_report,
    card,
    could_have_caught,
    dump,
    exit_status,
    headline,
    level_of,
    plain,
    upgrade,
    verdict,
)
from commutes.robustness._case import Outcome, Thresholds
from commutes.robustness._claim import Claim
from commutes.robustness._registry import CHECKS
from commutes.robustness._scope import tried

RECORD, PAGE, PAIRS = "report.json", "report.html", "pairs.parquet"
_LIBRARIES = ("torch", "numpy", "scipy")


@dataclass(frozen=True, eq=False)
class Timed:
    """A check's outcome with the seconds it took."""

    outcome: Outcome
    seconds: float


@dataclass(frozen=True, eq=False)
class Report:
    """The card of a claim: what holds, what does not, what never ran."""

    alignment: Alignment
    claim: Claim
    opened: int
    """How often the test split was opened, this time included."""
    thresholds: Thresholds
    sought: str
    evaluation: Evaluation
    outcomes: Mapping[str, Timed]
    seed: int
    selection: Mapping[str, Any] | None
    reproduce: str
    planned: int = 0
    """Forward passes that the checks were expected to take, before the first was run."""

    @property
    def answers(self) -> dict[str, str]:
        """Check id to answer, for the checks that ran."""
        return {name: str(timed.outcome.answer.value) for name, timed in self.outcomes.items()}

    @property
    def level(self) -> str:
        """The level reached: R0 to R5, by the weakest link."""
        return level_of(self.answers)[0]

    @property
    def verdict(self) -> str:
        """Where the claim stands against the level that was sought, in one of the five answers."""
        return verdict(self.answers, self.sought)

    def exit_status(self, level: str | None = None) -> int:
        """0 the level is reached, 1 refuted, 4 neither."""
        return exit_status(self.level, level or self.sought, self.answers)

    def record(self) -> dict[str, Any]:
        """Everything on the card as plain values, checked against the format that readers expect."""
        answers = self.answers
        details = {
            # The figure that decided; the rest stands with the check.
            name: t.outcome.sentence.split("; ")[0]
            for name, t in self.outcomes.items()
            if answers[name] == "refuted"
        }
        needed = {name: t.outcome.n_to_decide for name, t in self.outcomes.items()}
        reasons = {name: t.outcome.reason for name, t in self.outcomes.items()}
        alignment = self.alignment
        from commutes import __version__

        raw = {
            "format": 1,
            "commutes": __version__,
            "claim": {
                "words": self.claim.words,
                "mode": "behavioural",
                "algorithm": alignment.algorithm.name,
                "algorithm_fingerprint": alignment.algorithm.fingerprint,
                "network": alignment.network.name,
                "network_fingerprint": alignment.network.fingerprint,
                "distribution": self.evaluation.pairs.distribution,
                "variables": list(self.claim.variables),
                "scope": tried(self.claim.scope, {name: t.outcome for name, t in self.outcomes.items()}),
                "fingerprint": self.claim.fingerprint,
                "content": dict(self.claim.content),
                "parameters": sum(weight.numel() for weight in alignment.network.module.parameters()),
                "opened": self.opened,
            },
            "thresholds": self.thresholds.up_to(self.sought),
            "level": self.level,
            "sought": self.sought,
            "verdict": self.verdict,
            "headline": headline(answers, self.sought, details=details),
            "checks": [check_record(entry, self.outcomes.get(entry.id), self.sought) for entry in CATALOGUE],
            "evaluation": self.evaluation.record(),
            "selection": None if self.selection is None else dict(self.selection),
            "could_have_caught": [one.model_dump() for one in could_have_caught(self._powered())],
            "seeds": {"challenge": self.seed, "fit": alignment.history.get("seed")},
            "environment": environment(),
            "cost": {
                "planned_forward_passes": self.planned,
                "forward_passes": sum(t.outcome.forward_passes for t in self.outcomes.values()),
                "seconds": round(sum(t.seconds for t in self.outcomes.values()), 2),
            },
            "upgrade": upgrade(answers, n_to_decide=needed, reasons=reasons),
            "reproduce": self.reproduce,
        }
        as_report(raw)
        return plain(raw)

    def _powered(self) -> dict[str, str]:
        """The answers of checks whose power on planted networks says something of this run.

        There E2 was asked whether a claim holds on every input: whoever does not claim that gets no such power.
        """
        found = self.outcomes.get("E2")
        asked = found is not None and bool(found.outcome.figures.get("every_input"))
        return {name: word for name, word in self.answers.items() if name != "E2" or asked}

    def save(self, folder: str | Path, *, figures: Mapping[str, str] | None = None) -> Path:
        """Write the record, the page, the alignment and the outcome of every pair into `folder`.

        A new folder appears whole or not at all; in one that is there, report.json is taken away first and
        written last, so that a folder that has one is complete.

        Args:
            folder: Where to; made if it is not there.
            figures: SVG texts for the page by name, beside the drawing of the algorithm.

        Raises:
            ArtefactError: There is a file of that name, or the system refuses.
        """
        from commutes.report.tables import write_pairs

        def beside(place: Path) -> None:
            save(self.alignment, place)
            write_pairs(place / PAIRS, pair_columns(self.evaluation))

        drawn = {"algorithm": self.alignment.algorithm.svg(), **(figures or {})}
        return write_report(Path(folder), self.record(), drawn, beside)

    def __str__(self) -> str:
        return card(self.record())


def write_report(
    folder: Path,
    record: Mapping[str, Any],
    figures: Mapping[str, str],
    beside: Callable[[Path], None] | None = None,
) -> Path:
    """Write the record and the page, and with `beside` what else belongs to them; the record comes last."""
    from commutes.report import whole_folder, write_text
    from commutes.report.html import html

    page = html(record, figures=figures)
    with whole_folder(folder, RECORD) as place:
        if beside is not None:
            beside(place)
        write_text(place / PAGE, page)
        dump(record, place / RECORD)
    return folder


def pair_columns(evaluation: Evaluation) -> dict[str, Sequence[Any]]:
    """The outcome of every pair as columns: what it was, what was expected, what came."""
    return columns_of(evaluation.pairs, evaluation.answered, evaluation.hits)


def columns_of(pairs: Counterfactuals, answered: np.ndarray, hits: np.ndarray) -> dict[str, Sequence[Any]]:
    """The same of pairs with these answers."""
    algorithm = pairs.algorithm
    columns: dict[str, Sequence[Any]] = {
        "swap": [pairs.swaps[i].label for i in pairs.swap],
        "stratum": [pairs.strata[i] for i in pairs.stratum],
    }
    inputs = {v.name: _texts(algorithm.values(v, pairs.inputs[v.name])) for v in algorithm.input_variables}
    for name, values in inputs.items():
        columns[f"base {name}"] = [values[i] for i in pairs.base]
    for slot in range(pairs.source.shape[1]):
        for name, values in inputs.items():
            columns[f"source {slot + 1} {name}"] = [
                values[i] if i >= 0 else "" for i in pairs.source[:, slot]
            ]
    output = algorithm.output_variable
    columns["expected"] = _texts(algorithm.values(output, pairs.expected))
    columns["answered"] = _answered(pairs, answered)
    columns["hit"] = hits.tolist()
    return columns


def _answered(pairs: Counterfactuals, answered: np.ndarray) -> list[str]:
    if not np.issubdtype(answered.dtype, np.integer):
        return _texts(answered.tolist())
    output = pairs.algorithm.output_variable
    known = answered >= 0
    texts = np.full(len(answered), "(another answer)", dtype=object)
    texts[known] = _texts(pairs.algorithm.values(output, answered[known]))
    return texts.tolist()


def _texts(values: Sequence[Any]) -> list[str]:
    return [repr(v) for v in values]


def check_record(entry: Any, timed: Timed | None, sought: str, *, why: str | None = None) -> dict[str, Any]:
    """One check as plain values.

    Args:
        entry: Of the catalogue.
        timed: What it found; None where it was not run.
        sought: The level that was sought.
        why: Why a check of this version was not run, where the level is not the reason.
    """
    outcome = None if timed is None else timed.outcome
    not_run = (
        why or f"{sought} was sought, which does not need it"
        if entry.id in CHECKS
        else "this version does not have the check"
    )
    return {
        "id": entry.id,
        "name": entry.name,
        "question": entry.question,
        "gate": entry.gate,
        "answer": "not run" if outcome is None else str(outcome.answer.value),
        "sentence": "" if outcome is None else outcome.sentence,
        "figures": {} if outcome is None else plain(dict(outcome.figures)),
        "n_to_decide": None if outcome is None else outcome.n_to_decide,
        "reason": not_run if outcome is None else outcome.reason,
        "cost": {
            "forward_passes": 0 if outcome is None else outcome.forward_passes,
            "seconds": 0.0 if timed is None else round(timed.seconds, 3),
        },
        "references": list(entry.references),
    }


def environment() -> dict[str, str]:
    """The machine and the versions that decide a figure's last digits."""
    found = {"python": platform.python_version(), "machine": platform.machine()}
    for name in _LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:  # installed in a way that leaves no metadata
            found[name] = "unknown"
    return found

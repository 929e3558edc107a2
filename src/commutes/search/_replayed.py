"""The counterexamples that a run has kept, run again."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from commutes.alignment import load
from commutes.report import load_report
from commutes.robustness import Replayed, Shift, replay
from commutes.search._against import build_shifts
from commutes.search._hypothesis import blamed, load_hypothesis
from commutes.search._job import rebuilt
from commutes.search._spec import Spec
from commutes.search._store import RECORD, Store

__all__ = ["Again", "replayed"]


@dataclass(frozen=True)
class Again:
    """A counterexample that was run again."""

    check: str
    """Which check has kept it: "E2", or "E1, " and the name of the shift."""
    pair: Replayed


def replayed(spec: Spec, folder: Path) -> list[Again]:
    """Run every pair again that a check of a finished run has kept.

    Args:
        spec: Of the run, with its hypothesis file; see `spec_of_run`.
        folder: The run.

    Raises:
        ArtefactError: A missing or damaged file.
    """
    record = load_report(folder / RECORD)
    figures: dict[str, Any] = {check.id: check.figures for check in record.checks}
    hypothesis = load_hypothesis(spec)
    with blamed(hypothesis):
        made = rebuilt(hypothesis, spec, Store.existing(folder))
        alignment = load(folder, algorithm=made.algorithm, network=made.network)
        shifts = {shift.name: shift for shift in build_shifts(hypothesis, spec)}
        return [
            Again(name, replay(alignment, pair, shift=shift)) for name, pair, shift in _kept(figures, shifts)
        ]


def _kept(
    figures: Mapping[str, Any], shifts: Mapping[str, Shift]
) -> Iterator[tuple[str, Mapping[str, Any], Shift | None]]:
    """Name, pair and shift of everything that is kept."""
    found = figures.get("E2", {}).get("counterexample")
    if found:
        yield "E2", found, None
    for rung in figures.get("E1", {}).get("shifts", ()):
        if rung.get("failing") and rung["name"] in shifts:
            yield f"E1, {rung['name']}", rung["failing"], shifts[rung["name"]]

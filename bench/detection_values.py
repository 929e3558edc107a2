"""The one number that each check decides by, read off its figures."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

Figures = Mapping[str, Any]


@dataclass(frozen=True)
class Statistic:
    """What a check compares with its threshold: the estimate itself, of which the gate takes a bound."""

    words: str
    threshold: str
    """The field of `Thresholds`."""
    of: Callable[[Figures], float]
    least: bool = True
    """Whether a claim must be above the threshold; otherwise below it."""


def _capacity(figures: Figures) -> float:
    floor = figures["floor"]["rate"]
    return (figures["null"]["value"] - floor) / (1 - floor)


def _rates(strata: Mapping[str, Figures]) -> float:
    return min(rate["rate"] for rate in strata.values() if rate["rate"] is not None)


def _necessity(figures: Figures) -> float:
    variable, part = figures["worst"].rsplit(" · ", 1)
    return figures["variables"][variable][part.replace(" ", "_")]["rate"]


STATISTICS: dict[str, Statistic] = {
    "A1": Statistic("accuracy of the network", "behaviour", lambda f: f["accuracy"]["rate"]),
    "A2": Statistic("IIA of the worst cell", "target", lambda f: f["worst"]["rate"]),
    "A3": Statistic(
        "share of pairs that tell the claim from its nearest rival", "adequacy",
        lambda f: min(rival["share"] for rival in f.values()),
    ),
    "A4": Statistic(
        "pairs whose margin is not recovered, in the worst swapped set", "margin",
        lambda f: f["sets"][f["worst"]]["outside"]["rate"], least=False,
    ),
    "A5": Statistic("way from the floor to 1 on untrained networks", "capacity", _capacity, least=False),
    "A6": Statistic("gap from fitted to held-out inputs", "held_out", lambda f: f["gap"]["value"], least=False),
    "A7": Statistic("combinations that are shown to keep the verdict", "multiverse", lambda f: f["kept"]),
    "A9": Statistic("effective pairs that move further than placebo pairs", "reach", lambda f: f["share"]["rate"]),
    "B1": Statistic("gap to untrained networks", "over_untrained", lambda f: f["gap"]["value"]),
    "B2": Statistic(
        "gap to the worst control task", "selectivity",
        lambda f: min(variable["selectivity"]["value"] for variable in f["variables"].values()),
    ),
    "C1": Statistic(
        "the smaller of cause and isolation, of the worst variable", "target", lambda f: f["rates"][f["worst"]]["rate"]
    ),
    "C2": Statistic(
        "IIA of the worst stratum of any set swapped at once", "target",
        lambda f: min(_rates(one["strata"]) for one in f["sets"].values()),
    ),
    "C3": Statistic(
        "answers that stay when all outside is taken from another input", "strictness",
        lambda f: f["joint"]["rate"],
    ),
    "C8": Statistic(
        "answers kept too often, or lost too often, of the worst variable", "necessity", _necessity, least=False
    ),
    "C9": Statistic(
        "off-task inputs whose answer an edit changes, in the worst set", "damage",
        lambda f: f["sets"][f["worst"]]["changed"]["rate"], least=False,
    ),
    "D1": Statistic(
        "what the unread part adds, in the worst swapped set", "unread",
        lambda f: max(one["gap"]["value"] for one in f["by_swap"].values()), least=False,
    ),
    "D2": Statistic(
        "effect of the coordinates over that of their whole site, of the worst variable", "component",
        lambda f: max((one["ratio"]["value"] for one in f["by_variable"].values() if one["ratio"]), default=math.nan),
        least=False,
    ),
    "D3": Statistic(
        "edited states far beyond natural ones, in the worst swapped set", "unnatural",
        lambda f: max(one["excess"]["value"] for one in f["by_set"].values()), least=False,
    ),
    "D4": Statistic(
        "perturbed runs in which the network follows its variables, over clean ones, for the worst variable",
        "agreement",
        lambda f: min(one["agreement"]["rate"] for one in f["variables"].values()) / f["clean"],
    ),
    "D6": Statistic(
        "what reads beyond what patches, of the worst variable", "unused",
        lambda f: max(one["gap"]["value"] for one in f["variables"].values()), least=False,
    ),
    "E1": Statistic("IIA of the worst cell on the worst shift", "target", lambda f: f["rate"]),
    "E2": Statistic(
        "random pairs that hold, of the worst swapped set", "target",
        lambda f: 1 - max(one["rate"] for one in f["random"].values()),
    ),
    "E3": Statistic(
        "pairs that one fit edits and another reads, in the worst case", "cross_swap",
        lambda f: f["worst"]["rate"]["rate"],
    ),
    "E4": Statistic(
        "other networks on which the claim holds", "replicated", lambda f: f["holds"] / f["n"],
    ),
    "E5": Statistic(
        "gap to the nearest rival algorithm", "over_rivals",
        lambda f: min(rival["gap"]["value"] for rival in f["rivals"].values()),
    ),
}  # fmt: skip


def value_of(check: str, answer: str, figures: Figures) -> float | None:
    """The check's number; None where it has none here.

    Args:
        check: Its id.
        answer: What it answered: without power it has fewer figures, or none.
        figures: Its own.
    """
    statistic = STATISTICS.get(check)
    if statistic is None:
        return None
    try:
        found = statistic.of(figures)
    except (KeyError, TypeError, ValueError):
        if answer in ("supported", "refuted"):
            raise
        return None
    return None if found is None or math.isnan(found) else rounded(found)


def rounded(value: float) -> float:
    """In four digits: what two processors agree on, and what can be read."""
    return round(value, 4) + 0.0

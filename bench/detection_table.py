"""What the rows of the detection table come to: rates of alarms, thresholds, and the table that the library carries."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from detection_values import STATISTICS

from commutes.report import CATALOGUE, entry, level_of
from commutes.robustness import Thresholds
from commutes.stats import clopper_pearson
from commutes.testing.zoo import KINDS

Row = Mapping[str, Any]
WORDS = {"s": "supported", "r": "refuted", "i": "inconclusive", "v": "vacuous", "n": "not run"}
DECIDED = ("supported", "refuted", "inconclusive")
"""Answers that a number stands behind; where a check has no power its number decides nothing."""
RATED, LOOKED_AT = 1, 0
"""Rates are those of odd seeds; what is chosen by looking is chosen on even ones."""
APART = ("E3",)
"""Checks that ask whether the procedure that found a claim finds it again: nothing has found a claim that is told."""
ELSEWHERE = {
    "IIA over .9": lambda e: e["iia"] is None or e["iia"] <= 0.9,
    "IIA over a random subspace's": lambda e: e["overall"] <= e["random"],
    "logit over the base's": lambda e: e["logits"] <= 0,
}
"""What is done elsewhere, and when it would turn a claim down."""


@dataclass(frozen=True)
class Share:
    """How often, with its exact two-sided 95 % interval."""

    hits: int
    n: int

    @property
    def interval(self) -> tuple[float, float]:
        return clopper_pearson(self.hits, self.n, alpha=0.025)

    @property
    def rate(self) -> float:
        return self.hits / self.n


def kind(one: Row) -> str:
    """What kind of decoy a row is; kinds of which one half is caught by other checks than the other are two."""
    if one["truth"] == "right":
        return "right"
    if one["kind"] == "tilt":
        return one["claim"] if "15" in one["claim"] else "tilted by 30 degrees or more"
    if one["kind"] == "illusion":
        return f"illusion, {'rank-one' if 'rank-one' in one['member'] else 'separable'} reader"
    if one["kind"] == "gate" and "open" in one["member"]:
        return "gate, open in the data"
    if one["kind"] == "whole space" and one["truth"] == "partial":
        return "all but the other variable"
    return one["kind"]


def label(one: Row) -> str:
    """The same, with families and angles apart."""
    if one["kind"] == "tilt":
        return one["claim"]
    return kind(one) if one["family"] == "linear" else f"{kind(one)}, {one['family']}"


def grouped(rows: Iterable[Row], *, by: Any = label) -> dict[str, list[Row]]:
    """Rows by label: decoys, then claims that hold in part, then right ones, each in the order of the zoo's kinds."""
    truths = ("decoy", "partial", "right")
    kinds = (*KINDS, "")
    found: dict[str, list[Row]] = {}
    for one in sorted(
        rows, key=lambda r: (truths.index(r["truth"]), kinds.index(r["kind"]), r["family"] != "linear")
    ):
        found.setdefault(by(one), []).append(one)
    return found


def rated(rows: Iterable[Row], parity: int = RATED) -> list[Row]:
    return [one for one in rows if one["seed"] % 2 == parity]


def answers(one: Row, checks: Sequence[str]) -> dict[str, str]:
    """Check id to answer, in words."""
    return {name: WORDS[letter] for name, letter in zip(checks, one["answers"], strict=True)}


def refuting(one: Row, checks: Sequence[str]) -> list[str]:
    """The checks that refute the claim, without those that stand apart."""
    return [name for name, word in answers(one, checks).items() if word == "refuted" and name not in APART]


def counts(rows: Iterable[Row], checks: Sequence[str], check: str) -> Counter[str]:
    """How often the check gave each answer."""
    place = checks.index(check)
    return Counter(one["answers"][place] for one in rows)


def refuted(rows: Iterable[Row], checks: Sequence[str], check: str) -> Share:
    """How often the check refutes, of the rows that it was run on."""
    found = counts(rows, checks, check)
    return Share(found["r"], found.total() - found["n"])


def caught(rows: Sequence[Row], checks: Sequence[str], level: str, *, apart: Sequence[str] = APART) -> Share:
    """How often some check up to the level refutes, without those that stand apart."""
    gates = {entry.id for entry in CATALOGUE if entry.level is not None and entry.level <= level} - {*apart}
    return Share(
        sum(any(answers(one, checks).get(name) == "refuted" for name in gates) for one in rows), len(rows)
    )


def reached(rows: Iterable[Row], checks: Sequence[str], level: str) -> Share:
    """How often the claim reaches the level, of rows that were found again, what stands apart taken as passed.

    Few networks read inputs that their algorithm says nothing about: from where that is asked (C9), of these only.
    """
    found = [answers(one, checks) for one in rows if one["refitted"]]
    if "C9" in checks and level >= entry("C9").level:
        found = [one for one in found if one["C9"] != "not run"]
    whole = [one | dict.fromkeys(APART, "supported") for one in found]
    return Share(sum(level_of(found)[0] >= level for found in whole), len(whole))


def turned_down(rows: Sequence[Row], how: str) -> Share:
    """How often what is done elsewhere turns the claim down."""
    return Share(sum(bool(ELSEWHERE[how](one["elsewhere"])) for one in rows), len(rows))


def wanted(rows: Iterable[Row]) -> bool:
    """Whether these claims are to be caught: they are decoys, or the construction makes some check refute them."""
    return any(one["truth"] == "decoy" or (one["truth"] == "partial" and "r" in one["ideal"]) for one in rows)


@dataclass(frozen=True)
class Decided:
    """Where the construction decides what a check must answer: how often it does."""

    check: str
    answer: str
    agreed: Share
    apart: tuple[tuple[str, str, int], ...]
    """Claims where it does not: label, answer, how many."""


def decided(rows: Sequence[Row], checks: Sequence[str]) -> list[Decided]:
    found = []
    for place, check in enumerate(checks):
        for letter, word in WORDS.items():
            asked = [one for one in rows if one["ideal"][place] == letter and one["answers"][place] != "n"]
            if not asked:
                continue
            wrong = Counter(
                (f"{one['member']}: {one['claim']}", WORDS[one["answers"][place]])
                for one in asked
                if one["answers"][place] != letter
            )
            apart = tuple((*what, n) for what, n in wrong.most_common())
            found.append(Decided(check, word, Share(len(asked) - wrong.total(), len(asked)), apart))
    return found


Sides = tuple[Share, Share]
"""Right claims on the good side of a threshold, and wrong ones on the bad side."""


@dataclass(frozen=True)
class Split:
    """How well a check's number tells right claims from those that it must refute."""

    check: str
    declared: float
    right: tuple[float, float]
    """Least and most among right claims, on even seeds."""
    best: tuple[float, float] | None
    """Thresholds from here to here tell them apart best on even seeds; None where nothing must be refuted."""
    best_even: Sides
    declared_even: Sides
    declared_odd: Sides


def splits(rows: Sequence[Row], checks: Sequence[str]) -> list[Split]:
    """Every check whose number right claims have, on even seeds."""
    found = []
    for check in checks:
        right, wrong = _values(rated(rows, LOOKED_AT), checks, check)
        if check not in STATISTICS or not right:
            continue
        least = STATISTICS[check].least
        declared = float(getattr(Thresholds(), STATISTICS[check].threshold))
        interval = best(right, wrong, declared, least=least) if wrong else None
        middle = declared if interval is None else _between(interval)
        found.append(
            Split(
                check,
                declared,
                (min(right), max(right)),
                interval,
                _sides(right, wrong, middle, least),
                _sides(right, wrong, declared, least),
                _sides(*_values(rated(rows), checks, check), declared, least),
            )
        )
    return found


def _values(rows: Sequence[Row], checks: Sequence[str], check: str) -> tuple[list[float], list[float]]:
    """The check's number for right claims, and for those that it must refute by construction."""
    place = checks.index(check)
    measured = [
        one for one in rows if one["values"][place] is not None and WORDS[one["answers"][place]] in DECIDED
    ]
    right = [one["values"][place] for one in measured if one["truth"] == "right"]
    return right, [one["values"][place] for one in measured if one["ideal"][place] == "r"]


def best(
    right: Sequence[float], wrong: Sequence[float], declared: float, *, least: bool
) -> tuple[float, float]:
    """The interval of thresholds at which right claims pass and wrong ones do not most often.

    Of several the one that holds the declared threshold, else the widest.
    """
    edges = sorted({*right, *wrong})
    gaps = list(zip([-math.inf, *edges], [*edges, math.inf], strict=True))

    def told(gap: tuple[float, float]) -> float:
        good, bad = _sides(right, wrong, _between(gap), least)
        return good.rate + bad.rate

    most = max(map(told, gaps))
    winners = [gap for gap in gaps if told(gap) >= most - 1e-12]
    inside = [gap for gap in winners if gap[0] <= declared <= gap[1]]
    return inside[0] if inside else max(winners, key=lambda gap: gap[1] - gap[0])


def _between(gap: tuple[float, float]) -> float:
    """A threshold in the interval: the middle, or the end that there is."""
    low, high = gap
    if math.isinf(low):
        return high - 1.0
    return low + 1.0 if math.isinf(high) else (low + high) / 2


def _sides(right: Sequence[float], wrong: Sequence[float], threshold: float, least: bool) -> Sides:
    def passes(value: float) -> bool:
        return value >= threshold if least else value <= threshold

    return (
        Share(sum(map(passes, right)), len(right)),
        Share(sum(not passes(v) for v in wrong), len(wrong)),
    )


def packaged(result: Mapping[str, Any]) -> dict[str, Any]:
    """What the library carries: for every kind of decoy which checks refute it together, and how often.

    Of odd seeds. From it the rate of any set of checks follows: that of the rows with a pattern that shares a check
    with the set. A check that was not run for a row counts there as one that does not refute.
    """
    checks = result["config"]["checks"]
    kinds = []
    for name, rows in grouped(rated(result["rows"]), by=kind).items():
        if name == "right":
            continue
        patterns = Counter(tuple(refuting(one, checks)) for one in rows)
        kinds.append(
            {
                "kind": name,
                "n": len(rows),
                "refuted": [[list(pattern), n] for pattern, n in sorted(patterns.items()) if pattern],
            }
        )
    return {
        "command": result["command"],
        "code": result["code"].get("by_family", result["code"]["sha256"]),
        "of": "planted networks of odd seeds",
        "kinds": kinds,
    }

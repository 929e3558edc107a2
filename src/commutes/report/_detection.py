"""Which kinds of decoy a set of checks catches, by what was measured on planted networks."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from commutes.report._schema import CaughtRecord
from commutes.report.catalogue import settled

__all__ = ["ENOUGH", "could_have_caught", "parted"]

TABLE = Path(__file__).parent / "detection.json"
"""Written with docs/detection.json, by bench/detection.py."""
ENOUGH = 0.9
"""A kind of decoy counts as one that is caught from this share of the planted claims."""
POWER = ("supported", "refuted")


@dataclass(frozen=True)
class _Kind:
    name: str
    n: int
    refuted: tuple[tuple[frozenset[str], int], ...]
    """Sets of checks that refuted a claim together, each with how many claims."""


def could_have_caught(answers: Mapping[str, str]) -> tuple[CaughtRecord, ...]:
    """For every kind of decoy, how many planted claims the checks with these answers refute among them.

    Only checks that decided something count: an inconclusive or vacuous one had no power here, whatever it has
    elsewhere.

    Args:
        answers: Check id to answer.
    """
    decided = {name for name, word in settled(answers).items() if word in POWER}
    return tuple(_caught(kind, decided) for kind in _kinds())


def parted(
    found: Iterable[CaughtRecord],
) -> tuple[tuple[CaughtRecord, ...], tuple[CaughtRecord, ...]]:
    """The kinds that are caught, at a rate of at least `ENOUGH`, and those that are not."""
    known = tuple(found)
    caught = tuple(one for one in known if one.caught >= ENOUGH * one.n)
    return caught, tuple(one for one in known if one not in caught)


def _caught(kind: _Kind, decided: Iterable[str]) -> CaughtRecord:
    hits = sum(n for checks, n in kind.refuted if checks.intersection(decided))
    return CaughtRecord(kind=kind.name, caught=hits, n=kind.n)


@cache
def _kinds() -> tuple[_Kind, ...]:
    table: dict[str, Any] = json.loads(TABLE.read_text(encoding="utf-8"))
    return tuple(
        _Kind(one["kind"], one["n"], tuple((frozenset(checks), n) for checks, n in one["refuted"]))
        for one in table["kinds"]
    )

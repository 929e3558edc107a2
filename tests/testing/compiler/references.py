"""What the programs are to answer, written as one would write it without thinking of sequences of operations."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable
from typing import Any

Sequence = tuple[Any, ...]


def addition(t: Sequence, base: int) -> tuple[int, int]:
    return divmod((t[0] + t[2]) * base + t[1] + t[3], base)


def balanced(t: Sequence) -> bool:
    depth = 0
    for bracket in t:
        depth += 1 if bracket == "(" else -1
        if depth < 0:
            return False
    return depth == 0


def induction(t: Sequence) -> str:
    following = [after for before, after in itertools.pairwise(t) if before == t[-1]]
    return following[0] if following else "none"


def indirect_object(t: Sequence) -> str:
    others = [name for name in t[:-1] if name != t[-1]]
    return others[0] if others else "nobody"


def expected(name: str, t: Sequence, symbols: int) -> Any:
    """The answer of a program to a sequence over so many symbols."""
    return addition(t, symbols) if name == "addition" else REFERENCES[name](t)


REFERENCES: dict[str, Callable[[Sequence], Any]] = {
    "previous": lambda t: ("none", *t[:-1]),
    "duplicate": lambda t: tuple(t[i] in t[:i] for i in range(1, len(t))),
    "reverse": lambda t: t[::-1],
    "histogram": lambda t: tuple(Counter(t)[token] for token in t),
    "parity": lambda t: bool(t.count("a") & 1),
    "fraction": lambda t: tuple(t[: i + 1].count("a") / (i + 1) for i in range(len(t))),
    "sort": lambda t: tuple(sorted(t)),
    "balanced": balanced,
    "induction": induction,
    "indirect_object": indirect_object,
    "and_or": lambda t: (t[0] and t[1]) or (t[2] and t[3]),
    "equality": lambda t: (t[0] == t[1]) == (t[2] == t[3]),
}

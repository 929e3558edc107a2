"""Programs small enough that all that can be swapped in them is swapped in a second."""

from __future__ import annotations

from functools import cache

from commutes.testing.compiler import PROGRAMS, Compiled, compile_program, program

SMALL: dict[str, tuple[int, int]] = {
    "previous": (3, 2),
    "duplicate": (3, 2),
    "reverse": (3, 2),
    "histogram": (3, 2),
    "parity": (3, 2),
    "fraction": (3, 2),
    "sort": (3, 2),
    "balanced": (2, 2),
    "induction": (4, 2),
    "indirect_object": (3, 2),
    "addition": (4, 2),
    "and_or": (4, 2),
    "equality": (4, 2),
}
"""Length and size of the alphabet."""
OWN = {name: (length, symbols) for name, (_, length, symbols, _) in PROGRAMS.items()}


@cache
def made(name: str, size: tuple[int, int], rotation: int | None) -> Compiled:
    """A compiled program of this length and alphabet."""
    return compile_program(program(name, length=size[0], symbols=size[1]), rotation=rotation)

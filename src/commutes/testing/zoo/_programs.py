"""Members whose networks are compiled from programs: every variable's place is known from the schedule."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

from commutes.algorithm import Algorithm, Variable
from commutes.counterfactuals import census
from commutes.errors import DataError
from commutes.stats import Answer
from commutes.testing.compiler import Compiled, Home, Program, compile_program, program
from commutes.testing.zoo._member import Member, Told, Truth

YES, NO = Answer.SUPPORTED, Answer.REFUTED


def compiled(
    name: str, *, seed: int, length: int | None = None, symbols: int | None = None, rotated: bool = True
) -> Member:
    """A compiled program in a random basis of its residual stream.

    Args:
        name: One of `commutes.testing.compiler.PROGRAMS`.
        seed: Of the basis.
        length: Of the sequences; the program's own by default.
        symbols: Size of the alphabet; the program's own by default.
        rotated: Whether there is a random basis at all. Without it claims name neurons, for which nothing is fitted.

    Raises:
        AlgorithmError: No such program, or one that has no such size.
    """
    made = compile_program(_program(name, length, symbols), rotation=seed if rotated else None)
    # Where every inner variable alone decides the answer, the tokens are what a claim can be tested on.
    matter = [v for v in made.algorithm.inner_variables if tells(made.algorithm, v)] or [
        v for v in made.algorithm.input_variables if tells(made.algorithm, v)
    ]
    claims = [
        Told(
            "where they are made", made.alignment(made.true_home(v) for v in matter),
            "right", "", {"A1": YES, "A2": YES},
        )
    ]  # fmt: skip
    for word, kind, homes in (
        ("where nothing reads them any more", "inert copy", _first(made, matter, "dead")),
        ("where some have read them", "read before", _first(made, matter, "partial")),
        ("at another position", "other variable", _elsewhere(made, matter)),
    ):
        if homes:
            told = made.alignment(homes)
            truth: Truth = "partial" if kind == "read before" else "decoy"
            # What some read and some do not may still be right on all inputs.
            ideal = {"A1": YES} if kind == "read before" else {"A1": YES, "A2": NO}
            claims.append(Told(word, told, truth, kind, ideal))
    return Member(name, "compiled", seed, made.algorithm, made.network, tuple(claims))


@cache
def tells(algorithm: Algorithm, variable: Variable) -> bool:
    """Whether some pairs tell the variable's interchange from doing nothing, and some from taking the whole source."""
    try:
        pairs = census(algorithm, swap=[{variable}])
    except DataError:
        # A census in which no answer changes is refused.
        return False
    return bool((pairs.expected != pairs.source_answer[:, 0]).any())


@cache
def _program(name: str, length: int | None, symbols: int | None) -> Program:
    return program(name, length=length, symbols=symbols)


def _first(made: Compiled, variables: list[Variable], status: str) -> list[Home]:
    """For each variable that has one, its first home of this kind."""
    found: dict[Variable, Home] = {}
    for home in made.homes():
        if home.status == status and home.variable in variables and not home.raw:
            found.setdefault(home.variable, home)
    return list(found.values())


def _elsewhere(made: Compiled, variables: list[Variable]) -> list[Home]:
    """Each variable in the home of the next position's variable of the same operation."""
    homes = [made.true_home(v) for v in variables]
    found = []
    for home in homes:
        others = [other for other in homes if other.op is home.op]
        if len(others) > 1:
            other = others[(others.index(home) + 1) % len(others)]
            found.append(replace(other, variable=home.variable))
    return found

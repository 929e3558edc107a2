"""Sums of four residues, grouped in one way or in another: the same function by different variables."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

import numpy as np

from commutes.algorithm import Algorithm
from commutes.counterfactuals import Distribution
from commutes.stats import Answer
from commutes.testing.zoo._equality import COLUMNS, INPUTS, joined
from commutes.testing.zoo._plan import MISSED, WORKS, Plan, Sketch, Task
from commutes.testing.zoo._wiring import Layer, Terms, passing

YES, VACUOUS = Answer.SUPPORTED, Answer.VACUOUS
HELD = dict.fromkeys(("A1", *WORKS, "C3", "C7", "D1", "D2", "D3", "D4", "D6", "E1"), YES)
WRONG = {"A1": YES, **MISSED, "C3": YES, "C7": YES, "D4": VACUOUS}
"""Nothing outside matters, but what is inside is something else, and does not say the variable's value."""
Groups = tuple[tuple[str, str], tuple[str, str]]
GROUPED: Groups = (("w", "x"), ("y", "z"))
REGROUPED: Groups = (("w", "y"), ("x", "z"))
VARIABLES = ("first", "second")
SHADES = ("w.shade", "z.shade")
DIM: Layer = {name: {name: 0.3} for name in SHADES}
"""Features that nothing reads."""


def sums(modulus: int, shades: int, groups: Groups, name: str) -> Algorithm:
    """first and second = the sums of the two groups, total = their sum, all modulo `modulus`."""
    found = Algorithm(f"{name} of residues modulo {modulus} in {shades} shades")
    found.inputs(INPUTS, domain=[(i, s) for i in range(modulus) for s in range(shades)])
    values = range(modulus)
    for variable, group in zip(VARIABLES, groups, strict=True):
        found.add(variable, *group, f=partial(_sum_of_inputs, modulus), domain=values)
    found.add("total", *VARIABLES, f=partial(_sum, modulus), domain=values, output=True)
    return found.check()


def _sum_of_inputs(modulus: int, one: tuple[int, int], other: tuple[int, int]) -> int:
    return (one[0] + other[0]) % modulus


def _sum(modulus: int, one: int, other: int) -> int:
    return (one + other) % modulus


def residue_task(modulus: int, shades: int) -> Task:
    """The sum of four residues, by way of w + x and y + z."""
    own = sums(modulus, shades, GROUPED, "sum")
    rival = sums(modulus, shades, REGROUPED, "regrouped sum")
    shifts: Mapping[str, str | Distribution] = {
        f"{name} always dark": Distribution(
            f"{name} always of shade 0", partial(_dark, modulus, shades, name)
        )
        for name in ("w", "z")
    }
    return Task(own, COLUMNS, joined, tuple(range(modulus)), "values", shifts, {"regrouped": rival})


def _dark(
    modulus: int, shades: int, dark: str, rng: np.random.Generator, n: int
) -> dict[str, list[tuple[int, int]]]:
    found = {}
    for name in INPUTS:
        lit = np.zeros(n, np.int64) if name == dark else rng.integers(shades, size=n)
        found[name] = list(zip(rng.integers(modulus, size=n).tolist(), lit.tolist(), strict=True))
    return found


def one_number(modulus: int) -> Plan:
    """Two variables of several values, each a number along one direction."""
    where = {name: ({name: 1.0},) for name in VARIABLES}
    crossed = {"first": where["second"], "second": where["first"]}
    regrouped = Sketch("regrouped", "decoy", "regrouping", where, WRONG, rival="regrouped")
    return _numbers(
        modulus, GROUPED,
        (
            Sketch("true", "right", "", where, HELD),
            Sketch("crossed", "decoy", "other variable", crossed, WRONG),
            regrouped,
        ),
    )  # fmt: skip


def regrouped(modulus: int) -> Plan:
    """A network that adds w to y and x to z, as the rival has it and not the algorithm."""
    where = {name: ({name: 1.0},) for name in VARIABLES}
    return _numbers(
        modulus, REGROUPED,
        (
            Sketch("the rival's variables", "decoy", "regrouping", where, WRONG),
            Sketch("the rival itself", "right", "", where, HELD, rival="regrouped"),
        ),
    )  # fmt: skip


def many_values(modulus: int) -> Plan:
    """Two variables of several values, each value a direction."""
    one_hot = {name: tuple({f"{name} is {r}": 1.0} for r in range(modulus)) for name in VARIABLES}
    # Values that are one-hot lie in a plane of one dimension less.
    plane = {name: _plane(name, modulus) for name in VARIABLES}
    crossed = {"first": one_hot["second"], "second": one_hot["first"]}
    # Nearly all of the site is read: what is not has no room for a second set of values.
    ideal = HELD | dict.fromkeys(("D1", "D3"), VACUOUS)
    first, second = _added(modulus, GROUPED)
    found = {f"{name} is {r}": _indicator(name, r) for name in VARIABLES for r in range(modulus)}
    rows: Layer = {
        f"{i} and {j}": {f"first is {i}": 1.0, f"second is {j}": 1.0, "1": -1.0}
        for i in range(modulus)
        for j in range(modulus)
    }
    third: Layer = {**_bends(modulus), **passing(*SHADES)}
    return Plan(
        (first, second, third), {**found, **DIM}, (passing(*found), rows, _totals(modulus)),
        passing(*_totals(modulus)),
        (
            Sketch("one direction per value", "right", "", one_hot, ideal),
            Sketch("the plane of the values", "right", "", plane, ideal),
            Sketch("crossed", "decoy", "other variable", crossed, WRONG),
            Sketch("regrouped", "decoy", "regrouping", one_hot, WRONG, rival="regrouped"),
        ),
        even=tuple(found),
    )  # fmt: skip


def _plane(name: str, modulus: int) -> tuple[Terms, ...]:
    """Orthogonal directions that span the differences of the values' own."""
    return tuple(
        {**{f"{name} is {i}": 1.0 for i in range(r)}, f"{name} is {r}": -float(r)} for r in range(1, modulus)
    )


def _numbers(modulus: int, groups: Groups, claims: tuple[Sketch, ...]) -> Plan:
    """The plan whose site holds each variable as a number."""
    rows: Layer = {
        f"{i} and {j}": {**_indicator("first", i), **_indicator("second", j), "1": -1.0}
        for i in range(modulus)
        for j in range(modulus)
    }
    after = (_bends(modulus), rows, _totals(modulus))
    features = {**passing(*VARIABLES), **DIM}
    return Plan(_added(modulus, groups), features, after, passing(*_totals(modulus)), claims)


def _added(modulus: int, groups: Groups) -> tuple[Layer, Layer]:
    """Two layers that add each group and take the modulus away where it is reached."""
    first: dict[str, Terms] = dict(passing(*SHADES))
    second: dict[str, Terms] = dict(passing(*SHADES))
    for name, (one, other) in zip(VARIABLES, groups, strict=True):
        total = {f"{one}.id": 1.0, f"{other}.id": 1.0}
        first |= {
            f"{name} sum": total,
            f"{name} from {modulus - 1}": {**total, "1": 1.0 - modulus},
            f"{name} from {modulus}": {**total, "1": -float(modulus)},
        }
        second[name] = {
            f"{name} sum": 1.0,
            f"{name} from {modulus - 1}": -float(modulus),
            f"{name} from {modulus}": float(modulus),
        }
    return first, second


def _bends(modulus: int) -> Layer:
    """Units that bend at the whole numbers, of which indicators of residues are made."""
    return {
        f"{name} above {bend}": {name: 1.0, "1": -float(bend)}
        for name in VARIABLES
        for bend in range(-1, modulus + 1)
    }


def _indicator(name: str, residue: int) -> Terms:
    """1 at the residue and 0 at the whole numbers beside it."""
    return {
        f"{name} above {residue - 1}": 1.0,
        f"{name} above {residue}": -2.0,
        f"{name} above {residue + 1}": 1.0,
    }


def _totals(modulus: int) -> Layer:
    return {
        f"total {k}": {f"{i} and {(k - i) % modulus}": 1.0 for i in range(modulus)} for k in range(modulus)
    }

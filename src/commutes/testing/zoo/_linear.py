"""The networks with a linear site, by name."""

from __future__ import annotations

from functools import cache

from commutes.errors import DataError, similar
from commutes.testing.zoo._member import Member
from commutes.testing.zoo._plan import Plan, Task, built
from commutes.testing.zoo._residues import many_values, one_number, regrouped, residue_task
from commutes.testing.zoo._variants import EQUALITY, task

RESIDUES = {"many values": many_values, "many values in one number": one_number, "regrouped": regrouped}
LINEAR = (*EQUALITY, *RESIDUES)
"""The variants."""


def linear(name: str, *, seed: int, symbols: int = 4, shades: int = 3) -> Member:
    """A network with a linear site.

    Args:
        name: One of `LINEAR`.
        seed: Of the basis in which the features stand, of their gains and of an offset.
        symbols: Identities that an input can have; residues, where residues are added.
        shades: In how many shades each comes. An input has symbols * shades values, and there are four inputs.

    Raises:
        DataError: No such variant.
    """
    if name not in LINEAR:
        near = similar(name, LINEAR)
        raise DataError(
            f"the zoo has no network {name!r} with a linear site",
            expected=f"one of {', '.join(LINEAR)}",
            fix=f"write {near!r}" if near else "see commutes.testing.zoo.LINEAR",
        )
    what, plan = _written(name, symbols, shades)
    return built(name, what, plan, seed=seed)


@cache
def _written(name: str, symbols: int, shades: int) -> tuple[Task, Plan]:
    # Kept, so that the members of all seeds share one algorithm: its tables are filled once.
    if name in RESIDUES:
        return residue_task(symbols, shades), RESIDUES[name](symbols)
    return task(symbols, shades, name), EQUALITY[name](symbols)

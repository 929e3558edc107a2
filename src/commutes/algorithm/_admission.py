"""Which variables an algorithm takes: names, duplicates, outputs."""

from __future__ import annotations

import keyword
from typing import TYPE_CHECKING

from commutes.algorithm._values import show
from commutes.errors import AlgorithmError

if TYPE_CHECKING:
    from commutes.algorithm._algorithm import Algorithm
    from commutes.algorithm._variable import Kind, Variable

# The columns of counterfactuals: a variable of the same name could not be told from them in a table.
RESERVED = frozenset({"base", "expected", "moved", "source", "stratum", "swap"})


def admit(
    algorithm: Algorithm, name: str, kind: Kind, declared: tuple[Variable, ...], *, frozen: bool
) -> None:
    """Refuse a variable that `algorithm`, with the variables `declared` so far, cannot take."""
    if frozen:
        raise AlgorithmError(
            f"{algorithm.name} has been checked and is frozen: {name} cannot be added",
            fix="declare every variable before the algorithm is used, or build another Algorithm",
        )
    _check_name(name)
    if name in {variable.name for variable in declared}:
        raise AlgorithmError(
            f"{algorithm.name} already has a variable {name}",
            where=repr(algorithm),
            fix="choose another name; in a notebook, first run again the cell that makes the Algorithm",
        )
    outputs = [variable.name for variable in declared if variable.kind == "output"]
    if kind == "output" and outputs:
        raise AlgorithmError(
            f"{algorithm.name} has two outputs: {outputs[0]} and {name}",
            expected="one output",
            fix="let one variable return a tuple, or make one of them an inner variable",
        )


def _check_name(name: str) -> None:
    if not isinstance(name, str) or not name.isidentifier() or keyword.iskeyword(name) or name[0] == "_":
        raise AlgorithmError(
            "this cannot be the name of a variable",
            got=show(name),
            expected="a Python identifier that does not begin with an underscore",
            fix="give the lambda a name: name='total'" if name == "<lambda>" else "choose another name",
        )
    if name in RESERVED:
        raise AlgorithmError(
            f"{name} is a reserved name",
            expected=f"none of {', '.join(sorted(RESERVED))}",
            fix="choose another name",
        )

"""Columns at the boundary: what a caller hands over is checked here, once, before anything is computed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from commutes.algorithm._finite import Finite
from commutes.algorithm._order import upstream
from commutes.errors import AlgorithmError, DomainError

if TYPE_CHECKING:
    from commutes.algorithm._algorithm import Algorithm
    from commutes.algorithm._model import Model
    from commutes.algorithm._variable import Variable


def from_values(algorithm: Algorithm, values: Mapping[Any, Sequence[Any]]) -> dict[str, np.ndarray]:
    """Encode plain values of all inputs."""
    given: dict[str, Sequence[Any]] = {}
    for key, sequence in values.items():
        variable = _once(algorithm, key, given)
        if variable.kind != "input":
            raise AlgorithmError(
                f"{variable.name} is not an input: it has a mechanism",
                expected=f"values of {_names(algorithm)}",
                fix=f"intervene on it: do={{{variable.name!r}: ...}}",
            )
        given[variable.name] = sequence if isinstance(sequence, (list, tuple, np.ndarray)) else list(sequence)
    _refuse_missing(algorithm, given)
    columns: dict[str, np.ndarray] = {}
    for variable in algorithm.input_variables:
        domain, sequence = algorithm.domain(variable), given[variable.name]
        column, bad = domain.attempt(sequence)
        if bad is not None:
            raise domain.outside(_item(sequence, bad), where=f"{variable.name}, row {bad}")
        columns[variable.name] = column
    row_count(columns)
    return columns


def as_inputs(algorithm: Algorithm, columns: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The inputs among `columns`, validated; other variables' columns are passed over."""
    _refuse_missing(algorithm, columns)
    inputs = {
        variable.name: as_column(algorithm, variable, columns[variable.name], members=False)
        for variable in algorithm.input_variables
    }
    row_count(inputs)
    return inputs


def as_do(algorithm: Algorithm, do: Mapping[Any, np.ndarray], n: int) -> dict[str, np.ndarray]:
    """The columns of an intervention, validated: one value per row, all within their domains."""
    fixed: dict[str, np.ndarray] = {}
    for key, column in do.items():
        variable = _once(algorithm, key, fixed)
        fixed[variable.name] = as_column(algorithm, variable, column, members=True)
        if len(fixed[variable.name]) != n:
            raise AlgorithmError(
                f"the intervention on {variable.name} and the inputs differ in length",
                got=f"{len(fixed[variable.name]):,} values for {n:,} inputs",
                fix="give one value per row; nothing is repeated silently",
            )
    return fixed


def as_column(algorithm: Algorithm, variable: Variable, column: np.ndarray, *, members: bool) -> np.ndarray:
    """A column of `variable`, validated; membership in an infinite domain only where `members`."""
    domain = algorithm.domain(variable)
    array = np.asarray(column)
    fault = domain.fault(array, members=members)
    if fault is not None:
        codes = (
            f"int64 codes from 0 to {len(domain.values) - 1}"
            if isinstance(domain, Finite)
            else "float64 values"
        )
        raise DomainError(
            f"not a column of {variable.name}",
            got=fault,
            expected=f"{codes} of {domain.describe()}",
            fix=f"encode plain values: algorithm.domain({variable.name!r}).encode(values)",
        )
    return array.astype(np.int64 if isinstance(domain, Finite) else np.float64, copy=False)


def from_plain_do(algorithm: Algorithm, do: Mapping[Any, Any]) -> dict[Any, np.ndarray]:
    """The columns of one row of an intervention that is given as plain values."""
    fixed: dict[Any, np.ndarray] = {}
    for key, value in do.items():
        variable = _once(algorithm, key, fixed)
        domain = algorithm.domain(variable)
        column, bad = domain.attempt([value])
        if bad is not None:
            raise domain.outside(value, where=f"do({variable.name})")
        fixed[variable.name] = column
    return fixed


def source_columns(
    algorithm: Algorithm, model: Model, sources: Mapping[Any, Mapping[str, np.ndarray]]
) -> dict[str, np.ndarray]:
    """Per swapped variable its column for its source inputs; only what it depends on is computed."""
    fixed: dict[str, np.ndarray] = {}
    for key, columns in sources.items():
        name = _once(algorithm, key, fixed).name
        inputs = as_inputs(algorithm, columns)
        fixed[name] = model.run(inputs, {}, row_count(inputs), upstream(model.parents, [name]))[name]
    return fixed


def row_count(columns: Mapping[str, np.ndarray]) -> int:
    """The length that all columns share."""
    lengths = {name: len(column) for name, column in columns.items()}
    if len(set(lengths.values())) > 1:
        raise AlgorithmError(
            "columns of unequal length",
            got=", ".join(f"{name}: {length:,}" for name, length in lengths.items()),
            expected="one value of every input per row",
        )
    return next(iter(lengths.values()))


def _once(algorithm: Algorithm, key: Any, seen: Mapping[str, Any]) -> Variable:
    variable = algorithm[key]
    if variable.name in seen:
        raise AlgorithmError(
            f"{variable.name} is given twice", got="by name and as a variable", fix="give it once"
        )
    return variable


def _refuse_missing(algorithm: Algorithm, given: Mapping[str, Any]) -> None:
    missing = [variable.name for variable in algorithm.input_variables if variable.name not in given]
    if missing:
        raise AlgorithmError(
            f"no values for {', '.join(missing)}",
            got=f"values of {', '.join(given) or 'nothing'}",
            expected=f"values of {_names(algorithm)}",
            fix="give every input",
        )


def _names(algorithm: Algorithm) -> str:
    return ", ".join(variable.name for variable in algorithm.input_variables)


def _item(sequence: Sequence[Any] | np.ndarray, row: int) -> Any:
    value = sequence[row]
    return tuple(value.tolist()) if isinstance(value, np.ndarray) and value.ndim else value

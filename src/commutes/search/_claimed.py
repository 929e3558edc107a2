"""The variables that a spec claims and swaps, held against its algorithm."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from commutes.errors import SpecError, similar

if TYPE_CHECKING:
    from commutes.algorithm import Algorithm, Variable
    from commutes.counterfactuals import Counterfactuals
    from commutes.search._spec import Spec

__all__ = ["all_inputs", "claimed_variables", "sample_values", "swap_sets"]


def claimed_variables(spec: Spec, algorithm: Algorithm) -> tuple[Variable, ...]:
    """The variables that the spec claims, as variables of the algorithm.

    Raises:
        SpecError: If one is not an inner variable, with the nearest one that is.
    """
    inner = {variable.name: variable for variable in algorithm.inner_variables}
    for row, name in enumerate(spec.claim.variables):
        if name in inner:
            continue
        known = {variable.name: variable.kind for variable in algorithm.variables}
        close = similar(name, inner)
        raise SpecError(
            f"{name} is the {known[name]} of the algorithm"
            if name in known
            else f"there is no variable {name}",
            where=spec.where(f"claim.variables.{row}"),
            got=name,
            expected=f"inner variables of {algorithm.name}: {', '.join(inner) or 'it has none'}",
            fix=f"did you mean {close}?"
            if close
            else f"claim one of {', '.join(inner)}"
            if inner
            else "declare a variable between the inputs and the output, and claim it",
        )
    for row, names in enumerate(spec.claim.joint):
        for name in names:
            if name not in spec.claim.variables:
                close = similar(name, spec.claim.variables)
                raise SpecError(
                    f"a joint swap names {name}, which is not claimed",
                    where=spec.where(f"claim.joint.{row}"),
                    got=name,
                    expected=f"claimed variables: {', '.join(spec.claim.variables)}",
                    fix=(f"did you mean {close}? otherwise " if close else "")
                    + f"add {name} to claim.variables or remove it here",
                )
    for name in spec.claim.at:
        if name not in spec.claim.variables:
            close = similar(name, spec.claim.variables)
            raise SpecError(
                f"a place is given for {name}, which is not claimed",
                where=spec.where(f"claim.at.{name}"),
                got=name,
                expected=f"claimed variables: {', '.join(spec.claim.variables)}",
                fix=(f"did you mean {close}? otherwise " if close else "")
                + f"add {name} to claim.variables or remove its place",
            )
    return tuple(inner[name] for name in spec.claim.variables)


def swap_sets(spec: Spec, algorithm: Algorithm) -> list[set[Variable]]:
    """What the spec swaps: each claimed variable alone, then the joint sets."""
    return [{algorithm[name] for name in names} for names in spec.claim.swaps]


def sample_values(algorithm: Algorithm, n: int, *, seed: int) -> dict[str, np.ndarray]:
    """`n` inputs, each variable drawn from its domain: enough to learn shapes from, not to measure with."""
    rng = np.random.default_rng([seed, 0x5EED])
    columns = {v.name: algorithm.domain(v).sample(rng, n) for v in algorithm.input_variables}
    return algorithm.arrays(columns)


def all_inputs(parts: Sequence[Counterfactuals]) -> dict[str, np.ndarray]:
    """The inputs of all parts of the data, each once, as a network's encode gets them."""
    columns = {name: np.concatenate([part.inputs[name] for part in parts]) for name in parts[0].inputs}
    return parts[0].algorithm.arrays(columns)

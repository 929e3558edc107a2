"""What a spec holds its claim against, beside what every claim is held against."""

from __future__ import annotations

from commutes.algorithm import Algorithm
from commutes.errors import DataError, SpecError
from commutes.network import Network
from commutes.robustness import Shift, off_task_inputs
from commutes.search._builders import named_distribution
from commutes.search._hypothesis import Hypothesis
from commutes.search._off_task import KEY, build_off_task
from commutes.search._spec import Spec

__all__ = ["build_shifts", "check_off_task"]


def build_shifts(hypothesis: Hypothesis, spec: Spec) -> list[Shift]:
    """The shifts that the spec declares.

    Raises:
        SpecError: If one names a distribution that there is not.
    """
    return [
        Shift(
            name,
            distribution=part.distribution
            and named_distribution(
                hypothesis, spec, part.distribution, f"challenge.shifts.{name}.distribution"
            ),
            domain=part.domain,
            template=part.template,
            independent=part.independent,
            resample=part.resample,
        )
        for name, part in spec.challenge.shifts.items()
    ]


def check_off_task(hypothesis: Hypothesis, spec: Spec, algorithm: Algorithm, network: Network) -> None:
    """Hold the off-task inputs against the algorithm and the way in which the network reads inputs.

    Raises:
        SpecError: Inputs of another kind than the claim's, or that the claim is about.
    """
    found = build_off_task(hypothesis, spec)
    if found is None:
        return
    try:
        network.encode(off_task_inputs(found, algorithm).values)
    except DataError as error:
        where = spec.where(KEY) + ("" if error.where is None else f"; {error.where}")
        raise SpecError(
            error.what, where=where, got=error.got, expected=error.expected, fix=error.fix
        ) from error

"""What every command does with a spec before torch is imported."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from commutes.algorithm import Algorithm, Variable
    from commutes.counterfactuals import Distribution
    from commutes.search import Hypothesis, Spec

__all__ = ["Prepared", "prepared", "prepared_run"]


@dataclass(frozen=True, eq=False)
class Prepared:
    """A spec with everything about it that needs no network."""

    spec: Spec
    hypothesis: Hypothesis
    algorithm: Algorithm
    variables: tuple[Variable, ...]
    distribution: str | Distribution


def prepared_run(folder: Path, given: str | None) -> Prepared:
    """The same of a run that was made before.

    Raises:
        CommutesError: Whatever is wrong with its folder or its spec.
    """
    from commutes.search import spec_of_run

    return _prepared(spec_of_run(folder, given=given))


def prepared(name: str, overrides: Sequence[str] | None) -> Prepared:
    """Find and read the spec, load the hypothesis, build and check the algorithm: all without torch of ours.

    Raises:
        CommutesError: Whatever is wrong with them.
    """
    from commutes.search import find_spec, read_spec

    return _prepared(read_spec(find_spec(name), given=name, overrides=overrides or ()))


def _prepared(spec: Spec) -> Prepared:
    from commutes.search import (
        build_algorithm,
        build_off_task,
        build_rivals,
        claimed_variables,
        distribution,
        load_hypothesis,
    )

    hypothesis = load_hypothesis(spec)
    algorithm = build_algorithm(hypothesis, spec)
    for function, key in (
        (spec.network.build, "network.build"),
        (spec.network.train, "network.train"),
    ):
        if function is not None:
            hypothesis.function(function, where=spec.where(key))
    build_rivals(hypothesis, spec)
    build_off_task(hypothesis, spec)
    return Prepared(
        spec, hypothesis, algorithm, claimed_variables(spec, algorithm), distribution(hypothesis, spec)
    )

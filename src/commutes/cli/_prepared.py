"""What every command does with a spec before torch is imported."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from commutes.algorithm import Algorithm, Variable
    from commutes.counterfactuals import Distribution
    from commutes.search import Hypothesis, Spec

__all__ = ["Prepared", "prepared"]


@dataclass(frozen=True, eq=False)
class Prepared:
    """A spec with everything about it that needs no network."""

    spec: Spec
    hypothesis: Hypothesis
    algorithm: Algorithm
    variables: tuple[Variable, ...]
    distribution: str | Distribution


def prepared(name: str, overrides: Sequence[str] | None) -> Prepared:
    """Find and read the spec, load the hypothesis, build and check the algorithm: all without torch of ours.

    Raises:
        CommutesError: Whatever is wrong with them.
    """
    from commutes.search import (
        build_algorithm,
        claimed_variables,
        distribution,
        find_spec,
        load_hypothesis,
        read_spec,
    )

    spec = read_spec(find_spec(name), given=name, overrides=overrides or ())
    hypothesis = load_hypothesis(spec)
    algorithm = build_algorithm(hypothesis, spec)
    for function, key in (
        (spec.network.build, "network.build"),
        (spec.network.train, "network.train"),
    ):
        if function is not None:
            hypothesis.function(function, where=spec.where(key))
    return Prepared(
        spec, hypothesis, algorithm, claimed_variables(spec, algorithm), distribution(hypothesis, spec)
    )

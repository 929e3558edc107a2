"""What a member of the zoo is: a network, its algorithm, and alignments of which the truth is told."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Literal

import numpy as np

from commutes.algorithm import Algorithm
from commutes.alignment import Alignment
from commutes.counterfactuals import Counterfactuals, Distribution, census, counterfactuals
from commutes.network import Network
from commutes.stats import Answer
from commutes.training import ClosedForm, Settings

Truth = Literal["right", "partial", "decoy"]
Family = Literal["linear", "compiled", "trained"]

KINDS = (
    "inert copy", "illusion", "redundancy", "shortcut", "regrouping", "tilt", "cancellation", "gate",
    "nonlinear code", "backup", "whole space", "random network", "entangled", "other variable", "random subspace",
    "read before", "off task",
)  # fmt: skip
"""How an alignment can be wrong."""

# A gate on samples needs 59 inputs in every cell, and a split of these would leave a part with fewer.
SMALL = 200


@dataclass(frozen=True, eq=False)
class Told:
    """An alignment of which it is known what it is worth. Checks are given `alignment` and nothing else."""

    name: str
    alignment: Alignment
    truth: Truth
    """right: swapping sets the variable, by the way that the network uses. partial: the variable is there, but not all
    of it or not it alone. decoy: the network's use of the variable is elsewhere."""
    kind: str = ""
    """One of `KINDS`; empty where it is right."""
    ideal: Mapping[str, Answer] = field(default_factory=dict)
    """What an ideal check must answer, by the catalogue's ids, for the checks whose answer the construction decides."""

    def __post_init__(self) -> None:
        assert (self.kind == "") == (self.truth == "right"), self.name
        assert self.kind == "" or self.kind in KINDS, self.kind


@dataclass(frozen=True, eq=False)
class Member:
    """A network with known truth. The same name and seed give the same member, bit for bit."""

    name: str
    family: Family
    seed: int
    algorithm: Algorithm
    network: Network
    claims: tuple[Told, ...]
    distribution: str | Distribution = "values"
    """Of the inputs on which the claims are made."""
    shifts: Mapping[str, str | Distribution] = field(default_factory=dict)
    """Other distributions of the inputs, by name, on which a right alignment must hold as well."""
    rivals: Mapping[str, Algorithm] = field(default_factory=dict)
    """Other algorithms with the same function of the same inputs, which the network does not implement."""
    off_task: Mapping[str, np.ndarray] | None = None
    """Inputs that the algorithm says nothing about, by name; None where the network can read no others."""

    def pairs(
        self, told: Told, n: int, *, seed: int, distribution: str | Distribution | None = None
    ) -> Counterfactuals:
        """Interchange interventions on the variables of a claim, each swapped alone.

        Of a domain that is too small for gates on samples these are all pairs, a census, whatever n and seed are.

        Args:
            told: One of `claims`.
            n: How many pairs.
            seed: Of the draw.
            distribution: Of the inputs; the member's own by default.
        """
        swap = [{variable} for variable in told.alignment.variables]
        if self.small and distribution is None:
            return census(told.alignment.algorithm, swap=swap)
        chosen = self.distribution if distribution is None else distribution
        return counterfactuals(told.alignment.algorithm, n, swap=swap, distribution=chosen, seed=seed)

    @property
    def small(self) -> bool:
        """Whether the domain is so small that a claim is measured on all of it."""
        count = self.algorithm.input_count
        return count is not None and count <= SMALL and self.distribution == "values"

    def __repr__(self) -> str:
        return f"Member({self.name!r}, seed {self.seed}, {len(self.claims)} claims)"


def as_fitted(
    alignment: Alignment,
    train: Counterfactuals,
    select: Counterfactuals | None,
    settings: Settings | ClosedForm,
) -> Alignment:
    """The alignment as if it had been found in this way on these pairs: for checks that find a claim again.

    Args:
        alignment: A told one.
        train: What it would have been fitted on.
        select: What its step and start would have been chosen on.
        settings: How it would have been fitted, or computed.
    """
    history = asdict(settings) | {"seed": 0}
    if isinstance(settings, Settings):
        history |= {"method": "das", "last_step": settings.steps, "measured": 0}
    return alignment.with_maps(
        alignment.featurizers,
        fitted_ids=train.input_ids,
        selected_ids=None if select is None else select.input_ids,
        history=history,
    )

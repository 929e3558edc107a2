"""The loss of interchange-intervention training: what the network should answer, edited and not.

See Inducing Causal Structure for Interpretable Neural Networks, arXiv 2112.00826.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import torch

from commutes.alignment import Alignment
from commutes.counterfactuals import Counterfactuals
from commutes.engine import Featurizer
from commutes.evaluation import answers_of, losses
from commutes.network import Network
from commutes.training._iit_rest import Rest, rest_of
from commutes.training._iit_runs import (
    Examples,
    clean_states,
    edited_logits,
    examples,
    plain_logits,
)


class Draw(NamedTuple):
    """What one step looks at."""

    rows: torch.Tensor
    """Pairs.  # shape: (n,)"""
    donors: torch.Tensor
    """For the strict term: the input from which each base takes what carries no variable.  # shape: (n,)"""
    units: torch.Tensor | None
    """And which one of the units; None is all of them.  # shape: (n,)"""


@dataclass(frozen=True, eq=False)
class Lesson:
    """Pairs as they are taught: the runs of a network, and what it should answer after each."""

    network: Network
    examples: Examples
    maps: tuple[Featurizer, ...]
    masks: tuple[torch.Tensor, ...]
    rest: Rest | None
    """What carries no variable; None where the strict term has no weight."""
    base: torch.Tensor
    source: torch.Tensor
    expected: torch.Tensor
    """Columns of the logits that spell the algorithm's answer to each interchange.  # (n,) or (n, tokens)"""
    base_answer: torch.Tensor
    """And to each base.  # (n,) or (n, tokens)"""

    def terms(
        self, draw: Draw, weights: Mapping[str, float], *, detach_source: bool = False
    ) -> dict[str, torch.Tensor]:
        """The mean cross-entropy of every term that has a weight, without its weight.

        Args:
            draw: What is looked at.
            weights: By the name of the term; terms of weight 0 are not run.
            detach_source: Whether the states that are taken are constants.
        """
        rows, n = draw.rows, len(draw.rows)
        base, source = self.base[rows], self.source[rows]
        # A slot that takes nothing needs some state all the same.
        taken = torch.where(source < 0, base.unsqueeze(1), source).flatten()
        taken = taken if weights["interchange"] else taken[:0]
        others, where = torch.unique(
            torch.cat([taken, draw.donors]) if weights["strict"] else taken, return_inverse=True
        )
        # Encoded together: what is padded is then padded alike.
        part = self.examples.rows(torch.cat([base, others]))
        bases = part.rows(torch.arange(n))
        states: list[torch.Tensor] = []
        if len(others):
            behind = part.rows(torch.arange(n, n + len(others)))
            states = clean_states(self.network, behind, gradient=not detach_source)
        found: dict[str, torch.Tensor] = {}
        if weights["interchange"]:
            slots = where[: len(taken)].reshape(source.shape)
            masks = [mask[rows] for mask in self.masks]
            logits = edited_logits(self.network, bases, self.maps, [s[slots] for s in states], masks)
            found["interchange"] = losses(logits, self.expected[rows]).mean()
        if weights["behaviour"]:
            logits = plain_logits(self.network, bases)
            found["behaviour"] = losses(logits, self.base_answer[rows]).mean()
        if weights["strict"] and self.rest is not None:
            donors = where[len(taken) :].unsqueeze(1)
            masks = self.rest.masks(draw.units, n, self.network.device)
            logits = edited_logits(self.network, bases, self.rest.maps, [s[donors] for s in states], masks)
            found["strict"] = losses(logits, self.base_answer[rows]).mean()
        return found


def total(terms: Mapping[str, torch.Tensor], weights: Mapping[str, float]) -> torch.Tensor:
    """The sum of the terms, each times its weight."""
    return torch.stack([weights[name] * term for name, term in terms.items()]).sum()


def lesson(alignment: Alignment, pairs: Counterfactuals, *, strict: bool) -> Lesson:
    """Encode the pairs' inputs, and say what the algorithm answers.

    Args:
        alignment: The claim, about the very network that is trained.
        pairs: Interchange interventions.
        strict: Whether the strict term has a weight.

    Raises:
        NetworkError: The network has a custom `decode=`, or cannot answer what the algorithm expects.
        FitError: Of a strict term, the alignment leaves nothing over at its sites.
    """
    network = alignment.network
    answers = answers_of(network, alignment.algorithm)
    expected, base_answer = (
        torch.from_numpy(answers.targets(codes)).to(network.device)
        for codes in (pairs.expected, pairs.base_answer)
    )
    values = alignment.algorithm.arrays(pairs.inputs)
    ready = examples(network, values, alignment.sites)
    every = ready.rows(torch.arange(len(pairs.ids))) if strict else None
    rest = None if every is None else rest_of(alignment, every.plan, every.written)
    return Lesson(
        network,
        ready,
        alignment.featurizers,
        tuple(alignment.masks(pairs)),
        rest,
        torch.from_numpy(pairs.base),
        torch.from_numpy(pairs.source),
        expected,
        base_answer,
    )

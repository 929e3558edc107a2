"""Claims that are fitted together, and where the parameters of each are among those of all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch

from commutes.alignment import Alignment
from commutes.counterfactuals import Counterfactuals
from commutes.engine import Batch, Featurizer, Prepared, prepare_all
from commutes.evaluation import Candidates, answers_of, candidates_of, clean_answers, losses
from commutes.features import Subspace

Objective = Literal["vocabulary", "answers"]


@dataclass(frozen=True, eq=False)
class Member:
    """One claim with its pairs on its prepared network."""

    alignment: Alignment
    pairs: Counterfactuals
    prepared: Prepared
    base: torch.Tensor
    source: torch.Tensor
    masks: tuple[torch.Tensor, ...]
    targets: torch.Tensor
    """Columns of the logits that spell each pair's expected answer."""
    candidates: Candidates | None
    """The answers that the loss is over; None where it is over all that the network can answer."""
    codes: torch.Tensor
    """Output code that is expected of each pair.  # shape: (n,)"""
    weights: dict[str, torch.Tensor]

    @property
    def shape(self) -> tuple[tuple[int, int], ...]:
        """(d, k) of every learnt group."""
        return tuple((g.width, g.dimension) for g in self.alignment.groups if g.features.learnt)

    def chosen(self, rows: torch.Tensor) -> tuple[Batch, list[torch.Tensor]]:
        """The tensors of some pairs, and which coordinates they take."""
        return self.prepared.batch(self.base[rows], self.source[rows]), [mask[rows] for mask in self.masks]

    @property
    def columns(self) -> torch.Tensor | None:
        """Of the logits, those that the loss needs; None for all."""
        return None if self.candidates is None else self.candidates.columns

    def losses(self, logits: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        """Cross-entropy of some pairs to their expected answers, from logits of the columns.  # shape: (n,)"""
        if self.candidates is None:
            return losses(logits, self.targets[rows])
        return self.candidates.losses(logits, self.codes[rows])

    def maps(self, bases: Sequence[torch.Tensor]) -> list[Featurizer]:
        """The featurizers of the claim: its learnt groups with these orthonormal bases, and given maps as they are."""
        learnt = iter(bases)
        maps: list[Featurizer] = []
        for group, given in zip(self.alignment.groups, self.alignment.maps, strict=True):
            if group.features.learnt:
                basis = next(learnt)
                maps.append(Subspace(basis, basis))
            else:
                assert given is not None
                maps.append(given)
        return maps


def members_of(
    alignments: Sequence[Alignment], pairs: Sequence[Counterfactuals], *, budget: int, objective: Objective
) -> tuple[Member, ...]:
    """Prepare the claims; those about one language model and one set of pairs share its base runs.

    Args:
        alignments: The claims.
        pairs: Of each claim.
        budget: Bytes that the cached activations of all may take.
        objective: Over what the cross-entropy is.
    """
    share: dict[tuple[int, int], list[int]] = {}
    for i, (alignment, own) in enumerate(zip(alignments, pairs, strict=True)):
        together = alignment.network.language is not None
        share.setdefault((id(alignment.network), id(own) if together else -1 - i), []).append(i)
    found: dict[int, Member] = {}
    for claims in share.values():
        part = budget * len(claims) // len(alignments)
        found |= _prepared([alignments[i] for i in claims], pairs[claims[0]], claims, part, objective)
    return tuple(found[i] for i in range(len(alignments)))


def _prepared(
    alignments: Sequence[Alignment],
    pairs: Counterfactuals,
    claims: Sequence[int],
    budget: int,
    objective: Objective,
) -> dict[int, Member]:
    first = alignments[0]
    network, device = first.network, first.network.device
    ready = prepare_all(
        network,
        first.algorithm.arrays(pairs.inputs),
        [alignment.sites for alignment in alignments],
        bases=pairs.base,
        sources=pairs.source,
        budget=budget,
    )
    answers = answers_of(network, first.algorithm)
    targets = torch.from_numpy(answers.targets(pairs.expected)).to(device)
    codes = torch.from_numpy(pairs.expected).to(device)
    # Other networks than language models answer with nothing but their answers, or hardly more.
    candidates = candidates_of(answers) if objective == "answers" and network.language is not None else None
    # Before the long work: a network whose clean answers are not finite cannot be aligned.
    clean_answers(ready[0], answers)
    base, source = torch.from_numpy(pairs.base).to(device), torch.from_numpy(pairs.source).to(device)
    weights = {k: p.detach() for k, p in network.module.named_parameters()}
    weights |= {k: b.detach() for k, b in network.module.named_buffers()}
    return {
        i: Member(
            alignment,
            pairs,
            one,
            base,
            source,
            tuple(alignment.masks(pairs)),
            targets,
            candidates,
            codes,
            weights,
        )
        for i, alignment, one in zip(claims, alignments, ready, strict=True)
    }


@dataclass(frozen=True, eq=False)
class Banks:
    """Maps of equal shape lie in one tensor, a bank: (claims x starts, d, k), the starts of a claim side by side."""

    shapes: tuple[tuple[int, int, int], ...]
    """Number of the learnt group within its claim, d and k of every bank."""
    claims: tuple[tuple[int, ...], ...]
    """Of every bank, the claims whose maps it holds."""
    where: tuple[tuple[tuple[int, int], ...], ...]
    """Of every claim and learnt group, the bank and the place in it."""

    def of(self, tensors: Sequence[torch.Tensor], claim: int, start: int, starts: int) -> list[torch.Tensor]:
        """The maps of one claim's start."""
        return [tensors[bank][place * starts + start] for bank, place in self.where[claim]]


def banks_of(members: Sequence[Member]) -> Banks:
    """Where each claim's maps are."""
    shapes: dict[tuple[int, int, int], list[int]] = {}
    where: list[list[tuple[int, int]]] = []
    for claim, member in enumerate(members):
        where.append([])
        for group, (d, k) in enumerate(member.shape):
            bank = shapes.setdefault((group, d, k), [])
            where[-1].append((list(shapes).index((group, d, k)), len(bank)))
            bank.append(claim)
    return Banks(tuple(shapes), tuple(map(tuple, shapes.values())), tuple(map(tuple, where)))

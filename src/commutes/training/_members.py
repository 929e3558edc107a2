"""Claims that are fitted together, and where the parameters of each are among those of all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import torch

from commutes.alignment import Alignment, Group
from commutes.counterfactuals import Counterfactuals
from commutes.engine import Batch, Featurizer, Prepared, prepare_all, rows_within
from commutes.evaluation import (
    Answers,
    Candidates,
    answers_of,
    candidates_of,
    check_finite_logits,
    clean_answers,
    losses,
)
from commutes.features import Parametrisation

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

    @cached_property
    def parts(self) -> tuple[Parametrisation, ...]:
        """Of every learnt group, how its map is found."""
        found = (parametrised(group) for group in self.alignment.groups if group.features.learnt)
        return tuple(part for part in found if part is not None)

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

    def maps(self, solved: Sequence[torch.Tensor], progress: float | None) -> list[Featurizer]:
        """The featurizers of the claim: given maps as they are, and of its learnt groups those of solved tensors.

        Args:
            solved: Of every learnt group.
            progress: How far the fit is, from 0 to 1; None for the maps as they are measured.
        """
        learnt = iter(zip(self.parts, solved, strict=True))
        maps: list[Featurizer] = []
        for group, given in zip(self.alignment.groups, self.alignment.maps, strict=True):
            if group.features.learnt:
                part, tensor = next(learnt)
                maps.append(part.hard(tensor) if progress is None else part.map(tensor, progress))
            else:
                assert given is not None
                maps.append(given)
        return maps


def parametrised(group: Group) -> Parametrisation | None:
    """How the map of a group is found by descent, or None where it is not."""
    columns = tuple(group.columns.values())
    return group.features.parametrisation(group.width, group.coordinates, columns)


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
    base, source = torch.from_numpy(pairs.base).to(device), torch.from_numpy(pairs.source).to(device)
    weights = {k: p.detach() for k, p in network.module.named_parameters()}
    weights |= {k: b.detach() for k, b in network.module.named_buffers()}
    found = [
        Member(
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
        for alignment, one in zip(alignments, ready, strict=True)
    ]
    _check_clean(found, answers, budget)
    return dict(zip(claims, found, strict=True))


def _check_clean(members: Sequence[Member], answers: Answers, budget: int) -> None:
    """Before the long work: a network whose clean answers are not finite cannot be aligned.

    Args:
        members: Of one network.
        answers: How it answers.
        budget: Bytes of one forward.

    Raises:
        EngineError: Logits that are not finite; the first such example is named.
    """
    cones = [(m.prepared.cone.block, m) for m in members if m.prepared.cone is not None]
    if not cones:
        clean_answers(members[0].prepared, answers, budget=budget)
        return
    # Behind the last block at which an edit begins the bases' clean runs are short.
    member = max(cones, key=lambda one: one[0])[1]
    bases = torch.unique(member.base)
    maps = member.maps([part.solve(part.start(0)[None].to(bases.device))[0] for part in member.parts], None)
    prepared = member.prepared
    with torch.no_grad():
        for rows in bases.split(rows_within(prepared, budget)):
            batch = prepared.batch(rows, torch.full((len(rows), 1), -1, device=rows.device))
            nothing = [
                torch.zeros(len(rows), 1, m.shape[2], dtype=torch.bool, device=m.device) for m in member.masks
            ]
            check_finite_logits(prepared.logits(batch, maps, nothing), rows)


@dataclass(frozen=True, eq=False)
class Banks:
    """Maps that are found alike lie in one tensor, a bank: (claims x starts, ...), the starts of a claim together."""

    parts: tuple[tuple[int, Parametrisation], ...]
    """Of every bank, the number of the learnt group within its claim, and how its maps are found."""
    claims: tuple[tuple[int, ...], ...]
    """Of every bank, the claims whose maps it holds."""
    where: tuple[tuple[tuple[int, int], ...], ...]
    """Of every claim and learnt group, the bank and the place in it."""

    def of(self, tensors: Sequence[torch.Tensor], claim: int, start: int, starts: int) -> list[torch.Tensor]:
        """The maps of one claim's start."""
        return [tensors[bank][place * starts + start] for bank, place in self.where[claim]]

    def solve(self, raws: Sequence[torch.Tensor]) -> list[torch.Tensor]:
        """What the raw tensors of every bank stand for."""
        return [part.solve(raw) for (_, part), raw in zip(self.parts, raws, strict=True)]


def banks_of(members: Sequence[Member]) -> Banks:
    """Where each claim's maps are."""
    parts: dict[tuple[int, Parametrisation], list[int]] = {}
    where: list[list[tuple[int, int]]] = []
    for claim, member in enumerate(members):
        where.append([])
        for key in enumerate(member.parts):
            bank = parts.setdefault(key, [])
            where[-1].append((list(parts).index(key), len(bank)))
            bank.append(claim)
    return Banks(tuple(parts), tuple(map(tuple, parts.values())), tuple(map(tuple, where)))

"""Claims that are fitted together: those of one shape as one batch, those about one decoder as lanes of one forward."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from commutes.alignment import Alignment
from commutes.counterfactuals import Counterfactuals
from commutes.engine import Edited, Featurizer, half, logits_joined, logits_together, rows_within
from commutes.evaluation import hits, losses
from commutes.training._members import Banks, Member, Objective, banks_of, members_of
from commutes.training._memory import Piece, bytes_of_a_row, pieces
from commutes.training._stacked import Stack, kind, stack

# Pairs per forward and member where nothing is differentiated.
_CHUNK = 2048


@dataclass(frozen=True, eq=False)
class Cohort:
    """Claims that are fitted together. Parameters are one raw tensor per bank.

    A unit is one start of one claim; units are numbered claim by claim.
    """

    members: tuple[Member, ...]
    banks: Banks
    stacks: Mapping[tuple[int, ...], Stack]
    """By claims, those that run as one batch."""
    singles: tuple[int, ...]
    """The other claims: lanes of a decoder's forward, or run one by one."""
    row_bytes: Mapping[int, int]
    """Of every decoder's claim, the bytes that a pair keeps for the gradient."""
    at_once: tuple[int, ...]
    """Of every claim, how many pairs are run at once where nothing is differentiated."""
    budget: int
    """Bytes that one forward may keep for the gradient, or take without one."""

    @property
    def claims(self) -> int:
        """How many claims are fitted together."""
        return len(self.members)

    @property
    def device(self) -> torch.device:
        """Where the first network is."""
        return self.members[0].alignment.network.device

    @property
    def dtype(self) -> torch.dtype:
        """Of the maps: that of the network's weights, but single precision at least."""
        weights = [w.dtype for w in self.members[0].weights.values() if w.is_floating_point()]
        return torch.promote_types(torch.float32, weights[0]) if weights else torch.float32

    def maps(self, raws: Sequence[torch.Tensor], claim: int) -> list[Featurizer]:
        """The featurizers of a claim with these raw parameters, as they are returned; given maps as they are.

        Raises:
            AlignmentError: A map that cannot be inverted safely.
        """
        member = self.members[claim]
        learnt = (part.final(part.solve(raw[None])[0]) for part, raw in zip(member.parts, raws, strict=True))
        groups = zip(member.alignment.groups, member.alignment.maps, strict=True)
        return [next(learnt) if given is None or group.features.learnt else given for group, given in groups]

    def step(
        self,
        raws: Sequence[torch.Tensor],
        batch: int,
        starts: int,
        generators: Sequence[torch.Generator],
        progress: float = 1.0,
    ) -> tuple[torch.Tensor, list[torch.Tensor]]:
        """The loss on fresh batches, per unit, and the gradients of its sum.

        It is the cross-entropy to the expected answers, and what the maps themselves cost.

        Args:
            raws: Per bank (claims x starts, ...).
            batch: Pairs of every claim.
            starts: Starts of every claim.
            generators: One per claim: it gets the batches that it would get alone.
            progress: How far the fit is, from 0 to 1.
        """
        rows = [
            torch.randint(len(m.base), (batch,), generator=generator)
            for m, generator in zip(self.members, generators, strict=True)
        ]
        solved = self.banks.solve(raws)
        # The networks' part is differentiated piece by piece, so that one piece is in memory at a time.
        leaves = [tensor.detach().requires_grad_() for tensor in solved]
        gradients = [torch.zeros_like(leaf) for leaf in leaves]
        total = torch.zeros(self.claims * starts, device=self.device)
        for units, found in self._losses(leaves, rows, starts, progress):
            parts = torch.autograd.grad(found.sum(), leaves, allow_unused=True)
            for gradient, part in zip(gradients, parts, strict=True):
                if part is not None:
                    gradient += part
            total[units] += found.detach().to(total)
            del found, parts
        for bank, leaf in enumerate(leaves):
            cost = self.banks.parts[bank][1].penalty(leaf, progress)
            if cost is not None:
                gradients[bank] += torch.autograd.grad(cost.sum(), leaf)[0]
                total[_units(self.banks.claims[bank], starts)] += cost.detach().to(total)
        return total, list(torch.autograd.grad(solved, list(raws), gradients))

    def _losses(
        self,
        solved: Sequence[torch.Tensor],
        rows: Sequence[torch.Tensor],
        starts: int,
        progress: float,
    ) -> Iterator[tuple[list[int], torch.Tensor]]:
        """Units and their mean losses, or shares of them, one forward after the other."""
        for claims, together in self.stacks.items():
            own = [rows[c] for c in claims]
            logits = together.logits(self._bank(solved, claims, starts), own, starts, progress)
            targets = torch.stack([self.members[c].targets[r] for c, r in zip(claims, own, strict=True)])
            flat = targets.repeat_interleave(starts, dim=0)
            per_pair = losses(logits.flatten(0, 1), flat.flatten(0, 1))
            yield _units(claims, starts), per_pair.reshape(flat.shape[:2]).mean(dim=1)
        for piece in self._pieces(starts, len(rows[0])):
            columns = self.members[piece.units[0][1]].columns
            joined = logits_joined(self._edited(piece, solved, rows, starts, progress), columns=columns)
            while joined:
                members, logits = joined.pop()
                units = [piece.units[i] for i in members]
                share = self._shares(logits, [(c, rows[c][piece.rows]) for _, c in units]) / len(rows[0])
                # What the graph holds beside is let go before the next piece is run.
                del logits
                yield [unit for unit, _ in units], share
                del share

    def _shares(self, logits: torch.Tensor, parts: Sequence[tuple[int, torch.Tensor]]) -> torch.Tensor:
        """The sum of its pairs' losses for each of several claims, from the logits of one after the other."""
        if any(self.members[c].candidates is not None for c, _ in parts):
            own = logits.split([len(chosen) for _, chosen in parts])
            found = [self.members[c].losses(part, r).sum() for part, (c, r) in zip(own, parts, strict=True)]
            return torch.stack(found)
        # Taken apart, the gradients of whole vocabularies would be copied to be joined again.
        targets = torch.cat([self.members[c].targets[chosen] for c, chosen in parts])
        return losses(logits, targets).reshape(len(parts), -1).sum(dim=1)

    def _pieces(self, starts: int, rows: int) -> Iterator[Piece]:
        """Units that are no part of a stack, as many to a forward as the budget and their columns allow."""
        alike: dict[tuple[int, ...] | None, list[tuple[int, int]]] = {}
        for unit, claim in self._singles(starts):
            columns = self.members[claim].columns
            key = None if columns is None else tuple(columns.tolist())
            alike.setdefault(key, []).append((unit, claim))
        # Clean states that are not kept are there once for all lanes of a forward.
        shared = max((self.members[c].prepared.asked for c in self.row_bytes), default=0)
        for units in alike.values():
            yield from pieces(units, self.row_bytes, rows, self.budget, shared=shared)

    def hits(
        self, raws: Sequence[torch.Tensor], starts: int, progress: float | None = None
    ) -> list[np.ndarray]:
        """Of every unit, which of its claim's pairs come out as expected, through the maps as they are measured.

        Args:
            raws: Per bank (claims x starts, ...).
            starts: Starts of every claim.
            progress: Through the maps as they are at this point of a fit instead.
        """
        found: dict[int, list[np.ndarray]] = {}
        with torch.no_grad():
            solved = self.banks.solve(raws)
            for claims, together in self.stacks.items():
                for rows in self._chunks(claims):
                    logits = together.logits(self._bank(solved, claims, starts), rows, starts, progress)
                    for unit, own in zip(_units(claims, starts), logits, strict=True):
                        found.setdefault(unit, []).append(self._hit(unit // starts, own, rows, claims))
            for units in self._alike(starts):
                claims = list(dict.fromkeys(c for _, c in units))
                for rows in self._chunks(claims, share=len(units)):
                    edited = self._edited(
                        Piece(units, slice(None)),
                        solved,
                        dict(zip(claims, rows, strict=True)),
                        starts,
                        progress,
                    )
                    # In one go: a name would hold the logits while the next ones are made.
                    right = [
                        self._hit(claim, own, rows, claims)
                        for (_, claim), own in zip(units, logits_together(edited), strict=True)
                    ]
                    for (unit, _), own in zip(units, right, strict=True):
                        found.setdefault(unit, []).append(own)
        return [np.concatenate(found[u])[: len(self.members[u // starts].base)] for u in sorted(found)]

    def _hit(
        self, claim: int, logits: torch.Tensor, rows: Sequence[torch.Tensor], claims: Sequence[int]
    ) -> np.ndarray:
        targets = self.members[claim].targets[rows[claims.index(claim)]]
        return hits(logits, targets).cpu().numpy()

    def _alike(self, starts: int) -> Iterator[tuple[tuple[int, int], ...]]:
        """Units that are no part of a stack; those about one decoder and the same pairs share what they know of bases,
        as many of them as a pair of each fits into memory."""
        groups: dict[int, list[tuple[int, int]]] = {}
        for unit, claim in self._singles(starts):
            lane = claim in self.row_bytes
            groups.setdefault(id(self.members[claim].pairs) if lane else -1 - unit, []).append((unit, claim))
        for units in groups.values():
            most = max(1, min(self.at_once[c] for _, c in units))
            yield from (tuple(units[i : i + most]) for i in range(0, len(units), most))

    def _chunks(self, claims: Sequence[int], *, share: int = 1) -> Iterator[list[torch.Tensor]]:
        """All pairs of the claims, equally many of each at a time: a claim that has fewer repeats its last.

        Args:
            claims: Whose pairs.
            share: How many units are run at once with them.
        """
        members = [self.members[c] for c in claims]
        size = max(1, min(_CHUNK, *(self.at_once[c] for c in claims)) // share)
        longest = max(len(m.base) for m in members)
        for begin in range(0, longest, size):
            rows = torch.arange(begin, min(begin + size, longest))
            yield [rows.clamp(max=len(m.base) - 1) for m in members]

    def _bank(self, solved: Sequence[torch.Tensor], claims: Sequence[int], starts: int) -> list[torch.Tensor]:
        """Per learnt group the solved tensors of claims of one shape.  # shape of each: (claims x starts, ...)"""
        found = []
        for bank, _ in self.banks.where[claims[0]]:
            own = [self.banks.claims[bank].index(c) for c in claims]
            whole = own == list(range(len(self.banks.claims[bank])))
            index = [place * starts + start for place in own for start in range(starts)]
            found.append(solved[bank] if whole else solved[bank][index])
        return found

    def _singles(self, starts: int) -> list[tuple[int, int]]:
        """Units that are no part of a stack, and their claims."""
        return [(c * starts + start, c) for c in self.singles for start in range(starts)]

    def _edited(
        self,
        piece: Piece,
        solved: Sequence[torch.Tensor],
        rows: Sequence[torch.Tensor] | Mapping[int, torch.Tensor],
        starts: int,
        progress: float | None,
    ) -> list[Edited]:
        """The run of every unit of a piece."""
        chosen = {c: rows[c][piece.rows] for c in dict.fromkeys(c for _, c in piece.units)}
        maps = [
            self.members[c].maps(self.banks.of(solved, c, unit % starts, starts), progress)
            for unit, c in piece.units
        ]
        runs = {c: self.members[c].chosen(r) for c, r in chosen.items()}
        return [
            Edited(self.members[c].prepared, runs[c][0], own, runs[c][1], self.members[c].weights)
            for (_, c), own in zip(piece.units, maps, strict=True)
        ]


def _units(claims: Sequence[int], starts: int) -> list[int]:
    return [c * starts + start for c in claims for start in range(starts)]


def cohort(
    alignments: Sequence[Alignment],
    pairs: Sequence[Counterfactuals],
    *,
    budget: int,
    objective: Objective = "vocabulary",
) -> Cohort:
    """Prepare the claims: the budget is for what is kept of clean runs and for a step's forward, in equal parts."""
    members = members_of(alignments, pairs, budget=half(budget), objective=objective)
    lanes = [c for c, m in enumerate(members) if m.prepared.cone is not None]
    alike: dict[object, list[int]] = {}
    for claim, member in enumerate(members):
        # A batch of networks computes all their logits.
        if claim not in lanes and member.candidates is None:
            alike.setdefault(kind(member), []).append(claim)
    stacks = {tuple(claims): stack([members[c] for c in claims]) for claims in alike.values()}
    stacked = {claims: one for claims, one in stacks.items() if one is not None}
    together = {c for claims in stacked for c in claims}
    return Cohort(
        members,
        banks_of(members),
        stacked,
        tuple(c for c in range(len(members)) if c not in together),
        {c: bytes_of_a_row(members[c]) for c in lanes},
        tuple(rows_within(m.prepared, half(budget), slots=m.source.shape[1]) for m in members),
        half(budget),
    )

"""How much of a batch fits into memory: what a pair keeps for the gradient is counted, not guessed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch

from commutes.engine import bytes_of
from commutes.training._members import Member

Unit = tuple[int, int]
"""Number of a unit, and its claim."""


class Piece(NamedTuple):
    """Units that share a forward, and which pairs of their batches."""

    units: tuple[Unit, ...]
    rows: slice


def bytes_of_a_row(member: Member) -> int:
    """Bytes that one pair of a claim takes at most, from the beginning of its forward to the end of its backward."""
    device = member.alignment.network.device
    solved = [part.solve(part.start(0)[None].to(device))[0].requires_grad_() for part in member.parts]

    def run(rows: int) -> None:
        chosen = torch.arange(rows) % len(member.base)
        batch, masks = member.chosen(chosen)
        logits = member.prepared.logits(batch, member.maps(solved, 0.0), masks, columns=member.columns)
        torch.autograd.grad(member.losses(logits, chosen).sum(), solved, allow_unused=True)

    # What does not grow with the pairs, such as the maps, is in both.
    return bytes_of(lambda: run(2)) - bytes_of(lambda: run(1))


def pieces(
    units: Sequence[Unit], row_bytes: Mapping[int, int], rows: int, budget: int, *, shared: int = 0
) -> list[Piece]:
    """Units in order, as many to a forward as the budget allows; a unit that exceeds it alone is cut by rows.

    Args:
        units: What is to be run.
        row_bytes: By claim, the bytes of one pair; a claim that is not there shares no forward.
        rows: Pairs of a batch.
        budget: Bytes of one forward.
        shared: Bytes of one pair that the units of a forward have in common.
    """
    found: list[Piece] = []
    open_units: list[Unit] = []
    used = 0
    for unit in units:
        each = row_bytes.get(unit[1])
        needed = 0 if each is None else each * rows
        if open_units and (each is None or used + needed > budget):
            found.append(Piece(tuple(open_units), slice(0, rows)))
            open_units = []
        if not open_units:
            used = shared * rows
        if each is None:
            found.append(Piece((unit,), slice(0, rows)))
        elif used + needed > budget:
            size = max(1, budget // (shared + each))
            found.extend(Piece((unit,), slice(b, min(b + size, rows))) for b in range(0, rows, size))
        else:
            open_units.append(unit)
            used += needed
    if open_units:
        found.append(Piece(tuple(open_units), slice(0, rows)))
    return found

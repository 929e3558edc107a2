"""What an intervenable model of pyvene is called with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from commutes.engine.pyvene._place import Carrier
from commutes.engine.pyvene._twin import Twin
from commutes.network import Inputs


@dataclass(frozen=True, eq=False)
class Representation:
    """What one variable takes: one representation of pyvene's."""

    carrier: Carrier
    subspace: int | None
    """Its member of the map's partition; None where the map is its own."""
    base: torch.Tensor | None
    """Positions of every input as a base, (m, p); None for all of them."""
    source: torch.Tensor | None


def represented(carrier: Carrier, subspace: int | None, inputs: Inputs) -> Representation:
    """A representation whose positions are looked up in the inputs."""
    place = carrier.layout.places[0]
    base, source = (place.positions(inputs.values, inputs.n, source=there) for there in (False, True))
    if carrier.count is None:
        # Of (batch, features) pyvene would take neurons for positions.
        base = source = None
    return Representation(carrier, subspace, base, source)


def call(
    twin: Twin,
    inputs: Inputs,
    parts: Sequence[Representation],
    base: torch.Tensor,
    sources: Sequence[torch.Tensor | None],
) -> dict[str, Any]:
    """The arguments by name.

    Args:
        twin: What is run.
        inputs: All inputs.
        parts: The model's representations, in order.
        base: Rows of the bases.  # shape: (n,)
        sources: Per representation rows of its sources, (n,); None where it takes nothing.
    """
    here = [p.carrier.locations(_rows(p.base, base), len(base)) for p in parts]
    there = [
        None if rows is None else p.carrier.locations(_rows(p.source, rows), len(base))
        for p, rows in zip(parts, sources, strict=True)
    ]
    # The same subspace for all examples: pyvene mixes those of different examples up.
    chosen = [None if p.subspace is None else [[p.subspace]] * len(base) for p in parts]
    return {
        "base": twin.named(inputs.rows(base)),
        "sources": [None if rows is None else twin.named(inputs.rows(rows)) for rows in sources],
        "unit_locations": {"sources->base": (there, here)},
        "subspaces": None if all(c is None for c in chosen) else chosen,
    }


def _rows(table: torch.Tensor | None, rows: torch.Tensor) -> torch.Tensor | None:
    return None if table is None else table[rows.to(table.device)]

"""What is frozen is computed once per input: source states, and the states from which edited runs resume."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch

from commutes.engine._capture import captured
from commutes.engine._forward import Resume, Weights
from commutes.engine._interchange import Featurizer, SiteEdit, interchange
from commutes.engine._layout import SiteLayout, layouts
from commutes.engine._resume import resume_block
from commutes.errors import EngineError
from commutes.network import Inputs, Moment, Network, Place, Site

# Bytes that cached activations may take, unless the caller says otherwise; beyond it they are recomputed.
BUDGET = 2**30


class Batch(NamedTuple):
    """Tensors of `n` pairs. A tree of tensors only, so that batches of several fits stack."""

    args: tuple[torch.Tensor, ...]
    kwargs: dict[str, torch.Tensor]
    state: tuple[torch.Tensor, ...]
    """The state to resume from, or nothing for a whole run."""
    sources: tuple[torch.Tensor, ...]
    """Per site (n, slots, groups, d)."""
    positions: tuple[dict[int, torch.Tensor], ...]
    """Per site, by the number of the place, (n, p); places at all positions are left out."""


@dataclass(frozen=True, eq=False)
class Prepared:
    """A frozen network with its inputs encoded, its sites resolved and its clean states kept."""

    network: Network
    inputs: Inputs
    plan: Mapping[Site, SiteLayout]
    block: int | None
    """The block behind which edited runs resume; None where they run whole."""
    states: torch.Tensor | None
    """Output of that block for every input; None where runs are whole."""
    sources: Mapping[Site, torch.Tensor] | None
    """Clean states of every input at every site, (m, groups, d); None where they are beyond the budget."""
    positions: Mapping[Site, Mapping[int, torch.Tensor]]

    def batch(self, base: torch.Tensor, source: torch.Tensor) -> Batch:
        """The tensors of pairs.

        Args:
            base: Index of each pair's base input.  # shape: (n,)
            source: Index of each pair's source inputs, -1 where there is none.  # shape: (n, slots)

        Raises:
            EngineError: Indices of other shapes, or a source's clean run that is not finite.
        """
        if base.ndim != 1 or source.ndim != 2 or len(source) != len(base):
            raise EngineError(
                "bases and sources do not fit together",
                got=f"bases {tuple(base.shape)}, sources {tuple(source.shape)}",
                expected="bases (n,), sources (n, slots)",
                fix="give every base its own row of sources: nothing is broadcast",
            )
        rows = torch.where(source < 0, base.unsqueeze(1), source)
        states = () if self.states is None else (self.states[base],)
        return Batch(
            tuple(a[base] for a in self.inputs.args),
            {k: a[base] for k, a in self.inputs.kwargs.items()},
            states,
            tuple(self._sources(rows)),
            tuple({i: t[base] for i, t in self.positions[site].items()} for site in self.plan),
        )

    def _sources(self, rows: torch.Tensor) -> list[torch.Tensor]:
        if self.sources is not None:
            return [self.sources[site][rows] for site in self.plan]
        unique, inverse = torch.unique(rows, return_inverse=True)
        found = captured(self.network, self.inputs.rows(unique), self.plan, source=True)
        for site, states in found.items():
            _finite(states, site, unique)
        return [found[site][inverse] for site in self.plan]

    def logits(
        self,
        batch: Batch,
        featurizers: Sequence[Featurizer],
        masks: Sequence[torch.Tensor],
        *,
        weights: Weights | None = None,
    ) -> torch.Tensor:
        """Logits of the pairs' bases after the interchange.  # shape: (n, answers)

        Args:
            batch: What `batch` returned.
            featurizers: One map per site, in the order of `plan`.
            masks: One (n, slots, k) table per site: which coordinate comes from which source.
            weights: Parameters to run with instead of the module's own.
        """
        edits = [
            SiteEdit(layout, featurizer, sources, mask, _per_place(positions, layout))
            for layout, featurizer, sources, mask, positions in zip(
                self.plan.values(), featurizers, batch.sources, masks, batch.positions, strict=True
            )
        ]
        resume = None if self.block is None else Resume(self.block, batch.state[0])
        return interchange(self.network, batch.args, batch.kwargs, edits, weights=weights, resume=resume)


def prepare(
    network: Network, values: Mapping[str, np.ndarray], sites: Sequence[Site], *, budget: int = BUDGET
) -> Prepared:
    """Encode the inputs, resolve the sites and keep what the budget allows.

    Raises:
        NetworkError: The network is in training mode with dropout or batch statistics.
        SiteError: A position that does not exist in some example, or places of one site that overlap.
        EngineError: The clean run of an input gives NaN or infinity at a site.
    """
    network.check_mode()
    inputs = network.encode(values)
    plan = layouts(network, inputs, sites)
    # Before anything is captured: errors then name an example by its place among all inputs.
    positions = {site: _positions(layout, inputs) for site, layout in plan.items()}
    block = resume_block(network, inputs, sites)
    sources: Mapping[Site, torch.Tensor] | None = None
    states: torch.Tensor | None = None
    needed = _bytes(plan, inputs)
    if needed <= budget:
        sources = captured(network, inputs, plan, source=True)
        for site, found in sources.items():
            _finite(found, site, torch.arange(inputs.n))
        budget -= needed
    if block is not None:
        states = _block_states(network, inputs, block, budget)
        block = block if states is not None else None
    return Prepared(network, inputs, plan, block, states, sources, positions)


def _block_states(network: Network, inputs: Inputs, block: int, budget: int) -> torch.Tensor | None:
    # The whole tensor, padding and all: what a name or a position of the network's stands for is less.
    site = Site(network, (Place(Moment(network.blocks[block], "output", None, None)),))
    # The state must come back in the shape in which the block returned it, not as a site's vector.
    shape: list[tuple[int, ...]] = []
    handle = network.module.get_submodule(network.blocks[block]).register_forward_hook(
        lambda _m, _a, out: shape.append(tuple(out.shape[1:]))
    )
    try:
        plan = layouts(network, inputs, [site])
        if _bytes(plan, inputs) > budget:
            return None
        flat = captured(network, inputs, plan, source=False)[site]
    finally:
        handle.remove()
    layout = plan[site].places[0]
    moved = [shape[0][i] for i in range(len(shape[0])) if i != layout.axis - 1] + [shape[0][layout.axis - 1]]
    return flat.reshape(inputs.n, *moved).movedim(-1, layout.axis)


def _positions(layout: SiteLayout, inputs: Inputs) -> dict[int, torch.Tensor]:
    tables = {}
    found = [place.positions(inputs.values, inputs.n, source=False) for place in layout.places]
    layout.check_disjoint(found)
    for index, (place, table) in enumerate(zip(layout.places, found, strict=True)):
        if place.place.source_position is not None:
            place.positions(inputs.values, inputs.n, source=True)
        if table is not None:
            tables[index] = table.to(inputs_device(inputs))
    return tables


def inputs_device(inputs: Inputs) -> torch.device:
    """Where the encoded inputs are."""
    return next(iter((*inputs.args, *inputs.kwargs.values()))).device


def _per_place(positions: Mapping[int, torch.Tensor], layout: SiteLayout) -> tuple[torch.Tensor | None, ...]:
    return tuple(positions.get(index) for index in range(len(layout.places)))


def _bytes(plan: Mapping[Site, SiteLayout], inputs: Inputs) -> int:
    return sum(layout.groups * layout.width * inputs.n * layout.itemsize for layout in plan.values())


def _finite(states: torch.Tensor, site: Site, examples: torch.Tensor) -> None:
    bad = ~torch.isfinite(states).flatten(1).all(dim=1)
    if bool(bad.any()):
        first = int(examples[int(torch.nonzero(bad)[0])])
        raise EngineError(
            "the network's clean run is not finite",
            where=f"{site}, example {first}",
            got="NaN or infinity",
            expected="finite activations",
            fix="run the network on that example alone; the intervention is not at fault",
        )

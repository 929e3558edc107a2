"""Runs of a network whose weights change from step to step: nothing of them is kept, and gradients flow through all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace

import numpy as np
import torch

from commutes.engine import Featurizer, SiteEdit, SiteLayout, Tap, forward, interchange, layouts, observe
from commutes.engine._padding import check_padding
from commutes.network import Moment, Network, Site

Tables = tuple[torch.Tensor | None, ...]
"""Per place of a site the positions of every example, (n, p); None for all positions."""


@dataclass(frozen=True, eq=False)
class Encoded:
    """Inputs as the network takes them, with sites resolved on them. Tensors only: a step cuts many rows."""

    args: tuple[torch.Tensor, ...]
    kwargs: Mapping[str, torch.Tensor]
    plan: Mapping[Site, SiteLayout]
    written: Mapping[Site, Tables]
    """Where an example is edited as a base."""
    read: Mapping[Site, Tables]
    """Where it is read as a source."""
    together: int
    """Examples that are run at once where nothing is differentiated."""

    def rows(self, index: torch.Tensor) -> Encoded:
        """The examples at `index`, repeated and reordered as it says."""
        return replace(
            self,
            args=tuple(a[index] for a in self.args),
            kwargs={name: a[index] for name, a in self.kwargs.items()},
            written=_rows_of(self.written, index),
            read=_rows_of(self.read, index),
        )


def encoded(network: Network, values: Mapping[str, np.ndarray], sites: Sequence[Site]) -> Encoded:
    """Encode inputs and resolve the sites on them.

    Raises:
        NetworkError: The network is in training mode, cannot encode the inputs, or answers a prompt otherwise where it
            is padded.
        SiteError: A position that does not exist in some example, or places of one site that overlap.
    """
    inputs = network.encode(values)
    plan = layouts(network, inputs, sites)
    written, read = (
        {
            site: tuple(place.positions(inputs.values, inputs.n, source=source) for place in layout.places)
            for site, layout in plan.items()
        }
        for source in (False, True)
    )
    for site, layout in plan.items():
        layout.check_disjoint(written[site])
    check_padding(network, inputs)
    return Encoded(inputs.args, inputs.kwargs, plan, written, read, network.batch_size(inputs))


@dataclass(frozen=True, eq=False)
class Examples:
    """The distinct inputs of some pairs, ready to be run whatever the weights are."""

    network: Network
    sites: tuple[Site, ...]
    values: Mapping[str, np.ndarray]
    kept: Encoded | None
    """All of them encoded; None where that depends on the weights, so that every batch is encoded anew."""

    def rows(self, index: torch.Tensor) -> Encoded:
        """The examples at `index`, as the network reads them under its present weights."""
        if self.kept is not None:
            return self.kept.rows(index)
        where = index.numpy()
        values = {name: column[where] for name, column in self.values.items()}
        return encoded(self.network, values, self.sites)


def examples(network: Network, values: Mapping[str, np.ndarray], sites: Sequence[Site]) -> Examples:
    """Encode inputs once, or as often as the encoding changes.

    A language model whose answers have several tokens reads its own answer behind the prompt: once it is trained that
    is another one.
    """
    whole = encoded(network, values, sites)
    feeds_itself = network.language is not None and network.language.prompt.fed > 0
    return Examples(network, tuple(sites), values, None if feeds_itself else whole)


def clean_states(network: Network, part: Encoded, *, gradient: bool) -> list[torch.Tensor]:
    """Per site the states of a clean run, read as sources; run only as far as the last of them.

    Args:
        network: Whose module is run.
        part: The examples.
        gradient: Whether the states are functions of the weights, or constants.

    Returns:
        Shape of each: (n, groups, d).
    """
    found: dict[Site, list[torch.Tensor | None]] = {s: [None] * len(s.places) for s in part.plan}
    wanted: dict[Moment, list[tuple[Site, int]]] = {}
    for site in part.plan:
        for index, place in enumerate(site.places):
            wanted.setdefault(place.moment, []).append((site, index))

    def keep(places: Sequence[tuple[Site, int]]) -> Tap:
        def tap(tensor: torch.Tensor) -> None:
            for site, index in places:
                state = part.plan[site].places[index].read(tensor, part.read[site][index])
                # A copy: the network may go on to write into the tensor in place.
                found[site][index] = state.clone().to(network.device)

        return tap

    with nullcontext() if gradient else torch.no_grad():
        taps = {moment: keep(places) for moment, places in wanted.items()}
        observe(network, part.args, part.kwargs, taps=taps)
    return [part.plan[site].join([p for p in parts if p is not None]) for site, parts in found.items()]


def plain_logits(network: Network, part: Encoded) -> torch.Tensor:
    """Logits without intervention.  # shape: (n, answers), or (n, tokens, vocabulary)"""
    return forward(network, part.args, part.kwargs, taps={})


def edited_logits(
    network: Network,
    bases: Encoded,
    maps: Sequence[Featurizer],
    sources: Sequence[torch.Tensor],
    masks: Sequence[torch.Tensor],
) -> torch.Tensor:
    """Logits after an interchange.  # shape: (n, answers), or (n, tokens, vocabulary)

    Args:
        network: Whose module is run.
        bases: The examples.
        maps: One per site.
        sources: Per site, what is taken.  # shape of each: (n, slots, groups, d)
        masks: Per site, which coordinate comes from which slot.  # shape of each: (n, slots, k)
    """
    edits = [
        SiteEdit(layout, featurizer, source, mask, bases.written[site])
        for (site, layout), featurizer, source, mask in zip(
            bases.plan.items(), maps, sources, masks, strict=True
        )
    ]
    return interchange(network, bases.args, bases.kwargs, edits)


def _rows_of(tables: Mapping[Site, Tables], index: torch.Tensor) -> dict[Site, Tables]:
    return {
        site: tuple(None if table is None else table[index] for table in found)
        for site, found in tables.items()
    }

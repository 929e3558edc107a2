"""Run inputs and keep the activations that are asked for, stopping after the last of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch

from commutes.engine._forward import observe
from commutes.engine._layout import SiteLayout, layouts
from commutes.engine._taps import Tap
from commutes.network import Inputs, Moment, Network, Site


def capture(
    network: Network,
    values: Mapping[str, np.ndarray],
    sites: Sequence[Site],
    *,
    source: bool = False,
    chunk: int | None = None,
) -> dict[Site, torch.Tensor]:
    """The clean activations of the sites.  # shape of each: (n, groups, width)

    Args:
        network: Whose module is run, without gradient.
        values: Inputs by name, as `Algorithm.arrays` gives them.
        sites: What to keep.
        source: Whether to read at the source's positions where they differ.
        chunk: Examples per forward; the network's own number by default.

    Raises:
        NetworkError: The network is in training mode with dropout or batch statistics.
        SiteError: A site that holds no activations, or a part or position that does not exist.
        EngineError: A module that runs less or more often than declared.
    """
    network.check_mode()
    inputs = network.encode(values)
    return captured(network, inputs, layouts(network, inputs, sites), source=source, chunk=chunk)


def captured(
    network: Network,
    inputs: Inputs,
    plan: Mapping[Site, SiteLayout],
    *,
    source: bool,
    chunk: int | None = None,
) -> dict[Site, torch.Tensor]:
    """`capture` for inputs that are encoded and sites that are resolved."""
    pieces: dict[Site, list[torch.Tensor]] = {site: [] for site in plan}
    size = chunk or network.batch_size(inputs)
    for start in range(0, inputs.n, size):
        batch = inputs.rows(torch.arange(start, min(start + size, inputs.n)))
        for site, state in _batch(network, batch, plan, source=source).items():
            pieces[site].append(state)
    return {site: torch.cat(parts) for site, parts in pieces.items()}


def _batch(
    network: Network, batch: Inputs, plan: Mapping[Site, SiteLayout], *, source: bool
) -> dict[Site, torch.Tensor]:
    found: dict[Site, list[torch.Tensor | None]] = {s: [None] * len(s.places) for s in plan}
    wanted: dict[Moment, list[tuple[Site, int]]] = {}
    for site in plan:
        for index, place in enumerate(site.places):
            wanted.setdefault(place.moment, []).append((site, index))

    def keep(moment: Moment) -> Tap:
        def tap(tensor: torch.Tensor) -> None:
            for site, index in wanted[moment]:
                layout = plan[site].places[index]
                positions = layout.positions(batch.values, batch.n, source=source)
                # A copy: the network may go on to write into the tensor in place.
                found[site][index] = layout.read(tensor.detach(), positions).clone().to(network.device)

        return tap

    with torch.no_grad():
        observe(network, batch.args, batch.kwargs, taps={m: keep(m) for m in wanted})
    return {site: plan[site].join([p for p in parts if p is not None]) for site, parts in found.items()}

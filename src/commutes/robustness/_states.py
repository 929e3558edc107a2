"""Clean states at a site, a few inputs at a time."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from commutes.engine import Prepared, captured
from commutes.network import Site

# Inputs whose states are held at once.
_AT_ONCE = 2048


def clean_states(
    prepared: Prepared, site: Site, *, source: bool = False
) -> Iterator[tuple[slice, torch.Tensor]]:
    """The site's clean state in every distinct input, with which inputs they are.  # shape: (n, groups, d)

    Args:
        prepared: The network with its inputs.
        site: One of those that it was prepared for.
        source: Whether to read at the source's positions where they differ.
    """
    number = list(prepared.plan).index(site)
    kept = source or all(place.source_position is None for place in site.places)
    for start in range(0, prepared.inputs.n, _AT_ONCE):
        rows = torch.arange(start, min(start + _AT_ONCE, prepared.inputs.n))
        if kept:
            states = prepared.batch(rows, rows.unsqueeze(1)).sources[number][:, 0]
        else:
            plan = {site: prepared.plan[site]}
            states = captured(prepared.network, prepared.inputs.rows(rows), plan, source=source)[site]
        yield slice(start, start + len(rows)), states

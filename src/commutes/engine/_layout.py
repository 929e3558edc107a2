"""Reading a site's vector out of tensors, and putting it back, without changing anything in place."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from commutes.engine._taps import Tap, tapped
from commutes.errors import SiteError
from commutes.network import Inputs, Moment, Network, Place, Site


@dataclass(frozen=True, eq=False)
class PlaceLayout:
    """A place resolved on a network: which axis, which features, how many positions."""

    place: Place
    axis: int
    shape: tuple[int, ...]
    """Shape of one example's tensor, without the batch."""
    features: torch.Tensor | None
    """Indices on the feature axis; None is all of them in order."""
    itemsize: int = 4
    """Bytes of one number."""

    @property
    def width(self) -> int:
        """Features of the place at each position."""
        return self.shape[self.axis - 1] if self.features is None else len(self.features)

    @property
    def all_features(self) -> list[int]:
        """Indices on the feature axis, also where they are all of them."""
        return list(range(self.width)) if self.features is None else self.features.tolist()

    @property
    def length(self) -> int:
        """Positions of the tensor."""
        return math.prod(self.shape) // self.shape[self.axis - 1]

    def positions(self, values: Mapping[str, np.ndarray], n: int, *, source: bool) -> torch.Tensor | None:
        """Positions per example.  # shape: (n, p), or None for all of them."""
        return self.place.positions(values, n, self.length, source=source)

    def read(self, tensor: torch.Tensor, positions: torch.Tensor | None) -> torch.Tensor:
        """The place's coordinates.  # shape: (n, p, width)"""
        flat = self._flat(tensor)
        if positions is not None:
            index = positions.to(flat.device).unsqueeze(-1)
            flat = flat.gather(1, index.expand(-1, -1, flat.shape[-1]))
        return flat if self.features is None else flat.index_select(-1, self.features.to(flat.device))

    def write(self, tensor: torch.Tensor, positions: torch.Tensor | None, new: torch.Tensor) -> torch.Tensor:
        """A tensor like `tensor` with the place's coordinates replaced by `new`, (n, p, width)."""
        flat = self._flat(tensor)
        # In a model over several devices the tensor's own is where the state is needed.
        new = new.to(flat)
        features = None if self.features is None else self.features.to(flat.device)
        if positions is None:
            rows = new if features is None else flat.index_copy(-1, features, new)
        else:
            index = positions.to(flat.device).unsqueeze(-1).expand(-1, -1, flat.shape[-1])
            rows = new if features is None else flat.gather(1, index).index_copy(-1, features, new)
            rows = flat.scatter(1, index, rows)
        moved = tensor.movedim(self.axis, -1)
        return rows.reshape(moved.shape).movedim(-1, self.axis)

    def _flat(self, tensor: torch.Tensor) -> torch.Tensor:
        moved = tensor.movedim(self.axis, -1)
        return moved.reshape(moved.shape[0], -1, moved.shape[-1])


@dataclass(frozen=True, eq=False)
class SiteLayout:
    """A site resolved on a network: places, groups (1, or the positions with each=True), width."""

    site: Site
    places: tuple[PlaceLayout, ...]
    groups: int
    width: int

    @property
    def itemsize(self) -> int:
        """Bytes of one number, the largest among the places."""
        return max(place.itemsize for place in self.places)

    def check_disjoint(self, positions: Sequence[torch.Tensor | None]) -> None:
        """Refuse places of one tensor that share a coordinate: what one writes the other would overwrite.

        Args:
            positions: Per place (n, p), or None for all positions.

        Raises:
            SiteError: Two places share features at a position; the first such example is named.
        """
        for i, first in enumerate(self.places):
            for j in range(i + 1, len(self.places)):
                second = self.places[j]
                shared = set(first.all_features) & set(second.all_features)
                if first.place.moment != second.place.moment or not shared:
                    continue
                row = _meeting(positions[i], positions[j])
                if row is not None:
                    raise SiteError(
                        "two places of one site overlap",
                        where=str(self.site),
                        got=f"feature {min(shared)} twice at one position, example {row}",
                        expected="places that share no coordinate",
                        fix="name each coordinate once",
                    )

    def join(self, parts: Sequence[torch.Tensor]) -> torch.Tensor:
        """The site's vectors from what its places read.  # shape: (n, groups, width)"""
        if self.site.each:
            return torch.cat(list(parts), dim=1) if len(parts) > 1 else parts[0]
        flat = [part.reshape(part.shape[0], 1, -1) for part in parts]
        return torch.cat(flat, dim=-1) if len(flat) > 1 else flat[0]

    def parts(self, vectors: torch.Tensor, counts: Sequence[int]) -> list[torch.Tensor]:
        """The inverse of `join`, for places that have `counts` positions each."""
        n = vectors.shape[0]
        if self.site.each:
            return list(vectors.split(list(counts), dim=1))
        sizes = [c * p.width for c, p in zip(counts, self.places, strict=True)]
        pieces = vectors.reshape(n, -1).split(sizes, dim=-1)
        return [piece.reshape(n, c, p.width) for piece, c, p in zip(pieces, counts, self.places, strict=True)]


def layouts(network: Network, inputs: Inputs, sites: Sequence[Site]) -> dict[Site, SiteLayout]:
    """Resolve the sites by running one example.

    Raises:
        SiteError: A site that holds no activations, or a part or position that does not exist.
        EngineError: A module that runs less or more often than declared.
        NetworkError: The network is in training mode, in which even this run could change its statistics.
    """
    network.check_mode()
    one = inputs.rows(torch.zeros(1, dtype=torch.long))
    found: dict[Moment, torch.Tensor] = {}

    def watch(moment: Moment) -> Tap:
        def tap(tensor: torch.Tensor) -> None:
            # On no device: only shape and type are asked of it later.
            found[moment] = tensor.detach().to("meta")

        return tap

    moments = dict.fromkeys(moment for site in sites for moment in site.moments)

    def run() -> object:
        return network.module(*one.args, **one.kwargs, **network.options)

    with torch.no_grad(), tapped(network, {m: watch(m) for m in moments}, again=run):
        run()
    return {site: _site_layout(site, [found[p.moment] for p in site.places], one, network) for site in sites}


def _meeting(first: torch.Tensor | None, second: torch.Tensor | None) -> int | None:
    """The first example in which two tables of positions have one in common."""
    if first is None or second is None:
        return 0
    rows = (first.unsqueeze(2) == second.unsqueeze(1)).flatten(1).any(dim=1)
    return int(torch.nonzero(rows)[0]) if bool(rows.any()) else None


def _site_layout(site: Site, tensors: Sequence[torch.Tensor], one: Inputs, network: Network) -> SiteLayout:
    places = []
    counts = []
    for place, tensor in zip(site.places, tensors, strict=True):
        shape = tuple(tensor.shape)
        if len(shape) < 2 or shape[0] != 1:
            raise SiteError(
                "the site's tensor has no batch axis",
                where=str(place),
                got=f"shape {shape} for one example",
                expected="(batch, ...) with the batch first",
            )
        axis = place.feature_axis(len(shape))
        features = place.features(shape[axis])
        index = None if features is None else torch.tensor(features, device=network.device)
        layout = PlaceLayout(place, axis, shape[1:], index, tensor.element_size())
        base = layout.positions(one.values, 1, source=False)
        source = layout.positions(one.values, 1, source=True)
        counts.append(layout.length if base is None else base.shape[1])
        there = layout.length if source is None else source.shape[1]
        if there != counts[-1]:
            raise SiteError(
                "base and source positions differ in number",
                where=str(place),
                got=f"{counts[-1]} in the base, {there} in the source",
                expected="as many positions in the source as in the base",
            )
        places.append(layout)
    if site.each:
        widths = {p.width for p in places}
        if len(widths) > 1:
            raise SiteError(
                "each=True shares one map, so all places must be equally wide",
                where=str(site),
                got=f"widths {sorted(widths)}",
                expected="one width",
            )
        return SiteLayout(site, tuple(places), sum(counts), widths.pop())
    return SiteLayout(site, tuple(places), 1, sum(c * p.width for c, p in zip(counts, places, strict=True)))

"""Interchange interventions: the base, with coordinates of its sites taken from the sources.

h' = h + D Eᵀ (h_source - h) for the linear case: h is the state of the edited base run as it arrives at the site,
h_source comes from a clean run of the source, and all variables of one site are written together.
See Causal Abstractions of Neural Networks, arXiv 2106.02997; Finding Alignments Between Interpretable Causal
Variables and Distributed Neural Representations, arXiv 2303.02536.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch

from commutes.engine._forward import Resume, Weights, forward, observe
from commutes.engine._layout import SiteLayout
from commutes.engine._taps import Tap
from commutes.network import Moment, Network


class Featurizer(Protocol):
    """What the engine needs of a map: coordinates of a state, and the state with other coordinates."""

    def read(self, state: torch.Tensor, /) -> torch.Tensor:
        """Coordinates of the states.  # (n, groups, d) -> (n, groups, k)"""
        ...

    def write(self, state: torch.Tensor, old: torch.Tensor, new: torch.Tensor, /) -> torch.Tensor:
        """The states whose coordinates were `old`, with `new` instead; what is not read stays as it was."""
        ...


@dataclass(frozen=True, eq=False)
class SiteEdit:
    """What happens at one site: which coordinates come from which source.

    Shapes: `sources` (n, slots, groups, d), clean states; `masks` (n, slots, k), True where a coordinate is taken
    from that slot; `positions` one (n, p) table per place, or None for all positions.
    """

    layout: SiteLayout
    featurizer: Featurizer
    sources: torch.Tensor
    masks: torch.Tensor
    positions: tuple[torch.Tensor | None, ...]

    def swapped(self, state: torch.Tensor) -> torch.Tensor:
        """The states after the interchange.  # (n, groups, d) -> (n, groups, d)"""
        old = self.featurizer.read(state)
        new = old
        for slot in range(self.sources.shape[1]):
            coordinates = self.featurizer.read(self.sources[:, slot])
            new = torch.where(self.masks[:, slot].unsqueeze(1), coordinates, new)
        return self.featurizer.write(state, old, new)


def interchange(
    network: Network,
    args: Sequence[torch.Tensor],
    kwargs: Mapping[str, torch.Tensor],
    edits: Sequence[SiteEdit],
    *,
    weights: Weights | None = None,
    resume: Resume | None = None,
) -> torch.Tensor:
    """Logits of the base inputs after the edits.  # shape: (n, answers)

    A site at one moment is edited as its tensor arrives. A site that spans several moments (two blocks, two steps
    of a recurrent cell) has no such instant: its vector is read in a run that has all the other edits, and the change
    is then added at each moment.
    """
    at_once = [edit for edit in edits if len(edit.layout.site.moments) == 1]
    spread = [edit for edit in edits if len(edit.layout.site.moments) > 1]
    taps: dict[Moment, list[Tap]] = {}
    for edit in at_once:
        taps.setdefault(edit.layout.site.moments[0], []).append(_swap_tap(edit))
    if spread:
        changes = _spread_changes(network, args, kwargs, spread, taps, weights, resume)
        for edit, change in zip(spread, changes, strict=True):
            _add_taps(edit, change, taps)
    return forward(
        network,
        args,
        kwargs,
        taps={m: _in_turn(fs) for m, fs in taps.items()},
        weights=weights,
        resume=resume,
    )


def _swap_tap(edit: SiteEdit) -> Tap:
    def tap(tensor: torch.Tensor) -> torch.Tensor:
        read = [
            place.read(tensor, positions)
            for place, positions in zip(edit.layout.places, edit.positions, strict=True)
        ]
        after = edit.layout.parts(edit.swapped(edit.layout.join(read)), [r.shape[1] for r in read])
        for place, positions, new in zip(edit.layout.places, edit.positions, after, strict=True):
            tensor = place.write(tensor, positions, new)
        return tensor

    return tap


def _spread_changes(
    network: Network,
    args: Sequence[torch.Tensor],
    kwargs: Mapping[str, torch.Tensor],
    spread: Sequence[SiteEdit],
    others: Mapping[Moment, Sequence[Tap]],
    weights: Weights | None,
    resume: Resume | None,
) -> list[list[torch.Tensor]]:
    """How far each place of each spread site must move.  # shape of each: (n, p, width)"""
    seen: dict[tuple[int, int], torch.Tensor] = {}
    taps: dict[Moment, list[Tap]] = {moment: list(fs) for moment, fs in others.items()}
    for e, edit in enumerate(spread):
        for p, place in enumerate(edit.layout.places):

            def look(tensor: torch.Tensor, e: int = e, p: int = p, edit: SiteEdit = edit) -> None:
                seen[e, p] = edit.layout.places[p].read(tensor, edit.positions[p])

            taps.setdefault(place.place.moment, []).append(look)
    observe(
        network,
        args,
        kwargs,
        taps={m: _in_turn(fs) for m, fs in taps.items()},
        weights=weights,
        resume=resume,
    )
    changes = []
    for e, edit in enumerate(spread):
        read = [seen[e, p] for p in range(len(edit.layout.places))]
        before = edit.layout.join(read)
        moved = edit.swapped(before) - before
        changes.append(edit.layout.parts(moved, [r.shape[1] for r in read]))
    return changes


def _add_taps(edit: SiteEdit, changes: Sequence[torch.Tensor], taps: dict[Moment, list[Tap]]) -> None:
    for place, positions, change in zip(edit.layout.places, edit.positions, changes, strict=True):

        def add(tensor: torch.Tensor, place=place, positions=positions, change=change) -> torch.Tensor:  # noqa: ANN001
            return place.write(tensor, positions, place.read(tensor, positions) + change)

        taps.setdefault(place.place.moment, []).append(add)


def _in_turn(functions: Sequence[Tap]) -> Tap:
    def tap(tensor: torch.Tensor) -> torch.Tensor | None:
        changed: torch.Tensor | None = None
        for function in functions:
            new = function(tensor if changed is None else changed)
            changed = new if new is not None else changed
        return changed

    return tap

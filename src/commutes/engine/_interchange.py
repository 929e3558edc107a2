"""Interchange interventions: the base, with coordinates of its sites taken from the sources.

h' = h + D Eᵀ (h_source - h) for the linear case: h is the state of the edited base run as it arrives at the
site, h_source comes from a clean run of the source, and all variables of one site are written together.
See Causal Abstractions of Neural Networks, arXiv 2106.02997; Finding Alignments Between Interpretable Causal
Variables and Distributed Neural Representations, arXiv 2303.02536.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch

from commutes.engine._forward import Start, Weights, forward, observe
from commutes.engine._layout import SiteLayout
from commutes.engine._taps import Tap
from commutes.errors import EngineError
from commutes.network import Moment, Network


class Featurizer(Protocol):
    """What the engine needs of a map: coordinates of a state, and the state with other coordinates."""

    def read(self, state: torch.Tensor, /) -> torch.Tensor:
        """Coordinates of the states.  # (n, groups, d) -> (n, groups, k)"""
        ...

    def write(self, state: torch.Tensor, old: torch.Tensor, new: torch.Tensor, /) -> torch.Tensor:
        """The states whose coordinates were `old`, with `new` instead; what is not read stays as it was."""
        ...


class Unmapped:
    """All coordinates as they are."""

    def read(self, state: torch.Tensor, /) -> torch.Tensor:
        """The state."""
        return state

    def write(self, state: torch.Tensor, old: torch.Tensor, new: torch.Tensor, /) -> torch.Tensor:
        """The new coordinates, in the state's own type."""
        return new.to(state.dtype)


@dataclass(frozen=True, eq=False)
class SiteEdit:
    """What happens at one site: which coordinates come from which source.

    Shapes: `sources` (n, slots, groups, d), clean states; `masks` (n, slots, k), True where a coordinate is
    taken from that slot; `positions` one (n, p) table per place, or None for all positions.
    """

    layout: SiteLayout
    featurizer: Featurizer
    sources: torch.Tensor
    masks: torch.Tensor
    positions: tuple[torch.Tensor | None, ...]
    rows: slice | None = None
    """The rows of the batch that it concerns, where it is run with others; all by default."""

    def swapped(self, state: torch.Tensor) -> torch.Tensor:
        """The states after the interchange.  # (n, groups, d) -> (n, groups, d)

        Raises:
            EngineError: Sources or masks of another shape; they are never broadcast.
        """
        # One layout for bases and sources: a product of the same numbers in another layout rounds otherwise,
        # and a base that is swapped with itself would move.
        state = state.contiguous()
        old = self.featurizer.read(state)
        self._check_shapes(state, old)
        new = old
        for slot in range(self.sources.shape[1]):
            coordinates = self.featurizer.read(self.sources[:, slot].contiguous())
            new = torch.where(self.masks[:, slot].unsqueeze(1), coordinates, new)
        return self.featurizer.write(state, old, new)

    def _check_shapes(self, state: torch.Tensor, old: torch.Tensor) -> None:
        slots = self.sources.shape[1] if self.sources.ndim == 4 else 1
        sources, masks = (state.shape[0], slots, *state.shape[1:]), (state.shape[0], slots, old.shape[-1])
        if tuple(self.sources.shape) != sources or tuple(self.masks.shape) != masks:
            raise EngineError(
                "sources and masks do not fit the bases",
                where=str(self.layout.site),
                got=f"sources {tuple(self.sources.shape)}, masks {tuple(self.masks.shape)}",
                expected=f"sources {sources}, masks {masks}",
                fix="give every pair its own sources and masks: nothing is broadcast",
            )


def interchange(
    network: Network,
    args: Sequence[torch.Tensor],
    kwargs: Mapping[str, torch.Tensor],
    edits: Sequence[SiteEdit],
    *,
    weights: Weights | None = None,
    start: Start | None = None,
    columns: torch.Tensor | None = None,
) -> torch.Tensor:
    """Logits of the base inputs after the edits.  # shape: (n, answers), or (n, tokens, vocabulary)

    A site is edited as its tensors arrive. A site that spans several moments (two blocks, two steps of a
    recurrent cell) is read and written moment by moment: what has arrived counts as it arrived, what is still
    to come counts as it stands in a run that has the edits of all sites at one moment. So neurons, or a whole
    state, come out as the source's at every moment; a partial rotation moves each place by its share.
    """
    at_once = [edit for edit in edits if len(edit.layout.site.moments) == 1]
    spread = [edit for edit in edits if len(edit.layout.site.moments) > 1]
    taps: dict[Moment, list[Tap]] = {}
    for edit in at_once:
        _add_taps(edit, [None] * len(edit.layout.places), taps)
    if spread:
        standing = _standing_states(network, args, kwargs, spread, taps, weights, start)
        for edit, states in zip(spread, standing, strict=True):
            _add_taps(edit, states, taps)
    return forward(
        network,
        args,
        kwargs,
        taps={m: _in_turn(fs) for m, fs in taps.items()},
        weights=weights,
        start=start,
        columns=columns,
    )


def _add_taps(edit: SiteEdit, standing: Sequence[torch.Tensor | None], taps: dict[Moment, list[Tap]]) -> None:
    """One tap per moment of the site. `standing` has the states of the places that have not arrived yet."""
    places, states = edit.layout.places, list(standing)

    def at(moment: Moment) -> Tap:
        here = [p for p, place in enumerate(places) if place.place.moment == moment]

        def tap(whole: torch.Tensor) -> torch.Tensor:
            tensor = whole if edit.rows is None else whole[edit.rows]
            for p in here:
                found = places[p].read(tensor, edit.positions[p]).to(edit.sources.device)
                # A copy for the later moments: until then the network may write into the tensor in place.
                states[p] = found.clone() if len(here) < len(places) else found
            read = [state for state in states if state is not None]
            after = edit.layout.parts(edit.swapped(edit.layout.join(read)), [r.shape[1] for r in read])
            for p in here:
                tensor = places[p].write(tensor, edit.positions[p], after[p])
            if edit.rows is None or len(tensor) == len(whole):
                return tensor
            return torch.cat([whole[: edit.rows.start], tensor, whole[edit.rows.stop :]])

        return tap

    for moment in edit.layout.site.moments:
        taps.setdefault(moment, []).append(at(moment))


def _standing_states(
    network: Network,
    args: Sequence[torch.Tensor],
    kwargs: Mapping[str, torch.Tensor],
    spread: Sequence[SiteEdit],
    others: Mapping[Moment, Sequence[Tap]],
    weights: Weights | None,
    start: Start | None,
) -> list[list[torch.Tensor]]:
    """The places of the spread sites in a run that has the other edits.  # shape of each: (n, p, width)"""
    seen: dict[tuple[int, int], torch.Tensor] = {}
    taps: dict[Moment, list[Tap]] = {moment: list(fs) for moment, fs in others.items()}
    for e, edit in enumerate(spread):
        for p, place in enumerate(edit.layout.places):

            def look(tensor: torch.Tensor, e: int = e, p: int = p, edit: SiteEdit = edit) -> None:
                # A copy: the network may go on to write into the tensor in place.
                rows = tensor if edit.rows is None else tensor[edit.rows]
                seen[e, p] = edit.layout.places[p].read(rows, edit.positions[p]).clone()

            taps.setdefault(place.place.moment, []).append(look)
    observe(
        network,
        args,
        kwargs,
        taps={m: _in_turn(fs) for m, fs in taps.items()},
        weights=weights,
        start=start,
    )
    return [[seen[e, p] for p in range(len(edit.layout.places))] for e, edit in enumerate(spread)]


def _in_turn(functions: Sequence[Tap]) -> Tap:
    def tap(tensor: torch.Tensor) -> torch.Tensor | None:
        changed: torch.Tensor | None = None
        for function in functions:
            new = function(tensor if changed is None else changed)
            changed = new if new is not None else changed
        return changed

    return tap

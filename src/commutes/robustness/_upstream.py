"""What comes before the sites of an alignment, and runs in which some of it was taken from another input."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import torch

from commutes.engine import Prepared, observe, prepare, rows_within
from commutes.errors import CommutesError, EngineError, NetworkError, SiteError
from commutes.features import Neurons
from commutes.network import Moment, Network, Place, Site
from commutes.robustness._case import Case
from commutes.robustness._resampling import order


class Nothing(NamedTuple):
    """There is no such place."""

    reason: str


class Run(NamedTuple):
    """Some inputs after something was taken upstream."""

    rows: slice
    states: dict[Site, torch.Tensor]
    """At every site of the alignment, as they arrive.  # shape of each: (n, groups, d)"""
    logits: torch.Tensor


@dataclass(frozen=True, eq=False)
class Upstream:
    """A network prepared to have units taken before the first site of an alignment, and to look at all its sites."""

    site: Site
    prepared: Prepared
    sites: tuple[Site, ...]
    room: int

    @property
    def units(self) -> int:
        """How many there are in every input."""
        layout = self.prepared.plan[self.site]
        return layout.groups * layout.width

    def runs(self, base: np.ndarray, source: np.ndarray, units: torch.Tensor | None) -> Iterator[Run]:
        """The bases with some of their units from other inputs, a few at a time and in order.

        Args:
            base: Inputs of the test part.  # shape: (n,)
            source: Others.  # shape: (n,)
            units: Which are taken, (n, units); None is none.
        """
        device, size = self.prepared.network.device, rows_within(self.prepared, self.room)
        width = self.prepared.plan[self.site].width
        every = Neurons(torch.arange(width, device=device))
        for start in range(0, len(base), size):
            rows = slice(start, min(start + size, len(base)))
            n = rows.stop - rows.start
            batch = self.prepared.batch(
                torch.from_numpy(base[rows]), torch.from_numpy(source[rows]).unsqueeze(1)
            )
            taken = torch.zeros(n, 1, width, dtype=torch.bool) if units is None else units[rows].unsqueeze(1)
            notes = [_Note() for _ in self.sites]
            empty = torch.zeros(n, 1, 0, dtype=torch.bool, device=device)
            with torch.no_grad():
                logits = self.prepared.logits(
                    batch, [every, *notes], [taken.to(device), *[empty] * len(notes)]
                )
            yield Run(rows, dict(zip(self.sites, [note.state for note in notes], strict=True)), logits)


class _Note:
    """A map that changes nothing and notes the state that it is written into."""

    def __init__(self) -> None:
        self.state = torch.zeros(0)

    def read(self, state: torch.Tensor, /) -> torch.Tensor:
        return state[..., :0]

    def write(self, state: torch.Tensor, old: torch.Tensor, new: torch.Tensor, /) -> torch.Tensor:
        # A copy: the network may go on to write into the tensor in place.
        self.state = state.clone()
        return state


def upstream(case: Case) -> Upstream | Nothing:
    """The output of the block before the first site, or the input of the first block, or of the site's own module."""
    alignment = case.alignment
    network, first = alignment.network, min(alignment.sites, key=order(case).__getitem__)
    why: CommutesError | None = None
    values = alignment.algorithm.arrays(case.test.inputs)
    sites = tuple(dict.fromkeys(alignment.sites))
    for moment in _moments(network, alignment.sites, first):
        for site in _sites(network, moment, first):
            try:
                prepared = prepare(network, values, [site, *sites], budget=case.bench.room)
            except (SiteError, EngineError, NetworkError) as error:
                why = why or error
                continue
            if prepared.plan[site].groups != 1:
                continue
            return Upstream(site, prepared, sites, case.bench.room)
    found = "" if why is None else f": {why.what}, {why.got}"
    return Nothing(f"what comes before {first} cannot be taken from another input{found}")


def _moments(network: Network, sites: Sequence[Site], first: Site) -> list[Moment]:
    """Where units may be taken, in the order in which they are tried."""
    owners = [_block(network, moment) for site in sites for moment in site.moments]
    if network.blocks and all(owner is not None for owner in owners):
        block = min(owner for owner in owners if owner is not None)
        if block > 0:
            return _members(Moment(network.blocks[block - 1], "output", None, None))
        if block == 0:
            return _members(Moment(network.blocks[0], "input", None, None))
    moment = first.moments[0]
    path = moment.path if moment.side == "output" else ""
    return _members(replace(moment, path=path, side="input", item=None))


def _members(moment: Moment) -> list[Moment]:
    """The moment, and the first member where it is a tuple or where the module has several arguments."""
    named = [replace(moment, item="hidden_states")] if moment.side == "input" else []
    return [moment, replace(moment, item=0), *named]


def _block(network: Network, moment: Moment) -> int | None:
    """The block in which a moment lies; a block's input is the output of the one before it."""
    for index, path in enumerate(network.blocks):
        if moment.path == path:
            return index if moment.side == "output" else index - 1
        if moment.path.startswith(path + "."):
            return index
    return None


def _sites(network: Network, moment: Moment, first: Site) -> list[Site]:
    """All positions of a moment, and those of the first site; in a language model, where lengths differ, only these."""
    everywhere = Site(network, (Place(moment),))
    places = dict.fromkeys((place.position, place.source_position) for place in first.places)
    own = Site(
        network, tuple(Place(moment, position=base, source_position=source) for base, source in places)
    )
    return [own] if network.language is not None else [everywhere, own]


def parallel(case: Case) -> list[str]:
    """Blocks that neither reach a site of the alignment nor are reached by it."""
    network, sites = case.alignment.network, case.alignment.sites
    inputs = case.bench.prepared.inputs
    few = inputs.rows(torch.arange(min(4, inputs.n)))
    here = list(dict.fromkeys(moment for site in sites for moment in site.moments))
    owners = {_inside(network, moment) for moment in here}
    others = [path for path in network.blocks if path not in owners]
    seen: dict[Moment, torch.Tensor] = {}
    generator = torch.Generator().manual_seed(case.seed)

    def run(watched: Sequence[Moment], changed: Sequence[Moment]) -> dict[Moment, torch.Tensor]:
        seen.clear()

        def tap(moment: Moment, tensor: torch.Tensor) -> torch.Tensor | None:
            seen[moment] = tensor.detach().clone()
            if moment not in changed:
                return None
            noise = torch.randn(tensor.shape, generator=generator).to(tensor)
            return tensor + (tensor.std() + 1) * noise

        moments = dict.fromkeys([*watched, *changed])
        taps = {moment: (lambda tensor, moment=moment: tap(moment, tensor)) for moment in moments}
        with torch.no_grad():
            observe(network, few.args, few.kwargs, taps=taps)
        return dict(seen)

    found = []
    for path in others:
        for moment in _members(Moment(path, "output", None, None)):
            try:
                before = run([*here, moment], [])
                below, above = run([*here, moment], here), run([*here, moment], [moment])
            except (SiteError, EngineError):
                continue
            same = [torch.equal(before[moment], below[moment])]
            same += [torch.equal(before[site], above[site]) for site in here]
            if all(same):
                found.append(path)
            break
    return found


def _inside(network: Network, moment: Moment) -> str | None:
    return next((p for p in network.blocks if moment.path == p or moment.path.startswith(p + ".")), None)

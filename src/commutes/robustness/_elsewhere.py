"""Other places where a variable may be kept: the rest of its own site, and blocks beside it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from commutes.algorithm import Variable
from commutes.alignment import Group
from commutes.engine import Featurizer, Prepared, captured, prepare, rows_within
from commutes.errors import EngineError, FitError, SiteError
from commutes.features import Neurons
from commutes.network import Moment, Place, Site
from commutes.robustness._case import Case
from commutes.robustness._decoding import Clean, Decoder, Decoding, decoder, decoding_of
from commutes.robustness._resampling import Beside
from commutes.robustness._upstream import parallel
from commutes.training import rest_of


@dataclass(frozen=True, eq=False)
class Elsewhere:
    """A place beside the one that is claimed, and the network prepared to swap both."""

    words: str
    site: Site
    map: Featurizer
    size: int
    """Coordinates of the map."""
    prepared: Prepared
    sites: tuple[Site, ...]
    """Of the alignment, and this one where it is none of them."""

    def coordinates(self, states: torch.Tensor) -> torch.Tensor:
        """What the place says, all positions one after the other.  # (n, groups, d) -> (n, k)"""
        with torch.no_grad():
            return self.map.read(states).flatten(1).cpu()

    def of_tests(self) -> torch.Tensor:
        """The coordinates of all inputs of the test part, read as sources.  # shape: (m, k)"""
        found, size = [], rows_within(self.prepared, _ROOM)
        number = list(self.prepared.plan).index(self.site)
        for rows in torch.arange(self.prepared.inputs.n).split(size):
            batch = self.prepared.batch(rows, rows.unsqueeze(1))
            found.append(self.coordinates(batch.sources[number][:, 0]))
        return torch.cat(found)


# Bytes of what is read at once.
_ROOM = 2**28


@dataclass(frozen=True, eq=False)
class Within:
    """Some directions of another map's coordinates: z = E of them, and D (z' - z) is added to them, with EᵀD = I."""

    inner: Featurizer
    reader: torch.Tensor
    """E.  # shape: (k, r)"""
    writer: torch.Tensor
    """D.  # shape: (k, r)"""

    def read(self, state: torch.Tensor, /) -> torch.Tensor:
        """# (n, groups, d) -> (n, 1, r)"""
        found = self.inner.read(state).flatten(1)
        return (found.to(self.reader.dtype) @ self.reader).unsqueeze(1)

    def write(self, state: torch.Tensor, old: torch.Tensor, new: torch.Tensor, /) -> torch.Tensor:
        """The state whose coordinates moved along D."""
        before = self.inner.read(state)
        moved = ((new - old).squeeze(1).to(self.writer.dtype) @ self.writer.T).reshape(before.shape)
        return self.inner.write(state, before, before + moved.to(before.dtype))


def best_part(place: Elsewhere, fitted: Decoder, most: int) -> Elsewhere | None:
    """The directions of a place along which the values' means are furthest apart, in spreads; None where they are all.

    Swapping them moves a state along differences of the means, and along nothing that varies within the values.

    Args:
        place: Where.
        fitted: On its coordinates.
        most: Directions.
    """
    gaps = fitted.means - fitted.means.mean(dim=0)
    _, sizes, right = torch.linalg.svd(fitted.scaled(gaps, -1), full_matrices=False)
    count = min(most, int((sizes > 1e-6 * sizes[0]).sum()))
    if count >= place.size or count == 0:
        return None
    reader, writer = fitted.scaled(right[:count], -1).T, fitted.scaled(right[:count], 1).T
    # Of length 1, so that single precision holds both.
    length = writer.norm(dim=0)
    reader, writer = (
        (x).to(place.prepared.network.device, torch.float32) for x in (reader * length, writer / length)
    )
    words = f"{count} {'direction' if count == 1 else 'directions'} of {place.words}"
    return Elsewhere(words, place.site, Within(place.map, reader, writer), count, place.prepared, place.sites)


def outside(case: Case) -> dict[Site, Elsewhere] | str:
    """For every site of the alignment what no variable has there, where something is left; or why that is not known."""
    prepared = case.bench.prepared
    written = {
        site: tuple(prepared.positions[site].get(i) for i in range(len(layout.places)))
        for site, layout in prepared.plan.items()
    }
    try:
        rest = rest_of(case.alignment, prepared.plan, written)
    except FitError as error:
        return {} if error.what.startswith("every coordinate") else f"{error.what}: {error.got}"
    return {
        site: Elsewhere(f"what lies outside at {site}", site, found, size, prepared, tuple(prepared.plan))
        for site, found, size in zip(rest.sites, rest.maps, rest.sizes, strict=True)
        if size
    }


def beside(case: Case, group: Group) -> Iterator[Elsewhere]:
    """The outputs of blocks that run beside the site of a group, at its positions where they have as many."""
    network = case.alignment.network
    values = case.alignment.algorithm.arrays(case.test.inputs)
    for path in parallel(case):
        place = group.site.places[0]
        for item in (None, 0):
            moment = Moment(path, "output", item, None)
            site = Site(network, (Place(moment, None, place.position, place.source_position),))
            try:
                prepared = prepare(network, values, [*case.alignment.sites, site], budget=case.bench.room)
            except (SiteError, EngineError):
                continue
            width = prepared.plan[site].width
            every = Neurons(torch.arange(width, device=network.device))
            yield Elsewhere(f"the output of {path}", site, every, width, prepared, tuple(prepared.plan))
            break


def decoded_at(
    case: Case, place: Elsewhere, variable: Variable, found: Clean
) -> tuple[Decoding, torch.Tensor]:
    """Decoders of a variable from the coordinates of a place, fitted as the claim's own are; and those coordinates."""
    states = found.states.get(place.site)
    if states is None:
        pairs, algorithm = found.pairs, case.alignment.algorithm
        inputs = case.alignment.network.encode(
            algorithm.arrays({name: c[found.inputs] for name, c in pairs.inputs.items()})
        )
        plan = {place.site: place.prepared.plan[place.site]}
        states = captured(case.alignment.network, inputs, plan, source=True)[place.site]
    coordinates = place.coordinates(states)
    return decoding_of(case, found, variable, coordinates), coordinates


def whole_decoder(found: Clean, variable: Variable, coordinates: torch.Tensor) -> Decoder:
    """The decoder fitted on all clean states."""
    return decoder(coordinates, found.pairs.columns[variable.name][found.inputs])


def swapped(
    case: Case,
    place: Elsewhere,
    variable: Variable,
    rows: np.ndarray,
    *,
    claimed: bool,
) -> np.ndarray:
    """Which pairs come out as expected when the place is taken from the source, with the claimed coordinates or not.

    What the claim says is not below the variable is held as in the base.

    Args:
        case: The claim.
        place: Where.
        variable: That each of the pairs swaps alone.
        rows: Pairs, by their numbers.
        claimed: Whether the claimed coordinates are taken, too.
    """
    alignment, pairs = case.alignment, case.test
    device, below = alignment.network.device, set(alignment.algorithm.descendants(variable))
    groups = {group.site: number for number, group in enumerate(alignment.groups)}
    maps: list[Featurizer] = []
    masks: list[torch.Tensor] = []
    for site in place.sites:
        parts: list[Featurizer] = []
        mask: list[torch.Tensor] = []
        number = groups.get(site)
        if number is not None:
            group = alignment.groups[number]
            own = torch.zeros(2, group.dimension, dtype=torch.bool)
            for v, columns in group.columns.items():
                if v is variable:
                    own[0, list(columns)] = claimed
                elif v not in below:
                    own[1, list(columns)] = True
            parts.append(alignment.featurizers[number])
            mask.append(own)
        if site == place.site:
            parts.append(place.map)
            mask.append(torch.tensor([[True], [False]]).expand(2, place.size))
        maps.append(parts[0] if len(parts) == 1 else Beside(parts[0], parts[1], mask[0].shape[1]))
        masks.append(torch.cat(mask, dim=1).to(device))
    return _answers(
        case, place.prepared, maps, masks, pairs.base[rows], pairs.source_of(variable)[rows], rows
    )


def _answers(
    case: Case,
    prepared: Prepared,
    maps: Sequence[Featurizer],
    masks: Sequence[torch.Tensor],
    base: np.ndarray,
    source: np.ndarray,
    rows: np.ndarray,
) -> np.ndarray:
    size, found = rows_within(prepared, case.bench.room, slots=2), []
    for start in range(0, len(rows), size):
        part = slice(start, start + size)
        taken = torch.from_numpy(np.stack([source[part], base[part]], axis=1))
        batch = prepared.batch(torch.from_numpy(base[part]), taken)
        with torch.no_grad():
            logits = prepared.logits(batch, maps, [m.expand(len(taken), -1, -1) for m in masks])
        found.append(case.bench.answers.decode(logits))
    answered = np.concatenate(found)
    return case.bench.answers.match(answered, case.test.expected[rows])

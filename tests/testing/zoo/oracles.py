"""What ideal checks would find, worked out from the construction of networks with a linear site alone.

They look at modules and weights directly and share no code with the library's checks.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import nn

from commutes.counterfactuals import Counterfactuals
from commutes.testing.zoo import Member, Told


@dataclass(frozen=True, eq=False)
class Bench:
    """A told claim on some pairs, each swapping one variable."""

    member: Member
    told: Told
    pairs: Counterfactuals

    @cached_property
    def layers(self) -> list[nn.Module]:
        return [*self.member.network.module.layers, self.member.network.module.head]

    @cached_property
    def site(self) -> int:
        """Index of the one layer without a ReLU."""
        return next(i for i, layer in enumerate(self.layers[:-1]) if len(layer) == 1)

    @cached_property
    def encoded(self) -> torch.Tensor:
        inputs = self.told.alignment.algorithm.arrays(self.pairs.inputs)
        return self.member.network.encode(inputs).args[0]

    def run(self, x: torch.Tensor, start: int, stop: int) -> torch.Tensor:
        with torch.no_grad():
            for layer in self.layers[start:stop]:
                x = layer(x)
        return x

    @cached_property
    def states(self) -> torch.Tensor:
        return self.run(self.encoded, 0, self.site + 1)

    def logits(self, states: torch.Tensor) -> torch.Tensor:
        return self.run(states, self.site + 1, len(self.layers))

    @cached_property
    def clean(self) -> torch.Tensor:
        return self.logits(self.states)

    def patched(self, reader: dict[str, torch.Tensor], writer: dict[str, torch.Tensor]) -> torch.Tensor:
        """Logits after each pair's swap along the directions of its variable."""
        base, source = self.states[self.pairs.base], self.states[self.pairs.source[:, 0]]
        found = base.clone()
        for name in reader:
            rows = torch.from_numpy(self.pairs.swapped(name))
            change = (source[rows] - base[rows]) @ reader[name] @ writer[name].T
            found[rows] = base[rows] + change
        return self.logits(found)

    @cached_property
    def maps(self) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
        spaces = {v.name: self.told.alignment.subspace(v) for v in self.told.alignment.variables}
        return {n: s.reader for n, s in spaces.items()}, {n: s.writer for n, s in spaces.items()}

    def hits(self, logits: torch.Tensor) -> np.ndarray:
        """Which pairs are answered as expected; answers stand in the order of the output's values."""
        return logits.argmax(dim=1).numpy() == self.pairs.expected


def margin_outside(bench: Bench) -> float:
    """Share of effective pairs whose margin is not recovered within [.8, 1.25].

    Natural inputs with the same values have the same logits here, so that any clean run with the expected answer gives
    the margin that should be reached.
    """
    logits, pairs = bench.patched(*bench.maps), bench.pairs
    rows = np.nonzero(pairs.effective)[0]
    wanted, before = pairs.expected[rows], pairs.base_answer[rows]

    def margin(values: torch.Tensor) -> np.ndarray:
        found = values.numpy()
        return found[np.arange(len(rows)), wanted] - found[np.arange(len(rows)), before]

    start = margin(bench.clean[torch.from_numpy(pairs.base[rows])])
    reference = [bench.clean[np.nonzero(pairs.answers == answer)[0][0]].numpy() for answer in wanted]
    goal = margin(torch.from_numpy(np.stack(reference)))
    recovered = (margin(logits[rows]) - start) / (goal - start)
    return float(((recovered < 0.8) | (recovered > 1.25)).mean())


def unread_share(bench: Bench) -> tuple[int, float]:
    """Directions that the next layer reads, and how much of the IIA is lost when the claim is cut down to them."""
    weight = bench.layers[bench.site + 1][0].weight.detach().double()
    _, singular, right = torch.linalg.svd(weight, full_matrices=False)
    rows = right[singular > 1e-4 * singular[0]]
    reader, writer = {}, {}
    for name, read in bench.maps[0].items():
        # Coefficients within the row space: what is read there and written there, of unit gain again.
        inner, outer = rows @ read.double(), rows @ bench.maps[1][name].double()
        gain = torch.linalg.pinv(inner.T @ outer, atol=1e-4)
        reader[name], writer[name] = (rows.T @ inner).float(), (rows.T @ outer @ gain).float()
    effective = bench.pairs.effective
    whole = bench.hits(bench.patched(*bench.maps))[effective].mean()
    return len(rows), float(whole - bench.hits(bench.patched(reader, writer))[effective].mean())


def undividable(bench: Bench) -> bool:
    """Whether the split by what is read says nothing about a claim.

    Because one direction is read for both of its variables, because a variable has no effect that could be split, or
    because less goes unread than the dimensions along which the claim's coordinates differ.
    """
    read, _ = unread_share(bench)
    hits, effective = bench.hits(bench.patched(*bench.maps)), bench.pairs.effective
    idle = any(hits[bench.pairs.swapped(name) & effective].mean() == 0 for name in bench.maps[0])
    moving = 0
    for reader in bench.maps[0].values():
        coordinates = (bench.states @ reader).double()
        moving += int((torch.linalg.svdvals(coordinates - coordinates.mean(dim=0)) > 1e-2).sum())
    return read == 1 or idle or bench.states.shape[1] - read < moving


def seen_nowhere(bench: Bench) -> dict[str, tuple[float, float]]:
    """Per variable, of swaps that change it: how far what the next layer reads moves, and in how many it becomes new.

    New is what lies further from every natural reading than a quarter of how far these lie apart.
    """
    weight = bench.layers[bench.site + 1][0].weight.detach().double()
    reader, writer = bench.maps
    natural = torch.unique((bench.states.double() @ weight.T * 1e4).round() / 1e4, dim=0)
    apart = torch.cdist(natural, natural).max()
    found = {}
    for name in reader:
        changed = bench.pairs.swapped(name) & (bench.pairs.base_value(name) != bench.pairs.source_value(name))
        base, source = (
            bench.states[torch.from_numpy(i[changed])] for i in (bench.pairs.base, bench.pairs.source[:, 0])
        )
        moved = ((source - base) @ reader[name] @ writer[name].T).double() @ weight.T
        edited = base.double() @ weight.T + moved
        new = torch.cdist(edited, natural).min(dim=1).values > 0.25 * apart
        found[name] = float(moved.norm(dim=1).mean() / apart), float(new.double().mean())
    return found


def decoder(bench: Bench, name: str) -> tuple[np.ndarray, torch.Tensor]:
    """The values of a variable, and the mean of its coordinates over the clean states of each."""
    reader, _ = bench.maps
    column = bench.pairs.columns[name]
    values = np.unique(column)
    read = bench.states @ reader[name]
    return values, torch.stack([read[torch.from_numpy(column == value)].mean(dim=0) for value in values])


def decoded(bench: Bench, states: torch.Tensor, name: str) -> np.ndarray:
    """The value whose mean is nearest."""
    values, means = decoder(bench, name)
    return values[torch.cdist(states @ bench.maps[0][name], means).argmin(dim=1).numpy()]


def agreement(bench: Bench, *, seed: int) -> float:
    """After upstream units were resampled: how often the network answers as its decoded variables say.

    Over the states of which some variable decodes otherwise than in the clean run, and which are as near to the mean of
    a value as clean states are.
    """
    rng = np.random.default_rng(seed)
    units = bench.run(bench.encoded, 0, bench.site)
    donors = torch.from_numpy(rng.permutation(len(units)))
    share = torch.from_numpy(rng.random((len(units), 1)))
    mixed = torch.where(torch.from_numpy(rng.random(units.shape)) < share, units[donors], units)
    states = bench.run(mixed, bench.site, bench.site + 1)
    algorithm = bench.told.alignment.algorithm
    found = {v.name: decoded(bench, states, v.name) for v in bench.told.alignment.variables}
    moved = np.any([decoded(bench, bench.states, n) != column for n, column in found.items()], axis=0)
    near = np.all(
        [_away(bench, states, n) <= _away(bench, bench.states, n).max() + 1e-3 for n in found], axis=0
    )
    says = algorithm.run(bench.pairs.inputs, {algorithm[n]: column for n, column in found.items()})
    answered = bench.logits(states).argmax(dim=1).numpy()
    return float((answered == says[algorithm.output_variable.name])[moved & near].mean())


def _away(bench: Bench, states: torch.Tensor, name: str) -> np.ndarray:
    """How far the nearest mean is."""
    _, means = decoder(bench, name)
    return torch.cdist(states @ bench.maps[0][name], means).min(dim=1).values.numpy()


def powerless(bench: Bench) -> bool:
    """Whether decoding under resampling says nothing about a claim.

    Because its variables leave the answer open, because their values cannot be told apart by the means of their
    coordinates, or because the network uses one of them elsewhere as well.
    """
    named = {v.name for v in bench.told.alignment.variables}
    parents = bench.told.alignment.algorithm.output_variable.parent_names
    return not set(parents) <= named or any(_unreadable(bench, n) or used_twice(bench, n) for n in named)


def _unreadable(bench: Bench, name: str) -> bool:
    return bool((decoded(bench, bench.states, name) == bench.pairs.columns[name]).mean() < 0.9)


def used_twice(bench: Bench, name: str) -> bool:
    """Whether its own coordinates alone set a variable, and all that no variable has does so alone, too."""
    reader, writer = bench.maps
    base, source = bench.states[bench.pairs.base], bench.states[bench.pairs.source[:, 0]]
    held = sum((base - source) @ reader[n] @ writer[n].T for n in reader)
    rows = bench.pairs.swapped(name) & bench.pairs.effective
    # What lies outside may hold the other variables: pairs in which they differ would tell of those.
    for column in (bench.pairs.columns[n] for n in reader if n != name):
        rows = rows & (column[bench.pairs.base] == column[bench.pairs.source[:, 0]])
    own, other = (
        bench.hits(bench.patched(reader, writer))[rows],
        bench.hits(bench.logits(source + held))[rows],
    )
    return bool(min(own.mean(), other.mean()) > 0.15)


def reads_but_does_not_patch(bench: Bench) -> float:
    """The largest gap between how well a variable decodes and how often its swap gives the expected new answer."""
    hits, gaps = bench.hits(bench.patched(*bench.maps)), []
    for variable in bench.told.alignment.variables:
        right = decoded(bench, bench.states, variable.name) == bench.pairs.columns[variable.name]
        flips = bench.pairs.swapped(variable) & bench.pairs.effective
        gaps.append(right.mean() - hits[flips].mean())
    return float(max(gaps))


def cause_and_isolation(bench: Bench) -> dict[str, tuple[float, float]]:
    """Per variable, how often the answer is right where it must change, and where it must stay."""
    hits, pairs, found = bench.hits(bench.patched(*bench.maps)), bench.pairs, {}
    for variable in bench.told.alignment.variables:
        mine = pairs.swapped(variable)
        change = pairs.expected != pairs.base_answer
        found[variable.name] = float(hits[mine & change].mean()), float(hits[mine & ~change].mean())
    return found


def jointly(bench: Bench, *, seed: int, n: int = 4_000) -> dict[tuple[int, ...], float]:
    """All variables at once, each from an input of its own: how often the answer is right, by which answers are equal.

    The key is whether the expected answer is that of the base, and that of each source.
    """
    rng = np.random.default_rng(seed)
    reader, writer = bench.maps
    algorithm, inputs = bench.told.alignment.algorithm, bench.pairs.inputs
    rows = rng.integers(len(bench.states), size=(n, 1 + len(reader)))
    states, do = bench.states[rows[:, 0]], {}
    change = torch.zeros_like(states)
    for slot, name in enumerate(reader, 1):
        change += (bench.states[rows[:, slot]] - states) @ reader[name] @ writer[name].T
        do[algorithm[name]] = bench.pairs.columns[name][rows[:, slot]]
    expected = algorithm.run({k: v[rows[:, 0]] for k, v in inputs.items()}, do)[
        algorithm.output_variable.name
    ]
    hits = bench.logits(states + change).argmax(dim=1).numpy() == expected
    kinds = (bench.pairs.answers[rows] == expected[:, None]).astype(int)
    return {
        tuple(kind): float(hits[(kinds == kind).all(axis=1)].mean())
        for kind in np.unique(kinds, axis=0).tolist()
    }


def randomised(bench: Bench, name: str, *, seed: int, n: int = 4_000) -> tuple[float, float]:
    """One variable from an unrelated input: how often the network keeps an answer, of those that the algorithm changes,
    and how often it loses one, of those that the algorithm keeps."""
    rng = np.random.default_rng(seed)
    base, donor = rng.integers(len(bench.states), size=(2, n))
    reader, writer = (one[name] for one in bench.maps)
    states = bench.states[base] + (bench.states[donor] - bench.states[base]) @ reader @ writer.T
    kept = (bench.logits(states).argmax(dim=1) == bench.clean[base].argmax(dim=1)).numpy()
    algorithm = bench.told.alignment.algorithm
    inputs = {k: v[base] for k, v in bench.pairs.inputs.items()}
    answers = algorithm.run(inputs, {algorithm[name]: bench.pairs.columns[name][donor]})
    stays = answers[algorithm.output_variable.name] == bench.pairs.answers[base]
    return float(kept[~stays].mean()), float((~kept)[stays].mean())

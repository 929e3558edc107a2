"""Interchange interventions by plain forward hooks, one example at a time: nothing of the engine is used.

Every run is a whole run of one example. Every coordinate of a site is an index into one tensor, visited in an
explicit loop. Slow and hard to get wrong.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import nn

Watch = Callable[[torch.Tensor], "torch.Tensor | None"]
Moment = tuple[str, str, int | None, int | None]


@dataclass(frozen=True)
class Spot:
    """A place, told in plain words. Positions are one list for all inputs, or a list per input."""

    path: str
    side: str = "output"
    item: int | None = None
    call: int | None = None
    axis: int | None = None
    features: tuple[int, ...] | None = None
    position: Sequence[int] | Sequence[Sequence[int]] | None = None
    source_position: Sequence[int] | Sequence[Sequence[int]] | None = None

    @property
    def moment(self) -> Moment:
        return (self.path, self.side, self.item, self.call)


@dataclass(frozen=True)
class Edit:
    """A site, its map, and per pair which coordinate comes from which source (pairs x slots x k)."""

    spots: tuple[Spot, ...]
    reader: torch.Tensor
    writer: torch.Tensor
    mask: torch.Tensor
    each: bool = False

    @property
    def moments(self) -> list[Moment]:
        return list(dict.fromkeys(spot.moment for spot in self.spots))


def interchange(
    module: nn.Module,
    rows: Sequence[torch.Tensor],
    base: Sequence[int],
    source: Sequence[Sequence[int]],
    edits: Sequence[Edit],
    *,
    logits: Callable[[object], torch.Tensor] = lambda out: out,  # type: ignore[assignment,return-value]
) -> torch.Tensor:
    """Logits of every pair, stacked."""
    answers = []
    for pair, example in enumerate(base):
        states = [
            [_clean(module, rows, edit, s if s >= 0 else example) for s in source[pair]] for edit in edits
        ]
        answers.append(logits(_edited(module, rows, example, pair, edits, states))[0])
    return torch.stack(answers)


def clean(module: nn.Module, rows: Sequence[torch.Tensor], edit: Edit, example: int) -> torch.Tensor:
    """The site's vector in a clean run, at the base's positions."""
    seen: dict[int, torch.Tensor] = {}
    _run(module, rows, example, _lookers(edit, example, seen, source=False))
    return torch.cat([seen[i] for i in range(len(edit.spots))])


def _clean(module: nn.Module, rows: Sequence[torch.Tensor], edit: Edit, example: int) -> torch.Tensor:
    seen: dict[int, torch.Tensor] = {}
    with torch.no_grad():
        _run(module, rows, example, _lookers(edit, example, seen, source=True))
    return torch.cat([seen[i] for i in range(len(edit.spots))])


def _edited(
    module: nn.Module,
    rows: Sequence[torch.Tensor],
    example: int,
    pair: int,
    edits: Sequence[Edit],
    states: Sequence[Sequence[torch.Tensor]],
) -> object:
    whole: dict[Moment, list[Watch]] = {}
    for number, edit in enumerate(edits):
        if len(edit.moments) == 1:
            _plan(edit, example, pair, states[number], {}, whole)
    wide = [number for number, edit in enumerate(edits) if len(edit.moments) > 1]
    if wide:
        standing: dict[int, dict[int, torch.Tensor]] = {number: {} for number in wide}
        watches = {moment: list(tapped) for moment, tapped in whole.items()}
        for number in wide:
            for moment, lookers in _lookers(edits[number], example, standing[number], source=False).items():
                watches.setdefault(moment, []).extend(lookers)
        _run(module, rows, example, watches)
        for number in wide:
            _plan(edits[number], example, pair, states[number], standing[number], whole)
    return _run(module, rows, example, whole)


def _plan(
    edit: Edit,
    example: int,
    pair: int,
    states: Sequence[torch.Tensor],
    standing: Mapping[int, torch.Tensor],
    into: dict[Moment, list[Watch]],
) -> None:
    """A site is rewritten moment by moment; what has not arrived stands as in the run with other edits."""
    known = dict(standing)

    def at(moment: Moment) -> Watch:
        def write(tensor: torch.Tensor) -> torch.Tensor:
            here = [i for i, spot in enumerate(edit.spots) if spot.moment == moment]
            for i in here:
                known[i] = _vector(tensor, edit.spots[i], example, source=False)
            sizes = [len(known[i]) for i in range(len(edit.spots))]
            swapped = _swap(edit, torch.cat([known[i] for i in range(len(edit.spots))]), states, pair)
            new = swapped.split(sizes)
            for i in here:
                tensor = _with(tensor, edit.spots[i], example, new[i])
            return tensor

        return write

    for moment in edit.moments:
        into.setdefault(moment, []).append(at(moment))


def _swap(edit: Edit, state: torch.Tensor, sources: Sequence[torch.Tensor], pair: int) -> torch.Tensor:
    """h' = h + sum over coordinates j taken from source s of D[:, j] (E[:, j] . h_s - E[:, j] . h)."""
    d = edit.reader.shape[0]
    pieces = []
    for start in range(0, len(state), d):
        h = state[start : start + d]
        new = h
        for j in range(edit.reader.shape[1]):
            for slot, source in enumerate(sources):
                if bool(edit.mask[pair, slot, j]):
                    change = (edit.reader[:, j] * (source[start : start + d] - h)).sum()
                    new = new + edit.writer[:, j] * change
        pieces.append(new)
    assert edit.each or len(pieces) == 1
    return torch.cat(pieces)


def _lookers(
    edit: Edit, example: int, into: dict[int, torch.Tensor], *, source: bool
) -> dict[Moment, list[Watch]]:
    watches: dict[Moment, list[Watch]] = {}
    for i, spot in enumerate(edit.spots):

        def look(tensor: torch.Tensor, i: int = i, spot: Spot = spot) -> None:
            into[i] = _vector(tensor, spot, example, source=source)

        watches.setdefault(spot.moment, []).append(look)
    return watches


def _cells(tensor: torch.Tensor, spot: Spot, example: int, *, source: bool) -> list[tuple[int, ...]]:
    """Indices of the spot's coordinates: positions slowly, features fast."""
    ndim = tensor.ndim
    axis = spot.axis if spot.axis is not None else (1 if ndim >= 4 else ndim - 1)
    axis %= ndim
    others = [a for a in range(1, ndim) if a != axis]
    grid = list(itertools.product(*(range(tensor.shape[a]) for a in others)))
    chosen = spot.source_position if source and spot.source_position is not None else spot.position
    if chosen is None:
        where = list(range(len(grid)))
    elif isinstance(chosen[0], int):
        where = list(chosen)
    else:
        where = list(chosen[example])  # type: ignore[arg-type]
    features = range(tensor.shape[axis]) if spot.features is None else spot.features
    cells = []
    for p in where:
        for f in features:
            index = [0] * ndim
            index[axis] = f
            for a, coordinate in zip(others, grid[p], strict=True):
                index[a] = coordinate
            cells.append(tuple(index))
    return cells


def _vector(tensor: torch.Tensor, spot: Spot, example: int, *, source: bool) -> torch.Tensor:
    return torch.stack([tensor[cell].clone() for cell in _cells(tensor, spot, example, source=source)])


def _with(tensor: torch.Tensor, spot: Spot, example: int, values: torch.Tensor) -> torch.Tensor:
    new = tensor.clone()
    for cell, value in zip(_cells(tensor, spot, example, source=False), values, strict=True):
        new[cell] = value
    return new


def _run(
    module: nn.Module, rows: Sequence[torch.Tensor], example: int, watches: Mapping[Moment, Sequence[Watch]]
) -> object:
    modules = dict(module.named_modules())
    calls: dict[tuple[str, str], int] = {}
    handles = []

    def see(path: str, side: str, value: object) -> object:
        call = calls.get((path, side), 0)
        calls[path, side] = call + 1
        for (p, s, item, k), functions in watches.items():
            if (p, s) != (path, side) or (k is not None and k != call):
                continue
            for function in functions:
                many = isinstance(value, tuple)
                place = (item or 0) if many else None
                new = function(value[place] if many else value)  # type: ignore[index,arg-type]
                if new is not None and isinstance(value, tuple):
                    value = tuple(new if i == place else v for i, v in enumerate(value))
                elif new is not None:
                    value = new
        return value

    for path, side in dict.fromkeys((m[0], m[1]) for m in watches):
        if side == "output":
            handles.append(
                modules[path].register_forward_hook(lambda _m, _a, out, path=path: see(path, "output", out))
            )
        else:
            handles.append(
                modules[path].register_forward_pre_hook(lambda _m, args, path=path: see(path, "input", args))
            )
    try:
        return module(*(tensor[example : example + 1].clone() for tensor in rows))
    finally:
        for handle in handles:
            handle.remove()

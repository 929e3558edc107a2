"""Interchange interventions by plain forward hooks, one pair at a time: neither the library nor pyvene is used."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

Inputs = Mapping[str, torch.Tensor]
Change = Callable[[torch.Tensor], torch.Tensor]


@dataclass(frozen=True)
class Edit:
    """h' = h + W Wᵀ (h_source - h) for the vector of some features at some positions, strung together.

    `basis` has one row per coordinate of that vector and one column per source; `positions` are those of a pair's
    base and, where given, of its source. With `each` every position is a vector of its own.
    """

    path: str
    basis: torch.Tensor
    positions: Sequence[int]
    source_positions: Sequence[int] | None = None
    side: str = "output"
    features: Sequence[int] | None = None
    each: bool = False


def hooked(module: nn.Module, side: str, change: Change) -> Any:
    """A hook that puts something in the place of the first tensor that a module gets or returns."""

    def after(_m: Any, _a: Any, out: Any) -> Any:
        return (change(out[0]), *out[1:]) if isinstance(out, tuple) else change(out)

    def before(_m: Any, args: Any, named: Any) -> Any:
        if args:
            return (change(args[0]), *args[1:]), named
        return args, {**named, "hidden_states": change(named["hidden_states"])}

    if side == "output":
        return module.register_forward_hook(after)
    return module.register_forward_pre_hook(before, with_kwargs=True)


def run(model: nn.Module, inputs: Inputs, changes: Sequence[tuple[str, str, Change]] = ()) -> torch.Tensor:
    """What the model answers with these changes."""
    handles = [hooked(model.get_submodule(path), side, change) for path, side, change in changes]
    try:
        out = model(**inputs)
    finally:
        for handle in handles:
            handle.remove()
    return getattr(out, "logits", out)


def seen(model: nn.Module, inputs: Inputs, path: str, side: str = "output") -> torch.Tensor:
    """The tensor at a module in a run that nothing is done to."""
    found: list[torch.Tensor] = []

    def look(tensor: torch.Tensor) -> torch.Tensor:
        found.append(tensor.detach().clone())
        return tensor

    with torch.no_grad():
        run(model, inputs, [(path, side, look)])
    return found[0]


def interchange(
    model: nn.Module, base: Inputs, sources: Sequence[Inputs], edits: Sequence[Edit]
) -> torch.Tensor:
    """One pair, batch of one: column j of every basis from source j."""
    changes = []
    for edit in edits:
        states = [seen(model, source, edit.path, edit.side) for source in sources]
        changes.append((edit.path, edit.side, _change(edit, states)))
    return run(model, base, changes)


def _change(edit: Edit, sources: Sequence[torch.Tensor]) -> Change:
    there = edit.positions if edit.source_positions is None else edit.source_positions

    def change(tensor: torch.Tensor) -> torch.Tensor:
        features = list(range(tensor.shape[-1])) if edit.features is None else list(edit.features)

        def vector(x: torch.Tensor, positions: Sequence[int]) -> torch.Tensor:
            rows = torch.stack([x[0, p][features] for p in positions])
            return rows if edit.each else rows.flatten()[None]

        h = vector(tensor, edit.positions)
        new = h
        for j, source in enumerate(sources):
            column = edit.basis[:, j]
            new = new + ((vector(source, there) - h) @ column)[:, None] * column
        result = tensor.clone()
        for p, row in zip(edit.positions, new.reshape(len(edit.positions), -1), strict=True):
            result[0, p, features] = row
        return result

    return change

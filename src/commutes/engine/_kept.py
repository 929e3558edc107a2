"""Base runs of a causal decoder, kept: outputs of blocks, and keys and values of the positions before an edit."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from commutes.engine._counted import runs_within
from commutes.engine._forward import observe
from commutes.engine._prefix import Pair, recorded, recording
from commutes.engine._taps import Tap
from commutes.network import Inputs, Moment, Network

# Host memory that an accelerator's cache may spill into, in units of its own budget.
_SPILL = 4


@dataclass(frozen=True, eq=False)
class States:
    """Base states of some inputs, one row each."""

    outputs: Mapping[int, torch.Tensor]
    """By block, from the first position that is wanted on.  # shape: (n, positions, width)"""
    pairs: Mapping[int, Pair]
    """By layer, the keys and values of the first positions."""

    def rows(self, index: torch.Tensor, device: torch.device | None = None) -> States:
        """The states of the rows at `index`, on a device if one is named."""

        def taken(tensor: torch.Tensor) -> torch.Tensor:
            found = tensor[index.to(tensor.device)]
            return found if device is None else found.to(device)

        return States(
            {e: taken(output) for e, output in self.outputs.items()},
            {j: (taken(keys), taken(values)) for j, (keys, values) in self.pairs.items()},
        )


@dataclass(frozen=True, eq=False)
class Wanted:
    """What is kept of a base run."""

    outputs: Mapping[int, int]
    """Blocks whose output is kept, and from which position on."""
    layers: tuple[int, ...]
    """Layers whose keys and values are kept."""
    positions: int
    """Of how many first positions."""


@dataclass(frozen=True, eq=False)
class Kept:
    """Base states of the inputs, as many as the budget allows; those of the others are computed when asked for."""

    network: Network
    inputs: Inputs
    wanted: Wanted
    slots: torch.Tensor
    """Place of every input in the order in which states are kept.  # shape: (m,)"""
    tiers: tuple[States, ...]
    """States on the device, then in host memory."""
    bounds: tuple[int, ...]
    """First place behind each tier."""
    bases: int
    """How many inputs were announced as bases; theirs are the first places."""
    parameters: tuple[nn.Parameter, ...]
    """Of the network, found once."""
    at_once: int
    """Inputs whose states are computed at a time."""

    def states(self, rows: torch.Tensor) -> tuple[States, torch.Tensor]:
        """States that hold those of the inputs `rows`, and where in them each row is.  # (n,) -> (n,)"""
        slots = self.slots[rows]
        if self.tiers and int(slots.max()) < self.bounds[0]:
            return self.tiers[0], slots
        unique, where = torch.unique(slots, return_inverse=True)
        return _joined(self._parts(unique), len(unique), self.network.device), where

    def _parts(self, slots: torch.Tensor) -> Iterator[States]:
        begin = 0
        for tier, end in zip(self.tiers, self.bounds, strict=True):
            # In ascending order, so that the parts come in the order of the tiers.
            inside = slots[(slots >= begin) & (slots < end)]
            if len(inside):
                yield tier.rows(inside - begin, self.network.device)
            begin = end
        beyond = slots[slots >= begin]
        if len(beyond):
            inputs = torch.argsort(self.slots)[beyond]
            yield from _runs(self.network, self.inputs, self.wanted, inputs, self.at_once)

    def last_base(self) -> torch.Tensor:
        """The announced base whose states would be the last to be kept.  # shape: (1,)"""
        return (self.slots == self.bases - 1).nonzero().flatten()


def keep(
    network: Network,
    inputs: Inputs,
    wanted: Wanted,
    *,
    bases: torch.Tensor,
    budget: int,
    room: int | None = None,
) -> tuple[Kept, int]:
    """Run the bases once, in order, and keep what the budget allows.

    Args:
        network: A causal decoder.
        inputs: Encoded prompts.
        wanted: What is kept.
        bases: The inputs whose states will be asked for.
        budget: Bytes on the network's device; an accelerator spills into host memory.
        room: Bytes that base runs may take for as long as they last; the budget by default.

    Returns:
        The states, and the bytes of the device that they take.
    """
    slots = torch.full((inputs.n,), -1)
    slots[bases] = torch.arange(len(bases))
    others = (slots < 0).nonzero().squeeze(1)
    slots[others] = torch.arange(len(bases), inputs.n)
    first: list[States] = []
    at_once = runs_within(
        budget if room is None else room,
        network.batch_size(inputs),
        lambda: first.append(_run(network, inputs.rows(bases[:1]), wanted)),
    )
    each = _bytes(first[0])
    on_device = min(len(bases), max(0, budget) // each)
    spills = network.device.type != "cpu"
    on_host = min(len(bases) - on_device, _SPILL * max(0, budget) // each) if spills else 0
    tiers, bounds, begin = [], [], 0
    for count, device in ((on_device, network.device), (on_host, torch.device("cpu"))):
        if count:
            runs = _runs(network, inputs, wanted, bases[begin : begin + count], at_once)
            tiers.append(_joined(runs, count, device))
            bounds.append(begin + count)
            begin += count
    slots = slots.to(network.device)
    parameters = tuple(network.module.parameters())
    kept = Kept(
        network,
        inputs,
        wanted,
        slots,
        tuple(tiers),
        tuple(bounds),
        len(bases),
        parameters,
        at_once,
    )
    return kept, each * on_device


def _runs(
    network: Network, inputs: Inputs, wanted: Wanted, rows: torch.Tensor, at_once: int
) -> Iterator[States]:
    for part in rows.split(at_once):
        yield _run(network, inputs.rows(part), wanted)


def _joined(parts: Iterator[States], count: int, device: torch.device) -> States:
    """All rows, written part by part into tensors of their final size: never twice in memory."""
    whole: States | None = None
    begin = 0
    for part in parts:
        first = _tensors(part)[0]
        if len(first) == count and first.device == device:
            return part
        if whole is None:
            whole = _map(part, lambda t: torch.empty(count, *t.shape[1:], dtype=t.dtype, device=device))
        for target, source in zip(_tensors(whole), _tensors(part), strict=True):
            target[begin : begin + len(source)] = source.to(device)
        begin += len(first)
    assert whole is not None
    return whole


def _run(network: Network, inputs: Inputs, wanted: Wanted) -> States:
    """One base run, without gradient and without the head."""
    outputs: dict[int, torch.Tensor] = {}
    cache = recording()

    def keep_output(block: int) -> Tap:
        def tap(tensor: torch.Tensor) -> None:
            if block in wanted.outputs:
                # A copy: the network may go on to write into the tensor in place.
                outputs[block] = tensor[:, wanted.outputs[block] :].clone().to(network.device)

        return tap

    # The last block's output is where the run ends; by then its keys and values are recorded.
    last = max((*wanted.outputs, *wanted.layers))
    blocks = {*wanted.outputs, last}
    taps = {Moment(network.blocks[e], "output", None, None): keep_output(e) for e in sorted(blocks)}
    with torch.no_grad():
        observe(network, inputs.args, inputs.kwargs, taps=taps, options={"past_key_values": cache})
    pairs = recorded(cache)

    def first(tensor: torch.Tensor) -> torch.Tensor:
        return tensor[:, :, : wanted.positions].clone().to(network.device)

    return States(outputs, {j: (first(pairs[j][0]), first(pairs[j][1])) for j in wanted.layers})


def _map(states: States, change: Any) -> States:
    return States(
        {e: change(output) for e, output in states.outputs.items()},
        {j: (change(keys), change(values)) for j, (keys, values) in states.pairs.items()},
    )


def _tensors(states: States) -> list[torch.Tensor]:
    return [*states.outputs.values(), *(tensor for pair in states.pairs.values() for tensor in pair)]


def _bytes(states: States) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in _tensors(states))

"""Base runs of a causal decoder, kept: outputs of blocks, and keys and values of the positions before an edit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import nn

from commutes.engine._counted import runs_within
from commutes.engine._forward import observe
from commutes.engine._prefix import Pair, recorded, recording
from commutes.engine._store import Store, bytes_of_tree, store
from commutes.engine._taps import Tap
from commutes.network import Inputs, Moment, Network


class States(NamedTuple):
    """Base states of some inputs, one row each."""

    outputs: dict[int, torch.Tensor]
    """By block, from the first position that is wanted on.  # shape: (n, positions, width)"""
    pairs: dict[int, Pair]
    """By layer, the keys and values of the first positions."""


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
    """Base states of a decoder's inputs."""

    network: Network
    inputs: Inputs
    wanted: Wanted
    states: Store
    """Of `States`."""
    parameters: tuple[nn.Parameter, ...]
    """Of the network, found once."""


def keep(
    network: Network,
    inputs: Inputs,
    wanted: Wanted,
    *,
    bases: torch.Tensor,
    budget: int,
    room: int | None = None,
) -> Kept:
    """Run the bases once, in order, and keep what the budget allows; the others are computed when asked for.

    Args:
        network: A causal decoder.
        inputs: Encoded prompts.
        wanted: What is kept of each.
        bases: The inputs whose states will be asked for.
        budget: Bytes on the network's device; an accelerator spills into host memory.
        room: Bytes that base runs may take for as long as they last; the budget by default.
    """
    first: list[States] = []

    def run(rows: torch.Tensor) -> States:
        return _run(network, inputs.rows(rows), wanted)

    at_once = runs_within(
        budget if room is None else room,
        network.batch_size(inputs),
        lambda: first.append(run(bases[:1])),
    )
    states = store(
        run,
        inputs.n,
        bases,
        each=bytes_of_tree(first[0]),
        at_once=at_once,
        budget=budget,
        device=network.device,
    )
    return Kept(network, inputs, wanted, states, tuple(network.module.parameters()))


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

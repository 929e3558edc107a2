"""What is frozen is computed once per input: source states, and the states from which edited runs start."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import torch

from commutes.engine._admission import cone_certificate
from commutes.engine._capture import captured
from commutes.engine._counted import runs_within
from commutes.engine._kept import Wanted, keep
from commutes.engine._layout import SiteLayout, layouts
from commutes.engine._padding import check_padding
from commutes.engine._prepared import Cone, Prepared, check_finite
from commutes.engine._resume import resume_block, shared_block
from commutes.engine._store import Run, Store, store
from commutes.errors import EngineError
from commutes.network import Inputs, Moment, Network, Place, Site, address, state_of

# Bytes that cached activations may take, unless the caller says otherwise; beyond it they are recomputed.
BUDGET = 2**30

# Part of the budget that the runs may take in which it is found: what has come and gone the allocator holds on to.
_COMING_AND_GOING = 4

_NOTHING_SAVED = "the edits begin with the first block and token, or where there are no tokens"


def prepare(
    network: Network,
    values: Mapping[str, np.ndarray],
    sites: Sequence[Site],
    *,
    bases: np.ndarray | None = None,
    sources: np.ndarray | None = None,
    budget: int = BUDGET,
) -> Prepared:
    """`prepare_all` for the sites of one alignment."""
    return prepare_all(network, values, [sites], bases=bases, sources=sources, budget=budget)[0]


def prepare_all(
    network: Network,
    values: Mapping[str, np.ndarray],
    alternatives: Sequence[Sequence[Site]],
    *,
    bases: np.ndarray | None = None,
    sources: np.ndarray | None = None,
    budget: int = BUDGET,
) -> list[Prepared]:
    """Encode the inputs, resolve the sites and keep what the budget allows.

    What is kept holds for the network as it is now. Hooks that come or go and weights that are written into are found
    out before the next edited run, and refused; weights that are changed through `.data`, and code that a module is
    given since, are not: prepare again.

    Args:
        network: Whose module is run.
        values: Inputs by name.
        alternatives: Sites of each of several alignments; what they need of the base runs is kept once.
        bases: Inputs that will be bases; all by default.
        sources: Inputs that will be sources; all by default.
        budget: Bytes on the network's device that cached activations may take.

    Raises:
        NetworkError: The network is in training mode with dropout or batch statistics, or answers a prompt otherwise
            where it is padded.
        SiteError: A position that does not exist in some example, or places of one site that overlap.
        EngineError: The clean run of an input gives NaN or infinity at a site.
    """
    network.check_mode()
    if not alternatives or not all(alternatives):
        raise EngineError(
            "there is no site to edit",
            where=network.name,
            got="no sites" if not alternatives else "an alignment without sites",
            expected="one site at least",
        )
    state = state_of(network.module)
    inputs = network.encode(values)
    every = list(dict.fromkeys(site for sites in alternatives for site in sites))
    plan = layouts(network, inputs, every)
    # Before anything is captured: errors then name an example by its place among all inputs.
    positions = {site: _positions(layout, inputs) for site, layout in plan.items()}
    check_padding(network, inputs)
    roles = [_role(rows, inputs.n, name) for rows, name in ((bases, "bases"), (sources, "sources"))]
    room = budget // _COMING_AND_GOING
    kept = _sources(network, inputs, plan, roles[1], budget, room)
    budget -= kept.taken
    # All positions are known by now; what may have to be computed again asks for those of its own inputs.
    inputs = inputs.forgetful()
    module = network.module
    named = (*module.named_parameters(remove_duplicate=False), *module.named_buffers(remove_duplicate=False))
    own = {name: address(tensor) for name, tensor in named}
    prepared = [
        Prepared(network, inputs, {s: plan[s] for s in sites}, positions, kept, state, own)
        for sites in alternatives
    ]
    if network.language is None:
        return [_resumed(one, budget // len(prepared)) for one in prepared]
    found = cone_certificate(network, inputs)
    if found.holds:
        return _with_cones(prepared, roles[0], budget, room)
    return [_resumed(replace(one, refused=found.reason), budget // len(prepared)) for one in prepared]


def _sources(
    network: Network,
    inputs: Inputs,
    plan: Mapping[Site, SiteLayout],
    rows: torch.Tensor,
    budget: int,
    room: int,
) -> Store:
    """Clean states of the sources at all sites, captured once as far as the budget goes."""

    def captures(inputs: Inputs) -> Run:
        def run(rows: torch.Tensor) -> dict[Site, torch.Tensor]:
            found = captured(network, inputs.rows(rows), plan, source=True, chunk=len(rows))
            for site, states in found.items():
                check_finite(states, site, rows)
            return found

        return run

    return store(
        captures(inputs.forgetful()),
        inputs.n,
        rows,
        each=sum(_bytes(layout) for layout in plan.values()),
        at_once=_at_once(network, inputs, plan, rows, room),
        budget=budget,
        device=network.device,
        fill=captures(inputs),
        again=True,
    )


def _at_once(
    network: Network, inputs: Inputs, plan: Mapping[Site, SiteLayout], sources: torch.Tensor, room: int
) -> int:
    """How many sources are run together, by what one takes; of networks that are no language models as usual."""
    usual = network.batch_size(inputs)
    if network.language is None or not len(sources):
        return usual
    one = inputs.rows(sources[:1])
    return runs_within(room, usual, lambda: captured(network, one, plan, source=True))


def _role(rows: np.ndarray | None, n: int, name: str) -> torch.Tensor:
    if rows is None:
        return torch.arange(n)
    found = np.unique(np.asarray(rows))
    wrong = found[(found >= n) | (found < (0 if name == "bases" else -1))]
    if len(wrong) or (name == "bases" and not len(found)):
        raise EngineError(
            f"{name}= names no input of these",
            got=f"{wrong[0]}" if len(wrong) else "none",
            expected=f"numbers from 0 to {n - 1}" + ("" if name == "bases" else ", and -1 for no source"),
            fix=f"leave {name}= out: all inputs are then prepared for it",
        )
    return torch.from_numpy(found[found >= 0])


def _with_cones(prepared: Sequence[Prepared], bases: torch.Tensor, budget: int, room: int) -> list[Prepared]:
    """What all cones need of the base runs, kept once."""
    network, inputs = prepared[0].network, prepared[0].inputs
    origins = [_origin(one, bases) for one in prepared]
    prepared = [
        replace(one, refused=_NOTHING_SAVED) if origin is None else one
        for one, origin in zip(prepared, origins, strict=True)
    ]
    there = [origin for origin in origins if origin is not None]
    if not there:
        return [_resumed(one, budget // len(prepared)) for one in prepared]
    outputs: dict[int, int] = {}
    for block, start in there:
        if block >= 0:
            outputs[block] = min(start, outputs.get(block, start))
    length = max(start for _, start in there)
    first = min(block for block, start in there if start) + 1 if length else len(network.blocks)
    wanted = Wanted(outputs, tuple(range(first, len(network.blocks))), length)
    kept = keep(network, inputs, wanted, bases=bases, budget=budget, room=room)
    return [
        _resumed(one, 0) if origin is None else replace(one, cone=Cone(kept, *origin))
        for one, origin in zip(prepared, origins, strict=True)
    ]


def _origin(prepared: Prepared, bases: torch.Tensor) -> tuple[int, int] | None:
    """Block and position from which edited runs differ from the base's; None where nothing can be skipped."""
    network, inputs = prepared.network, prepared.inputs
    tokens = inputs.kwargs["attention_mask"].shape[1]
    read = network.read_position
    assert read is not None
    start = tokens + (read if isinstance(read, int) else min(read))
    for site, layout in prepared.plan.items():
        for index, place in enumerate(layout.places):
            if len(place.shape) != 2 or place.axis != 2 or place.shape[0] != tokens:
                return None
            table = prepared.positions[site].get(index)
            start = min(start, 0 if table is None else int(table[bases.to(table.device)].min()))
    block = shared_block(network, list(prepared.plan))
    return None if block < 0 and start == 0 else (block, start)


def _resumed(prepared: Prepared, budget: int) -> Prepared:
    """With the states of the last block that all edited runs share with the base's, where that is known to be right."""
    block = resume_block(prepared.network, prepared.inputs, list(prepared.plan))
    if block is None:
        return prepared
    states = _block_states(prepared.network, prepared.inputs, block, budget)
    return prepared if states is None else replace(prepared, block=block, states=states)


def _block_states(network: Network, inputs: Inputs, block: int, budget: int) -> torch.Tensor | None:
    # The whole tensor, padding and all: what a name or a position of the network's stands for is less.
    site = Site(network, (Place(Moment(network.blocks[block], "output", None, None)),))
    # The state must come back in the shape in which the block returned it, not as a site's vector.
    shape: list[tuple[int, ...]] = []
    handle = network.module.get_submodule(network.blocks[block]).register_forward_hook(
        lambda _m, _a, out: shape.append(tuple(out.shape[1:]))
    )
    try:
        plan = layouts(network, inputs, [site])
        if _bytes(plan[site]) * inputs.n > budget:
            return None
        flat = captured(network, inputs, plan, source=False)[site]
    finally:
        handle.remove()
    layout = plan[site].places[0]
    moved = [shape[0][i] for i in range(len(shape[0])) if i != layout.axis - 1] + [shape[0][layout.axis - 1]]
    return flat.reshape(inputs.n, *moved).movedim(-1, layout.axis)


def _positions(layout: SiteLayout, inputs: Inputs) -> dict[int, torch.Tensor]:
    tables = {}
    found = [place.positions(inputs.values, inputs.n, source=False) for place in layout.places]
    layout.check_disjoint(found)
    device = next(iter((*inputs.args, *inputs.kwargs.values()))).device
    for index, (place, table) in enumerate(zip(layout.places, found, strict=True)):
        if place.place.source_position is not None:
            place.positions(inputs.values, inputs.n, source=True)
        if table is not None:
            tables[index] = table.to(device)
    return tables


def _bytes(layout: SiteLayout) -> int:
    """Of one example's states."""
    return layout.groups * layout.width * layout.itemsize

"""Where an edited run may start: behind the last block that no edit can change."""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from commutes.engine._forward import Resume, forward
from commutes.errors import is_out_of_memory
from commutes.network import Inputs, Moment, Network, Site, hooked


@dataclass(frozen=True)
class Certificate:
    """Whether resuming gives what a whole run gives on this network, and if not, why."""

    holds: bool
    reason: str


# One certificate per network object: the trial is about its structure, which a Network never changes.
_certificates: weakref.WeakKeyDictionary[Network, Certificate] = weakref.WeakKeyDictionary()

# Rows of the certifying run; and how far the resumed run may be from the whole one, in units of rounding of
# the largest logit: both do the same operations on the same shapes, so more is a state lost on the way.
_ROWS, _TOLERANCE = 4, 32


def resume_block(network: Network, inputs: Inputs, sites: Sequence[Site]) -> int | None:
    """The block behind which runs that edit only `sites` may resume, or None to run whole."""
    if not network.blocks or not certificate(network, inputs).holds:
        return None
    first = shared_block(network, sites)
    return first if first >= 0 else None


def shared_block(network: Network, sites: Sequence[Site]) -> int:
    """The last block whose output no edit of the sites can change but at its very output; -1 where there is none."""
    indices = []
    for moment in dict.fromkeys(m for site in sites for m in site.moments):
        owner = _owner(network, moment)
        if owner is None:
            return -1
        is_output = moment.path == network.blocks[owner] and moment.side == "output" and moment.call is None
        indices.append(owner if is_output else owner - 1)
    return min(indices, default=-1)


def certificate(network: Network, inputs: Inputs) -> Certificate:
    """Compare, for every block, a whole run with a resumed one on a random edit of the block's output.

    Hooks are looked for every time; the trial is made once.
    """
    reason = refused_hooks(network)
    if reason:
        return Certificate(False, reason)
    known = _certificates.get(network)
    if known is None:
        known = _certify(network, inputs)
        _certificates[network] = known
    return known


def refused_hooks(network: Network) -> str:
    """Why a network with hooks runs whole, or nothing.

    A state that is kept has in it what a hook did, and the hook of a skipped block would do it again; one that is left
    out may have written down what another needs. Only a whole run calls every hook once, on what it is meant for.
    """
    where = hooked(network.module)
    more = f" and {len(where) - 2} more modules" if len(where) > 2 else ""
    return f"there are hooks on {', '.join(where[:2])}{more}" if where else ""


def _owner(network: Network, moment: Moment) -> int | None:
    for index, block in enumerate(network.blocks):
        if moment.path == block or moment.path.startswith(block + "."):
            return index
    return None


def _certify(network: Network, inputs: Inputs) -> Certificate:
    rows = inputs.rows(torch.arange(_ROWS) % inputs.n)
    generator = torch.Generator().manual_seed(0)
    for index, path in enumerate(network.blocks):
        outputs: list[object] = []
        handle = network.module.get_submodule(path).register_forward_hook(
            lambda _m, _a, out, outputs=outputs: outputs.append(out)
        )
        try:
            with torch.no_grad():
                reason = _difference(network, rows, index, outputs, generator)
        finally:
            handle.remove()
        if reason:
            return Certificate(False, reason)
    return Certificate(True, "every block: resumed run equals whole run")


def _difference(
    network: Network, rows: Inputs, index: int, outputs: Sequence[object], generator: torch.Generator
) -> str:
    """Why runs may not resume behind this block, or nothing. `outputs` fills with what the block returns."""
    path = network.blocks[index]
    edited: list[torch.Tensor] = []

    def edit(tensor: torch.Tensor) -> torch.Tensor:
        # An identity edit would not notice a block that is fed from elsewhere as well: the edit is random.
        noise = torch.randn(tensor.shape, generator=generator).to(tensor)
        edited.append(tensor + (tensor.std() + 1) * noise)
        # A copy: the network may go on to write into the tensor in place.
        return edited[-1].clone()

    try:
        whole = forward(network, rows.args, rows.kwargs, taps={Moment(path, "output", None, None): edit})
    except Exception as error:
        if is_out_of_memory(error):
            # That says nothing about the network.
            raise
        return f"block {path} cannot be edited alone: {error}"
    if len(outputs) != 1 or not isinstance(outputs[0], torch.Tensor):
        return f"block {path} does not return one tensor once"
    try:
        again = forward(network, rows.args, rows.kwargs, taps={}, start=Resume(index, edited[0]))
    except Exception as error:
        if is_out_of_memory(error):
            raise
        # Something between the blocks needs what a skipped block would have made.
        return f"cannot resume behind {path}: {error}"
    gap = float((whole - again).abs().max())
    if not gap <= _TOLERANCE * torch.finfo(whole.dtype).eps * (1 + float(whole.abs().max())):
        return f"resuming behind {path} is off by {gap:.1g}"
    return ""

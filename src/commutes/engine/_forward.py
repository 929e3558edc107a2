"""One forward of a network: with taps, with other weights, resumed at a block, or stopped early."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import nn
from torch.func import functional_call

from commutes.engine._taps import Enough, Tap, tapped
from commutes.errors import EngineError
from commutes.network import Moment, Network

Weights = Mapping[str, torch.Tensor]


@dataclass(frozen=True, eq=False)
class Resume:
    """Start behind block `block`, whose output is known to be `state`."""

    block: int
    state: torch.Tensor


def forward(
    network: Network,
    args: Sequence[torch.Tensor],
    kwargs: Mapping[str, torch.Tensor],
    *,
    taps: Mapping[Moment, Tap],
    weights: Weights | None = None,
    resume: Resume | None = None,
) -> torch.Tensor:
    """The logits, with every tap applied.  # shape: (n, answers)

    Raises:
        EngineError: The module that is read, or one that is tapped, did not fire as declared.
    """
    read: list[torch.Tensor] = []
    logits_at = Moment(network.read_path, "output", None, None) if network.read_path else None
    # A tap at the very module that is read must come first, so that the logits are the edited ones.
    with resumed(network, resume), tapped(network, taps):
        handle = None
        try:
            if logits_at is not None:
                module = network.module.get_submodule(logits_at.path)
                handle = module.register_forward_hook(lambda _m, _a, out: read.append(network.logits_of(out)))
            returned = _call(network, args, kwargs, weights)
        finally:
            if handle is not None:
                handle.remove()
    if logits_at is None:
        return network.logits_of(returned)
    if len(read) != 1:
        raise EngineError(
            "the module that read= names did not fire once",
            where=f"{logits_at} of {network.name}",
            got="did not run" if not read else f"ran {len(read)} times",
            expected="exactly one call",
            fix="name a module that runs once with read=, or let the network return its logits",
        )
    return read[0]


def observe(
    network: Network,
    args: Sequence[torch.Tensor],
    kwargs: Mapping[str, torch.Tensor],
    *,
    taps: Mapping[Moment, Tap],
    weights: Weights | None = None,
    resume: Resume | None = None,
) -> None:
    """Run only as far as the last tap."""
    if not taps:
        return
    try:
        with resumed(network, resume), tapped(network, taps, stop_early=True):
            _call(network, args, kwargs, weights)
    except Enough:
        return


def _call(
    network: Network,
    args: Sequence[torch.Tensor],
    kwargs: Mapping[str, torch.Tensor],
    weights: Weights | None,
) -> object:
    # Copies: a module may write into what it is called with, and a batch is run more than once.
    own = tuple(a.clone() for a in args)
    named: dict[str, object] = {name: a.clone() for name, a in kwargs.items()}
    named |= network.options
    if weights is None:
        return network.module(*own, **named)
    return functional_call(network.module, dict(weights), own, named)


@contextmanager
def resumed(network: Network, resume: Resume | None) -> Iterator[None]:
    """For one forward: earlier blocks pass their input on, the block itself answers with the known state."""
    if resume is None:
        yield
        return
    changed: list[tuple[nn.Module, object]] = []
    try:
        for index, path in enumerate(network.blocks[: resume.block + 1]):
            module = network.module.get_submodule(path)
            changed.append((module, module.__dict__.get("forward")))
            state = resume.state if index == resume.block else None
            module.__dict__["forward"] = _answers(state)
        yield
    finally:
        for module, own in reversed(changed):
            if own is None:
                module.__dict__.pop("forward", None)
            else:
                module.__dict__["forward"] = own


def _answers(state: torch.Tensor | None) -> object:
    def skipped(first: object, *_args: object, **_kwargs: object) -> object:
        # A copy: what comes next may write into it in place, and the state is kept for other runs.
        return first if state is None else state.clone()

    return skipped

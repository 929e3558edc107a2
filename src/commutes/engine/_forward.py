"""One forward of a network: with taps, with other weights, resumed at a block, or stopped early."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any, Protocol, cast

import torch
from torch import nn
from torch.func import functional_call
from torch.nn.functional import linear

from commutes.engine._patched import patched
from commutes.engine._products import fast_products
from commutes.engine._taps import Enough, Tap, tapped
from commutes.errors import EngineError
from commutes.network import Moment, Network, hooks_of

Weights = Mapping[str, torch.Tensor]


class Start(Protocol):
    """Where a run begins, if not at the inputs."""

    @property
    def options(self) -> Mapping[str, object]:
        """What the module is called with beside tensors."""
        ...

    def entered(self, network: Network, /) -> AbstractContextManager[None]:
        """In which the network's module runs from there on."""
        ...


@dataclass(frozen=True, eq=False)
class Resume:
    """Start behind block `block`, whose output is known to be `state`: earlier blocks pass their input on."""

    block: int
    state: torch.Tensor

    @property
    def options(self) -> Mapping[str, object]:
        """Nothing."""
        return {}

    @contextmanager
    def entered(self, network: Network) -> Iterator[None]:
        """For one forward: the block itself answers with the known state."""
        before = [network.module.get_submodule(path) for path in network.blocks[: self.block + 1]]
        states = [None] * self.block + [self.state]
        with patched([(m, _answers(s)) for m, s in zip(before, states, strict=True)]):
            yield


def forward(
    network: Network,
    args: Sequence[torch.Tensor],
    kwargs: Mapping[str, torch.Tensor],
    *,
    taps: Mapping[Moment, Tap],
    weights: Weights | None = None,
    start: Start | None = None,
    columns: torch.Tensor | None = None,
) -> torch.Tensor:
    """The logits, with every tap applied.  # shape: (n, answers), or (n, tokens, vocabulary)

    Args:
        network: Whose module is run.
        args: What it is called with, by place.
        kwargs: And by name.
        taps: What to do at each moment.
        weights: Parameters to run with instead of the module's own.
        start: Where the run begins; at the inputs by default.
        columns: Of the logits, in this order; all by default.

    Raises:
        EngineError: The module that is read, or one that is tapped, did not fire as declared.
    """
    read: list[torch.Tensor] = []
    logits_at = Moment(network.read_path, "output", None, None) if network.read_path else None
    # A tap at the very module that is read must come first, so that the logits are the edited ones.
    head = None if columns is None else _head(network, taps)

    def run() -> object:
        return _call(network, args, kwargs, weights, _options(network, start))

    with started(network, start), narrowed(head, columns), tapped(network, taps, again=run):
        handle = None
        try:
            if logits_at is not None:
                module = network.module.get_submodule(logits_at.path)
                handle = module.register_forward_hook(lambda _m, _a, out: read.append(network.logits_of(out)))
            returned = run()
        finally:
            if handle is not None:
                handle.remove()
    if logits_at is None:
        read.append(network.logits_of(returned))
    if len(read) != 1:
        raise EngineError(
            "the module that read= names did not fire once",
            where=f"{logits_at} of {network.name}",
            got="did not run" if not read else f"ran {len(read)} times",
            expected="exactly one call",
            fix="name a module that runs once with read=, or let the network return its logits",
        )
    logits = read[0]
    return (
        logits if columns is None or head is not None else logits.index_select(-1, columns.to(logits.device))
    )


def observe(
    network: Network,
    args: Sequence[torch.Tensor],
    kwargs: Mapping[str, torch.Tensor],
    *,
    taps: Mapping[Moment, Tap],
    weights: Weights | None = None,
    start: Start | None = None,
    options: Mapping[str, object] | None = None,
) -> None:
    """Run only as far as the last tap; `options` are what the module is called with beside tensors."""
    if not taps:
        return

    def run() -> object:
        return _call(network, args, kwargs, weights, {**_options(network, start), **(options or {})})

    try:
        with started(network, start), tapped(network, taps, again=run, stop_early=True):
            run()
    except Enough:
        return


def _call(
    network: Network,
    args: Sequence[torch.Tensor],
    kwargs: Mapping[str, torch.Tensor],
    weights: Weights | None,
    options: Mapping[str, object],
) -> object:
    # Copies: a module may write into what it is called with, and a batch is run more than once.
    own = tuple(a.clone() for a in args)
    named: dict[str, object] = {name: a.clone() for name, a in kwargs.items()}
    named |= options
    if weights is None:
        with fast_products(network.module):
            return network.module(*own, **named)
    return functional_call(network.module, dict(weights), own, named)


def _options(network: Network, start: Start | None) -> Mapping[str, object]:
    return network.options if start is None else {**network.options, **start.options}


def started(network: Network, start: Start | None) -> AbstractContextManager[None]:
    """In which the network's module runs from the start on."""
    return nullcontext() if start is None else start.entered(network)


def _head(network: Network, taps: Mapping[Moment, Tap]) -> nn.Linear | None:
    """The projection to the vocabulary of a language model, where its output is what is answered and nothing else."""
    if network.language is None:
        return None
    head = cast("Any", network.module).get_output_embeddings()
    if not isinstance(head, nn.Linear) or len(head.weight) != network.language.anatomy.vocabulary:
        return None
    # Whoever looks at what the head returns, or makes it answer in another way, means all of it.
    seen = any(network.module.get_submodule(moment.path) is head for moment in taps)
    own = "forward" in head.__dict__ or type(head).forward is not nn.Linear.forward
    return None if seen or own or hooks_of(network.module) else head


@contextmanager
def narrowed(head: nn.Linear | None, columns: torch.Tensor | None) -> Iterator[None]:
    """For one forward the output head answers with these rows only."""
    if head is None or columns is None:
        yield
        return
    rows = columns.to(head.weight.device)

    def forward(state: torch.Tensor) -> torch.Tensor:
        # Looked up only now: the forward may run with other weights than the module's.
        return linear(state, head.weight[rows], None if head.bias is None else head.bias[rows])

    with patched([(head, forward)]):
        yield


def _answers(state: torch.Tensor | None) -> object:
    def skipped(first: object, *_args: object, **_kwargs: object) -> object:
        # A copy: what comes next may write into it in place, and the state is kept for other runs.
        return first if state is None else state.clone()

    return skipped

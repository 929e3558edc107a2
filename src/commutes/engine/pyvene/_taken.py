"""Which tensor pyvene takes at a module, and whether writing into it does what replacing it would do."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Literal

import torch

from commutes.engine._forward import forward
from commutes.engine.pyvene._twin import Twin, cannot
from commutes.network import Inputs, Moment, Network

Side = Literal["input", "output"]

# Rows of the runs that compare writing in place with replacing, and how far they may differ, in units of
# rounding of the largest logit: both do the same operations on the same shapes.
_ROWS, _TOLERANCE = 4, 32


def check_tensor(twin: Twin, inputs: Inputs, moment: Moment) -> None:
    """pyvene takes the first value that a module gets or gives, and writes into it where it lies."""
    rows = inputs.rows(torch.arange(_ROWS) % inputs.n)
    ours: list[torch.Tensor] = []
    theirs: list[torch.Tensor] = []
    noise: list[torch.Tensor] = []
    generator = torch.Generator().manual_seed(0)

    def replace(tensor: torch.Tensor) -> torch.Tensor:
        ours.append(tensor.clone())
        noise.append((tensor.std() + 1) * torch.randn(tensor.shape, generator=generator).to(tensor))
        return tensor + noise[0]

    def write(value: object, _item: int | str | None) -> None:
        if isinstance(value, torch.Tensor):
            theirs.append(value.clone())
            if value.shape == noise[0].shape:
                value.add_(noise[0])

    with torch.no_grad():
        replaced = forward(twin.network, rows.args, rows.kwargs, taps={moment: replace})
        try:
            with _hooked(twin.network, moment.path, moment.side, write):
                written = forward(twin.network, rows.args, rows.kwargs, taps={})
        except RuntimeError as error:
            raise cannot(
                f"a tensor that cannot be written into: {error}",
                where=str(moment),
                expected="a tensor with memory of its own",
            ) from error
    if not theirs or not torch.equal(ours[0], theirs[0]):
        raise cannot(
            "another value: pyvene takes the first that the module gets or returns",
            where=str(moment),
            expected="a site at the first of them",
        )
    gap = float((replaced - written).abs().max())
    if not gap <= _TOLERANCE * torch.finfo(replaced.dtype).eps * (1 + float(replaced.abs().max())):
        raise cannot(
            f"a tensor that is used elsewhere too; pyvene writes into it, and a logit moves by another {gap:.2g}",
            where=str(moment),
            expected="a tensor that nothing else reads",
            fix="choose the module that makes it, or all modules that read it",
        )


def first_item(network: Network, inputs: Inputs, path: str, side: Side) -> int | str | None:
    """Which of the values at a module is the one that pyvene takes; None where there is one only."""
    found: list[int | str | None] = []
    rows = inputs.rows(torch.zeros(1, dtype=torch.long))
    with torch.no_grad(), _hooked(network, path, side, lambda _, item: found.append(item)):
        forward(network, rows.args, rows.kwargs, taps={})
    return found[0] if found else None


@contextmanager
def _hooked(
    network: Network, path: str, side: Side, see: Callable[[object, int | str | None], None]
) -> Iterator[None]:
    """Show what pyvene would take at a module, and which of several values that is."""
    module = network.module.get_submodule(path)

    def after(_m: Any, _args: Any, out: Any) -> None:
        if isinstance(out, dict):
            see(next(iter(out.values())), next(iter(out)))
        else:
            see(*((out[0], 0) if isinstance(out, tuple) else (out, None)))

    def before(_m: Any, args: tuple[Any, ...], named: dict[str, Any]) -> None:
        if args:
            see(args[0], 0 if len(args) > 1 else None)
        elif named:
            see(next(iter(named.values())), next(iter(named)))

    if side == "output":
        handle = module.register_forward_hook(after)
    else:
        handle = module.register_forward_pre_hook(before, with_kwargs=True)
    try:
        yield
    finally:
        handle.remove()

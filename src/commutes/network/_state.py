"""What decides a module's answers beside its inputs and can be changed behind one's back: hooks and weights."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

import torch
from torch import nn
from torch.nn.modules import module as torch_module

# What stands for the path where a hook is on every module there is.
_EVERYWHERE = "every module"

# Every so manieth number: widths are seldom multiples of these, so that exchanged rows change some sum.
_STEPS = (1, 7, 11)


class State(NamedTuple):
    """A module at one moment, as far as that can be told without reading its weights."""

    hooks: tuple[int, ...]
    """The numbers that torch gave to the hooks, which it never gives twice."""
    weights: tuple[tuple[int, int], ...]
    """Address of every parameter, and how often it was written into; not counting what went through `.data`."""


def state_of(module: nn.Module) -> State:
    """The module as it stands now: cheap enough to be asked for before every run."""
    parts = list(module.modules())
    weights = [t for part in parts for t in part._parameters.values() if t is not None]
    return State(_hooks(parts), tuple((address(t), changes(t)) for t in weights))


def hooks_of(module: nn.Module) -> tuple[int, ...]:
    """The numbers of all hooks that take part when the module runs."""
    return _hooks(module.modules())


def hooked(module: nn.Module) -> list[str]:
    """Where there are hooks, forward and backward ones: paths of modules, and whether they are on all there are."""
    found = [_EVERYWHERE] if _everywhere() else []
    for path, part in module.named_modules():
        if any(_kinds(part)):
            found.append(path or "the module itself")
    return found


def address(tensor: torch.Tensor) -> int:
    """Where a tensor lies; 0 for one that lies in no one place."""
    try:
        return tensor.data_ptr()
    except RuntimeError:
        return 0


def changes(tensor: torch.Tensor) -> int:
    """How often a tensor was written into; 0 for one that does not count it."""
    return 0 if tensor.is_inference() else tensor._version


def contents(tensors: Iterable[torch.Tensor]) -> list[list[float]]:
    """Sums of all numbers of each tensor, and of some: other values, or the same in another order, have others.

    Every number is read: that takes about as long as to run one short prompt.
    """
    found: dict[torch.device, list[torch.Tensor]] = {}
    for tensor in tensors:
        flat = tensor.detach().reshape(-1)
        # Half types hold too few digits for a sum of millions.
        kind = torch.promote_types(flat.dtype, torch.float32) if flat.dtype != torch.bool else torch.float64
        sums = [flat[::step].sum(dtype=kind).double() for step in _STEPS]
        found.setdefault(flat.device, []).append(torch.stack(sums))
    # One transfer from each device.
    return [row for own in found.values() for row in torch.stack(own).tolist()]


def _hooks(parts: Iterable[nn.Module]) -> tuple[int, ...]:
    there = (kind for part in parts for kind in _kinds(part))
    return (*_everywhere(), *(key for kind in there for key in kind))


def _kinds(part: nn.Module) -> tuple[Mapping[int, object], ...]:
    # One by one: they are looked up for every part of a network before every run.
    return part._forward_pre_hooks, part._forward_hooks, part._backward_pre_hooks, part._backward_hooks


def _everywhere() -> tuple[int, ...]:
    kinds = (
        torch_module._global_forward_pre_hooks,
        torch_module._global_forward_hooks,
        torch_module._global_backward_pre_hooks,
        torch_module._global_backward_hooks,
    )
    return tuple(key for kind in kinds for key in kind)

"""Untrained twins of a network: the null that an alignment must beat."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Literal, cast

import torch
from torch import nn

from commutes.errors import NetworkError


def reinitialise(
    module: nn.Module,
    seed: int,
    *,
    kind: Literal["reset", "cascade", "shuffle"],
    blocks: Sequence[str],
) -> nn.Module:
    """A copy of `module` with other weights. Neither the module nor the global generator is touched."""
    twin = copy.deepcopy(module)
    if kind == "shuffle":
        _shuffle(twin, seed)
    elif kind == "reset":
        _reset(twin, seed, list(twin.named_modules()))
    elif kind == "cascade":
        _reset(twin, seed, _upper_half(twin, blocks))
    else:
        raise NetworkError(
            "no such way to re-initialise", got=repr(kind), expected="'reset', 'cascade' or 'shuffle'"
        )
    return twin


def _shuffle(twin: nn.Module, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in twin.parameters():
            order = torch.randperm(parameter.numel(), generator=generator).to(parameter.device)
            parameter.copy_(parameter.reshape(-1)[order].reshape(parameter.shape))


def _reset(twin: nn.Module, seed: int, modules: Sequence[tuple[str, nn.Module]]) -> None:
    # reset_parameters draws from the global generator and takes no other: the user's is forked.
    with torch.random.fork_rng(devices=_cuda_devices(twin)):
        torch.manual_seed(seed)
        kept = _kept(twin, [module for _, module in modules])
        # A Hugging Face model draws the weights of all its modules itself, and leaves those that are marked.
        draw: Callable[[nn.Module], None] | None = getattr(twin, "_init_weights", None)
        for parameter in twin.parameters():
            vars(parameter).pop("_is_hf_initialized", None)
        # Children first, as in construction: what a module says about its parts stands.
        for path, module in reversed(modules):
            own = [name for name, p in module.named_parameters(recurse=False) if id(p) not in kept]
            if draw is not None:
                if own or not list(module.parameters(recurse=False)):
                    with torch.no_grad():
                        draw(module)
                continue
            reset = getattr(module, "reset_parameters", None) or getattr(module, "_reset_parameters", None)
            if own and reset is None:
                raise NetworkError(
                    "the network cannot be re-initialised",
                    where=path or type(module).__name__,
                    got=f"parameters {', '.join(own)} in a module without reset_parameters()",
                    expected="a reset_parameters method on every module that owns parameters",
                    fix="give the module a reset_parameters() method: the untrained null needs it",
                )
            if reset is not None:
                cast("Callable[[], None]", reset)()


def _kept(twin: nn.Module, modules: Sequence[nn.Module]) -> set[int]:
    """The parameters of all other modules: what is shared with them (tied embeddings) stays."""
    drawn = set(map(id, modules))
    others = (module for module in twin.modules() if id(module) not in drawn)
    return {id(p) for module in others for p in module.parameters(recurse=False)}


def _upper_half(twin: nn.Module, blocks: Sequence[str]) -> list[tuple[str, nn.Module]]:
    """The blocks of the upper half and what is registered behind them; all that comes before stays."""
    if len(blocks) < 2:
        raise NetworkError(
            "a cascade needs blocks",
            got=f"{len(blocks)} blocks",
            expected="a network that declares at least two",
            fix="give Network blocks=, or re-initialise with kind='reset'",
        )
    first = blocks[len(blocks) // 2]
    listed = list(twin.named_modules())
    start = next(i for i, (path, _) in enumerate(listed) if path == first)
    kept = blocks[: len(blocks) // 2]
    return [
        (path, module)
        for path, module in listed[start:]
        if not any(path == block or path.startswith(block + ".") for block in kept)
    ]


def _cuda_devices(module: nn.Module) -> list[int]:
    return sorted({p.device.index or 0 for p in module.parameters() if p.device.type == "cuda"})

"""What a network does when it runs: which modules, how often, and whether it answers the same twice."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import nn

from commutes.errors import NetworkError
from commutes.network._inputs import Inputs


@dataclass(frozen=True)
class ModuleCall:
    """What a probing forward saw of one module: how often it ran and what it returned first."""

    path: str
    kind: str
    calls: int
    shape: tuple[int, ...] | None
    note: str = ""


def probe(
    module: nn.Module, modules: Mapping[str, nn.Module], inputs: Inputs, options: Mapping[str, object]
) -> list[ModuleCall]:
    """Run the inputs once and look at every module."""
    seen: dict[str, list[object]] = {path: [] for path in modules}
    handles = []
    try:
        for path, part in modules.items():

            def hook(_m: nn.Module, _a: object, output: object, path: str = path) -> None:
                seen[path].append(output)

            handles.append(part.register_forward_hook(hook))
        with torch.no_grad():
            module(*inputs.args, **inputs.kwargs, **options)
    finally:
        for handle in handles:
            handle.remove()
    return [_call(path, modules[path], outputs) for path, outputs in seen.items()]


def check_mode(modules: Mapping[str, nn.Module]) -> None:
    """Refuse a module whose answers are random, that mixes the examples of a batch, or that has no gradients."""
    for path, module in modules.items():
        if any(p.is_inference() for p in module.parameters(recurse=False)):
            raise NetworkError(
                "the network's weights were made in inference mode",
                where=path or "the module itself",
                got="tensors of which torch keeps nothing that a gradient needs",
                expected="weights that were made or loaded outside torch.inference_mode()",
                fix="load the model outside of it; for runs without gradients torch.no_grad() is enough",
            )
        if module.training and _is_random(module):
            raise NetworkError(
                "the network is in training mode",
                where=path or "the module itself",
                got=f"{type(module).__name__} in training mode",
                expected="a network that gives the same answer twice",
                fix="call module.eval() first",
            )
        if isinstance(module, nn.modules.batchnorm._BatchNorm) and module.running_mean is None:
            raise NetworkError(
                "the network's answer to one input depends on the others in the batch",
                where=path or "the module itself",
                got=f"{type(module).__name__} without running statistics",
                expected="a network that answers each input alone",
                fix="train it with track_running_stats=True",
            )


def _is_random(module: nn.Module) -> bool:
    """Whether the module in training mode answers at random, or by statistics of the batch."""
    if isinstance(module, nn.modules.dropout._DropoutNd):
        return module.p > 0
    if isinstance(module, nn.MultiheadAttention | nn.RNNBase):
        return module.dropout > 0
    if isinstance(module, nn.modules.batchnorm._NormBase):
        return module.track_running_stats
    # Transformers keep the share of attention that they drop, or the size of a router's noise, as a plain number.
    drops = [v for name, v in vars(module).items() if "drop" in name or "jitter" in name]
    return isinstance(module, nn.RReLU) or any(isinstance(v, float) and v > 0 for v in drops)


def _call(path: str, module: nn.Module, outputs: list[object]) -> ModuleCall:
    kind = type(module).__name__
    if not outputs:
        return ModuleCall(path, kind, 0, None, "does not run")
    first = outputs[0]
    if isinstance(first, torch.Tensor):
        note = (
            ""
            if first.is_floating_point()
            else f"holds {str(first.dtype).removeprefix('torch.')}, no activations"
        )
        return ModuleCall(path, kind, len(outputs), tuple(first.shape), note)
    if isinstance(first, tuple | list):
        members = ", ".join(
            str(tuple(m.shape)) if isinstance(m, torch.Tensor) else type(m).__name__ for m in first
        )
        return ModuleCall(path, kind, len(outputs), None, f"a tuple of {members}: choose with item=")
    return ModuleCall(path, kind, len(outputs), None, f"returns {type(first).__name__}")

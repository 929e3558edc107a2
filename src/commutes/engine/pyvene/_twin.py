"""pyvene, imported without a word, and a twin of a network with which it may do what it does to models.

pyvene switches gradients off, sets the mode, and takes every hook away: all of that for good. Here it gets a copy
of the modules, whose weights are the network's own memory.
"""

from __future__ import annotations

import contextlib
import copy
import io
import sys
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from commutes.engine._forward import forward
from commutes.errors import EngineError
from commutes.network import Inputs, Network

# Name of the network's module in the one around it.
_PREFIX = "module"


def pyvene() -> Any:
    """The module, which on its first import prints and warns about things that nobody asked for."""
    if "pyvene" not in sys.modules:
        with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import pyvene as module  # noqa: F401 - under its own name from here on
    return sys.modules["pyvene"]


def cannot(what: str, *, where: str, expected: str, fix: str | None = None) -> EngineError:
    """The refusal of what pyvene would do otherwise, or not at all."""
    return EngineError(
        "pyvene cannot run this as declared", where=where, got=what, expected=expected, fix=fix
    )


@dataclass(frozen=True, eq=False)
class Twin:
    """What pyvene drives instead of the network's module."""

    network: Network
    """The same reading around the copied modules."""
    model: nn.Module
    """What pyvene is given: the copy itself, or a module around it that is called with inputs by name."""
    prefix: str
    """Of paths in `model`."""

    def named(self, inputs: Inputs) -> dict[str, Any]:
        """What the model is called with. The tensors are copies: pyvene may write into them."""
        tensors = {f"input_{i}": a.clone() for i, a in enumerate(inputs.args)}
        tensors |= {name: a.clone() for name, a in inputs.kwargs.items()}
        # Tensors first: pyvene reads the number of examples off the first entry.
        return tensors if self.prefix else {**tensors, **self.network.options}

    def logits(self, returned: object) -> torch.Tensor:
        """The logits in what the model returned."""
        return returned if self.prefix else self.network.logits_of(returned)  # type: ignore[return-value]


class _Driven(nn.Module):
    """What pyvene asks of a model: a configuration, a device, inputs by name."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.module = network.module
        self.config: Mapping[str, object] = {}
        self._network = network

    @property
    def device(self) -> torch.device:
        """Where the inputs go."""
        return self._network.device

    def forward(self, **named: torch.Tensor) -> torch.Tensor:
        """The network's logits."""
        places = [name for name in named if name.startswith("input_") and name[6:].isdigit()]
        args = [named.pop(name) for name in places]
        return forward(self._network, args, named, taps={})


def twin(network: Network, inputs: Inputs) -> Twin:
    """A copy of the network's modules that shares their weights and buffers.

    Raises:
        EngineError: Modules with hooks of their own, or on several devices.
    """
    where = network.name
    hooked = [path for path, m in network.module.named_modules() if m._forward_hooks or m._forward_pre_hooks]
    if hooked:
        raise cannot(
            f"a forward hook on {hooked[0] or 'the module itself'}; pyvene removes every hook when it runs",
            where=where,
            expected="a network without hooks",
            fix="remove the hooks, or put what they do into the module",
        )
    tensors = (*network.module.parameters(), *network.module.buffers())
    devices = sorted({str(t.device) for t in tensors})
    if len(devices) > 1:
        raise cannot(
            f"modules on {' and '.join(devices)}; pyvene looks up positions on one device",
            where=where,
            expected="a network on one device",
        )
    memo: dict[int, Any] = {
        id(p): nn.Parameter(p.detach(), requires_grad=False) for p in network.module.parameters()
    }
    memo |= {id(b): b for b in network.module.buffers()}
    copied = network.with_module(copy.deepcopy(network.module, memo))
    # A Hugging Face model is known to pyvene by its class, and its places by their names.
    known = hasattr(network.module, "config") and hasattr(network.module, "device")
    if known and not network.read_path and not inputs.args:
        return Twin(copied, copied.module, "")
    return Twin(copied, _Driven(copied), f"{_PREFIX}.")


def weights_of(model: nn.Module) -> Mapping[str, torch.Tensor]:
    """The weights of what pyvene was given, under the names that they have in the network."""
    return (model.module if isinstance(model, _Driven) else model).state_dict()


def without_prefix(model: nn.Module, path: str) -> str:
    """A path of what pyvene was given as one of the network's."""
    return path.removeprefix(_PREFIX).removeprefix(".") if isinstance(model, _Driven) else path

"""What a network computes, as a hash: structure, weights, options, how it reads inputs and where its answers are.

A tokenizer is known by its words, merges and rules: with another one the same network reads something else.

Nothing that differs from process to process goes in: no addresses, no order of a set, no name of a module that was
made up when a file was loaded. What `encode` and `decode` do is known by their bytecode, which another version of
Python spells in another way.
"""

from __future__ import annotations

import enum
import functools
import hashlib
import json
import types
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

if TYPE_CHECKING:
    from commutes.network._network import Network

_PLAIN = (bool, int, float, complex, str, bytes, type(None))
# What every module has, and where a model of the hub was read from.
_NOT_OPTIONS = {*vars(nn.Module()), "name_or_path"}


def fingerprint(network: Network) -> str:
    """SHA-256 over what the network computes and how it is read, equal in every process."""
    digest = hashlib.sha256()
    for path, module in network.module.named_modules():
        digest.update(repr((path, type(module).__qualname__, _options(module))).encode())
    _add_state(digest, network.module)
    read = (network.read_path, network.read_position, network.blocks)
    said = _Said()
    parts = (read, said.value(network.answers), said.code(network._encode), said.code(network.decode))
    digest.update(repr(parts).encode("utf-8", "backslashreplace"))
    return digest.hexdigest()


def _add_state(digest: Any, module: nn.Module) -> None:
    for key, tensor in module.state_dict().items():
        if isinstance(tensor, torch.Tensor):
            digest.update(f"{key} {_tensor(tensor)}".encode())


def _options(module: nn.Module) -> list[tuple[str, str]]:
    """The plain attributes of a module, such as the rate of a dropout or the kind of an attention."""
    own = {name: value for name, value in vars(module).items() if name not in _NOT_OPTIONS}
    return sorted((name, repr(value)) for name, value in own.items() if _is_plain(value))


def _is_plain(value: object) -> bool:
    return type(value) in _PLAIN or (type(value) is tuple and all(map(_is_plain, value)))


def _tensor(tensor: torch.Tensor) -> str:
    plain = tensor.detach().cpu().contiguous()
    if plain.is_quantized or plain.layout is not torch.strided:
        return f"{tuple(plain.shape)} {plain.dtype} {plain.layout}"
    data = plain.reshape(-1).view(torch.uint8).numpy().tobytes()
    return f"{tuple(plain.shape)} {plain.dtype} {hashlib.sha256(data).hexdigest()}"


class _Said:
    """Values and functions as texts; each function once, so that functions that call each other come to an end."""

    def __init__(self) -> None:
        self._seen: dict[int, int] = {}

    def value(self, value: object) -> str:
        """A value, whole where it is plain, an array, a function or made of these; otherwise the name of its type."""
        if type(value) in _PLAIN:
            return repr(value)
        if isinstance(value, enum.Enum):
            return f"{type(value).__qualname__}.{value.name}"
        if isinstance(value, torch.Tensor):
            return f"tensor {_tensor(value)}"
        if isinstance(value, np.ndarray | np.generic):
            return _array(np.asarray(value), self)
        if isinstance(value, tuple | list | set | frozenset):
            parts = [self.value(item) for item in value]
            if isinstance(value, set | frozenset):
                parts.sort()
            return f"{type(value).__name__}({', '.join(parts)})"
        if isinstance(value, Mapping):
            return (
                f"mapping({', '.join(sorted(f'{self.value(k)}: {self.value(v)}' for k, v in value.items()))})"
            )
        if isinstance(value, types.FunctionType | types.MethodType | functools.partial):
            return self.code(value)
        if callable(getattr(value, "get_vocab", None)) and not isinstance(value, type):
            return f"{type(value).__qualname__}({_tokenizer(value)})"
        if is_dataclass(value) and not isinstance(value, type) and not self._again(value):
            parts = [f"{f.name}={self.value(getattr(value, f.name, None))}" for f in fields(value)]
            return f"{type(value).__qualname__}({', '.join(parts)})"
        return _name(value)

    def code(self, function: object) -> str:
        """What a callable does: its code and the plain values that it carries; else its qualified name."""
        if isinstance(function, functools.partial):
            parts = (function.func, function.args, function.keywords)
            return f"partial({self.code(parts[0])}, {self.value(parts[1])}, {self.value(parts[2])})"
        if isinstance(function, types.MethodType):
            return f"method({self._object(function.__self__)}, {self._function(function.__func__)})"
        if isinstance(function, types.FunctionType):
            return self._function(function)
        call = type(function).__call__ if callable(function) else None
        if isinstance(function, type) or not isinstance(call, types.FunctionType):
            return _name(function)
        return f"object({self._object(function)}, {self._function(call)})"

    def _object(self, value: object) -> str:
        if isinstance(value, nn.Module):
            digest = hashlib.sha256()
            _add_state(digest, value)
            return f"{_name(value)}({_options(value)}, {digest.hexdigest()})"
        if isinstance(value, type) or is_dataclass(value) or not hasattr(value, "__dict__"):
            return self.value(value)
        own = {
            name: item
            for name, item in vars(value).items()
            # What was worked out on the way is no part of what was given.
            if not isinstance(getattr(type(value), name, None), functools.cached_property)
        }
        return f"{_name(value)}{self.value(own)}"

    def _function(self, function: types.FunctionType) -> str:
        if self._again(function):
            return f"again {self._seen[id(function)]}"
        parts = [
            self._bytes(function.__code__),
            self.value(function.__defaults__),
            self.value(function.__kwdefaults__),
        ]
        parts += [self.value(_held(cell)) for cell in function.__closure__ or ()]
        for name in sorted(_globals_of(function.__code__)):
            value = function.__globals__.get(name)
            # Of other files' functions and of modules the name in the code says enough.
            foreign = isinstance(value, types.FunctionType) and value.__globals__ is not function.__globals__
            if value is not None and not foreign and not isinstance(value, types.ModuleType):
                parts.append(f"{name}={self.value(value)}")
        return f"function({', '.join(parts)})"

    def _bytes(self, code: types.CodeType) -> str:
        consts = [
            self._bytes(const) if isinstance(const, types.CodeType) else self.value(const)
            for const in code.co_consts
        ]
        return f"{code.co_code.hex()} {consts} {code.co_names} {code.co_varnames} {code.co_freevars}"

    def _again(self, value: object) -> bool:
        if id(value) in self._seen:
            return True
        self._seen[id(value)] = len(self._seen)
        return False


def _array(array: np.ndarray, said: _Said) -> str:
    if array.dtype.hasobject:
        return f"array {array.shape} {said.value(array.tolist())}"
    return f"array {array.shape} {array.dtype.str} {hashlib.sha256(array.tobytes()).hexdigest()}"


def _tokenizer(tokenizer: Any) -> str:
    """How texts become tokens. What was last asked of it, padding and truncation, is no part of that."""
    core: Any = getattr(tokenizer, "backend_tokenizer", tokenizer)
    if callable(getattr(core, "to_str", None)):
        rules = json.loads(core.to_str())
        how: object = {name: rules[name] for name in rules if name not in ("padding", "truncation")}
    else:
        how = dict(tokenizer.get_vocab())
    named = getattr(tokenizer, "special_tokens_map", {})
    special = {name: [str(token), getattr(tokenizer, f"{name}_id", None)] for name, token in named.items()}
    parts = [how, special, getattr(tokenizer, "split_special_tokens", False)]
    # Merges and words are kept in their order; that of settings says nothing.
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()


def _held(cell: types.CellType) -> object:
    try:
        return cell.cell_contents
    except ValueError:  # a name that is bound later
        return None


def _globals_of(code: types.CodeType) -> set[str]:
    inner = (_globals_of(const) for const in code.co_consts if isinstance(const, types.CodeType))
    return set(code.co_names).union(*inner)


def _name(value: object) -> str:
    """The qualified name, without the module's: a hypothesis file has another one each time that it is loaded."""
    own = getattr(value, "__qualname__", None)
    return own if isinstance(own, str) else type(value).__qualname__

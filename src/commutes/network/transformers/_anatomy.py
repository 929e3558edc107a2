"""What a transformer is made of, read off the model and one probing forward: blocks, heads, widths, arguments."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from commutes.errors import NetworkError
from commutes.network._probe import check_mode
from commutes.network.transformers._counting import Run, fed, first_position, ordinary_tokens, takes_positions
from commutes.network.transformers._quantised import check_weights

# Tokens of the probing forward: more than one, so that a sequence axis can be told from a single state.
PROBE = 3


@dataclass(frozen=True)
class Seen:
    """What a module was called with, or what it returned."""

    shapes: Mapping[int | str, tuple[int, ...]]
    """Shapes of the floating-point tensors, by place among the members or by name of the argument."""
    alone: bool
    """Whether there is one value only, so that nothing has to be chosen."""


@dataclass(frozen=True, eq=False)
class Anatomy:
    """A transformer as a probing forward saw it."""

    family: str
    """The model type of its configuration, such as "gpt2"."""
    blocks: tuple[str, ...]
    """Paths of its layers, in order."""
    heads: int | None
    """Query heads of a layer."""
    shared: int | None
    """Key and value heads of a layer; fewer in grouped-query attention."""
    window: int | None
    """Most tokens of a prompt, as far as the configuration says."""
    start: int | None
    """Position of a prompt's first token; None for a model that is given no positions."""
    vocabulary: int
    """Width of the logits."""
    takes: frozenset[str]
    """Names of the arguments of the model's forward."""
    options: Mapping[str, object]
    """What the model is called with beside tensors: no cache, and logits of the last position only."""
    calls: Mapping[tuple[str, str], Seen]
    """By path and side of every module that ran."""

    def inside(self, layer: int) -> list[str]:
        """Paths of the modules that run in a block, relative to it; the block itself is the empty path."""
        prefix = self.blocks[layer] + "."
        return ["", *(path.removeprefix(prefix) for path, _ in self.calls if path.startswith(prefix))]

    def item(self, path: str, side: str) -> int | str | None:
        """Which argument or member is the hidden state; None where it is alone."""
        seen = self.calls[path, side]
        states = [key for key, shape in seen.shapes.items() if is_sequence(shape)]
        return None if seen.alone or not states else states[0]

    def shape(self, path: str, side: str, item: int | str | None) -> tuple[int, ...] | None:
        """Shape of a tensor in the probing forward, or None if there is none."""
        seen = self.calls.get((path, side))
        return None if seen is None else seen.shapes.get(0 if item is None else item)


def is_sequence(shape: tuple[int, ...] | None) -> bool:
    """Whether a tensor of the probing forward has one state per token: (batch, tokens, features)."""
    return shape is not None and len(shape) == 3 and shape[1] == PROBE


def anatomy(model: nn.Module, *, last_only: bool) -> Anatomy:
    """Look at a Hugging Face language model.

    Raises:
        NetworkError: Not such a model, without a head that answers with tokens, quantised, or in training mode.
    """
    config: Any = getattr(model, "config", None)
    if not isinstance(model, nn.Module) or config is None or not hasattr(config, "get_text_config"):
        raise NetworkError(
            "a tokenizer goes with a Hugging Face model",
            got=type(model).__name__,
            expected="a transformers.PreTrainedModel such as AutoModelForCausalLM gives",
            fix="for any other module use encode= instead of a tokenizer",
        )
    check_weights(model)
    modules = dict(model.named_modules())
    check_mode(modules)
    _check_kind(model, config)
    text = config.get_text_config()
    takes = inspect.signature(model.forward).parameters
    options: dict[str, object] = {"use_cache": False} if "use_cache" in takes else {}
    if last_only and "logits_to_keep" in takes:
        options["logits_to_keep"] = 1
    ids = ordinary_tokens(model, PROBE)
    run = _runner(model, options)
    placed = takes_positions(model)
    calls, logits = _probed(modules, lambda: run(fed(ids, 0 if placed else None, _device(model))))
    start = first_position(model, ids, run, logits) if placed else None
    heads = _count(text, "num_attention_heads")
    window = _count(text, "max_position_embeddings") or 0
    return Anatomy(
        family=str(text.model_type),
        blocks=_blocks(model, modules, text),
        heads=heads,
        shared=_count(text, "num_key_value_heads") or heads,
        # Places in a table of positions that lie before the first are of no use; none or -1 is no bound.
        window=window - (start or 0) if window > 0 else None,
        start=start,
        vocabulary=logits.shape[-1],
        takes=frozenset(takes),
        options=options,
        calls=calls,
    )


def _check_kind(model: nn.Module, config: Any) -> None:
    if getattr(config, "is_encoder_decoder", False):
        raise NetworkError(
            "the model reads a prompt in one part and answers in another",
            got=f"{type(model).__name__}, an encoder with a decoder",
            expected="a decoder that continues its prompt, or an encoder that fills in a mask",
            fix="encode and read it in your own way: encode= gives input_ids and decoder_input_ids, read= the logits",
        )
    if getattr(config, "return_dict", True) is False:
        raise NetworkError(
            "the model returns a bare tuple",
            got=f"{type(model).__name__} with config.return_dict=False",
            expected="outputs by name, of which the logits are read",
            fix="set model.config.return_dict = True",
        )
    away = next((name for name, p in model.named_parameters() if p.device.type == "meta"), None)
    if away is not None:
        raise NetworkError(
            "not all weights of the model are in memory",
            where=away,
            got="a weight that is offloaded, or was never loaded",
            expected="every weight on a device",
            fix="use a smaller dtype or more devices (device_map), without offloading to disk or to the processor",
        )


def _runner(model: nn.Module, options: Mapping[str, object]) -> Run:
    """From tensors by argument name to logits; what the model says against them is said in our words."""

    def run(given: Mapping[str, torch.Tensor]) -> torch.Tensor:
        try:
            with torch.no_grad():
                returned: object = model(**given, **options)
        except torch.OutOfMemoryError:
            # That says nothing about the model.
            raise
        except Exception as error:
            lines = str(error).strip().splitlines() or [""]
            raise NetworkError(
                "the model does not run on tokens alone",
                where=type(model).__name__,
                got=f"{type(error).__name__}: {lines[0][:200]}",
                expected=f"logits for {', '.join(given)}",
                fix="encode and read it in your own way (encode=, read=)",
            ) from error
        logits = getattr(returned, "logits", None)
        if not isinstance(logits, torch.Tensor) or logits.ndim != 3:
            raise NetworkError(
                "the model does not answer with tokens",
                got=f"{type(model).__name__}, which returns {_kind(logits)}",
                expected="logits over the vocabulary at every position",
                fix="load it with AutoModelForCausalLM or AutoModelForMaskedLM",
            )
        return logits

    return run


def _probed(
    modules: Mapping[str, nn.Module], run: Callable[[], torch.Tensor]
) -> tuple[dict[tuple[str, str], Seen], torch.Tensor]:
    calls: dict[tuple[str, str], Seen] = {}
    handles = []
    try:
        for path, module in modules.items():

            def hook(_m: nn.Module, args: Any, named: Any, out: object, path: str = path) -> None:
                members = out if isinstance(out, tuple | list) else (out,)
                calls[path, "input"] = Seen(_shapes(args, named), len(args) == 1)
                calls[path, "output"] = Seen(_shapes(members, {}), members is not out)

            handles.append(module.register_forward_hook(hook, with_kwargs=True))
        logits = run()
    finally:
        for handle in handles:
            handle.remove()
    return calls, logits


def _device(model: nn.Module) -> torch.device:
    return next(model.parameters()).device


def _shapes(values: Sequence[object], named: Mapping[str, object]) -> dict[int | str, tuple[int, ...]]:
    return {
        key: tuple(value.shape)
        for key, value in (*enumerate(values), *named.items())
        if isinstance(value, torch.Tensor) and value.is_floating_point()
    }


def _blocks(model: nn.Module, modules: Mapping[str, nn.Module], text: Any) -> tuple[str, ...]:
    """The one list of layers, as long as the configuration says and of a class that must stay whole."""
    whole = set(getattr(model, "_no_split_modules", None) or ())
    depth = _count(text, "num_hidden_layers")
    found = [
        tuple(f"{path}.{i}" for i in range(len(module)))
        for path, module in modules.items()
        if isinstance(module, nn.ModuleList)
        and len(module) == depth
        and all(type(layer).__name__ in whole for layer in module)
    ]
    return found[0] if len(found) == 1 else ()


def _count(text: Any, name: str) -> int | None:
    value = getattr(text, name, None)
    return value if isinstance(value, int) else None


def _kind(logits: object) -> str:
    if isinstance(logits, torch.Tensor):
        return f"logits of shape {tuple(logits.shape)}"
    return "no logits"

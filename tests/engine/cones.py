"""Transformers for tests of the causal cone, their places in plain words, and runs by hooks on single prompts."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import torch
from torch import nn

from commutes import Network
from commutes.engine import Edited, Prepared, SiteEdit, interchange, prepare_all
from commutes.features import Subspace, rotation
from commutes.network import Site
from tests.network.transformers import models as M

CLOSE = 1e-10
K = 3
DECODERS = tuple(f for f in M.FAMILIES if f != "bert")
PADDED = tuple(f for f in DECODERS if f in M.PADDED)
# Every pair has a base and two sources; coordinate 0 comes from the first, 1 from the second, 2 stays.
BASE, SOURCE = (0, 1, 2, 3), ((1, 2), (3, 0), (0, 3), (2, 1))

NAMES = (
    "block_input", "block_output", "attention_input", "attention_output", "attention_value_output",
    "query_output", "key_output", "value_output", "mlp_input", "mlp_activation", "mlp_output",
    "head_attention_value_output", "head_query_output", "head_key_output", "head_value_output",
)  # fmt: skip
# Spans that every prompt has, also where {b} has one digit or two; the last only where all are equally long.
POSITIONS: tuple[Any, ...] = ("last", "{a}", "{b[last]}", -2, ["{a[last]}", -1], "every")


@dataclass(frozen=True)
class Spot:
    """A place in plain words: path, side or name of an argument, features, and positions of every prompt."""

    path: str
    side: str
    features: tuple[int, ...] | None
    positions: tuple[tuple[int, ...], ...]

    def read(self, tensor: torch.Tensor, row: int) -> torch.Tensor:
        """Positions slowly, features fast; of one prompt."""
        features = list(range(tensor.shape[-1])) if self.features is None else list(self.features)
        return torch.cat([tensor[0, p, features] for p in self.positions[row]])

    def written(self, tensor: torch.Tensor, row: int, new: torch.Tensor) -> torch.Tensor:
        features = list(range(tensor.shape[-1])) if self.features is None else list(self.features)
        tensor = tensor.clone()
        for p, piece in zip(self.positions[row], new.split(len(features)), strict=True):
            tensor[0, p, features] = piece
        return tensor


@cache
def network(family: str) -> Network:
    """Shared by tests, which must leave it as it was."""
    return M.network(family)


def values(padded: bool) -> dict[str, np.ndarray]:
    """Sums; {b} has one or two digits where prompts are to be padded."""
    return {"a": np.array([12, 30, 55, 98]), "b": np.array([4, 67, 8, 90] if padded else [40, 67, 81, 90])}


def start_of(family: str) -> int:
    """How many tokens the family's tokenizer puts before the prompt."""
    return 1 if family in ("bert", "llama", "gemma2") else 0


def spans(family: str, padded: bool, position: Any) -> tuple[tuple[int, ...], ...]:
    """Places of tokens in prompts that are not padded, counted by hand: [BOS] 1 2 + 4 ="""
    start = start_of(family)
    rows = []
    for b in values(padded)["b"]:
        end = start + 3 + len(str(b))
        rows.append({
            "last": (end,),
            "{a}": (start, start + 1),
            "{b[last]}": (end - 1,),
            "-2": (end - 1,),
            "['{a[last]}', -1]": (start + 1, end),
            "every": tuple(range(end + 1)),
        }[str(position)])  # fmt: skip
    return tuple(rows)


def place(family: str, name: str, layer: int) -> tuple[str, str, tuple[int, ...] | None]:
    """Where a name of the vocabulary is in a family, by hand: path, side, features. Of heads the last is meant."""
    head = name.startswith("head_")
    name = name.removeprefix("head_")
    d = 6 if family in ("llama", "qwen3", "gemma2", "gemma3_text") else 4
    shared = 4 if family in ("gpt2", "gpt_neox", "bert") else 2
    block = {"gpt2": f"transformer.h.{layer}", "gpt_neox": f"gpt_neox.layers.{layer}"}.get(
        family, f"model.layers.{layer}"
    )
    attention = {"gpt2": "attn", "gpt_neox": "attention"}.get(family, "self_attn")
    out = {"gpt2": "attn.c_proj", "gpt_neox": "attention.dense"}.get(family, "self_attn.o_proj")
    act = {"gpt2": "act", "gpt_neox": "act", "phi3": "activation_fn"}.get(family, "act_fn")
    named = "input" if family in ("gpt2", "gpt_neox") else "hidden_states"
    simple = {
        "block_input": ("", "input"),
        "block_output": ("", "output"),
        "attention_input": (attention, named),
        "attention_output": (attention, "output"),
        "mlp_input": ("mlp", "input"),
        "mlp_activation": (f"mlp.{act}", "output"),
        "mlp_output": ("mlp", "output"),
    }
    if name in simple:
        path, side = simple[name]
        return ".".join(filter(None, (block, path))), side, None
    if name == "attention_value_output":
        return f"{block}.{out}", "input", tuple(range(3 * d, 4 * d)) if head else None
    third = ("query", "key", "value").index(name.removesuffix("_output"))
    heads = [4, shared, shared][third]
    chosen = [heads - 1] if head else list(range(heads))
    if family == "gpt_neox":
        features = tuple(3 * d * h + d * third + i for h in chosen for i in range(d))
        return f"{block}.attention.query_key_value", "output", features
    if family in ("gpt2", "phi3"):
        begin = (0, 4 * d, (4 + shared) * d)[third]
        path = "attn.c_attn" if family == "gpt2" else "self_attn.qkv_proj"
        return f"{block}.{path}", "output", tuple(begin + d * h + i for h in chosen for i in range(d))
    features = tuple(d * h + i for h in chosen for i in range(d)) if head else None
    return f"{block}.self_attn.{'qkv'[third]}_proj", "output", features


def spot(family: str, padded: bool, name: str, layer: int, position: Any) -> Spot:
    return Spot(*place(family, name, layer), spans(family, padded, position))


def site(network: Network, name: str, layer: int, position: Any) -> Site:
    """The same place by the library's names."""
    head: dict[str, Any] = {}
    if name.startswith("head_"):
        count = network.language.heads(name)  # type: ignore[union-attr]
        assert count is not None
        head = {"head": count - 1}
    return network.site(name, layer=layer, position=position, **head)


class Alone:
    """Single prompts, not padded and without a word about positions, under plain hooks."""

    def __init__(self, network: Network, inputs: Mapping[str, np.ndarray]) -> None:
        prompt = network.language.prompt  # type: ignore[union-attr]
        self.model: Any = network.module
        self.rows = [torch.tensor([row.ids]) for row in prompt.tokens(inputs)]

    def run(
        self, row: int, hooks: Sequence[tuple[Spot, Callable[[torch.Tensor], torch.Tensor]]]
    ) -> torch.Tensor:
        """Logits at the last token."""
        handles = [_hook(self.model.get_submodule(s.path), s.side, change) for s, change in hooks]
        try:
            with torch.no_grad():
                return self.model(input_ids=self.rows[row]).logits[0, -1]
        finally:
            for handle in handles:
                handle.remove()

    def clean(self, spots: Sequence[Spot]) -> list[list[torch.Tensor]]:
        """By prompt, the vectors of all spots in a run that nothing else is done to."""
        found = []
        for row in range(len(self.rows)):
            seen: dict[int, torch.Tensor] = {}

            def look(tensor: torch.Tensor, i: int, row: int = row, seen: dict[int, Any] = seen) -> Any:
                seen[i] = spots[i].read(tensor, row)
                return tensor

            self.run(row, [(s, lambda t, i=i, look=look: look(t, i)) for i, s in enumerate(spots)])
            found.append([seen[i] for i in range(len(spots))])
        return found

    def swapped(
        self,
        which: Sequence[int],
        spots: Sequence[Spot],
        bases: Sequence[torch.Tensor],
        clean: Sequence[Sequence[torch.Tensor]],
        pairs: Sequence[int] = (0, 1, 2, 3),
    ) -> torch.Tensor:
        """Logits of the pairs with the spots `which` swapped, each with its own basis."""
        answers = []
        for pair in pairs:
            edits = [
                (spots[i], _swapper(spots[i], basis, BASE[pair], [clean[s][i] for s in SOURCE[pair]]))
                for i, basis in zip(which, bases, strict=True)
            ]
            answers.append(self.run(BASE[pair], edits))
        return torch.stack(answers)


def _swapper(spot: Spot, basis: torch.Tensor, row: int, sources: Sequence[torch.Tensor]) -> Any:
    def swap(tensor: torch.Tensor) -> torch.Tensor:
        return spot.written(tensor, row, swap_vector(spot.read(tensor, row), basis, sources))

    return swap


def swap_vector(h: torch.Tensor, basis: torch.Tensor, sources: Sequence[torch.Tensor]) -> torch.Tensor:
    """Coordinate j comes from source j, the others stay."""
    new = h
    for j, source in enumerate(sources):
        new = new + basis[:, j] * (basis[:, j] @ (source - h))
    return new


def _hook(module: nn.Module, side: str, change: Callable[[torch.Tensor], torch.Tensor]) -> Any:
    if side == "output":

        def after(_m: Any, _a: Any, out: Any) -> Any:
            return (change(out[0]), *out[1:]) if isinstance(out, tuple) else change(out)

        return module.register_forward_hook(after)

    def before(_m: Any, args: Any, named: Any) -> Any:
        if side == "input":
            return (change(args[0]), *args[1:]), named
        return args, {**named, side: change(named[side])}

    return module.register_forward_pre_hook(before, with_kwargs=True)


def raws(widths: Sequence[int], *, k: int = K, seed: int = 3) -> list[torch.Tensor]:
    """Raw parameters of rotations."""
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(d, min(k, d), generator=generator, dtype=torch.float64) for d in widths]


def masks(n: int, k: int) -> torch.Tensor:
    mask = torch.zeros(n, 2, k, dtype=torch.bool)
    mask[:, 0, 0] = True
    mask[:, 1, 1:2] = True
    return mask


def edited(
    prepared: Prepared, parameters: Sequence[torch.Tensor], base: Sequence[int] = BASE, source: Any = SOURCE
) -> Edited:
    """One run of the engine: a rotation per site. A slot without a source takes nothing."""
    batch = prepared.batch(torch.tensor(base), torch.tensor(source))
    maps: list[Subspace] = [rotation(raw) for raw in parameters]
    there = torch.tensor(source).unsqueeze(-1) >= 0
    return Edited(prepared, batch, maps, [masks(len(base), m.dimension) & there for m in maps])


def ready(network: Network, inputs: Mapping[str, np.ndarray], alternatives: Sequence[Sequence[Site]]) -> Any:
    """`prepare_all`, and a raw parameter for every site of every alternative."""
    prepared = prepare_all(network, inputs, alternatives)
    return prepared, [raws([layout.width for layout in one.plan.values()]) for one in prepared]


def whole(run: Edited, columns: torch.Tensor | None = None) -> torch.Tensor:
    """The same pairs run whole: every block, every position, no state of any other run but the sources'."""
    prepared, base = run.prepared, run.batch.base
    network, inputs = prepared.network, prepared.inputs
    edits = []
    for layout, feature, sources, mask in zip(
        prepared.plan.values(), run.featurizers, run.batch.sources, run.masks, strict=True
    ):
        tables = [p.positions(inputs.values, inputs.n, source=False) for p in layout.places]
        rows = tuple(None if t is None else t[base] for t in tables)
        edits.append(SiteEdit(layout, feature, sources, mask, rows))
    args = tuple(a[base] for a in inputs.args)
    named = {k: a[base] for k, a in inputs.kwargs.items()}
    return interchange(network, args, named, edits, columns=columns)

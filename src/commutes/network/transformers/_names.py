"""Names of places in a transformer: pyvene's vocabulary, and the hooks of TransformerLens that mean the same."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from commutes.network._site import Side

Third = Literal["query", "key", "value"]
Heads = Literal["query", "key"]


@dataclass(frozen=True)
class Spot:
    """Where a named tensor is in a block, if the block has that module."""

    path: str
    side: Side = "output"
    fused: str | None = None
    """How query, key and value lie in one projection: "stacked" or "interleaved" by head; None if alone."""
    families: tuple[str, ...] = ()
    """Model types of which that layout is known; any other type is refused rather than sliced wrongly."""


STACKED = ("gpt2", "phi3")
INTERLEAVED = ("gpt_neox",)

# In order of preference: the first whose module the block has. No family is asked for by name, except where
# only the family says how a fused projection is laid out.
SPOTS: dict[str, tuple[Spot, ...]] = {
    "block_input": (Spot("", "input"),),
    "block_output": (Spot(""),),
    "attention_input": tuple(Spot(p, "input") for p in ("self_attn", "attn", "attention.self", "attention")),
    "attention_output": tuple(Spot(p) for p in ("self_attn", "attn", "attention.output.dense", "attention")),
    "attention_value_output": tuple(
        Spot(p, "input")
        for p in ("self_attn.o_proj", "attn.c_proj", "attention.dense", "attention.output.dense")
    ),
    **{
        f"{third}_output": (
            Spot(f"self_attn.{third[0]}_proj"),
            Spot(f"attention.self.{third}"),
            Spot("self_attn.qkv_proj", fused="stacked", families=STACKED),
            Spot("attn.c_attn", fused="stacked", families=STACKED),
            Spot("attention.query_key_value", fused="interleaved", families=INTERLEAVED),
        )
        for third in ("query", "key", "value")
    },
    "mlp_input": (Spot("mlp", "input"), Spot("intermediate", "input")),
    "mlp_activation": tuple(
        Spot(p) for p in ("mlp.act_fn", "mlp.act", "mlp.activation_fn", "intermediate.intermediate_act_fn")
    ),
    "mlp_output": (Spot("mlp"), Spot("output.dense")),
}

HEADED = ("query_output", "key_output", "value_output", "attention_value_output")
NAMES = (*SPOTS, *(f"head_{name}" for name in HEADED))

# A block that has the second of these norms what attention and MLP return before it is added to the stream.
SANDWICH = ("post_attention_layernorm", "post_feedforward_layernorm")

_LAST = ("mlp.down_proj", "mlp.c_proj", "mlp.dense_4h_to_h", "output.dense")

# What a hook of TransformerLens holds: a name of ours, or a spot of its own.
LENS: dict[str, str | Sequence[Spot]] = {
    "hook_resid_pre": "block_input",
    "hook_resid_post": "block_output",
    "hook_attn_out": "attention_output",
    "hook_mlp_out": "mlp_output",
    "attn.hook_q": "query_output",
    "attn.hook_k": "key_output",
    "attn.hook_v": "value_output",
    "attn.hook_z": "attention_value_output",
    "mlp.hook_pre": tuple(Spot(spot.path, "input") for spot in SPOTS["mlp_activation"]),
    # Of a gated MLP the product of activation and gate, where pyvene's `mlp_activation` is the activation alone.
    "mlp.hook_post": tuple(Spot(path, "input") for path in _LAST),
}
_LENS = re.compile(r"blocks\.(\d+)\.(.+)")


def lens(name: str) -> tuple[int, str] | None:
    """Layer and hook of a TransformerLens name such as "blocks.3.hook_resid_post", or None."""
    match = _LENS.fullmatch(name)
    return None if match is None else (int(match[1]), match[2])


def lens_spots(hook: str, block: Sequence[str]) -> Sequence[Spot] | str:
    """The name or the spots that a hook stands for in a block that has these modules."""
    if SANDWICH[1] in block and hook in ("hook_attn_out", "hook_mlp_out"):
        # TransformerLens means what is added to the residual stream.
        return (Spot(SANDWICH[hook == "hook_mlp_out"]),)
    return LENS[hook]

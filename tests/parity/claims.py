"""Claims about tiny transformers, and their logits in three ways: by pyvene, by the engine, by hooks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

import commutes as cm
from commutes.alignment import exchange
from commutes.engine import layouts, prepare
from commutes.features import random_raw, rotation
from tests.parity.plain import Edit, interchange

WIDE = ("llama", "qwen3", "gemma2", "gemma3_text")  # an explicit head width of 6


def sums(family: str) -> cm.Algorithm:
    """Sums of two numbers; of Gemma 2, which cannot be padded in float64, both have two digits."""
    algorithm = cm.Algorithm("last digit")
    a, b = algorithm.inputs("a b", domain=range(10, 20) if family == "gemma2" else range(5, 15))
    algorithm.add("left", a, f=lambda a: a % 5)
    algorithm.add("right", b, f=lambda b: b % 3)
    algorithm.add("digit", "left", "right", f=lambda left, right: (left + right) % 10, output=True)
    return algorithm


def fitted(alignment: cm.Alignment, seed: int = 0, dtype: torch.dtype = torch.float64) -> cm.Alignment:
    """The alignment with random rotations where it has none."""
    maps = [
        rotation(random_raw(group.width, group.dimension, seed + i, dtype=dtype)) if given is None else given
        for i, (group, given) in enumerate(zip(alignment.groups, alignment.maps, strict=True))
    ]
    return alignment.with_maps(maps)


def by_pyvene(alignment: cm.Alignment, pairs: cm.Counterfactuals, chunk: int | None = None) -> torch.Tensor:
    """Logits of the answer's position, of every pair: `to_pyvene` and `pyvene_calls` with one twin for both."""
    inputs = alignment.network.encode(alignment.algorithm.arrays(pairs.inputs))
    plan = layouts(alignment.network, inputs, alignment.sites)
    translated = exchange(alignment, inputs, plan)
    model, found = translated.model(), dict[int, torch.Tensor]()
    for rows, arguments in translated.calls(pairs, chunk or len(pairs)):
        out: Any = model(**arguments)[1]
        logits = out if isinstance(out, torch.Tensor) else out.logits[:, alignment.network.read_position]
        found |= zip(rows.tolist(), logits, strict=True)
    return torch.stack([found[i] for i in range(len(pairs))])


def by_engine(
    alignment: cm.Alignment, pairs: cm.Counterfactuals, maps: Sequence[Any] | None = None
) -> torch.Tensor:
    ready = prepare(alignment.network, alignment.algorithm.arrays(pairs.inputs), alignment.sites)
    batch = ready.batch(torch.from_numpy(pairs.base), torch.from_numpy(pairs.source))
    return ready.logits(batch, maps or alignment.featurizers, alignment.masks(pairs))


def prompts(network: cm.Network, pairs: cm.Counterfactuals) -> list[dict[str, torch.Tensor]]:
    """Every distinct input as a prompt of its own, without padding and without a word about positions."""
    language: Any = network.language
    rows = language.prompt.tokens(pairs.algorithm.arrays(pairs.inputs))
    return [{"input_ids": torch.tensor([row.ids])} for row in rows]


def by_hooks(
    alignment: cm.Alignment, pairs: cm.Counterfactuals, edits: Sequence[Sequence[Edit]]
) -> torch.Tensor:
    """Every pair by hand; of each edit column j comes from the source of variable j."""
    network, answers = alignment.network, []
    inputs = prompts(network, pairs)
    for i in range(len(pairs)):
        sources = [inputs[int(pairs.source_of(v)[i])] for v in alignment.variables]
        logits = interchange(network.module, inputs[int(pairs.base[i])], sources, edits[i])
        answers.append(logits[0, network.read_position])
    return torch.stack(answers)


# Places in plain words: path within a block, side, features. Of heads the last one.


def places(family: str) -> dict[str, tuple[str, str, list[int] | None]]:
    d = 6 if family in WIDE else 4
    head, shared = list(range(3 * d, 4 * d)), list(range(d, 2 * d))
    if family == "gpt2":
        attention, out, act = "attn", "attn.c_proj", "mlp.act"
        thirds = {t: ("attn.c_attn", list(range(16 * i, 16 * i + 16))) for i, t in enumerate("qkv")}
        heads = {t: ("attn.c_attn", list(range(16 * i + 12, 16 * i + 16))) for i, t in enumerate("qkv")}
    elif family == "gpt_neox":
        attention, out, act = "attention", "attention.dense", "mlp.act"
        fused = "attention.query_key_value"
        each = {t: [[(3 * h + i) * 4 + j for j in range(4)] for h in range(4)] for i, t in enumerate("qkv")}
        thirds = {t: (fused, [f for head in each[t] for f in head]) for t in "qkv"}
        heads = {t: (fused, each[t][3]) for t in "qkv"}
    elif family == "bert":
        attention, out, act = "attention.self", "attention.output.dense", "intermediate.intermediate_act_fn"
        thirds = {
            t: (f"attention.self.{n}", None) for t, n in zip("qkv", ("query", "key", "value"), strict=True)
        }
        heads = {t: (path, head) for t, (path, _) in thirds.items()}
    elif family == "phi3":
        attention, out, act = "self_attn", "self_attn.o_proj", "mlp.activation_fn"
        starts = {"q": (0, 16), "k": (16, 24), "v": (24, 32)}
        thirds = {t: ("self_attn.qkv_proj", list(range(*starts[t]))) for t in "qkv"}
        heads = {t: ("self_attn.qkv_proj", list(range(starts[t][1] - 4, starts[t][1]))) for t in "qkv"}
    else:
        attention, out, act = "self_attn", "self_attn.o_proj", "mlp.act_fn"
        thirds = {t: (f"self_attn.{t}_proj", None) for t in "qkv"}
        heads = {t: (f"self_attn.{t}_proj", head if t == "q" else shared) for t in "qkv"}
    bert = family == "bert"
    words = {"q": "query", "k": "key", "v": "value"}
    return {
        "block_input": ("", "input", None),
        "block_output": ("", "output", None),
        "attention_input": (attention, "input", None),
        "attention_output": ("attention.output.dense" if bert else attention, "output", None),
        "attention_value_output": (out, "input", None),
        "head_attention_value_output": (out, "input", head),
        "mlp_input": ("intermediate" if bert else "mlp", "input", None),
        "mlp_activation": (act, "output", None),
        "mlp_output": ("output.dense" if bert else "mlp", "output", None),
        **{f"{words[t]}_output": (path, "output", f) for t, (path, f) in thirds.items()},
        **{f"head_{words[t]}_output": (path, "output", f) for t, (path, f) in heads.items()},
    }


def last_head(family: str, name: str) -> int | None:
    if not name.startswith("head_"):
        return None
    alone = name in ("head_query_output", "head_attention_value_output") or family in (
        "gpt2",
        "gpt_neox",
        "bert",
    )
    return 3 if alone else 1


def from_end(family: str) -> int:
    """How many tokens stand behind the sign "="."""
    return 2 if family == "bert" else 0

"""Names of places resolve to what the model computes there: against hooks written by hand, and its attention."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
import torch
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS
from transformers.models.gemma2 import modeling_gemma2

from commutes import Network
from commutes.engine import capture
from commutes.errors import SiteError
from commutes.network.transformers import NAMES

from . import models as M

VALUES = {"a": np.array([12, 40]), "b": np.array([7, 3])}

# Block, then where each name is within it: module, side, and the argument's name where it is passed by name.
LLAMA = {
    "block_input": ("", "input"), "block_output": ("", "output"),
    "attention_input": ("self_attn", "hidden_states"), "attention_output": ("self_attn", "output"),
    "attention_value_output": ("self_attn.o_proj", "input"),
    "query_output": ("self_attn.q_proj", "output"), "key_output": ("self_attn.k_proj", "output"),
    "value_output": ("self_attn.v_proj", "output"),
    "mlp_input": ("mlp", "input"), "mlp_activation": ("mlp.act_fn", "output"), "mlp_output": ("mlp", "output"),
}  # fmt: skip
PHI = {k: v for k, v in LLAMA.items() if k not in ("query_output", "key_output", "value_output")} | {
    "mlp_activation": ("mlp.activation_fn", "output")
}
GPT2 = PHI | {
    "attention_input": ("attn", "input"), "attention_output": ("attn", "output"),
    "attention_value_output": ("attn.c_proj", "input"), "mlp_activation": ("mlp.act", "output"),
}  # fmt: skip
NEOX = GPT2 | {
    "attention_input": ("attention", "input"), "attention_output": ("attention", "output"),
    "attention_value_output": ("attention.dense", "input"),
}  # fmt: skip
BERT = {
    "block_input": ("", "input"), "block_output": ("", "output"),
    "attention_input": ("attention.self", "input"), "attention_output": ("attention.output.dense", "output"),
    "attention_value_output": ("attention.output.dense", "input"),
    "query_output": ("attention.self.query", "output"), "key_output": ("attention.self.key", "output"),
    "value_output": ("attention.self.value", "output"), "mlp_input": ("intermediate", "input"),
    "mlp_activation": ("intermediate", "output"), "mlp_output": ("output.dense", "output"),
}  # fmt: skip
BLOCKS = {"gpt2": "transformer.h.", "gpt_neox": "gpt_neox.layers.", "bert": "bert.encoder.layer."}
TABLES: dict[str, dict[str, tuple[str, str]]] = {"gpt2": GPT2, "gpt_neox": NEOX, "phi3": PHI, "bert": BERT}
LAYER = 1


def by_hand(network: Any, path: str, side: str) -> torch.Tensor:
    """The tensor at a module, seen by a hook that knows nothing of the library."""
    seen: list[torch.Tensor] = []

    def hook(_m: Any, args: Any, named: Any, out: Any) -> None:
        if side == "output":
            seen.append(out[0] if isinstance(out, tuple) else out)
        else:
            seen.append(args[0] if side == "input" else named[side])

    module = network.module.get_submodule(path)
    handle = module.register_forward_hook(hook, with_kwargs=True)
    with torch.no_grad():
        network.module(**network.encode(VALUES).kwargs)
    handle.remove()
    return seen[0]


@pytest.mark.parametrize("family", M.FAMILIES)
def test_names_are_what_hand_written_hooks_see(family: str) -> None:
    network = M.network(family)
    block = BLOCKS.get(family, "model.layers.") + str(LAYER)
    table = TABLES.get(family, LLAMA)
    sites = {name: network.site(name, layer=LAYER) for name in table}
    found = capture(network, VALUES, list(sites.values()))
    for name, (path, side) in table.items():
        seen = by_hand(network, f"{block}.{path}".rstrip("."), side)
        assert torch.equal(found[sites[name]], seen.reshape(2, 1, -1)), name


def attended(network: Any, monkeypatch: pytest.MonkeyPatch) -> list[tuple[torch.Tensor, ...]]:
    """Per layer query, key and value by head as the model attends with them, and each head's result."""
    layers: list[tuple[torch.Tensor, ...]] = []
    eager = network.module.config._attn_implementation == "eager"
    plain = modeling_gemma2.eager_attention_forward if eager else ALL_ATTENTION_FUNCTIONS["sdpa"]

    def spy(module: Any, query: Any, key: Any, value: Any, *args: Any, **named: Any) -> Any:
        result = plain(module, query, key, value, *args, **named)
        layers.append((query, key, value, result[0].transpose(1, 2)))
        return result

    if eager:
        monkeypatch.setattr(modeling_gemma2, "eager_attention_forward", spy)
    else:
        monkeypatch.setitem(ALL_ATTENTION_FUNCTIONS, "sdpa", spy)
    with torch.no_grad():
        network.module(**network.encode(VALUES).kwargs)
    monkeypatch.undo()
    return layers


def normed(network: Any, family: str, which: str, flat: torch.Tensor, heads: int) -> torch.Tensor:
    """Heads side by side as the model makes them of a projection: split, and normed where it norms them."""
    norm = dict(network.module.named_modules()).get(f"model.layers.{LAYER}.self_attn.{which}_norm")
    if family == "olmo2":
        assert norm is not None
        flat = norm(flat)
    split = flat.reshape(*flat.shape[:2], heads, -1).transpose(1, 2)
    return split if norm is None or family == "olmo2" else norm(split)


@pytest.mark.parametrize("family", M.FAMILIES)
def test_heads_are_those_the_model_attends_with(family: str, monkeypatch: pytest.MonkeyPatch) -> None:
    network = M.network(family)
    query, key, value, result = attended(network, monkeypatch)[LAYER]
    shared = key.shape[1]
    assert shared == (4 if family in ("gpt2", "gpt_neox", "bert") else 2)
    for name, seen in (("query", query), ("key", key), ("value", value), ("attention_value", result)):
        heads = [network.site(f"head_{name}_output", layer=LAYER, head=h) for h in range(seen.shape[1])]
        found = capture(network, VALUES, heads)
        flat = torch.cat([found[h].reshape(2, seen.shape[2], -1) for h in heads], dim=-1)
        whole = network.site(f"{name}_output", layer=LAYER)
        by_name = capture(network, VALUES, [whole])[whole].reshape(flat.shape)
        assert torch.equal(by_name, flat)
        got = flat.reshape(*flat.shape[:2], seen.shape[1], -1).transpose(1, 2)
        if name in ("query", "key"):
            with torch.no_grad():
                got = normed(network, family, name[0], flat, seen.shape[1])
            if family not in ("gpt2", "bert"):
                # Rotation by position comes behind the projection; at position 0 it turns nothing.
                got, seen = got[:, :, :1], seen[:, :, :1]
        assert (got - seen).abs().max() < 1e-12, name


@pytest.mark.parametrize("family", M.FAMILIES)
def test_every_name_has_a_place_in_every_family(family: str) -> None:
    network = M.network(family)
    for name, layer in itertools.product(NAMES, (0, -1)):
        head = 1 if name.startswith("head_") else None
        assert (
            network.site(name, layer=layer, head=head)
            .places[0]
            .moment.path.startswith(BLOCKS.get(family, "model.layers.") + str(layer % 3))
        )


def test_several_heads_and_parts_of_a_head() -> None:
    network = M.network("phi3")
    part = network.site("head_value_output", layer=0, head=[1, 0], part=slice(2, 6)).places[0].part
    # 4 query and 2 key heads of width 4 lie before the values.
    assert part == [30, 31, 24, 25]
    assert network.site("attention_value_output", layer=0, head=2).places[0].part == [8, 9, 10, 11]


@pytest.mark.parametrize("family", M.FAMILIES)
def test_hooks_of_transformer_lens(family: str) -> None:
    network = M.network(family)

    def seen(name: str, **options: Any) -> torch.Tensor:
        site = network.site(name, **options)
        return capture(network, VALUES, [site])[site]

    pre, post = seen(f"blocks.{LAYER}.hook_resid_pre"), seen(f"blocks.{LAYER}.hook_resid_post")
    assert torch.equal(pre, seen("block_output", layer=LAYER - 1))
    assert torch.equal(post, seen("block_output", layer=LAYER))
    attention, mlp = seen(f"blocks.{LAYER}.hook_attn_out"), seen(f"blocks.{LAYER}.hook_mlp_out")
    if family != "bert":
        # Both are what is added to the stream, also where a norm stands between the module and the sum.
        assert (pre + attention + mlp - post).abs().max() < 1e-10
    assert torch.equal(
        seen("blocks.1.attn.hook_z", head=3), seen("head_attention_value_output", layer=1, head=3)
    )
    for letter, name in (("q", "query"), ("k", "key"), ("v", "value")):
        assert torch.equal(seen(f"blocks.1.attn.hook_{letter}"), seen(f"{name}_output", layer=1))
    out = seen("blocks.1.mlp.hook_post")
    last = {"gpt2": "c_proj", "gpt_neox": "dense_4h_to_h"}.get(family, "down_proj")
    path = "output.dense" if family == "bert" else f"mlp.{last}"
    assert torch.equal(out, by_hand(network, f"{network.blocks[1]}.{path}", "input").reshape(out.shape))
    assert seen("blocks.1.mlp.hook_pre").shape == seen("mlp_activation", layer=1).shape


def text_of(network: Any, name: str, **options: Any) -> str:
    with pytest.raises(SiteError) as found:
        network.site(name, **options)
    return str(found.value)


def test_what_is_not_there_is_refused() -> None:
    network = M.network("llama")
    assert text_of(network, "block_outptu", layer=1) == (
        "there is no such module in the network\n"
        "  got:      'block_outptu'\n"
        "  expected: one of its modules; nearest: block_output, block_input, mlp_output\n"
        "  do:       list the places with `commutes sites SPEC` or dict(module.named_modules())"
    )
    assert text_of(network, "block_output", layer=99) == (
        "there is no such layer\n"
        "  where:    block_output\n"
        "  got:      layer 99 of 3\n"
        "  expected: from 0 to 2, or -3 to -1 from the last"
    )
    for layer in (1.0, "1", True):
        assert f"got:      layer {layer!r} of 3" in text_of(network, "block_output", layer=layer)
    for head in ("0", 1.0, [0.0], [True], []):
        assert f"got:      head {head!r} of query_output" in text_of(
            network, "head_query_output", layer=0, head=head
        )
    numbers = [
        network.site("head_query_output", layer=kind(1), head=kind(2)).places[0] for kind in (int, np.int64)
    ]
    assert numbers[0].moment == numbers[1].moment
    assert numbers[0].part == numbers[1].part == [12, 13, 14, 15, 16, 17]
    assert "got:      no layer=" in text_of(network, "block_output")
    assert "got:      layer 7 of 3" in text_of(network, "blocks.7.hook_resid_post")
    assert text_of(network, "head_key_output", layer=0, head=2) == (
        "there is no such head\n"
        "  where:    model.layers.0.self_attn.k_proj\n"
        "  got:      head 2 of key_output\n"
        "  expected: from 0 to 1: 4 query heads share 2 key and value heads"
    )
    assert text_of(network, "head_key_output", layer=0).startswith("the name stands for one head")
    assert text_of(network, "mlp_output", layer=0, head=1).startswith("the place has no heads")
    assert text_of(network, "blocks.0.hook_resid_mid") == (
        "no module holds the stream between attention and MLP\n"
        "  where:    blocks.0.hook_resid_mid\n"
        "  got:      a sum that is formed inside the block\n"
        "  expected: a place that a hook can edit\n"
        "  do:       use hook_attn_out or hook_resid_pre: what is added to the stream, or the stream before it"
    )
    assert "nearest: attn.hook_z" in text_of(network, "blocks.0.attn.hook_zz")
    assert text_of(network, "blocks.0.hook_resid_pre", layer=0).startswith("the layer is said twice")
    assert text_of(network, "block_output", layer=0, side="input").startswith("a name says which side")
    assert text_of(network, "lm_head", layer=0).startswith("layer= and head= go with a name")


def test_a_model_that_lacks_a_module_says_which_it_has() -> None:
    network = M.network("llama")
    for layer in network.module.model.layers:
        layer.mlp = torch.nn.Sequential(layer.mlp)
    other = Network(network.module, M.fitting_tokenizer("llama"), template=M.PROMPT, answers=M.DIGITS)
    text = text_of(other, "mlp_activation", layer=0)
    assert text.startswith("the model has no module for this place\n  where:    mlp_activation, layer 0\n")
    assert "mlp.0.gate_proj" in text.split("expected:")[0]


def test_a_fused_projection_of_unknown_layout_is_refused() -> None:
    model = M.model("gpt_neox")
    model.config.model_type = "another"
    network = Network(model, M.tokenizer(), template=M.PROMPT, answers=M.DIGITS)
    assert text_of(network, "head_query_output", layer=1, head=0) == (
        "a fused projection of unknown layout\n"
        "  where:    gpt_neox.layers.1.attention.query_key_value\n"
        "  got:      query_output of a model of type 'another'\n"
        "  expected: one of the types whose layout is known: gpt_neox\n"
        "  do:       name the module by its path and the features by part="
    )


def test_heads_that_do_not_divide_the_width_are_refused() -> None:
    model = M.model("llama")
    model.config.num_attention_heads = 5
    network = Network(model, M.fitting_tokenizer("llama"), template=M.PROMPT, answers=M.DIGITS)
    assert text_of(network, "head_query_output", layer=1, head=0).startswith(
        "the heads of this place are not known"
    )


def test_a_network_without_a_tokenizer_has_no_layers_and_heads() -> None:
    network = Network(torch.nn.Linear(2, 2), encode=lambda v: torch.zeros(1, 2), answers=[0, 1])
    assert text_of(network, "block_output", layer=0) == (
        "layers and heads are those of a language model\n"
        "  where:    block_output\n"
        "  got:      a network without a tokenizer\n"
        "  expected: Network(model, tokenizer, template=..., answers=...)\n"
        "  do:       name the module by its path and the head by part="
    )

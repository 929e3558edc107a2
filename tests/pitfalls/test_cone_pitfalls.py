"""Ways in which a cone is wrong without a word: each is shown to be there, and that ours does not fall into it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
import transformers as hf
from transformers.cache_utils import Cache, DynamicCache, DynamicLayer
from transformers.integrations.sdpa_attention import sdpa_attention_forward

from commutes import Network
from commutes.engine import Edited, _admission, _cone, cone_certificate, logits_together
from commutes.engine._kept import Kept
from commutes.engine._prefix import Prefix, prefixed, recorded, recording
from tests.engine import cones as C
from tests.engine import decoders
from tests.network.transformers import models as M

CLOSE, WRONG = 1e-10, 1e-2
SLIDING = ("mistral", "phi3")


@pytest.fixture(autouse=True, scope="module")
def _quiet() -> Iterator[None]:
    before = hf.logging.get_verbosity()
    hf.logging.set_verbosity_error()
    yield
    hf.logging.set_verbosity(before)


def run(
    network: Network, name: str, layer: int, position: Any, *, padded: bool = False, base: Any = C.BASE
) -> Edited:
    """Pairs of one edit, as a cone."""
    site = C.site(network, name, layer, position)
    (prepared,), (raws,) = C.ready(network, C.values(padded), [[site]])
    assert prepared.cone is not None
    return C.edited(prepared, raws, base, C.SOURCE[: len(base)])


def gap(*runs: Edited) -> float:
    """Largest difference of the runs, sharing a forward, to whole runs."""
    with torch.no_grad():
        pairs = zip(logits_together(runs), runs, strict=True)
        return max(float((found - C.whole(one)).abs().max()) for found, one in pairs)


def around(model: Any, family: str) -> Network:
    return Network(model, M.fitting_tokenizer(family), template=M.PROMPT, answers=M.DIGITS)


@pytest.mark.parametrize("family", ["gpt2", "llama", *SLIDING])
def test_layers_that_are_skipped_report_the_length_of_the_prefix(
    family: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Masks are made by the first layer's length, be it run or not."""
    edited = run(C.network(family), "block_output", 1, "{b[last]}")
    assert gap(edited) < CLOSE

    def silent(length: int, layers: Any) -> Cache:
        right = prefixed(length, layers).layers
        return Cache(
            layers=[one if pair else DynamicLayer() for one, pair in zip(right, layers, strict=True)]
        )

    monkeypatch.setattr(_cone, "prefixed", silent)
    assert gap(edited) > WRONG


def test_several_queries_have_a_mask(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without one sdpa takes the first keys for as many as there are queries."""
    generator = torch.Generator().manual_seed(0)
    q, k, v = (torch.randn(1, 2, n, 4, generator=generator) for n in (2, 5, 5))
    causal = torch.ones(2, 5, dtype=torch.bool).tril(3)
    module: Any = torch.nn.Identity()
    right, wrong = (sdpa_attention_forward(module, q, k, v, mask)[0] for mask in (causal, None))
    assert torch.allclose(wrong, sdpa_attention_forward(module, q, k[:, :, :2], v[:, :, :2], None)[0])
    assert (right - wrong).abs().max() > WRONG

    network = C.network("llama")
    edited = run(network, "block_output", 0, "{b[last]}")
    masks: list[Any] = []
    block = network.module.get_submodule(network.blocks[1])

    def looked(hidden: Any, own: Any = block.forward, **named: Any) -> Any:
        masks.append(named["attention_mask"])
        return own(hidden, **named)

    # No hook: the network would have changed since it was prepared.
    monkeypatch.setitem(block.__dict__, "forward", looked)
    with torch.no_grad():
        edited.prepared.logits(edited.batch, edited.featurizers, edited.masks)
    assert [tuple(mask.shape) for mask in masks] == [(4, 1, 2, 7)]


@pytest.mark.parametrize("family", ["gpt2", "llama"])
def test_positions_are_said_where_prompts_are_padded(family: str) -> None:
    """By default they are counted from the cache's length, padding and all."""
    network = C.network(family)
    kwargs = network.encode(C.values(True)).kwargs
    model: Any = network.module
    cache, start = recording(), 3
    with torch.no_grad():
        whole = model(**kwargs, past_key_values=cache).logits[:, -1]
        rows = torch.arange(len(kwargs["input_ids"]))
        before = [Prefix(pair, rows) for pair in recorded(cache)]
        rest = {"input_ids": kwargs["input_ids"][:, start:], "attention_mask": kwargs["attention_mask"]}
        wrong = model(**rest, past_key_values=prefixed(start, before)).logits[:, -1]
        rest["position_ids"] = kwargs["position_ids"][:, start:]
        right = model(**rest, past_key_values=prefixed(start, before)).logits[:, -1]
    assert (right - whole).abs().max() < CLOSE
    assert (wrong - whole).abs().max() > WRONG


@pytest.mark.parametrize("family", SLIDING)
def test_all_positions_of_sliding_layers_are_recorded(family: str) -> None:
    """The library's own cache of a sliding layer keeps the window, and cannot be cut back."""
    network = C.network(family)
    model: Any = network.module
    kwargs = network.encode(C.values(False)).kwargs
    own, ours = DynamicCache(config=model.config), recording()
    with torch.no_grad():
        model(**kwargs, past_key_values=own)
        model(**kwargs, past_key_values=ours)
    assert {keys.shape[2] for keys, _ in recorded(own)} == {3}
    assert {keys.shape[2] for keys, _ in recorded(ours)} == {6}
    with pytest.raises(RuntimeError, match="does not track past states"):
        own.crop(-2)
    assert gap(run(network, "block_output", 0, "{b[last]}"), run(network, "mlp_output", 1, "last")) < CLOSE


def test_a_stock_cache_is_consumed_by_use_and_ours_is_not() -> None:
    network = C.network("llama")
    model: Any = network.module
    kwargs = network.encode(C.values(False)).kwargs
    stock, start = recording(), 4
    rest = {name: t if name == "attention_mask" else t[:, start:] for name, t in kwargs.items()}
    first = {name: t[:, :start] for name, t in kwargs.items()}
    with torch.no_grad():
        whole = model(**kwargs).logits[:, -1]
        model(**first, past_key_values=stock)
        rows = torch.arange(len(kwargs["input_ids"]))
        kept = [Prefix((keys.clone(), values.clone()), rows) for keys, values in recorded(stock)]
        ours = prefixed(start, kept)
        found = {
            name: [
                model(**rest, past_key_values=cache).logits[:, -1] for _ in range(1 if name == "stock" else 2)
            ]
            for name, cache in (("stock", stock), ("ours", ours))
        }
    assert all((logits - whole).abs().max() < CLOSE for logits in (*found["stock"], *found["ours"]))
    assert (stock.get_seq_length(), ours.get_seq_length()) == (7, 4)


def test_the_tail_counts_where_rotary_positions_depend_on_the_length() -> None:
    """Cutting off tokens behind what is read is exact for most models, and not for longrope: ours cuts nothing off."""
    scaling = {
        "rope_type": "longrope",
        "rope_theta": 100.0,
        "short_factor": [1.0, 1.5],
        "long_factor": [3.0, 7.0],
    }
    long = M.network("phi3", rope_parameters=scaling, original_max_position_embeddings=5)
    for network, exact in ((C.network("phi3"), True), (long, False)):
        kwargs = network.encode(C.values(False)).kwargs
        model: Any = network.module
        with torch.no_grad():
            whole = model(**kwargs).logits[:, 3]
            cut = model(**{name: tensor[:, :4] for name, tensor in kwargs.items()}).logits[:, 3]
        assert ((whole - cut).abs().max() < CLOSE) == exact
        assert exact or (whole - cut).abs().max() > WRONG
        assert gap(run(network, "block_output", 0, "{a}"), run(network, "block_output", 1, "last")) < CLOSE


def test_as_many_rows_as_positions() -> None:
    """Rows are told from positions by nothing but their number: here there are 2 of each, then 6."""
    for family in ("gpt2", "llama", "gemma3_text"):
        network = C.network(family)
        for rows in (1, 3):
            cases = [("block_output", 0, "{b[last]}"), ("block_output", 1, "{b[last]}")]
            prepared, raws = C.ready(network, C.values(False), [[C.site(network, *case)] for case in cases])
            runs = [
                C.edited(one, raw, C.BASE[:rows], C.SOURCE[:rows])
                for one, raw in zip(prepared, raws, strict=True)
            ]
            assert {one.cone.start - one.inputs.kwargs["input_ids"].shape[1] for one in prepared} == {-2}
            assert gap(*runs) < CLOSE


def test_a_table_of_positions_is_not_taken_for_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two rows, two positions: of a table (2, width) the first row would be given to both positions."""
    inputs = C.values(False)
    network = decoders.network("table")
    reason = "its layers are given a tensor without a batch, of shape (3, 8)"
    assert cone_certificate(network, network.encode(inputs)).reason == reason

    monkeypatch.setattr(_admission, "_without_batch", lambda *_: "")
    network = decoders.network("table")
    assert cone_certificate(network, network.encode(inputs)).holds
    sites = [network.site("block_output", layer=layer, position=-2) for layer in (0, 1)]
    prepared, raws = C.ready(network, inputs, [[site] for site in sites])
    runs = [C.edited(one, raw, (0,), ((1, 2),)) for one, raw in zip(prepared, raws, strict=True)]
    assert gap(*runs[:1]) < CLOSE
    assert gap(*runs) > WRONG


@pytest.mark.parametrize("family", C.DECODERS)
def test_one_row(family: str) -> None:
    network = C.network(family)
    one = {name: column[:1] for name, column in C.values(False).items()}
    sites = [network.site("block_output", layer=layer, position=-2) for layer in (0, 2)]
    prepared, raws = C.ready(network, one, [[site] for site in sites])
    runs = [C.edited(ready, raw, (0,), ((0, 0),)) for ready, raw in zip(prepared, raws, strict=True)]
    assert all(ready.cone is not None for ready in prepared)
    assert gap(*runs) < CLOSE
    assert gap(*runs[1:]) < CLOSE


def test_an_edit_that_changes_nothing_certifies_anything(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that the trial's edits are random: a model that attends both ways passes it otherwise."""

    class Nothing(_admission.Unmapped):
        def write(self, state: torch.Tensor, old: torch.Tensor, new: torch.Tensor, /) -> torch.Tensor:
            return state

    inputs = C.values(False)

    def network() -> Network:
        made = M.model("llama")
        for module in made.modules():
            if hasattr(module, "is_causal"):
                module.is_causal = False
        # At the last position only: elsewhere the cone's own mask would give it away.
        return around(made, "llama")

    both = network()
    assert not cone_certificate(both, both.encode(inputs)).holds
    monkeypatch.setattr(_admission, "Unmapped", Nothing)
    monkeypatch.setattr(_admission, "_starts", lambda *_: [6])
    fooled = network()
    assert cone_certificate(fooled, fooled.encode(inputs)).holds
    site = fooled.site("block_output", layer=0, position="{b[last]}")
    (prepared,), (raws,) = C.ready(fooled, inputs, [[site]])
    assert gap(C.edited(prepared, raws)) > WRONG


def bits(kept: Kept) -> list[torch.Tensor]:
    tensors = []
    for tier in kept.states.tiers:
        tensors += [*tier.outputs.values(), *(tensor for pair in tier.pairs.values() for tensor in pair)]
    return [tensor.clone() for tensor in tensors]


@pytest.mark.parametrize("padded", [False, True])
def test_a_network_that_writes_in_place_does_not_write_into_what_is_kept(padded: bool) -> None:
    network = decoders.network("writes in place")
    inputs = C.values(padded)
    sites = [network.site("block_output", layer=layer, position=-2) for layer in (0, 1, 2)]
    sites.append(network.site("block_input", layer=1, position="last"))
    prepared, raws = C.ready(network, inputs, [[site] for site in sites])
    cone = prepared[0].cone
    assert cone is not None
    before = bits(cone.kept)
    runs = [C.edited(one, raw) for one, raw in zip(prepared, raws, strict=True)]
    for _ in range(2):
        assert gap(*runs) < CLOSE
        assert all(gap(one) < CLOSE for one in runs)
    assert all(torch.equal(a, b) for a, b in zip(before, bits(cone.kept), strict=True))


def test_gpt2_that_scales_attention_by_the_layer_keeps_its_layers_numbers() -> None:
    """In a cone layer 2 is still layer 2."""
    network = M.network("gpt2", scale_attn_by_inverse_layer_idx=True)
    runs = [run(network, "block_output", 0, "{b[last]}"), run(network, "attention_output", 2, "last")]
    assert gap(*runs) < CLOSE
    layers = network.module.transformer.h  # type: ignore[union-attr]
    shifted = [block.attn.layer_idx for block in layers]  # type: ignore[union-attr]
    assert shifted == [0, 1, 2]


def test_gpt2_that_attends_in_float32_and_scales_by_the_layer() -> None:
    options = {"reorder_and_upcast_attn": True, "scale_attn_by_inverse_layer_idx": True}
    network = M.network("gpt2", dtype=torch.float32, attn_implementation="eager", **options)
    (prepared,), (raws,) = C.ready(
        network, C.values(True), [[C.site(network, "block_output", 0, "{b[last]}")]]
    )
    assert prepared.cone is not None
    assert gap(C.edited(prepared, [raw.float() for raw in raws])) < 1e-5


# Rounding of float32, relative to the largest logit.
SINGLE = 2e-6


# Gemma 2 attends eagerly only.
KERNELS = [(f, k) for f in C.DECODERS for k in ("eager", "sdpa") if (f, k) != ("gemma2", "sdpa")]


@pytest.mark.parametrize(("family", "kernel"), KERNELS)
def test_float32_by_either_kernel(family: str, kernel: str) -> None:
    network = M.network(family, dtype=torch.float32, attn_implementation=kernel)
    inputs = C.values(True)
    assert cone_certificate(network, network.encode(inputs)).holds
    cases = [("block_output", 0, "{b[last]}"), ("mlp_output", 1, "{a}"), ("attention_output", 2, "last")]
    prepared, raws = C.ready(network, inputs, [[C.site(network, *case)] for case in cases])
    raws = [[raw.float() for raw in own] for own in raws]
    runs = [C.edited(one, own) for one, own in zip(prepared, raws, strict=True)]
    with torch.no_grad():
        size = float(C.whole(runs[0]).abs().max())
    assert network.module.config._attn_implementation == kernel  # type: ignore[union-attr]
    assert gap(*runs) < SINGLE * (1 + size)

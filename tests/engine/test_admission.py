"""Which networks are run as cones; what is refused says why, and runs whole."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import pytest
import torch
import transformers as hf

from commutes import Network
from commutes.engine import cone_certificate, logits_together
from commutes.errors import EngineError, NetworkError
from tests.network.transformers import models as M

from . import cones as C
from . import decoders, nets, zoo
from .cones import CLOSE

HOLDS = "runs from the first edited block and position equal whole runs"
TUPLES = "its layers return more than the hidden state"
UNKNOWN = "its layers are not known"


@pytest.fixture(autouse=True, scope="module")
def _quiet() -> Iterator[None]:
    """Some of these models have remarks of their own on being made."""
    before = hf.logging.get_verbosity()
    hf.logging.set_verbosity_error()
    yield
    hf.logging.set_verbosity(before)


def around(model: Any, family: str = "qwen3") -> Network:
    return Network(model, M.fitting_tokenizer(family), template=M.prompt(family), answers=M.DIGITS)


def verdict(network: Network, padded: bool = False) -> tuple[bool, str]:
    found = cone_certificate(network, network.encode(C.values(padded)))
    return found.holds, found.reason


def gap(network: Network, padded: bool, family: str = "qwen3", close: float = CLOSE) -> Sequence[bool]:
    """Checks the outputs of the first and last block against hooks on single prompts; which of them were cones."""
    inputs, blocks = C.values(padded), network.blocks
    where = [(block, position) for block in (blocks[0], blocks[-1]) for position in ("last", "{b[last]}")]
    item = [network.language.anatomy.item(block, "output") for block, _ in where]  # type: ignore[union-attr]
    sites = [network.site(b, item=i, position=p) for (b, p), i in zip(where, item, strict=True)]
    prepared, parameters = C.ready(network, inputs, [[one] for one in sites])
    runs = [C.edited(one, raws) for one, raws in zip(prepared, parameters, strict=True)]
    alone = C.Alone(network, inputs)
    spots = [C.Spot(b, "output", None, C.spans(family, padded, p)) for b, p in where]
    clean = alone.clean(spots)
    with torch.no_grad():
        for i, found in enumerate(logits_together(runs)):
            expected = alone.swapped([i], spots, [runs[i].featurizers[0].writer], clean)  # type: ignore[attr-defined]
            assert (found - expected).abs().max() < close
    return [one.cone is not None for one in prepared]


CORE = {
    "bloom": TUPLES, "falcon": TUPLES, "falcon alibi": TUPLES, "opt": HOLDS, "gpt_neo": TUPLES, "gptj": TUPLES,
    "cohere2": HOLDS, "stablelm": HOLDS, "mixtral": HOLDS, "qwen3_moe": HOLDS, "gpt_oss": HOLDS,
}  # fmt: skip
FURTHER = {
    "mpt": TUPLES, "codegen": TUPLES, "gpt_bigcode": HOLDS, "ctrl": UNKNOWN, "cohere": HOLDS, "gemma": HOLDS,
    "glm": HOLDS, "granite": HOLDS, "nemotron": HOLDS, "olmo3": HOLDS, "phi": HOLDS, "starcoder2": HOLDS,
}  # fmt: skip
# Their masks are made of float64's minimum, and their softmax is taken in float32.
NO_PADDING = ("bloom", "mpt")


@pytest.mark.parametrize("kind", [*CORE, *(pytest.param(kind, marks=pytest.mark.slow) for kind in FURTHER)])
def test_further_models_are_exact_or_refused(kind: str) -> None:
    network = zoo.network(kind)
    reason = {**CORE, **FURTHER}[kind]
    padded = kind not in NO_PADDING
    assert verdict(network, padded) == (reason == HOLDS, reason)
    if network.blocks:
        assert set(gap(network, padded)) == {reason == HOLDS}


LINEAR = "not all of its layers keep keys and values of their own, and no more (LinearAttentionLayer)"
OTHERS = {
    "mamba": "its forward takes no past_key_values",
    "recurrent_gemma": LINEAR,
    "lfm2": LINEAR,
    "jamba": LINEAR,
    "qwen3_next": LINEAR,
    "bamba": TUPLES,
    "gemma3n": LINEAR.replace("LinearAttentionLayer", "DummyLayer"),
}


@pytest.mark.parametrize("kind", OTHERS)
def test_models_that_keep_more_than_keys_and_values_are_refused(kind: str) -> None:
    network = zoo.network(kind)
    assert verdict(network) == (False, OTHERS[kind])
    if kind not in ("bamba", "gemma3n"):
        # Recurrences are in single precision whatever their model is cast to, and a batch rounds in another way.
        assert not any(gap(network, False, close=1e-5))


@pytest.mark.parametrize("padded", [False, True])
@pytest.mark.parametrize(
    ("habit", "reason"),
    [
        ("", HOLDS),
        ("writes in place", HOLDS),
        ("tuples", TUPLES),
        ("by name", "its layers are given the hidden state by name"),
        ("table", "its layers are given a tensor without a batch, of shape (3, 8)"),
        ("looks ahead", "an edit of layers.0.input[0] position 3 is off by "),
        ("feeds the last", "RuntimeError: The size of tensor a (12) must match the size of tensor b (8)"),
    ],
)
def test_decoders_of_a_users_own(habit: str, reason: str, padded: bool) -> None:
    network = decoders.network(habit)
    holds, found = verdict(network, padded)
    assert (holds, found[: len(reason)]) == (reason == HOLDS, reason)
    # The table is that of the first prompt, so that padded runs mean something else than single ones.
    if not (habit in ("table", "looks ahead") and padded):
        assert set(gap(network, padded)) == {holds}


def test_a_decoder_that_is_another_in_every_run_is_refused() -> None:
    network = decoders.network()
    # Only now: as it is made into a network it is run, and must answer the same twice.
    network.module.habit = "counts its runs"  # type: ignore[assignment]
    holds, found = verdict(network)
    assert not holds
    assert found.startswith("an edit of layers.0.input[0] position 3 is off by ")


def bidirectional(family: str, depth: int, dtype: torch.dtype = torch.float64) -> Network:
    sizes: dict[str, Any] = {"n_layer" if family == "gpt2" else "num_hidden_layers": depth}
    model = M.model(family, dtype=dtype, **sizes)
    for module in model.modules():
        if hasattr(module, "is_causal"):
            module.is_causal = False
    return around(model, family)


@pytest.mark.parametrize("depth", [2, 3])
@pytest.mark.parametrize("family", ["gpt2", "llama"])
def test_attention_that_goes_both_ways_is_found_out(family: str, depth: int) -> None:
    network = bidirectional(family, depth)
    holds, reason = verdict(network)
    item = "[0]" if family == "gpt2" else ""
    assert not holds
    assert reason.startswith(f"an edit of {network.blocks[0]}.input{item} position 3 is off by ")
    assert not any(gap(network, False, family))


@pytest.mark.parametrize("family", C.DECODERS)
def test_sixteen_bits_with_maps_of_thirty_two(family: str) -> None:
    """What is right is right within the rounding of few digits."""
    network = M.network(family, dtype=torch.bfloat16)
    assert verdict(network, padded=True) == (True, HOLDS)
    cases = [("block_output", 0, "{b[last]}"), ("head_value_output", 1, "last"), ("mlp_output", 2, "last")]
    prepared, raws = C.ready(network, C.values(True), [[C.site(network, *case)] for case in cases])
    leaves = [own[0].float().requires_grad_() for own in raws]
    runs = [C.edited(one, [leaf]) for one, leaf in zip(prepared, leaves, strict=True)]
    found = logits_together(runs)
    for logits, run in zip(found, runs, strict=True):
        whole = C.whole(run)
        assert logits.dtype == torch.bfloat16
        eps = torch.finfo(torch.bfloat16).eps
        assert (logits - whole).abs().max() <= 8 * eps * (1 + whole.abs().max())
    torch.stack([logits.float().square().sum() for logits in found]).sum().backward()
    assert all(leaf.grad is not None and bool(torch.isfinite(leaf.grad).all()) for leaf in leaves)


@pytest.mark.parametrize("family", ["gpt2", "llama", "qwen3"])
def test_sixteen_bits_do_not_hide_attention_that_goes_both_ways(family: str) -> None:
    for depth in (2, 3):
        holds, reason = verdict(bidirectional(family, depth, torch.bfloat16))
        assert not holds
        assert " is off by " in reason


CONFIGURED: list[tuple[Callable[[], Network], str]] = [
    (lambda: M.network("bert"), "its attention goes both ways"),
    (lambda: M.network("llama", is_causal=False), "its attention goes both ways"),
    (lambda: M.network("gemma3_text", use_bidirectional_attention=True), "its attention goes both ways"),
    (
        lambda: M.network(
            "llama", rope_parameters={"rope_type": "dynamic", "rope_theta": 100.0, "factor": 2.0}
        ),
        "its rotary positions depend on earlier runs (dynamic scaling)",
    ),
    (lambda: nets.mlp(blocks="layers").network(), "not a language model"),
]


@pytest.mark.parametrize(("make", "reason"), CONFIGURED)
def test_what_a_configuration_says_is_believed(make: Callable[[], Network], reason: str) -> None:
    network = make()
    inputs = C.values(False) if network.language is not None else nets.values()
    found = cone_certificate(network, network.encode(inputs))
    assert (found.holds, found.reason) == (False, reason)


def test_blocks_that_are_named_otherwise_are_no_layers_of_a_cone() -> None:
    model = M.model("qwen3")
    network = around(model)
    network.blocks = network.blocks[1:]
    assert verdict(network) == (False, UNKNOWN)


def test_gradient_checkpointing_matters_in_training_mode_only() -> None:
    network = M.network("llama")
    model: Any = network.module
    model.activation_checkpointing_enable()
    # The library puts a hook on the embedding, so that there is a gradient to checkpoint.
    assert verdict(network) == (False, "there are hooks on model.embed_tokens")
    model.disable_input_require_grads()
    assert verdict(network) == (True, HOLDS)
    assert all(gap(network, False, "llama"))
    network.module.train()
    assert verdict(network) == (False, "gradient checkpointing in training mode lets go of keys and values")
    assert not any(gap(network, False, "llama"))


def test_training_mode_without_dropout_is_run_and_with_it_refused() -> None:
    network = M.network("llama")
    network.module.train()
    assert verdict(network) == (True, HOLDS)
    assert all(gap(network, False, "llama"))
    # Llama keeps the share that it drops as a number: there is no module that drops.
    for module in network.module.modules():
        if hasattr(module, "attention_dropout"):
            module.attention_dropout = 0.5  # type: ignore[assignment]
    with pytest.raises(NetworkError, match="the network is in training mode"):
        C.ready(network, C.values(False), [[network.site("block_output", layer=0, position="last")]])


def longrope(switch: int) -> Network:
    scaling = {"short_factor": [1.0, 1.5], "long_factor": [3.0, 7.0]}
    return M.network(
        "phi3",
        rope_parameters={"rope_type": "longrope", "rope_theta": 100.0, **scaling},
        original_max_position_embeddings=switch,
    )


@pytest.mark.parametrize(("switch", "holds"), [(4, True), (5, False), (6, True)])
def test_longrope_is_run_where_all_prompts_are_on_one_side_of_its_switch(switch: int, holds: bool) -> None:
    """Prompts of 5 and 6 tokens: beside a long prompt a short one gets other positions than alone."""
    network = longrope(switch)
    reason = "its rotary positions depend on the longest prompt beside (longrope, 5 tokens)"
    assert verdict(network, padded=True) == (holds, HOLDS if holds else reason)
    # Alone again: one certificate does not stand for other prompts.
    assert verdict(network, padded=False) == (True, HOLDS)
    assert all(gap(network, False, "phi3"))
    if holds:
        assert all(gap(network, True, "phi3"))


def test_every_length_has_a_trial_of_its_own() -> None:
    network = M.network("mistral")
    short = {"a": np.array([1, 2]), "b": np.array([3, 4])}
    asked: list[int] = []
    own = network.module.forward

    def counted(*args: Any, **named: Any) -> Any:
        asked.append(1)
        return own(*args, **named)

    network.module.forward = counted
    seen = []
    for inputs in (short, C.values(False), C.values(True), short, C.values(False)):
        before = len(asked)
        assert cone_certificate(network, network.encode(inputs)).holds
        seen.append(len(asked) > before)
    assert seen == [True, True, True, False, False]


def test_not_finite_runs_are_refused_and_said() -> None:
    """Eager attention in float64 makes its mask of float64's minimum and its softmax in float32."""
    network = M.network("gemma2")
    holds, reason = verdict(network, padded=True)
    assert (holds, reason) == (False, "an edit of model.layers.0.input position 3 is off by nan")
    with pytest.raises(EngineError) as caught:
        C.ready(network, C.values(True), [[network.site("block_output", layer=1, position="last")]])
    assert str(caught.value) == (
        "the network's clean run is not finite\n"
        "  where:    model.layers.1 at last, example 0\n"
        "  got:      NaN or infinity\n"
        "  expected: finite activations\n"
        "  do:       run the network on that example alone; the intervention is not at fault"
    )

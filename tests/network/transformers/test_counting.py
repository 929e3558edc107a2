"""Positions are those that the model counts itself: its logits are those of the model that is given tokens alone."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
import transformers as hf

from commutes import Network
from commutes.engine import cone_certificate, forward
from commutes.errors import NetworkError

from . import models as M

LONG = {"a": np.array([12, 13, 98]), "b": np.array([4, 5, 6])}
MIXED = {"a": np.array([12, 3, 985]), "b": np.array([4, 678, 90])}

SIZES: dict[str, Any] = {
    "vocab_size": M.VOCABULARY,
    "hidden_size": 16,
    "intermediate_size": 20,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "max_position_embeddings": 24,
    "initializer_range": 0.3,
    "pad_token_id": 0,
    "bos_token_id": 2,
    "eos_token_id": 3,
}
SHORT: dict[str, Any] = {
    "vocab_size": M.VOCABULARY, "n_embd": 16, "n_layer": 2, "n_head": 4, "n_positions": 24, "initializer_range": 0.3,
}  # fmt: skip
# Architectures beside those that are held everywhere: other tables of positions, none, biases for distance.
CAUSAL: dict[str, tuple[str, dict[str, Any]]] = {
    "roberta": ("RobertaConfig", {**SIZES, "is_decoder": True}),
    "bert": ("BertConfig", {**SIZES, "is_decoder": True}),
    "opt": ("OPTConfig", {
        "vocab_size": M.VOCABULARY, "hidden_size": 16, "ffn_dim": 20, "num_hidden_layers": 2, "word_embed_proj_dim": 16,
        "num_attention_heads": 4, "max_position_embeddings": 24, "init_std": 0.3, "pad_token_id": 0,
    }),
    "xglm": ("XGLMConfig", {
        "vocab_size": M.VOCABULARY, "d_model": 16, "ffn_dim": 20, "num_layers": 2, "attention_heads": 4,
        "max_position_embeddings": 24, "init_std": 0.3, "pad_token_id": 0,
    }),
    "biogpt": ("BioGptConfig", SIZES),
    "bloom": ("BloomConfig", {
        "vocab_size": M.VOCABULARY, "hidden_size": 16, "n_layer": 2, "n_head": 4, "initializer_range": 0.3,
    }),
    "falcon": ("FalconConfig", {**SIZES, "alibi": True}),
    "gptj": ("GPTJConfig", {**SHORT, "rotary_dim": 4}),
    "gpt_bigcode": ("GPTBigCodeConfig", SHORT),
    "phi": ("PhiConfig", {**SIZES, "num_key_value_heads": 4}),
    "cohere": ("CohereConfig", {**SIZES, "num_key_value_heads": 2}),
}  # fmt: skip
MASKED = {
    "roberta": ("RobertaConfig", SIZES),
    "xlm-roberta": ("XLMRobertaConfig", {**SIZES, "pad_token_id": 1}),
    "camembert": ("CamembertConfig", SIZES),
    "electra": ("ElectraConfig", SIZES),
}


def model(kind: str, options: dict[str, Any], make: Any) -> Any:
    with torch.random.fork_rng():
        torch.manual_seed(11)
        # Some of them compute parts in float32 whatever the weights are, and XGLM does not run in float64.
        return make.from_config(getattr(hf, kind)(**options)).float().eval()


def network(name: str, masked: bool, **changes: Any) -> Network:
    kind, options = (MASKED if masked else CAUSAL)[name]
    make = hf.AutoModelForMaskedLM if masked else hf.AutoModelForCausalLM
    tokens = M.tokenizer(ends="[CLS] $A [SEP]") if masked else M.tokenizer()
    template = M.PROMPT + ("[MASK]" if masked else "")
    return Network(model(kind, {**options, **changes}, make), tokens, template=template, answers=M.DIGITS)


def held_to_the_model_alone(net: Network, values: dict[str, np.ndarray], tolerance: float = 1e-9) -> None:
    """Every prompt by the tokens of a tokenizer that was called by hand, and nothing beside them."""
    inputs = net.encode(values)
    with torch.no_grad():
        found = forward(net, inputs.args, inputs.kwargs, taps={})
    tokenizer, words = net.language.prompt.tokenizer, str(net.language.prompt.template)  # type: ignore[union-attr]
    for row in range(inputs.n):
        ids = tokenizer(words.format(**{k: v[row] for k, v in values.items()}))["input_ids"]
        with torch.no_grad():
            alone = net.module(input_ids=torch.tensor([ids])).logits[0, net.read_position]
        assert alone.abs().max() > 0.1
        assert (found[row] - alone).abs().max() < tolerance


@pytest.mark.parametrize("family", M.FAMILIES)
def test_every_family_answers_as_the_model_alone(family: str) -> None:
    held_to_the_model_alone(M.network(family), LONG, 1e-9 if family in M.PADDED else 1e-5)
    if family in M.PADDED:
        held_to_the_model_alone(M.network(family), MIXED)


@pytest.mark.parametrize(
    ("name", "masked"), [*((name, False) for name in CAUSAL), *((name, True) for name in MASKED)]
)
def test_other_architectures_answer_as_the_model_alone(name: str, masked: bool) -> None:
    net = network(name, masked)
    held_to_the_model_alone(net, LONG, 1e-5)
    held_to_the_model_alone(net, MIXED, 1e-5)


@pytest.mark.parametrize(("name", "masked"), [("roberta", False), ("roberta", True), ("xlm-roberta", True)])
def test_positions_are_counted_from_where_the_model_counts_them(name: str, masked: bool) -> None:
    net = network(name, masked)
    first = (CAUSAL if not masked else MASKED)[name][1]["pad_token_id"] + 1
    positions = net.encode({"a": np.array([12, 3]), "b": np.array([4, 5])}).kwargs["position_ids"]
    ends = 3 if masked else 0
    assert positions[0].tolist() == list(range(first, first + 5 + ends))
    assert positions[1].tolist() == [first, *range(first, first + 4 + ends)]
    assert net.language is not None
    # The table of 24 positions begins before the first that is used.
    assert net.language.anatomy.window == 24 - first
    fits = {"a": np.array([1]), "b": np.array([10 ** (24 - first - 4 - ends)])}
    assert net.encode(fits).n == 1
    with pytest.raises(NetworkError, match="does not fit the model's context window"):
        net.encode({"a": np.array([10]), "b": fits["b"]})


def test_a_decoder_that_counts_from_elsewhere_runs_as_a_cone() -> None:
    net = network("roberta", False)
    certificate = cone_certificate(net, net.encode(MIXED))
    assert certificate.holds, certificate.reason


def test_a_model_that_takes_no_positions_is_given_none() -> None:
    class Plain(hf.GPT2LMHeadModel):
        def forward(self, input_ids: Any, attention_mask: Any = None, use_cache: bool = False) -> Any:  # type: ignore[override]
            # Positions behind the padding, counted by the model itself.
            places = (attention_mask.cumsum(dim=1) - 1).clamp(min=0) if attention_mask is not None else None
            return super().forward(
                input_ids, attention_mask=attention_mask, position_ids=places, use_cache=use_cache
            )

    with torch.random.fork_rng():
        torch.manual_seed(0)
        own = Plain(M.model("gpt2").config).double().eval()
    net = Network(own, M.tokenizer(), template=M.PROMPT, answers=M.DIGITS)
    assert sorted(net.encode(MIXED).kwargs) == ["attention_mask", "input_ids"]
    held_to_the_model_alone(net, MIXED)


def test_positions_that_do_not_rise_by_one_are_refused() -> None:
    def twice(module: Any, args: Any, named: dict[str, Any]) -> Any:
        if named.get("position_ids") is None:
            length = named["input_ids"].shape[1]
            named["position_ids"] = 2 * torch.arange(length)[None]
        return args, named

    own = M.model("gpt2")
    own.register_forward_pre_hook(twice, with_kwargs=True)
    with pytest.raises(NetworkError) as found:
        Network(own, M.tokenizer(), template=M.PROMPT, answers=M.DIGITS)
    lines = str(found.value).splitlines()
    assert lines[:2] == [
        "the model counts positions in a way of its own",
        "  where:    GPT2LMHeadModel",
    ]
    assert lines[2].startswith("  got:      logits that move by ")
    assert lines[2].endswith(" when positions from 0 are given")
    assert lines[3:] == [
        "  expected: positions that rise by one from some number: with others it would not be the model itself",
        "  do:       encode and read it in your own way (encode=, read=), with prompts of equal length",
    ]


def test_training_feeds_the_same_positions() -> None:
    import commutes as cm
    from commutes.network.transformers import language_examples

    algorithm = cm.Algorithm("last")
    a, b = algorithm.inputs("a b", domain=range(10, 30))
    algorithm.add("left", a, f=lambda a: a % 3)
    algorithm.add("y", "left", b, f=lambda left, b: (left + b) % 10, domain=range(10), output=True)
    net = network("roberta", False)
    values = {"a": np.array([12, 13]), "b": np.array([24, 25])}
    fed, _ = language_examples(net, algorithm, algorithm.columns({"a": [12, 13], "b": [24, 25]}))
    assert torch.equal(fed[:, 2], net.encode(values).kwargs["position_ids"])

"""Models and tokenizers that do not fit what a prompt asks of them: refused in one screen, when they are given."""

from __future__ import annotations

from typing import Any

import accelerate
import numpy as np
import pytest
import torch
import transformers as hf

from commutes import Network
from commutes.errors import CommutesError, NetworkError, SiteError

from . import models as M

VALUES = {"a": np.array([1, 22]), "b": np.array([2, 3])}


def text(call: Any, kind: type[CommutesError] = NetworkError) -> str:
    with pytest.raises(kind) as found:
        call()
    return str(found.value)


def network(model: Any, tokenizer: Any = None, **changes: Any) -> Network:
    given = {"template": M.PROMPT, "answers": M.DIGITS, **changes}
    return Network(model, M.tokenizer() if tokenizer is None else tokenizer, **given)


def test_an_encoder_with_a_decoder() -> None:
    sizes: dict[str, Any] = {
        "vocab_size": M.VOCABULARY,
        "d_model": 16,
        "d_ff": 20,
        "num_layers": 1,
        "num_heads": 4,
    }
    model = hf.T5ForConditionalGeneration(hf.T5Config(**sizes)).eval()
    assert text(lambda: network(model)) == (
        "the model reads a prompt in one part and answers in another\n"
        "  got:      T5ForConditionalGeneration, an encoder with a decoder\n"
        "  expected: a decoder that continues its prompt, or an encoder that fills in a mask\n"
        "  do:       encode and read it in your own way: encode= gives input_ids and decoder_input_ids, "
        "read= the logits"
    )


def test_a_model_that_returns_a_bare_tuple() -> None:
    model = M.model("gpt2")
    model.config.return_dict = False
    assert text(lambda: network(model)) == (
        "the model returns a bare tuple\n"
        "  got:      GPT2LMHeadModel with config.return_dict=False\n"
        "  expected: outputs by name, of which the logits are read\n"
        "  do:       set model.config.return_dict = True"
    )


def test_weights_that_are_not_in_memory() -> None:
    model = accelerate.cpu_offload(
        M.model("llama", dtype=torch.float32), execution_device=torch.device("cpu")
    )
    assert text(lambda: network(model)) == (
        "not all weights of the model are in memory\n"
        "  where:    model.embed_tokens.weight\n"
        "  got:      a weight that is offloaded, or was never loaded\n"
        "  expected: every weight on a device\n"
        "  do:       use a smaller dtype or more devices (device_map), without offloading to disk or to the processor"
    )


def test_a_model_that_does_not_run_on_tokens_alone() -> None:
    class Odd(hf.GPT2LMHeadModel):
        def forward(self, input_ids: Any, pictures: Any = None, **named: Any) -> Any:  # type: ignore[override]
            if pictures is None:
                raise KeyError("pictures\nand more")
            return super().forward(input_ids, **named)

    assert text(lambda: network(Odd(M.model("gpt2").config).eval())) == (
        "the model does not run on tokens alone\n"
        "  where:    Odd\n"
        "  got:      KeyError: 'pictures\\nand more'\n"
        "  expected: logits for input_ids, attention_mask, position_ids\n"
        "  do:       encode and read it in your own way (encode=, read=)"
    )


def test_a_configuration_that_says_no_number_of_positions() -> None:
    # Its maximum is -1: there is none.
    sizes: dict[str, Any] = {
        "vocab_size": M.VOCABULARY,
        "d_model": 16,
        "n_layer": 2,
        "n_head": 4,
        "d_inner": 20,
    }
    net = network(hf.XLNetLMHeadModel(hf.XLNetConfig(**sizes)).eval())
    assert net.language is not None
    assert net.language.anatomy.window is None
    assert net.encode({"a": np.array([10**40]), "b": np.array([2])}).kwargs["input_ids"].shape == (1, 44)


@pytest.mark.parametrize("position", [2.0, ["last", 2.0], True, b"last", {"last": 1}])
def test_a_position_that_is_neither_a_number_nor_a_word(position: Any) -> None:
    got = position[1] if isinstance(position, list) else position
    assert text(
        lambda: network(M.model("gpt2")).site("block_output", layer=0, position=position), SiteError
    ) == (
        "a position is a number or a word\n"
        f"  got:      {got!r}\n"
        "  expected: 'last', a number, or a slot such as '{b}'"
    )


def with_more(*words: str) -> Any:
    """A tokenizer to which tokens were added that the models here do not know."""
    made = M.tokenizer()
    made.add_tokens(list(words), special_tokens=True)
    return made


def test_added_tokens_that_the_model_does_not_know_may_be_left_unused() -> None:
    model = M.model("gemma3_text")
    own, more = (network(model, t).encode(VALUES).kwargs for t in (M.tokenizer(), with_more("[PIC]")))
    assert torch.equal(own["input_ids"], more["input_ids"])
    # An added token for padding stands where nothing is looked at.
    padding = with_more("[FILL]")
    padding.pad_token = "[FILL]"
    net = network(M.model("llama"), padding)
    fed = net.encode(VALUES).kwargs
    assert int(fed["input_ids"].max()) < M.VOCABULARY
    with torch.no_grad():
        assert bool(torch.isfinite(net.module(**fed).logits).all())


def test_a_prompt_or_an_answer_with_such_a_token_is_refused() -> None:
    model, tokens = M.model("llama"), with_more("[PIC]")
    assert text(lambda: network(model, tokens, template="[PIC]{a}+{b}=")) == (
        "a prompt has a token that the model does not know\n"
        "  where:    the prompt: '[PIC]0+0='\n"
        f"  got:      '[PIC]' ({M.VOCABULARY})\n"
        f"  expected: tokens from 0 to {M.VOCABULARY - 1}\n"
        "  do:       leave it out; or, after adding tokens, call model.resize_token_embeddings(len(tokenizer))"
    )
    net = network(model, tokens, template="{a}+{b}=")
    assert text(lambda: net.encode({"a": np.array(["1", "[PIC]"]), "b": np.array(["1", "1"])})).startswith(
        "a prompt has a token that the model does not know\n  where:    example 1: '[PIC]+1='\n"
    )
    assert text(lambda: network(model, tokens, answers={0: "[PIC]", 1: "1"})) == (
        "an answer has a token that the model does not know\n"
        "  where:    answer 0\n"
        f"  got:      '[PIC]' ({M.VOCABULARY})\n"
        f"  expected: tokens from 0 to {M.VOCABULARY - 1}\n"
        "  do:       answer with other words; or, after adding tokens, call "
        "model.resize_token_embeddings(len(tokenizer))"
    )


def test_another_vocabulary_is_refused_though_tokens_were_added() -> None:
    # One word more than the model knows that nobody added, and one that was.
    larger = M.tokenizer(words=(*M.WORDS, "more"))
    larger.add_tokens(["[PIC]"])
    assert text(lambda: network(M.model("llama"), larger)).startswith(
        "the tokenizer is of another vocabulary than the model\n"
        f"  got:      {M.VOCABULARY + 2} tokens in the tokenizer, {M.VOCABULARY} in the model\n"
    )

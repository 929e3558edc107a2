"""Prompts: slots, tokens, padding that changes nothing, and what is refused before anything runs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from commutes import Network
from commutes.errors import CommutesError, NetworkError
from commutes.network import PROMPTS, TOKENS, Columns, Inputs
from commutes.network.transformers import template

from . import models as M

VALUES = {"a": np.array([12, 3, 5]), "b": np.array([4, 678, 90])}


def text(call: Callable[[], Any], kind: type[CommutesError] = NetworkError) -> str:
    with pytest.raises(kind) as found:
        call()
    return str(found.value)


def network(prompt: str = M.PROMPT, answers: Any = None, **tokens: Any) -> Network:
    answers = M.DIGITS if answers is None else answers
    return Network(M.model("llama"), M.tokenizer(**tokens), template=prompt, answers=answers)


@pytest.mark.parametrize("family", M.PADDED)
def test_padding_changes_no_logit(family: str) -> None:
    net = M.network(family)
    _padded_is_unpadded(net, 1e-10)


def test_padding_changes_no_logit_of_eager_attention_in_float32() -> None:
    _padded_is_unpadded(M.network("gemma2", dtype=torch.float32), 1e-5)


def test_without_positions_padding_would_change_them() -> None:
    # The check above can fail: positions that count the padding give other logits.
    net = M.network("gpt2")
    fed = dict(net.encode(VALUES).kwargs)
    del fed["position_ids"]
    length = fed["input_ids"].shape[1]
    with torch.no_grad():
        shifted = net.logits_of(net.module(**fed, position_ids=torch.arange(length)[None], **net.options))
    assert (shifted - _logits(net, VALUES)).abs().max() > 0.1


def _padded_is_unpadded(net: Network, tolerance: float) -> None:
    together = _logits(net, VALUES)
    for row in range(3):
        alone = {name: column[row : row + 1] for name, column in VALUES.items()}
        fed = net.encode(alone)
        assert bool(fed.kwargs["attention_mask"].all())
        assert (_logits(net, alone)[0] - together[row]).abs().max() < tolerance


def _logits(net: Network, values: Any) -> torch.Tensor:
    fed = net.encode(values)
    with torch.no_grad():
        return net.logits_of(net.module(**fed.kwargs, **net.options))


def test_padding_is_on_the_left_and_the_tokenizer_stays_as_it_was() -> None:
    net = network()
    tokenizer = net.language.prompt.tokenizer  # type: ignore[union-attr]
    tokenizer.padding_side = "right"
    fed = net.encode(VALUES).kwargs
    assert fed["attention_mask"].tolist() == [[0, 1, 1, 1, 1, 1], [1] * 6, [0, 1, 1, 1, 1, 1]]
    assert fed["position_ids"].tolist() == [[0, 0, 1, 2, 3, 4], [0, 1, 2, 3, 4, 5], [0, 0, 1, 2, 3, 4]]
    assert tokenizer.decode(fed["input_ids"][0]) == "[PAD] 1 2 + 4 ="
    assert tokenizer.padding_side == "right"
    assert tokenizer.backend_tokenizer.padding is None


def test_logits_are_of_the_whole_vocabulary_and_answers_are_spelt_by_columns() -> None:
    answers = {"nine": "9", "blank": " ", "paris": "Paris"}
    net = network(answers=answers)
    fed = net.encode(VALUES)
    with torch.no_grad():
        plain = net.module(**fed.kwargs).logits[:, -1]
    ids = net.language.prompt.tokenizer.convert_tokens_to_ids(["9", " ", "Paris"])  # type: ignore[union-attr]
    assert net.answers == ("nine", "blank", "paris")
    assert net.spelling is not None
    assert net.spelling.tolist() == [[i] for i in ids]
    assert (_logits(net, VALUES) - plain).abs().max() < 1e-12


def test_longer_prompts_are_run_fewer_at_a_time() -> None:
    fed = network().encode(VALUES)
    assert network().batch_size(fed) == PROMPTS
    tokens = fed.kwargs["input_ids"].repeat(1, 100)
    long = Inputs((), {"input_ids": tokens}, Columns(VALUES), len(tokens))
    assert 1 < network().batch_size(long) == TOKENS // tokens.shape[1] < PROMPTS


def test_answers_may_be_values_or_ids() -> None:
    by_value, by_id = network(answers=range(10)), network(answers={d: 7 + d for d in range(10)})
    assert by_value.language is not None
    assert by_id.language is not None
    assert dict(by_value.language.tokens) == dict(by_id.language.tokens) == {d: (7 + d,) for d in range(10)}


def test_few_prompts_are_run_at_once() -> None:
    assert network().chunk == PROMPTS
    assert Network(torch.nn.Linear(1, 2), encode=lambda v: v["a"], answers=[0, 1]).chunk > PROMPTS


def test_slots_may_have_a_format_and_braces_may_be_escaped() -> None:
    words = template("{{{a:02d}}} is {b!}".replace("!", ""))
    assert [p.text for p in words.fill({"a": np.array([7]), "b": np.array(["x"])})] == ["{07} is x"]
    assert words.slots == ("a", "b")


@pytest.mark.parametrize(
    ("prompt", "message"),
    [
        (
            "{a}+{b",
            "the template cannot be read\n  where:    '{a}+{b'\n  got:      expected '}' before end of string",
        ),
        ("{a.real}", "the template cannot be read\n  where:    '{a.real}'\n  got:      the slot {a.real}"),
        ("{a!r}", "the template cannot be read\n  where:    '{a!r}'\n  got:      the slot {a!r}"),
        ("1+1=", "the template has no slot\n  got:      '1+1='"),
    ],
)
def test_templates_that_cannot_be_read(prompt: str, message: str) -> None:
    assert text(lambda: template(prompt)).startswith(message)


def test_slots_are_the_inputs_of_the_algorithm() -> None:
    assert text(lambda: network("{a}+{bb}=").encode(VALUES)) == (
        "the prompt has a slot that is no input of the algorithm\n"
        "  where:    {a}+{bb}=\n"
        "  got:      {bb}\n"
        "  expected: one of a, b; nearest: b"
    )
    assert text(lambda: network("{a}=").encode(VALUES)) == (
        "the prompt leaves out an input of the algorithm\n"
        "  where:    {a}=\n"
        "  got:      no slot {b}\n"
        "  expected: a slot for every input: what is not said cannot be answered"
    )
    wrong = {"a": np.array(["x"]), "b": np.array([1])}
    assert text(lambda: network("{a:02d}+{b}=").encode(wrong)).startswith(
        "an input cannot be written into the prompt\n  where:    slot {a:02d}, example 0\n  got:      'x': "
    )


def test_a_prompt_beyond_the_context_window() -> None:
    long = {"a": np.array([1, 10**22]), "b": np.array([2, 3])}
    assert text(lambda: network().encode(long)) == (
        "a prompt does not fit the model's context window\n"
        "  where:    example 1: '10000000000000000000000+3='\n"
        "  got:      26 tokens\n"
        "  expected: 1 to 24 tokens\n"
        "  do:       shorten the template"
    )


def test_a_tokenizer_that_ends_the_prompt() -> None:
    assert text(lambda: network(ends="$A [EOS]")) == (
        "the tokenizer ends the prompt\n"
        "  where:    the prompt: '0+0='\n"
        "  got:      '[EOS]' as the last token\n"
        "  expected: a prompt that the model is to continue\n"
        "  do:       switch the tokenizer's end-of-sequence token off (add_eos_token=False)"
    )


def test_answers_of_different_length_show_both_ways_of_writing_them() -> None:
    assert text(lambda: network(answers={1: "1", 12: "12"})) == (
        "answers have different numbers of tokens\n"
        "  where:    answers 1 and 12\n"
        "  got:      '1' (8) for 1; '1' (8) '2' (9) for 12; "
        "'12' is '1' (8) '2' (9); ' 12' is ' ' (19) '1' (8) '2' (9)\n"
        "  expected: as many tokens in every answer\n"
        "  do:       write all of them equally long ('07' beside '12') and with their blank, "
        "or give the ids of the tokens"
    )
    assert "' Paris' is ' ' (19) 'Paris' (24)" in text(lambda: network(answers={1: "Rome", 2: " Paris"}))
    # Where one token is declared, by its id, a text of several is not taken.
    assert text(lambda: network(answers={1: 8, 2: 9, 12: "12"})).startswith(
        "answers have different numbers of tokens\n  where:    answers 1 and 12\n"
    )


def test_an_answer_that_grows_into_the_prompt_is_refused() -> None:
    # Behind "x" the answer "y" is no token of its own: both together are one unknown word.
    assert text(lambda: network("{a}{b}x", answers={1: "y", 2: "1"})) == (
        "an answer is no token of its own behind the prompt\n"
        "  where:    answer 1, behind '00x'\n"
        "  got:      'y' is 'y' (27); ' y' is ' ' (19) 'y' (27); in place: '[UNK]' (1)\n"
        "  expected: the prompt's own tokens, and one or more behind them\n"
        "  do:       give the text as it follows the prompt, blank included, or the id of one token that stands for it"
    )
    assert "in place: nothing" in text(lambda: network(answers={1: "", 2: "1"}))


def test_answers_are_tokens_of_the_model_and_not_alike() -> None:
    assert text(lambda: network(answers={0: 5000, 1: "1"})).startswith(
        f"an answer is no token of the model\n  where:    answer 0\n  got:      5000\n"
        f"  expected: a token id from 0 to {M.VOCABULARY - 1}, or a text"
    )
    assert text(lambda: network(answers={0: "1", 1: "1"})) == (
        "two answers are the same token\n"
        "  got:      '1' (8) for 0 and for 1\n"
        "  expected: a token of its own for every output value"
    )
    assert text(lambda: network(answers={0: "12", 1: (8, 9)})) == (
        "two answers are the same tokens\n"
        "  got:      '1' (8) '2' (9) for 0 and for 1\n"
        "  expected: other tokens for every output value"
    )
    for wrong in ((), (8, 5000), (8, True), 1.5, None):
        assert text(lambda wrong=wrong: network(answers={0: wrong, 1: "1"})).startswith(
            f"an answer is no token of the model\n  where:    answer 0\n  got:      {wrong!r}\n"
        )


@pytest.mark.parametrize("words", [(*M.WORDS[:-1], "more", "words"), M.WORDS])
def test_a_tokenizer_of_another_vocabulary(words: tuple[str, ...]) -> None:
    big = M.model("llama", vocab_size=M.VOCABULARY if len(words) > len(M.WORDS) else 5000)
    found = text(lambda: Network(big, M.tokenizer(words=words), template=M.PROMPT, answers=M.DIGITS))
    rows = f"{big.config.vocab_size:,}"
    assert found.startswith(
        "the tokenizer is of another vocabulary than the model\n"
        f"  got:      {len(M.SPECIAL) + len(words)} tokens in the tokenizer, {rows} in the model\n"
    )


def test_a_masked_model_answers_in_place_of_its_mask() -> None:
    model, tokenizer = M.model("bert"), M.fitting_tokenizer("bert")
    net = Network(model, tokenizer, template="{a}+[MASK]=9 {b}", answers=M.DIGITS)
    same = {"a": np.array([12, 3]), "b": np.array([4, 5])}
    assert net.read_position == -6
    assert bool((net.encode(same).kwargs["input_ids"][:, -6] == tokenizer.mask_token_id).all())
    assert text(lambda: net.encode(VALUES)) == (
        "the mask is not at one place from the end\n"
        "  where:    example 1: '3+[MASK]=9 678'\n"
        "  got:      masks at [-8]\n"
        "  expected: one mask, 6 tokens from the end of every prompt\n"
        "  do:       let no slot of varying length follow the mask"
    )
    assert text(lambda: Network(model, tokenizer, template=M.PROMPT, answers=M.DIGITS)) == (
        "a masked language model answers in place of its mask\n"
        "  where:    {a}+{b}=\n"
        "  got:      0 masks in the template\n"
        "  expected: one [MASK], or as many side by side as an answer has tokens"
    )


def test_a_chat_is_written_as_the_tokenizer_does() -> None:
    tokenizer = M.tokenizer(ends="[BOS] $A")
    messages = [{"role": "user", "content": "{a}+{b}="}]
    assert text(lambda: Network(M.model("llama"), tokenizer, template=messages, answers=M.DIGITS)) == (
        "the tokenizer has no chat template\n"
        "  got:      a template of 1 messages\n"
        "  expected: a tokenizer of a chat model\n"
        "  do:       write the prompt as one text"
    )
    tokenizer.chat_template = (
        "{{ bos_token }}{% for m in messages %}{{ m.role[:0] }}a:{{ m.content }}{% endfor %}"
        "{% if add_generation_prompt %}b:{% endif %}"
    )
    net = Network(M.model("llama"), tokenizer, template=messages, answers=M.DIGITS)
    ids = net.encode({"a": np.array([1]), "b": np.array([2])}).kwargs["input_ids"][0]
    # The marks of the chat hold the beginning already: it is not begun twice.
    assert tokenizer.convert_ids_to_tokens(ids) == ["[BOS]", *"a:1+2=b:"]


def test_what_a_language_model_needs() -> None:
    model, tokenizer = M.model("llama"), M.tokenizer()
    assert text(lambda: Network(model, tokenizer, answers=M.DIGITS)).startswith(
        "a language model is read through a template and its answers\n  got:      no template=\n"
    )
    assert text(lambda: Network(model, template=M.PROMPT, answers=M.DIGITS)).startswith(
        "positions by meaning need a fast tokenizer\n  got:      no tokenizer\n"
    )
    assert text(lambda: Network(model, tokenizer, template=M.PROMPT, answers=M.DIGITS, read=-1)) == (
        "a language model is read through its template\n"
        "  got:      a tokenizer or template=, and read=\n"
        "  expected: one of the two\n"
        "  do:       leave the tokenizer and template= out to encode and read in your own way"
    )
    assert text(
        lambda: Network(torch.nn.Linear(1, 1), tokenizer, template=M.PROMPT, answers=M.DIGITS)
    ).startswith("a tokenizer goes with a Hugging Face model\n  got:      Linear\n")
    assert text(lambda: Network(model.model, tokenizer, template=M.PROMPT, answers=M.DIGITS)).startswith(
        "the model does not answer with tokens\n  got:      LlamaModel, which returns no logits\n"
    )
    assert text(lambda: Network(torch.nn.Linear(1, 1), answers=[0, 1])).startswith(
        "a network needs to know how it reads its inputs\n  got:      neither encode= nor a tokenizer\n"
    )
    assert text(lambda: Network(torch.nn.Linear(1, 1), encode=lambda v: v["a"], answers={0: "0"})).startswith(
        "answers= maps values to tokens, but there is no tokenizer\n"
    )


def test_a_model_in_training_mode_is_refused_at_once() -> None:
    model = M.model("gpt2").train()
    assert text(lambda: Network(model, M.tokenizer(), template=M.PROMPT, answers=M.DIGITS)).startswith(
        "the network is in training mode\n  where:    transformer.drop\n"
    )


def test_nothing_of_the_model_is_changed() -> None:
    model = M.model("gpt2").requires_grad_(False)
    before = {k: v.clone() for k, v in model.state_dict().items()}
    config = model.config.to_dict()
    Network(model, M.tokenizer(), template=M.PROMPT, answers=M.DIGITS)
    assert all(torch.equal(before[k], v) for k, v in model.state_dict().items())
    assert model.config.to_dict() == config
    assert not any(len(m._forward_hooks) or len(m._forward_pre_hooks) for m in model.modules())
    assert not any(p.requires_grad for p in model.parameters())

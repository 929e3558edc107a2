"""Answers and values as tokens: what the tokenizer does not know, and what it makes one of, is refused by name."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import transformers as hf
from tokenizers import Tokenizer, models

from commutes import Network
from commutes.errors import NetworkError
from commutes.network.transformers import _joins, word_tokenizer

from . import models as M


def text(call: Any) -> str:
    with pytest.raises(NetworkError) as found:
        call()
    return str(found.value)


def network(template: str = M.PROMPT, answers: Any = None, tokenizer: Any = None) -> Network:
    tokenizer = M.tokenizer() if tokenizer is None else tokenizer
    model = M.model("gpt2", vocab_size=len(tokenizer))
    return Network(model, tokenizer, template=template, answers=M.DIGITS if answers is None else answers)


def column(*values: Any) -> dict[str, np.ndarray]:
    return {"a": np.array(values), "b": np.array(["1"] * len(values))}


def test_an_answer_that_the_tokenizer_does_not_know_is_named() -> None:
    assert text(lambda: network(answers={0: "Rome", 1: "Oslo"})) == (
        "the tokenizer does not know an answer\n"
        "  where:    answer 1\n"
        "  got:      'Oslo', which becomes [UNK]\n"
        "  expected: words that it knows: the model answers with those alone\n"
        "  do:       write it as the model's own texts do, or give the id of the token that stands for it"
    )
    # Also where it is one of several tokens, and in place of a mask.
    assert "got:      'Oslo', which becomes" in text(lambda: network(answers={0: "1 Rome", 1: "1 Oslo"}))
    bert, tokens = M.model("bert"), M.fitting_tokenizer("bert")
    assert "got:      'Oslo', which becomes" in text(
        lambda: Network(bert, tokens, template="{a}=[MASK]", answers={0: "Rome", 1: "Oslo"})
    )


def test_a_word_of_a_prompt_that_the_tokenizer_does_not_know_is_named() -> None:
    net = network("{a} is {b}=")
    assert net.encode(column("Rome", "Paris")).n == 2
    assert text(lambda: net.encode(column("Rome", "Oslo"))) == (
        "the tokenizer does not know a part of a prompt\n"
        "  where:    example 1: 'Oslo is 1='\n"
        "  got:      'Oslo', which becomes [UNK]\n"
        "  expected: words that it knows: those that it does not cannot be told apart\n"
        "  do:       write it as the model's own texts do, or make a tokenizer that knows it"
    )
    # Of the words between the slots it is said at once.
    assert text(lambda: network("{a} equals {b}=")).startswith(
        "the tokenizer does not know a part of a prompt\n"
        "  where:    the prompt: '0 equals 0='\n  got:      'equals', which becomes [UNK]\n"
    )


def test_what_stands_in_for_a_value_need_not_be_known() -> None:
    tokenizer = word_tokenizer("Rome Paris is : yes no")
    assert "0" not in tokenizer.get_vocab()
    net = network("{a} is {b}:", {True: " yes", False: " no"}, tokenizer)
    assert net.encode({"a": np.array(["Rome"]), "b": np.array(["Paris"])}).n == 1


def test_a_token_that_begins_prompts_may_be_the_one_for_the_unknown() -> None:
    # As in GPT-2, whose one special token is for everything.
    tokenizer = M.tokenizer(ends="[BOS] $A")
    tokenizer.unk_token = "[BOS]"
    net = network("[BOS]{a}+{b}=", tokenizer=tokenizer)
    assert net.encode(column("1")).kwargs["input_ids"][0, :2].tolist() == [2, 2]


def merging(*merges: tuple[str, str]) -> Any:
    """A tokenizer that knows signs, digits and a few letters, and joins what it is told to."""
    words = [
        "<pad>",
        "<unk>",
        *map(str, range(10)),
        "+",
        "=",
        "a",
        "b",
        "c",
        *("".join(pair) for pair in merges),
    ]
    core = Tokenizer(models.BPE({word: i for i, word in enumerate(words)}, list(merges), unk_token="<unk>"))
    return hf.PreTrainedTokenizerFast(tokenizer_object=core, unk_token="<unk>", pad_token="<pad>")


LETTERS = {0: "a", 1: "b", 2: "c"}


def test_an_answer_that_grows_into_a_value_is_refused() -> None:
    net = network("{a}+{b}", LETTERS, merging(("2", "b")))
    # Behind "0", "1" and "3" every answer is a token of its own; behind "2" one is not.
    assert net.encode({"a": np.array([2, 2]), "b": np.array([1, 3])}).n == 2
    assert text(lambda: net.encode({"a": np.array([1, 1]), "b": np.array([1, 12])})) == (
        "an answer is no token of its own behind a value\n"
        "  where:    answer 1, behind '1+12'\n"
        "  got:      '2b' in place of '2' 'b'\n"
        "  expected: the prompt's own tokens and the answer's behind them, whatever the values are\n"
        "  do:       let the template end in words that part the two, such as '=' or ':', or give ids for answers"
    )
    # With ids it was said what is meant; with a sign between them nothing merges.
    ids = dict(net.language.tokens)  # type: ignore[union-attr]
    for other in (
        network("{a}+{b}", ids, merging(("2", "b"))),
        network("{a}+{b}=", LETTERS, merging(("2", "b"))),
    ):
        assert other.encode({"a": np.array([1]), "b": np.array([12])}).n == 1


def test_words_that_grow_into_a_value_are_looked_behind() -> None:
    # "2=" is one token, and with "b" another: the prompt ends in words, yet not in a token of theirs.
    tokenizer = merging(("2", "="), ("2=", "b"))
    net = network("{a}+{b}=", LETTERS, tokenizer)
    assert net.encode({"a": np.array([2]), "b": np.array([1])}).n == 1
    assert "got:      '2=b' in place of '2=' 'b'" in text(
        lambda: net.encode({"a": np.array([1]), "b": np.array([2])})
    )


def test_every_value_is_tried_with_every_answer_and_each_once(monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[str] = []
    own = _joins.token_ids

    def counted(tokenizer: Any, texts: Any, *, special: bool) -> Any:
        tried.extend(texts)
        return own(tokenizer, texts, special=special)

    monkeypatch.setattr(_joins, "token_ids", counted)
    net = network("{a}+{b}", LETTERS, merging())
    values = {"a": np.array([1, 2, 3, 1]), "b": np.array([1, 2, 1, 3])}
    for _ in range(2):
        net.encode(values)
        assert sorted(tried) == sorted(
            f"{a}+{b}{answer}" for a, b in ((1, 1), (2, 2), (1, 3)) for answer in "abc"
        )
    # Of too many, a part: every value with some answer, every answer behind some value.
    tried.clear()
    monkeypatch.setattr(_joins, "_TRIED", 8)
    net.encode({"a": np.full(6, 1), "b": np.arange(10, 16)})
    assert [text[:-1] for text in tried] == [f"1+{b}" for b in range(10, 16)]
    assert {text[-1] for text in tried} == {"a", "b", "c"}
    # Behind words of the template nothing needs to be tried.
    tried.clear()
    network("{a}+{b}=", LETTERS, merging()).encode(values)
    assert tried == []


def test_training_and_specs_look_behind_values_too() -> None:
    import commutes as cm
    from commutes.network.transformers import language_examples

    algorithm = cm.Algorithm("last")
    a, b = algorithm.inputs("a b", domain=range(10))
    algorithm.add("left", a, f=lambda a: a % 3)
    algorithm.add("y", "left", b, f=lambda left, b: (left + b) % 3, domain=range(3), output=True)
    net = network("{a}+{b}", LETTERS, merging(("2", "b")))
    assert "behind '1+2'" in text(
        lambda: language_examples(net, algorithm, algorithm.columns({"a": [1], "b": [2]}))
    )


def test_answers_of_another_number_of_tokens_than_declared_are_refused() -> None:
    answers = {0: "12", 1: "21"}

    def declared(count: object, answers: Any = answers) -> Network:
        model = M.model("gpt2", vocab_size=len(M.tokenizer()))
        return Network(
            model,
            M.tokenizer(),
            template=M.PROMPT,
            answers=answers,
            answer_tokens=count,  # type: ignore[arg-type]
        )

    assert declared(2).language.prompt.length == 2  # type: ignore[union-attr]
    assert declared(1, M.DIGITS).language.prompt.length == 1  # type: ignore[union-attr]
    one, two = M.tokenizer().convert_tokens_to_ids(["1", "2"])
    assert text(lambda: declared(1)) == (
        "an answer is not one token, as declared\n"
        "  where:    answer 0\n"
        f"  got:      2: '1' ({one}) '2' ({two})\n"
        "  expected: answer_tokens=1\n"
        "  do:       declare 2, or answer with other words"
    )
    assert text(lambda: declared(3, M.DIGITS)).startswith("an answer is not 3 tokens, as declared\n")
    assert text(lambda: declared(1, {0: "1", 1: "21"})).splitlines()[1::3] == [
        "  where:    answer 1",
        "  do:       answer with other words, of so many tokens each",
    ]
    assert declared(np.int64(1), M.DIGITS).language.prompt.length == 1  # type: ignore[union-attr]
    for wrong in (0, True, 1.0, "1"):
        assert text(lambda wrong=wrong: declared(wrong)) == (
            "answer_tokens is no number of tokens\n"
            f"  got:      {wrong!r}\n"
            "  expected: a whole number from 1 on, or nothing: as many as the answers come to"
        )


def test_answers_without_a_tokenizer_have_no_tokens() -> None:
    from torch import nn

    assert text(lambda: Network(nn.Identity(), encode=lambda v: v["x"], answers=[0, 1], answer_tokens=1)) == (  # type: ignore[arg-type, return-value]
        "answer_tokens= is of a language model\n"
        "  got:      answer_tokens=, and no tokenizer\n"
        "  expected: a tokenizer and a template= with it\n"
        "  do:       leave answer_tokens= out: without a tokenizer every answer is one logit"
    )

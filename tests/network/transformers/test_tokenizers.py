"""The two manners of real tokenizers: a word's blank belongs to its token, as bytes or as a mark."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import transformers as hf
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from commutes import Network
from commutes.errors import NetworkError, SiteError

from . import models as M

TEXT = ["The capital of France is Paris", "The capital of Italy is Rome", "of Zürich is"] * 20
VALUES = {"c": np.array(["France", "Italy", "Zürich"])}


def tokenizer(kind: str) -> Any:
    core = Tokenizer(models.BPE())
    if kind == "bytes":
        core.pre_tokenizer, core.decoder = (
            pre_tokenizers.ByteLevel(add_prefix_space=False),
            decoders.ByteLevel(),
        )
        alphabet = pre_tokenizers.ByteLevel.alphabet()
    else:
        core.pre_tokenizer, core.decoder = pre_tokenizers.Metaspace(), decoders.Metaspace()
        alphabet = []
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=["<s>"],
        initial_alphabet=alphabet,
        show_progress=False,
        min_frequency=20,
    )
    core.train_from_iterator(TEXT, trainer)
    return hf.PreTrainedTokenizerFast(tokenizer_object=core)


def network(kind: str, template: str = "The capital of {c} is", answers: Any = None) -> Network:
    fast = tokenizer(kind)
    answers = {"p": " Paris", "r": " Rome"} if answers is None else answers
    return Network(M.model("llama", vocab_size=len(fast)), fast, template=template, answers=answers)


@pytest.mark.parametrize("kind", ["bytes", "mark"])
def test_answers_and_slots_with_their_blanks(kind: str) -> None:
    net = network(kind)
    language = net.language
    assert language is not None
    fast = language.prompt.tokenizer
    blank = "Ġ" if kind == "bytes" else "▁"
    ids = [i for (i,) in language.tokens.values()]
    assert fast.convert_ids_to_tokens(ids) == [f"{blank}Paris", f"{blank}Rome"]
    site = net.site("block_output", layer=0, position="{c}")
    for name in ("France", "Italy"):
        one = {"c": np.array([name])}
        ids = net.encode(one).kwargs["input_ids"]
        table = site.places[0].positions(one, 1, ids.shape[1], source=False)
        assert table is not None
        assert fast.convert_ids_to_tokens(ids[0, table[0]].tolist()) == [f"{blank}{name}"]


def test_a_letter_of_two_bytes_is_in_the_slot() -> None:
    net = network("bytes", "of {c}")
    with pytest.raises(SiteError, match="no such token"):
        net.site("block_output", layer=0, position="{c[1]}").places[0].positions(
            {"c": np.array(["Zürich"])}, 1, 2, source=False
        )
    language = net.language
    assert language is not None
    ids = language.prompt.tokens({"c": np.array(["aüb"])})[0]
    # The blank's token, then a, the two bytes of ü, and b: all of them are the slot's.
    assert [len(p) for p in ids.pieces] == [1] * len(ids.pieces)
    assert [p[0] for p in ids.pieces][-4:] == [1, 1, 1, 1]


@pytest.mark.parametrize("kind", ["bytes", "mark"])
def test_answers_without_their_blank_are_refused_with_what_they_would_be(kind: str) -> None:
    with pytest.raises(NetworkError) as found:
        network(kind, answers={"p": "Paris", "r": "Rome"})
    fast, blank = tokenizer(kind), "Ġ" if kind == "bytes" else "▁"
    pa, ris, ro, me, paris = fast.convert_tokens_to_ids(["Pa", "ris", "Ro", "me", f"{blank}Paris"])
    assert str(found.value) == (
        "the answers are written without their blank\n"
        "  where:    answer 'p', behind 'The capital of 0 is'\n"
        f"  got:      'Pa' ({pa}) 'ris' ({ris}) for 'Paris'\n"
        f"  expected: '{blank}Paris' ({paris}) for ' Paris': with a blank each is one token\n"
        "  do:       begin every answer with a blank; if the model is to write none, give the ids of the tokens"
    )
    # By their ids they are taken: a model may really write them like this.
    language = network(kind, answers={"p": (pa, ris), "r": (ro, me)}).language
    assert language is not None
    assert language.tokens == {"p": (pa, ris), "r": (ro, me)}
    # One with and one without its blank are of different length, and both ways of writing are shown.
    with pytest.raises(NetworkError, match="answers have different numbers of tokens") as mixed:
        network(kind, answers={"p": " Paris", "r": "Rome"})
    assert f"; ' Rome' is '{blank}Rome' (" in str(mixed.value)


@pytest.mark.parametrize("kind", ["bytes", "mark"])
def test_words_of_several_tokens_with_their_blank(kind: str) -> None:
    language = network(kind, answers={"f": " France Paris", "r": " Rome Italy"}).language
    assert language is not None
    blank = "Ġ" if kind == "bytes" else "▁"
    found = [tokenizer(kind).convert_ids_to_tokens(list(ids)) for ids in language.tokens.values()]
    assert found == [[f"{blank}France", f"{blank}Paris"], [f"{blank}Rome", f"{blank}Italy"]]

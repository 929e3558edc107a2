"""Tokenizers that are made here: one token per character or per word, offsets, saved and read back."""

from __future__ import annotations

from pathlib import Path

import pytest
import transformers as hf

from commutes.errors import NetworkError
from commutes.network.transformers import character_tokenizer, word_tokenizer

SENTENCE = "When Mary and John went to the store, Mary gave a drink to"


def test_a_character_is_a_token_blanks_included() -> None:
    made = character_tokenizer("a b+1")
    assert made.convert_ids_to_tokens(made("1 a+\tb").input_ids) == ["1", " ", "a", "+", "<unk>", "b"]
    assert made.decode(made("1 a+b").input_ids) == "1 a+b"


def test_a_word_a_number_or_a_sign_is_a_token_and_blanks_separate() -> None:
    made = word_tokenizer([SENTENCE, "12+34=?!", "déjà"])
    tokens = made.convert_ids_to_tokens(made("to  Mary, 12 34+=!? déjà Bob").input_ids)
    assert tokens == ["to", "Mary", ",", "12", "34", "+", "=", "!", "?", "déjà", "<unk>"]
    assert made.decode(made("Mary gave to").input_ids) == "Mary gave to"


@pytest.mark.parametrize("make", [character_tokenizer, word_tokenizer])
def test_special_tokens_come_first_and_the_rest_as_it_occurs(make) -> None:
    made = make(["b a", "a c"])
    names = made.convert_ids_to_tokens(list(range(len(made))))
    assert names[:4] == ["<pad>", "<unk>", "<bos>", "<eos>"]
    assert [name for name in names[4:] if name != " "] == ["b", "a", "c"]
    assert (made.pad_token_id, made.unk_token_id, made.bos_token_id, made.eos_token_id) == (0, 1, 2, 3)


@pytest.mark.parametrize("make", [character_tokenizer, word_tokenizer])
def test_a_prompt_begins_with_a_token_of_its_own_where_that_is_asked(make) -> None:
    plain, begun = make("12+34="), make("12+34=", begin=True)
    ids = plain("12+34=").input_ids
    assert begun("12+34=").input_ids == [begun.bos_token_id, *ids]
    assert begun("12+34=", add_special_tokens=False).input_ids == ids


@pytest.mark.parametrize("begin", [False, True])
def test_offsets_are_those_of_the_text(begin: bool) -> None:
    made = word_tokenizer(SENTENCE, begin=begin)
    coded = made(SENTENCE, return_offsets_mapping=True)
    pieces = [SENTENCE[start:stop] for start, stop in coded["offset_mapping"] if start != stop]
    assert pieces == SENTENCE.replace(",", " ,").split()


@pytest.mark.parametrize("make", [character_tokenizer, word_tokenizer])
def test_it_is_read_back_from_a_folder(make, tmp_path: Path) -> None:
    made = make(SENTENCE, begin=True)
    made.save_pretrained(tmp_path)
    again = hf.AutoTokenizer.from_pretrained(tmp_path, use_fast=True)
    assert again.is_fast
    assert again(SENTENCE).input_ids == made(SENTENCE).input_ids
    assert again.decode(again(SENTENCE).input_ids) == made.decode(made(SENTENCE).input_ids)
    assert again.special_tokens_map == made.special_tokens_map


@pytest.mark.parametrize(
    ("make", "texts", "what", "got"),
    [
        (character_tokenizer, "", "a tokenizer of no characters", "1 texts"),
        (word_tokenizer, [" ", "\n"], "a tokenizer of no words", "2 texts"),
        (word_tokenizer, [], "a tokenizer of no words", "0 texts"),
    ],
)
def test_texts_without_anything_are_refused(make, texts, what: str, got: str) -> None:
    with pytest.raises(NetworkError) as found:
        make(texts)
    assert str(found.value) == (
        f"{what}\n"
        f"  got:      {got}\n"
        "  expected: texts that hold everything that prompts and answers are made of"
    )

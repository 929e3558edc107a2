"""A language model that reads with another tokenizer is another network: no alignment of the first is taken for it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers as hf
from tokenizers import Tokenizer, models

import commutes as cm
from commutes import Network
from commutes.errors import CommutesError

from . import models as M

VALUES = {"a": np.array([12, 3]), "b": np.array([4, 67])}


def swapped() -> tuple[str, ...]:
    """The same words, two of them with each other's numbers."""
    words = list(M.WORDS)
    i, j = words.index("+"), words.index("#")
    words[i], words[j] = words[j], words[i]
    return tuple(words)


def network(tokenizer: Any, **changes: Any) -> Network:
    return Network(M.model("gpt2"), tokenizer, **{"template": M.PROMPT, "answers": M.DIGITS, **changes})


def test_another_tokenizer_is_another_network() -> None:
    begun, other_pad = M.tokenizer(ends="[BOS] $A"), M.tokenizer()
    other_pad.pad_token = "[UNK]"
    split = M.tokenizer()
    split.split_special_tokens = True
    found = [network(t) for t in (M.tokenizer(), M.tokenizer(words=swapped()), begun, other_pad, split)]
    assert len({one.fingerprint for one in found}) == len(found)
    # The first two are fed other tokens: it would be wrong to take the one for the other.
    first, second = (one.encode(VALUES).kwargs["input_ids"] for one in found[:2])
    assert not torch.equal(first, second)


def test_the_same_tokenizer_is_the_same_network(tmp_path: Path) -> None:
    tokenizer = M.tokenizer(ends="[BOS] $A")
    before = network(tokenizer).fingerprint
    tokenizer.save_pretrained(tmp_path)
    again = hf.AutoTokenizer.from_pretrained(tmp_path)
    assert network(again).fingerprint == before == network(M.tokenizer(ends="[BOS] $A")).fingerprint
    # Neither what was asked of it last nor where it is from.
    tokenizer(["1", "1+2"], padding=True, truncation=True, max_length=8)
    tokenizer.padding_side, tokenizer.name_or_path = "left", "elsewhere"
    assert network(tokenizer).fingerprint == before


def test_merges_count() -> None:
    def made(merges: list[tuple[str, str]]) -> Any:
        words = ["[UNK]", *map(str, range(10)), "+", "=", "11", "12", "111"]
        core = Tokenizer(models.BPE({word: i for i, word in enumerate(words)}, merges, unk_token="[UNK]"))
        return hf.PreTrainedTokenizerFast(tokenizer_object=core, unk_token="[UNK]")

    def fingerprint(merges: list[tuple[str, str]]) -> str:
        model = M.model("gpt2", vocab_size=16)
        return Network(model, made(merges), template=M.PROMPT, answers=M.DIGITS).fingerprint

    one, other = [("1", "1"), ("1", "2")], [("1", "2"), ("1", "1")]
    assert fingerprint(one) == fingerprint(list(one)) != fingerprint(other)


def test_a_tokenizer_that_an_encoding_holds_counts() -> None:
    class Slow:
        """A tokenizer without a backend."""

        def __init__(self, words: tuple[str, ...]) -> None:
            self._words = {word: i for i, word in enumerate(words)}

        def get_vocab(self) -> dict[str, int]:
            return self._words

    def fingerprint(tokenizer: Any) -> str:
        def encode(values: dict[str, np.ndarray]) -> torch.Tensor:
            return torch.tensor([tokenizer.get_vocab()[str(a)] for a in values["a"]])

        return Network(torch.nn.Identity(), encode=encode, answers=[0, 1]).fingerprint

    for make in (lambda words: M.tokenizer(words=words), Slow):
        assert fingerprint(make(M.WORDS)) == fingerprint(make(M.WORDS)) != fingerprint(make(swapped()))


def test_an_alignment_of_another_tokenizer_is_not_loaded(tmp_path: Path) -> None:
    algorithm = cm.Algorithm("last")
    a, b = algorithm.inputs("a b", domain=range(10, 30))
    algorithm.add("left", a, f=lambda a: a % 3)
    algorithm.add("y", "left", b, f=lambda left, b: (left + b) % 10, domain=range(10), output=True)
    own = network(M.tokenizer())
    site = own.site("block_output", layer=1, position="last")
    cm.save(cm.Alignment(algorithm, {algorithm["left"]: cm.Coordinates(site)[:4]}), tmp_path)
    assert cm.load(tmp_path, algorithm=algorithm, network=network(M.tokenizer()))
    with pytest.raises(CommutesError, match="the alignment was fitted for another network"):
        cm.load(tmp_path, algorithm=algorithm, network=network(M.tokenizer(words=swapped())))

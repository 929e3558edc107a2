"""Fast tokenizers made here, for models that are trained here: one token per character or per word."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from commutes.errors import NetworkError

PAD, UNKNOWN, BEGIN, END = "<pad>", "<unk>", "<bos>", "<eos>"
SPECIAL = (PAD, UNKNOWN, BEGIN, END)

_CHARACTER = r"[\s\S]"
_WORD = r"\w+|[^\w\s]"


def character_tokenizer(texts: str | Iterable[str], *, begin: bool = False) -> Any:
    """A tokenizer with a token for every character of `texts`, blanks included.

    Args:
        texts: What it is to know; its characters are numbered as they first occur, after pad, unk, bos and eos.
        begin: Every prompt begins with a token of its own, "<bos>".

    Returns:
        A transformers.PreTrainedTokenizerFast.

    Raises:
        NetworkError: Texts without a character.
    """
    from tokenizers import Regex, decoders, pre_tokenizers

    split = pre_tokenizers.Split(Regex(_CHARACTER), "isolated")
    return _made(texts, split, decoders.Fuse(), begin, "characters")


def word_tokenizer(texts: str | Iterable[str], *, begin: bool = False) -> Any:
    """A tokenizer with a token for every word, number and sign of `texts`; blanks only separate them.

    Args:
        texts: What it is to know; its words are numbered as they first occur, after pad, unk, bos and eos.
        begin: Every prompt begins with a token of its own, "<bos>".

    Returns:
        A transformers.PreTrainedTokenizerFast. Words come back with one blank between them.

    Raises:
        NetworkError: Texts without a word.
    """
    from tokenizers import Regex, pre_tokenizers

    split = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(r"\s+"), "removed"),
            pre_tokenizers.Split(Regex(_WORD), "isolated"),
        ]
    )
    # Without a decoder tokens are joined by blanks.
    return _made(texts, split, None, begin, "words")


def _made(texts: str | Iterable[str], split: Any, decoder: Any, begin: bool, what: str) -> Any:
    from tokenizers import Tokenizer, models, processors
    from transformers import PreTrainedTokenizerFast

    given = [texts] if isinstance(texts, str) else list(texts)
    pieces = dict.fromkeys(piece for text in given for piece, _ in split.pre_tokenize_str(text))
    if not pieces:
        raise NetworkError(
            f"a tokenizer of no {what}",
            got=f"{len(given)} texts",
            expected="texts that hold everything that prompts and answers are made of",
        )
    vocabulary = {token: i for i, token in enumerate(dict.fromkeys((*SPECIAL, *pieces)))}
    core = Tokenizer(models.WordLevel(vocabulary, unk_token=UNKNOWN))
    core.pre_tokenizer = split
    if decoder is not None:
        core.decoder = decoder
    if begin:
        core.post_processor = processors.TemplateProcessing(
            single=f"{BEGIN} $A", special_tokens=[(BEGIN, vocabulary[BEGIN])]
        )
    return PreTrainedTokenizerFast(
        tokenizer_object=core,
        pad_token=PAD,
        unk_token=UNKNOWN,
        bos_token=BEGIN,
        eos_token=END,
        padding_side="left",
        clean_up_tokenization_spaces=False,
    )

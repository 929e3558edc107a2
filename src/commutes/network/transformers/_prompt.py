"""Prompts as tokens: padded on the left, each token knowing which part of the template it came from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch

from commutes.errors import NetworkError
from commutes.network._inputs import Columns
from commutes.network.transformers._template import Filled, Template


class Tokens(NamedTuple):
    """One prompt as tokens."""

    ids: tuple[int, ...]
    pieces: tuple[tuple[int, ...], ...]
    """Per token the pieces of the template that its characters belong to; none for a special token."""
    text: str
    unknown: tuple[int, ...] = ()
    """Numbers of the tokens that stand for something the tokenizer does not know."""
    spans: tuple[tuple[int, int], ...] = ()
    """First character and the one behind the last, per token."""

    def said(self, number: int) -> str:
        """The characters of a token."""
        start, stop = self.spans[number]
        return self.text[start:stop].strip()


@dataclass(frozen=True, eq=False)
class Prompt:
    """From values of the algorithm's inputs to what a transformer is fed."""

    template: Template
    tokenizer: Any
    """A fast tokenizer. Nothing of its padding is used or changed."""
    window: int | None
    """Most tokens that the model can take; None where it does not say."""
    end: int
    """Place of the last mask, counted from the end; -1 for a model that continues the prompt."""
    mask: int | None = None
    """Id of the token in whose place the answer stands; None for a model that continues the prompt."""
    length: int = 1
    """Tokens of an answer: as many masks stand side by side, or all but the last are fed behind the prompt."""
    start: int | None = 0
    """Position of a prompt's first token; None for a model that is given no positions."""
    rows: int | None = None
    """Tokens that the model knows; None where that is not known."""

    @property
    def fed(self) -> int:
        """Tokens of the answer that are fed behind the prompt."""
        return 0 if self.mask is not None else self.length - 1

    def tokens(self, values: Mapping[str, np.ndarray]) -> list[Tokens]:
        """The prompts as tokens, not padded; of encoded inputs they are found once.

        Raises:
            NetworkError: A prompt beyond the context window, one that the tokenizer ends with a token of its own,
                or one with a part that the tokenizer does not know.
        """
        if isinstance(values, Columns):
            return values.once(self, lambda: self.read(self.template.fill(values)))
        return self.read(self.template.fill(values))

    def read(self, filled: Sequence[Filled]) -> list[Tokens]:
        """Prompts that are written out as tokens.

        Raises:
            NetworkError: As in `tokens`.
        """
        found = tokenised(self.tokenizer, filled, special=not self.template.chat)
        for row, tokens in enumerate(found):
            self._check(tokens, f"example {row}")
            self._check_known(tokens, f"example {row}", tokens.unknown)
        return found

    def check(self) -> None:
        """Tokenise the prompt with "0" in every slot, to see early whether the tokenizer does what it should.

        Raises:
            NetworkError: It does not.
        """
        tokens = self.stand_in()
        self._check(tokens, "the prompt")
        # What stands in for a value need not be a word of theirs.
        slots = {i for i, piece in enumerate(self.template.pieces) if piece.slot is not None}
        self._check_known(
            tokens, "the prompt", [i for i in tokens.unknown if not slots & {*tokens.pieces[i]}]
        )

    def stand_in(self) -> Tokens:
        """The prompt with "0" in every slot."""
        filled = self.template.written(dict.fromkeys(self.template.slots, "0"))
        return tokenised(self.tokenizer, [filled], special=not self.template.chat)[0]

    def padded(self, rows: Sequence[tuple[int, ...]]) -> dict[str, torch.Tensor]:
        """Tokens padded on the left, which of them count, and positions that padding does not shift."""
        length = max(map(len, rows))
        pad = self.tokenizer.pad_token_id or 0
        if self.rows is not None and pad >= self.rows:
            # A token for padding that was added and that the model does not know: what is masked may be any.
            pad = 0
        ids = torch.tensor([[pad] * (length - len(row)) + list(row) for row in rows])
        real = torch.tensor([[0] * (length - len(row)) + [1] * len(row) for row in rows])
        fed = {"input_ids": ids, "attention_mask": real}
        if self.start is not None:
            fed["position_ids"] = (real.cumsum(dim=1) - 1).clamp(min=0) + self.start
        return fed

    def _check(self, tokens: Tokens, which: str) -> None:
        where = f"{which}: {tokens.text[:60]!r}"
        if not tokens.ids or (self.window is not None and len(tokens.ids) + self.fed > self.window):
            raise NetworkError(
                "a prompt does not fit the model's context window",
                where=where,
                got=f"{len(tokens.ids)} tokens" + (f" and {self.fed} of the answer" if self.fed else ""),
                expected=f"1 to {self.window or 'any number of'} tokens",
                fix="shorten the template",
            )
        beyond = [i for i in tokens.ids if self.rows is not None and i >= self.rows]
        if beyond:
            raise NetworkError(
                "a prompt has a token that the model does not know",
                where=where,
                got=f"{self.tokenizer.convert_ids_to_tokens(beyond[0])!r} ({beyond[0]})",
                expected=f"tokens from 0 to {self.rows - 1}" if self.rows else None,
                fix="leave it out; or, after adding tokens, call model.resize_token_embeddings(len(tokenizer))",
            )
        if self.mask is not None:
            self._check_masks(tokens, where)
        elif not tokens.pieces[-1]:
            raise NetworkError(
                "the tokenizer ends the prompt",
                where=where,
                got=f"{self.tokenizer.convert_ids_to_tokens(tokens.ids[-1])!r} as the last token",
                expected="a prompt that the model is to continue",
                fix="switch the tokenizer's end-of-sequence token off (add_eos_token=False)",
            )

    def _check_known(self, tokens: Tokens, which: str, unknown: Sequence[int]) -> None:
        if unknown:
            raise NetworkError(
                "the tokenizer does not know a part of a prompt",
                where=f"{which}: {tokens.text!r}",
                got=f"{tokens.said(unknown[0])!r}, which becomes {self.tokenizer.unk_token}",
                expected="words that it knows: those that it does not cannot be told apart",
                fix="write it as the model's own texts do, or make a tokenizer that knows it",
            )

    def _check_masks(self, tokens: Tokens, where: str) -> None:
        masks = [i - len(tokens.ids) for i, token in enumerate(tokens.ids) if token == self.mask]
        if masks == list(range(self.end - self.length + 1, self.end + 1)):
            return
        alone = self.length == 1
        raise NetworkError(
            f"the {'mask is' if alone else 'masks are'} not at one place from the end",
            where=where,
            got=f"masks at {masks}",
            expected=f"one mask, {-self.end} tokens from the end of every prompt"
            if alone
            else f"{self.length} masks side by side, the last {-self.end} tokens from the end of every prompt",
            fix="let no slot of varying length follow the mask"
            + ("" if alone else "s, and nothing part them"),
        )


def tokenised(tokenizer: Any, filled: Sequence[Filled], *, special: bool) -> list[Tokens]:
    """Prompts as tokens, each with the pieces that it covers, by the tokenizer's offsets."""
    coded = _coded(tokenizer, [prompt.text for prompt in filled], special=special, offsets=True)
    return [
        Tokens(
            tuple(ids),
            _covered(spans, prompt),
            prompt.text,
            _unknown(tokenizer, ids, spans, prompt),
            tuple(spans),
        )
        for ids, spans, prompt in zip(coded["input_ids"], coded["offset_mapping"], filled, strict=True)
    ]


def token_ids(tokenizer: Any, texts: Sequence[str], *, special: bool) -> list[tuple[int, ...]]:
    """Texts as tokens alone."""
    return [tuple(ids) for ids in _coded(tokenizer, texts, special=special, offsets=False)["input_ids"]]


def _coded(tokenizer: Any, texts: Sequence[str], *, special: bool, offsets: bool) -> Any:
    return tokenizer(
        list(texts),
        add_special_tokens=special,
        return_offsets_mapping=offsets,
        return_attention_mask=False,
        padding=False,
        truncation=False,
        verbose=False,
    )


def _unknown(
    tokenizer: Any, ids: Sequence[int], spans: Sequence[tuple[int, int]], prompt: Filled
) -> tuple[int, ...]:
    """The tokens that stand for what is not known: neither one that begins the prompt nor one that is written out.

    GPT-2 has one token for the end of a text, its beginning and the unknown.
    """
    unknown = tokenizer.unk_token_id
    if unknown is None or unknown not in ids:
        return ()
    words = [prompt.text[start:stop].strip() for start, stop in spans]
    return tuple(
        i for i, (token, word) in enumerate(zip(ids, words, strict=True))
        if token == unknown and word not in ("", tokenizer.unk_token)
    )  # fmt: skip


def _covered(spans: Sequence[tuple[int, int]], prompt: Filled) -> tuple[tuple[int, ...], ...]:
    """Per token the pieces of which it holds characters. Blanks count only where there is nothing else."""
    owner = {i: number for number, (first, behind) in enumerate(prompt.spans) for i in range(first, behind)}
    blank = [character.isspace() for character in prompt.text]
    found = []
    for start, stop in spans:
        solid = [i for i in range(start, stop) if not blank[i]] or range(start, min(start + 1, stop))
        found.append(tuple(sorted({owner[i] for i in solid if i in owner})))
    return tuple(found)

"""Prompts as tokens: padded on the left, each token knowing which part of the template it came from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch

from commutes.errors import NetworkError
from commutes.network.transformers._template import Filled, Template


class Tokens(NamedTuple):
    """One prompt as tokens."""

    ids: tuple[int, ...]
    pieces: tuple[tuple[int, ...], ...]
    """Per token the pieces of the template that its characters belong to; none for a special token."""
    text: str


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

    @property
    def fed(self) -> int:
        """Tokens of the answer that are fed behind the prompt."""
        return 0 if self.mask is not None else self.length - 1

    def tokens(self, values: Mapping[str, np.ndarray]) -> list[Tokens]:
        """The prompts as tokens, not padded.

        Raises:
            NetworkError: A prompt beyond the context window, or one that the tokenizer ends with a token of
                its own.
        """
        filled = self.template.fill(values)
        found = tokenised(self.tokenizer, filled, special=not self.template.chat)
        for row, tokens in enumerate(found):
            self._check(tokens, f"example {row}")
        return found

    def check(self) -> None:
        """Tokenise the prompt with "0" in every slot, to see early whether the tokenizer does what it should.

        Raises:
            NetworkError: It does not.
        """
        stand_in = self.template.written(dict.fromkeys(self.template.slots, "0"))
        self._check(tokenised(self.tokenizer, [stand_in], special=not self.template.chat)[0], "the prompt")

    def padded(self, rows: Sequence[tuple[int, ...]]) -> dict[str, torch.Tensor]:
        """Tokens padded on the left, which of them count, and positions that padding does not shift."""
        length = max(map(len, rows))
        pad = self.tokenizer.pad_token_id or 0
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
    coded = tokenizer(
        [prompt.text for prompt in filled],
        add_special_tokens=special,
        return_offsets_mapping=True,
        return_attention_mask=False,
        padding=False,
        truncation=False,
        verbose=False,
    )
    return [
        Tokens(tuple(ids), _covered(spans, prompt), prompt.text)
        for ids, spans, prompt in zip(coded["input_ids"], coded["offset_mapping"], filled, strict=True)
    ]


def _covered(spans: Sequence[tuple[int, int]], prompt: Filled) -> tuple[tuple[int, ...], ...]:
    """Per token the pieces of which it holds characters. Blanks count only where there is nothing else."""
    owner = {i: number for number, (first, behind) in enumerate(prompt.spans) for i in range(first, behind)}
    blank = [character.isspace() for character in prompt.text]
    found = []
    for start, stop in spans:
        solid = [i for i in range(start, stop) if not blank[i]] or range(start, min(start + 1, stop))
        found.append(tuple(sorted({owner[i] for i in solid if i in owner})))
    return tuple(found)

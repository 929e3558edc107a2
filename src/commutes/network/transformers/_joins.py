"""Answers behind real values: where nothing parts the two, a tokenizer may make one token of both."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

from commutes.errors import NetworkError
from commutes.network.transformers._prompt import Prompt, Tokens, token_ids
from commutes.network.transformers._template import Filled

# Answers that are tried behind values in one go, and values that are remembered: a value costs some microseconds
# per answer, and a domain without end must come to one.
_TRIED, _KEPT = 2**14, 2**16


class Joins:
    """Holds the answers to being tokens of their own behind every value that ends a prompt, each tried once.

    Args:
        prompt: That a model continues.
        texts: Of the answers, by output value; none of those that are given as ids.
        tokens: Their ids, as they are behind the prompt with "0" in its slots.
    """

    def __init__(
        self, prompt: Prompt, texts: Mapping[Hashable, str], tokens: Mapping[Hashable, tuple[int, ...]]
    ) -> None:
        self._prompt = prompt
        self._answers = [(value, text, tokens[value]) for value, text in texts.items()]
        self._last = max(
            (i for i, piece in enumerate(prompt.template.pieces) if piece.slot is not None), default=0
        )
        self._alone = prompt.stand_in()
        self._known: set[str] = set()

    def check(self, rows: Sequence[Tokens], filled: Sequence[Filled]) -> None:
        """Try the answers behind the ends of these prompts.

        Behind words that are the same in every prompt, and that end it in a token of their own, an answer is what
        it was behind "0". Of very many values and answers a part is tried, every value with some.

        Raises:
            NetworkError: Together they are other tokens than one behind the other.
        """
        ends: dict[str, int] = {}
        for number, (row, prompt) in enumerate(zip(rows, filled, strict=True)):
            if not self._ends_alike(row):
                ends.setdefault(row.text[prompt.spans[self._last][0] :], number)
        new = [number for end, number in ends.items() if end not in self._known]
        if not new or not self._answers:
            return
        share = max(1, min(len(self._answers), _TRIED // len(new)))
        step = len(self._answers) // share
        tried = [
            (rows[number], self._answers[(i + j * step) % len(self._answers)])
            for i, number in enumerate(new)
            for j in range(share)
        ]
        special = not self._prompt.template.chat
        whole = token_ids(self._prompt.tokenizer, [row.text + a[1] for row, a in tried], special=special)
        for (row, (value, _, ids)), found in zip(tried, whole, strict=True):
            if found != row.ids + ids:
                raise _grown(self._prompt.tokenizer, row, value, ids, found)
        self._known = {*(self._known if len(self._known) < _KEPT else ()), *ends}

    def _ends_alike(self, row: Tokens) -> bool:
        last = row.ids[-1], row.pieces[-1]
        return self._last not in last[1] and last == (self._alone.ids[-1], self._alone.pieces[-1])


def _grown(
    tokenizer: Any, row: Tokens, value: Hashable, ids: tuple[int, ...], found: tuple[int, ...]
) -> NetworkError:
    same = next(
        (i for i, pair in enumerate(zip(row.ids, found, strict=False)) if pair[0] != pair[1]), len(row.ids)
    )
    apart, together = (
        " ".join(map(repr, tokenizer.convert_ids_to_tokens(list(tokens[same:]))))
        for tokens in (row.ids + ids, found)
    )
    return NetworkError(
        "an answer is no token of its own behind a value",
        where=f"answer {value!r}, behind {row.text[-30:]!r}",
        got=f"{together} in place of {apart}",
        expected="the prompt's own tokens and the answer's behind them, whatever the values are",
        fix="let the template end in words that part the two, such as '=' or ':', or give ids for answers",
    )

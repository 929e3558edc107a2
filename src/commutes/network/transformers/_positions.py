"""Positions by meaning: which token of each prompt, wherever padding or other values put it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from commutes.errors import SiteError, nearest
from commutes.network.transformers._prompt import Prompt, Tokens

Meaning = str | Sequence[str | int]
"""Positions in words: "last", "every", a slot such as "{b}" or "{b[first]}", or a list of words and numbers.

Where answers have several tokens, "answer[0]" is the first of those that are fed behind the prompt, and "answer"
all of them.
"""

_ANSWER = re.compile(r"answer(?:\[(\d+)\])?")
_SLOT = re.compile(r"\{(\w+)(?:@(\d+))?(?:\[(first|last|-?\d+)\])?\}")
_EVERY = "every"


@dataclass(frozen=True)
class TokenPosition:
    """Positions of tokens, counted back from the end of what is fed: padding on the left does not move them."""

    prompt: Prompt
    spec: tuple[str | int, ...]

    def __call__(self, values: Mapping[str, np.ndarray]) -> np.ndarray:
        """Positions per example, all negative.  # shape: (n, p)

        Raises:
            SiteError: A span that is missing, mixed with its surroundings, or of different length; a number that
                means different tokens in different prompts.
        """
        rows = self.prompt.tokens(values)
        # Counted back from the end of the prompt, behind which the answer's tokens stand.
        return np.concatenate([self._column(part, rows) for part in self.spec], axis=1) - self.prompt.fed

    @property
    def words(self) -> str:
        """The position as it was asked for."""
        return ", ".join(str(part) for part in self.spec)

    def _column(self, part: str | int, rows: Sequence[Tokens]) -> np.ndarray:
        if part == _EVERY:
            found = [list(range(-len(row.ids), 0)) for row in rows]
        elif part == "last":
            found = [[-1]] * len(rows)
        elif isinstance(part, str) and (answer := _ANSWER.fullmatch(part)):
            found = [list(range(self.prompt.fed)) if answer[1] is None else [int(answer[1])]] * len(rows)
        elif isinstance(part, int):
            found = _numbered(part, rows)
        else:
            found = [self._slot(part, row, i) for i, row in enumerate(rows)]
        first, other = found[0], next((i for i, f in enumerate(found) if len(f) != len(found[0])), None)
        if other is not None:
            raise SiteError(
                "a span has different numbers of tokens",
                where=f"position {part!r}, examples 0 and {other}" if part != _EVERY else "every token",
                got=f"{len(first)} tokens in {rows[0].text!r}, {len(found[other])} in {rows[other].text!r}",
                expected="as many tokens in every base and source",
                fix="take one of them, such as '{b[last]}', or values that are equally long",
            )
        return np.array(found)

    def _slot(self, part: str, row: Tokens, number: int) -> list[int]:
        name, occurrence, which = _parsed(part)
        piece = self.prompt.template.pieces_of(name)[occurrence - 1]
        inside = [i for i, pieces in enumerate(row.pieces) if piece in pieces]
        shown = f"position {part!r}, example {number}: {row.text!r}"
        if not inside:
            raise SiteError(
                "a slot has no token of its own",
                where=shown,
                got="no token",
                expected="at least one token that holds characters of the slot",
            )
        mixed = [i for i in inside if len(row.pieces[i]) > 1]
        if mixed:
            token = self.prompt.tokenizer.convert_ids_to_tokens(row.ids[mixed[0]])
            raise SiteError(
                "a token holds a slot and what is around it",
                where=shown,
                got=f"the token {token!r}",
                expected="tokens that begin and end with the slot",
                fix="put a blank around the slot, or name the token by its number",
            )
        if which is None:
            return [i - len(row.ids) for i in inside]
        index = {"first": 0, "last": -1}.get(which)
        index = int(which) if index is None else index
        if not -len(inside) <= index < len(inside):
            raise SiteError(
                "a slot has no such token",
                where=shown,
                got=f"token {index} of the slot",
                expected=f"from {-len(inside)} to {len(inside) - 1}",
            )
        return [inside[index] - len(row.ids)]


def token_position(prompt: Prompt, position: int | Meaning | None) -> TokenPosition:
    """Positions in a prompt, checked as far as that goes without values.

    Raises:
        SiteError: Words that are no position, a slot that is not in the template or occurs twice.
    """
    if position is None:
        return TokenPosition(prompt, (_EVERY,))
    # What is no list is looked at as one of its own, and refused below if it is neither a number nor a word.
    parts: Sequence[object] = [position]
    if isinstance(position, Sequence) and not isinstance(position, str | bytes):
        parts = position
    spec: list[str | int] = []
    for part in parts:
        if isinstance(part, bool) or not isinstance(part, int | str):
            raise SiteError(
                "a position is a number or a word",
                got=repr(part),
                expected="'last', a number, or a slot such as '{b}'",
            )
        spec.append(_known(prompt, part) if isinstance(part, str) else part)
    if not spec:
        raise SiteError("a position names at least one token", got="an empty list", expected="'last', ...")
    return TokenPosition(prompt, tuple(spec))


def _known(prompt: Prompt, part: str) -> str:
    slots = prompt.template.slots
    if part in ("last", _EVERY):
        return part
    if answer := _ANSWER.fullmatch(part):
        return _fed(prompt, part, int(answer[1] or 0))
    if not _SLOT.fullmatch(part):
        close = nearest(part, ["last", _EVERY, "answer", *("{" + slot + "}" for slot in slots)])[0]
        raise SiteError(
            "there is no such position",
            got=repr(part),
            expected=f"'last', 'every', a number, or a slot: '{{b}}', '{{b[first]}}', '{{b[-1]}}'; nearest: {close!r}",
        )
    name, occurrence, _ = _parsed(part)
    if name not in slots:
        raise SiteError(
            "the template has no such slot",
            where=str(prompt.template),
            got=repr(part),
            expected=f"one of {', '.join(slots)}; nearest: {nearest(name, slots)[0]}",
        )
    times = len(prompt.template.pieces_of(name))
    if times > 1 and "@" not in part:
        raise SiteError(
            "a slot occurs more than once",
            where=str(prompt.template),
            got=f"{part!r}, which is there {times} times",
            expected=f"which of them: '{{{name}@1}}' to '{{{name}@{times}}}'",
        )
    if not 1 <= occurrence <= times:
        raise SiteError(
            "a slot does not occur that often",
            where=str(prompt.template),
            got=repr(part),
            expected=f"from '{{{name}@1}}' to '{{{name}@{times}}}'",
        )
    return part


def _fed(prompt: Prompt, part: str, number: int) -> str:
    if number >= prompt.fed:
        raise SiteError(
            "there is no such token of the answer behind the prompt",
            got=repr(part),
            expected=f"from 'answer[0]' to 'answer[{prompt.fed - 1}]': the last token of an answer is never fed"
            if prompt.fed
            else "'last', where the answer is read: it is not fed",
        )
    return part


def _parsed(part: str) -> tuple[str, int, str | None]:
    """Name of the slot, which occurrence of it (from 1), and which of its tokens."""
    match = _SLOT.fullmatch(part)
    assert match is not None
    return match[1], int(match[2] or 1), match[3]


def _numbered(number: int, rows: Sequence[Tokens]) -> list[list[int]]:
    short = next((i for i, row in enumerate(rows) if not -len(row.ids) <= number < len(row.ids)), None)
    if short is not None:
        raise SiteError(
            "a position lies outside the prompt",
            where=f"example {short}: {rows[short].text!r}",
            got=f"position {number}",
            expected=f"from {-len(rows[short].ids)} to {len(rows[short].ids) - 1}",
        )
    # A number must mean the same token everywhere: the k-th of its piece from the front, or from the back.
    front, back = ([_role(row, number, step) for row in rows] for step in (1, -1))
    other = min(_first_other(front), _first_other(back), key=lambda i: -1 if i is None else i)
    if other is not None:
        raise SiteError(
            "a number means different tokens in prompts of different length",
            where=f"position {number}, examples 0 and {other}",
            got=f"in {rows[0].text!r} ({len(rows[0].ids)} tokens) another part than in {rows[other].text!r} "
            f"({len(rows[other].ids)})",
            expected="the same part of the template in every prompt",
            fix="say what is meant: 'last', or a slot such as '{b[last]}'",
        )
    return [[number if number < 0 else number - len(row.ids)] for row in rows]


def _role(row: Tokens, number: int, step: int) -> tuple[tuple[int, ...], int]:
    """The pieces that a token belongs to, and how many tokens of the same lie before it (behind, if step is -1)."""
    index = number % len(row.ids)
    count, i = 0, index - step
    while 0 <= i < len(row.ids) and row.pieces[i] == row.pieces[index]:
        count, i = count + 1, i - step
    return row.pieces[index], count


def _first_other(roles: Sequence[object]) -> int | None:
    return next((i for i, role in enumerate(roles) if role != roles[0]), None)

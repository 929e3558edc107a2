"""A prompt with slots: the algorithm's inputs, filled in for every example."""

from __future__ import annotations

import string
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from commutes.errors import NetworkError, nearest


@dataclass(frozen=True)
class Piece:
    """A part of a prompt: words that are always the same, or the place of an input."""

    slot: str | None
    """Name of the input; None for plain words."""
    text: str
    """The words; for a slot the format in which the value is written, such as "02d"."""


class Filled(NamedTuple):
    """One prompt, and where each piece of the template ended up in it."""

    text: str
    spans: tuple[tuple[int, int], ...]
    """First character and the one behind the last, per piece."""


@dataclass(frozen=True)
class Template:
    """Words and slots in order."""

    pieces: tuple[Piece, ...]
    chat: bool = False
    """Whether the words hold the marks of a chat, special tokens included."""

    @property
    def slots(self) -> tuple[str, ...]:
        """Names of the inputs, each once."""
        return tuple(dict.fromkeys(p.slot for p in self.pieces if p.slot is not None))

    def __str__(self) -> str:
        return "".join(p.text if p.slot is None else "{" + p.slot + "}" for p in self.pieces)

    def pieces_of(self, slot: str) -> list[int]:
        """Numbers of the pieces that a slot fills."""
        return [i for i, p in enumerate(self.pieces) if p.slot == slot]

    def written(self, texts: Mapping[str, str]) -> Filled:
        """The prompt with these texts in the slots."""
        spans, text = [], ""
        for piece in self.pieces:
            start = len(text)
            text += piece.text if piece.slot is None else texts[piece.slot]
            spans.append((start, len(text)))
        return Filled(text, tuple(spans))

    def fill(self, values: Mapping[str, np.ndarray]) -> list[Filled]:
        """One prompt per example.

        Raises:
            NetworkError: The slots are not the algorithm's inputs, or a value cannot be written as asked.
        """
        self._check_names(list(values))
        columns = {name: column.tolist() for name, column in values.items()}
        rows = zip(*columns.values(), strict=True)
        return [self._row(dict(zip(columns, row, strict=True)), i) for i, row in enumerate(rows)]

    def _row(self, row: Mapping[str, Any], number: int) -> Filled:
        spans, text = [], ""
        for piece in self.pieces:
            start = len(text)
            if piece.slot is None:
                text += piece.text
            else:
                try:
                    text += format(row[piece.slot], piece.text)
                except (ValueError, TypeError) as error:
                    raise NetworkError(
                        "an input cannot be written into the prompt",
                        where=f"slot {{{piece.slot}:{piece.text}}}, example {number}",
                        got=f"{row[piece.slot]!r}: {error}",
                        expected="a value that the slot's format takes",
                    ) from None
            spans.append((start, len(text)))
        return Filled(text, tuple(spans))

    def _check_names(self, inputs: Sequence[str]) -> None:
        unknown = [slot for slot in self.slots if slot not in inputs]
        if unknown:
            raise NetworkError(
                "the prompt has a slot that is no input of the algorithm",
                where=str(self),
                got="{" + unknown[0] + "}",
                expected=f"one of {', '.join(inputs)}; nearest: {nearest(unknown[0], inputs)[0]}",
            )
        unsaid = [name for name in inputs if name not in self.slots]
        if unsaid:
            raise NetworkError(
                "the prompt leaves out an input of the algorithm",
                where=str(self),
                got=f"no slot {{{unsaid[0]}}}",
                expected="a slot for every input: what is not said cannot be answered",
            )


def template(text: str) -> Template:
    """Read "{a}+{b}=" as slots and words; "{{" and "}}" are braces, "{a:02d}" says how a value is written.

    Raises:
        NetworkError: Braces that do not match, slots without a plain name, or no slot at all.
    """
    return with_slots(Template(parsed(text)), text)


def with_slots(found: Template, given: object) -> Template:
    """The template, if it has a slot.

    Raises:
        NetworkError: It has none.
    """
    if not found.slots:
        raise NetworkError(
            "the template has no slot",
            got=repr(given),
            expected='a prompt with the algorithm\'s inputs as slots, such as "{a}+{b}="',
        )
    return found


def parsed(text: str) -> tuple[Piece, ...]:
    """Words and slots of a text, in order.

    Raises:
        NetworkError: Braces that do not match, or slots without a plain name.
    """
    pieces = []
    try:
        for words, name, spec, conversion in string.Formatter().parse(text):
            if words:
                pieces.append(Piece(None, words))
            if name is not None:
                if not name.isidentifier() or conversion:
                    raise ValueError(f"the slot {{{name}{'!' + conversion if conversion else ''}}}")
                pieces.append(Piece(name, spec or ""))
    except ValueError as error:
        raise NetworkError(
            "the template cannot be read",
            where=repr(text),
            got=str(error),
            expected='words and slots such as "{a}+{b}="',
            fix="write {{ and }} for braces that are no slot",
        ) from None
    return joined(pieces)


def joined(pieces: Sequence[Piece]) -> tuple[Piece, ...]:
    """Neighbouring words as one piece: an escaped brace cuts them."""
    found: list[Piece] = []
    for piece in pieces:
        if found and found[-1].slot is None and piece.slot is None:
            found[-1] = Piece(None, found[-1].text + piece.text)
        else:
            found.append(piece)
    return tuple(found)

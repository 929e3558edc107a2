"""A chat as a prompt: the marks that a tokenizer's chat template writes around messages with slots."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from commutes.errors import NetworkError
from commutes.network.transformers._template import Piece, Template, joined, parsed

Chat = Sequence[Mapping[str, str]]

# Characters that Unicode leaves to private use: one of them, which occurs nowhere, marks the slots.
_PRIVATE = range(0xE000, 0xF900)

# What is written into every slot to see whether a chat template leaves values as they are: both cases and a digit.
_TRIAL = "Ab0"


def chat_template(messages: Chat, tokenizer: Any) -> Template:
    """The prompt that a chat is: up to the answer, or up to the end of a last message that the model has begun.

    The slots pass through the chat template under marks, so that braces which it writes itself are words.

    Raises:
        NetworkError: No chat template, messages that it does not take, or a slot or value that it does not leave.
    """
    _check(messages, tokenizer)
    contents = [parsed(message["content"]) for message in messages]
    slots = [piece for pieces in contents for piece in pieces if piece.slot is not None]
    used = "".join([str(tokenizer.chat_template), *(p.text for pieces in contents for p in pieces)])
    mark = next(chr(code) for code in _PRIVATE if chr(code) not in used)
    marked = _rendered(messages, _contents(contents, lambda number: f"{mark}{number}{mark}"), tokenizer)
    parts = re.split(f"{mark}([0-9]+){mark}", marked)
    # Every second part is the number of a slot.
    pieces = [slots[int(part)] if i % 2 else Piece(None, part) for i, part in enumerate(parts) if part]
    found = Template(joined(pieces), chat=True)
    lost = next((i for i, _ in enumerate(slots) if str(i) not in parts[1::2]), None)
    if lost is not None or mark in "".join(parts[::2]):
        raise NetworkError(
            "the chat template does not write a slot",
            where=str(found)[:200],
            got="no slot {" + str(slots[lost or 0].slot) + "}, which is in the messages",
            expected="the messages' contents as they stand",
            fix="write the prompt as one text",
        )
    filled = found.written(dict.fromkeys(found.slots, _TRIAL)).text
    tried = _rendered(messages, _contents(contents, lambda _: _TRIAL), tokenizer)
    if tried != filled:
        raise NetworkError(
            "the chat template changes what is written into its messages",
            got=f"{tried[:200]!r} with {_TRIAL!r} in every slot",
            expected=repr(filled[:200]),
            fix="write the prompt as one text",
        )
    return found


def _contents(contents: Sequence[Sequence[Piece]], written: Any) -> list[str]:
    """The messages as texts, with what `written` gives for the number of a slot in its place."""
    number, texts = 0, []
    for pieces in contents:
        text = ""
        for piece in pieces:
            text += piece.text if piece.slot is None else written(number)
            number += piece.slot is not None
        texts.append(text)
    return texts


def _rendered(messages: Chat, contents: Sequence[str], tokenizer: Any) -> str:
    from jinja2 import TemplateError

    # A last message of the assistant's is one that the model goes on with; otherwise it begins its own.
    begun = messages[-1]["role"] == "assistant"
    said = [{**message, "content": text} for message, text in zip(messages, contents, strict=True)]
    try:
        return str(
            tokenizer.apply_chat_template(
                said, tokenize=False, add_generation_prompt=not begun, continue_final_message=begun
            )
        )
    except (TemplateError, ValueError, TypeError, KeyError) as error:
        lines = str(error).strip().splitlines() or [type(error).__name__]
        raise NetworkError(
            "the chat template does not take these messages",
            where="roles: " + ", ".join(message["role"] for message in messages),
            got=lines[0][:200],
            expected="messages that the tokenizer's chat template has a place for",
            fix="leave out what it does not take, such as a system message, or write the prompt as one text",
        ) from error


def _check(messages: object, tokenizer: Any) -> None:
    if not isinstance(messages, Sequence):
        raise NetworkError(
            "a template is a prompt or the messages of a chat",
            got=repr(messages),
            expected='"{a}+{b}=", or messages such as {"role": "user", "content": "{a}+{b}="}',
        )
    if not getattr(tokenizer, "chat_template", None):
        raise NetworkError(
            "the tokenizer has no chat template",
            got=f"a template of {len(messages)} messages",
            expected="a tokenizer of a chat model",
            fix="write the prompt as one text",
        )
    wrong = [
        message
        for message in messages
        if not isinstance(message, Mapping)
        or any(not isinstance(message.get(key), str) for key in ("role", "content"))
    ]
    if wrong or not messages:
        raise NetworkError(
            "a chat is a list of messages",
            got=repr(wrong[0]) if wrong else "no message",
            expected='messages such as {"role": "user", "content": "{a}+{b}="}',
        )

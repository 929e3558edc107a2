"""Answers as tokens: the one token with which the model would go on, in the prompt's own surroundings."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

from commutes.errors import NetworkError
from commutes.network.transformers._prompt import tokenised
from commutes.network.transformers._template import Filled, Template


def answer_tokens(
    answers: Mapping[Hashable, str | int] | Sequence[Hashable],
    template: Template,
    tokenizer: Any,
    *,
    mask: str | None,
    vocabulary: int,
) -> dict[Hashable, int]:
    """Token id of every output value.

    A text is tokenised behind the prompt (or in place of its mask), because many tokenizers write a word
    differently when it stands alone.

    Args:
        answers: From values to texts or ids; a sequence stands for the values' own texts.
        template: The prompt; its slots are filled with "0" here.
        tokenizer: A fast tokenizer.
        mask: The mask's text, for a model that answers in place of it.
        vocabulary: Tokens that the model can answer.

    Raises:
        NetworkError: An answer of several tokens, an id that the model does not have, two answers alike.
    """
    given = answers if isinstance(answers, Mapping) else {value: str(value) for value in answers}
    found: dict[Hashable, int] = {}
    for value, text in given.items():
        token = _id(text, value, vocabulary) if isinstance(text, int) else None
        if token is None:
            token = _in_place(str(text), value, template, tokenizer, mask)
        if token in found.values():
            other = next(v for v, t in found.items() if t == token)
            raise NetworkError(
                "two answers are the same token",
                got=f"{_said(tokenizer, token)} for {other!r} and for {value!r}",
                expected="a token of its own for every output value",
            )
        found[value] = token
    return found


def _id(token: int, value: Hashable, vocabulary: int) -> int:
    if isinstance(token, bool) or not 0 <= token < vocabulary:
        raise NetworkError(
            "an answer is no token of the model",
            where=f"answer {value!r}",
            got=repr(token),
            expected=f"a token id from 0 to {vocabulary - 1}, or a text",
        )
    return token


def _in_place(text: str, value: Hashable, template: Template, tokenizer: Any, mask: str | None) -> int:
    prompt = template.written(dict.fromkeys(template.slots, "0")).text
    with_answer = prompt + text if mask is None else prompt.replace(mask, text, 1)
    before, after = (_ids(tokenizer, whole, special=not template.chat) for whole in (prompt, with_answer))
    same = 0
    while same < min(len(before), len(after)) and before[same] == after[same]:
        same += 1
    # One more token at the end, or another one in place of the mask; all the rest as it was.
    behind = before[same:] if mask is None else before[same + 1 :]
    if len(after) != len(before) + (mask is None) or after[same + 1 :] != behind:
        raise NetworkError(
            "an answer is not one token",
            where=f"answer {value!r}, behind {prompt[-30:]!r}" if mask is None else f"answer {value!r}",
            got=_both(tokenizer, text) + f"; in place: {_said(tokenizer, *after[same:])}",
            expected="exactly one more token behind the prompt"
            if mask is None
            else "exactly one token in place of the mask",
            fix="give the text as it follows the prompt, blank included, or the id of one token that stands for it",
        )
    return after[same]


def _both(tokenizer: Any, text: str) -> str:
    """How the text is tokenised with and without a blank before it."""
    bare = text.lstrip()
    return "; ".join(
        f"{form!r} is {_said(tokenizer, *_ids(tokenizer, form, special=False))}"
        for form in (bare, " " + bare)
    )


def _said(tokenizer: Any, *ids: int) -> str:
    names = tokenizer.convert_ids_to_tokens(list(ids))
    return " ".join(f"{name!r} ({i})" for name, i in zip(names, ids, strict=True)) or "nothing"


def _ids(tokenizer: Any, text: str, *, special: bool) -> list[int]:
    return list(tokenised(tokenizer, [Filled(text, ())], special=special)[0].ids)

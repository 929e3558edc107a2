"""Answers as tokens: those with which the model would go on, in the prompt's own surroundings."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from numbers import Integral
from typing import Any

from commutes.errors import NetworkError
from commutes.network.transformers._prompt import token_ids, tokenised
from commutes.network.transformers._template import Filled, Template

Ids = tuple[int, ...]
Spelt = str | int | Sequence[int]
"""An answer as a text, or as the id of one token or of several."""


def tokens_of(
    answers: Mapping[Any, Spelt] | Sequence[Hashable],
    template: Template,
    tokenizer: Any,
    *,
    mask: str | None,
    vocabulary: int,
    declared: int | None = None,
) -> dict[Hashable, Ids]:
    """Token ids of every output value, equally many for each.

    A text is tokenised behind the prompt (or in place of its masks), because many tokenizers write a word
    differently when it stands alone.

    Args:
        answers: From values to texts or token ids; a sequence stands for the values' own texts.
        template: The prompt; its slots are filled with "0" here.
        tokenizer: A fast tokenizer.
        mask: The mask's text, for a model that answers in place of it.
        vocabulary: Tokens that the model can answer.
        declared: How many each has; as many as they come to by default.

    Raises:
        NetworkError: A text that is no tokens of its own, an id that the model does not have, answers of different
            length, of another than declared or without their blank, two answers alike.
    """
    if declared is not None and not (_whole(declared) and declared > 0):
        raise NetworkError(
            "answer_tokens is no number of tokens",
            got=repr(declared),
            expected="a whole number from 1 on, or nothing: as many as the answers come to",
        )
    given = _by_value(answers)
    found: dict[Hashable, Ids] = {}
    for value, said in given.items():
        if not isinstance(said, str):
            tokens = _given(said, value, vocabulary)
        elif mask is None:
            tokens = _behind(said, value, template, tokenizer)
        else:
            tokens = _in_place(said, value, template, tokenizer, mask)
        _check_own(tokens, value, found, vocabulary, tokenizer)
        found[value] = tokens
    if declared is not None:
        _check_declared(found, declared, tokenizer)
    _check_lengths(found, given, tokenizer)
    if mask is None:
        _check_blanks(found, given, template, tokenizer)
    return found


def _check_declared(found: Mapping[Hashable, Ids], declared: int, tokenizer: Any) -> None:
    """Refuse the first answer that has another number of tokens than every one was said to have."""
    value = next((value for value, tokens in found.items() if len(tokens) != declared), None)
    if value is None:
        return
    lengths = {len(tokens) for tokens in found.values()}
    raise NetworkError(
        f"an answer is not {_number(declared)} token{'' if declared == 1 else 's'}, as declared",
        where=f"answer {value!r}",
        got=f"{len(found[value])}: {_said(tokenizer, *found[value])}",
        expected=f"answer_tokens={declared}",
        fix=f"declare {lengths.pop()}, or answer with other words"
        if len(lengths) == 1
        else "answer with other words, of so many tokens each",
    )


def _check_own(
    tokens: Ids, value: Hashable, found: Mapping[Hashable, Ids], vocabulary: int, tokenizer: Any
) -> None:
    if max(tokens) >= vocabulary:
        raise NetworkError(
            "an answer has a token that the model does not know",
            where=f"answer {value!r}",
            got=_said(tokenizer, *tokens),
            expected=f"tokens from 0 to {vocabulary - 1}",
            fix="answer with other words; or, after adding tokens, call model.resize_token_embeddings(len(tokenizer))",
        )
    if tokens in found.values():
        other = next(v for v, t in found.items() if t == tokens)
        many = "" if len(tokens) == 1 else "s"
        raise NetworkError(
            f"two answers are the same token{many}",
            got=f"{_said(tokenizer, *tokens)} for {other!r} and for {value!r}",
            expected=f"{'other tokens' if many else 'a token of its own'} for every output value",
        )


def spelt(answers: Mapping[Any, Spelt] | Sequence[Hashable]) -> dict[Hashable, str]:
    """The answers that are given as texts, by output value."""
    return {value: text for value, text in _by_value(answers).items() if isinstance(text, str)}


def _by_value(answers: Mapping[Any, Spelt] | Sequence[Hashable]) -> Mapping[Any, Spelt]:
    return answers if isinstance(answers, Mapping) else {value: str(value) for value in answers}


def _given(ids: int | Sequence[int], value: Hashable, vocabulary: int) -> Ids:
    tokens = tuple(ids) if isinstance(ids, Sequence) else (ids,)
    known = [_whole(i) and 0 <= i < vocabulary for i in tokens]
    if not known or not all(known):
        raise NetworkError(
            "an answer is no token of the model",
            where=f"answer {value!r}",
            got=repr(ids),
            expected=f"a token id from 0 to {vocabulary - 1}, or a text",
        )
    return tuple(map(int, tokens))


def _behind(text: str, value: Hashable, template: Template, tokenizer: Any) -> Ids:
    """The tokens that come behind the prompt's own."""
    prompt = template.written(dict.fromkeys(template.slots, "0")).text
    before, after = (_ids(tokenizer, whole, special=not template.chat) for whole in (prompt, prompt + text))
    if len(after) > len(before) and after[: len(before)] == before:
        _check_known(
            tokenizer, prompt + text, (len(prompt), len(prompt + text)), value, special=not template.chat
        )
        return after[len(before) :]
    raise NetworkError(
        "an answer is no token of its own behind the prompt",
        where=f"answer {value!r}, behind {prompt[-30:]!r}",
        got=_both(tokenizer, text) + f"; in place: {_said(tokenizer, *after[_shared(before, after) :])}",
        expected="the prompt's own tokens, and one or more behind them",
        fix=_FIX,
    )


def _in_place(text: str, value: Hashable, template: Template, tokenizer: Any, mask: str) -> Ids:
    """The tokens that stand where the masks stood, all the rest being as it was."""
    prompt = template.written(dict.fromkeys(template.slots, "0")).text
    count = prompt.count(mask)
    first, behind = prompt.index(mask), prompt.rindex(mask) + len(mask)
    before, after = (
        _ids(tokenizer, whole, special=not template.chat)
        for whole in (prompt, prompt[:first] + text + prompt[behind:])
    )
    start = before.index(tokenizer.mask_token_id)
    stop = start + count
    if len(after) == len(before) and after[:start] == before[:start] and after[stop:] == before[stop:]:
        where = (first, first + len(text))
        _check_known(
            tokenizer, prompt[:first] + text + prompt[behind:], where, value, special=not template.chat
        )
        return after[start:stop]
    tokens, places = ("token", "the mask") if count == 1 else ("tokens", "the masks")
    raise NetworkError(
        f"an answer is not {_number(count)} {tokens}",
        where=f"answer {value!r}",
        got=_both(tokenizer, text) + f"; in place: {_said(tokenizer, *after[_shared(before, after) :])}",
        expected=f"exactly {_number(count)} {tokens} in place of {places}",
        fix=_FIX,
    )


def _check_known(
    tokenizer: Any, whole: str, where: tuple[int, int], value: Hashable, *, special: bool
) -> None:
    tokens = tokenised(tokenizer, [Filled(whole, ((0, len(whole)),))], special=special)[0]
    first, behind = where
    odd = next(
        (i for i in tokens.unknown if tokens.spans[i][1] > first and tokens.spans[i][0] < behind), None
    )
    if odd is not None:
        raise NetworkError(
            "the tokenizer does not know an answer",
            where=f"answer {value!r}",
            got=f"{tokens.said(odd)!r}, which becomes {tokenizer.unk_token}",
            expected="words that it knows: the model answers with those alone",
            fix="write it as the model's own texts do, or give the id of the token that stands for it",
        )


_FIX = "give the text as it follows the prompt, blank included, or the id of one token that stands for it"


def _check_lengths(found: Mapping[Hashable, Ids], given: Mapping[Any, Spelt], tokenizer: Any) -> None:
    first = next(iter(found), None)
    other = next((value for value in found if len(found[value]) != len(found[first])), None)
    if other is None:
        return
    texts = [given[value] for value in (first, other)]
    ways = [_both(tokenizer, text) for text in texts if isinstance(text, str)]
    raise NetworkError(
        "answers have different numbers of tokens",
        where=f"answers {first!r} and {other!r}",
        got="; ".join(
            [
                f"{_said(tokenizer, *found[first])} for {first!r}",
                f"{_said(tokenizer, *found[other])} for {other!r}",
                *ways[-1:],
            ]
        ),
        expected="as many tokens in every answer",
        fix="write all of them equally long ('07' beside '12') and with their blank, or give the ids of the tokens",
    )


def _check_blanks(
    found: Mapping[Hashable, Ids], given: Mapping[Any, Spelt], template: Template, tokenizer: Any
) -> None:
    """Refuse several tokens for each answer where all are single words: it is the blank that was forgotten."""
    texts = [text for text in given.values() if isinstance(text, str)]
    prompt = template.written(dict.fromkeys(template.slots, "0")).text
    blank = prompt[-1:].isspace() or any(text[:1].isspace() for text in texts)
    if blank or len(texts) < len(found) or all(len(tokens) == 1 for tokens in found.values()):
        return
    before, *words = (
        _ids(tokenizer, prompt + more, special=not template.chat) for more in ("", *(f" {t}" for t in texts))
    )
    if any(len(word) != len(before) + 1 or word[: len(before)] != before for word in words):
        return
    value = next(iter(found))
    raise NetworkError(
        "the answers are written without their blank",
        where=f"answer {value!r}, behind {prompt[-30:]!r}",
        got=f"{_said(tokenizer, *found[value])} for {texts[0]!r}",
        expected=f"{_said(tokenizer, words[0][-1])} for {' ' + texts[0]!r}: with a blank each is one token",
        fix="begin every answer with a blank; if the model is to write none, give the ids of the tokens",
    )


def _whole(value: object) -> bool:
    return isinstance(value, Integral) and not isinstance(value, bool)


def _number(count: int) -> str:
    return "one" if count == 1 else str(count)


def _shared(before: Ids, after: Ids) -> int:
    """How many tokens both begin with."""
    same = 0
    while same < min(len(before), len(after)) and before[same] == after[same]:
        same += 1
    return same


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


def _ids(tokenizer: Any, text: str, *, special: bool) -> Ids:
    return token_ids(tokenizer, [text], special=special)[0]

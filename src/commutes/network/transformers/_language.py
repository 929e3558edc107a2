"""A language model as a network: prompts in, the answers' tokens out, places by name and by meaning."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

import numpy as np
import torch
from torch import nn

from commutes.errors import NetworkError, SiteError
from commutes.network._site import Place, Position
from commutes.network.transformers._anatomy import PROBE, Anatomy, anatomy, is_sequence
from commutes.network.transformers._answers import Ids, Spelt, spelt, tokens_of
from commutes.network.transformers._chat import Chat, chat_template
from commutes.network.transformers._continuation import Continuation
from commutes.network.transformers._joins import Joins
from commutes.network.transformers._names import NAMES
from commutes.network.transformers._places import Head, head_count, hook_of, is_name, named_place
from commutes.network.transformers._positions import Meaning, TokenPosition, token_position
from commutes.network.transformers._prompt import Prompt, Tokens, tokenised
from commutes.network.transformers._template import Template, template, with_slots
from commutes.network.transformers._version import check_version

# Rows of an embedding beyond the tokenizer's tokens: models pad to a multiple, of at most so many.
_PADDING = 1024

Answers = Mapping[Any, Spelt] | Sequence[Hashable]


@dataclass(frozen=True, eq=False)
class Language:
    """How a transformer reads prompts, where its places are, and which tokens are answers."""

    prompt: Prompt
    anatomy: Anatomy
    tokens: Mapping[Hashable, Ids]
    """Token ids of every output value, equally many for each."""
    continuation: Continuation
    """How the model itself goes on, where answers have several tokens."""
    joins: Joins | None
    """That answers stay tokens of their own behind values; None where they stand in place of a mask."""

    @property
    def names(self) -> tuple[str, ...]:
        """Names of places, each for a layer."""
        return NAMES

    @property
    def blocks(self) -> tuple[str, ...]:
        """Paths of the layers."""
        return self.anatomy.blocks

    @property
    def options(self) -> Mapping[str, object]:
        """What the model is called with beside tensors."""
        keep = "logits_to_keep"
        own = self.anatomy.options
        return {**own, keep: self.prompt.length} if keep in own else own

    @property
    def read(self) -> int | tuple[int, ...]:
        """Position of the answer among the logits; of an answer of several tokens the position of each."""
        end, length = self.prompt.end, self.prompt.length
        return end if length == 1 else tuple(range(end - length + 1, end + 1))

    def encode(self, values: Mapping[str, np.ndarray]) -> dict[str, torch.Tensor]:
        """Prompts as the model takes them: tokens, mask and positions.

        Where answers have several tokens the prompt is followed by all but the last of those that the model
        itself answers, so that the logits of every token of the answer are there in one run.

        Raises:
            NetworkError: As in `prompts`; a model in training mode that has to answer first.
        """
        rows = [tokens.ids for tokens in self.prompts(values)]
        behind = self.continuation.behind(rows)
        return self.prompt.padded([row + more for row, more in zip(rows, behind, strict=True)])

    def prompts(self, values: Mapping[str, np.ndarray]) -> list[Tokens]:
        """The prompts as tokens, behind each of which every answer is what it was declared to be.

        Raises:
            NetworkError: A prompt beyond the context window, with a part that the tokenizer does not know, or with
                a value at its end into which an answer grows.
        """
        found = self.prompt.tokens(values)
        if self.joins is not None:
            self.joins.check(found, self.prompt.template.fill(values))
        return found

    def around(self, model: nn.Module) -> Language:
        """The same reading of another model of the same structure, which goes on in its own way."""
        return replace(self, continuation=self.continuation.around(model))

    @property
    def spelling(self) -> np.ndarray:
        """Token ids that spell each answer.  # shape: (answers, tokens)"""
        return np.array(list(self.tokens.values()))

    def knows(self, name: str) -> bool:
        """Whether `name` stands for a place, whatever modules there are."""
        return is_name(name)

    def heads(self, name: str) -> int | None:
        """How many heads the place of a name has; None where it has none."""
        return head_count(self.anatomy, name)

    def hook(self, name: str) -> str:
        """What TransformerLens calls the place of a name in layer N; empty where it has no name for it."""
        return hook_of(name)

    def place(self, asked: Place, *, layer: int | None, head: Head | None) -> Place:
        """The place of a name; that of a module path as it stands.

        Raises:
            SiteError: A layer or head that is not there, or beside a path.
        """
        if is_name(asked.moment.path):
            return named_place(self.anatomy, asked, layer, head)
        if layer is not None or head is not None:
            raise SiteError(
                "layer= and head= go with a name",
                where=asked.moment.path,
                got="a module's path",
                expected=f"one of {', '.join(NAMES)}",
                fix="choose the head of a module by part=",
            )
        return asked

    def again(self, place: Place) -> Place:
        """The place with positions in words meant of these prompts, whichever they were said of."""
        meant = {
            name: token_position(self.prompt, position.spec)
            for name in ("position", "source_position")
            if isinstance(position := getattr(place, name), TokenPosition)
            and position.prompt is not self.prompt
        }
        return replace(place, **meant) if meant else place

    def positions(
        self, place: Place, base: Position | Meaning | None, source: Position | Meaning | None
    ) -> tuple[Position | None, Position | None]:
        """Positions by meaning, of the base and, where they differ, of the source."""
        return self._position(place, base), None if source is None else self._position(place, source)

    def _position(self, place: Place, position: Position | Meaning | None) -> Position | None:
        moment = place.moment
        shape = self.anatomy.shape(moment.path, moment.side, moment.item)
        if callable(position):
            return position
        if is_sequence(shape) and place.axis in (None, 2, -1):
            return token_position(self.prompt, position)
        # Of what is no activation, and of the model's own output, the engine says what is wrong with it.
        plain = isinstance(position, int) or position == self.read
        if position is None or (plain and (shape is None or moment.path == "")):
            return cast("Position | None", position)
        raise SiteError(
            "the place has no token positions",
            where=str(moment),
            got="no activations" if shape is None else f"shape {shape} for a prompt of {PROBE} tokens",
            expected="(batch, tokens, features)",
            fix="leave position= out, or use the input or output of a projection",
        )


def language(
    model: nn.Module,
    tokenizer: Any,
    *,
    template: str | Chat | None,
    answers: Answers | None,
    answer_tokens: int | None = None,
) -> Language:
    """A Hugging Face model and its fast tokenizer, read through a template.

    Raises:
        NetworkError: Parts that do not fit together.
    """
    check_version()
    _check_tokenizer(tokenizer)
    if template is None or answers is None:
        raise NetworkError(
            "a language model is read through a template and its answers",
            got="no "
            + " and no ".join(n for n, v in (("template=", template), ("answers=", answers)) if v is None),
            expected='template="{a}+{b}=" and answers={value: text of one token}',
        )
    words = _words(template, tokenizer)
    masked = _mask(model, words, tokenizer)
    body = anatomy(model, last_only=masked is None)
    rows = min(cast("Any", model).get_input_embeddings().weight.shape[0], body.vocabulary)
    _check_vocabulary(tokenizer, rows)
    prompt = Prompt(words, tokenizer, body.window, -1, start=body.start, rows=rows)
    if masked is not None:
        prompt = replace(
            prompt,
            end=_from_end(words, tokenizer),
            mask=tokenizer.mask_token_id,
            length=str(words).count(masked),
        )
    prompt.check()
    tokens = tokens_of(answers, words, tokenizer, mask=masked, vocabulary=rows, declared=answer_tokens)
    length = max(map(len, tokens.values()), default=prompt.length)
    if masked is not None and length != prompt.length:
        raise NetworkError(
            "an answer has another number of tokens than the template has masks",
            where=str(words),
            got=f"{length} tokens in an answer, {prompt.length} masks",
            expected="as many of the one as of the other",
        )
    prompt = replace(prompt, length=length)
    prompt.check()
    joins = Joins(prompt, spelt(answers), tokens) if masked is None else None
    return Language(prompt, body, tokens, Continuation(model, prompt.fed, body.options), joins)


def _check_tokenizer(tokenizer: Any) -> None:
    if not getattr(tokenizer, "is_fast", False):
        raise NetworkError(
            "positions by meaning need a fast tokenizer",
            got="no tokenizer" if tokenizer is None else type(tokenizer).__name__,
            expected="a transformers.PreTrainedTokenizerFast, which knows the offsets of its tokens",
            fix="load it with AutoTokenizer.from_pretrained(name, use_fast=True)",
        )


def _check_vocabulary(tokenizer: Any, rows: int) -> None:
    """Refuse a tokenizer of another size than the model's embedding.

    Tokens that were added may lie beyond it, such as Gemma 3's for images, which its small models do not know: a
    prompt that has one is refused when it is read. None that a tokenizer was made with may.
    """
    beyond = [i for i in tokenizer.get_vocab().values() if i >= rows]
    added = tokenizer.added_tokens_decoder
    if all(i in added for i in beyond) and rows <= len(tokenizer) + _PADDING:
        return
    raise NetworkError(
        "the tokenizer is of another vocabulary than the model",
        got=f"{len(tokenizer):,} tokens in the tokenizer, {rows:,} in the model",
        expected="the tokenizer that the model was trained with",
        fix="load both from one name; after adding tokens call model.resize_token_embeddings(len(tokenizer))",
    )


def _words(given: str | Chat, tokenizer: Any) -> Template:
    if isinstance(given, str):
        return template(given)
    return with_slots(chat_template(given, tokenizer), given)


def _mask(model: Any, words: Template, tokenizer: Any) -> str | None:
    """The mask's text, for a model that answers in its place."""
    mask = getattr(tokenizer, "mask_token", None)
    times = str(words).count(mask) if mask else 0
    if not type(model).__name__.endswith("ForMaskedLM"):
        return None
    if not times:
        raise NetworkError(
            "a masked language model answers in place of its mask",
            where=str(words),
            got=f"{times} masks in the template",
            expected=f"one {mask}, or as many side by side as an answer has tokens"
            if mask
            else "a tokenizer with a mask token",
        )
    return mask


def _from_end(words: Template, tokenizer: Any) -> int:
    filled = words.written(dict.fromkeys(words.slots, "0"))
    ids = tokenised(tokenizer, [filled], special=not words.chat)[0].ids
    return -1 - ids[::-1].index(tokenizer.mask_token_id)

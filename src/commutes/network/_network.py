"""A neural network as the library sees it: how it reads inputs, where its answers are, what runs in order."""

from __future__ import annotations

import copy
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from torch import nn

from commutes.errors import NetworkError
from commutes.network._admit import block_paths, distinct, no_such, refuse_both, refuse_tokens, unread
from commutes.network._asked import asked_place
from commutes.network._fingerprint import fingerprint
from commutes.network._inputs import Columns, Inputs, encoded
from commutes.network._logits import Read, found_logits, read_where
from commutes.network._probe import ModuleCall, check_mode, probe
from commutes.network._reinitialise import reinitialise
from commutes.network._site import Moment, Part, Place, Position, Side, Site

if TYPE_CHECKING:
    from commutes.network.transformers import Head, Language, Meaning, Spelt

Encode = Callable[
    [dict[str, np.ndarray]], "torch.Tensor | Sequence[torch.Tensor] | Mapping[str, torch.Tensor]"
]
Decode = Callable[[torch.Tensor], Sequence[Any]]

# Rows run at once where nobody said otherwise: enough to amortise a forward, few enough for any laptop. Of a
# language model every row is a prompt that is answered with a whole vocabulary, and every token of it has states.
CHUNK, PROMPTS, TOKENS = 8192, 256, 8192


class Network:
    """A `torch.nn.Module` with the meaning of its inputs and outputs. Nothing of the module is ever changed.

    Args:
        module: Any module, in evaluation mode where that matters.
        tokenizer: For a Hugging Face model: its fast tokenizer. Instead of `encode=` there is a template then.
        template: The prompt, with the algorithm's inputs as slots: "{a}+{b}=". Or a chat, as a list of messages
            {"role": ..., "content": ...}.
        encode: From the algorithm's inputs to tensors: gets a dict of arrays by input name, one entry per
            example; returns a tensor, a tuple of tensors or a dict of tensors by argument name, batch first.
        answers: Output values of the algorithm in the order of the logits. For a language model: a mapping from
            output values to texts or to ids of tokens, or the values themselves as text. The logits are then those
            of the whole vocabulary. Answers may have several tokens, all equally many: the model is then fed what
            it answers itself, but for the last token, and an answer is right when all its tokens are.
        answer_tokens: Tokens that every answer of a language model is declared to have; as many as they come to
            by default.
        read: Where the logits are: nothing (what the module returns), a position on its second axis, the path
            of a module, or (path, position).
        decode: From logits to a sequence of output values; allows evaluation, not fitting.
        blocks: Modules that run in order: the path of a `ModuleList` or `Sequential`, or a list of paths.
            They allow an edited run to resume at the first edited block.
        name: What reports call the network.

    Raises:
        NetworkError: Arguments that do not fit together.
    """

    def __init__(
        self,
        module: nn.Module,
        tokenizer: object | None = None,
        *,
        template: str | Sequence[Mapping[str, str]] | None = None,
        encode: Encode | None = None,
        answers: Sequence[Hashable] | Mapping[Any, Spelt] | None = None,
        answer_tokens: int | None = None,
        read: Read = None,
        decode: Decode | None = None,
        blocks: str | Sequence[str] | None = None,
        name: str | None = None,
    ) -> None:
        if not isinstance(module, nn.Module):
            raise NetworkError(
                "a network is a torch.nn.Module", got=type(module).__name__, expected="an nn.Module"
            )
        if (answers is None) == (decode is None):
            raise NetworkError(
                "a network needs to know what its outputs mean",
                got="both answers= and decode=" if answers is not None else "neither answers= nor decode=",
                expected="answers=, the output values in the order of the logits, or decode=",
            )
        self.language: Language | None = None
        self.options: Mapping[str, object] = {}
        if tokenizer is not None or template is not None:
            from commutes.network.transformers import language

            refuse_both(encode=encode, read=read, decode=decode)
            self.language = language(
                module, tokenizer, template=template, answers=answers, answer_tokens=answer_tokens
            )
            self.options = self.language.options
            encode = self.language.encode
            blocks = self.language.blocks if blocks is None else blocks
        elif encode is None or isinstance(answers, Mapping):
            raise unread(answers)
        elif answer_tokens is not None:
            raise refuse_tokens()
        self.module = module
        self.answers = None if answers is None else distinct(answers)
        self.decode = decode
        self.name = name or type(module).__name__
        self._encode: Encode = encode
        self.read_path, self.read_position = (
            read_where(read) if self.language is None else ("", self.language.read)
        )
        self._modules = dict(module.named_modules())
        if self.read_path not in self._modules:
            raise no_such(self.read_path, self._modules)
        self.blocks = block_paths(blocks, self._modules)

    def __repr__(self) -> str:
        return f"Network({self.name}, {len(self._modules)} modules, {len(self.blocks)} blocks)"

    def site(
        self,
        path: str,
        *,
        layer: int | None = None,
        head: Head | None = None,
        part: Part | None = None,
        position: Position | Meaning | None = None,
        source_position: Position | Meaning | None = None,
        call: int | None = None,
        side: Side = "output",
        item: int | str | None = None,
        axis: int | None = None,
        each: bool = False,
    ) -> Site:
        """A validated place in the network.

        Args:
            path: Dotted path of a module, as in `named_modules()`. In a transformer also a name ("block_output",
                "head_attention_value_output", ...; `language.names` lists them) with a layer, or the name of
                a hook of TransformerLens ("blocks.3.hook_resid_post").
            layer: Of a name; negative ones count from the last.
            head: Of a name: one head or several; in grouped-query attention keys and values have their own.
            part: Features (neurons, channels, the slice of a head) on the feature axis.
            position: Token or pixel positions; negative ones count from the end; a function of the inputs'
                values gives them per example. In a transformer positions are those of the prompt without its
                padding, and also "last", a slot ("{b}", "{b[first]}", "{b[-1]}", its second occurrence "{b@2}"),
                a token of the answer that is fed behind the prompt ("answer[0]", all of them "answer"), or a
                list of these; None and "every" are every token of the prompt.
            source_position: Positions in the source where they differ from the base's.
            call: Which call of a module that runs several times, from 0.
            side: "output" or "input" of the module.
            item: Member of a tuple that the module returns or is called with, or the name of an argument.
            axis: Feature axis, the last one by default and 1 for images.
            each: Every position is a vector of its own, all with one map.

        Raises:
            SiteError: No such module (the three nearest are named), or a side or call that cannot be.
        """
        place = asked_place(
            Place(Moment(path, side, item, call), part, axis=axis),
            self._modules,
            self.language,
            layer=layer,
            head=head,
            position=position,
            source_position=source_position,
        )
        return Site(self, (place,), each)

    @classmethod
    def pretrained(
        cls,
        name: str,
        *,
        template: str | Sequence[Mapping[str, str]],
        answers: Sequence[Hashable] | Mapping[Any, Spelt],
        answer_tokens: int | None = None,
        revision: str | None = None,
        dtype: str | torch.dtype | None = None,
        device_map: str | Mapping[str, int | str] | None = None,
        trust_remote_code: bool = False,
    ) -> Network:
        """A language model and its tokenizer from the Hugging Face hub, its cache or a folder.

        Args:
            name: Of the repository, such as "openai-community/gpt2", or a folder's path.
            template: The prompt, with the algorithm's inputs as slots.
            answers: From output values to texts, all of equally many tokens.
            answer_tokens: How many; as many as the texts come to by default.
            revision: Commit, tag or branch.
            dtype: Of the weights; as saved by default.
            device_map: On which devices the modules are put.
            trust_remote_code: False: code of a repository's own is never run.

        Raises:
            NetworkError: The model cannot be had, asks to run code of its own, or is no language model.
        """
        from commutes.network.transformers import pretrained

        if trust_remote_code:
            raise NetworkError(
                "code of a repository's own is never run",
                where=name,
                got="trust_remote_code=True",
                expected="a model that transformers itself has the code of",
                fix="read that code, load the model yourself, and hand it over: Network(model, tokenizer, ...)",
            )
        model, tokenizer = pretrained(name, revision=revision, dtype=dtype, device_map=device_map)
        return cls(
            model, tokenizer, template=template, answers=answers, answer_tokens=answer_tokens, name=name
        )

    @property
    def chunk(self) -> int:
        """Rows that are run at once where nobody said otherwise."""
        return CHUNK if self.language is None else PROMPTS

    def batch_size(self, inputs: Inputs) -> int:
        """Rows of these inputs that are run at once where nobody said otherwise; fewer of longer prompts."""
        if self.language is None:
            return self.chunk
        return max(1, min(self.chunk, TOKENS // inputs.kwargs["input_ids"].shape[1]))

    @property
    def spelling(self) -> np.ndarray | None:
        """Columns of the logits that spell each answer.  # shape: (answers, tokens); None with a custom `decode=`"""
        if self.answers is None:
            return None
        return np.arange(len(self.answers))[:, None] if self.language is None else self.language.spelling

    @property
    def device(self) -> torch.device:
        """Where the module's first parameter or buffer lives."""
        for tensor in (*self.module.parameters(), *self.module.buffers()):
            return tensor.device
        return torch.device("cpu")

    @property
    def fingerprint(self) -> str:
        """SHA-256 over the module's structure, weights and plain attributes, and over how it is read.

        `read`, `answers` and `blocks` are in it, and the code of `encode` and `decode` with the plain values, arrays
        and tensors that they carry (their names where they have no Python code).
        """
        return fingerprint(self)

    def encode(self, values: Mapping[str, np.ndarray]) -> Inputs:
        """The inputs as the module takes them.

        Raises:
            NetworkError: No inputs, or `encode=` did not return one row per input.
        """
        plain = Columns({name: np.asarray(column) for name, column in values.items()})
        if not plain or not len(next(iter(plain.values()))):
            raise NetworkError(
                "there are no inputs to run",
                got=f"{len(plain)} columns" if not plain else "columns of length 0",
                expected="at least one example",
            )
        return encoded(self._encode(plain), plain, self.device)

    def logits_of(self, returned: object) -> torch.Tensor:
        """The logits in what the module at `read` returned.

        Shape (n, answers); of a language model (n, vocabulary), and (n, tokens, vocabulary) where an answer
        has several tokens.

        Raises:
            NetworkError: It is not a tensor, or its width does not fit the answers.
        """
        # A language model answers with its whole vocabulary, and a custom `decode=` says itself what it needs.
        width = None if self.language is not None or self.answers is None else len(self.answers)
        return found_logits(returned, self.read_path, self.read_position, width)

    def check_mode(self) -> None:
        """Refuse a module whose answers are random, or that mixes the examples of a batch.

        Raises:
            NetworkError: Dropout or batch statistics in training mode; batch statistics always.
        """
        check_mode(self._modules)

    def reinitialised(self, seed: int, *, kind: Literal["reset", "cascade", "shuffle"] = "reset") -> Network:
        """The same network untrained; the null against which an alignment is judged.

        Args:
            seed: Of the new weights.
            kind: "reset" draws every module's weights anew as its constructor does; "cascade" does so for the
                upper half of the blocks and what is behind; "shuffle" permutes the entries of each parameter.

        Raises:
            NetworkError: Parameters that no module knows how to reset.
        """
        return self.with_module(
            reinitialise(self.module, seed, kind=kind, blocks=self.blocks), suffix=f" ({kind} {seed})"
        )

    def with_module(self, module: nn.Module, *, suffix: str = "") -> Network:
        """The same reading and answers around another module of the same structure."""
        other = copy.copy(self)
        other.module = module
        if self.language is not None:
            other.language = self.language.around(module)
            other._encode = other.language.encode
        other._modules = dict(module.named_modules())
        other.name = self.name + suffix
        return other

    def probe(self, values: Mapping[str, np.ndarray]) -> list[ModuleCall]:
        """Run the inputs once and say of every module how often it ran and what it returned.

        Raises:
            NetworkError: The network is in training mode: running it would change its statistics.
        """
        self.check_mode()
        inputs = self.encode(values)
        return probe(self.module, self._modules, inputs, self.options)

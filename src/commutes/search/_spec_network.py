"""[network]: the network under test, built by the hypothesis file or read from a folder or the hub."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema, model_validator

from commutes.search._spec_part import Builder, Options, Part, refuse

__all__ = ["NetworkPart", "Template"]

_MESSAGE = {"role", "content"}


def _no_training(value: Any) -> Any:
    return None if value is False else value


def _device(name: str) -> str:
    if not re.fullmatch(r"cpu|mps|cuda(:\d+)?", name):
        raise refuse(
            f"{name!r} is no device",
            '"cpu", "cuda", a numbered one such as "cuda:1", or "mps"',
            "name one of these, or remove device for the CPU",
        )
    return name


def _template(value: Any) -> str | tuple[dict[str, str], ...]:
    if isinstance(value, str) and value:
        return value
    chat = list(value) if isinstance(value, list | tuple) else []
    if not chat or not all(
        isinstance(message, dict)
        and message.keys() == _MESSAGE
        and all(isinstance(text, str) for text in message.values())
        for message in chat
    ):
        raise refuse(
            "the template is no prompt",
            'text with slots such as "{a}+{b}=", or a chat: a list of { role = "user", content = "{a}+{b}=" }',
            "write the prompt in quotes, each input of the algorithm in braces",
        )
    return tuple(dict(message) for message in chat)


def _answers(value: Any) -> str | dict[str, str]:
    if isinstance(value, str):
        return value
    if not isinstance(value, dict) or not value or not all(isinstance(text, str) for text in value.values()):
        raise refuse(
            "the answers are no texts",
            'how every value is written, such as " {}", or a table such as { True = " yes", False = " no" }',
            "write one text with {} in it, or one text for each value of the output",
        )
    return dict(value)


def _device_map(value: Any) -> str | dict[str, int | str]:
    if isinstance(value, str) and value:
        return value
    places = value.values() if isinstance(value, dict) else [None]
    if not value or not all(type(place) in (int, str) for place in places):
        raise refuse(
            "the device map names no devices",
            'a word such as "auto", or a table such as { transformer = 0, lm_head = "cuda:1" }',
            "write one word, or one device for each part of the model",
        )
    return dict(value)


# Any: of a union pydantic would tell what is wrong with every member.
DeviceMap = Annotated[
    Any,
    AfterValidator(_device_map),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "string", "minLength": 1},
                {
                    "type": "object",
                    "minProperties": 1,
                    "additionalProperties": {"type": ["integer", "string"]},
                },
            ]
        }
    ),
]
Template = Annotated[
    Any,
    AfterValidator(_template),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "string", "minLength": 1},
                {
                    "type": "array",
                    "minItems": 1,
                    "items": {
                        "type": "object",
                        "properties": {"role": {"type": "string"}, "content": {"type": "string"}},
                        "required": ["role", "content"],
                        "additionalProperties": False,
                    },
                },
            ]
        }
    ),
]
Answers = Annotated[
    Any,
    AfterValidator(_answers),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "string"},
                {"type": "object", "minProperties": 1, "additionalProperties": {"type": "string"}},
            ]
        }
    ),
]
Text = Annotated[str, Field(min_length=1)]


class NetworkPart(Part):
    """[network]: the network under test: a function of the hypothesis file builds it, or pretrained names it."""

    build: Builder | None = "network"
    """the name of the function in that file that builds the untrained network"""
    train: Annotated[Builder | None, BeforeValidator(_no_training)] = "train"
    """the name of the function in that file that trains it, or false for a network that needs no training"""
    options: Options
    """a table of options handed to the function that builds the network"""
    pretrained: Text | None = None
    """a folder made by save_pretrained (relative to the spec), or a repository of the Hugging Face hub, such as
    "openai-community/gpt2": a language model, instead of build, train and options"""
    revision: Text | None = None
    """commit, tag or branch of the repository"""
    dtype: Literal["float64", "float32", "bfloat16", "float16"] | None = None
    """type of the weights, one of "float64", "float32", "bfloat16", "float16"; as saved by default"""
    device: Annotated[str, AfterValidator(_device)] | None = None
    """where the model runs: "cpu" (the default), "cuda", "cuda:1", "mps\""""
    device_map: DeviceMap | None = None
    """on which devices its modules are put instead: "auto" or another word of transformers, or a table from module
    paths to devices"""
    template: Template | None = None
    """the prompt with the algorithm's inputs as slots, such as "{a}+{b}=", or a chat as a list of messages"""
    answers: Answers | None = None
    """how a value of the output is written behind the prompt: text with {} in it, such as " {}", or a table from
    values to texts; by default the value's own text"""
    answer_tokens: Annotated[int, Field(ge=1, strict=True)] | None = None
    """tokens that every answer is declared to have; as many as they come to by default"""

    @model_validator(mode="before")
    @classmethod
    def _not_built(cls, raw: Any) -> Any:
        # What a model from elsewhere replaces is off: a default must not look as if it had been asked for.
        if isinstance(raw, Mapping) and raw.get("pretrained") is not None:
            return {"build": None, "train": None, **raw}
        return raw

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        if self.pretrained is None:
            own = {
                "revision": self.revision,
                "dtype": self.dtype,
                "device": self.device,
                "device_map": self.device_map,
                "template": self.template,
                "answers": self.answers,
                "answer_tokens": self.answer_tokens,
            }
            given = [name for name, value in own.items() if value is not None]
            if given:
                raise refuse(
                    f"{given[0]} is of a pretrained model, and none is named",
                    "pretrained beside it, or a network that the hypothesis file builds",
                    'add pretrained = "folder or repository", or hand the function options of its own',
                )
        else:
            built = {"build": self.build, "train": self.train, "options": self.options or None}
            given = [name for name, value in built.items() if value is not None]
            if given:
                raise refuse(
                    f"the network is given twice: pretrained, and {given[0]}",
                    "pretrained alone, or a function of the hypothesis file",
                    f"remove pretrained or {given[0]}",
                )
            if self.device is not None and self.device_map is not None:
                raise refuse(
                    "where the model runs is said twice: device, and device_map",
                    "device for one device, device_map for several",
                    "remove one of the two",
                )
            if self.template is None:
                raise refuse(
                    "a pretrained model is read through a prompt, and the spec has none",
                    'template, such as template = "{a}+{b}="',
                    "add template with the algorithm's inputs as slots",
                )
        return self

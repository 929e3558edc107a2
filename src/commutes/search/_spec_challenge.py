"""[challenge]: what the claim has to survive, and what it is held against."""

from __future__ import annotations

import re
from datetime import timedelta
from pathlib import PurePath
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, WithJsonSchema, model_validator

from commutes.search._spec_claim import Head, Layer, Position, placed_once
from commutes.search._spec_network import Template
from commutes.search._spec_part import Builder, Part, Share, once, refuse

__all__ = ["TABLES", "ChallengePart", "ShiftPart", "VariantPart"]

TABLES = (".csv", ".json", ".parquet")
"""How the names of files end that hold values by column."""

_FUNCTION = re.compile(r"[A-Za-z][A-Za-z0-9_]*")
_TIME = re.compile(r"(\d{1,6}(?:\.\d{1,6})?) (second|minute|hour)s?")
_SECONDS = {"second": 1, "minute": 60, "hour": 3600}


def _seconds(value: Any) -> float | None:
    """A time such as "10 minutes" in seconds; None for what is none, or nothing."""
    found = _TIME.fullmatch(value) if isinstance(value, str) else None
    return None if found is None else float(found[1]) * _SECONDS[found[2]] or None


def _budget(value: Any) -> int | str:
    number = isinstance(value, int) and not isinstance(value, bool) and value > 0
    if not number and _seconds(value) is None:
        raise refuse(
            "the budget is no number of forward passes and no time",
            'a whole number above 0, or a time such as "90 seconds", "10 minutes" or "1.5 hours"',
            "write a number without quotes, or a time in quotes",
        )
    return value


def _off_task(value: str) -> str:
    if not _FUNCTION.fullmatch(value) and PurePath(value).suffix not in TABLES:
        raise refuse(
            "the off-task inputs are no function and no table",
            "the name of a function in the hypothesis file, or a file that ends in " + " or ".join(TABLES),
            "name one of these; a path is relative to the spec",
        )
    return value


# Any: of a union pydantic would tell what is wrong with every member.
Budget = Annotated[
    Any,
    AfterValidator(_budget),
    WithJsonSchema(
        {"anyOf": [{"type": "integer", "minimum": 1}, {"type": "string", "pattern": f"^{_TIME.pattern}$"}]}
    ),
]
OffTask = Annotated[str, AfterValidator(_off_task)]
Name = Annotated[str, Field(min_length=1)]


class ShiftPart(Part):
    """[challenge.shifts."name"]: a change of the inputs under which the claim has to hold without another fit."""

    distribution: Builder | None = None
    """how inputs are drawn: "values", "inputs", or the name of a Distribution in the hypothesis file"""
    domain: (
        Annotated[
            dict[Builder, Annotated[tuple[int | float | str | bool, ...], Field(strict=False)]], Field()
        ]
        | None
    ) = None
    """a table from inputs to lists of other values, such as { x = [20, 21, 22] }"""
    template: Annotated[str, Field(min_length=1)] | None = None
    """another prompt of a language model, with the same inputs as slots"""
    independent: Annotated[tuple[Builder, ...], Field(strict=False), AfterValidator(once)] = ()
    """a list of inputs that are drawn independently of all others"""
    resample: Annotated[tuple[Builder, ...], Field(strict=False), AfterValidator(once)] = ()
    """a list of inputs that are drawn anew in swaps of what is not computed from them"""

    @model_validator(mode="after")
    def _one(self) -> Self:
        others = [k for k in ("domain", "template", "independent", "resample") if getattr(self, k)]
        if len(others) > 1 or not (others or self.distribution):
            raise refuse(
                "the shift changes several things" if others else "the shift says nothing of what is shifted",
                "distribution, or one of domain, template, independent, resample (with or without a distribution)",
                "declare two shifts, each with a name" if others else "say what is shifted, or remove it",
            )
        return self


class VariantPart(Part):
    """[challenge.variants."name"]: another place or prompt at which the claim is fitted again: the verdict must be the
    same there."""

    place: Annotated[str, Field(min_length=1)] | None = None
    """the name of a place in every layer, such as "mlp_output", instead of the chosen one"""
    layer: Layer | None = None
    """a whole number from 0: this layer, instead of the chosen one"""
    site: Annotated[str, Field(min_length=1)] | None = None
    """a module path or the name of a hook, instead of place and layer"""
    head: Head | None = None
    """a whole number from 0: this head, instead of the chosen one"""
    position: Position | None = None
    """a token by number, or in words as in claim.positions: this one, instead of the chosen one"""
    template: Template | None = None
    """another prompt of a language model, with the same inputs as slots"""

    @model_validator(mode="after")
    def _said(self) -> Self:
        placed_once(self.site, self.place, self.layer)
        if all(value is None for value in self.model_dump().values()):
            raise refuse(
                "the variant says nothing of what is other",
                "at least one of place, layer, site, head, position, template",
                "say what differs from the claim, or remove it",
            )
        return self


class ChallengePart(Part):
    """[challenge]: what the claim has to survive."""

    level: Literal["R0", "R1", "R2", "R3", "R4", "R5"] = "R2"
    """one of "R0" to "R5": how far the claim is challenged"""
    target: Share = 0.9
    """a number above 0 and up to 1: the accuracy that the worst cell has to clear"""
    behaviour: Share = 0.95
    """a number above 0 and up to 1: the accuracy of the network itself that the claim presupposes"""
    refits: Annotated[int, Field(ge=5)] = 5
    """a whole number of at least 5: refits on untrained networks"""
    controls: Annotated[int, Field(ge=3)] = 3
    """a whole number of at least 3: control algorithms, drawn at random with the same marginals"""
    shifts: dict[Annotated[str, Field(min_length=1)], ShiftPart] = Field(default_factory=dict)
    """a table by name: changes of the inputs under which the claim has to hold, at least two for R4, such as
    shifts.noise = { resample = ["w"] }"""
    every_input: bool = False
    """true or false: whether the claim is of every input, so that one counterexample refutes it"""
    rivals: Annotated[tuple[Builder, ...], Field(strict=False), AfterValidator(once)] = ()
    """a list of names of functions in the hypothesis file that build rival algorithms, without options"""
    networks: Annotated[int, Field(ge=0)] = 0
    """a whole number: further networks that are trained from the next seeds, at least three for R5"""
    replicated: Share = 1 / 3
    """a number above 0 and up to 1: the share of such networks that the claim must be shown to hold on"""
    variants: dict[Name, VariantPart] = Field(default_factory=dict)
    """a table by name: other places or prompts at which the claim is fitted again, with the same verdict, such as
    variants.later = { position = "last" }"""
    off_task: OffTask | None = None
    """the name of a function in the hypothesis file, or a file of values by column (.csv, .json, .parquet; relative to
    the spec): inputs that the claim says nothing about, which its edits must leave alone"""
    damage: Annotated[float, Field(gt=0, lt=1)] = 0.05
    """a number above 0 and below 1: the share of off-task inputs whose answer an edit may change"""
    budget: Budget | None = None
    """a whole number of forward passes, or a time such as "10 minutes": checks that do not fit into it are not run"""

    @property
    def allowed(self) -> int | timedelta | None:
        """The budget as `challenge` takes it."""
        seconds = _seconds(self.budget)
        return self.budget if seconds is None else timedelta(seconds=seconds)

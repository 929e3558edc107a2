"""[claim]: which variables are claimed, and the places and sizes among which is chosen."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    Discriminator,
    Field,
    Tag,
    WithJsonSchema,
    model_validator,
)

from commutes.search._spec_part import TAGS, Builder, Count, Part, once, refuse

__all__ = ["AtPart", "ClaimPart", "Head", "Layer", "Position", "placed_once"]


def _from_zero(what: str, example: str) -> AfterValidator:
    def checked(number: int) -> int:
        if number < 0:
            raise refuse(
                f"the {what} {number} is negative",
                f"{what}s counted from 0" + (", the first block" if what == "layer" else ""),
                f"count from the front: {example}; `commutes sites` lists them",
            )
        return number

    return AfterValidator(checked)


def _joint_set(names: tuple[str, ...]) -> tuple[str, ...]:
    once(names)
    if len(names) < 2:
        raise refuse(
            f"{list(names)!r} is no set of variables to swap at once",
            "at least two claimed variables; each is swapped alone in any case",
            "name another variable in it, or remove it",
        )
    # A set has one spelling: in whatever order it is written, it is the same run.
    return tuple(sorted(names))


def _position(value: Any) -> Any:
    if isinstance(value, list | tuple) and len(value) > 1 and all(_is_token(item) for item in value):
        return once(tuple(value))
    if not _is_token(value):
        raise refuse(
            "the position is no number and no word",
            'a token by number (-1 is the last), or "last", "every", a slot such as "{b}" or "{b[first]}", or a list '
            "of several that are read as one place",
            "write one token's place, with words in quotes",
        )
    return value


def _is_token(value: Any) -> bool:
    return not isinstance(value, bool) and isinstance(value, int | str) and value != ""


def _listed(value: Any) -> str:
    return TAGS[0] if isinstance(value, str) else TAGS[1]


Layer = Annotated[int, _from_zero("layer", "of 12 blocks the last is 11")]
Head = Annotated[int, _from_zero("head", "of 8 heads the last is 7")]
_TOKEN = [{"type": "integer"}, {"type": "string", "minLength": 1}]

# Any: of a union pydantic would tell what is wrong with every member.
Position = Annotated[
    Any,
    AfterValidator(_position),
    WithJsonSchema({"anyOf": [*_TOKEN, {"type": "array", "minItems": 2, "items": {"anyOf": _TOKEN}}]}),
]
Layers = Annotated[tuple[Layer, ...], Field(min_length=1, strict=False), AfterValidator(once)]
Heads = Annotated[tuple[Head, ...], Field(min_length=1, strict=False), AfterValidator(once)]
All = Annotated[Literal["all"], Tag(TAGS[0])]
JointSet = Annotated[tuple[Builder, ...], Field(strict=False), AfterValidator(_joint_set)]


def placed_once(site: str | None, *others: object) -> None:
    """Refuse a table that names its place by a site and in another way."""
    if site is not None and any(other is not None for other in others):
        raise refuse(
            "the place is given twice",
            "site, or place and layer",
            "remove site, or place and layer",
        )


class AtPart(Part):
    """[claim.at.<variable>]: what of this variable's place is not swept with the others."""

    place: Annotated[str, Field(min_length=1)] | None = None
    """the name of a place in every layer, such as "mlp_output", instead of claim.place"""
    layer: Layer | None = None
    """a whole number from 0: this layer, instead of claim.layers"""
    site: Annotated[str, Field(min_length=1)] | None = None
    """a module path or the name of a hook, instead of place and layer"""
    head: Head | None = None
    """a whole number from 0: this head, instead of claim.heads"""
    position: Position | None = None
    """a token by number, or in words as in claim.positions: this one, instead of claim.positions"""

    @model_validator(mode="after")
    def _said(self) -> Self:
        placed_once(self.site, self.place, self.layer)
        if all(value is None for value in (self.place, self.layer, self.site, self.head, self.position)):
            raise refuse(
                "the table says nothing of the variable's place",
                "at least one of place, layer, site, head, position",
                "say what differs from the other variables, or remove the table",
            )
        return self


class ClaimPart(Part):
    """[claim]: which variables are claimed, and the places and sizes among which is chosen."""

    variables: Annotated[tuple[Builder, ...], Field(min_length=1, strict=False), AfterValidator(once)]
    """a list of names of inner variables of the algorithm"""
    joint: Annotated[tuple[JointSet, ...], Field(strict=False), AfterValidator(once)] = ()
    """a list of lists of claimed variables that are swapped at once, each from a source of its own, such as
    [["left", "right"]]; every variable is swapped alone in any case"""
    place: Annotated[str, Field(min_length=1)] | None = None
    """the name of a place that every layer of a language model has, such as "block_output" (the default),
    "attention_output", "mlp_output" or "head_attention_value_output"; `commutes sites` lists them"""
    layers: Annotated[All | Annotated[Layers, Tag(TAGS[1])], Discriminator(_listed)] | None = None
    """a list of whole numbers from 0, or "all": the outputs of these blocks of the network are searched, or the
    place in these layers"""
    sites: (
        Annotated[
            tuple[Annotated[str, Field(min_length=1)], ...],
            Field(min_length=1, strict=False),
            AfterValidator(once),
        ]
        | None
    ) = None
    """a list of module paths: their outputs are searched, instead of layers; in a language model also hooks of
    TransformerLens such as "blocks.3.hook_resid_post\""""
    heads: Annotated[All | Annotated[Heads, Tag(TAGS[1])], Discriminator(_listed)] | None = None
    """a list of whole numbers from 0, or "all": each of these heads is searched, where the place has heads"""
    positions: (
        Annotated[tuple[Position, ...], Field(min_length=1, strict=False), AfterValidator(once)] | None
    ) = None
    """a list of tokens, each searched: by number (-1 is the last) or in words, "last", "every", a slot of the
    template as in "{b}", "{b[first]}", "{b[-1]}", a token of the answer that is fed as in "answer[0]", or a list of
    these that is one place; without it all tokens are read as one place"""
    sizes: Annotated[tuple[Count, ...], Field(min_length=1, strict=False), AfterValidator(once)]
    """a list of whole numbers of at least 1: dimensions per variable"""
    map: Literal["rotation", "oblique"] = "rotation"
    """"rotation", or "oblique": reader and writer apart, a larger family of maps; the nulls are fitted with the same"""
    at: dict[Builder, AtPart] = Field(default_factory=dict)
    """a table by variable: what of its place is not swept, such as at.tens = { position = "last" }"""

    @model_validator(mode="after")
    def _named(self) -> Self:
        if self.sites is not None and self.place is not None:
            raise refuse(
                "the claim names both place and sites",
                "place with layers, or sites alone",
                "remove one of them",
            )
        return self

    @property
    def swaps(self) -> tuple[tuple[str, ...], ...]:
        """What is swapped: each claimed variable alone, then the joint sets."""
        return (*((name,) for name in self.variables), *self.joint)

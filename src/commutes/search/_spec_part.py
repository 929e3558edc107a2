"""What every table of a spec is made of."""

from __future__ import annotations

import math
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from pydantic_core import PydanticCustomError

__all__ = ["TAGS", "Builder", "Count", "Options", "Part", "Share", "once", "refuse"]

# Of a value that may be a word or a list: pydantic puts the kind among the keys, messages take it out again.
TAGS = ("<word>", "<list>")


def refuse(what: str, expected: str, fix: str) -> PydanticCustomError:
    """A refusal that carries what is expected and what to do, for `first_error` to tell."""
    return PydanticCustomError("refused", "{what}", {"what": what, "expected": expected, "fix": fix})


def once(values: tuple[Any, ...]) -> tuple[Any, ...]:
    """The values, refused where one is listed twice."""
    for row, value in enumerate(values):
        if value in values[:row]:
            raise refuse(f"{value!r} is listed twice", "each entry once", f"remove one {value!r}")
    return values


def _plain_option(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain_option(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain_option(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        raise refuse(f"the option {value} is not a finite number", "a finite number", "write a number")
    if not isinstance(value, bool | int | float | str):
        raise refuse(
            f"the option is a {type(value).__name__}",
            "text, a number, true or false, a list or a table of these",
            "put it in quotes",
        )
    return value


Builder = Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_]*$")]
Options = Annotated[dict[str, Annotated[Any, AfterValidator(_plain_option)]], Field(default_factory=dict)]
Count = Annotated[int, Field(ge=1)]
Share = Annotated[float, Field(gt=0, le=1)]


class Part(BaseModel):
    """A table that refuses unknown keys, values of another type and numbers that are not finite."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        strict=True,
        allow_inf_nan=False,
        use_attribute_docstrings=True,
        # A repr of a spec in a message must not fill the screen with a user's options.
        hide_input_in_errors=True,
    )

"""The tables of a spec, each with its keys, their limits and their defaults."""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

__all__ = [
    "AlgorithmPart",
    "ChallengePart",
    "ClaimPart",
    "DataPart",
    "FitPart",
    "NetworkPart",
    "Part",
    "RunName",
    "Split",
    "refuse",
]


def refuse(what: str, expected: str, fix: str) -> PydanticCustomError:
    """A refusal that carries what is expected and what to do, for `first_error` to tell."""
    return PydanticCustomError("refused", "{what}", {"what": what, "expected": expected, "fix": fix})


def _once(values: tuple[Any, ...]) -> tuple[Any, ...]:
    for row, value in enumerate(values):
        if value in values[:row]:
            raise refuse(f"{value!r} is listed twice", "each entry once", f"remove one {value!r}")
    return values


def _from_zero(layer: int) -> int:
    if layer < 0:
        raise refuse(
            f"the layer {layer} is negative",
            "layers counted from 0, the first block",
            "count from the front: of 12 blocks the last is 11; `commutes sites` lists them",
        )
    return layer


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


def _folder_name(name: str) -> str:
    bad = sorted(
        {character for character in name if character in '/\\:*?"<>|' or not character.isprintable()}
    )
    if not name.strip() or name != name.strip() or name[0] in ".-" or name[-1] == "." or bad:
        raise refuse(
            f"{name!r} cannot name a run" + (f": it holds {bad[0]!r}" if bad else ""),
            "letters, digits, spaces, '.', '_' and '-', beginning with none of '.', '-' and space",
            "choose a name that can also be the name of a folder",
        )
    if len(name.encode()) > 100:
        raise refuse("the name of the run is too long", "at most 100 bytes", "shorten the name")
    return name


def _no_training(value: Any) -> Any:
    return None if value is False else value


def _joint_set(names: tuple[str, ...]) -> tuple[str, ...]:
    _once(names)
    if len(names) < 2:
        raise refuse(
            f"{list(names)!r} is no set of variables to swap at once",
            "at least two claimed variables; each is swapped alone in any case",
            "name another variable in it, or remove it",
        )
    # A set has one spelling: in whatever order it is written, it is the same run.
    return tuple(sorted(names))


Builder = Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_]*$")]
Options = Annotated[dict[str, Annotated[Any, AfterValidator(_plain_option)]], Field(default_factory=dict)]
JointSet = Annotated[tuple[Builder, ...], Field(strict=False), AfterValidator(_joint_set)]
RunName = Annotated[str, AfterValidator(_folder_name)]
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


class AlgorithmPart(Part):
    """[algorithm]: the hypothesis."""

    file: Annotated[str, Field(min_length=1)]
    """the hypothesis file: a shipped name, or a path relative to the spec that ends in .py"""
    build: Builder = "algorithm"
    """the name of the function in that file that builds the algorithm"""
    options: Options
    """a table of options handed to that function"""


class NetworkPart(Part):
    """[network]: the network under test, from the same file."""

    build: Builder = "network"
    """the name of the function in that file that builds the untrained network"""
    train: Annotated[Builder | None, BeforeValidator(_no_training)] = "train"
    """the name of the function in that file that trains it, or false for a network that needs no training"""
    options: Options
    """a table of options handed to the function that builds the network"""


class ClaimPart(Part):
    """[claim]: which variables are claimed, and the places and sizes among which is chosen."""

    variables: Annotated[tuple[Builder, ...], Field(min_length=1, strict=False), AfterValidator(_once)]
    """a list of names of inner variables of the algorithm"""
    joint: Annotated[tuple[JointSet, ...], Field(strict=False), AfterValidator(_once)] = ()
    """a list of lists of claimed variables that are swapped at once, each from a source of its own, such as
    [["left", "right"]]; every variable is swapped alone in any case"""
    layers: (
        Annotated[
            tuple[Annotated[int, AfterValidator(_from_zero)], ...],
            Field(min_length=1, strict=False),
            AfterValidator(_once),
        ]
        | None
    ) = None
    """a list of whole numbers from 0: the outputs of these blocks of the network are searched"""
    sites: (
        Annotated[
            tuple[Annotated[str, Field(min_length=1)], ...],
            Field(min_length=1, strict=False),
            AfterValidator(_once),
        ]
        | None
    ) = None
    """a list of module paths: their outputs are searched, instead of layers"""
    sizes: Annotated[tuple[Count, ...], Field(min_length=1, strict=False), AfterValidator(_once)]
    """a list of whole numbers of at least 1: dimensions per variable"""

    @property
    def swaps(self) -> tuple[tuple[str, ...], ...]:
        """What is swapped: each claimed variable alone, then the joint sets."""
        return (*((name,) for name in self.variables), *self.joint)


class Split(Part):
    """[data.split]: the shares of the inputs for fitting, for choosing and for the one final measurement."""

    train: Share = 0.5
    """a share between 0 and 1"""
    select: Share = 0.2
    """a share between 0 and 1"""
    test: Share = 0.3
    """a share between 0 and 1"""

    @model_validator(mode="after")
    def _whole(self) -> Self:
        total = self.train + self.select + self.test
        if abs(total - 1) > 1e-9:
            raise refuse(
                f"the shares of the split add up to {total:.6g}",
                f"1, got train = {self.train:g}, select = {self.select:g}, test = {self.test:g}",
                "set all three shares so that they add up to 1",
            )
        return self


class DataPart(Part):
    """[data]: the counterfactuals."""

    census: bool = False
    """true or false: all pairs of a small domain, to fit, choose and measure on: exact, and in-sample"""
    pairs: Count = 8_000
    """a whole number of at least 1: how many pairs of inputs are drawn in all"""
    split: Split = Split()
    """a table with the shares train, select and test"""
    distribution: Builder = "values"
    """how inputs are drawn: "values", "inputs", or the name of a Distribution in the hypothesis file"""


class FitPart(Part):
    """[fit]: how the subspaces are found."""

    method: Literal["das"] = "das"
    """the method: "das" (distributed alignment search)"""
    steps: Count = 1_000
    """a whole number of at least 1: steps of gradient descent"""
    lr: Annotated[float, Field(gt=0)] = 0.01
    """a finite number above 0: the learning rate"""
    batch: Count = 256
    """a whole number of at least 1: pairs per step"""
    starts: Count = 3
    """a whole number of at least 1: random starts, of which the selection split chooses one"""


class ChallengePart(Part):
    """[challenge]: what the claim has to survive."""

    level: Literal["R0", "R1", "R2"] = "R2"
    """one of "R0", "R1", "R2", the levels that this version can reach"""
    target: Share = 0.9
    """a number above 0 and up to 1: the accuracy that the worst cell has to clear"""
    behaviour: Share = 0.95
    """a number above 0 and up to 1: the accuracy of the network itself that the claim presupposes"""
    refits: Annotated[int, Field(ge=5)] = 5
    """a whole number of at least 5: refits on untrained networks"""
    controls: Annotated[int, Field(ge=3)] = 3
    """a whole number of at least 3: control algorithms, drawn at random with the same marginals"""

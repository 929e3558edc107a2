"""The tables of a spec, each with its keys, their limits and their defaults."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from commutes.search._spec_claim import AtPart, ClaimPart
from commutes.search._spec_network import NetworkPart
from commutes.search._spec_part import Builder, Count, Options, Part, Share, once, refuse

__all__ = [
    "AlgorithmPart",
    "AtPart",
    "ChallengePart",
    "ClaimPart",
    "DataPart",
    "FitPart",
    "NetworkPart",
    "Part",
    "RunName",
    "ShiftPart",
    "Split",
    "refuse",
]


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


RunName = Annotated[str, AfterValidator(_folder_name)]


class AlgorithmPart(Part):
    """[algorithm]: the hypothesis."""

    file: Annotated[str, Field(min_length=1)]
    """the hypothesis file: a shipped name, or a path relative to the spec that ends in .py"""
    build: Builder = "algorithm"
    """the name of the function in that file that builds the algorithm"""
    options: Options
    """a table of options handed to that function"""


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
    objective: Literal["vocabulary", "answers"] = "vocabulary"
    """of a language model, "vocabulary" (what it would say of all that it can) or "answers" (of the declared answers
    alone, which is faster); measured is always what it would say of all"""
    cohort: Count = 12
    """a whole number of at least 1: how many cells of a language model's sweep are fitted together"""


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

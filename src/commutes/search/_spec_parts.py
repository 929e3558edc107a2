"""The tables of a spec, each with its keys, their limits and their defaults."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from commutes.search._spec_challenge import ChallengePart, ShiftPart, VariantPart
from commutes.search._spec_claim import AtPart, ClaimPart
from commutes.search._spec_network import NetworkPart
from commutes.search._spec_part import Builder, Count, Options, Part, Share, refuse

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
    "VariantPart",
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

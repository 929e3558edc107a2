"""What an evaluation and a report are when they are written down: every field, nothing beside it."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, JsonValue, model_validator

__all__ = [
    "FORMAT",
    "CandidatesRecord",
    "CaughtRecord",
    "CellRecord",
    "CheckRecord",
    "ClaimRecord",
    "EvaluationRecord",
    "HeatCell",
    "HeatStratum",
    "RateRecord",
    "ReportRecord",
    "SelectionRecord",
    "SwapRecord",
    "TransitionRecord",
    "VariableRecord",
    "WorstCell",
]

FORMAT = 1

AnswerWord = Literal["supported", "refuted", "inconclusive", "vacuous", "not run"]
LevelName = Literal["R0", "R1", "R2", "R3", "R4", "R5"]

# A share that is written is the quotient of two written counts; more than rounding apart, and the
# record was edited or damaged.
_ROUNDING = 1e-6


class _Record(BaseModel):
    model_config = ConfigDict(
        extra="forbid", frozen=True, strict=True, allow_inf_nan=False, populate_by_name=True
    )


class RateRecord(_Record):
    """A share with its counts, its interval for display and its one-sided bounds for gates."""

    hits: int = Field(ge=0)
    n: int = Field(ge=0)
    rate: float | None
    low: float | None
    high: float | None
    lower: float | None
    upper: float | None
    method: Literal["disjoint", "dyadic", "census", "none"]
    clusters: int

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.hits > self.n:
            raise ValueError(f"{self.hits} hits of {self.n}")
        if self.n == 0 and self.rate is not None:
            raise ValueError("a share of nothing has no value")
        if self.n > 0 and (self.rate is None or abs(self.rate - self.hits / self.n) > _ROUNDING):
            raise ValueError(f"rate {self.rate} is not {self.hits} / {self.n}")
        return self


class NaturalRecord(_Record):
    """The mean over strata with the weights that the distribution gives them."""

    rate: float | None
    low: float | None
    high: float | None


class CellRecord(_Record):
    """One swapped set in one stratum: gated, too small to gate, or impossible under the algorithm."""

    swap: str
    stratum: str
    status: Literal["gated", "too small", "impossible"]
    inputs: int = Field(ge=0)
    weight: float | None
    rate: RateRecord | None
    floors: dict[str, float | None]

    @model_validator(mode="after")
    def _measured(self) -> Self:
        if self.status == "gated" and (self.rate is None or self.rate.n == 0):
            raise ValueError("a gated cell was measured")
        return self


class WorstCell(_Record):
    """The headline: the lowest gated cell, with the minimum of the cells' bounds."""

    swap: str
    stratum: str
    rate: float | None
    low: float | None
    high: float | None
    cells: int = Field(ge=1)
    too_small: int = Field(default=0, ge=0)


class SwapRecord(_Record):
    """One swapped set over all its strata."""

    swap: str
    rate: RateRecord | None
    natural: float | None


class TransitionRecord(_Record):
    """One change of a variable's value, or of the answer, under one swapped set."""

    swap: str
    from_: JsonValue = Field(alias="from")
    to: JsonValue
    rate: RateRecord


class CandidatesRecord(_Record):
    """The same pairs by argmax over the candidate answers only: beside the IIA, and no gate takes it."""

    answers: int = Field(ge=1)
    accuracy: RateRecord
    overall: RateRecord
    effective: RateRecord
    floors: dict[str, RateRecord | None]


class EvaluationRecord(_Record):
    """What `evaluate` measured on one part of the data."""

    n: int = Field(ge=0)
    distinct_inputs: int = Field(ge=0)
    part: str | None
    label: str
    distribution: str
    census: bool
    accuracy: RateRecord
    overall: RateRecord
    natural: NaturalRecord
    effective: RateRecord
    cells: tuple[CellRecord, ...]
    worst: WorstCell | None
    variables: tuple[SwapRecord, ...]
    transitions: tuple[TransitionRecord, ...]
    directions: tuple[TransitionRecord, ...]
    floors: dict[str, RateRecord | None]
    not_excluded: dict[str, tuple[str, ...]]
    self_checks: dict[str, RateRecord | float | None]
    candidates: CandidatesRecord | None = None
    """None where the answers are all that the network can say."""


class VariableRecord(_Record):
    """Where a variable of the algorithm is said to live."""

    name: str
    site: str
    featurizer: str
    coordinates: str | tuple[int, ...]
    k: int = Field(ge=1)


class ClaimRecord(_Record):
    """The claim as it stood before the test split was opened."""

    words: str
    mode: str
    algorithm: str
    algorithm_fingerprint: str
    network: str
    network_fingerprint: str
    distribution: str
    variables: tuple[VariableRecord, ...]
    scope: dict[str, str]
    fingerprint: str
    opened: int = Field(ge=0)
    content: dict[str, JsonValue] = Field(default_factory=dict)
    """What the fingerprint is the hash of, as JSON with sorted keys; empty where nothing was claimed."""
    parameters: int | None = None
    """Weights of the network."""


class CostRecord(_Record):
    """What a check took."""

    forward_passes: int = Field(ge=0)
    seconds: float = Field(ge=0)


class CheckRecord(_Record):
    """One attempt to break the claim, or the reason why it was not made."""

    id: str
    name: str
    question: str
    gate: str
    answer: AnswerWord
    sentence: str
    figures: dict[str, JsonValue]
    n_to_decide: int | None
    reason: str | None
    cost: CostRecord
    references: tuple[str, ...]


class CaughtRecord(_Record):
    """A kind of decoy, and how many planted ones the checks that decided something here refute."""

    kind: str
    caught: int = Field(ge=0)
    n: int = Field(ge=1)

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.caught > self.n:
            raise ValueError(f"{self.caught} caught of {self.n}")
        return self


class HeatStratum(_Record):
    """One swapped set in one stratum of a cell of the sweep."""

    swap: str
    stratum: str
    status: Literal["gated", "too small", "impossible"]
    rate: float | None
    low: float | None
    high: float | None
    n: int = Field(ge=0)
    floors: dict[str, float | None]


class HeatCell(_Record):
    """One site and size on the selection split; without a rate it failed or is missing."""

    row: str | int
    column: str | int
    size: int | None = None
    """Coordinates per variable, where the columns are not sizes."""
    rate: float | None
    low: float | None
    high: float | None
    n: int | None
    floor: float | None
    worst: float | None = None
    """The lowest rate of a gated stratum: by this the cell is chosen."""
    strata: tuple[HeatStratum, ...] = ()
    status: str
    chosen: bool


class SelectionRecord(_Record):
    """The sites and sizes among which the claim was chosen."""

    rows: tuple[str | int, ...]
    columns: tuple[str | int, ...]
    row_name: str = "site"
    column_name: str = "coordinates per variable"
    place: str = ""
    """What the cells have in common: the place that every layer has."""
    cells: tuple[HeatCell, ...]
    label: str


class ReportRecord(_Record):
    """The card: the claim, every check of the catalogue, the measurement, and what it took."""

    format: Literal[1]
    commutes: str
    claim: ClaimRecord
    thresholds: dict[str, int | float | str | None]
    level: LevelName
    sought: LevelName
    verdict: AnswerWord
    headline: str
    checks: tuple[CheckRecord, ...]
    evaluation: EvaluationRecord | None
    """None where the network does not do the task, and nothing was claimed."""
    selection: SelectionRecord | None
    could_have_caught: tuple[CaughtRecord, ...] = ()
    seeds: dict[str, JsonValue]
    environment: dict[str, JsonValue]
    cost: dict[str, JsonValue]
    upgrade: str
    reproduce: str

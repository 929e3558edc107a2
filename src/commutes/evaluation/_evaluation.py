"""Interchange-intervention accuracy with its evidence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np

from commutes.algorithm import Finite
from commutes.alignment import Alignment
from commutes.counterfactuals import Counterfactuals
from commutes.engine import BUDGET
from commutes.errors import DataError, EngineError
from commutes.evaluation._among import Among, among
from commutes.evaluation._answers import Outcome
from commutes.evaluation._floors import floor_rate, floors, not_excluded, random_maps
from commutes.evaluation._looks import look
from commutes.evaluation._predictions import Bench, bench
from commutes.evaluation._rates import (
    Cell,
    Change,
    Worst,
    cells,
    directions,
    is_effective,
    natural,
    natural_mean,
    rate_of,
    transitions,
    worst,
)
from commutes.evaluation._second import answered_by_pyvene
from commutes.evaluation._selfchecks import self_checks
from commutes.report import evaluation_table
from commutes.stats import Rate, rate

Engine = Literal["commutes", "pyvene"]

# Random subspaces behind the floor of that name; and the default target of a claim.
DRAWS, TARGET = 5, 0.90


@dataclass(frozen=True, eq=False)
class Evaluation:
    """What an alignment reached on some pairs, with n, intervals and floors; the hits of every pair are kept."""

    pairs: Counterfactuals
    label: str
    """How the number may be read: "" for held-out inputs, otherwise what is optimistic about it."""
    hits: np.ndarray
    """Whether each pair came out as the algorithm says.  # shape: (n,)"""
    answered: np.ndarray
    """The network's answer to each pair, as an output column.  # shape: (n,)"""
    accuracy: Rate
    """The network against the algorithm on the distinct inputs, without intervention."""
    overall: Rate
    effective: Rate
    """On pairs whose expected answer is not the base's."""
    natural: Mapping[str, tuple[float, float, float] | None]
    """Per swapped set: mean over pairs with the distribution's weights, low, high."""
    natural_mean: tuple[float, float, float] | None
    """The mean of `natural` over the swapped sets, low, high."""
    cells: tuple[Cell, ...]
    worst: Worst | None
    variables: Mapping[str, Rate]
    transitions: tuple[Change, ...]
    directions: tuple[Change, ...]
    floors: Mapping[str, Rate]
    not_excluded: Mapping[str, list[str]]
    self_checks: Mapping[str, float | Rate | None]
    among: Among | None
    """The same by argmax over the candidate answers; None where they are all that the network can say."""

    @property
    def ungated(self) -> tuple[tuple[str, str], ...]:
        """(swapped set, stratum) where the answer must change, which has weight, and too little data for a gate."""
        return tuple(
            (cell.swap, cell.stratum)
            for cell in self.cells
            if is_effective(cell.stratum) and cell.weight > 0 and cell.status != "gated"
        )

    def record(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {
            "n": len(self.pairs),
            "distinct_inputs": len(self.pairs.ids),
            "part": self.pairs.part,
            "label": self.label,
            "distribution": self.pairs.distribution,
            "census": self.pairs.complete,
            "accuracy": self.accuracy.as_dict(),
            "overall": self.overall.as_dict(),
            "natural": dict(zip(("rate", "low", "high"), self.natural_mean or (None,) * 3, strict=True)),
            "effective": self.effective.as_dict(),
            "cells": [_cell_record(cell) for cell in self.cells],
            "worst": None if self.worst is None else _worst_record(self.worst),
            "variables": [
                {"swap": swap, "rate": r.as_dict(), "natural": _first(self.natural[swap])}
                for swap, r in self.variables.items()
            ],
            "transitions": [_change_record(c) for c in self.transitions],
            "directions": [_change_record(c) for c in self.directions],
            "floors": {name: r.as_dict() for name, r in self.floors.items()},
            "not_excluded": {swap: list(names) for swap, names in self.not_excluded.items()},
            "self_checks": {
                n: v.as_dict() if isinstance(v, Rate) else v for n, v in self.self_checks.items()
            },
            "candidates": None if self.among is None else self.among.record(),
        }

    def __str__(self) -> str:
        return evaluation_table(self.record())


def evaluate(
    alignment: Alignment,
    pairs: Counterfactuals,
    *,
    census: bool = False,
    seed: int = 0,
    target: float = TARGET,
    budget: int = BUDGET,
    engine: Engine = "commutes",
) -> Evaluation:
    """Interchange-intervention accuracy: the share of pairs whose answer is the one that the algorithm expects.

    Where the output is a number the share of answers within its declared tolerance is called agreement, not IIA.

    Args:
        alignment: A fitted claim.
        pairs: Interchange interventions on inputs that it was not fitted on.
        census: Allow inputs that were fitted on, where the pairs are a complete domain; labelled in-sample.
        seed: Of the random subspaces behind the floor.
        target: A trivial rival that reaches it on all gated strata is printed as not excluded by the data.
        budget: Bytes that cached activations may take.
        engine: "pyvene" is a second opinion: the pairs' interchanges go through pyvene, and where a logit differs
            from this library's by more than rounding that is an error. Floors and self-checks are this library's.

    Raises:
        AlignmentError: The alignment is not fitted, or the pairs swap a variable that is not aligned.
        DataError: The pairs use inputs that the alignment was fitted on.
        NetworkError: The network cannot answer what the algorithm expects.
        EngineError: pyvene cannot run the interchange as declared, or answers otherwise.

    See Causal Abstractions of Neural Networks, arXiv 2106.02997.
    """
    alignment.featurizers  # noqa: B018 - an alignment that is not fitted is refused before anything is counted
    if engine not in ("commutes", "pyvene"):
        raise EngineError("no such engine", got=repr(engine), expected="'commutes' or 'pyvene'")
    label = label_of(alignment, pairs, census=census)
    if not label:
        look(alignment.network, pairs.input_ids)
    if alignment.history.get("inputs") == "unknown":
        label = _with(label, "the inputs that it was fitted on are not known")
    for one in alignment.gates:
        if one["gates"] != "some":
            label = _with(
                label, f"{'no' if one['gates'] == 'none' else 'every'} gate of {one['variable']} is open"
            )
    return measure(alignment, pairs, label=label, seed=seed, target=target, budget=budget, engine=engine)


def measure(
    alignment: Alignment,
    pairs: Counterfactuals,
    *,
    label: str,
    seed: int,
    target: float,
    budget: int = BUDGET,
    engine: Engine = "commutes",
) -> Evaluation:
    """`evaluate` without its refusals, and without counting the look: for whoever has seen to both."""
    prepared = bench(alignment, pairs, budget=budget)
    checks = {}
    if engine == "pyvene":
        outcome, checks["pyvene beside this engine"] = answered_by_pyvene(alignment, prepared)
        label = _with(label, "through pyvene")
    else:
        outcome = prepared.outcome(alignment.featurizers)
    checks = self_checks(alignment, prepared) | checks
    drawn = [prepared.outcome(random_maps(alignment, [seed, draw])) for draw in range(DRAWS)]
    return _measured(prepared, outcome, drawn, checks, label=label, target=target)


def _measured(
    prepared: Bench,
    outcome: Outcome,
    drawn: Sequence[Outcome],
    checks: Mapping[str, float | Rate | None],
    *,
    label: str,
    target: float,
) -> Evaluation:
    pairs, answered = prepared.pairs, outcome.answered
    hits = prepared.answers.match(answered, pairs.expected)
    beside = floors(prepared, prepared.clean, [one.answered for one in drawn])
    found = cells(hits, pairs, beside)
    effective = np.nonzero(pairs.effective)[0]
    by_swap = {swap.label: np.nonzero(pairs.swap == i)[0] for i, swap in enumerate(pairs.swaps)}
    return Evaluation(
        pairs=pairs,
        label=label,
        hits=hits,
        answered=answered,
        accuracy=rate(prepared.right, census=pairs.complete),
        overall=rate_of(hits, pairs),
        effective=rate_of(hits, pairs, effective),
        natural=natural(hits, pairs),
        natural_mean=natural_mean(hits, pairs),
        cells=tuple(found),
        worst=worst(found, hits, pairs),
        variables={name: rate_of(hits, pairs, rows) for name, rows in by_swap.items()},
        transitions=tuple(transitions(hits, pairs)),
        directions=tuple(directions(hits, pairs)),
        floors={name: floor_rate(drawn, pairs) for name, drawn in beside.items()},
        not_excluded=not_excluded(pairs, target),
        self_checks=checks,
        among=among(prepared, outcome, drawn),
    )


def label_of(alignment: Alignment, pairs: Counterfactuals, *, census: bool) -> str:
    """How the number may be read; refuses inputs that were fitted on, except in a census that says so."""
    used = pairs.input_ids
    fitted = int(np.isin(used, alignment.fitted_ids).sum())
    if fitted and not (census and pairs.complete):
        raise DataError(
            "the alignment was fitted on these inputs",
            where=f"{len(pairs):,} pairs" + (f" of the part {pairs.part!r}" if pairs.part else ""),
            got=f"{fitted:,} of {len(used):,} inputs were fitted on",
            expected="inputs that the fit has not seen",
            fix="measure on another part of pairs.split(...), or census=True with a complete domain (in-sample)",
        )
    words = []
    output = alignment.algorithm.domain(alignment.algorithm.output_variable)
    if not isinstance(output, Finite):
        # Whether numbers agree depends on the tolerance, and there are no strata: this is no IIA.
        words.append(f"agreement within {getattr(output, 'tolerance', None) or 0:g}, not IIA")
    if fitted:
        words.append("in-sample")
    elif bool(np.isin(used, alignment.selected_ids).any()):
        words.append("selection, optimistic")
    if pairs.complete:
        words.append("complete domain")
    return ", ".join(words)


def _with(label: str, words: str) -> str:
    return f"{label}, {words}" if label else words


def _first(value: tuple[float, float, float] | None) -> float | None:
    return None if value is None else value[0]


def _cell_record(cell: Cell) -> dict[str, Any]:
    record = asdict(cell)
    record["rate"] = None if cell.rate is None else cell.rate.as_dict()
    return record


def _worst_record(worst: Worst) -> dict[str, Any]:
    record = asdict(worst)
    record["low"], record["high"] = record.pop("lower"), record.pop("upper")
    return record


def _change_record(change: Change) -> dict[str, Any]:
    return {"swap": change.swap, "from": change.before, "to": change.after, "rate": change.rate.as_dict()}

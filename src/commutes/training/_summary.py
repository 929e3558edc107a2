"""How the maps of an alignment were found, in a few plain lines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from commutes.alignment import Alignment
from commutes.errors import AlignmentError
from commutes.stats import show
from commutes.training._selection import PERFECT

RANDOM = "random"

Curve = Sequence[Sequence[float]]
"""Steps, and the mean over cells that was measured there."""


def summary(alignment: Alignment) -> str:
    """What `cm.fit` did and what it saved: which starts were tried, how far they were descended from, what was kept.

    Rates are those by which starts and steps were chosen, on training and selection pairs; `cm.evaluate` measures.

    Raises:
        AlignmentError: The alignment is not one that `cm.fit` returned.
    """
    history = alignment.history
    if not {"starts_told", "start_curves"} <= history.keys():
        raise AlignmentError(
            "it is not known how the alignment was fitted",
            where=repr(alignment),
            got="a history without starts",
            expected="an alignment that cm.fit returned",
            fix="fit it with cm.fit",
        )
    pairs = "the selection split" if len(alignment.selected_ids) else "the training pairs"
    names = [str(told["start"]) for told in history["starts_told"]]
    lines = _tried(history["starts_told"])
    lines += [_descended(history, names, pairs), _kept(history, names, pairs)]
    lines += _saved(history["start_curves"], names)
    lines += _gates(history.get("gates", ()))
    return "\n".join(lines)


def _tried(told: Sequence[Mapping[str, Any]]) -> list[str]:
    """Closed forms and random starts on calibration pairs, before any descent."""
    lines: list[str] = []
    for one in told:
        if "no_closed_form" in one:
            lines.append(f"no closed form is to be had here: {one['no_closed_form']}")
        if "calibration_pairs" in one:
            rates = sorted(one["calibration"].items(), key=lambda item: -item[1])
            parts = [f"{name} {show(rate)}" for name, rate in rates]
            randoms = [other["calibration"] for other in told if other["start"] == RANDOM]
            if randoms:
                parts.append(f"{_starts(RANDOM, len(randoms))} {show(max(randoms))}")
            n = one["calibration_pairs"]
            lines.append(f"tried on {n:,} training pairs, mean over their cells: {', '.join(parts)}")
            lines += [f"not to be had here: {name}, {what}" for name, what in one["refused"].items()]
    return lines


def _descended(history: Mapping[str, Any], names: Sequence[str], pairs: str) -> str:
    """How far the descent went, and why it ended."""
    last, steps = int(history["last_step"]), int(history["steps"])
    if not last:
        name = names[int(history["chosen_start"])]
        return f"not descended: {name} is right on all of {pairs}; {steps:,} steps saved"
    begun = [_starts(name, names.count(name)).removeprefix("the best of ") for name in dict.fromkeys(names)]
    text = f"descended for {last:,} of {steps:,} steps from {' and '.join(begun)}"
    if last == steps:
        return text
    perfect = max(history["start_scores"]) >= PERFECT
    return f"{text}: {f'right on all of {pairs}' if perfect else 'no start gained any more'}"


def _kept(history: Mapping[str, Any], names: Sequence[str], pairs: str) -> str:
    step = int(history["chosen_step"])
    mean, worst = (
        next(value for at, value in history[curve] if at == step)
        for curve in ("selection", "selection_worst")
    )
    when = f"after {step:,} steps" if step else "as it is"
    return (
        f"kept {_starts(names[int(history['chosen_start'])], 1)} {when}: on {pairs} {show(mean)} over all cells, "
        f"{show(worst)} in the worst"
    )


def _saved(curves: Sequence[Curve], names: Sequence[str]) -> list[str]:
    """How much sooner the closed forms had what the best random start came to."""
    random = [curve for curve, name in zip(curves, names, strict=True) if name == RANDOM]
    closed = [(name, curve) for curve, name in zip(curves, names, strict=True) if name != RANDOM]
    # Of one measurement, at the end or before the first step, there is nothing to compare.
    if not random or not closed or len(curves[0]) < 2:
        return []
    most = max(value for curve in random for _, value in curve)
    needed = min(step for curve in random for step, value in curve if value == most)
    lines: list[str] = []
    for name, curve in closed:
        there = next((step for step, value in curve if value >= most), None)
        when = "had it never" if there is None else f"had it after {there:,}"
        gain = "nothing saved" if there is None or there >= needed else f"{needed - there:,} saved"
        lines.append(
            f"{_starts(RANDOM, len(random))} came to {show(most)} after {needed:,} steps, {name} {when}: {gain}"
        )
    return lines


def _gates(gates: Sequence[Mapping[str, Any]]) -> list[str]:
    """How many gates a mask has open: with all of them it is a whole swap, with none it does nothing."""
    words = {"none": ": nothing is swapped", "all": ": all of it is swapped", "some": ""}
    return [
        f"{one['variable']}: {one['open']} of {one['of']} gates open{words[one['gates']]}" for one in gates
    ]


def _starts(name: str, count: int) -> str:
    """A start by its name; of several random ones the best is meant.

    >>> _starts("lda", 1), _starts("random", 1), _starts("random", 3)
    ('lda', 'a random start', 'the best of 3 random starts')
    """
    if name != RANDOM:
        return name
    return "a random start" if count == 1 else f"the best of {count} random starts"

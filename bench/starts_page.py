"""docs/starts.md from docs/starts_equality.json, starts_addition.json and starts_compiled.json.

python bench/starts_page.py        after bench/starts.py has made them, or some of them
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from provenance import ROOT

from commutes.stats import Interval, mean_interval, show

Row = Mapping[str, Any]
Key = tuple[Any, ...]

PARTS = {
    "equality": (
        "Hierarchical equality",
        "The published networks (four vectors of four real numbers, 16 units, `docs/anchor.md`), first hidden layer, "
        "both equalities jointly, each with k dimensions; at k = 8 they fill the layer.",
    ),
    "addition": (
        "Two-digit addition",
        'GPT-2s of three layers and 128 numbers, the stream behind block 1 at "=" and the first digit of the answer '
        "together (256 numbers): the carry, the tens digits' sum and the ones digit, a claim each.",
    ),
    "compiled": (
        "Compiled programs",
        "Programs compiled into rotated transformers, variables at their true homes: an IIA of 1 is there to be found. "
        "Only variables of which every closed form exists; layers of 17 to 52 numbers, so that k = 32 does not fit "
        "into all. A network's value is the mean over its variables.",
    ),
}
RANDOM, SKEWED, CHOSEN = "random", "random, not orthonormal", "chosen"
EFFECTIVE = "calibration on effective pairs"
MARKS = (0.9, 0.95)
NEARLY = 0.01


def page(results: Mapping[str, Mapping[str, Any]]) -> str:
    """docs/starts.md."""
    lines = [
        "# Where a descent begins",
        "",
        "Every closed form and a random start, descended from side by side on the same batches, through orthogonal "
        "maps (`cm.Rotation`) and oblique ones (`cm.Oblique`). Accuracy is interchange-intervention accuracy on "
        "held-out pairs, the mean over the cells of swapped set and stratum; nothing is chosen on these pairs. "
        '*chosen* is what `init="auto"` takes: of the closed forms of a claim the one that does best on up to '
        "256 training pairs, equally many of each cell that has them, mean over cells. *steps to* are medians over "
        "networks (those that never get there count as slowest), with how many got there. Brackets are 95 % intervals "
        "of Student's t over networks; *beside random* is the difference at the end to the random start of the same "
        "claim.",
        "",
        "## What follows",
        "",
    ]
    for result in results.values():
        lines += [f"{PARTS[result['part']][0]}:", "", *verdict(result), ""]
    for result in results.values():
        lines += part(result)
    return "\n".join(lines)


def part(result: Mapping[str, Any]) -> list[str]:
    """What was run, and its tables."""
    settings, rows = result["settings"], with_chosen(result["rows"])
    name, words = PARTS[result["part"]]
    n = sorted({row["n"] for row in rows})
    lines = [
        f"## {name}",
        "",
        f"{words} {len({row['network'] for row in rows})} networks; {settings['steps']:,} steps of {settings['batch']} "
        f"pairs, Adam with a cosine, measured every {settings['every']} steps on {n[0]:,}"
        + (f" to {n[-1]:,}" if n[1:] else "")
        + f" pairs. `{result['command']}`, {result['seconds']:,} s of one core; code {result['code']['sha256'][:16]}, "
        f"torch {result['versions']['torch']}.",
        "",
    ]
    if any(count < most(rows) for count in networks_of(rows)):
        lines += [
            "A form with fewer networks was refused on the others, because the subspaces of the variables overlap; its "
            "means are over the networks that it has, so it is to be judged by *beside random*.",
            "",
        ]
    rates = sorted({row["lr"] for row in rows}, reverse=True)
    for (claim, map, k), own in grouped(rows, lambda row: (kind(row), row["map"], row["k"])).items():
        heads = [
            f"{what}, lr {lr:g}" for lr in rates for what in ("steps to .9", ".95", "end", "beside random")
        ]
        lines += [
            f"{'' if claim == '' else f'{claim}, '}{map}, k = {k}:".capitalize(),
            "",
            f"| start | step 0 | {' | '.join(heads)} |",
            f"|---|---|{'--:|--:|---|---|' * len(rates)}",
            *(line(name, same, own, rates) for name, same in grouped(own, lambda row: row["start"]).items()),
            "",
        ]
    return lines


def networks_of(rows: Sequence[Row]) -> list[int]:
    """Of every start of a cell, on how many networks there is one."""
    cells = grouped(rows, lambda row: (kind(row), row["map"], row["k"], row["lr"], row["start"]))
    return [len({row["network"] for row in own}) for own in cells.values()]


def most(rows: Sequence[Row]) -> int:
    """How many networks there are."""
    return len({row["network"] for row in rows})


def kind(row: Row) -> str:
    """What a table is of: programs are taken together, and equality has one claim only."""
    return "" if ":" in row["claim"] or " and " in row["claim"] else row["claim"]


def grouped(rows: Sequence[Row], key: Callable[[Row], Any]) -> dict[Any, list[Row]]:
    """Rows by a key, in the order in which they come."""
    found: dict[Any, list[Row]] = {}
    for row in rows:
        found.setdefault(key(row), []).append(row)
    return found


def with_chosen(rows: Sequence[Row], by: str = "calibration") -> list[Row]:
    """And once more, under that name, the closed form that the calibration takes of each claim."""
    found = list(rows)
    for own in grouped(
        rows, lambda row: (row["network"], row["claim"], row["map"], row["k"], row["lr"])
    ).values():
        closed = [row for row in own if row["start"] not in (RANDOM, SKEWED)]
        if closed:
            best = max(closed, key=lambda row: row[by])
            found.append({**best, "start": CHOSEN, "form": best["start"]})
    return found


def line(name: str, own: Sequence[Row], table: Sequence[Row], rates: Sequence[float]) -> str:
    """A start's row: its figures at every rate."""
    cells = [name, interval(over_networks(own, "step 0"))]
    for lr in rates:
        same = [row for row in own if row["lr"] == lr]
        cells += [steps(same, mark) for mark in MARKS]
        cells.append(interval(over_networks(same, "final")) if same else "")
        beside = [row for row in table if row["start"] == RANDOM and row["lr"] == lr]
        cells.append("" if name == RANDOM or not same else signed(gap(same, beside)))
    return f"| {' | '.join(cells)} |"


def claim_of(row: Row) -> Key:
    """A claim about a network."""
    return row["network"], row["claim"]


def over_networks(rows: Sequence[Row], what: str) -> Interval:
    """The mean of the networks' means."""
    means = [
        np.mean([row[what] for row in own]) for own in grouped(rows, lambda row: row["network"]).values()
    ]
    return mean_interval(means, limits=(0, 1))


def gap(first: Sequence[Row], second: Sequence[Row]) -> Interval:
    """first - second at the end, claim by claim, meant over each network's claims."""
    other = {claim_of(row): row["final"] for row in second}
    gaps: dict[Any, list[float]] = {}
    for row in first:
        if claim_of(row) in other:
            gaps.setdefault(row["network"], []).append(row["final"] - other[claim_of(row)])
    return mean_interval([np.mean(own) for own in gaps.values()])


def steps(rows: Sequence[Row], mark: float) -> str:
    """The median of the steps to a mark, and how many got there.

    >>> steps([{"steps to 0.9": 25}, {"steps to 0.9": None}, {"steps to 0.9": 75}], 0.9)
    '75 (2 of 3)'
    """
    found = [row[f"steps to {mark:g}"] for row in rows]
    reached = sorted(step for step in found if step is not None)
    middle = len(found) // 2
    return f"{reached[middle] if middle < len(reached) else 'never'} ({len(reached)} of {len(found)})"


def interval(found: Interval) -> str:
    """.953 [.941, .963]"""
    return (
        f"{show(found.value)} [{show(found.low)}, {show(found.high)}]" if found.n > 1 else show(found.value)
    )


def signed(found: Interval) -> str:
    """+.012 [-.003, +.027]"""
    if found.n < 2:
        return f"{found.value:+.3f}".replace("0.", ".")
    return f"{found.value:+.3f} [{found.low:+.3f}, {found.high:+.3f}]".replace("0.", ".")


def compared(first: Sequence[Row], second: Sequence[Row]) -> dict[str, Any]:
    """In how many cells of claim, map, size and rate the first ends above and below the second, beyond the interval."""

    def cell(row: Row) -> Key:
        return row["map"], row["k"], row["lr"], kind(row)

    ones, others = grouped(first, cell), grouped(second, cell)
    gaps = [gap(own, others[key]) for key, own in ones.items() if key in others]
    return {
        "cells": len(gaps),
        "above": sum(one.low > 0 for one in gaps),
        "below": sum(one.high < 0 for one in gaps),
        "mean": float(np.mean([one.value for one in gaps])) if gaps else float("nan"),
    }


def against(rows: Sequence[Row], field: str, first: Any, second: Any) -> dict[str, Any]:
    """`compared`, of two values of map or rate and the same start."""

    def of(value: Any) -> list[Row]:
        same = [row for row in rows if row[field] == value and row["start"] in (RANDOM, CHOSEN)]
        # Cells are told apart by start too, and not by what is compared.
        return [{**row, field: "", "k": (row["k"], row["start"])} for row in same]

    return compared(of(first), of(second))


def verdict(result: Mapping[str, Any]) -> list[str]:
    """What follows for start, map, rate and steps, in figures."""
    rows = with_chosen(result["rows"])
    chosen = [row for row in rows if row["start"] == CHOSEN]
    random = [row for row in rows if row["start"] == RANDOM]
    taken = grouped(chosen, lambda row: row["form"])
    order = sorted(taken, key=lambda form: -len(taken[form]))
    counts = ", ".join(f"{form} {len(taken[form])}" for form in order)
    lines = [
        f"- *start*: chosen against random: {words(compared(chosen, random))}; .95 is reached by {share(chosen)} fits "
        f"from the chosen form and by {share(random)} from a random start. Before any step the chosen form has "
        f"{show(float(np.mean([r['step 0'] for r in chosen])))}, a random start "
        f"{show(float(np.mean([r['step 0'] for r in random])))}. In {ahead(random, chosen)} fits the random start ends "
        f"more than .01 above the chosen form. Chosen were {counts}.",
        f"- *map*: oblique against orthogonal: {words(against(rows, 'map', 'oblique', 'orthogonal'))}.",
    ]
    rates = sorted({row["lr"] for row in rows}, reverse=True)
    if len(rates) > 1:
        lines.append(
            f"- *rate*: {rates[0]:g} against {rates[1]:g}: {words(against(rows, 'lr', rates[0], rates[1]))}."
        )
    for lr in rates:
        both = [row["settled"] for row in (*chosen, *random) if row["lr"] == lr]
        half, most = (round(float(q)) for q in np.quantile(both, (0.5, 0.9)))
        lines.append(
            f"- *steps*, lr {lr:g}: half of the fits from either start are within .01 of their best after {half:,} of "
            f"{result['settings']['steps']:,} steps, nine in ten after {most:,}."
        )
    lines += choice(result["rows"])
    skewed = [row for row in rows if row["start"] == SKEWED]
    if skewed:
        same = [row for row in random if row["map"] in {one["map"] for one in skewed}]
        lines.append(
            f"- *random starts of oblique maps*: orthonormal against Gaussian: {words(compared(same, skewed))}."
        )
    if result["part"] == "equality":
        lines.append(worst(result["rows"]))
    return lines


def choice(rows: Sequence[Row]) -> list[str]:
    """Whether to choose by all cells or by the pairs whose answer must change."""
    ends = []
    for by in ("calibration", EFFECTIVE, "final"):
        chosen = [row for row in with_chosen(rows, by) if row["start"] == CHOSEN]
        ends.append(show(float(np.mean([row["final"] for row in chosen]))))
    return [
        f"- *what to choose by*: chosen by the mean over cells fits end at {ends[0]}, by the pairs whose answer must "
        f"change alone at {ends[1]}; the best closed form of each claim, seen from the end, at {ends[2]}."
    ]


def words(found: Mapping[str, Any]) -> str:
    """Counts of cells in a line."""
    mean = f"{found['mean']:+.3f}".replace("0.", ".")
    return (
        f"{mean} at the end, mean over {found['cells']} cells of claim, map, k and rate; the interval lies above 0 in "
        f"{found['above']}, below 0 in {found['below']}"
    )


def ahead(first: Sequence[Row], second: Sequence[Row]) -> str:
    """How many fits of the first end above the second's of the same claim, map, size and rate by more than NEARLY."""

    def fit(row: Row) -> Key:
        return (*claim_of(row), row["map"], row["k"], row["lr"])

    other = {fit(row): row["final"] for row in second}
    both = [row["final"] - other[fit(row)] for row in first if fit(row) in other]
    return f"{sum(one > NEARLY for one in both)} of {len(both)}"


def share(rows: Sequence[Row]) -> str:
    """How many fits came to .95."""
    hits = sum(row["steps to 0.95"] is not None for row in rows)
    return f"{hits} of {len(rows)}"


def lifted(rows: Sequence[Row]) -> dict[str, Any]:
    """The network on which DAS does worst, and how far any linear start comes there."""
    size = max(row["k"] for row in rows)
    das = [
        row
        for row in rows
        if (row["start"], row["map"], row["k"], row["lr"])
        == (RANDOM, "orthogonal", size, max(r["lr"] for r in rows))
    ]
    low = min(das, key=lambda row: row["final"])
    own = [row for row in rows if row["network"] == low["network"]]
    best = max(own, key=lambda row: row["final"])
    reached = [row for row in own if row["steps to 0.95"] is not None]
    return {
        "network": low["network"],
        "das": low["final"],
        "k": size,
        "best": best,
        "fits": len(own),
        "reached": reached,
    }


def worst(rows: Sequence[Row]) -> str:
    """`lifted` in a sentence."""
    found = lifted(rows)
    best, reached = found["best"], found["reached"]
    starts = sorted({row["start"] for row in reached})
    return (
        f"- *the worst network* of DAS (orthogonal, random start, k = {found['k']}) is network {found['network']} with "
        f"{show(found['das'])}. Of the {found['fits']} fits there, over all starts, maps, sizes and rates, "
        f"{len(reached)} come to .95 at any step{': ' + ', '.join(starts) if starts else ''}; the most at the end is "
        f"{show(best['final'])} ({best['start']}, {best['map']}, k = {best['k']}, lr {best['lr']:g})."
    )


def stored() -> dict[str, dict[str, Any]]:
    """The parts that there are."""
    paths = {name: ROOT / "docs" / f"starts_{name}.json" for name in PARTS}
    return {
        name: json.loads(path.read_text(encoding="utf-8")) for name, path in paths.items() if path.exists()
    }


def main() -> None:
    Path(ROOT / "docs" / "starts.md").write_text(page(stored()), encoding="utf-8")


if __name__ == "__main__":
    main()

"""docs/anchor.md from docs/anchor.json: our networks beside the published rerun.

python bench/anchor_page.py docs/anchor.json
"""

from __future__ import annotations

import argparse
import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from anchor_text import INTRODUCTION, READING, SAMPLING
from scipy.special import stdtrit

from commutes.stats import mean_interval

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Published:
    """A cell of the rerun by Sutter et al., over its ten networks."""

    best: float
    mean: float
    least: float
    deviation: float
    n: int = 10


# Taken from the result files that the rerun's authors publish with their code (densutter/
# non-linear-representation-dilemma, Results/Standard_DAS/Rotation/FullyTrained), ten networks a cell.
PUBLISHED = {
    ("both", 1, 8): Published(0.9747, 0.8421, 0.7185, 0.0869),
    ("both", 1, 2): Published(0.9619, 0.7759, 0.6334, 0.0974),
    ("both", 1, 1): Published(0.9189, 0.7304, 0.5604, 0.1106),
    ("both", 2, 8): Published(0.7375, 0.6140, 0.5023, 0.0905),
    ("both", 2, 2): Published(0.7086, 0.5916, 0.5002, 0.0797),
    ("both", 2, 1): Published(0.7134, 0.5678, 0.4953, 0.0764),
    ("both", 3, 8): Published(0.5065, 0.4980, 0.4903, 0.0052),
    ("both", 3, 2): Published(0.5053, 0.4999, 0.4931, 0.0040),
    ("both", 3, 1): Published(0.5050, 0.5008, 0.4936, 0.0041),
    ("first", 1, 8): Published(0.5137, 0.5001, 0.4910, 0.0082),
    ("first", 1, 2): Published(0.5130, 0.5042, 0.4936, 0.0064),
    ("first", 1, 1): Published(0.5098, 0.5015, 0.4936, 0.0044),
    ("first", 2, 8): Published(0.5085, 0.4989, 0.4904, 0.0061),
    ("first", 2, 2): Published(0.5098, 0.5030, 0.4956, 0.0048),
    ("first", 2, 1): Published(0.5088, 0.5004, 0.4920, 0.0056),
    ("first", 3, 8): Published(0.5110, 0.4990, 0.4861, 0.0070),
    ("first", 3, 2): Published(0.5080, 0.4982, 0.4887, 0.0058),
    ("first", 3, 1): Published(0.5043, 0.5002, 0.4953, 0.0038),
}

AS_PUBLISHED: Callable[[Row], float] = lambda row: row["published"]["rate"]  # noqa: E731
WORST: Callable[[Row], float] = lambda row: row["library"]["worst"]["rate"]  # noqa: E731
NATURAL: Callable[[Row], float] = lambda row: row["library"]["natural"]["rate"]  # noqa: E731


def page(result: Mapping[str, Any]) -> str:
    """The whole page."""
    rows: Sequence[Row] = result["rows"]
    layers, sizes = sorted({r["layer"] for r in rows}), sorted({r["k"] for r in rows})
    places = [(layer, k) for layer in layers for k in sizes]
    accuracy = [r["accuracy"]["rate"] for r in picked(rows, "both", layers[0], sizes[0])]
    inputs = rows[0]["accuracy"]["n"]
    return "\n".join(
        [
            "# The anchor: hierarchical equality of real vectors",
            "",
            f"Made by `{result['command']}`, this page of it by `python bench/anchor_page.py docs/anchor.json`; "
            f"torch {result['versions']['torch']}, one thread, on a machine that others used too "
            f"{result['networks']['seconds']:,} s to train the networks and {result['seconds']:,} s for the rest, "
            "in two parts; "
            f"SHA-256 of src/commutes and algorithms/equality.py {result['code']['sha256'][:16]}. Every row, with "
            "seeds and settings, is in `anchor.json`; `python bench/anchor.py --only task=both,layer=1,k=8,network=0` "
            "computes one again.",
            "",
            *INTRODUCTION.splitlines(),
            "",
            f"Our ten networks answer {share(min(accuracy), 5)} to {share(max(accuracy), 5)} of about "
            f"{round(inputs, -3):,} fresh inputs each as the algorithm does (the rerun's: .9975 to .9997 of "
            "10,000).",
            "",
            "## Both equalities, sampled as published",
            "",
            *beside(rows, "both", places),
            "",
            "## Both equalities, the library's own estimand",
            "",
            *own(rows, "both", places),
            "",
            "## The control: identity of the first argument, sampled as published",
            "",
            *beside(rows, "first", places),
            "",
            "## The control with independent sources",
            "",
            *own(rows, "first-independent", places),
            "",
            "## Other budgets: both equalities, k = 8, sampled as published",
            "",
            *budgets(result),
            "",
            *SAMPLING.splitlines(),
            "",
            *READING.splitlines(),
            "",
        ]
    )


def picked(rows: Sequence[Row], task: str, layer: int, k: int) -> list[Row]:
    """The rows of a cell, one a network."""
    return [r for r in rows if (r["task"], r["layer"], r["k"]) == (task, layer, k)]


def beside(rows: Sequence[Row], task: str, places: Sequence[tuple[int, int]]) -> list[str]:
    """Ours and the rerun's, and the difference of the means."""
    lines = [
        "| layer | k | best | mean [95 %] | least | rerun: best | mean [95 %] | least | difference of means |",
        "|--:|--:|--:|---|--:|--:|---|--:|---|",
    ]
    for layer, k in places:
        ours = np.array([AS_PUBLISHED(r) for r in picked(rows, task, layer, k)])
        theirs = PUBLISHED[task, layer, k]
        half = float(stdtrit(theirs.n - 1, 0.975)) * theirs.deviation / math.sqrt(theirs.n)
        lines.append(
            f"| {layer} | {label(task, k)} | {spread(ours)} | {share(theirs.best)} | {share(theirs.mean)} "
            f"[{share(theirs.mean - half)}, {share(theirs.mean + half)}] | {share(theirs.least)} "
            f"| {difference(ours, theirs)} |"
        )
    return lines


def own(rows: Sequence[Row], task: str, places: Sequence[tuple[int, int]]) -> list[str]:
    """Natural mean and worst cell over the networks, beside the floors."""
    lines = [
        "| layer | k | natural: best | mean [95 %] | least | worst cell: best | mean [95 %] | least "
        "| random subspace, mean |",
        "|--:|--:|--:|---|--:|--:|---|--:|--:|",
    ]
    for layer, k in places:
        cell = picked(rows, task, layer, k)
        natural, worst = np.array([NATURAL(r) for r in cell]), np.array([WORST(r) for r in cell])
        floor = float(np.mean([r["library"]["floors"]["random subspace"] for r in cell]))
        lines.append(f"| {layer} | {label(task, k)} | {spread(natural)} | {spread(worst)} | {share(floor)} |")
    return lines


def budgets(result: Mapping[str, Any]) -> list[str]:
    """The same cells, fitted otherwise; differences are network by network."""
    lines = [
        "| layer | steps | learning rate | starts | best | mean [95 %] | least | worst cell: mean [95 %] "
        "| mean difference from the first row of the layer |",
        "|--:|--:|--:|--:|--:|---|--:|---|---|",
    ]
    for layer in sorted({row["layer"] for row in result["budgets"]}):
        first = picked(result["rows"], "both", layer, 8)
        fits: dict[str, list[Row]] = {}
        for row in [*first, *picked(result["budgets"], "both", layer, 8)]:
            fits.setdefault(json.dumps(row["fit"], sort_keys=True), []).append(row)
        before = np.array([AS_PUBLISHED(r) for r in first])
        for text, found in fits.items():
            fit, reached = json.loads(text), np.array([AS_PUBLISHED(r) for r in found])
            worst = mean_interval([WORST(r) for r in found], limits=(0, 1))
            gap = mean_interval(reached - before)
            moved = "" if found[0] is first[0] else signed(gap.value, gap.low, gap.high)
            lines.append(
                f"| {layer} | {fit['steps']:,} | {fit['lr']:g} | {fit['starts']} | {spread(reached)} "
                f"| {share(worst.value)} [{share(worst.low)}, {share(worst.high)}] | {moved} |"
            )
    return lines


def label(task: str, k: int) -> str:
    """k, marked where the two variables fill the layer."""
    return f"{k}*" if task == "both" and k == 8 else str(k)


def spread(values: np.ndarray) -> str:
    """Best, mean with its t interval over the networks, least."""
    mean = mean_interval(values, limits=(0, 1))
    low, high = share(mean.low), share(mean.high)
    return f"{share(values.max())} | {share(mean.value)} [{low}, {high}] | {share(values.min())}"


def difference(ours: np.ndarray, theirs: Published) -> str:
    """Mean of ours minus theirs with Welch's interval: networks are independent, variances may differ."""
    a, b = float(ours.var(ddof=1)) / len(ours), theirs.deviation**2 / theirs.n
    freedom = (a + b) ** 2 / (a**2 / (len(ours) - 1) + b**2 / (theirs.n - 1))
    gap, half = float(ours.mean()) - theirs.mean, float(stdtrit(freedom, 0.975)) * math.sqrt(a + b)
    return signed(gap, gap - half, gap + half)


def signed(value: float, low: float, high: float) -> str:
    """+.020 [+.008, +.032]."""
    return re.sub(r"(?<=[+-])0\.", ".", f"{value:+.3f} [{low:+.3f}, {high:+.3f}]").replace("-.000", "+.000")


def share(value: float, digits: int = 3) -> str:
    """.953; 1 as 1.000."""
    text = f"{value:.{digits}f}"
    return text.removeprefix("0") if value < 1 else text


def main() -> None:
    parser = argparse.ArgumentParser(description="Write the page beside the JSON file.")
    parser.add_argument("result", type=Path)
    given = parser.parse_args()
    result = json.loads(given.result.read_text(encoding="utf-8"))
    given.result.with_suffix(".md").write_text(page(result), encoding="utf-8")


if __name__ == "__main__":
    main()

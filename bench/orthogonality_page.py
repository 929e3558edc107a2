"""docs/orthogonality.md from docs/orthogonality.json; bench/orthogonality.py makes both."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from commutes.stats import mean_interval, show

TIMED = ("QR", "torch", "Stiefel")
WAYS = (*TIMED, "long QR")


def page(result: Mapping[str, Any]) -> str:
    """docs/orthogonality.md."""
    config = result["config"]
    lines = [
        "# Keeping a basis orthonormal while it is fitted",
        "",
        f"Made by `{result['command']}`, torch {result['versions']['torch']}; SHA-256 of src/commutes and "
        f"algorithms/equality.py {result['code']['sha256'][:16]}. {result['seconds']:,} s of one core; the numbers are "
        "in `orthogonality.json`.",
        "",
        "**QR**: the Q of a sign-fixed QR of a free d x k matrix, which is what `cm.Rotation` does. **torch**: "
        "`torch.nn.utils.parametrizations.orthogonal` as it is called by default, Householder reflections behind a "
        "d x d matrix that stays. **Stiefel**: the matrix itself, Adam on the part of the gradient in the tangent "
        "space with its mean carried along by projection, and the Q of a sign-fixed QR after every step. All three "
        "begin at columns of length 1. **long QR**: the first from columns of length sqrt(d), as Gaussian ones are.",
        "",
        *verdict(result),
        "",
        "## Time",
        "",
        f"Milliseconds of processor time of one step ({config['rows']} rows: swap, squared loss, backward, Adam; one "
        f"thread, 32 bits), medians of {config['rounds']} steps. The three take turns, and ratios are of steps next to "
        "each other, so that whatever else the machine does slows all alike: least, median, most."
        + (
            f" Taken by code {result['timed']['code'][:16]}, {result['timed']['seconds']:,} s."
            if "timed" in result
            else ""
        ),
        "",
        "| d | k | QR | torch | Stiefel | torch / QR | Stiefel / QR |",
        "|--:|--:|--:|--:|--:|---|---|",
        *(time_line(row) for row in result["times"]),
        "",
        "## Accuracy at equal steps",
        "",
        "Hierarchical equality, both variables in k dimensions each of a first hidden layer of d units. "
        "Interchange-intervention accuracy on held-out pairs, mean over the cells of swapped set and stratum, after a "
        "quarter, half and all of the steps: means over networks and starts, with 95 % intervals of Student's t for "
        "the last (starts on one network are not independent of each other as networks are). *beside QR*: the "
        "difference to QR at the end, start by start. Same pairs, batches, schedule and numbers of steps; "
        "nothing is chosen on these pairs.",
        "",
        "| d | k | lr | steps | | a quarter | half | all | beside QR | least | fits |",
        "|--:|--:|--:|--:|---|--:|--:|---|---|--:|--:|",
        *quality_lines(random_ones(result["rows"])),
        "",
        "## From closed forms",
        "",
        "The same from a closed form in place of random starts, of both lengths: what was found may be lost in the "
        "first steps, and is found again. Step 0 is among the steps that a fit chooses from.",
        "",
        "| d | k | lr | form | | step 0 | step 10 | a quarter | half | all | fits |",
        "|--:|--:|--:|---|---|--:|--:|--:|--:|--:|--:|",
        *form_lines(result["rows"]),
        "",
    ]
    return "\n".join(lines)


def time_line(row: Mapping[str, Any]) -> str:
    """A row of the first table."""
    cells = [str(row["d"]), str(row["k"]), *(number(row[way]["median"]) for way in TIMED)]
    cells += [", ".join(number(r) for r in row[f"{way} / QR"]) for way in TIMED[1:]]
    return f"| {' | '.join(cells)} |"


def number(value: float) -> str:
    """Three digits at most.

    >>> number(0.123), number(4.26), number(1464.2)
    ('0.12', '4.3', '1,464')
    """
    return f"{value:,.0f}" if value >= 20 else f"{value:.1f}" if value >= 1 else f"{value:.2f}"


def random_ones(rows: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The rows from random starts."""
    return [row for row in rows if "form" not in row]


def form_lines(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """The third table: means over networks."""
    found: dict[tuple[Any, ...], list[Mapping[str, Any]]] = {}
    for row in rows:
        if "form" in row:
            key = (row["width"], row["k"], row["lr"], row["form"], row["way"])
            found.setdefault(key, []).append(row)
    lines = []
    for (width, k, lr, form, way), own in found.items():
        first = way == "QR"
        cells = [str(width), str(k), f"{lr:g}", f"`{form}`"] if first else [""] * 4
        points = zip(*(row["curve"] for row in own), strict=True)
        values = {step[0][0]: show(float(np.mean([accuracy for _, accuracy in step]))) for step in points}
        last = max(values)
        cells += [way, *(values[step] for step in (0, 10, last // 4, last // 2, last)), str(len(own))]
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def cells(rows: Sequence[Mapping[str, Any]]) -> dict[tuple[Any, ...], dict[str, list[Mapping[str, Any]]]]:
    """Rows by width of the site, size and rate, and then by way."""
    found: dict[tuple[Any, ...], dict[str, list[Mapping[str, Any]]]] = {}
    for row in rows:
        key = (row["width"], row["k"], row["lr"])
        found.setdefault(key, {}).setdefault(row["way"], []).append(row)
    return found


def at(row: Mapping[str, Any], share: float) -> float:
    """The accuracy after this share of the steps."""
    last = row["curve"][-1][0]
    return min(row["curve"], key=lambda point: abs(point[0] - share * last))[1]


def difference(own: Mapping[str, Sequence[Mapping[str, Any]]], way: str) -> np.ndarray:
    """Of a way to QR at the end, start by start."""
    return np.array([at(one, 1) - at(qr, 1) for one, qr in zip(own[way], own["QR"], strict=True)])


def quality_lines(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """The second table."""
    lines = []
    for (width, k, lr), own in cells(rows).items():
        for way in own:
            final = np.array([at(row, 1) for row in own[way]])
            whole = mean_interval(final, limits=(0, 1))
            beside = "" if way == "QR" else signed(difference(own, way))
            parts = (
                [str(width), str(k), f"{lr:g}", str(own[way][0]["curve"][-1][0])] if way == "QR" else [""] * 4
            )
            parts += [way, *(show(float(np.mean([at(row, s) for row in own[way]]))) for s in (0.25, 0.5))]
            parts += [
                f"{show(whole.value)} [{show(whole.low)}, {show(whole.high)}]",
                beside,
                show(float(final.min())),
            ]
            lines.append(f"| {' | '.join([*parts, str(len(final))])} |")
    return lines


def signed(values: np.ndarray) -> str:
    """A mean difference with its interval."""
    found = mean_interval(values)
    return f"{found.value:+.3f} [{found.low:+.3f}, {found.high:+.3f}]".replace("0.", ".")


def verdict(result: Mapping[str, Any]) -> list[str]:
    """What follows for the default, in figures."""
    own = cells(random_ones(result["rows"]))
    lines = []
    for way in WAYS[1:]:
        times = [row[f"{way} / QR"][1] for row in result["times"]] if way in TIMED else [1.0]
        gaps = [mean_interval(difference(cell, way)) for cell in own.values() if way in cell]
        better = sum(gap.low > 0 for gap in gaps)
        worse = sum(gap.high < 0 for gap in gaps)
        lines.append(
            f"- {way} beside QR: a step takes {number(min(times))} to {number(max(times))} times as long; of "
            f"{len(gaps)} cells of d, k and rate the interval of the difference in accuracy lies above 0 in "
            f"{better}, below 0 in {worse}."
        )
    return lines

"""The tech tree: every claim of a folder as a point, how far it was challenged against how much it claims."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from commutes.errors import ArtefactError
from commutes.report._canvas import BLUE, INK, MUTED, ORANGE, drawing, save, shortened
from commutes.report._schema import ReportRecord
from commutes.report._text import clean, count, wrap
from commutes.report.catalogue import LEVELS
from commutes.report.record import load_report

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["Point", "points_of", "tree_drawing", "tree_table"]

RECORD = "report.json"


@dataclass(frozen=True)
class Point:
    """One claim of the tree."""

    name: str
    """Of its folder, below the one that was looked through."""
    algorithm: str
    network: str
    level: str
    """What was reached: R0 to R5."""
    verdict: str
    """Against what was sought."""
    variables: int
    interventions: int
    """Sets of variables that were swapped."""
    parameters: int | None
    """Weights of the network; None where the record does not say."""
    next: str
    """The cheapest step that could raise the level."""

    @property
    def complexity(self) -> int:
        """Variables times interventions."""
        return self.variables * self.interventions


def points_of(folder: Path) -> list[Point]:
    """The claims in the reports at and below `folder`, by name. Links are not followed.

    Raises:
        ArtefactError: There is no report, or one is damaged.
    """
    found = []
    for place, folders, files in os.walk(folder):
        folders.sort()
        if RECORD in files and not (Path(place) / RECORD).is_symlink():
            name = Path(place).relative_to(folder).as_posix()
            found.append(_point(folder.name if name == "." else name, load_report(Path(place) / RECORD)))
    if not found:
        raise ArtefactError(
            "there is no report in this folder",
            where=clean(folder),
            got=f"no {RECORD} in it or below",
            expected="the folder of one run, or of several",
            fix="commutes run SPEC makes one; report.save(folder) writes one from Python",
        )
    return sorted(found, key=lambda point: point.name)


def _point(name: str, record: ReportRecord) -> Point:
    claim, evaluation = record.claim, record.evaluation
    return Point(
        name,
        claim.algorithm,
        claim.network,
        record.level,
        record.verdict,
        len(claim.variables),
        0 if evaluation is None else len(evaluation.variables),
        claim.parameters,
        record.upgrade,
    )


def tree_table(points: Sequence[Point], *, width: int = 100) -> str:
    """The claims as text: the level reached, the verdict, how much is claimed of how large a network, the next step."""
    longest = min(34, max(len(clean(point.name)) for point in points))
    head = f"{'claim':<{longest}}  level  verdict       variables x interventions      weights"
    lines = [head, "─" * width]
    for point in sorted(points, key=lambda p: (-_rank(p), -p.complexity, p.name)):
        size = "not known" if point.parameters is None else count(point.parameters)
        claimed = f"{point.variables} x {point.interventions} = {point.complexity}"
        lines.append(
            f"{shortened(point.name):<{longest}}  {point.level:<5}  {point.verdict:<12}  {claimed:>25}  {size:>11}"
        )
        lines += [
            f"  next: {line}" if i == 0 else f"        {line}"
            for i, line in enumerate(wrap(clean(point.next), width - 8))
        ]
    return "\n".join(line.rstrip() for line in lines)


def tree_drawing(points: Sequence[Point], path: str | os.PathLike[str]) -> None:
    """Draw the claims: level against variables times interventions, the area of a point by the network's weights.

    Args:
        points: Of `points_of`.
        path: Where to; SVG, or PNG where the name ends so. The same points give the same bytes.
    """
    as_png = os.fspath(path).lower().endswith(".png")
    with drawing():
        save(_figure(points), path if as_png else None, None if as_png else path)


def _figure(points: Sequence[Point]) -> Figure:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9.0, 5.6))
    FigureCanvasAgg(figure)
    axes = figure.add_axes((0.17, 0.14, 0.79, 0.68))
    top = max(point.complexity for point in points)
    _ground(axes, top)
    _claims(axes, points)
    figure.text(
        0.03, 0.945, "How far each claim was challenged", fontsize=12.5, fontweight="bold", va="center"
    )
    figure.text(
        0.03, 0.895,
        "filled: what was sought is supported; cross: refuted; ring: neither. Area: weights of the network.",
        fontsize=8.5, color=MUTED, va="center",
    )  # fmt: skip
    figure.text(0.17, 0.04, "variables × interventions", fontsize=9, color=INK, va="center")
    return figure


def _ground(axes: Axes, top: int) -> None:
    axes.set_ylim(-0.6, len(LEVELS) - 0.4)
    axes.set_yticks(range(len(LEVELS)), [f"{level.name}  {level.word}" for level in LEVELS])
    axes.set_xlim(0.5, max(2, top) * 2.6)
    axes.set_xscale("log", base=2)
    ticks = [2**i for i in range(int(math.log2(max(2, top))) + 2)]
    axes.set_xticks(ticks, [str(tick) for tick in ticks])
    axes.minorticks_off()
    axes.tick_params(length=0, labelsize=8.5)
    axes.grid(axis="y", color="#eceef0", linewidth=0.8)
    axes.set_axisbelow(True)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)


def _claims(axes: Axes, points: Sequence[Point]) -> None:
    """Claims at one place stand below one another, so that every name can be read."""
    taken: dict[tuple[int, int], int] = {}
    for point in points:
        x, y = max(1, point.complexity), _rank(point)
        turn = taken.setdefault((x, y), 0)
        taken[x, y] += 1
        height = y + 0.28 - 0.19 * turn
        style: dict[str, Any] = {"s": _area(point), "linewidths": 1.4, "zorder": 3}
        if point.verdict == "refuted":
            axes.scatter([x], [height], marker="x", color=ORANGE, **style)
        else:
            face = BLUE if point.verdict == "supported" else "white"
            axes.scatter([x], [height], marker="o", facecolor=face, edgecolor=BLUE, **style)
        axes.annotate(
            shortened(point.name), (x, height), xytext=(9, 0), textcoords="offset points", fontsize=8,
            va="center", color=INK,
        )  # fmt: skip


def _area(point: Point) -> float:
    weights = 1 if point.parameters is None else max(1, point.parameters)
    return 14 + 9 * math.log10(weights)


def _rank(point: Point) -> int:
    return [level.name for level in LEVELS].index(point.level)

"""How the fits went, in small panels that share their axes."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from commutes.errors import ArtefactError
from commutes.report._canvas import BLUE, MUTED, ORANGE, drawing, save, shortened
from commutes.report.record import plain

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["fit_curves"]


def fit_curves(
    histories: Sequence[Mapping[str, Any]],
    path_png: str | os.PathLike[str] | None = None,
    path_svg: str | os.PathLike[str] | None = None,
) -> None:
    """Draw how each fit went: its loss and its IIA on the selection split, by step, one panel a fit.

    Args:
        histories: One mapping a fit: `label`, `loss` as steps and values `[(step, loss), ...]`, `select` as
            `[(step, IIA), ...]`, and `kept`, the step whose state was kept (or None).
        path_png: Where to write the PNG, if anywhere.
        path_svg: Where to write the SVG, if anywhere; the same histories give the same bytes.

    Raises:
        ArtefactError: There is no fit to draw.
    """
    if not histories:
        raise ArtefactError(
            "there is nothing to draw: no fit has a history",
            got="0 histories",
            expected="at least one",
            fix="pass the histories of the fits",
        )
    with drawing():
        save(_curves_figure(plain(histories)), path_png, path_svg)


def _curves_figure(histories: Sequence[Mapping[str, Any]]) -> Figure:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    columns = len(histories) if len(histories) <= 4 else min(4, math.ceil(math.sqrt(len(histories))))
    rows = math.ceil(len(histories) / columns)
    width, height = max(0.9 + 2.3 * columns, 4.4), 1.3 + 1.7 * rows
    figure = Figure(figsize=(width, height))
    FigureCanvasAgg(figure)
    grid = figure.add_gridspec(
        rows, columns, left=0.58 / width, right=1 - 0.62 / width, top=1 - 0.92 / height, bottom=0.55 / height,
        wspace=0.22, hspace=0.42,
    )  # fmt: skip
    ceiling = max((v for h in histories for _, v in _points(h.get("loss"))), default=1.0) * 1.05 or 1.0
    last = max(
        (s for h in histories for key in ("loss", "select") for s, _ in _points(h.get(key))), default=1
    )
    for index, history in enumerate(histories):
        row, column = divmod(index, columns)
        panel = _Panel(
            column == 0, column == columns - 1 or index == len(histories) - 1, ceiling, max(last, 1)
        )
        _draw_curves(figure.add_subplot(grid[row, column]), history, panel)
    figure.text(0.2 / width, 1 - 0.3 / height, "Fitting", fontsize=12.5, fontweight="bold", va="center")
    line = 1 - 0.54 / height
    figure.text(0.2 / width, line, "loss on training pairs", fontsize=9, color=ORANGE, va="center")
    figure.text(1.75 / width, line, "IIA on the selection split", fontsize=9, color=BLUE, va="center")
    figure.text(
        0.58 / width, 0.14 / height, "by step; the dot marks the state that was kept", fontsize=7.5,
        color=MUTED, va="center",
    )  # fmt: skip
    return figure


@dataclass(frozen=True)
class _Panel:
    """What a panel shares with the others, so that they can be compared."""

    first: bool
    last: bool
    ceiling: float
    steps: float


def _points(series: Any) -> list[tuple[float, float]]:
    """Pairs of step and value; a value that is missing leaves a gap rather than a zero."""
    pairs = series if isinstance(series, list) else []
    return [(float(step), math.nan if value is None else float(value)) for step, value in pairs]


def _draw_curves(axes: Axes, history: Mapping[str, Any], panel: _Panel) -> None:
    beside = axes.twinx()
    loss, select = _points(history.get("loss")), _points(history.get("select"))
    axes.plot([s for s, _ in loss], [v for _, v in loss], color=ORANGE, linewidth=1.1)
    beside.plot([s for s, _ in select], [v for _, v in select], color=BLUE, linewidth=1.6)
    kept = history.get("kept")
    if kept is not None:
        values = [v for s, v in select if s == kept]
        axes.axvline(kept, color=MUTED, linewidth=0.8, linestyle=(0, (3, 2)), zorder=0)
        beside.plot([kept] * len(values), values, "o", color=BLUE, markersize=4)
    axes.set_title(shortened(str(history.get("label", ""))), fontsize=9, loc="left", pad=4)
    axes.set_xlim(0, panel.steps)
    axes.set_ylim(0, panel.ceiling)
    beside.set_ylim(0, 1)
    beside.set_yticks([0, 0.5, 1], ["0", ".5", "1"] if panel.last else ["", "", ""])
    axes.tick_params(axis="y", colors=ORANGE, labelsize=7.5, length=0, labelleft=panel.first)
    beside.tick_params(axis="y", colors=BLUE, labelsize=7.5, length=0)
    axes.tick_params(axis="x", colors=MUTED, labelsize=7.5, length=2)
    axes.xaxis.get_major_locator().set_params(nbins=3, integer=True)  # type: ignore[attr-defined]
    for side in ("top", "left", "right"):
        axes.spines[side].set_visible(False)
        beside.spines[side].set_visible(False)
    beside.spines["bottom"].set_visible(False)
    axes.grid(axis="y", color="#eceef0", linewidth=0.8)
    axes.set_axisbelow(True)

"""The heat map of the selection split: site by size."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from commutes.errors import ArtefactError
from commutes.report._canvas import INK, MUTED, ORANGE, drawing, save, shortened
from commutes.report._schema import HeatCell, SelectionRecord
from commutes.report._text import clean, count, interval, share, wrap
from commutes.report.record import plain

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["heat_map"]

_CELL_WIDTH, _CELL_HEIGHT = 1.32, 0.74  # inches: room for a rate, its interval and its n
_LETTER = 0.066  # inches: a generous mean width of a letter of nine points


@dataclass(frozen=True)
class _Layout:
    """Where things stand, in inches; the grid itself sets the size of the figure."""

    rows: int
    columns: int
    left: float
    label: str
    chosen: bool
    bottom: float = 1.12
    right: float = 0.3

    @property
    def grid_width(self) -> float:
        return self.columns * _CELL_WIDTH

    @property
    def grid_height(self) -> float:
        return self.rows * _CELL_HEIGHT

    @property
    def width(self) -> float:
        # Never so narrow that the title does not fit.
        return max(self.left + self.grid_width + self.right, 4.3)

    @property
    def lines(self) -> list[str]:
        """The label in lines that fit; room for the legend after the last."""
        full = max(24, int((self.width - 0.44) / _LETTER))
        lines = wrap(self.label, full)
        return lines if not self.chosen or len(lines[-1]) + 12 <= full else [*lines, ""]

    @property
    def top(self) -> float:
        return 0.66 + 0.2 * len(self.lines)

    @property
    def height(self) -> float:
        return self.top + self.grid_height + self.bottom

    def box(self, x: float, y: float, width: float, height: float) -> tuple[float, float, float, float]:
        """A box whose corner is x from the left and y from the bottom, as shares of the figure."""
        return x / self.width, y / self.height, width / self.width, height / self.height


def heat_map(
    selection: Mapping[str, Any] | SelectionRecord,
    path_png: str | os.PathLike[str] | None = None,
    path_svg: str | os.PathLike[str] | None = None,
) -> None:
    """Draw the selection split, site by size: colour is IIA above the cell's best floor, from 0 to 1.

    Each cell prints its rate, interval and n. The chosen cell is framed; a cell that failed or is missing is
    hatched and says so, since a hole is not a zero.

    Args:
        selection: The `selection` of a report's record.
        path_png: Where to write the PNG, if anywhere.
        path_svg: Where to write the SVG, if anywhere; the same selection gives the same bytes.

    Raises:
        ArtefactError: The selection has no cells, or a cell that is not on its grid.
    """
    record = _as_selection(selection)
    with drawing():
        save(_heat_figure(record), path_png, path_svg)


def _as_selection(selection: Mapping[str, Any] | SelectionRecord) -> SelectionRecord:
    import json

    from pydantic import ValidationError

    if isinstance(selection, SelectionRecord):
        record = selection
    else:
        try:
            record = SelectionRecord.model_validate_json(json.dumps(plain(selection)))
        except ValidationError as problem:
            first = problem.errors(include_url=False)[0]
            raise ArtefactError(
                "the selection is not one that a heat map can show",
                where=".".join(clean(part) for part in first["loc"]),
                got=clean(first["input"])[:120],
                expected=first["msg"],
                fix="pass the `selection` of a report's record",
            ) from problem
    if not record.rows or not record.columns:
        raise ArtefactError(
            "there is nothing to draw: the selection has no cells",
            got=f"{len(record.rows)} rows, {len(record.columns)} columns",
            expected="at least one site and one size",
            fix="fit at least one cell before drawing",
        )
    for cell in record.cells:
        if cell.row not in record.rows or cell.column not in record.columns:
            raise ArtefactError(
                "a cell of the selection is not on its grid",
                got=f"row {clean(cell.row)}, column {clean(cell.column)}",
                expected=f"a row of {', '.join(clean(r) for r in record.rows)} and a column of "
                f"{', '.join(clean(c) for c in record.columns)}",
                fix="name cells by the labels of their row and column",
            )
    return record


def _heat_figure(record: SelectionRecord) -> Figure:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    labels = [shortened(str(row)) for row in record.rows]
    left = 0.42 + max(0.072 * max(len(label) for label in labels), 0.4)
    chosen = any(cell.chosen for cell in record.cells)
    layout = _Layout(len(record.rows), len(record.columns), left, clean(record.label), chosen)
    figure = Figure(figsize=(layout.width, layout.height))
    FigureCanvasAgg(figure)
    axes = figure.add_axes(layout.box(left, layout.bottom, layout.grid_width, layout.grid_height))
    at = {(cell.row, cell.column): cell for cell in record.cells}
    for i, row in enumerate(record.rows):
        for j, column in enumerate(record.columns):
            _draw_cell(axes, j, i, at.get((row, column)))
    _frame_chosen(axes, record)
    _finish_axes(axes, record, labels)
    _titles(figure, layout)
    _colour_bar(figure, layout)
    return figure


def _draw_cell(axes: Axes, x: int, y: int, cell: HeatCell | None) -> None:
    from matplotlib.patches import Rectangle

    box = {"xy": (x, y), "width": 1, "height": 1, "linewidth": 1.6, "edgecolor": "white"}
    if cell is None or cell.rate is None:
        word = "missing" if cell is None else clean(cell.status)
        axes.add_patch(Rectangle(**box, facecolor="#eceef0"))
        axes.add_patch(Rectangle((x + 0.02, y + 0.03), 0.96, 0.94, fill=False, linewidth=0, hatch="////"))
        axes.text(
            x + 0.5, y + 0.5, word, ha="center", va="center", color=MUTED, fontsize=8.5, fontstyle="italic",
            bbox={"facecolor": "#eceef0", "edgecolor": "none", "pad": 2.0},
        )  # fmt: skip
        return
    # Without a floor there is nothing to be above, and no colour to give.
    colour = (1.0, 1.0, 1.0) if cell.floor is None else _colours()(max(0.0, min(1.0, cell.rate - cell.floor)))
    ink = _readable(colour)
    axes.add_patch(Rectangle(**box, facecolor=colour))
    n = f"n = {count(cell.n)}" if cell.n is not None else "n not recorded"
    bounds = interval(cell.low, cell.high)
    # An interval that a complete domain leaves at its value is none.
    bounds = "exact" if cell.low == cell.high == cell.rate else bounds
    axes.text(
        x + 0.5, y + 0.30, share(cell.rate), ha="center", va="center", color=ink, fontsize=12,
        fontweight="bold",
    )  # fmt: skip
    axes.text(x + 0.5, y + 0.585, bounds, ha="center", va="center", color=ink, fontsize=7.2)
    axes.text(x + 0.5, y + 0.80, n, ha="center", va="center", color=ink, fontsize=7.2)


def _colours() -> Any:
    from matplotlib.colors import LinearSegmentedColormap

    # One hue from paper to ink, even in lightness, so that it also reads in grey and to colour-blind eyes.
    stops = ["#f3f6fa", "#c9dcef", "#8fb9de", "#4c8ec6", "#1f5fa8", "#0c2f63"]
    return LinearSegmentedColormap.from_list("commutes", stops)


def _readable(background: Sequence[float]) -> str:
    """White or ink, whichever has the greater contrast (WCAG's relative luminance)."""
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in background[:3]]
    light = 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
    return "white" if 1.05 / (light + 0.05) > (light + 0.05) / 0.062 else INK


def _frame_chosen(axes: Axes, record: SelectionRecord) -> None:
    from matplotlib.patches import Rectangle

    for cell in record.cells:
        if cell.chosen:
            x, y = record.columns.index(cell.column), record.rows.index(cell.row)
            axes.add_patch(
                Rectangle((x, y), 1, 1, fill=False, edgecolor=ORANGE, linewidth=2.6, zorder=5, clip_on=False)
            )


def _finish_axes(axes: Axes, record: SelectionRecord, labels: Sequence[str]) -> None:
    rows, columns = len(record.rows), len(record.columns)
    axes.set_xlim(0, columns)
    axes.set_ylim(rows, 0)  # the first site on top, as in a table
    axes.set_xticks([j + 0.5 for j in range(columns)], [shortened(str(c)) for c in record.columns])
    axes.set_yticks([i + 0.5 for i in range(rows)], list(labels))
    axes.set_xlabel("coordinates per variable", fontsize=9, labelpad=5)
    axes.tick_params(length=0, labelsize=9, pad=5)
    for spine in axes.spines.values():
        spine.set_visible(False)


def _titles(figure: Figure, layout: _Layout) -> None:
    from matplotlib.patches import Rectangle

    left, top = 0.22 / layout.width, layout.height
    figure.text(
        left, (top - 0.32) / layout.height, "IIA by site and size", fontsize=12.5, fontweight="bold",
        va="center",
    )  # fmt: skip
    for i, text in enumerate(layout.lines):
        y = (top - 0.58 - 0.2 * i) / layout.height
        figure.text(left, y, text, fontsize=9, color=MUTED, va="center")
    if layout.chosen:
        last = layout.lines[-1]
        after = 0.22 + (_LETTER * len(last) + 0.2 if last else 0)
        y = top - 0.58 - 0.2 * (len(layout.lines) - 1)
        # A frame of its own: not every font has a square.
        box = layout.box(after, y - 0.055, 0.14, 0.11)
        figure.add_artist(Rectangle(box[:2], *box[2:], fill=False, edgecolor=ORANGE, linewidth=1.6))
        x = (after + 0.2) / layout.width
        figure.text(x, y / layout.height, "chosen", fontsize=9, color=ORANGE, va="center")


def _colour_bar(figure: Figure, layout: _Layout) -> None:
    from matplotlib.patches import Rectangle

    bar = figure.add_axes(
        layout.box(layout.left, 0.36, min(2.6, layout.width - layout.left - layout.right), 0.1)
    )
    # Rectangles, not matplotlib's colour bar, which would put a picture of pixels into the SVG.
    steps, colours = 64, _colours()
    for i in range(steps):
        colour = colours((i + 0.5) / steps)
        bar.add_patch(
            Rectangle((i / steps, 0), 1 / steps, 1, facecolor=colour, edgecolor=colour, linewidth=0.3)
        )
    bar.set_xlim(0, 1)
    bar.set_yticks([])
    bar.set_xticks([0, 0.5, 1], ["0", ".5", "1"])
    bar.tick_params(length=0, labelsize=7.5, pad=2, colors=MUTED)
    bar.set_title("IIA above its best floor", fontsize=7.5, color=MUTED, pad=3, loc="left")
    for spine in bar.spines.values():
        spine.set_visible(False)

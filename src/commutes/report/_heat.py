"""The heat map of the selection split: layer by position, or site by size."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from commutes.report._canvas import (
    BLUES,
    HOLE,
    MUTED,
    ORANGE,
    colour_bar,
    colours,
    drawing,
    readable,
    save,
    shortened,
)
from commutes.report._schema import HeatCell, SelectionRecord
from commutes.report._sought import (
    SIZES,
    as_selection,
    axis_words,
    best_cells,
    best_words,
    downwards,
    sizes_of,
)
from commutes.report._text import clean, count, interval, share, wrap

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["heat_map"]

_LETTER = 0.066  # inches: a generous mean width of a letter of nine points
# Above so many rows or columns a cell prints its rate alone, so that the map stays on one page.
_MOST_ROWS, _MOST_COLUMNS = 9, 7


@dataclass(frozen=True)
class _Layout:
    """Where things stand, in inches; the grid itself sets the size of the figure."""

    rows: int
    columns: int
    left: float
    title: str
    label: str
    chosen: bool
    longest: int
    """Letters of the longest label of a column."""
    full: bool
    """Whether a cell has room for its interval and n beside its rate."""
    bottom: float = 1.12
    right: float = 0.3

    @property
    def cell(self) -> tuple[float, float]:
        return (1.32, 0.74) if self.full else (max(0.72, 0.076 * self.longest + 0.04), 0.4)

    @property
    def grid_width(self) -> float:
        return self.columns * self.cell[0]

    @property
    def grid_height(self) -> float:
        return self.rows * self.cell[1]

    @property
    def width(self) -> float:
        # Never so narrow that the title does not fit.
        return max(self.left + self.grid_width + self.right, 4.3, 0.44 + 0.098 * len(self.title))

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
    """Draw the selection split: colour is IIA above the cell's best floor, from 0 to 1.

    Each cell prints its rate, interval and n, and the size where its best of several is shown; a large map prints
    rates only. The chosen cell is framed; a cell that failed or is missing is hatched and says so, since a hole is
    not a zero.

    Args:
        selection: The `selection` of a report's record.
        path_png: Where to write the PNG, if anywhere.
        path_svg: Where to write the SVG, if anywhere; the same selection gives the same bytes.

    Raises:
        ArtefactError: The selection has no cells, or a cell that is not on its grid.
    """
    record = as_selection(selection)
    with drawing():
        save(_heat_figure(record), path_png, path_svg)


def _heat_figure(record: SelectionRecord) -> Figure:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    rows = downwards(record)
    labels = [shortened(str(row)) for row in rows]
    layout = _layout(record, labels)
    figure = Figure(figsize=(layout.width, layout.height))
    FigureCanvasAgg(figure)
    axes = figure.add_axes(layout.box(layout.left, layout.bottom, layout.grid_width, layout.grid_height))
    best = best_cells(record)
    for i, row in enumerate(rows):
        for j, column in enumerate(record.columns):
            _draw_cell(axes, j, i, best.get((row, column)), layout.full, sizes_of(record))
    _frame_chosen(axes, record, rows)
    _finish_axes(axes, record, labels)
    _titles(figure, layout)
    scale = figure.add_axes(
        layout.box(layout.left, 0.36, min(2.6, layout.width - layout.left - layout.right), 0.1)
    )
    colour_bar(scale, BLUES, "IIA above its best floor")
    return figure


def _layout(record: SelectionRecord, labels: Sequence[str]) -> _Layout:
    left = 0.42 + max(0.072 * max(len(label) for label in labels), 0.4)
    place = f" of {shortened(record.place)}" if record.place else ""
    full = len(record.rows) <= _MOST_ROWS and len(record.columns) <= _MOST_COLUMNS
    words = [clean(record.label), *best_words(record)]
    floors = [cell.floor for cell in best_cells(record).values() if cell.floor is not None]
    if floors:
        low, high = share(min(floors)), share(max(floors))
        words.append(f"best floor {low}" + (f" to {high}" if low != high else ""))
    counts = sorted({cell.n for cell in record.cells if cell.n is not None})
    if counts and not full:
        words.append(f"n = {' to '.join(count(n) for n in dict.fromkeys((counts[0], counts[-1])))}")
    return _Layout(
        len(record.rows), len(record.columns), left, f"IIA{place} by {axis_words(record)}", "; ".join(words),
        any(cell.chosen for cell in record.cells), max(len(shortened(str(c))) for c in record.columns), full,
    )  # fmt: skip


def _draw_cell(axes: Axes, x: int, y: int, cell: HeatCell | None, full: bool, sizes: Sequence[int]) -> None:
    from matplotlib.patches import Rectangle

    box = {"xy": (x, y), "width": 1, "height": 1, "linewidth": 1.6, "edgecolor": "white"}
    if cell is None or cell.rate is None:
        word = "missing" if cell is None else clean(cell.status)
        axes.add_patch(Rectangle(**box, facecolor=HOLE))
        axes.add_patch(Rectangle((x + 0.02, y + 0.03), 0.96, 0.94, fill=False, linewidth=0, hatch="////"))
        axes.text(
            x + 0.5, y + 0.5, word, ha="center", va="center", color=MUTED, fontsize=8.5 if full else 6.5,
            fontstyle="italic", bbox={"facecolor": HOLE, "edgecolor": "none", "pad": 2.0 if full else 1.0},
        )  # fmt: skip
        return
    # Without a floor there is nothing to be above, and no colour to give.
    above = None if cell.floor is None else max(0.0, min(1.0, cell.rate - cell.floor))
    colour = (1.0, 1.0, 1.0) if above is None else colours(BLUES)(above)
    ink = readable(colour)
    axes.add_patch(Rectangle(**box, facecolor=colour))
    k = f"k = {cell.size}" if len(sizes) > 1 and cell.size is not None else ""
    # Rate, then what is known of it: heights in shares of the cell, sizes in points.
    if full:
        n = f"n = {count(cell.n)}" if cell.n is not None else "n not recorded"
        # An interval that a complete domain leaves at its value is none.
        exact = cell.low == cell.high == cell.rate
        bounds = "exact" if exact else interval(cell.low, cell.high)
        said = [
            (0.30, share(cell.rate), 12.0),
            (0.585, bounds, 7.2),
            (0.80, ", ".join(filter(None, (k, n))), 7.2),
        ]
    else:
        said = [(0.36 if k else 0.5, share(cell.rate), 9.0), (0.76, k, 6.2)]
    for height, text, size in said:
        weight = "bold" if height == said[0][0] else "normal"
        axes.text(
            x + 0.5, y + height, text, ha="center", va="center", color=ink, fontsize=size, fontweight=weight
        )


def _frame_chosen(axes: Axes, record: SelectionRecord, rows: Sequence[str | int]) -> None:
    from matplotlib.patches import Rectangle

    for cell in record.cells:
        if cell.chosen:
            x, y = record.columns.index(cell.column), rows.index(cell.row)
            axes.add_patch(
                Rectangle((x, y), 1, 1, fill=False, edgecolor=ORANGE, linewidth=2.6, zorder=5, clip_on=False)
            )


def _finish_axes(axes: Axes, record: SelectionRecord, labels: Sequence[str]) -> None:
    rows, columns = len(record.rows), len(record.columns)
    axes.set_xlim(0, columns)
    axes.set_ylim(rows, 0)  # the first label on top, as in a table
    axes.set_xticks([j + 0.5 for j in range(columns)], [shortened(str(c)) for c in record.columns])
    axes.set_yticks([i + 0.5 for i in range(rows)], list(labels))
    axes.set_xlabel(clean(record.column_name), fontsize=9, labelpad=5)
    if record.column_name != SIZES:
        axes.set_ylabel(clean(record.row_name), fontsize=9, labelpad=5)
    axes.tick_params(length=0, labelsize=9, pad=5)
    for spine in axes.spines.values():
        spine.set_visible(False)


def _titles(figure: Figure, layout: _Layout) -> None:
    from matplotlib.patches import Rectangle

    left, top = 0.22 / layout.width, layout.height
    figure.text(
        left, (top - 0.32) / layout.height, layout.title, fontsize=12.5, fontweight="bold", va="center"
    )
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

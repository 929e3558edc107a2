"""The sweep by stratum: a small map for every swapped set and stratum, its floors beneath it on the same scale."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from commutes.errors import ArtefactError
from commutes.report._canvas import (
    GREENS,
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
from commutes.report._schema import HeatStratum, SelectionRecord
from commutes.report._sought import (
    SIZES,
    as_selection,
    axis_words,
    best_cells,
    best_words,
    downwards,
    stratum_floors,
)
from commutes.report._text import clean, count, share

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["strata_map"]

# Inches.
_CELL, _TALL, _GAP = 0.52, 0.3, 0.42
_HEAD, _FOOT, _FLOOR = 0.5, 0.86, 0.26
_LEAST = 2.3  # of a panel: the three floors side by side, and what is expected
_MOST = 4  # panels side by side

_EXPECTED = {
    "flip": "must become the source's answer",
    "placebo": "must stay the base's answer",
    "novel": "must become an answer of neither",
    "neutral": "all answers are the same",
}
_FLOORS = {"do nothing": "nothing", "best constant": "constant", "random subspace": "random"}

Key = tuple[str, str]


@dataclass(frozen=True)
class _Sheet:
    """Where the panels stand, in inches."""

    record: SelectionRecord
    panels: tuple[Key, ...]
    labels: tuple[str, ...]

    @property
    def across(self) -> int:
        """Panels side by side: those of one swapped set, if they fit."""
        widest = max(sum(swap == other for other, _ in self.panels) for swap, _ in self.panels)
        return min(_MOST, widest)

    @property
    def down(self) -> int:
        return -(-len(self.panels) // self.across)

    @property
    def left(self) -> float:
        return 0.42 + max(0.066 * max(map(len, self.labels)), 0.26)

    @property
    def panel(self) -> tuple[float, float]:
        longest = max(len(shortened(str(column))) for column in self.record.columns)
        cell = max(_CELL, 0.062 * longest)
        return max(cell * len(self.record.columns), _LEAST), _TALL * len(self.record.rows)

    @property
    def size(self) -> tuple[float, float]:
        width, height = self.panel
        inner = self.across * width + (self.across - 1) * _GAP
        return (
            max(self.left + inner + 0.3, 4.6),
            0.86 + self.down * (_HEAD + height + _FOOT) + 0.66,
        )

    def corner(self, number: int) -> tuple[float, float]:
        """Left and bottom of a panel's grid."""
        row, column = divmod(number, self.across)
        width, height = self.panel
        x = self.left + column * (width + _GAP)
        return x, self.size[1] - 0.86 - row * (_HEAD + height + _FOOT) - _HEAD - height

    def box(self, x: float, y: float, width: float, height: float) -> tuple[float, float, float, float]:
        """A box whose corner is x from the left and y from the bottom, as shares of the figure."""
        return x / self.size[0], y / self.size[1], width / self.size[0], height / self.size[1]


def strata_map(
    selection: Mapping[str, Any] | SelectionRecord,
    path_png: str | os.PathLike[str] | None = None,
    path_svg: str | os.PathLike[str] | None = None,
) -> None:
    """Draw the selection split by swapped set and stratum: colour is IIA itself, from 0 to 1, of cells and of floors.

    Every panel has, beneath its map, what doing nothing, the best constant and a random subspace reach in it.

    Args:
        selection: The `selection` of a report's record.
        path_png: Where to write the PNG, if anywhere.
        path_svg: Where to write the SVG, if anywhere; the same selection gives the same bytes.

    Raises:
        ArtefactError: The selection has no cells, a cell that is not on its grid, or no strata.
    """
    record = as_selection(selection)
    with drawing():
        save(_figure(record), path_png, path_svg)


def _figure(record: SelectionRecord) -> Figure:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    cells = best_cells(record)
    shown = dict.fromkeys((s.swap, s.stratum) for cell in cells.values() for s in cell.strata if s.n)
    if not shown:
        # A real-valued output has none.
        raise ArtefactError(
            "there is nothing to draw: the selection has no strata",
            got=f"{len(record.cells)} cells, none of them with pairs in a stratum",
            expected="at least one stratum that was measured",
            fix="draw the heat map alone",
        )
    sheet = _Sheet(record, tuple(shown), tuple(shortened(str(row)) for row in downwards(record)))
    figure = Figure(figsize=sheet.size)
    FigureCanvasAgg(figure)
    for number, key in enumerate(sheet.panels):
        _draw_panel(figure, sheet, number, key)
    width, height = sheet.size
    place = f" of {shortened(record.place)}" if record.place else ""
    figure.text(
        0.22 / width, 1 - 0.32 / height, f"IIA{place} by stratum, {axis_words(record)}", fontsize=12.5,
        fontweight="bold", va="center",
    )  # fmt: skip
    said = "; ".join(
        [clean(record.label), *best_words(record), "beneath each map what needs no alignment reaches"]
    )
    figure.text(0.22 / width, 1 - 0.58 / height, said, fontsize=9, color=MUTED, va="center")
    bar = figure.add_axes(sheet.box(sheet.left, 0.3, 2.2, 0.1))
    colour_bar(bar, GREENS, "IIA")
    return figure


def _draw_panel(figure: Figure, sheet: _Sheet, number: int, key: Key) -> None:
    record = sheet.record
    (x, y), (width, height) = sheet.corner(number), sheet.panel
    axes = figure.add_axes(sheet.box(x, y, width, height))
    cells, found = best_cells(record), []
    for i, row in enumerate(downwards(record)):
        for j, column in enumerate(record.columns):
            cell = cells.get((row, column))
            one = None if cell is None else _stratum(cell.strata, key)
            found += [] if one is None else [one]
            _draw_cell(axes, j, i, one)
            if cell is not None and cell.chosen:
                _frame(axes, j, i)
    _finish(axes, sheet, first=number % sheet.across == 0)
    swap, stratum = key
    top, left = (y + height) / sheet.size[1], x / sheet.size[0]
    figure.text(
        left, top + 0.32 / sheet.size[1], f"{clean(swap)} · {clean(stratum)}", fontsize=9.5,
        fontweight="bold", va="center",
    )  # fmt: skip
    expected = _EXPECTED.get(stratum, "")
    figure.text(left, top + 0.13 / sheet.size[1], expected, fontsize=7.5, color=MUTED, va="center")
    right = left + width / sheet.size[0]
    figure.text(
        right, top + 0.13 / sheet.size[1], _count(found), fontsize=7.5, color=MUTED, va="center", ha="right"
    )
    _draw_floors(figure, sheet, (x, y - 0.62), stratum_floors(record, swap, stratum))


def _stratum(strata: Sequence[HeatStratum], key: Key) -> HeatStratum | None:
    return next((one for one in strata if (one.swap, one.stratum) == key), None)


def _count(found: Sequence[HeatStratum]) -> str:
    counts = sorted({one.n for one in found})
    n = f"n = {' to '.join(count(c) for c in dict.fromkeys((counts[0], counts[-1])))}" if counts else ""
    return f"{n}, too small" if any(one.status == "too small" for one in found) else n


def _draw_cell(axes: Axes, x: int, y: int, one: HeatStratum | None) -> None:
    from matplotlib.patches import Rectangle

    box = {"xy": (x, y), "width": 1, "height": 1, "linewidth": 1.2, "edgecolor": "white"}
    if one is None or one.rate is None:
        axes.add_patch(Rectangle(**box, facecolor=HOLE))
        axes.add_patch(Rectangle((x + 0.04, y + 0.06), 0.92, 0.88, fill=False, linewidth=0, hatch="////"))
        return
    colour = colours(GREENS)(one.rate)
    axes.add_patch(Rectangle(**box, facecolor=colour))
    axes.text(
        x + 0.5, y + 0.52, share(one.rate, 2), ha="center", va="center", color=readable(colour), fontsize=8
    )


def _frame(axes: Axes, x: int, y: int) -> None:
    from matplotlib.patches import Rectangle

    axes.add_patch(
        Rectangle((x, y), 1, 1, fill=False, edgecolor=ORANGE, linewidth=2.0, zorder=5, clip_on=False)
    )


def _finish(axes: Axes, sheet: _Sheet, *, first: bool) -> None:
    rows, columns = len(sheet.record.rows), len(sheet.record.columns)
    axes.set_xlim(0, columns)
    axes.set_ylim(rows, 0)
    sizes = sheet.record.column_name == SIZES
    names = [f"k = {c}" if sizes else shortened(str(c)) for c in sheet.record.columns]
    axes.set_xticks([j + 0.5 for j in range(columns)], names)
    axes.set_yticks([i + 0.5 for i in range(rows)], list(sheet.labels) if first else [""] * rows)
    if first and sheet.record.row_name == "layer":
        axes.set_ylabel("layer", fontsize=8, labelpad=3, color=MUTED)
    axes.tick_params(length=0, labelsize=7.5, pad=3)
    for spine in axes.spines.values():
        spine.set_visible(False)


def _draw_floors(
    figure: Figure, sheet: _Sheet, corner: tuple[float, float], floors: Mapping[str, tuple[float, float]]
) -> None:
    """A swatch per floor, in the colours of the map above it; of random subspaces the best of all cells."""
    from matplotlib.patches import Rectangle

    if not floors:
        return
    axes = figure.add_axes(sheet.box(*corner, sheet.panel[0], _FLOOR))
    for i, (name, (low, high)) in enumerate(floors.items()):
        colour = colours(GREENS)(max(0.0, min(1.0, high)))
        axes.add_patch(
            Rectangle((i + 0.02, 0), 0.96, 1, facecolor=colour, edgecolor="#d5dade", linewidth=0.6)
        )
        value = share(high, 2) if low == high else f"≤ {share(high, 2)}"
        axes.text(
            i + 0.5, 0.47, f"{clean(_FLOORS.get(name, name))} {value}", ha="center", va="center",
            color=readable(colour), fontsize=6.8,
        )  # fmt: skip
    axes.set_xlim(0, len(floors))
    axes.set_ylim(0, 1)
    axes.set_axis_off()

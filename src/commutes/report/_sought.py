"""The sweep in words: where the variables were sought, what the best size reached there, and what was chosen."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from commutes.errors import ArtefactError
from commutes.report._schema import HeatCell, HeatStratum, SelectionRecord
from commutes.report._text import clean, count, interval, plural, share, table, width_of, wrap
from commutes.report.record import plain

__all__ = [
    "SIZES",
    "Sought",
    "as_selection",
    "axis_words",
    "best_cells",
    "best_words",
    "downwards",
    "sizes_of",
    "sought_lines",
    "sought_rows",
    "stratum_floors",
]

SIZES = "coordinates per variable"
# Of a sweep that is too wide for a table, so many places are named.
_LISTED = 5


def as_selection(selection: Mapping[str, Any] | SelectionRecord) -> SelectionRecord:
    """`selection` checked: every cell on the grid, and at least one.

    Raises:
        ArtefactError: It is no selection, or has no cells.
    """
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


def axis_words(record: SelectionRecord) -> str:
    """What goes down and across, such as "layer and position"."""
    across = "size" if record.column_name == SIZES else clean(record.column_name)
    return f"{clean(record.row_name)} and {across}"


def best_cells(record: SelectionRecord) -> dict[tuple[str | int, str | int], HeatCell]:
    """Per row and column the size that would be chosen there; a cell without a rate only where there is no other."""
    found: dict[tuple[str | int, str | int], HeatCell] = {}
    for cell in record.cells:
        here = found.get((cell.row, cell.column))
        if here is None or _rank(cell) > _rank(here):
            found[cell.row, cell.column] = cell
    return found


def _rank(cell: HeatCell) -> tuple[bool, float, float, int]:
    # As in the sweep: the worst stratum, then the rate, then the smaller size. What was chosen stands for its place.
    rate = -1.0 if cell.rate is None else cell.rate
    return cell.chosen, rate if cell.worst is None else cell.worst, rate, -(cell.size or 0)


def sizes_of(record: SelectionRecord) -> list[int]:
    """The sizes among which each cell shows its best; none where the columns are sizes."""
    if record.column_name == SIZES:
        return []
    return sorted({cell.size for cell in record.cells if cell.size is not None})


def best_words(record: SelectionRecord) -> list[str]:
    """That a cell shows its best of several sizes, where it does."""
    sizes = sizes_of(record)
    return [f"each cell the best of k = {', '.join(map(str, sizes))}"] if len(sizes) > 1 else []


def downwards(record: SelectionRecord) -> list[str | int]:
    """The rows from top to bottom: layers as the stream rises, the last on top; sites in their own order."""
    return list(reversed(record.rows)) if record.row_name == "layer" else list(record.rows)


def stratum_floors(record: SelectionRecord, swap: str, stratum: str) -> dict[str, tuple[float, float]]:
    """Per floor the least and the greatest that it reaches in one stratum, over the cells that are shown."""
    seen: dict[str, list[float]] = {}
    for cell in best_cells(record).values():
        for one in cell.strata:
            if (one.swap, one.stratum) == (swap, stratum):
                for name, value in one.floors.items():
                    seen.setdefault(name, []).extend([] if value is None else [value])
    return {name: (min(values), max(values)) for name, values in seen.items() if values}


def sought_lines(record: SelectionRecord, width: int) -> list[str]:
    """The sweep as lines: a table of what the best size reached, or its best places where the table is too wide."""
    place = f" in {clean(record.place)}" if record.place else ""
    title = (
        f"Sought{place} by {axis_words(record)}: IIA, {'; '.join([clean(record.label), *best_words(record)])}"
    )
    lines = wrap(title, width)
    map_of_it = _table(record)
    lines += map_of_it if max(map(width_of, map_of_it)) <= width else _ranking(record, width)
    return lines + ["  " + line for line in wrap(_words(record), width - 2)]


def _table(record: SelectionRecord) -> list[str]:
    best = best_cells(record)
    head = [clean(record.row_name), *(f"{clean(column)} " for column in record.columns)]
    rows = [head]
    for row in downwards(record):
        rows.append([clean(row), *(_shown(best.get((row, column))) for column in record.columns)])
    return ["  " + line for line in table(rows, right=range(1, len(head)))]


def _shown(cell: HeatCell | None) -> str:
    """A rate, in brackets where it was chosen: the others keep a blank, so that figures stand above each other."""
    if cell is None or cell.rate is None:
        return "missing " if cell is None else f"{clean(cell.status)} "
    return f"[{share(cell.rate)}]" if cell.chosen else f"{share(cell.rate)} "


def _ranking(record: SelectionRecord, width: int) -> list[str]:
    measured = [cell for cell in best_cells(record).values() if cell.rate is not None]
    rows = [
        [_where(record, cell), _shown(cell).strip(), interval(cell.low, cell.high)]
        for cell in sorted(measured, key=_rank, reverse=True)[:_LISTED]
    ]
    first = f"  the best {len(rows)} of {plural(len(measured), 'place')}:"
    return [first, *("  " + line for line in table(rows, limits={0: width - 30}))] if rows else []


def _where(record: SelectionRecord, cell: HeatCell) -> str:
    row = f"{clean(record.row_name)} {clean(cell.row)}" if record.row_name == "layer" else clean(cell.row)
    if record.column_name == SIZES:
        return f"{row}, k = {clean(cell.column)}"
    return f"{row}, {clean(cell.column)}" + (f", k = {cell.size}" if cell.size is not None else "")


def _words(record: SelectionRecord) -> str:
    parts = []
    chosen = next((cell for cell in record.cells if cell.chosen), None)
    if chosen is not None:
        worst = "" if chosen.worst is None else f", worst stratum {share(chosen.worst)}"
        parts.append(f"[ ] was chosen: {_where(record, chosen)}{worst}")
    floors = [cell.floor for cell in best_cells(record).values() if cell.floor is not None]
    if floors:
        low, high = share(min(floors)), share(max(floors))
        parts.append(f"best floor {low}" + (f" to {high}" if low != high else ""))
    counts = sorted({cell.n for cell in record.cells if cell.n is not None})
    if counts:
        parts.append(f"n = {count(counts[0])}" + (f" to {count(counts[-1])}" if len(counts) > 1 else ""))
    return "; ".join(parts)


@dataclass(frozen=True)
class Sought:
    """The sweep as a table: every cell, its size, and its strata in the columns' order."""

    strata: tuple[tuple[str, str], ...]
    """Swapped sets and strata that were measured in any cell."""
    rows: tuple[tuple[HeatCell, int | None, tuple[HeatStratum | None, ...]], ...]


def sought_rows(record: SelectionRecord) -> Sought:
    """The sweep as a table, in the order in which it was asked for."""
    strata = tuple(dict.fromkeys((s.swap, s.stratum) for cell in record.cells for s in cell.strata if s.n))
    rows = []
    for cell in record.cells:
        own = {(s.swap, s.stratum): s for s in cell.strata}
        size = cell.column if record.column_name == SIZES and isinstance(cell.column, int) else cell.size
        rows.append((cell, size, tuple(own.get(key) for key in strata)))
    return Sought(strata, tuple(rows))

"""What a sweep found, as the report keeps and draws it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from commutes.report.figures import fit_curves, heat_map, strata_map
from commutes.search._grid import SIZES, Grid
from commutes.search._spec import Spec
from commutes.search._sweep import Fitted

__all__ = ["SELECTION", "drawn_figures", "selection_record"]

# What the card calls the sweep. The place and size are chosen by the worst swapped set x stratum, then the rate over
# all pairs, then the smaller size, then the earlier place.
SELECTION = "selection split, optimistic"

_KEPT = ("rate", "low", "high", "n", "floor", "worst", "strata")


def selection_record(spec: Spec, plan: Grid, cells: Sequence[Fitted], chosen: int) -> dict[str, Any]:
    """The sweep as the `selection` of a report's record."""
    return {
        "rows": list(plan.down.labels),
        "columns": list(plan.across.labels),
        "row_name": plan.down.name,
        "column_name": plan.across.name,
        "place": _place(plan),
        "cells": [
            {
                "row": one.row.layer,
                "column": plan.column(one.row, one.size),
                "size": one.size,
                **{name: one.cell.record[name] for name in _KEPT},
                "status": "done",
                "chosen": number == chosen,
            }
            for number, one in enumerate(cells)
        ],
        "label": "complete domain, in-sample" if spec.data.census else SELECTION,
    }


def _place(plan: Grid) -> str:
    """What all cells have in common: the place of every layer, and the one head and position where it is one."""
    column = plan.rows[0].column if plan.across.name == SIZES else ""
    return " at ".join(word for word in (plan.place, column) if word)


def drawn_figures(out: Path, selection: Mapping[str, Any], chosen: Fitted) -> dict[str, str]:
    """Draw the sweep and the chosen fit as PNG and SVG; the SVG texts by name."""
    figures = out / "figures"
    figures.mkdir(exist_ok=True)
    heat_map(selection, figures / "heat_map.png", figures / "heat_map.svg")
    if any(one["n"] for cell in selection["cells"] for one in cell["strata"]):
        strata_map(selection, figures / "strata.png", figures / "strata.svg")
    history = chosen.cell.record["history"]
    curve = {
        "label": f"{chosen.row.label}, k = {chosen.size}",
        "loss": history["loss"],
        "select": history["selection"],
        "kept": history["chosen_step"],
    }
    fit_curves([curve], figures / "fit_curves.png", figures / "fit_curves.svg")
    drawn = [name for name in ("heat_map", "strata", "fit_curves") if (figures / f"{name}.svg").exists()]
    return {name: (figures / f"{name}.svg").read_text() for name in drawn}

"""`commutes check`: everything that can be said about a spec before anything is trained."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from commutes.cli import _output
from commutes.cli._options import DebugOption, JsonOption, SetOption, SpecArgument
from commutes.cli._prepared import Prepared, prepared
from commutes.cli._status import Status, guarded

if TYPE_CHECKING:
    from commutes.search import Grid

__all__ = ["check"]


@guarded
def check(
    spec: SpecArgument, overrides: SetOption = None, as_json: JsonOption = False, debug: DebugOption = False
) -> int:
    """Check a spec before anything is trained."""
    ready = prepared(spec, overrides)
    found: dict[str, Any] = {"spec": _spec(ready), "algorithm": _algorithm(ready), "data": _data(ready)}

    from commutes.search import build_network, grid

    network = build_network(ready.hypothesis, ready.spec, ready.algorithm, seed=ready.spec.seed)
    found["network"] = {"name": network.name, "blocks": list(network.blocks)}
    found["grid"] = _grid(grid(ready.spec, ready.algorithm, network))
    _output.say(json.dumps(found, indent=1) if as_json else _text(found))
    return Status.COMPLETED


def _spec(ready: Prepared) -> dict[str, Any]:
    path = ready.spec.origin.path
    return {
        "file": None if path is None else str(path),
        "name": ready.spec.name,
        "fingerprint": ready.spec.fingerprint,
        "resolved": ready.spec.resolved(),
    }


def _algorithm(ready: Prepared) -> dict[str, Any]:
    algorithm = ready.algorithm
    return {
        "name": algorithm.name,
        "file": str(ready.hypothesis.path),
        "fingerprint": algorithm.fingerprint,
        "inputs": algorithm.input_count,
        "variables": [
            {
                "name": variable.name,
                "kind": variable.kind,
                "parents": [parent.name for parent in algorithm.parents(variable)],
                "domain": algorithm.domain(variable).describe(),
                "table": _table_size(ready, variable.name),
                "claimed": variable in ready.variables,
            }
            for variable in algorithm.variables
        ],
    }


def _table_size(ready: Prepared, name: str) -> str | None:
    kind = ready.algorithm.table_kinds.get(name)
    if kind is None:
        return None
    rows = 1
    for parent in ready.algorithm.parents(name):
        size = ready.algorithm.domain(parent).size
        if size is None:
            return kind
        rows *= size
    return f"{rows:,} rows, {kind}"


def _data(ready: Prepared) -> dict[str, Any]:
    from commutes.counterfactuals import census, counterfactuals, plan

    spec, swap = ready.spec, [{variable} for variable in ready.variables]
    planned = plan(
        ready.algorithm,
        target=spec.challenge.target,
        swap=swap,
        distribution=ready.distribution,
        share=1.0 if spec.data.census else spec.data.split.test,
        seed=spec.seed,
    )
    if spec.data.census:
        drawn = census(ready.algorithm, swap=swap)
        parts = {"complete domain": drawn}
    else:
        drawn = counterfactuals(
            ready.algorithm, spec.data.pairs, swap=swap, distribution=ready.distribution, seed=spec.seed
        )
        shares = spec.data.split
        divided = drawn.split(train=shares.train, select=shares.select, test=shares.test)
        parts = {str(part.part): part for part in divided}
    measured = list(parts.values())[-1]
    return {
        "pairs": len(drawn),
        "census": spec.data.census,
        "distribution": drawn.distribution,
        "parts": {name: {"pairs": len(part), "inputs": len(part.ids)} for name, part in parts.items()},
        "plan": str(planned),
        "coverage": str(measured.coverage()),
    }


def _grid(grid: Grid) -> dict[str, Any]:
    return {
        "rows": [{"site": row.label, "width": row.width} for row in grid.rows],
        "sizes": list(grid.sizes),
        "variables": [variable.name for variable in grid.variables],
        "cells": len(grid.cells),
    }


def _text(found: dict[str, Any]) -> str:
    from commutes.report._text import table

    spec, algorithm, data, grid = found["spec"], found["algorithm"], found["data"], found["grid"]
    variables = [
        [
            variable["name"] + ("*" if variable["claimed"] else ""),
            variable["kind"],
            variable["domain"],
            "from " + ", ".join(variable["parents"]) if variable["parents"] else "",
            variable["table"] or "",
        ]
        for variable in algorithm["variables"]
    ]
    places = [[row["site"], f"width {row['width']}"] for row in grid["rows"]]
    inputs = "infinitely many inputs" if algorithm["inputs"] is None else f"{algorithm['inputs']:,} inputs"
    parts = (
        f"{name}: {part['pairs']:,} pairs of {part['inputs']:,} inputs"
        for name, part in data["parts"].items()
    )
    lines = [
        f"spec       {spec['file']} is valid",
        f"algorithm  {algorithm['name']}: {inputs} (* claimed)",
        *_indented(table(_clean(variables))),
        f"data       {data['pairs']:,} pairs, inputs drawn by {data['distribution']}",
        *_indented(parts),
        "plan",
        *_indented(data["plan"].splitlines()),
        "coverage   of what is measured, before any network is run",
        *_indented(data["coverage"].splitlines()),
        f"network    {found['network']['name']}, untrained: every place exists and is wide enough",
        *_indented(table(_clean(places))),
        f"sweep      {len(grid['rows'])} places x {len(grid['sizes'])} sizes = {grid['cells']} cells",
    ]
    return _output.visible("\n".join(lines))


def _clean(rows: list[list[str]]) -> list[list[str]]:
    return [[_output.visible(cell) for cell in row] for row in rows]


def _indented(lines: Any) -> list[str]:
    return ["           " + line for line in lines]

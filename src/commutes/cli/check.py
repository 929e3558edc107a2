"""`commutes check`: everything that can be said about a spec before anything is trained."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from commutes.cli import _output
from commutes.cli._options import DebugOption, JsonOption, SetOption, SpecArgument
from commutes.cli._prepared import Prepared, prepared
from commutes.cli._status import Status, guarded
from commutes.errors import CommutesError

if TYPE_CHECKING:
    from commutes.counterfactuals import Counterfactuals
    from commutes.search import Grid

__all__ = ["check"]

_MOST = 12


@guarded
def check(
    spec: SpecArgument, overrides: SetOption = None, as_json: JsonOption = False, debug: DebugOption = False
) -> int:
    """Check a spec before anything is trained."""
    ready = prepared(spec, overrides)
    parts = _parts(ready)
    found: dict[str, Any] = {
        "spec": _spec(ready),
        "algorithm": _algorithm(ready),
        "data": _data(ready, parts),
    }

    try:
        found |= _network(ready, parts)
    except CommutesError:
        # What could be said is said first; a half of the JSON would look like the whole.
        if not as_json:
            _output.say(_text(found))
        raise
    _output.say(json.dumps(found, indent=1) if as_json else _text(found))
    return Status.COMPLETED


def _network(ready: Prepared, parts: Mapping[str, Counterfactuals]) -> dict[str, Any]:
    from commutes.search import all_inputs, blamed, build_network, check_off_task, check_variants, grid

    network = build_network(ready.hypothesis, ready.spec, ready.algorithm, seed=ready.spec.seed)
    inputs = all_inputs(list(parts.values()))
    with blamed(ready.hypothesis):
        places = grid(ready.spec, ready.algorithm, network, inputs=inputs)
        check_variants(ready.spec, ready.algorithm, network, inputs=inputs)
        check_off_task(ready.hypothesis, ready.spec, ready.algorithm, network)
    described: dict[str, Any] = {"name": network.name, "blocks": list(network.blocks)}
    if network.language is not None:
        described["prompts"] = len(next(iter(inputs.values())))
    return {"network": described, "grid": _grid(places)}


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


def _parts(ready: Prepared) -> dict[str, Counterfactuals]:
    """The data by part, the one that is measured last."""
    from commutes.counterfactuals import census, counterfactuals
    from commutes.search import swap_sets

    spec, swap = ready.spec, swap_sets(ready.spec, ready.algorithm)
    if spec.data.census:
        return {"complete domain": census(ready.algorithm, swap=swap)}
    drawn = counterfactuals(
        ready.algorithm, spec.data.pairs, swap=swap, distribution=ready.distribution, seed=spec.seed
    )
    shares = spec.data.split
    divided = drawn.split(train=shares.train, select=shares.select, test=shares.test)
    return {str(part.part): part for part in divided}


def _data(ready: Prepared, parts: Mapping[str, Counterfactuals]) -> dict[str, Any]:
    from commutes.counterfactuals import plan
    from commutes.search import swap_sets

    spec = ready.spec
    planned = plan(
        ready.algorithm,
        target=spec.challenge.target,
        swap=swap_sets(spec, ready.algorithm),
        distribution=ready.distribution,
        share=1.0 if spec.data.census else spec.data.split.test,
        seed=spec.seed,
    )
    measured = list(parts.values())[-1]
    pairs = len(measured) if spec.data.census else spec.data.pairs
    return {
        "pairs": pairs,
        "census": spec.data.census,
        "distribution": measured.distribution,
        "parts": {name: {"pairs": len(part), "inputs": len(part.ids)} for name, part in parts.items()},
        "too_few": None if spec.data.census else _too_few(measured, pairs),
        "plan": str(planned),
        "coverage": str(measured.coverage()),
    }


def _too_few(measured: Counterfactuals, asked: int) -> str | None:
    """What to say where a swap set x stratum of the measured part has too few pairs for a gate."""
    from commutes.counterfactuals import GATED

    counts = {
        (swap.label, stratum): int(((measured.swap == s) & (measured.stratum == t)).sum())
        for s, swap in enumerate(measured.swaps)
        for t, stratum in enumerate(measured.strata)
        if measured.weights.get((swap.label, stratum), 0) > 0
    }
    low = [cell for cell, count in counts.items() if count < GATED]
    if not low:
        return None
    fewest = min(counts.values())
    # Pairs fall into cells in proportion to data.pairs, give or take a rounding.
    needed = 100 * math.ceil(asked * (GATED + 1) / max(fewest, 1) / 100)
    ask = f"data.pairs of at least {needed:,}" if fewest else "more data.pairs"
    where = f"{len(low)} of {len(counts)} cells" if len(low) > 1 else " · ".join(low[0])
    return f"too few: {fewest:,} pairs per cell ({where}), {GATED} are needed to pass a gate: {ask}"


def _grid(grid: Grid) -> dict[str, Any]:
    return {
        "rows": [{"site": row.label, "width": row.width} for row in grid.rows],
        "sizes": list(grid.sizes),
        "variables": [variable.name for variable in grid.variables],
        "cells": len(grid.cells),
    }


def _text(found: dict[str, Any]) -> str:
    from commutes.report._text import table

    spec, algorithm, data = found["spec"], found["algorithm"], found["data"]
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
        *_indented([data["too_few"]] if data["too_few"] else []),
        "plan",
        *_indented(data["plan"].splitlines()),
        "coverage   of what is measured, before any network is run",
        *_indented(data["coverage"].splitlines()),
    ]
    if "grid" in found:
        grid = found["grid"]
        places = [[row["site"], f"width {row['width']}"] for row in grid["rows"]]
        network = found["network"]
        state = "as it was loaded" if spec["resolved"]["network"]["pretrained"] else "untrained"
        lines += [
            f"network    {network['name']}, {state}: every place exists and is wide enough",
            *_indented(_shortened(table(_clean(places)))),
            *(
                [f"prompts    every position is found in all {network['prompts']:,} prompts"]
                if "prompts" in network
                else []
            ),
            f"sweep      {len(grid['rows'])} places x {len(grid['sizes'])} sizes = {grid['cells']} cells",
        ]
    return _output.visible("\n".join(lines))


def _shortened(lines: list[str]) -> list[str]:
    """A sweep over all layers and positions in a few lines."""
    return (
        lines
        if len(lines) <= _MOST
        else [*lines[: _MOST - 2], f"... {len(lines) - _MOST + 1} more", lines[-1]]
    )


def _clean(rows: list[list[str]]) -> list[list[str]]:
    return [[_output.visible(cell) for cell in row] for row in rows]


def _indented(lines: Any) -> list[str]:
    return ["           " + line for line in lines]

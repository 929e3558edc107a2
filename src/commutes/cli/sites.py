"""`commutes sites`: the places of a network at which a variable may be sought."""

from __future__ import annotations

import json

from commutes.cli import _output
from commutes.cli._options import DebugOption, JsonOption, SetOption, SpecArgument
from commutes.cli._prepared import prepared
from commutes.cli._status import Status, guarded

__all__ = ["sites"]


@guarded
def sites(
    spec: SpecArgument, overrides: SetOption = None, as_json: JsonOption = False, debug: DebugOption = False
) -> int:
    """List the places of a network, with their widths."""
    ready = prepared(spec, overrides)

    from commutes.search import blamed, build_network, sample_values

    network = build_network(ready.hypothesis, ready.spec, ready.algorithm, seed=ready.spec.seed)
    with blamed(ready.hypothesis):
        calls = network.probe(sample_values(ready.algorithm, 2, seed=ready.spec.seed))
    layers = {path: number for number, path in enumerate(network.blocks)}
    rows = [
        {
            "path": call.path,
            "layer": layers.get(call.path),
            "module": call.kind,
            "calls": call.calls,
            "shape": None if call.shape is None else list(call.shape[1:]),
            "width": None if call.shape is None or call.note else _product(call.shape[1:]),
            "note": call.note,
        }
        for call in calls
        if call.path
    ]
    _output.say(
        json.dumps({"network": network.name, "places": rows}, indent=1)
        if as_json
        else _table(network.name, rows)
    )
    return Status.COMPLETED


def _product(shape: tuple[int, ...]) -> int:
    width = 1
    for length in shape:
        width *= length
    return width


def _table(name: str, rows: list[dict[str, object]]) -> str:
    from commutes.report._text import table

    header = ["layer", "path", "module", "calls", "shape", "width", ""]
    lines = [
        [
            "" if row["layer"] is None else str(row["layer"]),
            _output.visible(str(row["path"])),
            str(row["module"]),
            str(row["calls"]),
            "-" if row["shape"] is None else "x".join(map(str, row["shape"])) or "-",  # type: ignore[arg-type]
            "-" if row["width"] is None else str(row["width"]),
            _output.visible(str(row["note"])),
        ]
        for row in rows
    ]
    title = f"{_output.visible(name)}: the output of each module, one example, untrained network"
    return "\n".join([title, "", *table([header, *lines], right=[0, 3, 5])])

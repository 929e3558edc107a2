"""`commutes sites`: the places of a network at which a variable may be sought."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from commutes.cli import _output
from commutes.cli._options import DebugOption, JsonOption, SetOption, SpecArgument
from commutes.cli._prepared import prepared
from commutes.cli._status import Status, guarded

if TYPE_CHECKING:
    from commutes.network import Network

__all__ = ["sites"]

ModulesOption = Annotated[bool, typer.Option("--modules", help="Of a language model list every module, too.")]


@guarded
def sites(
    spec: SpecArgument,
    overrides: SetOption = None,
    modules: ModulesOption = False,
    as_json: JsonOption = False,
    debug: DebugOption = False,
) -> int:
    """List the places of a network, with their widths."""
    ready = prepared(spec, overrides)

    from commutes.search import blamed, build_network, sample_values

    network = build_network(ready.hypothesis, ready.spec, ready.algorithm, seed=ready.spec.seed)
    with blamed(ready.hypothesis):
        values = sample_values(ready.algorithm, 2, seed=ready.spec.seed)
        rows = _modules(network, values)
        language = _language(network, values)
    if as_json:
        found = {"network": network.name, "places": rows, **({"language": language} if language else {})}
        _output.say(json.dumps(found, indent=1))
        return Status.COMPLETED
    lines = _language_lines(network.name, language) if language else []
    if not language or modules:
        lines += [*([""] if lines else []), *_table(network.name, rows)]
    _output.say("\n".join(lines))
    return Status.COMPLETED


def _modules(network: Network, values: Mapping[str, Any]) -> list[dict[str, Any]]:
    layers = {path: number for number, path in enumerate(network.blocks)}
    return [
        {
            "path": call.path,
            "layer": layers.get(call.path),
            "module": call.kind,
            "calls": call.calls,
            "shape": None if call.shape is None else list(call.shape[1:]),
            "width": None if call.shape is None or call.note else _product(call.shape[1:]),
            "note": call.note,
        }
        for call in network.probe(values)
        if call.path
    ]


def _language(network: Network, values: Mapping[str, Any]) -> dict[str, Any]:
    """The places and positions of a language model; nothing for any other network."""
    from commutes.search import named_places, prompt_tokens

    if network.language is None:
        return {}
    prompt = network.language.prompt
    return {
        "layers": len(network.blocks),
        "names": [
            {
                "name": p.name,
                "width": p.width,
                "heads": p.heads,
                "module": p.module,
                "hook": p.hook,
                "note": p.note,
            }
            for p in named_places(network, values)
        ],
        "template": str(prompt.template),
        "prompt": prompt.tokens({name: column[:1] for name, column in values.items()})[0].text,
        "tokens": [
            {"text": token.text, "number": token.number, "positions": list(token.words)}
            for token in prompt_tokens(network, values)
        ],
    }


def _product(shape: tuple[int, ...]) -> int:
    width = 1
    for length in shape:
        width *= length
    return width


def _language_lines(name: str, language: Mapping[str, Any]) -> list[str]:
    from commutes.report._text import plural, table

    layers = language["layers"]
    names = [["claim.place", "width", "heads", "module in layer 0", "in TransformerLens"]] + [
        [
            row["name"],
            "-" if row["width"] is None else str(row["width"]),
            "" if row["heads"] is None else str(row["heads"]),
            _output.visible(row["module"] or row["note"]),
            row["hook"],
        ]
        for row in language["names"]
    ]
    tokens = [["token", "by number", "in words"]] + [
        [
            "fed" if row["number"] is None else _output.visible(repr(row["text"])),
            "" if row["number"] is None else str(row["number"]),
            ", ".join(row["positions"]),
        ]
        for row in language["tokens"]
    ]
    numbers = f", claim.layers from 0 to {layers - 1}" if layers else ", whose blocks are not known"
    return [
        f"{_output.visible(name)}: {plural(layers, 'layer')}{numbers}; each of them has",
        "",
        *_indented(table(names, right=[1, 2])),
        "",
        f"claim.positions, in the prompt {_output.visible(repr(language['prompt']))} "
        f"of the template {_output.visible(repr(language['template']))}",
        "",
        *_indented(table(tokens, right=[1])),
        "",
        "Module paths go under claim.sites; --modules lists them.",
    ]


def _indented(lines: Sequence[str]) -> list[str]:
    return ["  " + line for line in lines]


def _table(name: str, rows: Sequence[Mapping[str, Any]]) -> list[str]:
    from commutes.report._text import table

    header = ["layer", "path", "module", "calls", "shape", "width", ""]
    lines = [
        [
            "" if row["layer"] is None else str(row["layer"]),
            _output.visible(str(row["path"])),
            str(row["module"]),
            str(row["calls"]),
            "-" if row["shape"] is None else "x".join(map(str, row["shape"])) or "-",
            "-" if row["width"] is None else str(row["width"]),
            _output.visible(str(row["note"])),
        ]
        for row in rows
    ]
    title = f"{_output.visible(name)}: the output of each module, one example, untrained network"
    return [title, "", *table([header, *lines], right=[0, 3, 5])]

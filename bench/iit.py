"""Interchange-intervention training on hierarchical equality of real vectors, the experiment of Stanford's CS224u.

A 16-16-16-16-2 ReLU network, 10,000 training examples; the first equality goes into units 0 to 3 of the first hidden
layer (V1), the second into units 4 to 7 (V2). One row per seed and training, as JSON, and the page that reads them.
See Inducing Causal Structure for Interpretable Neural Networks, arXiv 2112.00826.

    python bench/iit.py --out docs/iit.json                     everything, on one core
    python bench/iit.py --seeds 10 11 --kinds both              some rows, printed
    python bench/iit.py --smoke                                 a small form, seconds; a test recomputes it
    python bench/iit.py --page --out docs/iit.json              only the page again
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
from provenance import ROOT, dumped, library_hash, provenance, say

import commutes as cm
from commutes.stats import clopper_pearson
from commutes.training import IIT

COMMAND = "python bench/iit.py --out docs/iit.json"
UNITS = {"left": range(4), "right": range(4, 8)}
LEAST, MOST = 0.99, 0.60
SETTINGS = IIT(steps=8_000, batch=256, lr=3e-3, every=500)


@dataclass(frozen=True)
class Config:
    """What is run."""

    seeds: tuple[int, ...] = tuple(range(5))
    train: int = 10_000
    select: int = 1_000
    test: int = 4_000
    settings: IIT = SETTINGS


SMOKE = Config((0,), 6_000, 500, 800, IIT(steps=700, batch=256, lr=1e-2, every=350))


@dataclass(frozen=True)
class Kind:
    """What a network is trained for."""

    words: str
    variables: tuple[str, ...]
    changes: Mapping[str, Any]


KINDS = {
    "task": Kind("the task alone", ("left", "right"), {"interchange": 0.0}),
    "first": Kind("V1", ("left",), {}),
    "both": Kind("V1 and V2", ("left", "right"), {}),
    "unit": Kind("V1 and V2, strict by unit", ("left", "right"), {"strict": 1.0, "strictness": "unit"}),
    "joint": Kind("V1 and V2, strict jointly", ("left", "right"), {"strict": 1.0, "strictness": "joint"}),
}


def hypotheses() -> ModuleType:
    """algorithms/equality.py."""
    spec = importlib.util.spec_from_file_location("equality", ROOT / "algorithms" / "equality.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def row(seed: int, kind: str, config: Config) -> dict[str, Any]:
    """Train one network and measure it."""
    begin = time.perf_counter()
    equality, wanted = hypotheses(), KINDS[kind]
    algorithm = equality.anchor_algorithm()
    units = cm.Coordinates(equality.anchor_network(algorithm, seed=seed).site("layers.0"))
    claim = cm.Alignment(algorithm, {algorithm[v]: units[UNITS[v]] for v in wanted.variables})
    both = cm.Alignment(algorithm, {algorithm[v]: units[i] for v, i in UNITS.items()})

    def pairs(n: int, names: Sequence[str], seed: int) -> cm.Counterfactuals:
        swap = [{algorithm[name]} for name in names]
        return cm.counterfactuals(
            algorithm, n, swap=swap, distribution=equality.ANCHOR, reuse=False, seed=seed
        )

    # Of real vectors no two draws share one; that is what the assertion holds.
    train = pairs(config.train, wanted.variables, seed)
    select = pairs(config.select, wanted.variables, 2_000 + seed)
    test = pairs(config.test, list(UNITS), 1_000 + seed)
    assert not np.isin(test.input_ids, [*train.input_ids, *select.input_ids]).any()
    settings = replace(config.settings, **wanted.changes)
    trained = cm.train_network(claim, train, seed=seed, settings=settings, select=select)
    measured = both.on(trained.network)
    found = cm.evaluate(measured, test)
    return {
        "seed": seed,
        "kind": kind,
        "training_inputs": len(train.ids),
        "chosen_step": trained.history["chosen_step"],
        "accuracy": found.accuracy.as_dict(),
        "variables": {name: variable(found, name) for name in UNITS},
        "floors": {name: floor.rate for name, floor in found.floors.items()},
        "strictness": cm.strictness(measured, test, seed=seed).record(),
        "seconds": round(time.perf_counter() - begin),
    }


def variable(found: cm.Evaluation, name: str) -> dict[str, Any]:
    """The IIA of one variable: over random pairs, and in its worst stratum."""
    natural = found.natural[name]
    assert natural is not None
    cells = [cell for cell in found.cells if cell.swap == name and cell.rate is not None]
    worst = min(cells, key=lambda cell: cell.rate.rate if cell.rate else 1.0)
    assert worst.rate is not None
    return {
        "natural": dict(zip(("rate", "low", "high"), natural, strict=True)),
        "n": found.variables[name].n,
        "worst": {"stratum": worst.stratum, **worst.rate.as_dict()},
    }


def page(result: Mapping[str, Any]) -> str:
    """docs/iit.md."""
    rows: Sequence[Mapping[str, Any]] = result["rows"]
    config = result["config"]
    settings = config["settings"]
    lines = [
        "# Interchange-intervention training of a small network",
        "",
        f"Made by `{result['command']}`, torch {result['versions']['torch']}; SHA-256 of src/commutes and "
        f"algorithms/equality.py {result['code']['sha256'][:16]}. One core, {result['seconds']:,} s in all; the "
        "numbers are in `iit.json`.",
        "",
        "Hierarchical equality of four vectors of four real numbers, a 16-16-16-16-2 ReLU network, first hidden layer: "
        "V1, whether the first two vectors are equal, is to be in units 0 to 3; V2, whether the last two are, in units "
        "4 to 7. The loss is the cross-entropy of the answers after interchanges of the variables that are trained, "
        "plus that of the answers without, plus, where it says strict, that of the base's answers after units 8 to 15 "
        "were taken from another input: one of them, drawn for every pair, or all jointly. Every weight is 1 or 0. "
        f"{config['train']:,} pairs of {2 * config['train']:,} inputs train, {config['select']:,} on other inputs "
        f"choose the step, {config['test']:,} on others still are measured, half for each variable. "
        f"{settings['steps']:,} steps of {settings['batch']} pairs, Adam at {settings['lr']:g} falling to 0 by a "
        "cosine. Length, batch and rate were chosen on the seeds 10 to 13; the seeds below were not looked at for it.",
        "",
        "*accuracy*: without intervention, on the inputs of the test pairs. *natural*: IIA with the weights of random "
        "pairs, as the course has it; half of random pairs need no change, so that doing nothing has about .5. "
        "*worst*: the lowest of the four strata, each of "
        f"{config['test'] // 8:,} pairs. *stays jointly, by unit, worst unit*: how often the answer to a base stays "
        "when units 8 to 15 come from another input all at once, one drawn at random, or the one on which the answer "
        "hangs most. Brackets are 95 % intervals.",
        "",
        "| trained | seed | step | accuracy | V1 natural | V1 worst | V2 natural | V2 worst | stays jointly | by unit "
        "| worst unit |",
        "|---|--:|--:|---|---|---|---|---|---|---|---|",
        *(line(one) for one in rows),
        "",
        *summary(rows),
        "",
    ]
    return "\n".join(lines)


def line(one: Mapping[str, Any]) -> str:
    """A row of the table."""
    kept, found = one["strictness"], one["variables"]
    worst = min(kept["units"].values(), key=lambda rate: rate["rate"])
    cells = [
        KINDS[one["kind"]].words,
        str(one["seed"]),
        f"{one['chosen_step']:,}",
        interval(one["accuracy"]),
        *(interval(found[name][part]) for name in UNITS for part in ("natural", "worst")),
        *(interval(rate) for rate in (kept["joint"], kept["unit"], worst)),
    ]
    return f"| {' | '.join(cells)} |"


def summary(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """What was to be shown, and in how many seeds it is."""

    def natural(kind: str, name: str) -> list[float]:
        return [r["variables"][name]["natural"]["rate"] for r in rows if r["kind"] == kind]

    def accuracy(kind: str) -> list[float]:
        return [r["accuracy"]["rate"] for r in rows if r["kind"] == kind]

    def joint(kind: str) -> list[float]:
        return [r["strictness"]["joint"]["rate"] for r in rows if r["kind"] == kind]

    return [
        "| what | over the seeds: least, median, most | target | seeds that reach it |",
        "|---|---|---|---|",
        *(
            spread(words, values, target)
            for words, values, target in (
                ("the task alone: accuracy", accuracy("task"), None),
                ("the task alone: V1, natural", natural("task", "left"), None),
                ("the task alone: V2, natural", natural("task", "right"), None),
                ("V1 trained: accuracy", accuracy("first"), f">= {LEAST}"),
                ("V1 trained: V1, natural", natural("first", "left"), f">= {LEAST}"),
                ("V1 trained: V2, natural (the negative control)", natural("first", "right"), f"<= {MOST}"),
                ("both trained: accuracy", accuracy("both"), f">= {LEAST}"),
                ("both trained: V1, natural", natural("both", "left"), f">= {LEAST}"),
                ("both trained: V2, natural", natural("both", "right"), f">= {LEAST}"),
                ("the task alone: stays jointly", joint("task"), None),
                ("both trained: stays jointly", joint("both"), None),
                ("both trained, strict by unit: stays jointly", joint("unit"), None),
                ("both trained, strict jointly: stays jointly", joint("joint"), None),
                (
                    "both trained, strict jointly: the lower of V1 and V2, natural",
                    list(map(min, natural("joint", "left"), natural("joint", "right"))),
                    None,
                ),
            )
            if values
        ),
    ]


def spread(words: str, values: Sequence[float], target: str | None) -> str:
    """A row of the second table."""
    three = ", ".join(share(f(values)) for f in (min, statistics.median, max))
    if target is None:
        return f"| {words} | {three} | | |"
    sign, bound = target.split()
    hits = sum(v >= float(bound) if sign == ">=" else v <= float(bound) for v in values)
    low, high = clopper_pearson(hits, len(values), alpha=0.025)
    limit = f"{'at least' if sign == '>=' else 'at most'} {share(float(bound), 2)}"
    return f"| {words} | {three} | {limit} | {hits} of {len(values)} [{share(low, 2)}, {share(high, 2)}] |"


def share(value: float, digits: int = 3) -> str:
    """.953; 1 as 1.000, and nothing below 1 rounded up to it."""
    text = f"{value:.{digits}f}"
    if value < 1 and float(text) == 1:
        return ">." + "9" * digits
    return text.removeprefix("0") if value < 1 else text


def interval(rate: Mapping[str, float]) -> str:
    """.953 [.941, .963]."""
    return f"{share(rate['rate'])} [{share(rate['low'])}, {share(rate['high'])}]"


def measured(config: Config, kinds: Sequence[str]) -> list[dict[str, Any]]:
    """All rows, kind by kind."""
    rows = []
    for kind in kinds:
        for seed in config.seeds:
            rows.append(row(seed, kind, config))
            say(line(rows[-1]), f"{rows[-1]['seconds']} s")
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description="Write docs/iit.json and docs/iit.md.")
    parser.add_argument("--out", type=Path, help="the JSON file; the page goes beside it")
    parser.add_argument("--seeds", type=int, nargs="*")
    parser.add_argument("--kinds", nargs="*", choices=list(KINDS), default=list(KINDS))
    parser.add_argument("--smoke", action="store_true", help="print the rows of the small form")
    parser.add_argument("--page", action="store_true", help="only write the page of the JSON file again")
    given = parser.parse_args()
    torch.set_num_threads(1)
    if given.smoke:
        print(dumped({"rows": measured(SMOKE, ["first"])}))
        return
    if not given.page:
        config = replace(Config(), seeds=tuple(given.seeds)) if given.seeds else Config()
        begin, code = time.perf_counter(), library_hash()
        rows = measured(config, given.kinds)
        result = provenance(COMMAND, code, time.perf_counter() - begin)
        result |= {"config": asdict(config), "rows": rows, "smoke": {"rows": measured(SMOKE, ["first"])}}
        if given.out is None:
            return
        given.out.write_text(dumped(result), encoding="utf-8")
    result = json.loads(given.out.read_text(encoding="utf-8"))
    given.out.with_suffix(".md").write_text(page(result), encoding="utf-8")


if __name__ == "__main__":
    main()

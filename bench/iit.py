"""Interchange-intervention training on hierarchical equality of real vectors, the experiment of Stanford's CS224u.

A 16-16-16-16-2 ReLU network, 10,000 training examples; the first equality goes into units 0 to 3 of the first hidden
layer (V1), the second into units 4 to 7 (V2). One row per seed and training, as JSON, and the page that reads them.
See Inducing Causal Structure for Interpretable Neural Networks, arXiv 2112.00826.

    python bench/iit.py --out docs/iit.json                     everything, on one core
    python bench/iit.py --seeds 10 11 --kinds both              some rows, printed
    python bench/iit.py --smoke                                 a small form, seconds; a test recomputes it
    python bench/iit.py --course --out docs/iit_course.json     V1 alone where and as the course trains it
    python bench/iit.py --page --out docs/iit.json              only the page again
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from iit_page import line, page
from provenance import ROOT, dumped, library_hash, provenance, say
from shipped import shipped

import commutes as cm
from commutes.training import IIT

COMMAND = "python bench/iit.py --out docs/iit.json"
COURSE_COMMAND = "python bench/iit.py --course --out docs/iit_course.json"
UNITS = {"left": range(4), "right": range(4, 8)}
SETTINGS = IIT(steps=16_000, batch=256, lr=3e-3, every=500)


@dataclass(frozen=True)
class Config:
    """What is run."""

    seeds: tuple[int, ...] = tuple(range(5))
    train: int = 10_000
    select: int = 1_000
    test: int = 4_000
    settings: IIT = SETTINGS
    layer: str = "layers.0"


# The notebook counts layers from 0: what it names layer 1 is the second hidden one. Batches of 1,028 for about 700
# epochs of 10,000 pairs, Adam at 1e-3, until the loss no longer falls.
COURSE = Config(
    seeds=(10, 11, 12, 13),
    settings=IIT(steps=7_000, batch=1_028, lr=1e-3, schedule="constant", every=500),
    layer="layers.1",
)
SMOKE = Config((0,), 6_000, 500, 800, IIT(steps=700, batch=256, lr=1e-2, every=350))


@dataclass(frozen=True)
class Kind:
    """What a network is trained for."""

    units: Mapping[str, range]
    changes: Mapping[str, Any]


KINDS = {
    "task": Kind(UNITS, {"interchange": 0.0}),
    "first": Kind({"left": UNITS["left"]}, {}),
    "elsewhere": Kind({"left": UNITS["left"], "right": range(8, 12)}, {}),
    "both": Kind(UNITS, {}),
    "unit": Kind(UNITS, {"strict": 1.0, "strictness": "unit"}),
    "joint": Kind(UNITS, {"strict": 1.0, "strictness": "joint"}),
}


def row(seed: int, kind: str, config: Config) -> dict[str, Any]:
    """Train one network and measure it."""
    begin = time.process_time()
    equality, wanted = shipped("equality"), KINDS[kind]
    algorithm = equality.anchor_algorithm()
    units = cm.Coordinates(equality.anchor_network(algorithm, seed=seed).site(config.layer))
    claim = cm.Alignment(algorithm, {algorithm[v]: units[i] for v, i in wanted.units.items()})
    both = cm.Alignment(algorithm, {algorithm[v]: units[i] for v, i in UNITS.items()})

    def pairs(n: int, names: Sequence[str], seed: int) -> cm.Counterfactuals:
        swap = [{algorithm[name]} for name in names]
        return cm.counterfactuals(
            algorithm, n, swap=swap, distribution=equality.ANCHOR, reuse=False, seed=seed
        )

    # Of real vectors no two draws share one; that is what the assertion holds.
    train = pairs(config.train, list(wanted.units), seed)
    select = pairs(config.select, list(wanted.units), 2_000 + seed)
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
        "seconds": round(time.process_time() - begin),
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


def made(
    config: Config, kinds: Sequence[str], known: dict[str, Any], out: Path | None, *, command: str = COMMAND
) -> dict[str, Any]:
    """All rows, kind by kind, written as they come; those that are known are not made again."""
    rows: list[dict[str, Any]] = known.get("rows", [])
    code = library_hash()
    if known and known["code"]["sha256"] != code:
        raise SystemExit("the rows of the file were made by other code: make them all again")
    result = known
    for kind, seed in ((kind, seed) for kind in kinds for seed in config.seeds):
        if any((one["kind"], one["seed"]) == (kind, seed) for one in rows):
            continue
        done = row(seed, kind, config)
        rows = sorted([*rows, done], key=lambda one: (list(KINDS).index(one["kind"]), one["seed"]))
        result = provenance(command, code, sum(one["seconds"] for one in rows))
        result |= {"config": asdict(config), "rows": rows}
        if out is not None:
            out.write_text(dumped(result), encoding="utf-8")
        say(line(done), f"{done['seconds']} s")
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description="Write docs/iit.json and docs/iit.md.")
    parser.add_argument("--out", type=Path, help="the JSON file; the page goes beside it")
    parser.add_argument("--seeds", type=int, nargs="*")
    parser.add_argument("--kinds", nargs="*", choices=list(KINDS), default=list(KINDS))
    parser.add_argument("--add", action="store_true", help="go on with the file, where the same code made it")
    parser.add_argument("--smoke", action="store_true", help="print the rows of the small form")
    parser.add_argument("--course", action="store_true", help="only V1, with the settings of the course")
    parser.add_argument("--page", action="store_true", help="only write the page of the JSON file again")
    given = parser.parse_args()
    torch.set_num_threads(1)
    if given.smoke:
        print(dumped({"rows": [row(0, "first", SMOKE)]}))
        return
    if given.course:
        course = made(COURSE, ["first"], {}, given.out, command=COURSE_COMMAND)
        if given.out is None:
            print(dumped(course))
        return
    if not given.page:
        config = replace(Config(), seeds=tuple(given.seeds)) if given.seeds else Config()
        known = json.loads(given.out.read_text(encoding="utf-8")) if given.add else {}
        result = made(config, given.kinds, known, given.out)
        if given.out is None:
            return
        result["smoke"] = {"rows": [row(0, "first", SMOKE)]}
        given.out.write_text(dumped(result), encoding="utf-8")
    result = json.loads(given.out.read_text(encoding="utf-8"))
    course = json.loads((ROOT / "docs" / "iit_course.json").read_text(encoding="utf-8"))
    given.out.with_suffix(".md").write_text(page(result, course), encoding="utf-8")


if __name__ == "__main__":
    main()

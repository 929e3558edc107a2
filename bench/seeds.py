"""The main job over ten network seeds: how much of one run is the luck of its seed?

Runs alignments/equality.toml with `seed = 0` to `9`, each into a folder of its own, and writes one row per
seed as JSON and the page that reads them. The seed is that of the network's weights and training, of the
pairs and of the fits, so the spread is that of the whole job.

    python bench/seeds.py --out docs/seeds.json        about ten times `commutes run equality`
"""

from __future__ import annotations

import argparse
import hashlib
import json
import statistics
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from provenance import ROOT, dumped, library_hash, provenance, say

from commutes.search import read_spec, run
from commutes.stats import clopper_pearson

SPEC = ROOT / "alignments" / "equality.toml"
SEEDS = tuple(range(10))
COMMAND = "python bench/seeds.py --out docs/seeds.json"


def one(seed: int, folder: Path) -> dict[str, Any]:
    """The row of one seed."""
    begin = time.perf_counter()
    spec = read_spec(SPEC, overrides=[f"seed={seed}"])
    outcome = run(spec, out=folder)
    record = outcome.record
    (chosen,) = [c for c in record["selection"]["cells"] if c["chosen"]]
    found = record["evaluation"]
    return {
        "seed": seed,
        "row": chosen["row"],
        "k": chosen["column"],
        "accuracy": found["accuracy"],
        "overall": found["overall"],
        "worst": {key: found["worst"][key] for key in ("swap", "stratum", "rate", "low", "high", "cells")},
        "floors": {name: floor["rate"] for name, floor in found["floors"].items()},
        "level": record["level"],
        "verdict": record["verdict"],
        "headline": record["headline"],
        "checks": {
            check["id"]: check["answer"] for check in record["checks"] if check["answer"] != "not run"
        },
        "seconds": round(time.perf_counter() - begin),
    }


def page(result: Mapping[str, Any]) -> str:
    """docs/seeds.md."""
    rows: Sequence[Mapping[str, Any]] = result["rows"]
    fit = result["spec"]["fit"]
    lines = [
        "# The main job over ten seeds",
        "",
        f"Made by `{result['command']}` from `alignments/equality.toml` (SHA-256 "
        f"{result['spec_sha256'][:16]}), torch {result['versions']['torch']}; SHA-256 of src/commutes and "
        f"algorithms/equality.py {result['code']['sha256'][:16]}. One core, {result['seconds']:,} s in all; "
        "the numbers are in `seeds.json`.",
        "",
        "Every row is `commutes run equality --set seed=N`: the seed draws the network's weights and training, "
        "the pairs and the starts of the fits. Seed 0 is the one of the README; it was fixed before any result "
        "was seen, and the width and the weight decay of the network were chosen on the seeds 10 to 13. "
        f"Each fit is {fit['steps']:,} steps of {fit['batch']} pairs at a learning rate of "
        f"{fit['lr']:g}, {fit['starts']} starts; place and size are chosen on the selection split by the "
        "worst cell, everything below is measured on the test split.",
        "",
        "*accuracy*: the network against the algorithm, without intervention, on the inputs of the test "
        "split. *worst cell*: the lowest IIA of a swapped variable in a stratum, with a one-sided bound at "
        ".05 on each side of the minimum over cells (the upper one over the number of cells).",
        "",
        "| seed | accuracy | place | k | IIA, test | worst cell | rate [bounds] | level | verdict |",
        "|--:|--:|---|--:|---|---|---|---|---|",
    ]
    for row in rows:
        worst = row["worst"]
        lines.append(
            f"| {row['seed']} | {share(row['accuracy']['rate'], 4)} | {row['row']} | {row['k']} "
            f"| {interval(row['overall'])}, n = {row['overall']['n']:,} | {where(worst)} "
            f"| {interval(worst)} | {row['level']} | {row['verdict']} |"
        )
    lines += ["", *summary(rows), ""]
    return "\n".join(lines)


def where(worst: Mapping[str, Any]) -> str:
    """The worst cell; where it is at 1, all are."""
    return "all cells" if worst["rate"] == 1 else f"{worst['swap']}, {worst['stratum']}"


def summary(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """The distribution over seeds, in words."""
    worst = [row["worst"]["rate"] for row in rows]
    overall = [row["overall"]["rate"] for row in rows]
    reached = sum(row["level"] >= "R2" for row in rows)
    low, high = clopper_pearson(reached, len(rows), alpha=0.025)
    return [
        f"Over {len(rows)} seeds the worst cell has median {share(statistics.median(worst))}, minimum "
        f"{share(min(worst))} and maximum {share(max(worst))}; IIA over all test pairs has median "
        f"{share(statistics.median(overall))}, minimum {share(min(overall))} and maximum "
        f"{share(max(overall))}. {reached} of {len(rows)} reach R2 (share {share(reached / len(rows), 2)}, "
        f"exact 95 % interval [{share(low, 2)}, {share(high, 2)}])."
    ]


def share(value: float, digits: int = 3) -> str:
    """.953; 1 as 1.000."""
    text = f"{value:.{digits}f}"
    return text.removeprefix("0") if value < 1 else text


def interval(rate: Mapping[str, float]) -> str:
    """.953 [.941, .963]."""
    return f"{share(rate['rate'])} [{share(rate['low'])}, {share(rate['high'])}]"


def main() -> None:
    parser = argparse.ArgumentParser(description="Write docs/seeds.json and docs/seeds.md.")
    parser.add_argument("--out", type=Path, required=True, help="the JSON file; the page goes beside it")
    parser.add_argument("--seeds", type=int, nargs="*", default=SEEDS)
    parser.add_argument("--work", type=Path, help="a folder that keeps the run folders")
    parser.add_argument("--page", action="store_true", help="only write the page of the JSON file again")
    given = parser.parse_args()
    torch.set_num_threads(1)
    if given.page:
        result = json.loads(given.out.read_text(encoding="utf-8"))
    else:
        result = measured(given.seeds, given.work)
        given.out.write_text(dumped(result), encoding="utf-8")
    given.out.with_suffix(".md").write_text(page(result), encoding="utf-8")


def measured(seeds: Sequence[int], work: Path | None) -> dict[str, Any]:
    """All rows, with how they were made."""
    begin, code = time.perf_counter(), library_hash()
    sha, spec = hashlib.sha256(SPEC.read_bytes()).hexdigest(), read_spec(SPEC)
    rows = []
    with tempfile.TemporaryDirectory() as temporary:
        for seed in seeds:
            rows.append(one(seed, (work or Path(temporary)) / f"seed{seed}"))
            say(json.dumps(rows[-1]))
    result: dict[str, Any] = provenance(COMMAND, code, time.perf_counter() - begin)
    return result | {"spec_sha256": sha, "spec": spec.model_dump(mode="json"), "rows": rows}


if __name__ == "__main__":
    main()

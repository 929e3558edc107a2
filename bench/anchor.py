"""The anchor: distributed alignment search in ten networks trained on equality of real vectors.

Networks, training and tasks are those of Geiger et al., Finding Alignments Between Interpretable Causal
Variables and Distributed Neural Representations, arXiv 2303.02536, as Sutter et al., arXiv 2507.08802, ran
them again. One row per (task, layer, k, network), as JSON; bench/anchor_page.py makes the page of it.

    python bench/anchor.py --out docs/anchor.json               everything: about 20 minutes of one core
    python bench/anchor.py --only layer=1,k=8,network=0         one row, printed
    python bench/anchor.py --smoke                              a small form, seconds; a test recomputes it

The ten networks of a cell are fitted as one batch. Each gets what it would get alone but for rounding, which
depends on the size of a batch; `--only` therefore fits all ten and measures one.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from anchor_pairs import SHARES, TASKS, Counts, Data, draw
from provenance import dumped, library_hash, provenance, say
from safetensors import safe_open
from safetensors.torch import save_file
from shipped import shipped

from commutes.algorithm import Algorithm
from commutes.alignment import Alignment
from commutes.evaluation import bench, evaluate
from commutes.features import Rotation
from commutes.network import Network
from commutes.stats import rate
from commutes.training import Settings, fit_many

FIT = Settings(steps=1_500, lr=1e-2, batch=512, starts=1, every=100)
WORST = ("swap", "stratum", "rate", "low", "high", "cells")
# Layer and settings of other fits of both equalities with k = 8.
BUDGETS = (
    (1, replace(FIT, steps=3_000)),
    (1, replace(FIT, lr=1e-3)),
    (1, replace(FIT, lr=1e-3, steps=6_000)),
    (1, replace(FIT, starts=3)),
    (3, replace(FIT, lr=1e-3, steps=6_000)),
)


@dataclass(frozen=True)
class Config:
    """What is run; seeds are the numbers of the networks."""

    networks: int = 10
    draws: int = 1_048_576
    epochs: int = 20
    layers: tuple[int, ...] = (1, 2, 3)
    sizes: tuple[int, ...] = (1, 2, 8)
    tasks: tuple[str, ...] = tuple(TASKS)
    pairs: int = 40_000
    """The library's pairs for both equalities, over train, select and test."""
    control_pairs: int = 16_000
    """The library's pairs for the control."""
    published_train: int = 20_000
    published_select: int = 4_000
    published_test: int = 10_000
    fit: Settings = FIT
    budgets: tuple[tuple[int, Settings], ...] = BUDGETS

    def counts(self, task: str) -> Counts:
        """How many pairs a task has."""
        published = (self.published_train, self.published_select, self.published_test)
        return Counts(self.pairs if task == "both" else self.control_pairs, published)


SMOKE = Config(
    networks=2,
    draws=65_536,
    epochs=8,
    layers=(1,),
    sizes=(8,),
    tasks=("both", "first"),
    pairs=2_000,
    published_train=2_000,
    published_select=500,
    published_test=1_000,
    fit=replace(FIT, steps=200, batch=128),
    budgets=(),
)


def trained(eq: ModuleType, config: Config, cache: Path | None) -> tuple[list[Network], float]:
    """The networks, trained together as one batch, and how long it took; read from `cache` if it is there."""
    networks = [eq.anchor_network(eq.anchor_algorithm(), seed=s) for s in range(config.networks)]
    if cache is not None and cache.exists():
        with safe_open(cache, "pt") as kept:
            for i, network in enumerate(networks):
                own = {name: kept.get_tensor(f"{i}.{name}") for name in network.module.state_dict()}
                network.module.load_state_dict(own)
            return networks, float(kept.metadata()["seconds"])
    begin = time.perf_counter()
    seeds = range(config.networks)
    networks = eq.anchor_train_many(networks, seeds=seeds, draws=config.draws, epochs=config.epochs)
    seconds = time.perf_counter() - begin
    say(f"trained {config.networks} networks in {seconds:.0f} s")
    if cache is not None:
        tensors = {f"{i}.{k}": t for i, n in enumerate(networks) for k, t in n.module.state_dict().items()}
        save_file(tensors, cache, metadata={"seconds": f"{seconds:.0f}"})
    return networks, seconds


def weights_hash(network: Network) -> str:
    """SHA-256 over the parameters, in their order."""
    tensors = network.module.state_dict().values()
    return hashlib.sha256(b"".join(t.numpy().tobytes() for t in tensors)).hexdigest()


def claim(network: Network, algorithm: Algorithm, task: str, layer: int, k: int) -> Alignment:
    """The task's variables in the first coordinates of one rotation of a hidden layer."""
    rotation = Rotation(network.site(f"layers.{layer - 1}"))
    names = TASKS[task]
    return Alignment(algorithm, {algorithm[v]: rotation[i * k : (i + 1) * k] for i, v in enumerate(names)})


def measured(alignment: Alignment, pairs: Data, seed: int) -> dict[str, Any]:
    """Held-out IIA of a fitted claim: the plain mean as published, and the library's own estimand."""
    row: dict[str, Any] = {}
    if pairs.published is not None:
        prepared = bench(alignment, pairs.published)
        hits = prepared.hits(alignment.featurizers)
        idle = prepared.answers.match(prepared.clean[pairs.published.base], pairs.published.expected)
        row["accuracy"] = rate(prepared.right).as_dict()
        row["published"] = rate(hits, pairs.published.members).as_dict() | {
            "do_nothing": float(idle.mean()),
            "by_swap": {
                one.label: float(hits[pairs.published.swap == i].mean())
                for i, one in enumerate(pairs.published.swaps)
            },
        }
    if pairs.library is not None:
        found = evaluate(alignment, pairs.library, seed=seed).record()
        row.setdefault("accuracy", found["accuracy"])
        row["library"] = {key: found[key] for key in ("n", "distinct_inputs", "overall")} | {
            "natural": {"rate": found["natural"]["rate"]},
            "worst": {key: found["worst"][key] for key in WORST},
            "floors": {name: floor["rate"] for name, floor in found["floors"].items()},
            "cells": [
                [c["swap"], c["stratum"], c["rate"]["hits"], c["rate"]["n"]]
                for c in found["cells"]
                if c["rate"] is not None
            ],
        }
    return row


def cell(
    networks: Sequence[Network],
    pairs: Sequence[Data],
    where: tuple[str, int, int],
    settings: Settings,
    only: int | None,
) -> list[dict[str, Any]]:
    """Fit one task at one layer and size in all networks as one batch; a row per network that is measured."""
    begin = time.perf_counter()
    task, layer, k = where
    claims = [
        claim(network, own.train.algorithm, task, layer, k)
        for network, own in zip(networks, pairs, strict=True)
    ]
    fitted = fit_many(
        claims,
        [own.train for own in pairs],
        selects=[own.select for own in pairs],
        seed=0,
        settings=settings,
    )
    seconds = time.perf_counter() - begin
    rows = []
    for number, alignment in enumerate(fitted):
        if only in (None, number):
            row = {"task": task, "layer": layer, "k": k, "network": number, "fit": asdict(settings)}
            row["chosen_step"] = alignment.history["chosen_step"]
            rows.append(row | measured(alignment, pairs[number], number))
    say(task, layer, k, asdict(settings), f"fit {seconds:.0f} s, all {time.perf_counter() - begin:.0f} s")
    return rows


def experiment(config: Config, only: Mapping[str, Any], work: Path | None, code: str) -> dict[str, Any]:
    """All rows, or those that `only` names."""
    eq = shipped("equality")
    if work is not None:
        work.mkdir(parents=True, exist_ok=True)
    networks, seconds = trained(eq, config, None if work is None else work / "networks.safetensors")
    found: dict[str, list[dict[str, Any]]] = {"rows": [], "budgets": []}
    for task in config.tasks:
        jobs = [
            ("rows", layer, k, config.fit)
            for layer in config.layers
            for k in config.sizes
            if only.get("task", task) == task and only.get("layer", layer) == layer and only.get("k", k) == k
        ]
        if task == "both" and not only:
            jobs += [("budgets", layer, 8, settings) for layer, settings in config.budgets]
        if not jobs:
            continue
        algorithm = eq.anchor_algorithm() if task == "both" else eq.anchor_control()
        begin = time.perf_counter()
        inputs = eq.anchor_distribution()
        pairs = [draw(task, algorithm, inputs, config.counts(task), seed=i) for i in range(config.networks)]
        say(task, f"pairs drawn in {time.perf_counter() - begin:.0f} s")
        for kind, layer, k, settings in jobs:
            found[kind] += _kept(work, code, networks, pairs, (task, layer, k), settings, only.get("network"))
    made = {"seconds": round(seconds), "weights_sha256": [weights_hash(network) for network in networks]}
    return {"config": asdict(config), "shares": SHARES, "networks": made, **found}


def _kept(
    work: Path | None,
    code: str,
    networks: Sequence[Network],
    pairs: Sequence[Data],
    where: tuple[str, int, int],
    settings: Settings,
    only: int | None,
) -> list[dict[str, Any]]:
    """The rows of a cell, read from the work folder where the same code has computed them already."""
    name = json.dumps([code, where, asdict(settings), only, len(networks)])
    path = None if work is None else work / (hashlib.sha256(name.encode()).hexdigest()[:24] + ".json")
    if path is not None and path.exists():
        return json.loads(path.read_text(encoding="utf-8"))
    rows = cell(networks, pairs, where, settings, only)
    if path is not None:
        path.write_text(json.dumps(rows), encoding="utf-8")
    return rows


def wanted(text: str) -> dict[str, Any]:
    """`layer=1,k=8,network=0` as a mapping."""
    known = {"task": str, "layer": int, "k": int, "network": int}
    chosen = dict(part.split("=", 1) for part in text.split(",")) if text else {}
    if unknown := [name for name in chosen if name not in known]:
        raise SystemExit(f"--only knows {', '.join(known)}, not {unknown[0]}")
    return {name: known[name](value) for name, value in chosen.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description="Write docs/anchor.json.")
    parser.add_argument("--out", type=Path, help="the JSON file; without it the rows are printed")
    parser.add_argument("--only", default="", help="task=both,layer=1,k=8,network=0, or a part")
    parser.add_argument("--smoke", action="store_true", help="the small form only")
    parser.add_argument("--work", type=Path, help="a folder that keeps trained networks and finished cells")
    given = parser.parse_args()
    torch.set_num_threads(1)
    begin, code = time.perf_counter(), library_hash()
    if given.smoke or given.only:
        config = SMOKE if given.smoke else Config()
        result = experiment(config, wanted(given.only), given.work, code)
    else:
        result = experiment(Config(), {}, given.work, code)
        result["smoke"] = experiment(SMOKE, {}, None, code)
    what = "--smoke" if given.smoke else f"--only {given.only}" if given.only else "--out docs/anchor.json"
    result |= provenance(f"python bench/anchor.py {what}", code, time.perf_counter() - begin)
    text = dumped(result)
    if given.out is None:
        print(text)
    else:
        given.out.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()

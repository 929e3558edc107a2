"""Where a descent begins: every closed form beside a random start, through orthogonal and oblique maps.

For each network all starts of a claim descend side by side, on the same batches; interchange-intervention accuracy
(mean over the cells of swapped set and stratum) is measured on held-out pairs as they go. Nothing is chosen: every
start has a row, with what it reaches at step 0, when it first reaches .9 and .95, and at the end.

equality   ten networks trained as published (bench/anchor.py), layer 1, both equalities jointly
addition   five GPT-2s of two-digit addition, the stream behind block 1 at "=" and the answer's first digit together:
           carry, the tens digits' sum, the ones digit, one claim each
compiled   rotated compiled programs, each variable at its true home: the truth is known

python bench/starts.py --part equality --out docs/starts_equality.json
python bench/starts.py --part addition --out docs/starts_addition.json
python bench/starts.py --part compiled --out docs/starts_compiled.json
    --work FOLDER                            keeps the trained networks
    --networks N --map M --k K --lr R        a part of it, printed
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import torch
from anchor import Config, trained
from anchor import hypothesis as equality_file
from anchor_pairs import draw
from provenance import ROOT, dumped, library_hash, provenance, say

import commutes as cm
from commutes.errors import DataError
from commutes.features import Features, Oblique, Rotation
from commutes.network import Network, Site
from commutes.stats import mean_interval
from commutes.testing.compiler import compile_program, program
from commutes.training import Settings, closed_forms, fit_many

MAPS: dict[str, type[Rotation] | type[Oblique]] = {"orthogonal": Rotation, "oblique": Oblique}
RATES = (1e-2, 1e-3)
MARKS = (0.9, 0.95)
# By name, over so many symbols that both parts have pairs of every stratum.
PROGRAMS = {"equality": 6, "histogram": 5, "duplicate": 5, "sort": 6, "addition": 6}


@dataclass(frozen=True, eq=False)
class Case:
    """One network with one claim about it."""

    network: int
    claim: str
    site: Site
    algorithm: cm.Algorithm
    variables: tuple[str, ...]
    train: cm.Counterfactuals
    held_out: cm.Counterfactuals

    def alignment(self, family: type[Rotation] | type[Oblique], k: int) -> cm.Alignment:
        """The variables in consecutive slices of one map."""
        features: Features = family(self.site)
        return cm.Alignment(
            self.algorithm,
            {self.algorithm[v]: features[i * k : (i + 1) * k] for i, v in enumerate(self.variables)},
        )


@dataclass(frozen=True)
class Part:
    """What is compared on one kind of network."""

    sizes: tuple[int, ...]
    settings: Settings


PARTS = {
    "equality": Part((1, 2, 8), Settings(steps=1_500, batch=256, starts=1, every=25, threads=1)),
    "addition": Part((1, 2, 8, 32), Settings(steps=300, batch=64, starts=1, every=25, threads=1)),
    "compiled": Part((1, 2), Settings(steps=300, batch=128, starts=1, every=10, threads=1)),
}


def equality(work: Path, networks: int) -> list[Case]:
    """The anchor's networks, first hidden layer."""
    eq, config = equality_file(), replace(Config(), pairs=12_000)
    found, _ = trained(eq, config, work / "equality.safetensors")
    algorithm_of = eq.anchor_algorithm()
    inputs = eq.anchor_distribution()
    cases = []
    for number, network in enumerate(found[:networks]):
        pairs = draw("both", algorithm_of, inputs, config.counts("both"), seed=number)
        assert pairs.library is not None
        site = network.site("layers.0")
        cases.append(
            Case(number, "left and right", site, algorithm_of, ("left", "right"), pairs.train, pairs.library)
        )
    return cases


def addition(work: Path, networks: int) -> list[Case]:
    """Small GPT-2s that add two numbers of two digits, trained here."""
    module = _shipped("addition")
    algorithm = module.algorithm()
    cases = []
    for seed in range(networks):
        folder = work / f"addition_{seed}"
        if not folder.exists():
            network = module.train(module.network(algorithm, seed=seed), algorithm, seed=seed)
            assert network.language is not None
            network.module.save_pretrained(folder)
            network.language.prompt.tokenizer.save_pretrained(folder)
            say(f"trained the addition network {seed}")
        network = Network.pretrained(str(folder), template=module.template(), answers=module.answers())
        site = network.site("block_output", layer=1, position=["last", "answer[0]"])
        for number, name in enumerate(("carry", "tens", "ones")):
            pairs = cm.counterfactuals(algorithm, 3_000, swap=[{algorithm[name]}], seed=10 * seed + number)
            train, held_out = pairs.split(train=0.7, test=0.3)
            cases.append(Case(seed, name, site, algorithm, (name,), train, held_out))
    return cases


def compiled(work: Path, networks: int) -> list[Case]:
    """Programs compiled into rotated networks, an inner variable at its true home each."""
    del work
    cases = []
    for number, (name, symbols) in enumerate(list(PROGRAMS.items())[:networks]):
        made = compile_program(program(name, symbols=symbols), rotation=number)
        for variable in made.algorithm.inner_variables:
            homes = list(made.homes(variable, status="true"))
            if not homes:
                continue
            pairs = cm.counterfactuals(made.algorithm, 1_500, swap=[{variable}], seed=number)
            try:
                train, held_out = pairs.split(train=0.5, test=0.5)
            except DataError as error:
                say(f"{name}, {variable.name}: {error.what}")
                continue
            if not train.effective.any():
                continue
            site = made.site(homes[0])
            cases.append(
                Case(
                    number,
                    f"{name}: {variable.name}",
                    site,
                    made.algorithm,
                    (variable.name,),
                    train,
                    held_out,
                )
            )
    return cases


def _shipped(name: str) -> Any:
    spec = importlib.util.spec_from_file_location(name, ROOT / "algorithms" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def usable(claim: cm.Alignment, train: cm.Counterfactuals) -> tuple[str, ...]:
    """The closed forms that exist for a claim: a variable with one transition has no spectrum of some of them."""
    found = closed_forms(claim, train, seed=0)
    for method, one in found.items():
        if not isinstance(one, cm.Alignment):
            say(f"{method}: {one.what}")
    return tuple(method for method, one in found.items() if isinstance(one, cm.Alignment))


def cell(cases: Sequence[Case], map: str, k: int, lr: float, settings: Settings) -> list[dict[str, Any]]:
    """All starts of all claims of one kind of map, size and rate; claims with the same closed forms together."""
    claims = [case.alignment(MAPS[map], k) for case in cases]
    groups: dict[tuple[str, ...], list[int]] = {}
    for i, (claim, case) in enumerate(zip(claims, cases, strict=True)):
        groups.setdefault(usable(claim, case.train), []).append(i)
    rows = []
    for init, own in groups.items():
        fitted = fit_many(
            [claims[i] for i in own],
            [cases[i].train for i in own],
            selects=[cases[i].held_out for i in own],
            seed=0,
            settings=replace(settings, lr=lr, init=init),
        )
        for i, found in zip(own, fitted, strict=True):
            case, n = cases[i], len(cases[i].held_out)
            where = {"network": case.network, "claim": case.claim, "map": map, "k": k, "lr": lr, "n": n}
            for name, curve in zip(("random", *init), found.history["start_curves"], strict=True):
                rows.append(where | {"start": name} | row_of(curve))
    return rows


def row_of(curve: Sequence[Sequence[float]]) -> dict[str, Any]:
    """At step 0, the first steps at which the marks were reached, and at the end."""
    reached = {f"steps to {mark}": next((step for step, iia in curve if iia >= mark), None) for mark in MARKS}
    return {"step 0": round(curve[0][1], 4), **reached, "final": round(curve[-1][1], 4)}


def summary(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Per map, size, rate, claim's kind and start: means over networks with intervals of Student's t."""
    kinds: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for row in rows:
        claim = row["claim"].split(":")[0]
        kinds.setdefault((claim, row["map"], row["k"], row["lr"], row["start"]), []).append(row)
    found = []
    for (claim, map, k, lr, start), own in kinds.items():
        entry: dict[str, Any] = {"claim": claim, "map": map, "k": k, "lr": lr, "start": start}
        entry["claims"] = len(own)
        for what in ("step 0", "final"):
            values = np.array([row[what] for row in own])
            interval = mean_interval(values, limits=(0, 1))
            entry[what] = [round(float(values.mean()), 3), round(interval.low, 3), round(interval.high, 3)]
            entry[f"{what}, least"] = round(float(values.min()), 3)
        for mark in MARKS:
            steps = [row[f"steps to {mark}"] for row in own]
            reached = sorted(step for step in steps if step is not None)
            # The median over all, those that never get there being the slowest.
            middle = (len(steps) - 1) // 2
            entry[f"steps to {mark}"] = reached[middle] if middle < len(reached) else None
            entry[f"reached {mark}"] = len(reached)
        found.append(entry)
    return found


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("--part", choices=list(PARTS), required=True)
    asked.add_argument("--out", type=Path)
    asked.add_argument("--work", type=Path, default=Path("starts-networks"))
    asked.add_argument("--networks", type=int, help="how many; ten, five and all programs by default")
    asked.add_argument("--steps", type=int)
    asked.add_argument("--k", type=int, nargs="+")
    asked.add_argument("--lr", type=float, nargs="+")
    asked.add_argument("--map", choices=list(MAPS), nargs="+")
    chosen = asked.parse_args()
    torch.set_num_threads(1)
    begin, code, part = time.perf_counter(), library_hash(), PARTS[chosen.part]
    settings = part.settings if chosen.steps is None else replace(part.settings, steps=chosen.steps)
    chosen.work.mkdir(parents=True, exist_ok=True)
    makers = {"equality": (equality, 10), "addition": (addition, 5), "compiled": (compiled, len(PROGRAMS))}
    make, count = makers[chosen.part]
    cases = make(chosen.work, chosen.networks or count)
    rows: list[dict[str, Any]] = []
    for map in chosen.map or MAPS:
        for k in chosen.k or part.sizes:
            for lr in chosen.lr or RATES:
                started = time.perf_counter()
                rows += cell(cases, map, k, lr, settings)
                say(f"{chosen.part}, {map}, k = {k}, lr = {lr:g}: {time.perf_counter() - started:.0f} s")
    result: dict[str, Any] = {"settings": asdict(settings), "summary": summary(rows), "rows": rows}
    command = f"python bench/starts.py --part {chosen.part} --out docs/starts_{chosen.part}.json"
    result |= provenance(command, code, time.perf_counter() - begin)
    if chosen.out is None:
        print(dumped({"summary": result["summary"]}))
    else:
        chosen.out.write_text(dumped(result), encoding="utf-8")


if __name__ == "__main__":
    main()

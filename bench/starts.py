"""Where a descent begins: every closed form beside a random start, through orthogonal and oblique maps.

For each network all starts of a claim descend side by side, on the same batches; interchange-intervention accuracy
(mean over the cells of swapped set and stratum) is measured on held-out pairs as they go. Nothing is chosen: every
start has a row, with what it reaches at step 0, when it first reaches .9 and .95, and at the end.

equality   ten networks trained as published (bench/anchor.py), layer 1, both equalities jointly
addition   five GPT-2s of two-digit addition, the stream behind block 1 at "=" and the answer's first digit together:
           carry, the tens digits' sum, the ones digit, one claim each
compiled   four rotated compiled programs, variables at their true homes: the truth is known

python bench/starts.py --part equality --out docs/starts_equality.json
python bench/starts.py --part addition --out docs/starts_addition.json
python bench/starts.py --part compiled --out docs/starts_compiled.json
    --work FOLDER                            keeps the trained networks
    --networks N --map M --k K --lr R        a part of it, printed
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import torch
from anchor import Config, trained
from anchor_pairs import draw
from provenance import dumped, library_hash, provenance, say
from shipped import shipped

import commutes as cm
from commutes.engine import BUDGET
from commutes.evaluation import bench
from commutes.features import Features, Oblique, Parametrisation, Rotation, random_raw
from commutes.features._oblique import ReaderAndWriter
from commutes.features._rotation import unit
from commutes.network import Network, Site
from commutes.testing.compiler import compile_program, program
from commutes.training import Settings, closed_forms
from commutes.training._cohort import Cohort, cohort
from commutes.training._descent import descend, on_threads
from commutes.training._selection import Selection
from commutes.training._starts import _calibrated, _random, _raws

MAPS: dict[str, type[Rotation] | type[Oblique]] = {"orthogonal": Rotation, "oblique": Oblique}
RATES = (1e-2, 1e-3)
MARKS = (0.9, 0.95)
SKEWED = "random, not orthonormal"
"""A random start of an oblique map of several variables, of Gaussian columns as they are: the other way to draw one."""
EFFECTIVE = "calibration on effective pairs"
"""The other way to choose a closed form: by the training pairs whose answer must change alone, as many of them."""
# A fit is settled where it is within this of the best that it comes to.
NEARLY = 0.01
# Over so many symbols that both parts have pairs of every stratum; variables of which every closed form exists.
PROGRAMS = {
    "equality": (6, ("pair_0", "both_0")),
    "duplicate": (5, ("seen_1", "again_1")),
    "sort": (6, ("sorted_1", "sorted_2")),
    "addition": (6, ("partner_0", "carry_1", "sum_1")),
}


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
    # 32 dimensions there are in the addition networks alone: layers of the others have 16, and 17 to 52.
    "equality": Part((1, 2, 8), Settings(steps=1_000, batch=128, starts=1, every=50)),
    "addition": Part((1, 2, 8, 32), Settings(steps=200, batch=32, starts=1, every=20, objective="answers")),
    "compiled": Part((1, 2, 8), Settings(steps=100, batch=64, starts=1, every=10)),
}


def equality(work: Path, networks: int) -> list[Case]:
    """The anchor's networks, first hidden layer."""
    eq, config = shipped("equality"), replace(Config(), pairs=6_000)
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
    module = shipped("addition")
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
    for number, (name, (symbols, variables)) in enumerate(list(PROGRAMS.items())[:networks]):
        made = compile_program(program(name, symbols=symbols), rotation=number)
        for variable in variables:
            pairs = cm.counterfactuals(made.algorithm, 1_500, swap=[{made.algorithm[variable]}], seed=number)
            train, held_out = pairs.split(train=0.7, test=0.3)
            site = made.site(made.true_home(variable))
            told = f"{name}: {variable}"
            cases.append(Case(number, told, site, made.algorithm, (variable,), train, held_out))
    return cases


class Unsettled(Selection):
    """A start that is right on everything ends the fit, and with it the curves of the others: here none is."""

    def scores(
        self, raws: Sequence[torch.Tensor], starts: int, *, progress: float | None = None
    ) -> np.ndarray:
        """The worst cell less 1, and the mean."""
        return super().scores(raws, starts, progress=progress) - [1.0, 0.0]


Forms = Mapping[str, cm.Alignment]


def cell(
    cases: Sequence[Case],
    map: str,
    k: int,
    lr: float,
    settings: Settings,
    forms: Sequence[Forms] | None = None,
) -> list[dict[str, Any]]:
    """All starts of all claims of one kind of map, size and rate; claims with the same closed forms together."""
    rows = []
    for own in beginnings(cases, map, k, settings, forms):
        rows += descended(own, replace(settings, lr=lr), {"map": map, "k": k, "lr": lr})
    return rows


@dataclass(frozen=True, eq=False)
class Beginnings:
    """Where the fits of several claims begin that have the same closed forms."""

    cases: tuple[Case, ...]
    claims: tuple[cm.Alignment, ...]
    members: Cohort
    names: tuple[str, ...]
    """Of the starts, a random one first."""
    raws: list[list[tuple[torch.Tensor, ...]]]
    """Of every claim and start."""
    rates: list[list[float]]
    """What `init="auto"` chooses by, of every claim and start."""
    effective: list[list[float | None]]
    """What it might choose by instead, of every claim and closed form; None of a random start."""


def beginnings(
    cases: Sequence[Case], map: str, k: int, settings: Settings, forms: Sequence[Forms] | None = None
) -> Iterator[Beginnings]:
    """All starts of all claims of one kind of map and size."""
    claims = [case.alignment(MAPS[map], k) for case in cases]
    forms = forms or [usable(claim, case.train) for claim, case in zip(claims, cases, strict=True)]
    groups: dict[tuple[str, ...], list[int]] = {}
    for i, good in enumerate(forms):
        groups.setdefault(tuple(good), []).append(i)
    for names, own in groups.items():
        chosen = [cases[i] for i in own]
        members = cohort(
            [claims[i] for i in own],
            [case.train for case in chosen],
            budget=BUDGET // 2,
            objective=settings.objective,
        )
        raws, rates, effective = [], [], []
        randoms = ["random"]
        for member, i, case in zip(members.members, own, chosen, strict=True):
            drawn = [_random(member, 0, 0)]
            if map == "oblique" and len(case.variables) > 1:
                drawn.append(tuple(skewed(part) for part in member.parts))
                randoms = ["random", SKEWED]
            raws.append([*drawn, *(_raws(member, forms[i][name], name) for name in names)])
            closed, chance, n = _calibrated(member, forms[i], drawn, case.train)
            rates.append(chance + [closed[name] for name in names])
            pairs = case.train.subset(np.flatnonzero(case.train.effective)[:n])
            on = bench(member.alignment, pairs)
            hits = [float(on.hits(forms[i][name].featurizers).mean()) for name in names]
            effective.append([None] * len(drawn) + hits)
        yield Beginnings(
            tuple(chosen),
            tuple(claims[i] for i in own),
            members,
            (*randoms, *names),
            raws,
            rates,
            effective,
        )


def skewed(part: Parametrisation) -> torch.Tensor:
    """Reader and writer alike, unit columns of a Gaussian matrix."""
    assert isinstance(part, ReaderAndWriter)
    return unit(random_raw(part.width, part.size, 0)).repeat(1, 2)


def usable(claim: cm.Alignment, train: cm.Counterfactuals) -> Forms:
    """The closed forms that exist for a claim: a variable with one transition has no spectrum of some of them."""
    found = closed_forms(claim, train, seed=0)
    return {method: one for method, one in found.items() if isinstance(one, cm.Alignment)}


def descended(own: Beginnings, settings: Settings, where: dict[str, Any]) -> list[dict[str, Any]]:
    """A row of every start of these claims; every start sees the same batches."""
    # All starts are given; `settings.init` only says how many these are, and that they are measured at step 0.
    settings = replace(settings, starts=0, init=own.names)
    held_out = Unsettled(own.members, own.claims, [case.held_out for case in own.cases], budget=BUDGET // 2)
    with on_threads(settings.threads):
        found = descend(own.members, held_out, own.raws, [0] * len(own.claims), settings, progress=None,
                        choose_step=True, checkpoint=None)  # fmt: skip
    rows = []
    for i, case in enumerate(own.cases):
        told = {"network": case.network, "claim": case.claim, **where, "n": len(case.held_out)}
        curves = found.history(i, 0)["start_curves"]
        for name, rate, other, curve in zip(own.names, own.rates[i], own.effective[i], curves, strict=True):
            by = {"calibration": round(rate, 4)} | ({} if other is None else {EFFECTIVE: round(other, 4)})
            rows.append(told | {"start": name} | by | row_of(curve))
    return rows


def row_of(curve: Sequence[Sequence[float]]) -> dict[str, Any]:
    """At step 0, the first steps at which the marks and nearly its best were reached, and at the end."""
    reached = {f"steps to {mark}": next((step for step, iia in curve if iia >= mark), None) for mark in MARKS}
    best = max(iia for _, iia in curve)
    settled = next(step for step, iia in curve if iia >= best - NEARLY)
    return {"step 0": round(curve[0][1], 4), **reached, "settled": settled, "final": round(curve[-1][1], 4)}


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("--part", choices=list(PARTS), required=True)
    asked.add_argument(
        "--out", type=Path, help="written after every cell; cells that it has are not made again"
    )
    asked.add_argument("--work", type=Path, default=Path("starts-networks"))
    asked.add_argument("--networks", type=int, help="how many; ten, five and all programs by default")
    asked.add_argument("--steps", type=int)
    asked.add_argument("--k", type=int, nargs="+")
    asked.add_argument("--lr", type=float, nargs="+")
    asked.add_argument("--map", choices=list(MAPS), nargs="+")
    chosen = asked.parse_args()
    torch.set_num_threads(1)
    code, part = library_hash(), PARTS[chosen.part]
    settings = part.settings if chosen.steps is None else replace(part.settings, steps=chosen.steps)
    chosen.work.mkdir(parents=True, exist_ok=True)
    makers = {"equality": (equality, 10), "addition": (addition, 5), "compiled": (compiled, len(PROGRAMS))}
    make, count = makers[chosen.part]
    cases = make(chosen.work, chosen.networks or count)
    rows, spent = kept(chosen.out, code, settings)
    for k, map in itertools.product(chosen.k or part.sizes, chosen.map or MAPS):
        forms: list[Forms] = []
        for lr in chosen.lr or RATES:
            if any((row["map"], row["k"], row["lr"]) == (map, k, lr) for row in rows):
                continue
            begin = time.process_time()
            # They are the same at every rate.
            forms = forms or [usable(case.alignment(MAPS[map], k), case.train) for case in cases]
            rows += cell(cases, map, k, lr, settings, forms)
            spent += time.process_time() - begin
            say(f"{chosen.part}, {map}, k = {k}, lr = {lr:g}: {time.process_time() - begin:.0f} s")
            result: dict[str, Any] = {"part": chosen.part, "settings": asdict(settings), "rows": rows}
            command = f"python bench/starts.py --part {chosen.part} --out docs/starts_{chosen.part}.json"
            result |= provenance(command, code, spent)
            if chosen.out is not None:
                chosen.out.write_text(dumped(result), encoding="utf-8")
    if chosen.out is None:
        print("\n".join(json.dumps(row) for row in rows))


def kept(path: Path | None, code: str, settings: Settings) -> tuple[list[dict[str, Any]], float]:
    """The rows of a file, and the seconds that they took."""
    if path is None or not path.exists():
        return [], 0.0
    found = json.loads(path.read_text(encoding="utf-8"))
    same = json.loads(json.dumps(asdict(settings)))
    if found["code"]["sha256"] != code or found["settings"] != same:
        raise SystemExit(f"{path} was made by other code or with other settings: remove it to make it anew")
    return found["rows"], float(found["seconds"])


if __name__ == "__main__":
    main()

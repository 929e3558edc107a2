"""An orthonormal basis by QR, by torch's orthogonal parametrisation, and by steps on the Stiefel manifold.

Three ways to keep a d x k matrix orthonormal while it is fitted, and one of them from longer columns. They have the
same starts, batches, schedule and Adam:

QR        Q of a sign-fixed QR of a free d x k matrix (the library's)
torch     torch.nn.utils.parametrizations.orthogonal as it is called by default: of tall matrices Householder
          reflections behind a d x d matrix that stays
Stiefel   the matrix itself: Adam on the gradient's tangent part, its mean carried along by projection, and after every
          step the Q of a sign-fixed QR
long QR   as QR, but from columns of length sqrt(d), as Gaussian ones are, instead of 1: a step of Adam moves every
          number by the rate, and so turns them by sqrt(d) times less

quality   interchange-intervention accuracy on held-out pairs at equal steps (mean over the cells of swapped set and
          stratum), side by side on the same networks, pairs and seeds; of both lengths from closed forms, too
time      processor time of a step (64 rows: swap, loss, backward, Adam), the three of them in turn

python bench/orthogonality.py --out docs/orthogonality.json     everything, and the page beside it
python bench/orthogonality.py --smoke                           a small form of both, printed
python bench/orthogonality.py --times --out docs/orthogonality.json  only the times again
python bench/orthogonality.py --page --out docs/orthogonality.json   only the page again
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import torch
from orthogonality_page import page
from provenance import dumped, library_hash, provenance, say
from shipped import shipped
from torch.nn.utils.parametrizations import orthogonal

import commutes as cm
from commutes.engine import BUDGET, Featurizer
from commutes.features import Parametrisation, Rotation, Subspace, orthonormal
from commutes.features._rotation import OrthonormalBasis, random_raw
from commutes.network import Site
from commutes.training import Settings, closed_form
from commutes.training._closed_methods import Method
from commutes.training._cohort import cohort
from commutes.training._descent import rate
from commutes.training._selection import Selection

COMMAND = "python bench/orthogonality.py --out docs/orthogonality.json"
TIMED = ("QR", "torch", "Stiefel")
WAYS = (*TIMED, "long QR")
RATES = (1e-3, 1e-2, 1e-1)
LENGTHS = ("QR", "long QR")
"""Of which a descent from closed forms is tried, too."""
FORMS: tuple[Method, ...] = ("difference_of_means", "contrast", "attribution")
EARLY = 10
"""A step at which a fit is measured before the quarters: what was found may be lost at first."""


@dataclass(frozen=True)
class Fits:
    """Networks of one width, and how the ways are compared on them."""

    width: int
    networks: tuple[int, ...] = (10,)
    """Seeds, from those on which the library's settings were chosen, too."""
    sizes: tuple[int, ...] = (1, 16)
    batch: int = 64
    starts: int = 3
    steps: int = 400
    training: int | None = None
    """Steps of the networks' own training; as it is shipped by default."""
    ways: tuple[str, ...] = WAYS


@dataclass(frozen=True)
class Config:
    """What is compared."""

    # On the widest torch's own takes a minute for what the others do in a second.
    fits: tuple[Fits, ...] = (
        Fits(64, (10, 11), (1, 4), batch=256, starts=4),
        Fits(768),
        Fits(2048, starts=2, ways=("QR", "Stiefel", "long QR")),
    )
    widths: tuple[int, ...] = (128, 768, 2048)
    sizes: tuple[int, ...] = (1, 16, 64)
    rounds: int = 15
    rows: int = 64


SMOKE = Config((Fits(64, sizes=(1,), starts=2, steps=20, training=50),), widths=(32,), sizes=(1, 4), rounds=2)


class Map(Parametrisation):
    """What the three have in common: the map is the subspace with that basis."""

    def map(self, solved: torch.Tensor, progress: float) -> Subspace:
        """The same throughout the fit."""
        return Subspace(solved, solved)


@dataclass(frozen=True)
class ByTorch(Map):
    """torch's own. The d x d matrix that it keeps beside its parameter differs from start to start: both are raw."""

    width: int
    size: int

    @cached_property
    def module(self) -> torch.nn.Module:
        """A parametrised weight."""
        return orthogonal(torch.nn.Linear(self.size, self.width, bias=False, dtype=torch.float32))

    def start(self, seed: int) -> torch.Tensor:
        """# shape: (d, d + k)"""
        module = self.module
        with torch.random.fork_rng(devices=[]):
            # What completes the basis is drawn by torch from the global generator.
            torch.manual_seed(seed)
            module.weight = orthonormal(random_raw(self.width, self.size, seed))
        kept = module.parametrizations.weight  # pyright: ignore[reportAttributeAccessIssue]
        return torch.cat([kept[0].base.detach(), kept.original.detach()], dim=1)

    def solve(self, raw: torch.Tensor) -> torch.Tensor:
        """# (n, d, d + k) -> (n, d, k)"""
        own = self.module.parametrizations.weight[0]  # pyright: ignore[reportAttributeAccessIssue]
        own.base = raw[..., : self.width].detach()
        return own(raw[..., self.width :])


@dataclass(frozen=True)
class OnManifold(Map):
    """The basis itself; the optimiser keeps it orthonormal."""

    width: int
    size: int

    def start(self, seed: int) -> torch.Tensor:
        """# shape: (d, k)"""
        return orthonormal(random_raw(self.width, self.size, seed))

    def solve(self, raw: torch.Tensor) -> torch.Tensor:
        """# (n, d, k) -> (n, d, k)"""
        return raw.clone()


@dataclass(frozen=True, eq=False)
class TorchRotation(Rotation):
    """A rotation that is parametrised by torch."""

    def at(self, site: Site) -> TorchRotation:
        """Of another site."""
        return TorchRotation(site)

    def parametrisation(
        self, width: int, coordinates: Sequence[int], columns: Sequence[Sequence[int]]
    ) -> Parametrisation:
        """torch's own."""
        return ByTorch(width, len(coordinates))


@dataclass(frozen=True, eq=False)
class StiefelRotation(Rotation):
    """A rotation that stays orthonormal by its steps."""

    def at(self, site: Site) -> StiefelRotation:
        """Of another site."""
        return StiefelRotation(site)

    def parametrisation(
        self, width: int, coordinates: Sequence[int], columns: Sequence[Sequence[int]]
    ) -> Parametrisation:
        """The basis itself."""
        return OnManifold(width, len(coordinates))


@dataclass(frozen=True)
class LongColumns(OrthonormalBasis):
    """The library's, from columns of length sqrt(d): Adam's steps turn them by less."""

    def start(self, seed: int) -> torch.Tensor:
        """# shape: (d, k)"""
        return random_raw(self.width, self.size, seed)

    def raw(self, featurizer: Featurizer) -> torch.Tensor | None:
        """As long."""
        found = super().raw(featurizer)
        return None if found is None else found * self.width**0.5


@dataclass(frozen=True, eq=False)
class LongRotation(Rotation):
    """A rotation by QR that begins at columns of length sqrt(d)."""

    def at(self, site: Site) -> LongRotation:
        """Of another site."""
        return LongRotation(site)

    def parametrisation(
        self, width: int, coordinates: Sequence[int], columns: Sequence[Sequence[int]]
    ) -> OrthonormalBasis:
        """The library's, of another length."""
        return LongColumns(width, len(coordinates))


FAMILIES: dict[str, type[Rotation]] = {
    "QR": Rotation,
    "torch": TorchRotation,
    "Stiefel": StiefelRotation,
    "long QR": LongRotation,
}


def tangent(basis: torch.Tensor, vector: torch.Tensor) -> torch.Tensor:
    """The part of a matrix that lies in the Stiefel manifold's tangent space: V - E sym(EᵀV)."""
    inner = basis.mT @ vector
    return vector - basis @ (inner + inner.mT) / 2


def step(
    way: str, raws: Sequence[torch.Tensor], gradients: Sequence[torch.Tensor], adam: torch.optim.Adam
) -> None:
    """One step of Adam, on the manifold where that is the way."""
    for raw, gradient in zip(raws, gradients, strict=True):
        raw.grad = tangent(raw.detach(), gradient) if way == "Stiefel" else gradient
    adam.step()
    if way == "Stiefel":
        with torch.no_grad():
            for raw in raws:
                raw.copy_(orthonormal(raw))
                mean = adam.state[raw]["exp_avg"]
                mean.copy_(tangent(raw, mean))


@dataclass(frozen=True, eq=False)
class Case:
    """One network with one claim about it."""

    width: int
    network: int
    site: Site
    algorithm: cm.Algorithm
    variables: tuple[str, ...]
    train: cm.Counterfactuals
    held_out: cm.Counterfactuals

    def alignment(self, way: str, k: int) -> cm.Alignment:
        """The variables in consecutive slices of one map."""
        family = FAMILIES[way](self.site)
        slices = {self.algorithm[v]: family[i * k : (i + 1) * k] for i, v in enumerate(self.variables)}
        return cm.Alignment(self.algorithm, slices)


def curves(
    way: str, case: Case, k: int, lr: float, fits: Fits, form: Method | None = None
) -> list[dict[str, Any]]:
    """Of every random start, or of a closed form, the accuracy on held-out pairs as the fit goes on."""
    claim = case.alignment(way, k)
    members = cohort([claim], [case.train], budget=BUDGET // 2)
    held_out = Selection(members, [claim], [case.held_out], budget=BUDGET // 2)
    (part,) = members.members[0].parts
    if form is None:
        seeds = np.random.default_rng([k, 0]).integers(2**62, size=fits.starts)
        begins = [part.start(int(seed)) for seed in seeds]
    else:
        (map,) = closed_form(claim, case.train, method=form, seed=0).featurizers
        begin = part.raw(map)
        assert begin is not None
        begins = [begin]
    raws, starts = [torch.stack(begins).requires_grad_()], len(begins)
    adam = torch.optim.Adam(raws, lr=lr)
    generator = torch.Generator().manual_seed(k)
    spent = time.process_time()
    found: list[list[list[float]]] = [[] for _ in begins]

    def measure(at: int) -> None:
        nonlocal spent
        pause = time.process_time()
        scores = held_out.scores([raw.detach() for raw in raws], starts)
        for curve, score in zip(found, scores, strict=True):
            curve.append([at, round(float(score[1]), 4)])
        spent += time.process_time() - pause

    measure(0)
    for number in range(1, fits.steps + 1):
        adam.param_groups[0]["lr"] = rate(Settings(steps=fits.steps, lr=lr), number)
        gradients = members.step(raws, fits.batch, starts, [generator])[1]
        step(way, raws, gradients, adam)
        if number == EARLY or number % (fits.steps // 4) == 0:
            measure(number)
    seconds = time.process_time() - spent
    where = {"width": case.width, "network": case.network, "way": way, "k": k, "lr": lr}
    if form is not None:
        where["form"] = form
    return [
        where
        | {
            "start": i,
            "n": len(case.held_out),
            "curve": curve,
            "ms a step": round(1e3 * seconds / fits.steps, 2),
        }
        for i, curve in enumerate(found)
    ]


def equality(fits: Fits) -> Iterator[Case]:
    """Networks of the README's kind, first hidden layer, both equalities."""
    module = shipped("equality")
    algorithm = module.algorithm()
    for seed in fits.networks:
        steps = {} if fits.training is None else {"steps": fits.training}
        untrained = module.network(algorithm, seed=seed, width=fits.width)
        network = module.train(untrained, algorithm, seed=seed, **steps)
        train, held_out = cm.counterfactuals(algorithm, 8_000, seed=seed).split(train=0.7, test=0.3)
        say(f"network {seed} of {fits.width} units")
        yield Case(fits.width, seed, network.site("layers.0"), algorithm, ("left", "right"), train, held_out)


def quality(config: Config) -> Iterator[dict[str, Any]]:
    """All rows of the comparison at equal steps."""
    for fits in config.fits:
        for case in equality(fits):
            for k in fits.sizes:
                for lr in RATES:
                    for way in fits.ways:
                        yield from curves(way, case, k, lr, fits)
                    for form in FORMS:
                        for way in LENGTHS:
                            yield from curves(way, case, k, lr, fits, form)
                    say(f"{case.width} units, network {case.network}, k = {k}, lr = {lr:g}")


def timed(width: int, k: int, config: Config) -> dict[str, Any]:
    """Milliseconds of processor time of a step, each way in turn, so that whatever else runs slows all alike."""
    generator = torch.Generator().manual_seed(0)
    base, source, aim = (torch.randn(config.rows, width, generator=generator) for _ in range(3))
    runs: dict[str, Callable[[], None]] = {way: stepper(way, width, k, base, source, aim) for way in TIMED}
    taken: dict[str, list[float]] = {way: [] for way in TIMED}
    for number in range(config.rounds + 1):
        for way, run in runs.items():
            begin = time.process_time()
            run()
            # The first step of each allocates.
            if number:
                taken[way].append(1e3 * (time.process_time() - begin))
    row: dict[str, Any] = {"d": width, "k": k, "rounds": config.rounds}
    for way, values in taken.items():
        row[way] = {
            "median": round(statistics.median(values), 3),
            "least": round(min(values), 3),
            "most": round(max(values), 3),
        }
    for way in TIMED[1:]:
        ratios = [other / qr for other, qr in zip(taken[way], taken["QR"], strict=True)]
        row[f"{way} / QR"] = [round(f(ratios), 2) for f in (min, statistics.median, max)]
    return row


def stepper(
    way: str, width: int, k: int, base: torch.Tensor, source: torch.Tensor, aim: torch.Tensor
) -> Callable[[], None]:
    """A step of one way: swap, loss, backward, Adam. torch's is called as it is documented, by its module."""
    start = random_raw(width, k, 1)
    module = torch.nn.Linear(k, width, bias=False)
    if way == "torch":
        module = orthogonal(module)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            module.weight = orthonormal(start)
    else:
        module.weight.data.copy_(orthonormal(start))
    (raw,) = module.parameters()
    adam = torch.optim.Adam([raw], lr=1e-3)

    def run() -> None:
        basis = orthonormal(module.weight) if way == "QR" else module.weight
        loss = (Subspace(basis, basis).swap(base, source) - aim).square().mean()
        (gradient,) = torch.autograd.grad(loss, [raw])
        step(way, [raw], [gradient], adam)

    return run


def made(config: Config) -> Iterator[dict[str, Any]]:
    """Everything that there is so far, whenever there is more."""
    begin, code = time.process_time(), library_hash()
    times: list[dict[str, Any]] = []
    rows: list[dict[str, Any]] = []

    def found() -> dict[str, Any]:
        told = {"config": asdict(config), "times": times, "rows": rows}
        return told | provenance(COMMAND, code, time.process_time() - begin)

    for width in config.widths:
        for k in config.sizes:
            times.append(timed(width, k, config))
            say(times[-1])
            yield found()
    for row in quality(config):
        rows.append(row)
        yield found()


def main() -> None:
    parser = argparse.ArgumentParser(description="Write docs/orthogonality.json and docs/orthogonality.md.")
    parser.add_argument("--out", type=Path, help="the JSON file, written as it goes; the page goes beside it")
    parser.add_argument("--smoke", action="store_true", help="print a small form")
    parser.add_argument("--times", action="store_true", help="of the JSON file only the times again")
    parser.add_argument("--page", action="store_true", help="only write the page of the JSON file again")
    given = parser.parse_args()
    torch.set_num_threads(1)
    if given.smoke:
        *_, whole = made(SMOKE)
        print(dumped(whole))
        return
    if given.times:
        begin, code, config = time.process_time(), library_hash(), Config()
        result = json.loads(given.out.read_text(encoding="utf-8"))
        result["times"] = [timed(width, k, config) for width in config.widths for k in config.sizes]
        result["config"]["rounds"] = config.rounds
        result["timed"] = {"code": code, "seconds": round(time.process_time() - begin)}
        given.out.write_text(dumped(result), encoding="utf-8")
    elif not given.page:
        # First what a test makes again.
        *_, small = made(SMOKE)
        for result in made(Config()):
            given.out.write_text(dumped(result | {"smoke": small["rows"]}), encoding="utf-8")
    result = json.loads(given.out.read_text(encoding="utf-8"))
    given.out.with_suffix(".md").write_text(page(result), encoding="utf-8")


if __name__ == "__main__":
    main()

"""The whole job of a spec: train, sweep sites and sizes on the selection split, choose, challenge on the test."""

from __future__ import annotations

import copy
import platform
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from commutes import __version__
from commutes.algorithm import Algorithm
from commutes.counterfactuals import Distribution, census, counterfactuals
from commutes.errors import ArtefactError
from commutes.network import Network
from commutes.report import exit_status
from commutes.robustness import LEDGER, Report, Stopped, challenge, unclaimed
from commutes.search._against import build_shifts, check_off_task
from commutes.search._builders import (
    build_algorithm,
    build_network,
    build_rivals,
    distribution,
    train_network,
)
from commutes.search._claimed import all_inputs, swap_sets
from commutes.search._finished import finished, mark_finished
from commutes.search._grid import grid
from commutes.search._hypothesis import Hypothesis, blamed, load_hypothesis
from commutes.search._off_task import build_off_task, off_task_sha256
from commutes.search._pictures import drawn_figures, selection_record
from commutes.search._spec import Spec
from commutes.search._store import Store
from commutes.search._store_checks import RUN
from commutes.search._sweep import Data, Told, aligned, chosen, staged, sweep
from commutes.search._toml import shown
from commutes.search._variants import check_variants, fitted_variants


@dataclass(frozen=True, eq=False)
class Outcome:
    """A finished run."""

    record: Mapping[str, Any]
    """The report's record."""
    folder: Path
    exit_status: int
    """0 where no level was required; otherwise 0 the level is reached, 1 refuted, 4 neither."""
    report: Report | Stopped | None
    """The card; of a network that does not do the task, without a claim. None where the run was finished before
    this start: nothing was computed or opened again."""


def run(
    spec: Spec,
    *,
    out: Path,
    progress: Told | None = None,
    require: str | None = None,
    reproduce: str | None = None,
) -> Outcome:
    """Do what the spec says and write the run folder; started again, it does what is missing.

    Args:
        spec: What to do.
        out: The run folder.
        progress: Called with (stage, step, steps, figures).
        require: The level on which the exit status depends; sought where it is above the spec's.
        reproduce: The command that makes the card again; by default the spec's.

    Raises:
        CommutesError: The spec asks for something that its algorithm or network cannot give.
    """
    hypothesis = load_hypothesis(spec)
    with blamed(hypothesis):
        return _run(hypothesis, spec, out, progress, require, reproduce or spec.command)


def _run(
    hypothesis: Hypothesis,
    spec: Spec,
    out: Path,
    progress: Told | None,
    require: str | None,
    reproduce: str,
) -> Outcome:
    algorithm = build_algorithm(hypothesis, spec)
    versions = _versions()
    what = {"hypothesis": hypothesis.sha256, **versions}
    if (table := off_task_sha256(spec)) is not None:
        what["off_task"] = table
    level = max(require or spec.challenge.level, spec.challenge.level)
    Store.check(out, spec.identity(algorithm))
    if (out / RUN).exists():
        earlier = finished(Store.existing(out), what, level=level)
        if earlier is not None:
            return Outcome(earlier, out, _status(earlier, require), None)
    untrained = build_network(hypothesis, spec, algorithm, seed=spec.seed)
    drawn = _data(spec, algorithm, distribution(hypothesis, spec), hypothesis.sha256)
    # Every place, size and position is held against the untrained network and all prompts, before the long work.
    inputs = all_inputs(drawn.parts)
    grid(spec, algorithm, untrained, inputs=inputs)
    check_variants(spec, algorithm, untrained, inputs=inputs)
    check_off_task(hypothesis, spec, algorithm, untrained)
    store = Store.open(out, spec.identity(algorithm), notes=versions)
    network = _trained(store, hypothesis, spec, algorithm, progress, seed=spec.seed)
    report: Report | Stopped | None = _stopped(spec, network, drawn, level, progress, reproduce)
    figures: dict[str, str] = {}
    if report is None:
        report, figures = _challenged(
            hypothesis, spec, algorithm, network, store, drawn, level, progress, reproduce
        )
    report.save(out, figures=figures)
    mark_finished(store, what, counted=LEDGER)
    record = report.record()
    return Outcome(record, out, _status(record, require), report)


def _stopped(
    spec: Spec, network: Network, drawn: Data, level: str, progress: Told | None, reproduce: str
) -> Stopped | None:
    """The card of a network that does not do the task: nothing is fitted to it, and no test is opened."""
    # The test inputs are not looked at, unless the complete domain is all there is.
    known = drawn.parts[:-1] or drawn.parts
    floor = spec.challenge.behaviour
    report = unclaimed(network, known, behaviour=floor, level=level, seed=spec.seed, reproduce=reproduce)
    if progress is not None:
        progress("checking the behaviour", 1, 1, {"accuracy": report.accuracy.rate})
    return report if report.failed else None


def _challenged(
    hypothesis: Hypothesis,
    spec: Spec,
    algorithm: Algorithm,
    network: Network,
    store: Store,
    drawn: Data,
    level: str,
    progress: Told | None,
    reproduce: str,
) -> tuple[Report, dict[str, str]]:
    """Fit every cell, choose one, and try to break it; with the drawings of the sweep."""
    plan = grid(spec, algorithm, network)
    cells = sweep(store, spec, plan, drawn, progress)
    best = chosen(cells)
    selection = selection_record(spec, plan, cells, best)
    part = spec.challenge
    others = [
        _trained(store, hypothesis, spec, algorithm, progress, seed=spec.seed + number)
        for number in range(1, 1 + (part.networks if level == "R5" else 0))
    ]
    variants = {}
    if level >= "R4":
        place = plan.rows.index(cells[best].row), cells[best].size
        variants = fitted_variants(store, spec, network, drawn, place, progress)
    report = challenge(
        aligned(spec, store, drawn, cells[best]),
        train=drawn.train,
        select=drawn.select,
        test=drawn.test,
        level=level,
        target=part.target,
        behaviour=part.behaviour,
        refits=part.refits,
        controls=part.controls,
        rivals=build_rivals(hypothesis, spec),
        variants=variants,
        networks=others,
        replicated=part.replicated,
        shifts=build_shifts(hypothesis, spec),
        off_task=build_off_task(hypothesis, spec),
        damage=part.damage,
        every_input=part.every_input,
        budget=part.allowed,
        seed=spec.seed,
        selection=selection,
        ledger=store.folder,
        reproduce=reproduce,
        progress=progress,
    )
    return report, drawn_figures(store.folder, selection, cells[best])


def _status(record: Mapping[str, Any], require: str | None) -> int:
    if require is None:
        return 0
    answers = {check["id"]: check["answer"] for check in record["checks"] if check["answer"] != "not run"}
    return exit_status(record["level"], require, answers)


def _versions() -> dict[str, str]:
    return {
        "commutes": __version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": np.__version__,
    }


def _data(spec: Spec, algorithm: Algorithm, drawn_by: str | Distribution, source: str) -> Data:
    swap = swap_sets(spec, algorithm)
    if spec.data.census:
        complete = census(algorithm, swap=swap)
        return Data(complete, None, complete, source)
    pairs = counterfactuals(algorithm, spec.data.pairs, swap=swap, distribution=drawn_by, seed=spec.seed)
    shares = spec.data.split
    train, select, test = pairs.split(train=shares.train, select=shares.select, test=shares.test)
    return Data(train, select, test, source)


def _trained(
    store: Store,
    hypothesis: Hypothesis,
    spec: Spec,
    algorithm: Algorithm,
    progress: Told | None,
    *,
    seed: int,
) -> Network:
    """The network trained from this seed, from the store where an earlier start of this run has trained it."""
    untrained = build_network(hypothesis, spec, algorithm, seed=seed)
    if spec.network.train is None:
        return untrained
    what = _training(hypothesis, untrained, seed)
    if store.has(store.key(what)):
        return _kept(store, what, untrained)
    start = time.perf_counter()
    stage = "training the network" if seed == spec.seed else f"training another network, seed {seed}"
    trained = train_network(
        hypothesis, spec, untrained, algorithm, seed=seed, progress=staged(progress, stage)
    )
    arrays = {k: t.detach().cpu().contiguous().numpy() for k, t in trained.module.state_dict().items()}
    record = {"fingerprint": trained.fingerprint}
    store.put(
        what, record, tensors=(store.put_tensors(arrays),), times={"seconds": time.perf_counter() - start}
    )
    return _with_weights(untrained, arrays)


def _training(hypothesis: Hypothesis, untrained: Network, seed: int) -> dict[str, Any]:
    """What decides the weights of the trained network."""
    return {
        "kind": "network",
        "hypothesis": hypothesis.sha256,
        "untrained": untrained.fingerprint,
        "seed": seed,
        "torch": torch.__version__,
    }


def _kept(store: Store, what: Mapping[str, Any], untrained: Network) -> Network:
    return _with_weights(untrained, store.tensors(store.cell(store.key(what)).tensors[0]))


@dataclass(frozen=True, eq=False)
class Rebuilt:
    """What a finished run was about, made again from its spec and its store."""

    algorithm: Algorithm
    network: Network
    data: Data


def rebuilt(hypothesis: Hypothesis, spec: Spec, store: Store) -> Rebuilt:
    """The algorithm, the trained network and the pairs of a run; nothing is trained or fitted.

    Raises:
        StoreError: The folder is another run's.
        ArtefactError: It does not hold the network that this version of torch and this hypothesis file would train.
    """
    algorithm = build_algorithm(hypothesis, spec)
    Store.check(store.folder, spec.identity(algorithm))
    network = build_network(hypothesis, spec, algorithm, seed=spec.seed)
    if spec.network.train is not None:
        what = _training(hypothesis, network, spec.seed)
        if not store.has(store.key(what)):
            raise ArtefactError(
                "the trained network of the run is not in its store",
                where=shown(store.folder),
                got=f"none for torch {torch.__version__} and the hypothesis file as it is now",
                expected="the cell that the run wrote when it had trained it",
                fix="use the versions on the card and the hypothesis file as it was, or run it anew",
            )
        network = _kept(store, what, network)
    return Rebuilt(
        algorithm, network, _data(spec, algorithm, distribution(hypothesis, spec), hypothesis.sha256)
    )


def _with_weights(untrained: Network, arrays: Mapping[str, np.ndarray]) -> Network:
    module = copy.deepcopy(untrained.module)
    module.load_state_dict({k: torch.from_numpy(a.copy()) for k, a in arrays.items()})
    return untrained.with_module(module)

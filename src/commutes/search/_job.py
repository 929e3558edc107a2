"""The whole job of a spec: train, sweep sites and sizes on the selection split, choose, challenge on the test."""

from __future__ import annotations

import copy
import platform
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch

from commutes import __version__
from commutes.algorithm import Algorithm
from commutes.alignment import Alignment
from commutes.counterfactuals import Counterfactuals, Distribution, census, counterfactuals
from commutes.errors import is_out_of_memory, memory_error
from commutes.evaluation import Evaluation, evaluate
from commutes.features import Rotation, Subspace
from commutes.network import Network
from commutes.report import exit_status
from commutes.report.figures import fit_curves, heat_map
from commutes.robustness import Report, challenge
from commutes.search._builders import build_algorithm, build_network, distribution, train_network
from commutes.search._finished import finished, mark_finished
from commutes.search._grid import Grid, GridRow, grid, swap_sets
from commutes.search._hypothesis import Hypothesis, blamed, load_hypothesis
from commutes.search._spec import Spec
from commutes.search._store import Cell, Store
from commutes.search._store_checks import RUN
from commutes.training import Settings, fit

# What the card calls the sweep. The place and size are chosen by the worst swapped set x stratum, then the rate over
# all pairs, then the smaller size, then the earlier place.
SELECTION = "selection split, optimistic"


class Told(Protocol):
    """What is called while a run goes on."""

    def __call__(self, stage: str, step: int, steps: int, figures: Mapping[str, Any] = ...) -> None:
        """`step` of `steps` of `stage` are done; `figures` are a few numbers worth showing."""


@dataclass(frozen=True, eq=False)
class Outcome:
    """A finished run."""

    record: Mapping[str, Any]
    """The report's record."""
    folder: Path
    exit_status: int
    """0 where no level was required; otherwise 0 the level is reached, 1 refuted, 4 neither."""
    report: Report | None
    """None where the run was finished before this start: nothing was computed or opened again."""


@dataclass(frozen=True, eq=False)
class _Data:
    """The parts of the data. In a census all are the complete domain, and everything is in-sample."""

    train: Counterfactuals
    select: Counterfactuals | None
    test: Counterfactuals
    source: str
    """SHA-256 of the hypothesis file, which says how inputs are drawn and encoded."""

    @property
    def measured(self) -> Counterfactuals:
        """What the cells of the sweep are measured on."""
        return self.test if self.select is None else self.select


def run(spec: Spec, *, out: Path, progress: Told | None = None, require: str | None = None) -> Outcome:
    """Do what the spec says and write the run folder; started again, it does what is missing.

    Args:
        spec: What to do.
        out: The run folder.
        progress: Called with (stage, step, steps, figures).
        require: The level on which the exit status depends.

    Raises:
        CommutesError: The spec asks for something that its algorithm or network cannot give.
    """
    hypothesis = load_hypothesis(spec)
    with blamed(hypothesis):
        return _run(hypothesis, spec, out, progress, require)


def _run(
    hypothesis: Hypothesis, spec: Spec, out: Path, progress: Told | None, require: str | None
) -> Outcome:
    algorithm = build_algorithm(hypothesis, spec)
    versions = _versions()
    what = {"hypothesis": hypothesis.sha256, **versions}
    level = max(require or spec.challenge.level, spec.challenge.level)
    Store.check(out, spec.identity(algorithm))
    if (out / RUN).exists():
        earlier = finished(Store.existing(out), what, level=level)
        if earlier is not None:
            return Outcome(earlier, out, _status(earlier, require), None)
    untrained = build_network(hypothesis, spec, algorithm, seed=spec.seed)
    # Every place and size is held against the untrained network, before the long work begins.
    grid(spec, algorithm, untrained)
    drawn = _data(spec, algorithm, distribution(hypothesis, spec), hypothesis.sha256)
    store = Store.open(out, spec.identity(algorithm), notes=versions)
    network = _trained(store, hypothesis, spec, algorithm, untrained, progress)
    plan = grid(spec, algorithm, network)
    cells = _sweep(store, spec, plan, drawn, progress)
    chosen = _chosen(cells)
    selection = _selection(spec, cells, chosen)
    alignment = _alignment(store, plan, drawn, cells[chosen])
    report = challenge(
        alignment,
        train=drawn.train,
        select=drawn.select,
        test=drawn.test,
        level=level,
        target=spec.challenge.target,
        behaviour=spec.challenge.behaviour,
        refits=spec.challenge.refits,
        controls=spec.challenge.controls,
        seed=spec.seed,
        selection=selection,
        ledger=out,
        reproduce=spec.command,
        progress=progress,
    )
    report.save(out, figures=_draw(out, selection, cells[chosen]))
    mark_finished(store, what)
    record = report.record()
    return Outcome(record, out, _status(record, require), report)


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


def _data(spec: Spec, algorithm: Algorithm, drawn_by: str | Distribution, source: str) -> _Data:
    swap = swap_sets(spec, algorithm)
    if spec.data.census:
        complete = census(algorithm, swap=swap)
        return _Data(complete, None, complete, source)
    pairs = counterfactuals(algorithm, spec.data.pairs, swap=swap, distribution=drawn_by, seed=spec.seed)
    shares = spec.data.split
    train, select, test = pairs.split(train=shares.train, select=shares.select, test=shares.test)
    return _Data(train, select, test, source)


def _trained(
    store: Store,
    hypothesis: Hypothesis,
    spec: Spec,
    algorithm: Algorithm,
    untrained: Network,
    progress: Told | None,
) -> Network:
    """The trained network, from the store where an earlier start of this run has trained it."""
    if spec.network.train is None:
        return untrained
    what = {
        "kind": "network",
        "hypothesis": hypothesis.sha256,
        "untrained": untrained.fingerprint,
        "seed": spec.seed,
        "torch": torch.__version__,
    }
    key = store.key(what)
    if store.has(key):
        arrays = store.tensors(store.cell(key).tensors[0])
        return _with_weights(untrained, arrays)
    start = time.perf_counter()
    trained = train_network(
        hypothesis,
        spec,
        untrained,
        algorithm,
        seed=spec.seed,
        progress=_staged(progress, "training the network"),
    )
    arrays = {k: t.detach().cpu().contiguous().numpy() for k, t in trained.module.state_dict().items()}
    record = {"fingerprint": trained.fingerprint}
    store.put(
        what, record, tensors=(store.put_tensors(arrays),), times={"seconds": time.perf_counter() - start}
    )
    return _with_weights(untrained, arrays)


def _with_weights(untrained: Network, arrays: Mapping[str, np.ndarray]) -> Network:
    module = copy.deepcopy(untrained.module)
    module.load_state_dict({k: torch.from_numpy(a.copy()) for k, a in arrays.items()})
    return untrained.with_module(module)


@dataclass(frozen=True, eq=False)
class _Fitted:
    """One cell of the sweep: a place, a size, and what was found there."""

    row: GridRow
    size: int
    cell: Cell
    fitted: Alignment | None

    @property
    def rank(self) -> tuple[float, float, int]:
        """By what the cell is chosen: higher is better."""
        record = self.cell.record
        return (record["worst"], record["rate"], -self.size)


def _sweep(store: Store, spec: Spec, plan: Grid, drawn: _Data, progress: Told | None) -> list[_Fitted]:
    found = []
    for number, (row, size) in enumerate(plan.cells):
        try:
            found.append(_cell(store, spec, plan, row, size, drawn, number, progress))
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            raise memory_error(error, where=f"cell {number + 1}, {row.label} k={size}") from error
        if progress is not None:
            figures = {f"{row.label} k={size}": found[-1].cell.record["rate"]}
            progress("sweeping places and sizes", number + 1, len(plan.cells), figures)
    return found


def _cell(
    store: Store,
    spec: Spec,
    plan: Grid,
    row: GridRow,
    size: int,
    drawn: _Data,
    number: int,
    progress: Told | None,
) -> _Fitted:
    settings = Settings(spec.fit.steps, spec.fit.lr, spec.fit.batch, spec.fit.starts)
    what = {
        "kind": "cell",
        "hypothesis": drawn.source,
        "algorithm": drawn.train.algorithm.fingerprint,
        "network": row.site.network.fingerprint,
        "data": {"seed": spec.seed, **spec.data.model_dump(mode="json")},
        "fit": {"method": spec.fit.method, "seed": spec.seed, **asdict(settings)},
        "variables": list(spec.claim.variables),
        "joint": [list(names) for names in spec.claim.joint],
        "place": row.label,
        "size": size,
        "commutes": __version__,
        "torch": torch.__version__,
    }
    key = store.key(what)
    if store.has(key):
        return _Fitted(row, size, store.cell(key), None)
    start = time.perf_counter()
    alignment = fit(
        _claim(plan, row, size, drawn.train.algorithm),
        drawn.train,
        select=drawn.select,
        seed=spec.seed,
        steps=settings.steps,
        lr=settings.lr,
        batch=settings.batch,
        starts=settings.starts,
        progress=_staged(progress, f"fitting cell {number + 1}, {row.label} k={size}"),
    )
    reached = evaluate(alignment, drawn.measured, census=spec.data.census, seed=spec.seed)
    (subspace,) = alignment.featurizers
    assert isinstance(subspace, Subspace)
    sha = store.put_tensors(
        {"reader": subspace.reader.cpu().numpy(), "writer": subspace.writer.cpu().numpy()}
    )
    record = _cell_record(reached) | {"history": dict(alignment.history)}
    cell = store.put(what, record, tensors=(sha,), times={"seconds": time.perf_counter() - start})
    return _Fitted(row, size, cell, alignment)


def _claim(plan: Grid, row: GridRow, size: int, algorithm: Algorithm) -> Alignment:
    rotation = Rotation(row.site)
    slices = {v: rotation[i * size : (i + 1) * size] for i, v in enumerate(plan.variables)}
    return Alignment(algorithm, slices)


def _cell_record(reached: Evaluation) -> dict[str, Any]:
    overall = reached.overall
    measured = [(c.status == "gated", c.rate.rate) for c in reached.cells if c.rate is not None]
    # One miss in a cell of a few pairs must not choose the place: such cells count only where there are no others.
    lowest = min([r for gated, r in measured if gated] or [r for _, r in measured], default=float("nan"))
    return {
        "rate": overall.rate,
        "low": overall.low,
        "high": overall.high,
        "n": overall.n,
        "worst": lowest,
        "floor": max(floor.rate for floor in reached.floors.values()),
    }


def _chosen(cells: list[_Fitted]) -> int:
    return max(range(len(cells)), key=lambda i: (*cells[i].rank, -i))


def _alignment(store: Store, plan: Grid, drawn: _Data, chosen: _Fitted) -> Alignment:
    """The chosen claim, read from the store where this start did not fit it."""
    if chosen.fitted is not None:
        return chosen.fitted
    arrays = store.tensors(chosen.cell.tensors[0])
    subspace = Subspace(torch.from_numpy(arrays["reader"].copy()), torch.from_numpy(arrays["writer"].copy()))
    claim = _claim(plan, chosen.row, chosen.size, drawn.train.algorithm)
    return claim.with_maps(
        [subspace.checked(f"cell {chosen.cell.key[:12]}")],
        fitted_ids=drawn.train.input_ids,
        selected_ids=None if drawn.select is None else drawn.select.input_ids,
        history=chosen.cell.record["history"],
    )


def _selection(spec: Spec, cells: list[_Fitted], chosen: int) -> dict[str, Any]:
    return {
        "rows": list(dict.fromkeys(c.row.label for c in cells)),
        "columns": list(spec.claim.sizes),
        "cells": [
            {
                "row": c.row.label,
                "column": c.size,
                **{name: c.cell.record[name] for name in ("rate", "low", "high", "n", "floor")},
                "status": "done",
                "chosen": i == chosen,
            }
            for i, c in enumerate(cells)
        ],
        "label": "complete domain, in-sample" if spec.data.census else SELECTION,
    }


def _draw(out: Path, selection: Mapping[str, Any], chosen: _Fitted) -> dict[str, str]:
    """Draw the sweep and the chosen fit as PNG and SVG; the SVG texts by name."""
    figures = out / "figures"
    figures.mkdir(exist_ok=True)
    heat_map(selection, figures / "heat_map.png", figures / "heat_map.svg")
    history = chosen.cell.record["history"]
    curve = {
        "label": f"{chosen.row.label}, k = {chosen.size}",
        "loss": history["loss"],
        "select": history["selection"],
        "kept": history["chosen_step"],
    }
    fit_curves([curve], figures / "fit_curves.png", figures / "fit_curves.svg")
    return {name: (figures / f"{name}.svg").read_text() for name in ("heat_map", "fit_curves")}


def _staged(progress: Told | None, stage: str) -> Callable[[int, int, Mapping[str, float]], None] | None:
    if progress is None:
        return None
    return lambda step, steps, figures: progress(stage, step, steps, figures)

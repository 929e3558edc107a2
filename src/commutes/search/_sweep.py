"""The cells of a sweep: fitted in cohorts, measured on the selection split, kept in the store, and one chosen."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Protocol

import torch

from commutes import __version__
from commutes.alignment import Alignment
from commutes.counterfactuals import Counterfactuals
from commutes.errors import FitError, is_out_of_memory, memory_error
from commutes.evaluation import Evaluation, evaluate
from commutes.features import Subspace
from commutes.search._grid import Grid, GridRow, claim
from commutes.search._spec import Spec
from commutes.search._store import Cell, Store
from commutes.training import Settings, fit_many

__all__ = ["Data", "Fitted", "Told", "aligned", "chosen", "cohorts", "staged", "sweep"]


class Told(Protocol):
    """What is called while a run goes on."""

    def __call__(self, stage: str, step: int, steps: int, figures: Mapping[str, Any] = ...) -> None:
        """`step` of `steps` of `stage` are done; `figures` are a few numbers worth showing."""


@dataclass(frozen=True, eq=False)
class Data:
    """The parts of the data. In a census all are the complete domain, and everything is in-sample."""

    train: Counterfactuals
    select: Counterfactuals | None
    test: Counterfactuals
    source: str
    """SHA-256 of the hypothesis file, which says how inputs are drawn and encoded."""

    @property
    def parts(self) -> tuple[Counterfactuals, ...]:
        """What differs among them, the test last."""
        return (self.test,) if self.select is None else (self.train, self.select, self.test)

    @property
    def measured(self) -> Counterfactuals:
        """What the cells of the sweep are measured on."""
        return self.test if self.select is None else self.select


@dataclass(frozen=True, eq=False)
class Fitted:
    """One cell of the sweep: a place, a size, and what was found there."""

    row: GridRow
    size: int
    cell: Cell
    fitted: Alignment | None
    """None where an earlier start of the run has fitted it."""

    @property
    def rank(self) -> tuple[float, float, int]:
        """By what the cell is chosen: higher is better."""
        record = self.cell.record
        return (record["worst"], record["rate"], -self.size)


Place = tuple[GridRow, int]

NO_ROOM = memory_error(MemoryError()).what


def sweep(store: Store, spec: Spec, plan: Grid, drawn: Data, progress: Told | None) -> list[Fitted]:
    """Every cell of the grid, in its order; what the store has is not fitted again.

    Raises:
        FitError: The device has no room for a cohort.
    """
    found: dict[Place, Fitted] = {}
    for members in cohorts(spec, plan):
        start = len(found)
        for one in _cohort(store, spec, plan, members, drawn, start, progress):
            found[one.row, one.size] = one
            if progress is not None:
                figures = {_label(one.row, one.size): one.cell.record["rate"]}
                progress("sweeping places and sizes", len(found), len(plan.cells), figures)
    return [found[place] for place in plan.cells]


def cohorts(spec: Spec, plan: Grid) -> list[tuple[Place, ...]]:
    """The cells that are fitted in one call: in a language model at most `fit.cohort` of them, which share forwards.

    In another network every cell is fitted alone. Its places are run one by one in any case, and a fit ends as soon
    as it is right on the whole selection split: together all would go on until the last one is.
    """
    alone = next(iter(plan.rows[0].widths)).network.language is None
    most = 1 if alone else spec.fit.cohort
    return [plan.cells[i : i + most] for i in range(0, len(plan.cells), most)]


def _cohort(
    store: Store,
    spec: Spec,
    plan: Grid,
    members: Sequence[Place],
    drawn: Data,
    start: int,
    progress: Told | None,
) -> Iterator[Fitted]:
    """The cells of a cohort, each as soon as it is measured and on disk."""
    whats = [_what(spec, plan, place, members, drawn) for place in members]
    keys = [store.key(what) for what in whats]
    if all(store.has(key) for key in keys):
        yield from (
            Fitted(row, size, store.cell(key), None) for (row, size), key in zip(members, keys, strict=True)
        )
        return
    # What is fitted together is fitted again together: another batch would round in another way.
    begin = time.perf_counter()
    alignments = _fits(spec, members, drawn, staged(progress, _stage(plan, members, start)))
    seconds = (time.perf_counter() - begin) / len(members)
    for number, (what, alignment) in enumerate(zip(whats, alignments, strict=True)):
        begin = time.perf_counter()
        row, size = members[number]
        reached = _evaluated(spec, members[number], start + number + 1, alignment, drawn)
        sha = store.put_tensors(_tensors(alignment))
        record = cell_record(reached) | {"history": dict(alignment.history)}
        times = {"seconds": seconds + time.perf_counter() - begin}
        yield Fitted(row, size, store.put(what, record, tensors=(sha,), times=times), alignment)


def _what(spec: Spec, plan: Grid, place: Place, members: Sequence[Place], drawn: Data) -> dict[str, Any]:
    row, size = place
    return {
        "kind": "cell",
        "hypothesis": drawn.source,
        "algorithm": drawn.train.algorithm.fingerprint,
        "network": next(iter(row.widths)).network.fingerprint,
        "data": {"seed": spec.seed, **spec.data.model_dump(mode="json")},
        "fit": {"method": spec.fit.method, "seed": spec.seed, **asdict(_settings(spec))},
        "variables": {variable.name: str(row.sites[variable]) for variable in plan.variables},
        "joint": [list(names) for names in spec.claim.joint],
        "place": row.label,
        "size": size,
        "map": spec.claim.map,
        "cohort": [[other.label, k] for other, k in members],
        "commutes": __version__,
        "torch": torch.__version__,
    }


def _settings(spec: Spec) -> Settings:
    fit = spec.fit
    return Settings(fit.steps, fit.lr, fit.batch, fit.starts, objective=fit.objective)


def _fits(
    spec: Spec,
    members: Sequence[Place],
    drawn: Data,
    progress: Callable[[int, int, Mapping[str, float]], None] | None,
) -> list[Alignment]:
    n = len(members)
    try:
        return fit_many(
            [claim(row, size, drawn.train.algorithm, spec.claim.map) for row, size in members],
            [drawn.train] * n,
            selects=None if drawn.select is None else [drawn.select] * n,
            seed=spec.seed,
            settings=_settings(spec),
            progress=progress,
        )
    except FitError as error:
        if error.what != NO_ROOM or n == 1:
            raise
        first, last = _label(*members[0]), _label(*members[-1])
        raise FitError(
            error.what,
            where=f"{n} cells at once, {first} to {last}; {error.where}",
            got=error.got,
            expected=error.expected,
            fix=f"fit fewer cells at once (--set fit.cohort={n // 2}), or {error.fix}",
        ) from error


def _evaluated(spec: Spec, place: Place, number: int, alignment: Alignment, drawn: Data) -> Evaluation:
    try:
        return evaluate(alignment, drawn.measured, census=spec.data.census, seed=spec.seed)
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        raise memory_error(error, where=f"cell {number}, {_label(*place)}") from error


def _label(row: GridRow, size: int) -> str:
    return f"{row.label} k={size}"


def _stage(plan: Grid, members: Sequence[Place], start: int) -> str:
    if len(members) == 1:
        return f"fitting cell {start + 1}, {_label(*members[0])}"
    return f"fitting cells {start + 1} to {start + len(members)} of {len(plan.cells)}"


def _tensors(alignment: Alignment) -> dict[str, Any]:
    tensors = {}
    for number, subspace in enumerate(alignment.featurizers):
        assert isinstance(subspace, Subspace), "a sweep fits rotations"
        tensors[f"reader.{number}"] = subspace.reader.cpu().numpy()
        tensors[f"writer.{number}"] = subspace.writer.cpu().numpy()
    return tensors


def cell_record(reached: Evaluation) -> dict[str, Any]:
    """What is kept of a cell's measurement: rates, floors, and the same by swapped set and stratum."""
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
        "strata": [
            {
                "swap": c.swap,
                "stratum": c.stratum,
                "status": c.status,
                "rate": None if c.rate is None else c.rate.rate,
                "low": None if c.rate is None else c.rate.low,
                "high": None if c.rate is None else c.rate.high,
                "n": 0 if c.rate is None else c.rate.n,
                "floors": dict(c.floors),
            }
            for c in reached.cells
        ],
    }


def chosen(cells: Sequence[Fitted]) -> int:
    """The cell with the best worst stratum, then the best rate, then the smallest size, then the first."""
    return max(range(len(cells)), key=lambda i: (*cells[i].rank, -i))


def aligned(spec: Spec, store: Store, drawn: Data, cell: Fitted) -> Alignment:
    """The claim of a cell, read from the store where this start did not fit it."""
    if cell.fitted is not None:
        return cell.fitted
    arrays = store.tensors(cell.cell.tensors[0])
    tensors = {name: torch.from_numpy(array.copy()) for name, array in arrays.items()}
    found = claim(cell.row, cell.size, drawn.train.algorithm, spec.claim.map)
    device = found.network.device
    maps = [
        Subspace(tensors[f"reader.{i}"].to(device), tensors[f"writer.{i}"].to(device))
        for i in range(len(found.groups))
    ]
    return found.with_maps(
        [subspace.checked(f"cell {cell.cell.key[:12]}") for subspace in maps],
        fitted_ids=drawn.train.input_ids,
        selected_ids=None if drawn.select is None else drawn.select.input_ids,
        history=cell.cell.record["history"],
    )


def staged(progress: Told | None, stage: str) -> Callable[[int, int, Mapping[str, float]], None] | None:
    """`progress` for the steps of one stage."""
    if progress is None:
        return None
    return lambda step, steps, figures: progress(stage, step, steps, figures)

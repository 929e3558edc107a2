"""Sweeps of a language model: whole cohorts, one call each, and the job around them."""

from __future__ import annotations

import json

import pytest

import commutes.search._sweep as sweeping
from commutes.errors import FitError
from commutes.report import load_report
from commutes.search import build_network, grid, load_hypothesis, read_spec, run
from tests.counting import project


@pytest.fixture
def spec_path(tmp_path, counting_model):
    return project(tmp_path / "project", counting_model)


@pytest.fixture
def calls(monkeypatch):
    """The shapes of the claims of every call that fits."""
    found = []
    real = sweeping.fit_many

    def counted(alignments, *args, **kwargs):
        found.append([[(g.width, g.dimension) for g in alignment.groups] for alignment in alignments])
        return real(alignments, *args, **kwargs)

    monkeypatch.setattr(sweeping, "fit_many", counted)
    return found


def plan_of(spec):
    hypothesis = load_hypothesis(spec)
    algorithm = hypothesis.module.algorithm().check()
    return grid(spec, algorithm, build_network(hypothesis, spec, algorithm, seed=0))


def test_a_whole_sweep_is_one_cohort_unless_it_is_large(spec_path):
    spec = read_spec(spec_path)
    plan = plan_of(spec)
    assert sweeping.cohorts(spec, plan) == [plan.cells]
    few = sweeping.cohorts(read_spec(spec_path, overrides=["fit.cohort=3"]), plan)
    assert [len(members) for members in few] == [3, 3, 2]
    assert tuple(place for members in few for place in members) == plan.cells


def test_a_run_of_a_language_model(spec_path, tmp_path, calls):
    told = []
    spec = read_spec(spec_path, given="counting.toml")
    out = tmp_path / "out"
    done = run(spec, out=out, progress=lambda stage, step, steps, figures=None: told.append(stage))
    record = load_report(out / "report.json")
    # One call for all of them.
    assert calls == [[[(16, 1)], [(16, 2)]] * 4]
    stages = list(dict.fromkeys(told))
    assert stages[0] == "checking the behaviour"
    assert "fitting cells 1 to 8 of 8" in stages
    selection = record.selection
    assert selection is not None
    assert (selection.rows, selection.columns) == ((0, 1), ("{a[first]}", "last"))
    assert (selection.row_name, selection.column_name, selection.place) == (
        "layer",
        "position",
        "block_output",
    )
    assert len(selection.cells) == 8
    for cell in selection.cells:
        gated = [s.rate for s in cell.strata if s.status == "gated"] or [s.rate for s in cell.strata if s.n]
        assert cell.worst == min(rate for rate in gated if rate is not None)
        assert {s.stratum for s in cell.strata} == {"flip", "placebo", "novel", "neutral"}
        assert all(
            set(s.floors) == {"do nothing", "best constant", "random subspace"} for s in cell.strata if s.n
        )
    chosen = next(cell for cell in selection.cells if cell.chosen)
    assert chosen.worst == max(cell.worst or 0.0 for cell in selection.cells)
    assert f"{chosen.size} coordinate" in str(done.report)
    names = {path.name for path in (out / "figures").iterdir()}
    assert {"heat_map.png", "heat_map.svg", "strata.png", "strata.svg", "fit_curves.svg"} <= names
    page = (out / "report.html").read_text()
    assert 'id="sought"' in page
    assert "IIA of block_output by layer and position" in page
    calls.clear()
    assert run(spec, out=out).report is None
    assert calls == []


@pytest.mark.slow
def test_a_cohort_of_which_a_cell_is_missing_is_fitted_again_whole(spec_path, tmp_path, calls):
    spec = read_spec(spec_path, overrides=["fit.cohort=4"])
    first = run(spec, out=tmp_path / "a").record
    cells = sorted((tmp_path / "a").glob("cells/*/*.json"))
    lost = next(p for p in cells if "layer 1" in json.loads(p.read_text())["what"].get("place", ""))
    lost.unlink()
    (tmp_path / "a" / "done.json").unlink()
    calls.clear()
    second = run(spec, out=tmp_path / "a").record
    assert calls == [[[(16, 1)], [(16, 2)]] * 2]
    assert second["selection"] == first["selection"]
    assert sorted((tmp_path / "a").glob("cells/*/*.json")) == cells


@pytest.mark.slow
def test_a_cell_is_the_same_alone_and_in_a_cohort(spec_path, tmp_path):
    together = run(read_spec(spec_path), out=tmp_path / "a").record["selection"]["cells"]
    alone = run(read_spec(spec_path, overrides=["fit.cohort=1"]), out=tmp_path / "b").record["selection"][
        "cells"
    ]
    assert [cell["rate"] for cell in together] == pytest.approx([cell["rate"] for cell in alone], abs=0.05)


def test_no_room_for_a_cohort_advises_a_smaller_one(spec_path, tmp_path, monkeypatch):
    def full(*_args, **_kwargs):
        raise MemoryError("no room")

    monkeypatch.setattr("commutes.training._fit.cohort", full)
    with pytest.raises(FitError) as caught:
        run(read_spec(spec_path), out=tmp_path / "out")
    error = caught.value
    assert error.what == "out of memory"
    assert error.where == (
        "8 cells at once, block_output of layer 0 at {a[first]} k=1 to block_output of layer 1 at last k=2; "
        "8 fits at once, 32 pairs a step"
    )
    assert (error.fix or "").startswith(
        "fit fewer cells at once (--set fit.cohort=4), or use a smaller batch"
    )


def test_variables_apart_are_fitted_and_read_back(spec_path, tmp_path, calls):
    text = spec_path.read_text().replace('variables = ["left"]', 'variables = ["left", "right"]')
    text = text.replace('positions = ["{a[first]}", "last"]', 'positions = ["{a[first]}"]')
    spec_path.write_text(text + '\n[claim.at.right]\nposition = "{b[first]}"\n')
    spec = read_spec(spec_path, overrides=["claim.layers=[0]"])
    first = run(spec, out=tmp_path / "out").record
    assert calls == [[[(16, 1), (16, 1)], [(16, 2), (16, 2)]]]
    assert {v["name"] for v in first["claim"]["variables"]} == {"left", "right"}
    assert len({v["site"] for v in first["claim"]["variables"]}) == 2
    # The claim that is challenged again was read from the store.
    (tmp_path / "out" / "done.json").unlink()
    calls.clear()
    second = run(spec, out=tmp_path / "out").record
    assert calls == []
    assert second["evaluation"] == first["evaluation"]
    assert second["claim"]["fingerprint"] == first["claim"]["fingerprint"]

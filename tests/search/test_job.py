"""The whole job: done once, resumed where it stopped, the same whatever interrupted it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import commutes.search._job as job
import commutes.search._sweep as sweeping
from commutes import load
from commutes.report import as_report, load_report
from commutes.search import build_algorithm, find_spec, load_hypothesis, read_spec

# The network of these tests is not trained: a floor that it clears lets the job go on to the claim.
QUICK = ("fit.steps=6", "fit.batch=16", "fit.starts=1", "data.pairs=320", "challenge.behaviour=0.2")
FILES = [
    "alignment.json", "alignment.safetensors", "done.json", "figures", "openings.json",
    "pairs.parquet", "refits", "report.html", "report.json", "run.json",
]  # fmt: skip


def spec_of(path: Path, *overrides: str):
    return read_spec(path, overrides=[*QUICK, *overrides])


def differences(one, two, where=""):
    """Where two records differ, for a message that can be read."""
    if isinstance(one, dict) and isinstance(two, dict):
        keys = sorted(one.keys() | two.keys())
        return [d for k in keys for d in differences(one.get(k), two.get(k), f"{where}.{k}")]
    if isinstance(one, list) and isinstance(two, list) and len(one) == len(two):
        return [
            d
            for i, (a, b) in enumerate(zip(one, two, strict=True))
            for d in differences(a, b, f"{where}[{i}]")
        ]
    return [] if one == two else [f"{where}: {one!r} != {two!r}"]


def timeless(record):
    """The record without seconds and without the count of openings."""
    copied = json.loads(json.dumps(record))
    for check in copied["checks"]:
        check["cost"].pop("seconds")
    copied["cost"].pop("seconds")
    copied["claim"].pop("opened")
    return copied


@pytest.fixture
def fits(monkeypatch):
    """Counts the cells that are fitted."""
    found = []
    real = sweeping.fit_many

    def counted(alignments, *args, **kwargs):
        found.extend(str(alignment.sites[0]) for alignment in alignments)
        return real(alignments, *args, **kwargs)

    monkeypatch.setattr(sweeping, "fit_many", counted)
    return found


@pytest.fixture
def trainings(project):
    """Counts how often the hypothesis' network is trained."""
    log = project / "trained.log"
    path = project / "gate.py"
    text = path.read_text().replace(
        "def train(network, algorithm, *, seed, progress=None):\n",
        "def train(network, algorithm, *, seed, progress=None):\n"
        f"    with open({str(log)!r}, 'a') as log:\n        log.write('trained ')\n",
    )
    assert "log.write" in text
    path.write_text(text)
    return lambda: log.read_text().split().count("trained") if log.exists() else 0


def cells_of(folder: Path) -> list[Path]:
    """The files of the cells that are fits."""
    found = [p for p in folder.glob("cells/*/*.json") if json.loads(p.read_text())["what"]["kind"] == "cell"]
    return sorted(found)


def test_a_run_writes_its_folder_and_the_card_is_a_report(spec_path, tmp_path, fits, trainings):
    out = tmp_path / "out"
    done = job.run(spec_of(spec_path), out=out)
    assert done.exit_status == 0
    assert done.folder == out
    assert set(FILES) <= {p.name for p in out.iterdir()}
    assert not list(out.rglob("*.tmp"))
    record = load_report(out / "report.json")
    assert record == as_report(done.record)
    assert len(fits) == 4
    assert trainings() == 1
    assert {p.name for p in (out / "figures").iterdir()} >= {"heat_map.png", "heat_map.svg"}
    assert record.claim.opened == 1
    assert record.reproduce.startswith("commutes run")
    assert record.seeds == {"challenge": 3, "fit": 3}


def test_the_chosen_cell_is_the_best_of_the_selection_split_and_is_measured_on_the_test(spec_path, tmp_path):
    done = job.run(spec_of(spec_path), out=tmp_path / "out")
    selection, evaluation = done.record["selection"], done.record["evaluation"]
    assert evaluation["part"] == "test"
    assert evaluation["label"] == ""
    cells = selection["cells"]
    assert [(c["row"], c["column"]) for c in cells] == [
        (row, size) for row in selection["rows"] for size in selection["columns"]
    ]
    (chosen,) = [c for c in cells if c["chosen"]]
    (variable,) = done.record["claim"]["variables"]
    assert (variable["site"], variable["k"]) == (chosen["row"], chosen["column"])
    assert "optimistic" in selection["label"]
    stored = [json.loads(p.read_text()) for p in cells_of(tmp_path / "out")]
    best = max(c["record"]["worst"] for c in stored)
    own = next(
        c for c in stored if (c["what"]["place"], c["what"]["size"]) == (chosen["row"], chosen["column"])
    )
    assert own["record"]["worst"] == best
    assert own["record"]["rate"] == chosen["rate"]


@pytest.mark.slow
def test_the_saved_claim_is_the_one_on_the_card(spec_path, tmp_path):
    spec = spec_of(spec_path)
    job.run(spec, out=tmp_path / "out")
    hypothesis = load_hypothesis(spec)
    algorithm = build_algorithm(hypothesis, spec)
    network = hypothesis.function("network", where="")(algorithm, seed=3)
    claim = load(tmp_path / "out", algorithm=algorithm, network=network)
    assert claim.fitted
    assert len(claim.fitted_ids)
    assert len(claim.selected_ids)


@pytest.mark.slow
def test_the_same_run_in_another_folder_is_the_same(spec_path, tmp_path):
    one, two = (job.run(spec_of(spec_path), out=tmp_path / name) for name in ("one", "two"))
    assert differences(timeless(one.record), timeless(two.record)) == []
    names = [[p.relative_to(tmp_path / n).as_posix() for p in cells_of(tmp_path / n)] for n in ("one", "two")]
    assert names[0] == names[1]


def test_a_run_without_its_report_does_the_challenge_and_no_fit_again(spec_path, tmp_path, fits, trainings):
    out = tmp_path / "out"
    first = job.run(spec_of(spec_path), out=out)
    fits.clear()
    (out / "report.json").unlink()
    again = job.run(spec_of(spec_path), out=out)
    assert fits == []
    assert trainings() == 1
    assert differences(timeless(again.record), timeless(first.record)) == []
    assert again.record["claim"]["opened"] == 2
    assert load_report(out / "report.json") == as_report(again.record)


def test_missing_cells_are_computed_and_no_others(spec_path, tmp_path, fits, trainings):
    out = tmp_path / "out"
    first = job.run(spec_of(spec_path), out=out)
    cells = cells_of(out)
    gone = [cells[0], cells[2]]
    wanted = sorted(json.loads(p.read_text())["what"]["place"] for p in gone)
    before = {p: p.read_bytes() for p in cells if p not in gone}
    for path in [*gone, out / "report.json"]:
        path.unlink()
    fits.clear()
    again = job.run(spec_of(spec_path), out=out)
    assert sorted(fits) == wanted
    assert trainings() == 1
    assert cells_of(out) == cells
    assert all(p.read_bytes() == data for p, data in before.items())
    assert differences(timeless(again.record), timeless(first.record)) == []


@pytest.mark.parametrize("after", [1, pytest.param(3, marks=pytest.mark.slow)])
def test_a_run_that_is_killed_in_its_sweep_goes_on_where_it_was(spec_path, tmp_path, fits, after):
    whole = job.run(spec_of(spec_path), out=tmp_path / "whole")
    fits.clear()

    def killed(stage, step, steps, figures=None):
        if stage == "sweeping places and sizes" and step == after:
            raise KeyboardInterrupt

    out = tmp_path / "killed"
    with pytest.raises(KeyboardInterrupt):
        job.run(spec_of(spec_path), out=out, progress=killed)
    assert len(cells_of(out)) == after
    assert not (out / "report.json").exists()
    assert len(fits) == after
    again = job.run(spec_of(spec_path), out=out)
    assert len(fits) == 4
    assert differences(timeless(again.record), timeless(whole.record)) == []
    assert again.record["claim"]["opened"] == whole.record["claim"]["opened"] == 1


def test_a_run_that_is_killed_in_its_challenge_has_opened_the_test(spec_path, tmp_path, fits):
    def killed(stage, step, steps, figures=None):
        if stage == "checks":
            raise KeyboardInterrupt

    out = tmp_path / "out"
    with pytest.raises(KeyboardInterrupt):
        job.run(spec_of(spec_path), out=out, progress=killed)
    assert not (out / "report.json").exists()
    fits.clear()
    again = job.run(spec_of(spec_path), out=out)
    assert fits == []
    assert again.record["claim"]["opened"] == 2


@pytest.mark.slow
def test_a_change_of_the_hypothesis_file_makes_every_cell_new(spec_path, project, tmp_path, fits):
    out = tmp_path / "out"
    job.run(spec_of(spec_path), out=out)
    path = project / "gate.py"
    path.write_text(path.read_text().replace("dtype=torch.float32)", "dtype=torch.float32) * 2"))
    fits.clear()
    job.run(spec_of(spec_path), out=out)
    assert len(fits) == 4
    assert len(cells_of(out)) == 8


@pytest.mark.parametrize(
    "level", [pytest.param("R0", marks=pytest.mark.slow), pytest.param("R1", marks=pytest.mark.slow), "R2"]
)
def test_the_status_depends_on_a_level_only_where_one_is_required(spec_path, tmp_path, level):
    out = tmp_path / "out"
    done = job.run(spec_of(spec_path, 'challenge.level="R1"'), out=out, require=level)
    record = done.record
    reached = record["level"] >= level
    refuted = any(
        c["answer"] == "refuted" and c["id"] in ("A1", "A3" if level == "R1" else "A2", "B1", "B2")
        for c in record["checks"]
    )
    assert done.exit_status == (0 if reached else 1 if refuted else 4)
    # An untrained network does not behave: what is found is no error unless it was required to be otherwise.
    assert (done.exit_status == 0) == (level == "R0")
    assert record["sought"] == max("R1", level)
    assert job.run(spec_of(spec_path, 'challenge.level="R1"'), out=out).exit_status == 0


def test_progress_names_every_stage(spec_path, tmp_path):
    told = []
    job.run(
        spec_of(spec_path),
        out=tmp_path / "out",
        progress=lambda stage, step, steps, figures=None: told.append((stage, step, steps)),
    )
    stages = list(dict.fromkeys(stage for stage, *_ in told))
    assert stages[0] == "training the network"
    assert [s for s in stages if s.startswith("fitting cell")] == [
        f"fitting cell {i + 1}, layers.{i // 2} k={1 + i % 2}" for i in range(4)
    ]
    assert [(step, steps) for stage, step, steps in told if stage == "sweeping places and sizes"] == [
        (i, 4) for i in range(1, 5)
    ]
    assert {"untrained networks", "control tasks", "checks"} <= set(stages)


def shipped_run(name: str, out: Path, *overrides: str):
    return job.run(read_spec(find_spec(name), given=name, overrides=list(overrides)), out=out)


@pytest.mark.slow
def test_the_boolean_census_says_of_itself_that_it_is_in_sample(tmp_path):
    done = shipped_run("boolean", tmp_path / "out", "fit.steps=200", "fit.batch=64", "fit.starts=2")
    record = done.record
    answers = {c["id"]: c for c in record["checks"]}
    assert record["evaluation"]["label"] == "in-sample, complete domain"
    assert record["evaluation"]["census"] is True
    assert answers["A1"]["answer"] == "supported"
    assert answers["A3"]["answer"] == "supported"
    assert answers["A6"]["answer"] == "vacuous"
    assert "no input is left to hold out" in answers["A6"]["reason"]
    assert record["level"] < "R2"
    assert "recur" not in record["claim"]["scope"]["inputs"]
    assert "complete domain, in-sample" in record["selection"]["label"]
    # What is exact is decided: more pairs there are none.
    assert all(
        c["n_to_decide"] is None for c in record["checks"] if c["id"] in ("A1", "A2", "A3", "A6", "A9")
    )


@pytest.mark.slow
def test_the_exact_network_is_found_by_a_search(tmp_path):
    done = shipped_run("equality_exact", tmp_path / "out", "claim.layers=[0, 1]", "fit.batch=256")
    record = done.record
    assert record["level"] == "R2"
    assert record["evaluation"]["overall"]["rate"] == 1.0
    assert record["verdict"] == "supported"
    cells = {(c["row"], c["column"]): c["rate"] for c in record["selection"]["cells"]}
    assert cells["layers.1", 1] == 1.0

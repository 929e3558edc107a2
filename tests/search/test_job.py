"""The whole job: done once, resumed where it stopped, the same whatever interrupted it."""

from __future__ import annotations

import json
import runpy
import shutil
from dataclasses import dataclass
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
    # By its name alone: a record says how it is made again, and is to be the same in every folder.
    return read_spec(path, given=path.name, overrides=[*QUICK, *overrides])


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


def counted_fits(patch: pytest.MonkeyPatch) -> list[str]:
    """The cells that are fitted from now on."""
    found = []
    real = sweeping.fit_many

    def counted(alignments, *args, **kwargs):
        found.extend(str(alignment.sites[0]) for alignment in alignments)
        return real(alignments, *args, **kwargs)

    patch.setattr(sweeping, "fit_many", counted)
    return found


@pytest.fixture
def fits(monkeypatch):
    return counted_fits(monkeypatch)


@dataclass(frozen=True)
class Made:
    """A project whose hypothesis counts its trainings, with its finished run in the folder `out`."""

    folder: Path
    done: job.Outcome
    fits: list[str]

    @property
    def out(self) -> Path:
        return self.folder / "out"


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    texts = runpy.run_path(str(Path(__file__).with_name("conftest.py")))
    folder = tmp_path_factory.mktemp("made")
    line = "def train(network, algorithm, *, seed, progress=None):\n"
    assert line in texts["HYPOTHESIS"]
    log = "    from pathlib import Path\n    with Path(__file__).with_name('trained.log').open('a') as log:\n"
    counting = texts["HYPOTHESIS"].replace(line, line + log + "        log.write('trained ')\n")
    (folder / "gate.py").write_text(counting)
    (folder / "and_or.toml").write_text(texts["SPEC"])
    with pytest.MonkeyPatch.context() as patch:
        found = counted_fits(patch)
        done = job.run(spec_of(folder / "and_or.toml"), out=folder / "out")
    return Made(folder, done, found)


@pytest.fixture
def project(made, tmp_path):
    """A copy of that project without its run, for one test alone."""
    copy = tmp_path / "project"
    shutil.copytree(made.folder, copy, ignore=shutil.ignore_patterns("out", "trained.log"))
    return copy


@pytest.fixture
def ran(made, tmp_path):
    """A copy of it with its run: its spec and the run's folder."""
    copy = tmp_path / "ran"
    shutil.copytree(made.folder, copy)
    return copy / "and_or.toml", copy / "out"


def trainings(folder: Path) -> int:
    """How often the network of a project was trained."""
    log = folder / "trained.log"
    return log.read_text().split().count("trained") if log.exists() else 0


def cells_of(folder: Path) -> list[Path]:
    """The files of the cells that are fits."""
    found = [p for p in folder.glob("cells/*/*.json") if json.loads(p.read_text())["what"]["kind"] == "cell"]
    return sorted(found)


def test_a_run_writes_its_folder_and_the_card_is_a_report(made):
    out, done = made.out, made.done
    assert done.exit_status == 0
    assert done.folder == out
    assert set(FILES) <= {p.name for p in out.iterdir()}
    assert not list(out.rglob("*.tmp"))
    record = load_report(out / "report.json")
    assert record == as_report(done.record)
    assert len(made.fits) == 4
    assert trainings(made.folder) == 1
    assert {p.name for p in (out / "figures").iterdir()} >= {"heat_map.png", "heat_map.svg"}
    assert record.claim.opened == 1
    assert record.reproduce.startswith("commutes run")
    assert record.seeds == {"challenge": 3, "fit": 3}


def test_the_chosen_cell_is_the_best_of_the_selection_split_and_is_measured_on_the_test(made):
    done = made.done
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
    stored = [json.loads(p.read_text()) for p in cells_of(made.out)]
    best = max(c["record"]["worst"] for c in stored)
    own = next(
        c for c in stored if (c["what"]["place"], c["what"]["size"]) == (chosen["row"], chosen["column"])
    )
    assert own["record"]["worst"] == best
    assert own["record"]["rate"] == chosen["rate"]


def test_the_saved_claim_is_the_one_on_the_card(made):
    spec = spec_of(made.folder / "and_or.toml")
    hypothesis = load_hypothesis(spec)
    algorithm = build_algorithm(hypothesis, spec)
    network = hypothesis.function("network", where="")(algorithm, seed=3)
    claim = load(made.out, algorithm=algorithm, network=network)
    assert claim.fitted
    assert len(claim.fitted_ids)
    assert len(claim.selected_ids)


@pytest.mark.slow
def test_the_same_run_in_another_folder_is_the_same(made, spec_path, tmp_path):
    two = job.run(spec_of(spec_path), out=tmp_path / "two")
    assert differences(timeless(made.done.record), timeless(two.record)) == []
    names = [[p.relative_to(out).as_posix() for p in cells_of(out)] for out in (made.out, tmp_path / "two")]
    assert names[0] == names[1]


def test_a_run_without_its_report_does_the_challenge_and_no_fit_again(made, ran, fits):
    (spec_path, out), first = ran, made.done
    (out / "report.json").unlink()
    again = job.run(spec_of(spec_path), out=out)
    assert fits == []
    assert trainings(spec_path.parent) == 1
    assert differences(timeless(again.record), timeless(first.record)) == []
    assert again.record["claim"]["opened"] == 2
    assert load_report(out / "report.json") == as_report(again.record)


def test_missing_cells_are_computed_and_no_others(made, ran, fits):
    (spec_path, out), first = ran, made.done
    cells = cells_of(out)
    gone = [cells[0], cells[2]]
    wanted = sorted(json.loads(p.read_text())["what"]["place"] for p in gone)
    before = {p: p.read_bytes() for p in cells if p not in gone}
    for path in [*gone, out / "report.json"]:
        path.unlink()
    again = job.run(spec_of(spec_path), out=out)
    assert sorted(fits) == wanted
    assert trainings(spec_path.parent) == 1
    assert cells_of(out) == cells
    assert all(p.read_bytes() == data for p, data in before.items())
    assert differences(timeless(again.record), timeless(first.record)) == []


@pytest.mark.parametrize("after", [1, pytest.param(3, marks=pytest.mark.slow)])
def test_a_run_that_is_killed_in_its_sweep_goes_on_where_it_was(made, spec_path, tmp_path, fits, after):
    whole = made.done

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


def test_a_run_that_is_killed_in_its_challenge_has_opened_the_test(ran, fits):
    spec_path, out = ran
    # As it was when its sweep had ended.
    for name in ("report.json", "done.json", "openings.json"):
        (out / name).unlink()

    def killed(stage, step, steps, figures=None):
        if stage == "checks":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        job.run(spec_of(spec_path), out=out, progress=killed)
    assert not (out / "report.json").exists()
    fits.clear()
    again = job.run(spec_of(spec_path), out=out)
    assert fits == []
    assert again.record["claim"]["opened"] == 2


@pytest.mark.slow
def test_a_change_of_the_hypothesis_file_makes_every_cell_new(ran, fits):
    spec_path, out = ran
    path = spec_path.with_name("gate.py")
    path.write_text(path.read_text().replace("dtype=torch.float32)", "dtype=torch.float32) * 2"))
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


# Enough for a search over two dimensions, and for gates of 150 pairs in every cell.
SMALLER = ("fit.steps=250", "fit.batch=128", "data.pairs=4000")


@pytest.mark.slow
def test_the_exact_network_is_found_by_a_search(tmp_path):
    done = shipped_run("equality_exact", tmp_path / "out", "claim.layers=[0, 1]", *SMALLER)
    record = done.record
    assert record["level"] == "R2"
    assert record["evaluation"]["overall"]["rate"] == 1.0
    assert record["verdict"] == "supported"
    cells = {(c["row"], c["column"]): c["rate"] for c in record["selection"]["cells"]}
    assert cells["layers.1", 1] == 1.0

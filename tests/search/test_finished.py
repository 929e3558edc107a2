"""A run that is finished is not done again; what else a run notes, and what it cannot find room for."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from commutes.errors import ArtefactError, FitError, StoreError
from commutes.search import Store, read_spec, run

SMALL = (
    "claim.layers=[0]",
    "claim.sizes=[1]",
    "data.pairs=300",
    "fit.steps=3",
    "fit.starts=1",
    'challenge.level="R1"',
    # The network is not trained: a floor that it clears lets the job go on to the claim.
    "challenge.behaviour=0.2",
)


def small(spec_path: Path, *more: str):
    return read_spec(spec_path, overrides=(*SMALL, *more))


def files(folder: Path) -> dict[str, tuple[int, bytes]]:
    found = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {str(p.relative_to(folder)): (p.stat().st_mtime_ns, p.read_bytes()) for p in found}


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    import runpy

    texts = runpy.run_path(str(Path(__file__).with_name("conftest.py")))
    folder = tmp_path_factory.mktemp("project")
    (folder / "and_or.toml").write_text(texts["SPEC"])
    (folder / "gate.py").write_text(texts["HYPOTHESIS"])
    return folder / "and_or.toml", folder / "out", run(small(folder / "and_or.toml"), out=folder / "out")


def test_a_run_notes_its_versions(ran):
    _, out, _ = ran
    notes = Store.existing(out).notes
    assert sorted(notes) == ["commutes", "numpy", "python", "torch"]
    assert json.loads((out / "run.json").read_text())["notes"] == notes


def test_a_finished_run_is_not_done_again(ran):
    path, out, first = ran
    before = files(out)
    second = run(small(path), out=out)
    assert files(out) == before
    assert second.report is None
    assert second.record == first.record
    assert second.record["claim"]["opened"] == 1
    assert (second.exit_status, run(small(path), out=out, require="R0").exit_status) == (0, 0)
    assert run(small(path), out=out, require="R1").exit_status == first.report.exit_status("R1")
    assert files(out) == before


def test_a_report_that_was_changed_since_is_made_again(ran):
    path, out, first = ran
    (out / "report.json").write_text((out / "report.json").read_text() + " ")
    second = run(small(path), out=out)
    assert second.report is not None
    assert second.record["evaluation"] == first.record["evaluation"]
    assert second.record["claim"]["opened"] == 2


def test_a_missing_report_is_made_again(ran):
    path, out, _ = ran
    (out / "report.json").unlink()
    assert run(small(path), out=out).report is not None
    assert run(small(path), out=out).report is None


def test_another_spec_is_another_run(ran):
    path, out, _ = ran
    with pytest.raises(StoreError, match="the run folder belongs to another run"):
        run(small(path, "fit.lr=0.5"), out=out)


def test_a_damaged_mark_is_told(ran):
    path, out, _ = ran
    mark = (out / "done.json").read_bytes()
    os.truncate(out / "done.json", 20)
    with pytest.raises(ArtefactError, match="a file of the store is damaged"):
        run(small(path), out=out)
    (out / "done.json").write_bytes(mark)


def test_a_cell_that_is_out_of_memory_is_told_with_its_place(spec_path, tmp_path, monkeypatch):
    def full(*_, **__):
        raise RuntimeError("CUDA out of memory. Tried to allocate 2 GiB\nmore lines")

    monkeypatch.setattr("commutes.training._fit.cohort", full)
    with pytest.raises(FitError) as caught:
        run(small(spec_path), out=tmp_path / "out")
    assert caught.value.what == "out of memory"
    assert caught.value.where == "1 fit at once, 256 pairs a step"
    assert caught.value.got == "RuntimeError: CUDA out of memory. Tried to allocate 2 GiB"
    monkeypatch.setattr("commutes.search._sweep.evaluate", full)
    monkeypatch.setattr("commutes.search._sweep.fit_many", lambda *_, **__: [None])
    with pytest.raises(FitError) as caught:
        run(small(spec_path), out=tmp_path / "out")
    assert caught.value.where == "cell 1, layers.0 k=1"


def test_joint_swaps_are_drawn_fitted_and_measured(spec_path, tmp_path):
    file = spec_path.parent / "gate.py"
    old = 'gate.add("out", both, c, f=lambda both, c: both or c % 3 == 0'
    new = (
        'third = gate.add("third", c, f=lambda c: c % 3 == 0, domain=[False, True])\n'
        '    gate.add("out", both, third, f=lambda both, third: both or third'
    )
    file.write_text(file.read_text().replace(old, new))
    sets = ('claim.variables=["both", "third"]', 'claim.joint=[["both", "third"]]')
    found = run(small(spec_path, *sets), out=tmp_path / "out").record
    assert {cell["swap"] for cell in found["evaluation"]["cells"]} == {"both", "third", "both+third"}

"""A run that is finished is not done again; what else a run notes, and what it cannot find room for."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest

from commutes.errors import ArtefactError, FitError, StoreError
from commutes.search import Store, read_spec, run, spec_of_run, verify
from commutes.search._store_checks import sealed, unsealed

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


# Keys of a spec that came after the first run folders were made.
ADDED = {
    "challenge": ("shifts", "every_input", "rivals", "networks"),
    "claim": ("at", "place", "heads", "positions", "map"),
    "network": ("pretrained", "template", "device"),
}


def aged(folder: Path) -> None:
    """The run folder as a version wrote it that did not know these keys."""
    for name in ("run.json", "done.json"):
        if not (folder / name).exists():
            continue
        body = unsealed(folder / name)
        for table, keys in ADDED.items():
            for key in keys:
                del body["identity"]["spec"][table][key]
        (folder / name).write_bytes(sealed(body))


@pytest.fixture
def older(ran, tmp_path):
    path, out, first = ran
    run(small(path), out=out)
    copy = tmp_path / "older"
    shutil.copytree(out, copy)
    aged(copy)
    return path, copy, first


def test_a_run_that_is_older_than_a_key_is_the_same_run(older):
    path, out, first = older
    before = files(out)
    for spec in (small(path), small(path, "challenge.networks=0", "challenge.rivals=[]", "claim.at={}")):
        again = run(spec, out=out)
        assert again.report is None
        assert again.record["claim"]["fingerprint"] == first.record["claim"]["fingerprint"]
    assert files(out) == before
    spec = spec_of_run(out, given=str(path))
    assert spec.challenge.networks == 0
    assert verify(spec, out).record.claim.fingerprint == first.record["claim"]["fingerprint"]


def test_an_older_run_that_was_broken_off_goes_on(older):
    path, out, _ = older
    (out / "done.json").unlink()
    (out / "report.json").unlink()
    cells = {name: found for name, found in files(out).items() if name.startswith("cells")}
    assert run(small(path), out=out).report is not None
    assert {name: found for name, found in files(out).items() if name.startswith("cells")} == cells


def test_a_key_that_says_something_else_than_was_done_before_it_is_another_run(older):
    path, out, _ = older
    with pytest.raises(StoreError) as caught:
        run(small(path, "challenge.networks=3"), out=out)
    assert caught.value.got == "spec.challenge.networks: 0 in the folder, 3 asked for"


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

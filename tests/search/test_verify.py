"""A finished run is held against itself: files, claim, and some of its pairs run again."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from commutes.errors import ArtefactError, SpecError
from commutes.report import sha256_of
from commutes.search import Store, read_spec, run, spec_of_run, verify
from commutes.search._store_checks import sealed, unsealed
from tests.search.test_job import QUICK


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A project with its finished run."""
    import runpy

    texts = runpy.run_path(str(Path(__file__).with_name("conftest.py")))
    folder = tmp_path_factory.mktemp("project")
    (folder / "and_or.toml").write_text(texts["SPEC"])
    (folder / "gate.py").write_text(texts["HYPOTHESIS"])
    spec = read_spec(
        folder / "and_or.toml",
        overrides=[
            *QUICK,
            'challenge.level="R1"',
            "claim.layers=[0]",
            "claim.sizes=[1]",
            "challenge.shifts.small.domain={a=[0, 1, 2, 3]}",
            'challenge.shifts."c alone".independent=["c"]',
        ],
    )
    run(spec, out=folder / "run")
    return folder


@pytest.fixture
def project(made, tmp_path):
    """A copy of it that a test may damage."""
    copy = tmp_path / "copy"
    shutil.copytree(made, copy)
    return copy


def again(project: Path, **options):
    folder = project / "run"
    return verify(spec_of_run(folder, given=str(project / "and_or.toml")), folder, **options)


def resealed(project: Path, change) -> None:
    """The report changed, and its hash in done.json with it: as who wants to deceive would."""
    folder = project / "run"
    record = json.loads((folder / "report.json").read_bytes())
    change(record)
    (folder / "report.json").write_text(json.dumps(record))
    done = unsealed(folder / "done.json")
    done["report"] = done["files"]["report.json"] = sha256_of(folder / "report.json")
    done.pop("sha256", None)
    (folder / "done.json").write_bytes(sealed(done))


def refusal(project: Path) -> ArtefactError:
    with pytest.raises(ArtefactError) as caught:
        again(project)
    return caught.value


def test_a_run_that_is_as_it_was_written(project):
    found = again(project, sample=40)
    files, claim, sample = found.lines
    assert files.startswith("files      ")
    assert claim == f"claim      {found.record.claim.fingerprint[:12]}, as it was fixed"
    n = found.record.evaluation.n
    assert sample == f"sample     40 of {n} test pairs run again (seed 0), every answer as it was"
    assert again(project).lines[2].startswith(f"sample     {n} of {n}")


def test_the_overrides_are_those_of_the_run(project):
    spec = spec_of_run(project / "run", given=str(project / "and_or.toml"))
    assert spec.fit.steps == 6
    assert spec.resolved() == Store.existing(project / "run").identity["spec"]


@pytest.mark.parametrize("name", ["report.html", "pairs.parquet", "alignment.safetensors"])
def test_a_flipped_byte_is_found(project, name):
    path = project / "run" / name
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    found = refusal(project)
    assert found.what == "a file of the run is not as it was written"
    assert name in found.where


@pytest.mark.parametrize(
    ("change", "got"),
    [
        (lambda r: r["thresholds"].update(target=0.5), "other thresholds than those that were fixed"),
        (lambda r: r["claim"]["content"]["thresholds"].update(target=0.5), "a claim with the hash"),
        (lambda r: r["claim"].update(fingerprint="0" * 64), "a claim with the hash"),
    ],
)
def test_a_claim_that_was_edited_after_it_was_fixed_is_found(project, change, got):
    resealed(project, change)
    found = refusal(project)
    assert found.what == "the claim is not the one that was fixed before the test split was opened"
    assert found.got.startswith(got)


def test_a_claim_that_was_hashed_anew_is_not_what_the_folder_holds(project):
    from commutes.robustness import content_hash

    def change(record):
        content = record["claim"]["content"]
        content["maps"] = ["0" * 64]
        record["claim"]["fingerprint"] = content_hash(content)

    resealed(project, change)
    assert refusal(project).got == "other maps than those that were fixed"


def test_an_outcome_that_was_made_up_is_found_by_running_it_again(project):
    folder = project / "run"
    table = pq.read_table(folder / "pairs.parquet").to_pydict()
    table["hit"] = [True] * len(table["hit"])
    pq.write_table(pa.table(table), folder / "pairs.parquet")
    done = unsealed(folder / "done.json")
    done["files"]["pairs.parquet"] = sha256_of(folder / "pairs.parquet")
    done.pop("sha256", None)
    (folder / "done.json").write_bytes(sealed(done))
    found = refusal(project)
    assert found.what == "pairs that are run again do not come out as it is written"
    assert "hit of pair" in found.got


def test_another_hypothesis_file_is_another_run(project):
    path = project / "gate.py"
    path.write_text(path.read_text() + "\n# changed\n")
    assert refusal(project).what == "the trained network of the run is not in its store"


def test_code_is_never_loaded_from_where_a_run_folder_says(project, tmp_path, monkeypatch):
    folder = project / "run"
    with pytest.raises(SpecError) as caught:
        spec_of_run(folder)
    assert caught.value.what == "the run is of a spec of your own, and its hypothesis file is executed Python"
    assert caught.value.fix == "add --spec and or.toml"
    evil = tmp_path / "evil.py"
    evil.write_text("raise SystemExit('executed')\n")
    state = unsealed(folder / "run.json")
    state["identity"]["spec"]["algorithm"]["file"] = str(evil)
    state.pop("sha256", None)
    (folder / "run.json").write_bytes(sealed(state))
    with pytest.raises(SpecError) as caught:
        again(project)
    assert caught.value.what == "the run was made with another hypothesis file than the spec names"


def test_what_was_kept_as_a_counterexample_is_one_again(project):
    """The network of the project is not trained: swaps of the variable go wrong."""
    from commutes.search import replayed

    folder = project / "run"
    spec = spec_of_run(folder, given=str(project / "and_or.toml"))
    assert replayed(spec, folder) == []
    run(spec, out=folder, require="R4")
    found = {one.check: one.pair for one in replayed(spec, folder)}
    assert "E2" in found
    assert not found["E2"].hit
    assert str(found["E2"]).startswith("counterexample: ")
    assert found.keys() <= {"E2", "E1, small", "E1, c alone"}


def test_a_folder_without_a_run(tmp_path):
    with pytest.raises(SpecError, match="there is no run in this folder"):
        spec_of_run(tmp_path)

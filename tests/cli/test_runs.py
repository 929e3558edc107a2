"""`commutes challenge`, `commutes verify` and `commutes tree`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from commutes.search import Store, read_spec


@pytest.fixture
def run_folder(project) -> Path:
    """A run folder as `commutes run and_or.toml --set fit.steps=3` leaves it, without cells."""
    from commutes.search import build_algorithm, load_hypothesis

    spec = read_spec(project / "and_or.toml", overrides=["fit.steps=3"])
    algorithm = build_algorithm(load_hypothesis(spec), spec)
    folder = Path("runs") / "and or"
    Store.open(folder, spec.identity(algorithm))
    return folder


@pytest.mark.parametrize("status", [0, 1, 4])
def test_a_challenge_goes_on_with_the_run(command, run_folder, job, status):
    job.status = status
    ended = command("challenge", str(run_folder), "--level", "R4", "--spec", "and_or.toml")
    assert ended.status == status
    (call,) = job.calls
    assert (call["out"], call["require"]) == (run_folder, "R4")
    assert call["spec"].fit.steps == 3
    reproduce = "commutes challenge 'runs/and or' --level R4 --spec and_or.toml"
    assert ended.out.rstrip().splitlines()[-1] == f"reproduce  {reproduce}"


def test_the_level_of_a_challenge_is_r3_by_default(command, run_folder, job):
    command("challenge", str(run_folder), "--spec", "and_or.toml", "--json")
    assert job.calls[0]["require"] == "R3"


@pytest.mark.parametrize("name", ["challenge", "verify"])
def test_what_is_refused_before_anything_runs(command, run_folder, job, name):
    option = "--level" if name == "challenge" else "--require"
    for arguments, words in (
        ((str(run_folder), option, "R9"), f"{option} asks for a level that is not known"),
        ((str(run_folder),), "add --spec and or.toml"),
        (("nowhere",), "there is no run in this folder"),
        ((str(run_folder), "--spec", "missing.toml"), "there is no such spec"),
    ):
        ended = command(name, *arguments)
        assert (ended.status, ended.out) == (2, "")
        assert words in ended.err
    assert not job.calls


def test_verify_says_what_it_looked_at_and_where_the_claim_stands(command, run_folder, monkeypatch, record):
    import commutes.search
    from commutes.report import as_report
    from commutes.search._verify import Verified

    asked = []

    def verified(spec, folder, *, sample):
        asked.append((spec.fit.steps, folder, sample))
        return Verified(as_report(record), ("files      12 hashed", "claim      abc"))

    monkeypatch.setattr(commutes.search, "verify", verified, raising=False)
    ended = command("verify", str(run_folder), "--spec", "and_or.toml", "--sample", "7")
    assert asked == [(3, run_folder, 7)]
    assert ended.out.splitlines() == [
        "files      12 hashed",
        "claim      abc",
        f"verdict    {record['headline']}",
    ]
    told = json.loads(command("verify", str(run_folder), "--spec", "and_or.toml", "--json").out)
    assert told["exit_status"] == ended.status
    assert command("verify", str(run_folder), "--spec", "and_or.toml", "--require", "R0").status == 0
    assert command("verify", str(run_folder), "--spec", "and_or.toml", "--require", "R5").status in (1, 4)


def test_the_tree_of_a_folder(command, saved, tmp_path):
    ended = command("tree", str(saved.parent), "--svg", str(tmp_path / "tree.svg"))
    assert ended.status == 0
    assert "equality" in ended.out
    assert "  next: " in ended.out
    assert (tmp_path / "tree.svg").read_text().startswith("<?xml")
    (point,) = json.loads(command("tree", str(saved.parent), "--json").out)
    assert point["name"] == "equality"
    empty = tmp_path / "empty"
    empty.mkdir()
    assert "there is no report in this folder" in command("tree", str(empty)).err

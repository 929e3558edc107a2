from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path

import pytest

from commutes.search import Store


def test_a_run_prints_the_card_and_then_what_to_do_with_it(command, project, job):
    ended = command("run", "and_or.toml", "--set", "fit.steps=3")
    assert ended.status == 0
    (call,) = job.calls
    assert call["out"] == Path("runs") / "and or"
    assert call["spec"].fit.steps == 3
    assert call["require"] is None
    lines = ended.out.rstrip().splitlines()
    assert lines[-3] == f"verdict    {job.record['headline']}"
    assert lines[-2] == f"report     {Path('runs') / 'and or'}"
    assert lines[-1] == "reproduce  commutes run --set fit.steps=3 and_or.toml"
    assert "hierarchical equality" in ended.out


def test_the_page_is_named_where_there_is_one(command, project, job):
    def page(spec, out, progress):
        out.mkdir(parents=True)
        (out / "report.html").write_text("")

    job.work = page
    ended = command("run", "and_or.toml", "--out", "my run")
    assert f"report     {Path('my run') / 'report.html'}" in ended.out.splitlines()


def test_json_is_the_record_and_nothing_else(command, project, job):
    ended = command("run", "and_or.toml", "--json")
    assert json.loads(ended.out) == job.record


@pytest.mark.parametrize("status", [0, 1, 4])
def test_the_status_is_that_of_the_job(command, project, job, status):
    job.status = status
    ended = command("run", "and_or.toml", "--require", "R2")
    assert ended.status == status
    assert job.calls[0]["require"] == "R2"


def test_an_unknown_level_is_refused_before_anything_else(command, project, job):
    ended = command("run", "missing.toml", "--require", "R9")
    assert ended.status == 2
    assert "--require asks for a level that is not known" in ended.err
    assert "one of R0, R1, R2, R3, R4, R5" in ended.err


def test_progress_goes_to_standard_error_in_plain_lines(command, project, job):
    def work(spec, out, progress):
        for step in range(1, 1001):
            progress("train the network", step, 1000, {"loss": 1 / step})

    job.work = work
    ended = command("run", "and_or.toml", "--json")
    json.loads(ended.out)
    lines = ended.err.splitlines()
    assert len(lines) == 11
    assert lines[0] == "train the network: 1 of 1,000 (loss 1)"
    assert lines[-1] == "train the network: 1,000 of 1,000 (loss 0.001)"
    assert command("run", "and_or.toml", "--quiet").err == ""


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("missing.toml",), "there is no such spec"),
        (("and_or.toml", "--set", "fit.lrr=1"), "unknown key fit.lrr"),
        (
            ("and_or.toml", "--set", 'network.build="nettwork"'),
            "the hypothesis file has no function nettwork",
        ),
        (("and_or.toml", "--set", 'claim.variables=["booth"]'), "there is no variable booth"),
        (("and_or.toml", "--set", "algorithm.options.valuess=1"), "algorithm() takes no option valuess"),
    ],
)
def test_what_is_wrong_is_told_before_the_job_begins_and_nothing_is_written(
    command, project, job, arguments, words
):
    ended = command("run", *arguments)
    assert ended.status == 2
    assert ended.err.startswith(f"error: {words}\n")
    assert len(ended.err.splitlines()) < 20
    assert job.calls == []
    assert not (project / "runs").exists()


def test_a_folder_in_use_with_another_spec_is_told_before_the_job_begins(command, project, job):
    Store.open(Path("runs") / "and or", {"spec": {"seed": 9}, "algorithm": "x"})
    ended = command("run", "and_or.toml")
    assert ended.status == 2
    assert "the run folder belongs to another run" in ended.err
    assert "spec.seed: 9 in the folder, 3 asked for" in ended.err
    assert job.calls == []


def test_a_damaged_store_has_a_status_of_its_own(command, project, job):
    Store.open(Path("runs") / "and or", {"spec": {}, "algorithm": "x"})
    (project / "runs" / "and or" / "run.json").write_text("{")
    ended = command("run", "and_or.toml")
    assert ended.status == 5
    assert "a file of the store is damaged" in ended.err


def test_ctrl_c_says_what_is_safe_and_that_the_same_command_goes_on(command, project, job):
    def work(spec, out, progress):
        store = Store.open(out, {"spec": spec.resolved(), "algorithm": "x"})
        store.put({"cell": 1}, {"rate": 1})
        raise KeyboardInterrupt

    job.work = work
    ended = command("run", "and_or.toml", "--out", "a run")
    assert ended.status == 130
    assert ended.err.splitlines() == [
        "interrupted: 1 finished cell in a run is safe",
        "  do:       the same command goes on from there: commutes run and_or.toml --out 'a run'",
    ]


def test_ctrl_c_before_anything_was_saved(command, project, job):
    def work(spec, out, progress):
        raise KeyboardInterrupt

    job.work = work
    ended = command("run", "and_or.toml")
    assert ended.status == 130
    assert ended.err.startswith("interrupted: nothing was saved yet")


def test_a_second_ctrl_c_changes_nothing(command, project, job, monkeypatch):
    def work(spec, out, progress):
        raise KeyboardInterrupt

    def again(*_):
        raise KeyboardInterrupt

    job.work = work
    module = sys.modules["commutes.cli.run"]
    monkeypatch.setattr(module, "_interrupted", again)
    assert command("run", "and_or.toml").status == 130


def test_sigterm_ends_a_run_as_ctrl_c_does(command, project, job):
    def work(spec, out, progress):
        os.kill(os.getpid(), signal.SIGTERM)
        raise AssertionError("the signal comes first")

    before = signal.getsignal(signal.SIGTERM)
    job.work = work
    ended = command("run", "and_or.toml")
    assert ended.status == 143
    assert ended.err.startswith("interrupted: nothing was saved yet")
    assert signal.getsignal(signal.SIGTERM) is before


def test_an_error_in_the_job_is_one_screen(command, project, job):
    def work(spec, out, progress):
        raise ZeroDivisionError("by zero")

    job.work = work
    ended = command("run", "and_or.toml")
    assert ended.status == 70
    assert "Traceback" not in ended.err
    assert "Traceback" in command("run", "and_or.toml", "--debug").err


def test_a_report_saved_from_python_is_no_run_to_go_on_from(command, project, job):
    folder = project / "runs" / "and or"
    folder.mkdir(parents=True)
    (folder / "report.json").write_text("{}")
    ended = command("run", "and_or.toml")
    assert ended.status == 2
    assert ended.err.startswith("error: a report saved from Python lies in the run folder\n")
    assert "do:       give another folder with --out" in ended.err
    assert job.calls == []
    assert command("run", "and_or.toml", "--out", "elsewhere").status == 0


def test_a_run_that_was_finished_before_says_so(command, project, job):
    job.report = None
    ended = command("run", "and_or.toml", "--json")
    assert json.loads(ended.out) == job.record
    assert ended.err.splitlines() == [
        f"finished before: this is the card that lies in {Path('runs') / 'and or'}; nothing was run again"
    ]
    assert command("run", "and_or.toml", "--quiet").err == ""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from commutes.report.card import card


def test_the_card_of_a_saved_run(command, saved, record):
    ended = command("show", str(saved))
    assert ended.status == 0
    assert ended.err == ""
    assert ended.out.rstrip("\n") == card(record, width=100).rstrip("\n")
    assert "\x1b" not in ended.out


def test_the_file_itself_will_do(command, saved):
    assert command("show", str(saved / "report.json")).out == command("show", str(saved)).out


def test_json_is_the_record(command, saved, record):
    assert json.loads(command("show", str(saved), "--json").out) == record


def test_a_run_opens_without_torch(saved):
    code = (
        "import sys\nfrom commutes.cli import main\n"
        f"assert main(['show', {str(saved)!r}]) == 0\n"
        "heavy = {'torch', 'pyvene', 'matplotlib', 'scipy.stats', 'pandas'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr


def test_a_run_that_is_not_there_is_told_with_the_nearest(command, saved):
    ended = command("show", str(saved.parent / "equalty"))
    assert ended.status == 2
    assert ended.err.startswith("error: there is no such run\n")
    assert f"do:       did you mean {saved}? commutes run SPEC makes one" in ended.err


def test_a_run_that_is_not_finished_is_told(command, tmp_path):
    (tmp_path / "run.json").write_text("{}")
    ended = command("show", str(tmp_path))
    assert ended.status == 2
    assert ended.err.startswith("error: the run is not finished\n")


@pytest.mark.parametrize("damage", [lambda data: data[:-40], lambda data: b"", lambda data: b"\xff" + data])
def test_a_damaged_record_has_a_status_of_its_own(command, saved: Path, damage):
    file = saved / "report.json"
    file.write_bytes(damage(file.read_bytes()))
    ended = command("show", str(saved))
    assert ended.status == 5
    assert ended.out == ""
    assert str(file) in ended.err


def test_markup_and_control_characters_in_a_record_stay_text(command, saved, record):
    record["claim"]["words"] = "left [/] \x1b[2J \u202e lives"
    (saved / "report.json").write_text(json.dumps(record))
    ended = command("show", str(saved))
    assert ended.status == 0
    assert "\x1b" not in ended.out
    assert "\u202e" not in ended.out

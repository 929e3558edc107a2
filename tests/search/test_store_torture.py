"""Writers that are killed at any moment lose nothing that they said was done, and leave nothing half."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from commutes.search import Store

IDENTITY = {"spec": {"name": "torture"}}
CELLS = 200

WRITER = """
import sys
from pathlib import Path
from commutes.search import Store
store = Store.open(Path(sys.argv[1]), {"spec": {"name": "torture"}})
print("ready", flush=True)
for number in range(int(sys.argv[2])):
    what = {"cell": number}
    if not store.has(store.key(what)):
        store.put(what, {"square": number ** 2, "text": "x" * 3000})
        print(number, flush=True)
print("done", flush=True)
"""


def start(folder: Path, *, cells: int = CELLS) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", WRITER, str(folder), str(cells)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def kill(writer: subprocess.Popen[str]) -> list[str]:
    """The whole lines that a writer got out and that were not read yet, when it is killed now."""
    assert writer.stdout is not None
    writer.send_signal(signal.SIGKILL)
    lines = [line.strip() for line in writer.stdout if line.endswith("\n")]
    writer.wait()
    writer.stdout.close()
    return lines


def test_what_was_told_survives_a_kill_and_the_same_command_completes_the_rest(tmp_path):
    told: list[int] = []
    for round_ in range(4):
        writers = [start(tmp_path / "run") for _ in range(2)]
        for writer in writers:
            assert writer.stdout is not None
            assert writer.stdout.readline() == "ready\n"
            time.sleep(0.01 + 0.02 * round_)
            told += [int(line) for line in kill(writer) if line.isdigit()]
        store = Store.existing(tmp_path / "run")
        assert list(store.problems()) == []
        assert {Store.key({"cell": number}) for number in told} <= set(store.keys())
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "run").glob("cells/*/*.json")}
    last = start(tmp_path / "run")
    out, _ = last.communicate(timeout=60)
    assert out.splitlines()[-1] == "done"
    store = Store.existing(tmp_path / "run")
    assert [store.cell(Store.key({"cell": n})).record["square"] for n in range(CELLS)] == [
        n**2 for n in range(CELLS)
    ]
    # Exactly the missing cells: none that was finished was written again.
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert len(out.splitlines()) - 2 == CELLS - len(before)


def test_a_writer_that_is_killed_between_cells_has_written_some_and_not_all(tmp_path):
    """Without this the test above could pass because nothing was ever interrupted."""
    writer = start(tmp_path / "run", cells=100_000)
    assert writer.stdout is not None
    told = [writer.stdout.readline() for _ in range(5)]
    assert told == ["ready\n", "0\n", "1\n", "2\n", "3\n"]
    assert kill(writer)[-1:] != ["done"]
    assert 4 <= len(Store.existing(tmp_path / "run").keys()) < 100_000


def test_two_writers_of_the_same_cells_agree(tmp_path):
    writers = [start(tmp_path / "run") for _ in range(2)]
    outs = [writer.communicate(timeout=60)[0].splitlines() for writer in writers]
    assert [writer.returncode for writer in writers] == [0, 0]
    assert all(out[-1] == "done" for out in outs)
    store = Store.existing(tmp_path / "run")
    assert len(store.keys()) == CELLS
    assert list(store.problems()) == []
    assert not list((tmp_path / "run").rglob("*.tmp"))


def test_a_reader_never_sees_half_a_cell(tmp_path):
    writer = start(tmp_path / "run")
    assert writer.stdout is not None
    assert writer.stdout.readline() == "ready\n"
    store, finished = Store.existing(tmp_path / "run"), False
    while not finished:
        finished = writer.poll() is not None
        finished_cells = store.keys()
        for key in finished_cells:
            assert store.cell(key).record["text"] == "x" * 3000
    writer.stdout.close()
    assert len(store.keys()) == CELLS


def test_a_file_rewritten_in_place_would_not_survive(tmp_path):
    """The inverse: a plain write that dies half-way leaves half a record, which the store refuses."""
    store = Store.open(tmp_path / "run", IDENTITY)
    cell = store.put({"cell": 1}, {"square": 1})
    path = tmp_path / "run" / "cells" / cell.key[:2] / f"{cell.key}.json"
    path.write_bytes(path.read_bytes()[:40])
    with pytest.raises(Exception, match="a file of the store is damaged"):
        store.cell(cell.key)

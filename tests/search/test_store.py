from __future__ import annotations

import errno
import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from commutes.errors import ArtefactError, CommutesError, StoreError
from commutes.search import Cell, Store, confined, differences
from commutes.search import _store_files as files

IDENTITY = {"spec": {"name": "a", "fit": {"lr": 0.01, "steps": 5}}, "algorithm": "f" * 64}
WHAT = {"site": "layers.0", "size": 2, "seed": 0}


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.open(tmp_path / "runs" / "a", IDENTITY, notes={"torch": "2"})


def refused(error: type[CommutesError], call, *args, **named) -> CommutesError:
    with pytest.raises(error) as caught:
        call(*args, **named)
    assert None not in (caught.value.where, caught.value.got, caught.value.expected, caught.value.fix)
    return caught.value


def cell_file(store: Store, cell: Cell) -> Path:
    return store.folder / "cells" / cell.key[:2] / f"{cell.key}.json"


# cells


def test_a_cell_reads_back_as_it_was_written(store):
    cell = store.put(WHAT, {"rate": np.float64(0.5), "hits": np.array([1, 0])}, times={"seconds": 1.5})
    assert store.cell(cell.key) == cell
    assert cell.record == {"rate": 0.5, "hits": [1, 0]}
    assert store.keys() == (Store.key(WHAT),)
    assert store.has(cell.key)
    assert not store.has("0" * 64)


def test_the_key_is_the_hash_of_everything_that_matters(store):
    assert Store.key(WHAT) == Store.key(dict(reversed(WHAT.items())))
    assert len({Store.key({**WHAT, "seed": seed}) for seed in range(10)}) == 10


def test_a_number_that_is_not_finite_is_null_and_its_place_is_told(store):
    cell = store.put(WHAT, {"rate": float("nan"), "n": 0})
    assert store.cell(cell.key).record == {"rate": None, "n": 0}
    assert store.cell(cell.key).missing == {"rate": "nan"}
    assert b"NaN" not in cell_file(store, cell).read_bytes()


def test_a_cell_that_is_computed_again_with_the_same_result_is_left_alone(store):
    cell = store.put(WHAT, {"rate": 0.5}, times={"seconds": 1})
    before = cell_file(store, cell).read_bytes()
    store.put(WHAT, {"rate": 0.5}, times={"seconds": 2})
    assert cell_file(store, cell).read_bytes() == before


def test_another_result_of_the_same_cell_is_non_determinism(store):
    cell = store.put(WHAT, {"rate": 0.5, "n": 4})
    before = cell_file(store, cell).read_bytes()
    error = refused(StoreError, store.put, WHAT, {"rate": 0.25, "n": 4})
    assert error.what == "a cell was computed twice with different results"
    assert "rate: 0.5 in the folder, 0.25 asked for" in (error.got or "")
    assert cell_file(store, cell).read_bytes() == before


@pytest.mark.parametrize("damage", ["truncated", "empty", "flipped", "not json", "list", "deep"])
def test_a_damaged_cell_is_told_and_never_read(store, damage):
    cell = store.put(WHAT, {"rate": 0.5})
    path = cell_file(store, cell)
    data = path.read_bytes()
    path.write_bytes(
        {
            "truncated": data[:-20],
            "empty": b"",
            "flipped": data.replace(b'"rate": 0.5', b'"rate": 0.7'),
            "not json": b"\xff" * 10,
            "list": b"[]",
            "deep": b"[" * 100_000,
        }[damage]
    )
    error = refused(ArtefactError, store.cell, cell.key)
    assert error.what == "a file of the store is damaged"
    assert error.where == str(path)
    assert error.fix == "delete the file: the same command computes exactly what is missing"
    assert refused(ArtefactError, store.put, WHAT, {"rate": 0.5}).what == error.what
    assert [problem.where for problem in store.problems()] == [str(path)]


def test_a_flipped_byte_is_told_with_both_hashes(store):
    path = cell_file(store, store.put(WHAT, {"rate": 0.5}))
    path.write_bytes(path.read_bytes().replace(b"0.5", b"0.7"))
    error = refused(ArtefactError, store.cell, path.stem)
    assert (error.got or "").startswith("SHA-256 ")
    assert (error.expected or "").startswith("SHA-256 ")


def test_a_record_that_was_copied_to_another_name_is_refused(store):
    one, other = store.put(WHAT, {"rate": 0.5}), store.put({**WHAT, "seed": 1}, {"rate": 0.6})
    shutil.copy(cell_file(store, one), cell_file(store, other))
    error = refused(ArtefactError, store.cell, other.key)
    assert (error.got, error.expected) == (f"the cell {one.key}", f"the cell {other.key}")


def test_a_missing_cell_is_told(store):
    error = refused(ArtefactError, store.cell, "0" * 64)
    assert error.what == "a file of the store is missing"


@pytest.mark.parametrize("key", ["", "../../etc/passwd", "A" * 64, "0" * 63, "0" * 64 + "\n"])
def test_only_a_hash_names_a_cell(store, key):
    assert refused(ArtefactError, store.cell, key).what == "the name of a cell is no SHA-256"


def test_a_temporary_file_that_a_crash_left_is_no_cell(store):
    cell = store.put(WHAT, {"rate": 0.5})
    (cell_file(store, cell).parent / ".commutes-0123456789abcdef.tmp").write_text("{")
    assert store.keys() == (cell.key,)
    assert list(store.problems()) == []


# tensors and pairs


def test_tensors_are_named_by_their_content(store):
    arrays = {"reader": np.arange(6.0).reshape(2, 3), "centre": np.zeros(3, np.float32)}
    sha = store.put_tensors(arrays)
    assert store.put_tensors(dict(reversed(arrays.items()))) == sha
    found = store.tensors(sha)
    assert {name: (a.dtype, a.tolist()) for name, a in found.items()} == {
        name: (a.dtype, a.tolist()) for name, a in arrays.items()
    }
    cell = store.put(WHAT, {"rate": 0.5}, tensors=(sha,))
    assert store.cell(cell.key).tensors == (sha,)


def test_a_flipped_bit_in_a_tensor_is_found_by_its_hash(store):
    sha = store.put_tensors({"reader": np.ones(4)})
    store.put(WHAT, {"rate": 0.5}, tensors=(sha,))
    path = store.folder / "tensors" / f"{sha}.safetensors"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    error = refused(ArtefactError, store.tensors, sha)
    assert error.expected == f"SHA-256 {sha}"
    assert (error.got or "").startswith("SHA-256 ")
    assert len(list(store.problems())) == 1
    assert (
        refused(ArtefactError, store.put_tensors, {"reader": np.ones(4)}).what
        == "a file of the store is damaged"
    )


def test_the_outcome_of_every_pair_reads_back(store):
    key = Store.key(WHAT)
    columns = {"hit": np.array([True, False]), "stratum": ["flip", "placebo"]}
    sha = store.put_pairs(key, columns)
    assert store.put_pairs(key, columns) == sha
    cell = store.put(WHAT, {"rate": 0.5}, pairs=sha)
    frame = store.pairs(store.cell(key))
    assert frame["hit"].tolist() == [True, False]
    assert frame["stratum"].tolist() == ["flip", "placebo"]
    (store.folder / "pairs" / f"{key}.parquet").unlink()
    assert refused(ArtefactError, store.pairs, cell).what == "a file of the store is missing"


def test_pairs_that_no_cell_names_are_replaced_and_others_are_not(store):
    key = Store.key(WHAT)
    store.put_pairs(key, {"hit": [False]})
    sha = store.put_pairs(key, {"hit": [True]})
    store.put(WHAT, {"rate": 1.0}, pairs=sha)
    assert refused(StoreError, store.put_pairs, key, {"hit": [False]}).what == (
        "a cell was computed twice with different results"
    )
    assert store.pairs(store.cell(key))["hit"].tolist() == [True]


def test_a_cell_is_never_on_disk_before_what_it_names(store):
    with pytest.raises(AssertionError, match="is written before the cell that names it"):
        store.put(WHAT, {"rate": 0.5}, tensors=("0" * 64,))
    assert store.keys() == ()


# the folder


def test_the_same_run_goes_on_and_notes_are_not_compared(store):
    store.put(WHAT, {"rate": 0.5})
    again = Store.open(store.folder, json.loads(json.dumps(IDENTITY)), notes={"torch": "3"})
    assert again.keys() == store.keys()
    assert again.notes == {"torch": "2"}


def test_a_folder_in_use_with_another_spec_is_refused_with_what_differs(store):
    other = {"spec": {"name": "a", "fit": {"lr": 0.1, "steps": 5, "batch": 8}}, "algorithm": "e" * 64}
    for call in (Store.open, Store.check):
        error = refused(StoreError, call, store.folder, other)
        assert error.what == "the run folder belongs to another run"
        assert (error.got or "").splitlines() == [
            f'algorithm: "{"f" * 56}... in the folder, "{"e" * 56}... asked for',
            "spec.fit.lr: 0.01 in the folder, 0.1 asked for",
            "spec.fit.batch: nothing in the folder, 8 asked for",
        ]
        assert error.fix == "give another folder with --out, or another name in the spec"


def test_a_folder_with_something_else_is_left_alone(tmp_path):
    (tmp_path / "thesis.tex").write_text("")
    error = refused(StoreError, Store.open, tmp_path, IDENTITY)
    assert error.what == "the folder is not empty and holds no run"
    assert error.got == "thesis.tex"
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]
    assert (
        refused(StoreError, Store.open, tmp_path / "thesis.tex", IDENTITY).what == "the run folder is a file"
    )


def test_checking_a_folder_writes_nothing(tmp_path):
    Store.check(tmp_path / "runs" / "a", IDENTITY)
    assert list(tmp_path.iterdir()) == []


def test_a_damaged_run_json_is_told(store):
    (store.folder / "run.json").write_text('{"format": 1')
    error = refused(ArtefactError, Store.open, store.folder, IDENTITY)
    assert error.what == "a file of the store is damaged"
    assert error.fix == "restore it from a copy, or start the run in a new folder"


def test_a_newer_run_json_asks_for_an_upgrade(store, monkeypatch):
    from commutes.search import _store_checks

    monkeypatch.setattr(_store_checks, "FORMAT", 2)
    error = refused(ArtefactError, Store.existing, store.folder)
    assert (error.got, error.expected) == ("format 1", "format 2")


@pytest.mark.parametrize("name", ["a b", "ü", "100%", "a\nb", "x" * 255, "-x"])
def test_any_folder_name_that_the_system_takes_will_do(tmp_path, name):
    store = Store.open(tmp_path / name, IDENTITY)
    cell = store.put(WHAT, {"rate": 0.5}, tensors=(store.put_tensors({"a": np.ones(1)}),))
    assert Store.existing(tmp_path / name).cell(cell.key) == cell


def test_names_that_differ_only_by_case_do_not_mix(tmp_path):
    upper = {**IDENTITY, "spec": {"name": "A"}}
    lower = {**IDENTITY, "spec": {"name": "a"}}
    Store.open(tmp_path / "A", upper).put(WHAT, {"rate": 0.5})
    if (tmp_path / "a").exists():  # a file system that does not tell them apart
        refused(StoreError, Store.open, tmp_path / "a", lower)
    else:
        assert Store.open(tmp_path / "a", lower).keys() == ()


def test_a_name_too_long_for_the_system_is_an_error_of_the_user(tmp_path):
    error = refused(StoreError, Store.open, tmp_path / ("x" * 300), IDENTITY)
    assert (error.what, error.got) == ("the run folder cannot be written", "File name too long")


# what the system refuses


def as_somebody(uid: int, work) -> str:
    """What `work` answers in a child process that is not root, for whom permissions count."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            if os.getuid() == 0:
                os.setgid(uid)
                os.setuid(uid)
            answer = work()
        except BaseException as error:
            answer = f"{type(error).__name__}: {error}"
        os.write(write, answer.encode())
        os._exit(0)
    os.close(write)
    with os.fdopen(read, "rb") as pipe:
        answer = pipe.read().decode()
    os.waitpid(child, 0)
    return answer


def test_a_read_only_folder_is_told_and_nothing_is_half_written(tmp_path_factory):
    import tempfile

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o555)
        answer = as_somebody(65534, lambda: str(Store.open(folder / "run", IDENTITY)))
        assert answer.startswith("StoreError: the run folder cannot be written")
        assert "Permission denied" in answer
        assert "choose another folder with --out" in answer
        assert list(folder.iterdir()) == []


def test_a_full_disk_leaves_what_was_finished_and_nothing_half(store, monkeypatch):
    done = store.put(WHAT, {"rate": 0.5})

    def full(handle: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(files.os, "fsync", full)
        error = refused(StoreError, store.put, {**WHAT, "seed": 1}, {"rate": 0.6})
    assert error.what == "the disk is full; every cell that was finished is safe"
    assert error.fix == "free some space and run the same command again"
    assert [p.name for p in store.folder.rglob("*") if p.is_file() and p.name != "run.json"] == [
        f"{done.key}.json"
    ]
    assert store.put({**WHAT, "seed": 1}, {"rate": 0.6}).record == {"rate": 0.6}


@pytest.mark.parametrize("code", [errno.EPERM, errno.ENOTSUP])
def test_a_file_system_without_hard_links_will_do(store, monkeypatch, code):
    def no_links(source, target):
        raise OSError(code, "no links here")

    monkeypatch.setattr(files.os, "link", no_links)
    cell = store.put(WHAT, {"rate": 0.5})
    assert store.put(WHAT, {"rate": 0.5}) == cell
    assert refused(StoreError, store.put, WHAT, {"rate": 0.6}).what.startswith("a cell was computed twice")
    assert not list(store.folder.rglob("*.tmp"))


def test_the_file_and_its_folder_are_synced_in_that_order(tmp_path, monkeypatch):
    calls = []
    for name in ("fsync", "link"):
        real = getattr(os, name)
        monkeypatch.setattr(
            files.os, name, lambda *a, name=name, real=real: (calls.append(name), real(*a))[1]
        )
    assert files.create_file(tmp_path / "x", b"1")
    assert calls == ["fsync", "link", "fsync"]


# confinement


@pytest.mark.parametrize(
    "name", ["../x", "a/../x", "/etc/passwd", "", ".", "a//b", "a\0b", "a\nb", "a\\..\\b", "a\u202eb"]
)
def test_a_name_from_a_file_stays_inside_the_folder(tmp_path, name):
    error = refused(ArtefactError, confined, tmp_path, name)
    assert error.what == "a file name leaves its folder or is no name"


def test_a_symbolic_link_in_the_store_is_not_followed(store, tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    (store.folder / "cells").symlink_to(outside)
    error = refused(ArtefactError, store.put, WHAT, {"rate": 0.5})
    assert error.what == "a file of the store is a symbolic link"
    assert list(outside.iterdir()) == []


def test_a_cell_that_is_a_link_is_not_read(store, tmp_path):
    cell = store.put(WHAT, {"rate": 0.5})
    path = cell_file(store, cell)
    path.rename(tmp_path / "moved.json")
    path.symlink_to(tmp_path / "moved.json")
    assert refused(ArtefactError, store.cell, cell.key).what == "a file of the store is a symbolic link"


def test_a_pipe_in_place_of_a_cell_is_not_waited_for(store):
    cell = store.put(WHAT, {"rate": 0.5})
    cell_file(store, cell).unlink()
    os.mkfifo(cell_file(store, cell))
    assert refused(ArtefactError, store.cell, cell.key).what == "a file of the store is no regular file"


def test_a_huge_file_in_place_of_a_cell_is_not_read(store):
    cell = store.put(WHAT, {"rate": 0.5})
    with cell_file(store, cell).open("wb") as file:
        file.truncate(100_000_000)
    error = refused(ArtefactError, store.cell, cell.key)
    assert (error.what, error.got) == ("a file of the store is too large", "100,000,000 bytes")


# differences


def test_equal_mappings_do_not_differ():
    assert differences(IDENTITY, json.loads(json.dumps(IDENTITY))) == []


def test_a_one_is_not_true_and_none_is_not_nothing():
    assert differences({"a": 1}, {"a": True}) == ["a: 1 in the folder, true asked for"]
    assert differences({"a": None}, {}) == ["a: null in the folder, nothing asked for"]


def test_arrays_come_back_whatever_their_order_in_memory(tmp_path: Path) -> None:
    store = Store.open(tmp_path / "run", {"name": "order"})
    straight = np.arange(6.0).reshape(2, 3)
    assert not straight.T.flags.c_contiguous
    back = store.tensors(store.put_tensors({"turned": straight.T, "strided": straight[:, ::2]}))
    assert np.array_equal(back["turned"], straight.T)
    assert np.array_equal(back["strided"], straight[:, ::2])

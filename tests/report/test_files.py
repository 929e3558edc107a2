import errno
import os
import stat
import threading

import pytest

from commutes.errors import ArtefactError
from commutes.report._files import make_folder, read_bytes, sha256_of, whole_folder, write_bytes, write_text

HELLO = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"


def test_the_digest_is_that_of_the_bytes(tmp_path):
    assert write_text(tmp_path / "a", "hello") == HELLO == sha256_of(tmp_path / "a")
    assert read_bytes(tmp_path / "a") == b"hello"


def test_newlines_and_text_are_written_as_they_are(tmp_path):
    write_text(tmp_path / "a", "á\n")
    assert (tmp_path / "a").read_bytes() == b"\xc3\xa1\n"


def test_nothing_but_the_file_is_left(tmp_path):
    write_bytes(tmp_path / "a", b"1")
    write_bytes(tmp_path / "a", b"2")
    assert [p.name for p in tmp_path.iterdir()] == ["a"]


def test_a_name_of_255_characters_can_be_written(tmp_path):
    write_bytes(tmp_path / ("x" * 255), b"1")
    assert (tmp_path / ("x" * 255)).read_bytes() == b"1"


@pytest.mark.parametrize("name", ["with space", "%41", "new\nline", "-leading", "π"])
def test_odd_names_are_names(tmp_path, name):
    write_bytes(tmp_path / name, b"1")
    assert read_bytes(tmp_path / name) == b"1"


def test_the_file_is_as_readable_as_any_new_file(tmp_path):
    (tmp_path / "plain").write_text("")
    write_bytes(tmp_path / "ours", b"")
    modes = {stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("plain", "ours")}
    assert len(modes) == 1


def test_a_link_is_replaced_and_not_followed(tmp_path):
    (tmp_path / "target").write_text("kept")
    (tmp_path / "link").symlink_to(tmp_path / "target")
    write_bytes(tmp_path / "link", b"new")
    assert (tmp_path / "target").read_text() == "kept"
    assert not (tmp_path / "link").is_symlink()


def test_a_full_disk_leaves_the_old_file(tmp_path, monkeypatch):
    write_bytes(tmp_path / "a", b"old")

    def full(handle):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(ArtefactError) as caught:
        write_bytes(tmp_path / "a", b"new")
    assert str(caught.value) == (
        "the file cannot be written; what was there before is untouched\n"
        f"  where:    {tmp_path / 'a'}\n"
        "  got:      No space left on device\n"
        "  do:       free some space and run the same command again"
    )
    assert [p.name for p in tmp_path.iterdir()] == ["a"]
    assert (tmp_path / "a").read_bytes() == b"old"


def test_the_bytes_are_on_disk_before_the_name_is(tmp_path, monkeypatch):
    order = []
    fsync, replace = os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda handle: (order.append("fsync"), fsync(handle)))
    monkeypatch.setattr(os, "replace", lambda a, b: (order.append("replace"), replace(a, b)))
    write_bytes(tmp_path / "a", b"1")
    assert order == ["fsync", "replace", "fsync"]


def test_readers_see_one_whole_version(tmp_path):
    path, versions = tmp_path / "a", [bytes([i]) * 50_000 for i in range(8)]
    write_bytes(path, versions[0])
    seen, done = set(), threading.Event()

    def read():
        while not done.is_set():
            seen.add(path.read_bytes())

    reader = threading.Thread(target=read)
    reader.start()
    for version in versions * 4:
        write_bytes(path, version)
    done.set()
    reader.join()
    assert seen <= set(versions)


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(ArtefactError, match=r"create the folder .*nowhere"):
        write_bytes(tmp_path / "nowhere" / "a", b"1")


def test_a_folder_is_no_file(tmp_path):
    with pytest.raises(ArtefactError, match="the path of a file is a folder"):
        write_bytes(tmp_path, b"1")
    with pytest.raises(ArtefactError, match="the path of a file is a folder"):
        read_bytes(tmp_path)


def test_a_nul_character_is_refused(tmp_path):
    with pytest.raises(ArtefactError, match="a path cannot hold a NUL character"):
        write_bytes(f"{tmp_path}/a\0b", b"1")


def test_a_missing_file_is_said_to_be_missing(tmp_path):
    with pytest.raises(ArtefactError, match="there is no such file"):
        sha256_of(tmp_path / "a")


def test_a_fifo_is_refused_rather_than_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ArtefactError, match="the path is not a regular file"):
        read_bytes(tmp_path / "pipe")


def test_a_file_far_too_large_is_refused_unread(tmp_path):
    with open(tmp_path / "a", "wb") as stream:
        stream.truncate(100 * 1024 * 1024)
    with pytest.raises(ArtefactError, match="too large to be what it is said to be") as caught:
        read_bytes(tmp_path / "a")
    assert "104,857,600 bytes" in str(caught.value)


def test_a_new_folder_appears_whole_or_not_at_all(tmp_path):
    target = tmp_path / "runs" / "mine"
    with pytest.raises(RuntimeError), whole_folder(target, "last") as place:
        (place / "first").write_text("1")
        assert not target.exists()
        raise RuntimeError("the disk is full")
    assert list((tmp_path / "runs").iterdir()) == []
    with whole_folder(target, "last") as place:
        (place / "last").write_text("1")
        assert not target.exists()
    assert [path.name for path in (tmp_path / "runs").iterdir()] == ["mine"]
    assert [path.name for path in target.iterdir()] == ["last"]


def test_in_a_folder_that_is_there_the_last_file_is_taken_away_first(tmp_path):
    (tmp_path / "last").write_text("old")
    (tmp_path / "run.json").write_text("kept")
    with pytest.raises(RuntimeError), whole_folder(tmp_path, "last") as place:
        assert place == tmp_path
        assert [path.name for path in tmp_path.iterdir()] == ["run.json"]
        raise RuntimeError("killed")
    assert [path.name for path in tmp_path.iterdir()] == ["run.json"]


def test_a_folder_that_is_a_file_is_told(tmp_path):
    (tmp_path / "taken").write_text("mine")
    for target in (tmp_path / "taken", tmp_path / "taken" / "run"):
        with pytest.raises(ArtefactError) as caught, whole_folder(target, "last"):
            raise AssertionError("there is nothing to write into")
        assert caught.value.what == "the folder cannot be made: there is a file of that name"
        assert (caught.value.where, caught.value.got) == (str(tmp_path / "taken"), "a file")
    with pytest.raises(ArtefactError) as caught:
        make_folder(tmp_path / "taken" / "run")
    assert caught.value.got == f"{tmp_path / 'taken'}, which is a file"
    assert (tmp_path / "taken").read_text() == "mine"


def test_a_folder_with_a_nul_is_told(tmp_path):
    with pytest.raises(ArtefactError, match="the folder cannot be made"):
        make_folder(tmp_path / "a\0b")

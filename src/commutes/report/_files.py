"""Files that are either whole or absent: written beside their place, synced, then renamed into it."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import secrets
import shutil
import stat
from collections.abc import Generator
from pathlib import Path

from commutes.errors import ArtefactError

__all__ = ["make_folder", "read_bytes", "sha256_of", "whole_folder", "write_bytes", "write_text"]

# A record of a usual run is well under a megabyte; a hundred of them is a mistake, not a run.
LARGEST_RECORD = 64 * 1024 * 1024


def write_bytes(path: str | os.PathLike[str], data: bytes) -> str:
    """Put `data` at `path` in one step, and return its SHA-256: a reader sees the old file or the new one.

    The bytes go to a temporary file in the same folder, which is flushed, synced and renamed; then the
    folder is synced. A symbolic link at `path` is replaced, never followed.

    Raises:
        ArtefactError: The folder is missing or read-only, the disk is full, or `path` is a folder. What
            stood at `path` before is untouched.
    """
    target = _checked(path)
    # The name is short whatever the target's is, so that a target of 255 characters can be written.
    temporary = target.parent / f".commutes-{secrets.token_hex(8)}.tmp"
    try:
        # Not tempfile: its files are private to the user, and a report is made to be read by others.
        handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o666)
        with os.fdopen(handle, "wb") as stream:
            # Buffered, since a raw os.write on a full disk writes short without raising.
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(temporary, target)
        _sync_folder(target.parent)
    except OSError as problem:
        raise _cannot_write(target, problem) from problem
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()
    return hashlib.sha256(data).hexdigest()


def write_text(path: str | os.PathLike[str], text: str) -> str:
    """Put `text` at `path` as UTF-8 with plain newlines, in one step; return the SHA-256 of the bytes."""
    return write_bytes(path, text.encode("utf-8"))


def make_folder(folder: Path) -> None:
    """Make `folder` with its parents, unless it is there.

    Raises:
        ArtefactError: There is a file of that name, or the system refuses.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (OSError, ValueError) as problem:
        raise _no_folder(folder, problem) from problem


@contextlib.contextmanager
def whole_folder(folder: Path, last: str) -> Generator[Path]:
    """A folder to write into, of which a reader never sees a half that looks whole.

    A new folder is written beside its place and renamed when this ends. In one that is there already the file
    `last` is removed first; it is the one to be written last.

    Raises:
        ArtefactError: There is a file of that name, or the system refuses; a new folder is then not made.
    """
    if folder.exists() or folder.is_symlink():
        make_folder(folder)
        try:
            (folder / last).unlink(missing_ok=True)
            _sync_folder(folder)
        except OSError as problem:
            raise _cannot_write(folder / last, problem) from problem
        yield folder
        return
    make_folder(folder.parent)
    # The name is short whatever the folder's is, and hidden from whoever lists the runs.
    beside = folder.parent / f".commutes-{secrets.token_hex(8)}.tmp"
    try:
        make_folder(beside)
        yield beside
        _sync_folder(beside)
        try:
            os.rename(beside, folder)
        except OSError as problem:
            raise _no_folder(folder, problem) from problem
        _sync_folder(folder.parent)
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def _no_folder(folder: Path, problem: OSError | ValueError) -> ArtefactError:
    if isinstance(problem, FileExistsError | NotADirectoryError):
        taken = next((p for p in (folder, *folder.parents) if p.exists() or p.is_symlink()), folder)
        return ArtefactError(
            "the folder cannot be made: there is a file of that name",
            where=str(folder),
            got="a file" if taken == folder else f"{taken}, which is a file",
            expected="a new folder, or one that is there",
            fix="choose another folder",
        )
    return ArtefactError(
        "the folder cannot be made",
        where=repr(str(folder)) if isinstance(problem, ValueError) else str(folder),
        got=str(problem) if isinstance(problem, ValueError) else _reason(problem),
        fix="choose a folder that you may write to",
    )


def sha256_of(path: str | os.PathLike[str]) -> str:
    """The SHA-256 of the file at `path`, in hexadecimal."""
    digest = hashlib.sha256()
    try:
        with open(_regular(path), "rb") as stream:
            while block := stream.read(1 << 20):
                digest.update(block)
    except OSError as problem:
        raise _cannot_read(Path(path), problem) from problem
    return digest.hexdigest()


def read_bytes(path: str | os.PathLike[str], *, limit: int = LARGEST_RECORD) -> bytes:
    """The bytes of the regular file at `path`, of at most `limit` bytes."""
    target = _regular(path)
    try:
        size = target.stat().st_size
        if size > limit:
            raise ArtefactError(
                "the file is too large to be what it is said to be",
                where=str(target),
                got=f"{size:,} bytes",
                expected=f"at most {limit:,} bytes",
                fix="check the path; a record holds figures, not tensors or pairs",
            )
        return target.read_bytes()
    except OSError as problem:
        raise _cannot_read(target, problem) from problem


def _checked(path: str | os.PathLike[str]) -> Path:
    target = Path(path)
    if "\0" in str(target):
        raise ArtefactError(
            "a path cannot hold a NUL character", got=repr(str(target)), fix="choose another file name"
        )
    if target.is_dir() and not target.is_symlink():
        raise ArtefactError(
            "the path of a file is a folder",
            where=str(target),
            got="a folder",
            fix="choose another file name",
        )
    return target


def _regular(path: str | os.PathLike[str]) -> Path:
    target = _checked(path)
    try:
        mode = target.stat().st_mode
    except OSError as problem:
        raise _cannot_read(target, problem) from problem
    # Opening a FIFO would wait for a writer for ever.
    if not stat.S_ISREG(mode):
        raise ArtefactError(
            "the path is not a regular file",
            where=str(target),
            expected="a regular file",
            fix="check the path",
        )
    return target


def _cannot_read(target: Path, problem: OSError) -> ArtefactError:
    if isinstance(problem, FileNotFoundError):
        return ArtefactError("there is no such file", where=str(target), fix="check the path")
    return ArtefactError(
        "the file cannot be read", where=str(target), got=_reason(problem), fix="check its permissions"
    )


def _cannot_write(target: Path, problem: OSError) -> ArtefactError:
    if problem.errno in (errno.ENOSPC, errno.EDQUOT):
        fix = "free some space and run the same command again"
    elif not target.parent.is_dir():
        fix = f"create the folder {target.parent}"
    else:
        fix = "choose a folder that you may write to"
    return ArtefactError(
        "the file cannot be written; what was there before is untouched",
        where=str(target),
        got=_reason(problem),
        fix=fix,
    )


def _reason(problem: OSError) -> str:
    return problem.strerror or type(problem).__name__


def _sync_folder(folder: Path) -> None:
    # Without this the rename itself may be lost when the machine stops. Some systems cannot open a folder.
    try:
        handle = os.open(folder, os.O_RDONLY)
    except OSError:
        return
    try:
        with contextlib.suppress(OSError):
            os.fsync(handle)
    finally:
        os.close(handle)

"""Files that are created once, whole or not at all, and read without following links."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import secrets
import stat
from pathlib import Path

from commutes.errors import ArtefactError, StoreError
from commutes.search._toml import shown

__all__ = ["confined", "create_file", "exists", "make_folder", "read_file", "sha256"]

MOST_BYTES = 1 << 30
_NO_LINKS = {errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK}


def sha256(data: bytes) -> str:
    """SHA-256 of `data`, in hexadecimal."""
    return hashlib.sha256(data).hexdigest()


def confined(folder: Path, name: str) -> Path:
    """The path of `name` inside `folder`, for a name that was read from a file.

    Raises:
        ArtefactError: If the name is absolute, leaves the folder, goes through a symbolic link, or holds
            characters that no name of ours holds.
    """
    parts = name.split("/")
    if (
        not name.isprintable()
        or "\\" in name
        or name.startswith("/")
        or any(p in ("", ".", "..") for p in parts)
    ):
        raise ArtefactError(
            "a file name leaves its folder or is no name",
            where=shown(folder),
            got=repr(name),
            expected="a relative name inside the run folder",
            fix="do not use this folder: it was not written by commutes",
        )
    path = folder
    for part in parts:
        path = path / part
        _refuse_link(path)
    return path


def _refuse_link(path: Path) -> None:
    if path.is_symlink():
        raise ArtefactError(
            "a file of the store is a symbolic link",
            where=shown(path),
            got=f"a link to {shown(os.readlink(path))}",
            expected="a file or folder inside the run folder",
            fix="replace the link by what it points to",
        )


def exists(path: Path) -> bool:
    """Whether there is anything of that name, a link to nowhere included.

    Raises:
        StoreError: If the system cannot tell: a name that is too long, a folder that may not be entered.
    """
    try:
        path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError as problem:
        raise _unwritable(path, problem) from problem
    return True


def make_folder(folder: Path) -> None:
    """Make `folder` with its parents and have its name on disk.

    Raises:
        StoreError: If it cannot be made.
    """
    try:
        if folder.is_dir():
            return
        folder.mkdir(parents=True, exist_ok=True)
        _sync(folder.parent)
    except OSError as problem:
        raise _unwritable(folder, problem) from problem


def create_file(path: Path, data: bytes) -> bool:
    """Put `data` at `path` unless there is a file already, in one step that survives a crash.

    The bytes go to a temporary file beside `path`, which is synced and then linked: of several writers one
    creates the file, and a reader sees all of it or nothing.

    Returns:
        Whether the file is new.

    Raises:
        StoreError: The folder is read-only or the disk is full; nothing is half-written.
    """
    temporary = path.parent / f".commutes-{secrets.token_hex(8)}.tmp"
    try:
        handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o666)
        # Buffered, since a raw os.write on a full disk writes short without raising.
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        created = _link(temporary, path)
        _sync(path.parent)
    except OSError as problem:
        raise _unwritable(path, problem) from problem
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()
    return created


def _link(temporary: Path, path: Path) -> bool:
    try:
        os.link(temporary, path)
    except FileExistsError:
        return False
    except OSError as problem:
        if problem.errno not in _NO_LINKS:
            raise
        # A file system without hard links: the rename is as whole, and two writers of a cell write the same.
        if path.exists():
            return False
        os.replace(temporary, path)
    return True


def read_file(path: Path, *, most: int = MOST_BYTES) -> bytes:
    """The bytes of a regular file, which is no link.

    Raises:
        ArtefactError: If it is missing, no regular file, a link, too large or unreadable.
    """
    _refuse_link(path)
    try:
        handle = os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0))
        with os.fdopen(handle, "rb") as file:
            kind = os.fstat(file.fileno())
            if stat.S_ISREG(kind.st_mode) and kind.st_size <= most:
                return file.read()
    except OSError as problem:
        missing = problem.errno == errno.ENOENT
        raise ArtefactError(
            "a file of the store is missing" if missing else "a file of the store cannot be read",
            where=shown(path),
            got=problem.strerror or type(problem).__name__,
            expected="a readable file",
            fix="restore it from a copy, or start the run in a new folder"
            if missing
            else "check its permissions",
        ) from problem
    regular = stat.S_ISREG(kind.st_mode)
    raise ArtefactError(
        "a file of the store is too large" if regular else "a file of the store is no regular file",
        where=shown(path),
        got=f"{kind.st_size:,} bytes" if regular else "a folder, pipe or device",
        expected=f"a file of at most {most:,} bytes",
        fix="restore it from a copy, or start the run in a new folder",
    )


def _unwritable(path: Path, problem: OSError) -> StoreError:
    full = problem.errno in (errno.ENOSPC, errno.EDQUOT)
    return StoreError(
        "the disk is full; every cell that was finished is safe"
        if full
        else "the run folder cannot be written",
        where=shown(path),
        got=problem.strerror or type(problem).__name__,
        expected="a folder on a disk with room, in which you may write",
        fix="free some space and run the same command again" if full else "choose another folder with --out",
    )


def _sync(folder: Path) -> None:
    # Without this the name itself may be lost when the machine stops. Some systems cannot open a folder.
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)

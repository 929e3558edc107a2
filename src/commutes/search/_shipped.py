"""Where specs and hypothesis files are found: a path of the user's, or a name that the package ships."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal

from commutes.errors import SpecError, nearest, similar
from commutes.search._toml import shown

__all__ = ["find_hypothesis", "find_spec", "shipped", "shipped_folder"]

Kind = Literal["algorithms", "alignments"]

_SUFFIX = {"algorithms": ".py", "alignments": ".toml"}
_PACKAGE = Path(__file__).resolve().parents[1]


def shipped_folder(kind: Kind) -> Path:
    """The folder of the shipped files: in the installed package, or beside `src/` in a checkout."""
    installed = _PACKAGE / "_shipped" / kind
    if installed.is_dir():
        return installed
    return _PACKAGE.parents[1] / kind


def shipped(kind: Kind) -> dict[str, Path]:
    """Name -> file, of everything that is shipped under `kind`, in the order of the names."""
    folder = shipped_folder(kind)
    # Outside a checkout the folder beside `src/` may be anything at all: no names are taken from there.
    if not (folder.parent.name == "_shipped" or (folder.parent / "src" / "commutes").is_dir()):
        return {}
    files = sorted(folder.glob("*" + _SUFFIX[kind])) if folder.is_dir() else []
    return {file.stem: file for file in files if not file.name.startswith(("_", "."))}


def find_spec(name: str | os.PathLike[str]) -> Path:
    """The spec file that `name` means: a file that exists, else the shipped spec of that name.

    Args:
        name: A path to a TOML file, or a shipped name such as `equality`.

    Raises:
        SpecError: If there is neither; with the nearest names among the shipped ones and beside the path.
    """
    text = os.fspath(name)
    _refuse_text(text, "spec")
    path, known = Path(text), shipped("alignments")
    if _exists(path) and not (path.is_dir() and text in known):
        return path
    if text in known:
        return known[text]
    # A project's own settings lie where people work, and are never a spec.
    beside = [name for name in _files_beside(path, ".toml") if name != "pyproject.toml"]
    raise SpecError(
        "there is no such spec",
        where=shown(path),
        got=f"{shown(text)!r}, which is neither a file nor a shipped spec",
        expected=_expected("shipped specs", known, beside, path),
        fix=_advice(path.stem, known, beside, "give the path of a .toml file"),
    )


def find_hypothesis(name: str, *, beside: Path, where: str) -> Path:
    """The hypothesis file that `name` means: a path relative to the spec's folder, or a shipped name.

    Args:
        name: Ends in .py or holds a slash: a path. Otherwise the name of a shipped file.
        beside: The folder of the spec that names it.
        where: File, line and key of the spec, for messages.

    Raises:
        SpecError: If there is no such file; with the nearest names.
    """
    _refuse_text(name, "hypothesis file", where)
    known = shipped("algorithms")
    is_path = name.endswith(".py") or "/" in name or os.sep in name
    if not is_path and name in known:
        return known[name]
    path = beside / Path(name).expanduser()
    if is_path and path.is_file():
        return path
    if not is_path and (beside / f"{name}.py").is_file():
        raise SpecError(
            f"no hypothesis file of the name {name!r} is shipped",
            where=where,
            got=repr(name),
            expected=f"one of {', '.join(known)}, or the path of a file",
            fix=f'for the file beside the spec write file = "{name}.py"',
        )
    siblings = _files_beside(path, ".py")
    raise SpecError(
        "there is no such hypothesis file",
        where=where,
        got=shown(path) + (", which is a folder" if path.is_dir() else "") if is_path else repr(name),
        expected=_expected("shipped names", known, siblings, path),
        fix=_advice(Path(name).stem, known, siblings, "give a path relative to the spec, ending in .py"),
    )


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:
        # A name that is too long for the file system does not exist.
        return False


def _refuse_text(text: str, what: str, where: str | None = None) -> None:
    if not text.strip() or "\0" in text:
        raise SpecError(
            f"the name of the {what} is empty or holds a NUL character",
            where=where,
            got=repr(text),
            expected="a path, or a shipped name",
            fix=f"name the {what}",
        )


def _files_beside(path: Path, suffix: str) -> list[str]:
    try:
        names = [entry.name for entry in path.parent.iterdir() if entry.suffix == suffix]
    except OSError:
        return []
    return sorted(names)


def _expected(words: str, known: dict[str, Path], beside: list[str], path: Path) -> str:
    lines = [f"one of the {words}: {', '.join(known) or 'none is installed'}"]
    if beside:
        shortlist = nearest(path.name, beside, 3)
        lines.append(f"or a file of {shown(path.parent)}: {', '.join(map(shown, shortlist))}")
    return "\n".join(lines)


def _advice(stem: str, known: dict[str, Path], beside: list[str], otherwise: str) -> str:
    candidates = {**{Path(name).stem: name for name in beside}, **{name: name for name in known}}
    close = similar(stem, candidates)
    return f"did you mean {candidates[close]}? otherwise {otherwise}" if close else otherwise

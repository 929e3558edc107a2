"""The spec that a run folder was made from, for commands that are given the folder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from commutes.errors import ArtefactError, SpecError
from commutes.search._shipped import find_spec, shipped
from commutes.search._spec import Origin, Spec, read_spec
from commutes.search._store import Store
from commutes.search._store_checks import RUN
from commutes.search._toml import shown

__all__ = ["spec_of_run"]


def spec_of_run(folder: Path, *, given: str | None = None) -> Spec:
    """The resolved spec in a run folder, with its overrides, and beside it where its hypothesis file may be looked for.

    A hypothesis is executed Python: it comes from the installed ones, or from beside a spec that the user names,
    never from a path that a run folder holds.

    Args:
        folder: Of a run that `commutes run` made.
        given: The spec that the run was made from, as the user names it; where it is not given the run's name is
            looked for among the installed ones.

    Raises:
        SpecError: The folder is no run's, or nothing says where its hypothesis file is.
        ArtefactError: run.json is damaged.
    """
    if not (folder / RUN).is_file():
        raise SpecError(
            "there is no run in this folder",
            where=shown(folder),
            got=f"no {RUN}",
            expected="a folder that commutes run made",
            fix="give the folder of a run; a report that was saved from Python cannot be run again",
        )
    resolved: Any = Store.existing(folder).identity.get("spec")
    try:
        spec = Spec.model_validate_json(json.dumps(resolved))
    except ValidationError as problem:
        first = problem.errors(include_url=False)[0]
        raise ArtefactError(
            "the spec in the run folder is not one of this version",
            where=f"{shown(folder / RUN)}, {'.'.join(map(str, first['loc']))}",
            got=first["msg"],
            expected="the spec as commutes run wrote it",
            fix="use the version that made the run, or run it again in a new folder",
        ) from problem
    if given is None and spec.name not in shipped("alignments"):
        raise SpecError(
            "the run is of a spec of your own, and its hypothesis file is executed Python",
            where=shown(folder),
            got=f"a run named {spec.name}, which is no installed spec",
            expected="the spec beside which its hypothesis file lies",
            fix=f"add --spec {spec.name}.toml",
        )
    name = spec.name if given is None else given
    path = find_spec(name)
    named = read_spec(path, given=name).algorithm.file
    if named != spec.algorithm.file:
        raise SpecError(
            "the run was made with another hypothesis file than the spec names",
            where=shown(folder),
            got=spec.algorithm.file,
            expected=f"{named}, as {shown(path)} has it",
            fix="give the spec that the run was made from with --spec, or run it anew with commutes run",
        )
    spec._origin = Origin(name, path)
    return spec

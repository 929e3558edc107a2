"""The inputs that a spec says its claim says nothing about."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from commutes.search._builders import called, wrong_type
from commutes.search._hypothesis import Hypothesis
from commutes.search._tables import table_bytes, table_of

if TYPE_CHECKING:
    from commutes.counterfactuals import Counterfactuals
    from commutes.search._spec import Spec

__all__ = ["KEY", "build_off_task", "off_task_sha256"]

KEY = "challenge.off_task"


def build_off_task(hypothesis: Hypothesis, spec: Spec) -> Counterfactuals | Mapping[str, Any] | None:
    """The inputs that the claim says nothing about: what a function of the hypothesis file returns, or a file holds.

    Raises:
        SpecError: There is no such function or file, or the file is no table.
        AlgorithmError: The function raises, or returns something else.
    """
    from commutes.counterfactuals import Counterfactuals

    asked, where = spec.challenge.off_task, spec.where(KEY)
    if asked is None:
        return None
    path = _file(spec)
    if path is not None:
        return table_of(table_bytes(path, where=where), path, where=where)
    found = called(hypothesis, asked, hypothesis.function(asked, where=where), (), {})
    if not isinstance(found, Counterfactuals | Mapping):
        raise wrong_type(hypothesis, asked, found, "Counterfactuals of another algorithm, or values by input")
    return found


def off_task_sha256(spec: Spec) -> str | None:
    """SHA-256 of the file of off-task inputs; None where no file is named.

    Raises:
        SpecError: The file cannot be read.
    """
    path = _file(spec)
    return None if path is None else hashlib.sha256(table_bytes(path, where=spec.where(KEY))).hexdigest()


def _file(spec: Spec) -> Path | None:
    asked = spec.challenge.off_task
    return spec.folder / Path(asked).expanduser() if asked is not None and "." in asked else None

"""Whether a run is finished: its report was written after all its cells, by the same code, and is as it was."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from commutes.report import as_report, sha256_of, write_bytes
from commutes.report.record import plain
from commutes.search._store import RECORD, Store
from commutes.search._store_checks import FORMAT, RUN, sealed, unsealed

__all__ = ["DONE", "finished", "mark_finished"]

DONE = "done.json"


def mark_finished(store: Store, what: Mapping[str, Any], *, counted: str) -> None:
    """Write beside the report that the run is finished.

    Args:
        store: The run.
        what: Plain values: whatever else decides the report, such as versions.
        counted: The name of a file that goes on changing when the run is finished.
    """
    written = sorted(path for path in store.folder.iterdir() if path.is_file() and path.name[0] != ".")
    body = {
        "format": FORMAT,
        "identity": dict(store.identity),
        "what": dict(what),
        "report": sha256_of(store.folder / RECORD),
        # What is replaced by another start, or counted up, is no part of what is finished.
        "files": {path.name: sha256_of(path) for path in written if path.name not in (RUN, DONE, counted)},
    }
    # Replaced, not created: the report was, too, where more was sought than before.
    write_bytes(store.folder / DONE, sealed(body))


def finished(store: Store, what: Mapping[str, Any], *, level: str) -> dict[str, Any] | None:
    """The record of the report that this very run has written; None where there is work to do.

    Args:
        store: The run.
        what: As when it was marked.
        level: How far the report must have gone.

    Raises:
        ArtefactError: done.json or the report is damaged.
    """
    done, report = store.folder / DONE, store.folder / RECORD
    if not done.is_file() or not report.is_file():
        return None
    body = unsealed(done)
    same = body.get("identity") == dict(store.identity) and body.get("what") == json.loads(json.dumps(what))
    # A report that was written since, by hand or by a start that did not end, is not the one that is marked.
    if not same or body.get("report") != sha256_of(report):
        return None
    record = plain(as_report(json.loads(report.read_bytes())))
    assert isinstance(record, dict)
    return record if record["sought"] >= level else None

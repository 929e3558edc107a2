"""Whether a run is what its folder says: every file hashed again, the claim hashed again, some pairs run again."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from commutes.alignment import Alignment, load
from commutes.counterfactuals import Counterfactuals
from commutes.errors import ArtefactError
from commutes.evaluation import bench
from commutes.report import ReportRecord, claim_changed, load_report, read_bytes, sha256_of
from commutes.robustness import PAIRS, claimed, columns_of
from commutes.search._finished import DONE
from commutes.search._hypothesis import blamed, load_hypothesis
from commutes.search._job import rebuilt
from commutes.search._spec import Spec
from commutes.search._store import RECORD, Store
from commutes.search._store_checks import unsealed
from commutes.search._toml import shown

__all__ = ["SAMPLE", "Verified", "verify"]

SAMPLE = 200


@dataclass(frozen=True)
class Verified:
    """What was looked at, a sentence each, and the record that it was held against."""

    record: ReportRecord
    lines: tuple[str, ...]


def verify(spec: Spec, folder: Path, *, sample: int = SAMPLE, seed: int = 0) -> Verified:
    """Hash every file of a finished run, hash its claim again, and run some of its test pairs again.

    Args:
        spec: Of the run, with its hypothesis file; see `spec_of_run`.
        folder: The run.
        sample: How many pairs are run again; all where there are fewer.
        seed: Of which.

    Raises:
        ArtefactError: Whatever is not as it was written, the first such thing.
    """
    store = Store.existing(folder)
    hashed = _hashed(store)
    record = load_report(folder / RECORD)
    lines = [f"files      {hashed:,} hashed, all as they were written"]
    if record.evaluation is None:
        return Verified(record, (*lines, "claim      none: the network does not do the task"))
    hypothesis = load_hypothesis(spec)
    with blamed(hypothesis):
        made = rebuilt(hypothesis, spec, store)
        alignment = load(folder, algorithm=made.algorithm, network=made.network)
        _check_claim(record, alignment, made.data.test, folder)
        lines.append(f"claim      {record.claim.fingerprint[:12]}, as it was fixed")
        rows = _rows(made.data.test, sample, seed)
        _check_pairs(folder, alignment, made.data.test, rows)
    again = f"{len(rows):,} of {len(made.data.test):,} test pairs"
    return Verified(record, (*lines, f"sample     {again} run again (seed {seed}), every answer as it was"))


def _hashed(store: Store) -> int:
    """How many files have the hash that was written down for them.

    Raises:
        ArtefactError: One that has not.
    """
    for problem in store.problems():
        raise problem
    done = unsealed(store.folder / DONE)
    files: Mapping[str, str] = done.get("files", {RECORD: done["report"]})
    for name, sha in files.items():
        found = sha256_of(store.folder / name)
        if found != sha:
            raise ArtefactError(
                "a file of the run is not as it was written",
                where=shown(store.folder / name),
                got=f"SHA-256 {found}",
                expected=f"SHA-256 {sha}",
                fix="restore it from a copy, or give the command of the run again",
            )
    finished: tuple[str, ...] = store.keys()
    cells = [store.cell(key) for key in finished]
    return 2 + len(files) + sum(1 + len(cell.tensors) + (cell.pairs is not None) for cell in cells)


def _check_claim(record: ReportRecord, alignment: Alignment, test: Counterfactuals, folder: Path) -> None:
    """Hold what the claim is said to be of against what the folder holds; its own hash was, when it was read.

    Raises:
        ArtefactError: It is another one than the folder's.
    """
    content, fixed = record.claim.content, record.claim.fingerprint
    for what, value in json.loads(json.dumps(claimed(alignment, test))).items():
        if content.get(what) != value:
            raise claim_changed(folder / RECORD, f"other {what} than those that were fixed", fixed)


def _rows(test: Counterfactuals, sample: int, seed: int) -> np.ndarray:
    if len(test) <= sample:
        return np.arange(len(test))
    return np.sort(np.random.default_rng([seed, 11]).choice(len(test), sample, replace=False))


def _check_pairs(folder: Path, alignment: Alignment, test: Counterfactuals, rows: np.ndarray) -> None:
    """Raises ArtefactError where a pair is another one, or is answered otherwise, than was written down."""
    import pyarrow.parquet as pq

    stored = pq.read_table(io.BytesIO(read_bytes(folder / PAIRS, limit=1 << 30))).to_pandas()
    if len(stored) != len(test):
        raise _other_pairs(folder, f"{len(stored):,} pairs", f"{len(test):,}")
    some = test.subset(rows)
    measured = bench(alignment, some)
    answered = measured.answered(alignment.featurizers)
    hits = measured.answers.match(answered, some.expected)
    fresh: dict[str, Sequence[Any]] = columns_of(some, answered, hits)
    for name, column in fresh.items():
        written = stored[name].to_numpy()[rows].tolist()
        wrong = [i for i, (old, new) in enumerate(zip(written, column, strict=True)) if old != new]
        if wrong:
            first = wrong[0]
            raise _other_pairs(
                folder,
                f"{name} of pair {int(rows[first])}: {written[first]} in the file, {column[first]} now"
                + (f"; {len(wrong):,} of {len(rows):,} differ" if len(wrong) > 1 else ""),
                "what the run wrote",
            )


def _other_pairs(folder: Path, got: str, expected: str) -> ArtefactError:
    return ArtefactError(
        "pairs that are run again do not come out as it is written",
        where=shown(folder / PAIRS),
        got=got,
        expected=expected,
        fix="look at the versions on the card: another version of torch may round otherwise; else the file was changed",
    )

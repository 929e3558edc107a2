"""The store of a run: one immutable file per finished cell; everything else is derived."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from commutes.errors import ArtefactError, StoreError
from commutes.search._canonical import canonical, digest, plain
from commutes.search._store_checks import (
    AGAIN,
    FORMAT,
    KEY,
    REPORT,
    RUN,
    damaged,
    differences,
    not_deterministic,
    refuse_foreign,
    refuse_key,
    sealed,
    unsealed,
    verified,
)
from commutes.search._store_files import confined, create_file, exists, make_folder, read_file, sha256
from commutes.search._toml import shown

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

__all__ = ["RECORD", "Cell", "Store"]

RECORD = REPORT


@dataclass(frozen=True)
class Cell:
    """A finished cell."""

    key: str
    """SHA-256 of the canonical JSON of `what`"""
    what: Mapping[str, Any]
    """everything that decides the result"""
    record: Mapping[str, Any]
    """the result, in plain types"""
    tensors: tuple[str, ...] = ()
    """SHA-256 of the tensor files that belong to it"""
    pairs: str | None = None
    """SHA-256 of the file with the outcome of every pair"""
    missing: Mapping[str, str] = field(default_factory=dict)
    """the places of `record` that are null because the number there was not finite, and what it was"""
    times: Mapping[str, Any] = field(default_factory=dict)
    """when and how long; no part of what makes two results equal"""

    @property
    def content(self) -> str:
        """SHA-256 of the result without its times: two runs of one cell have the same."""
        return digest(self._body())

    def _body(self) -> dict[str, Any]:
        return {
            "what": self.what,
            "record": self.record,
            "tensors": list(self.tensors),
            "pairs": self.pairs,
            "missing": dict(self.missing),
        }

    def as_bytes(self) -> bytes:
        """The cell as its file holds it: indented JSON with the SHA-256 of the rest inside."""
        return sealed({"format": FORMAT, "key": self.key, **self._body(), "times": dict(self.times)})


@dataclass(frozen=True)
class Store:
    """A run folder. Files in it are created once and never changed, so any number of processes may share it.

    `run.json` says what the run is; `cells/ab/<key>.json` holds one finished cell each;
    `tensors/<sha256>.safetensors` and `pairs/<key>.parquet` are written before the cell that names them.
    A cell whose completion was told is on disk; after a crash the same command computes what is missing.
    """

    folder: Path
    """the run folder"""
    identity: Mapping[str, Any]
    """what the run is, as its run.json says"""

    @classmethod
    def open(
        cls, folder: Path, identity: Mapping[str, Any], *, notes: Mapping[str, Any] | None = None
    ) -> Self:
        """Start a run in `folder`, or go on with the same run.

        Args:
            folder: New, empty, or the folder of a run with the same identity.
            identity: Plain values that tell this run from others: the resolved spec, fingerprints.
            notes: Plain values that are kept and not compared: versions, the machine.

        Raises:
            StoreError: The folder holds another run (the message says what differs) or something else, or
                cannot be written.
            ArtefactError: Its run.json is damaged.
        """
        cls.check(folder, identity)
        ours = json.loads(canonical(identity))
        make_folder(folder)
        data = sealed({"format": FORMAT, "identity": ours, "notes": dict(notes or {})})
        if not (folder / RUN).exists():
            create_file(folder / RUN, data)
        # Held against the file in any case: another process may have been the one that created it.
        cls.check(folder, identity)
        return cls.existing(folder)

    @classmethod
    def check(cls, folder: Path, identity: Mapping[str, Any]) -> None:
        """Refuse what `open` would refuse, and write nothing.

        Raises:
            StoreError: The folder holds another run, or something that is no run.
            ArtefactError: Its run.json is damaged.
        """
        if not exists(folder):
            return
        if not (folder / RUN).exists():
            refuse_foreign(folder)
            return
        theirs, ours = cls.existing(folder).identity, json.loads(canonical(identity))
        from commutes.search._spec import as_known  # pydantic: not for who only reads a store

        changed = differences(as_known(theirs), ours)
        if changed:
            raise StoreError(
                "the run folder belongs to another run",
                where=shown(folder),
                got="\n".join(changed[:6] + ([f"and {len(changed) - 6} more"] if len(changed) > 6 else [])),
                expected="the same spec and algorithm as when the run was started",
                fix="give another folder with --out, or another name in the spec",
            )

    @classmethod
    def existing(cls, folder: Path) -> Self:
        """The store of a run that was started before.

        Raises:
            ArtefactError: If `folder` holds no run.json, or a damaged one.
        """
        data = unsealed(folder / RUN)
        identity = data.get("identity")
        if not isinstance(identity, dict):
            raise damaged(folder / RUN, "no identity", "what the run is", "restore it from a copy")
        return cls(folder, identity)

    @property
    def notes(self) -> dict[str, Any]:
        """What was noted when the run was started."""
        return dict(unsealed(self.folder / RUN).get("notes", {}))

    @staticmethod
    def key(what: Mapping[str, Any]) -> str:
        """The key of the cell that `what` decides: SHA-256 of its canonical JSON."""
        return digest(what)

    def has(self, key: str) -> bool:
        """Whether the cell is finished."""
        return self._cell_path(key).exists()

    def keys(self) -> tuple[str, ...]:
        """The keys of the finished cells, sorted."""
        return tuple(sorted(path.stem for path in self._files("cells/*/*.json") if KEY.fullmatch(path.stem)))

    def cell(self, key: str) -> Cell:
        """A finished cell, its hashes verified.

        Raises:
            ArtefactError: If the cell is not there, damaged, or is not the cell of its name.
        """
        path = self._cell_path(key)
        data = unsealed(path)
        cell = Cell(
            data["key"],
            data["what"],
            data["record"],
            tuple(data["tensors"]),
            data["pairs"],
            data["missing"],
            data["times"],
        )
        if cell.key != key or digest(cell.what) != key:
            raise damaged(
                path,
                f"the cell {digest(cell.what)}",
                f"the cell {key}",
                f"it was copied or renamed: {AGAIN}",
            )
        return cell

    def put(
        self,
        what: Mapping[str, Any],
        record: Mapping[str, Any],
        *,
        times: Mapping[str, Any] | None = None,
        tensors: tuple[str, ...] = (),
        pairs: str | None = None,
    ) -> Cell:
        """Write a finished cell; when this returns, it is on disk.

        Args:
            what: Everything that decides the result.
            record: The result; numbers that are not finite are kept as null, with their places.
            times: Kept, and not compared.
            tensors: What `put_tensors` returned.
            pairs: What `put_pairs` returned.

        Raises:
            StoreError: If the cell exists with another result, or cannot be written.
            ArtefactError: If the cell exists and is damaged.
        """
        body, missing = plain(record)
        clock, _ = plain(times or {})
        cell = Cell(self.key(what), json.loads(canonical(what)), body, tensors, pairs, missing, clock)
        for name in (
            *(f"tensors/{sha}.safetensors" for sha in tensors),
            *([f"pairs/{cell.key}.parquet"] * bool(pairs)),
        ):
            assert (self.folder / name).is_file(), f"{name} is written before the cell that names it"
        path = self._cell_path(cell.key)
        make_folder(path.parent)
        if not create_file(path, cell.as_bytes()):
            _refuse_other(path, self.cell(cell.key), cell)
        return cell

    def put_tensors(self, arrays: Mapping[str, np.ndarray]) -> str:
        """Write arrays to a file that is named by its content; return its SHA-256."""
        import numpy as np
        from safetensors.numpy import save

        # safetensors writes an array's memory as it lies: one in another order would come back as other numbers.
        data = save({name: np.ascontiguousarray(array) for name, array in arrays.items()})
        sha = sha256(data)
        path = confined(self.folder, f"tensors/{sha}.safetensors")
        make_folder(path.parent)
        if not create_file(path, data):
            verified(path, sha)
        return sha

    def tensors(self, sha: str) -> dict[str, np.ndarray]:
        """The arrays of a tensor file, its hash verified.

        Raises:
            ArtefactError: If the file is missing or not what its name says.
        """
        from safetensors.numpy import load

        refuse_key(sha, self.folder)
        return load(verified(confined(self.folder, f"tensors/{sha}.safetensors"), sha))

    def put_pairs(self, key: str, columns: Mapping[str, Any]) -> str:
        """Write the outcome of every pair of the cell `key` as Parquet; return its SHA-256.

        Args:
            key: Of the cell that will name it.
            columns: Column name -> values, equally long.

        Raises:
            StoreError: If a finished cell has other outcomes.
        """
        import pyarrow as pa
        import pyarrow.parquet as pq

        from commutes.report._files import write_bytes

        sink = pa.BufferOutputStream()
        pq.write_table(pa.table({name: pa.array(values) for name, values in columns.items()}), sink)
        data = sink.getvalue().to_pybytes()
        sha = sha256(data)
        path = confined(self.folder, f"pairs/{refuse_key(key, self.folder)}.parquet")
        make_folder(path.parent)
        if create_file(path, data) or sha256(read_file(path)) == sha:
            return sha
        if self.has(key):
            raise not_deterministic(path, sha256(read_file(path)), sha)
        # Nothing names the file yet: a run that died left it, perhaps under another version of pyarrow.
        write_bytes(path, data)
        return sha

    def pairs(self, cell: Cell) -> pd.DataFrame:
        """The outcome of every pair of `cell`, its hash verified.

        Raises:
            ArtefactError: If the file is missing or not what the cell says.
        """
        import io

        import pyarrow.parquet as pq

        assert cell.pairs is not None, "asked only of cells that keep their pairs"
        data = verified(confined(self.folder, f"pairs/{cell.key}.parquet"), cell.pairs)
        return pq.read_table(io.BytesIO(data)).to_pandas()

    def problems(self) -> Iterator[ArtefactError]:
        """Every damaged or missing file of the store; nothing where all is whole."""
        for key in self.keys():
            try:
                cell = self.cell(key)
                for sha in cell.tensors:
                    verified(confined(self.folder, f"tensors/{sha}.safetensors"), sha)
                if cell.pairs is not None:
                    verified(confined(self.folder, f"pairs/{key}.parquet"), cell.pairs)
            except ArtefactError as problem:
                yield problem

    def _cell_path(self, key: str) -> Path:
        refuse_key(key, self.folder)
        return confined(self.folder, f"cells/{key[:2]}/{key}.json")

    def _files(self, pattern: str) -> list[Path]:
        return [path for path in self.folder.glob(pattern) if not path.name.startswith(".")]


def _refuse_other(path: Path, theirs: Cell, ours: Cell) -> None:
    if theirs.content == ours.content:
        return
    changed = differences(theirs.record, ours.record) or ["the tensors or the pairs"]
    raise not_deterministic(path, f"{theirs.content}\n" + "\n".join(changed[:4]), ours.content)

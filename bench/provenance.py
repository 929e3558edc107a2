"""What a stored result says about how it was made: command, hashes of the code, versions, time."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch

import commutes

ROOT = Path(__file__).resolve().parent.parent


def code_hash(paths: Iterable[Path]) -> str:
    """SHA-256 over path, length and content of these files, in order of their paths."""
    digest = hashlib.sha256()
    for path in sorted(paths):
        content = path.read_bytes()
        digest.update(f"{path.relative_to(ROOT).as_posix()}\0{len(content)}\0".encode() + content)
    return digest.hexdigest()


def library_hash() -> str:
    """Of src/commutes and algorithms/equality.py."""
    return code_hash([*(ROOT / "src" / "commutes").rglob("*.py"), ROOT / "algorithms" / "equality.py"])


def provenance(command: str, code: str, seconds: float) -> dict[str, Any]:
    """Command, hash of the code as it was at the start, versions and time."""
    return {
        "command": command,
        "code": {"sha256": code, "of": "src/commutes/**/*.py and algorithms/equality.py"},
        "versions": {
            "commutes": commutes.__version__,
            "python": sys.version.split()[0],
            "torch": torch.__version__,
            "numpy": np.__version__,
        },
        "seconds": round(seconds),
    }


def dumped(value: dict[str, Any]) -> str:
    """As JSON, with a line per row of a table, so that a difference of two versions can be read."""
    parts = []
    for name, entry in value.items():
        if isinstance(entry, list) and entry:
            text = "[\n  " + ",\n  ".join(json.dumps(row) for row in entry) + "\n ]"
        elif isinstance(entry, dict) and any(
            isinstance(e, list) and e and isinstance(e[0], dict) for e in entry.values()
        ):
            text = dumped(entry).rstrip("\n")
        else:
            text = json.dumps(entry)
        parts.append(f' "{name}": {text}')
    return "{\n" + ",\n".join(parts) + "\n}\n"


def say(*words: object) -> None:
    """A line on stderr."""
    print(*words, file=sys.stderr, flush=True)

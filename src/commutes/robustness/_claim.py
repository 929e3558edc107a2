"""The claim, fixed and hashed before the test split is opened; and how often that split was opened."""

from __future__ import annotations

import hashlib
import json
import weakref
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from commutes.alignment import Alignment
from commutes.counterfactuals import Counterfactuals
from commutes.features import Neurons, Subspace
from commutes.report import read_bytes, write_text
from commutes.robustness._case import Thresholds
from commutes.training import Settings

LEDGER = "openings.json"

# How often each set of pairs was opened in this process; across processes a ledger keeps the count.
_opened: weakref.WeakKeyDictionary[Counterfactuals, int] = weakref.WeakKeyDictionary()


@dataclass(frozen=True)
class Claim:
    """What is said, about what, and what it must clear: everything that may not change after the test is seen."""

    words: str
    variables: tuple[Mapping[str, Any], ...]
    scope: Mapping[str, str]
    fingerprint: str


def fixed_claim(
    alignment: Alignment,
    test: Counterfactuals,
    thresholds: Thresholds,
    settings: Settings | None,
    *,
    level: str,
    seed: int,
    refits: int,
    controls: int,
) -> Claim:
    """The claim with its hash, made from the alignment and the design of the test pairs, not from what they show."""
    variables = tuple(_variables(alignment))
    content = {
        "algorithm": alignment.algorithm.fingerprint,
        "network": alignment.network.fingerprint,
        "maps": _maps_hash(alignment),
        "variables": variables,
        "test": {
            "n": len(test),
            "part": test.part,
            "distribution": test.distribution,
            "complete": test.complete,
        },
        "swaps": [swap.label for swap in test.swaps],
        "thresholds": asdict(thresholds),
        "settings": None if settings is None else asdict(settings),
        "level": level,
        "seed": seed,
        "refits": refits,
        "controls": controls,
    }
    digest = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
    return Claim(_words(alignment), variables, _scope(alignment, test, seed), digest)


def opened(test: Counterfactuals, claim: Claim, ledger: Path | None) -> int:
    """Count one more opening of the test pairs, before they are looked at.

    Args:
        test: The pairs.
        claim: What is written beside the count.
        ledger: A folder that keeps the count across processes.
    """
    here = _opened.get(test, 0) + 1
    _opened[test] = here
    if ledger is None:
        return here
    path = ledger / LEDGER
    entries = json.loads(read_bytes(path)) if path.exists() else []
    entries.append({"claim": claim.fingerprint})
    write_text(path, json.dumps(entries, indent=1))
    return len(entries)


def _variables(alignment: Alignment) -> list[dict[str, Any]]:
    found = []
    for group in alignment.groups:
        for variable, columns in group.columns.items():
            found.append(
                {
                    "name": variable.name,
                    "site": str(group.site),
                    "featurizer": str(group.features),
                    "coordinates": [group.coordinates[c] for c in columns],
                    "k": len(columns),
                }
            )
    order = [v.name for v in alignment.variables]
    return sorted(found, key=lambda record: order.index(record["name"]))


def _words(alignment: Alignment) -> str:
    parts = []
    for group in alignment.groups:
        names = " and ".join(v.name for v in group.columns)
        sizes = " + ".join(str(len(c)) for c in group.columns.values())
        of = "neurons" if not group.features.learnt else f"dimensions of a {group.features}"
        parts.append(f"{names} in {sizes} {of} of {group.site}")
    return f"{alignment.network.name} computes {alignment.algorithm.name} by way of {'; '.join(parts)}"


def _scope(alignment: Alignment, test: Counterfactuals, seed: int) -> dict[str, str]:
    complete = (
        "the complete domain"
        if test.complete
        else f"{len(test):,} pairs of {len(test.ids):,} distinct inputs"
    )
    again = "; inputs recur, intervals allow for it" if test.reused else ""
    return {
        "network": f"one network: {alignment.network.name}",
        "inputs": f"{complete}, {test.distribution}{again}",
        "replacements": "interchange with clean sources",
        "seeds": f"one fit (seed {seed}), one network",
        "not tested": "other inputs, other networks, other replacements; whatever is not run below",
    }


def _maps_hash(alignment: Alignment) -> str:
    digest = hashlib.sha256()
    for featurizer in alignment.featurizers:
        tensors: list[torch.Tensor] = []
        if isinstance(featurizer, Subspace):
            tensors = [featurizer.reader, featurizer.writer]
        elif isinstance(featurizer, Neurons):
            tensors = [featurizer.index]
        for tensor in tensors:
            digest.update(str(tuple(tensor.shape)).encode())
            digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()

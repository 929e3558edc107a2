"""The claim, fixed and hashed before the test split is opened; and how often that split was opened."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import torch

from commutes.algorithm import Algorithm
from commutes.alignment import Alignment
from commutes.counterfactuals import Counterfactuals, pairs_hash
from commutes.engine import Featurizer
from commutes.errors import ArtefactError
from commutes.evaluation import look, looks
from commutes.features import Gated, Latents
from commutes.network import Network
from commutes.report import content_hash, read_bytes, write_text
from commutes.robustness._case import Thresholds
from commutes.robustness._off_task import OffTask
from commutes.robustness._refits import Procedure
from commutes.robustness._scope import scope_of

LEDGER = "openings.json"


@dataclass(frozen=True)
class Claim:
    """What is said, about what, and what it must clear: everything that may not change after the test is seen."""

    words: str
    variables: tuple[Mapping[str, Any], ...]
    scope: Mapping[str, str]
    """What its own measurement covers; what checks add to it is known when they have run."""
    fingerprint: str
    content: Mapping[str, Any]
    """What the fingerprint is the hash of."""


def fixed_claim(
    alignment: Alignment,
    test: Counterfactuals,
    thresholds: Thresholds,
    settings: Procedure | None,
    *,
    level: str,
    seed: int,
    refits: int,
    controls: int,
    rivals: Mapping[str, Algorithm] | None = None,
    variants: Mapping[str, Alignment] | None = None,
    networks: Sequence[Network] = (),
    shifts: Sequence[Mapping[str, Any]] = (),
    every_input: bool = False,
    off_task: OffTask | None = None,
) -> Claim:
    """The claim with its hash, made from the alignment and the design of the test pairs, not from what they show."""
    content = claimed(alignment, test) | {
        "thresholds": {name: float(value) for name, value in asdict(thresholds).items()},
        "settings": None if settings is None else asdict(settings),
        "level": level,
        "seed": seed,
        "refits": refits,
        "controls": controls,
        "rivals": {name: rival.fingerprint for name, rival in (rivals or {}).items()},
        "variants": {
            name: [variant.network.fingerprint, sorted(_maps_hashes(variant)), _variables(variant)]
            for name, variant in (variants or {}).items()
        },
        "networks": sorted(network.fingerprint for network in networks),
        **({"shifts": list(shifts)} if shifts else {}),
        **({"every_input": True} if every_input else {}),
        **({} if off_task is None else {"off_task": off_task.content() | _other(off_task)}),
    }
    variables = tuple(_variables(alignment))
    return Claim(
        _words(alignment),
        variables,
        scope_of(alignment, test, every_input=every_input),
        content_hash(content),
        content,
    )


def _other(off_task: OffTask) -> dict[str, Any]:
    """Another claim that is to leave this one alone: its maps, and what they are said to carry."""
    other = off_task.claim
    return {} if other is None else {"maps": sorted(_maps_hashes(other)), "variables": _variables(other)}


def claimed(alignment: Alignment, test: Counterfactuals) -> dict[str, Any]:
    """The part of a claim's content that an alignment and pairs give; the rest is what was declared beside it."""
    return {
        "algorithm": alignment.algorithm.fingerprint,
        "network": alignment.network.fingerprint,
        # Sorted: the claim is the same in whatever order its variables are written down.
        "maps": sorted(_maps_hashes(alignment)),
        "variables": sorted(_variables(alignment), key=lambda variable: variable["name"]),
        "test": {
            "pairs": pairs_hash(test),
            "part": test.part,
            "distribution": test.distribution,
            "complete": test.complete,
        },
        "swaps": [swap.label for swap in test.swaps],
    }


def opened(alignment: Alignment, test: Counterfactuals, claim: Claim, ledger: Path | None) -> int:
    """Count one more opening of the test pairs, before they are looked at.

    In this process every evaluation of held-out inputs of the network counts, of these pairs or of others that share
    inputs with them; across processes the ledger counts challenges with the same pairs.

    Args:
        alignment: About whose network the claim is.
        test: The pairs.
        claim: What is written beside the count.
        ledger: A folder that keeps the count across processes.
    """
    look(alignment.network, test.input_ids)
    here = looks(alignment.network, test.input_ids)
    if ledger is None:
        return here
    pairs = pairs_hash(test)
    path = ledger / LEDGER
    entries = _entries(path) if path.exists() else []
    entries.append({"claim": claim.fingerprint, "pairs": pairs})
    ledger.mkdir(parents=True, exist_ok=True)
    write_text(path, json.dumps(entries, indent=1))
    return max(here, sum(entry["pairs"] == pairs for entry in entries))


def _entries(path: Path) -> list[dict[str, str]]:
    try:
        entries = json.loads(read_bytes(path))
        known = isinstance(entries, list) and all({"claim", "pairs"} <= e.keys() for e in entries)
    except (ValueError, AttributeError):
        known, entries = False, []
    if not known:
        raise ArtefactError(
            "the count of openings is damaged",
            where=str(path),
            got="no list of openings",
            expected="the JSON that earlier runs wrote",
            fix="restore the file: how often the test split was opened is part of the claim",
        )
    return entries


def _variables(alignment: Alignment) -> list[dict[str, Any]]:
    found = []
    for group, featurizer in zip(alignment.groups, alignment.featurizers, strict=True):
        for variable, columns in group.columns.items():
            found.append(
                {
                    "name": variable.name,
                    "site": str(group.site),
                    "featurizer": f"{group.features}{_gates(featurizer, columns)}",
                    "coordinates": [group.coordinates[c] for c in columns],
                    "k": len(columns),
                }
            )
    order = [v.name for v in alignment.variables]
    return sorted(found, key=lambda record: order.index(record["name"]))


def _gates(featurizer: Featurizer, columns: Sequence[int]) -> str:
    """How many of a variable's gates are open: with all of them a mask is a whole swap, with none it does nothing."""
    if not isinstance(featurizer, Gated):
        return ""
    count = len(set(columns) & set(featurizer.open))
    whole = {0: ": nothing is swapped", len(columns): ": all of it is swapped"}.get(count, "")
    return f", {count} of {len(columns)} gates open{whole}"


def _words(alignment: Alignment) -> str:
    parts = []
    for group in alignment.groups:
        names = " and ".join(v.name for v in group.columns)
        sizes = " + ".join(str(size) for size in alignment.sizes(group).values())
        of = (
            str(group.features)
            if not group.features.learnt
            else f"dimensions of {with_article(str(group.features))}"
        )
        parts.append(f"{names} in {sizes} {of} of {group.site}")
    where = "; ".join(parts)
    return f"swapping {where} makes {alignment.network.name} answer as {alignment.algorithm.name} does"


def with_article(name: str) -> str:
    """A family of maps as a phrase.

    >>> with_article("oblique map"), with_article("rotation"), with_article("neurons")
    ('an oblique map', 'a rotation', 'neurons')
    """
    return name if name.endswith("s") else f"{'an' if name[0] in 'aeiou' else 'a'} {name}"


def _maps_hashes(alignment: Alignment) -> list[str]:
    """One hash per group: of its place, of whose coordinates it has, and of its map."""
    return [
        map_hash([str(group.site), group.coordinates], featurizer)
        for group, featurizer in zip(alignment.groups, alignment.featurizers, strict=True)
    ]


@runtime_checkable
class _Saved(Protocol):
    """Maps and dictionaries that say what a file of them must hold."""

    def tensors(self) -> Mapping[str, torch.Tensor]: ...


def _tensors(featurizer: object) -> dict[str, torch.Tensor]:
    """Everything that a map is made of; of latents also the dictionary, of an unknown map nothing."""
    if isinstance(featurizer, Gated):
        inner = _tensors(featurizer.inner)
        return {"gate": featurizer.gate} | {f"inner.{name}": tensor for name, tensor in inner.items()}
    own = dict(featurizer.tensors()) if isinstance(featurizer, _Saved) else {}
    if isinstance(featurizer, Latents):
        inner = featurizer.dictionary.tensors() if isinstance(featurizer.dictionary, _Saved) else {}
        own = {"index": featurizer.index} | {f"dictionary.{name}": tensor for name, tensor in inner.items()}
    return own


def map_hash(where: object, featurizer: Featurizer) -> str:
    """A hash of a map and of where it is, as plain values."""
    digest = hashlib.sha256(json.dumps(where).encode())
    for name, tensor in _tensors(featurizer).items():
        digest.update(name.encode())
        digest.update(str((tuple(tensor.shape), tensor.dtype)).encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()

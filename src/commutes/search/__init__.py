"""Specs, hypothesis files, the store of finished cells, and the job that sweeps sites and sizes."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

# Resolved on first use: `commutes show` reads a store without torch, and `commutes --help` without pydantic.
_HOMES: dict[str, tuple[str, ...]] = {
    "commutes.search._builders": (
        "Progress",
        "build_algorithm",
        "build_network",
        "build_rivals",
        "distribution",
        "train_network",
    ),
    "commutes.search._against": ("check_off_task",),
    "commutes.search._canonical": ("canonical", "digest", "plain"),
    "commutes.search._claimed": ("all_inputs", "claimed_variables", "sample_values", "swap_sets"),
    "commutes.search._grid": ("Grid", "grid"),
    "commutes.search._hypothesis": ("Hypothesis", "blamed", "load_hypothesis"),
    "commutes.search._job": ("run",),
    "commutes.search._listing": ("NamedPlace", "PromptToken", "named_places", "prompt_tokens"),
    "commutes.search._off_task": ("build_off_task",),
    "commutes.search._replayed": ("Again", "replayed"),
    "commutes.search._shipped": ("find_hypothesis", "find_spec", "shipped", "shipped_folder"),
    "commutes.search._spec_of_run": ("spec_of_run",),
    "commutes.search._spec": ("Spec", "json_schema", "read_spec"),
    "commutes.search._store": ("RECORD", "Cell", "Store"),
    "commutes.search._store_checks": ("differences",),
    "commutes.search._store_files": ("confined",),
    "commutes.search._variants": ("check_variants",),
    "commutes.search._verify": ("SAMPLE", "Verified", "verify"),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

if TYPE_CHECKING:
    from commutes.search._against import check_off_task
    from commutes.search._builders import (
        Progress,
        build_algorithm,
        build_network,
        build_rivals,
        distribution,
        train_network,
    )
    from commutes.search._canonical import canonical, digest, plain
    from commutes.search._claimed import all_inputs, claimed_variables, sample_values, swap_sets
    from commutes.search._grid import Grid, grid
    from commutes.search._hypothesis import Hypothesis, blamed, load_hypothesis
    from commutes.search._job import run
    from commutes.search._listing import NamedPlace, PromptToken, named_places, prompt_tokens
    from commutes.search._off_task import build_off_task
    from commutes.search._replayed import Again, replayed
    from commutes.search._shipped import find_hypothesis, find_spec, shipped, shipped_folder
    from commutes.search._spec import Spec, json_schema, read_spec
    from commutes.search._spec_of_run import spec_of_run
    from commutes.search._store import RECORD, Cell, Store
    from commutes.search._store_checks import differences
    from commutes.search._store_files import confined
    from commutes.search._variants import check_variants
    from commutes.search._verify import SAMPLE, Verified, verify

__all__ = [
    "RECORD",
    "SAMPLE",
    "Again",
    "Cell",
    "Grid",
    "Hypothesis",
    "NamedPlace",
    "Progress",
    "PromptToken",
    "Spec",
    "Store",
    "Verified",
    "all_inputs",
    "blamed",
    "build_algorithm",
    "build_network",
    "build_off_task",
    "build_rivals",
    "canonical",
    "check_off_task",
    "check_variants",
    "claimed_variables",
    "confined",
    "differences",
    "digest",
    "distribution",
    "find_hypothesis",
    "find_spec",
    "grid",
    "json_schema",
    "load_hypothesis",
    "named_places",
    "plain",
    "prompt_tokens",
    "read_spec",
    "replayed",
    "run",
    "sample_values",
    "shipped",
    "shipped_folder",
    "spec_of_run",
    "swap_sets",
    "train_network",
    "verify",
]


def __getattr__(name: str) -> object:
    home = _HOME_OF.get(name)
    if home is None:
        raise AttributeError(f"module 'commutes.search' has no attribute {name!r}")
    value = getattr(importlib.import_module(home), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)

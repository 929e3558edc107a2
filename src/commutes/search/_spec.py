"""The spec of a run: which algorithm, which network, where the variables should live, how it is tested."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import Field, PrivateAttr, ValidationError, model_validator

from commutes.search._canonical import digest
from commutes.search._spec_errors import first_error, spelt
from commutes.search._spec_parts import (
    AlgorithmPart,
    ChallengePart,
    ClaimPart,
    DataPart,
    FitPart,
    NetworkPart,
    Part,
    RunName,
    refuse,
)
from commutes.search._spec_reading import FORMAT, apply_overrides, check_format, read_table
from commutes.search._toml import Key, shown

if TYPE_CHECKING:
    from commutes.algorithm import Algorithm

__all__ = ["Origin", "Spec", "as_known", "json_schema", "read_spec"]


@dataclass(frozen=True)
class Origin:
    """Where a spec came from, for messages and for the command that repeats it."""

    given: str = ""
    """what the user typed: a path or a shipped name"""
    path: Path | None = None
    """the file that was read"""
    overrides: tuple[str, ...] = ()
    """the `key=value` texts of --set"""
    lines: dict[Key, tuple[int, ...]] = field(default_factory=dict, compare=False, repr=False)
    """the lines of the keys in the file"""
    overridden: dict[Key, str] = field(default_factory=dict, compare=False, repr=False)
    """the override that gave a key"""


class Spec(Part):
    """A run as declared: everything that decides its numbers, with every default filled in."""

    format: Literal[1]
    """the version of this format: 1"""
    name: RunName
    """text that can be the name of a folder: what the run is called"""
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 0
    """a whole number from 0: every random draw of the run follows from it"""
    algorithm: AlgorithmPart
    """a table: the hypothesis"""
    network: NetworkPart = NetworkPart(options={})
    """a table: the network under test"""
    claim: ClaimPart
    """a table: which variables live where"""
    data: DataPart = DataPart()
    """a table: the counterfactuals"""
    fit: FitPart = FitPart()
    """a table: how the subspaces are found"""
    challenge: ChallengePart = ChallengePart()
    """a table: what the claim has to survive"""

    _origin: Origin = PrivateAttr(default_factory=Origin)

    @model_validator(mode="after")
    def _somewhere(self) -> Self:
        if (self.claim.layers is None) == (self.claim.sites is None):
            both = self.claim.layers is not None
            raise refuse(
                "the claim names both layers and sites"
                if both
                else "the claim names no place in the network",
                "exactly one of claim.layers and claim.sites",
                "remove one of them"
                if both
                else "add layers = [0] or sites = [a module's path] under [claim]",
            )
        return self

    @property
    def origin(self) -> Origin:
        """Where the spec came from; empty for one that was made in Python."""
        return self._origin

    @property
    def folder(self) -> Path:
        """The folder that paths in the spec are relative to."""
        path = self._origin.path
        return Path.cwd() if path is None else path.absolute().parent

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the resolved spec: two specs that ask for the same have the same."""
        return digest(self.resolved())

    def resolved(self) -> dict[str, Any]:
        """The spec as plain JSON, every default filled in."""
        return self.model_dump(mode="json")

    def identity(self, algorithm: Algorithm) -> dict[str, Any]:
        """What tells this run from others: the resolved spec and the algorithm that it builds."""
        return {"spec": self.resolved(), "algorithm": algorithm.fingerprint}

    @property
    def command(self) -> str:
        """The command that repeats the run."""
        name = self._origin.given or f"{self.name}.toml"
        options = [word for text in self._origin.overrides for word in ("--set", text)]
        # After "--" a name that begins with a dash is no option.
        return shlex.join(["commutes", "run", *options, *(["--"] if name.startswith("-") else []), name])

    def where(self, key: str) -> str:
        """The file, line and key (or the override) that a message about `key` names, e.g. "claim.layers"."""
        return place(self._origin, tuple(key.split(".")))


def place(origin: Origin, key: Key) -> str:
    """The file, line and key, or the override, that decided `key`."""
    for given, text in origin.overridden.items():
        # A message about a table that an override reached into is about the override, too.
        if given[: len(key)] == key or key[: len(given)] == given:
            return f"--set {text}"
    words = [shown(origin.path)] if origin.path is not None else []
    line = next(
        (origin.lines[key[:end]][0] for end in range(len(key), 0, -1) if key[:end] in origin.lines), None
    )
    if line is not None:
        words.append(f"line {line}")
    if key:
        words.append(f"key {spelt(key)}")
    return ", ".join(words)


def read_spec(path: Path, *, given: str | None = None, overrides: Sequence[str] = ()) -> Spec:
    """The spec in the TOML file `path`, with overrides applied and every default filled in.

    Args:
        path: The file; see `find_spec` for names.
        given: What the user typed for it.
        overrides: Texts such as "fit.lr=1e-3": a dotted key and a TOML value.

    Raises:
        SpecError: Naming the file, the line, the key, what was found, what was expected and what to do.
    """
    raw, lines = read_table(path)
    raw, overridden = apply_overrides(raw, overrides)
    origin = Origin(str(path) if given is None else given, path, tuple(overrides), lines, overridden)
    check_format(raw, place(origin, ("format",)))
    try:
        spec = Spec.model_validate(raw)
    except ValidationError as error:
        raise first_error(error, Spec, raw, lambda key: place(origin, key), lines) from None
    spec._origin = origin
    return spec


def as_known(identity: Mapping[str, Any]) -> dict[str, Any]:
    """What tells a run from others, with the keys of its spec that came after it was made at their defaults.

    The default of a new key is what was done before there was the key: absent or written out, it is the same run.

    Args:
        identity: As a run folder has it, of this version or an older one; anything else is returned as it is.
    """
    try:
        spec = Spec.model_validate_json(json.dumps(identity.get("spec")))
    except ValidationError:
        return dict(identity)
    return {**identity, "spec": spec.resolved()}


def json_schema() -> dict[str, Any]:
    """The JSON Schema of a spec, for editors and for `commutes schema`."""
    schema = Spec.model_json_schema()
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **schema,
        "title": f"commutes spec, format {FORMAT}",
    }

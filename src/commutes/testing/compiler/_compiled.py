"""A compiled program: its network, its algorithm, and where each variable lives."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import torch

from commutes.algorithm import Algorithm, Variable
from commutes.alignment import Alignment
from commutes.features import Coordinates, Features, Rotation, Slice, Subspace
from commutes.network import Network, Site
from commutes.testing.compiler._nodes import Graph, Node, variable_name
from commutes.testing.compiler._program import Program, SOp
from commutes.testing.compiler._schedule import Schedule, Storage

Status = Literal["true", "partial", "dead", "absent"]


@dataclass(frozen=True, eq=False)
class Home:
    """A place that is meant for a variable, and what an interchange there does.

    "true": it sets the variable, for everything that reads it. "partial": for some of its readers only, the others
    have read it before. "dead": nothing reads it any more. "absent": the value is not there yet.
    """

    variable: Variable
    op: SOp
    position: int
    step: int
    """0 is the embedding, 2b + 1 the attention of block b, 2b + 2 the end of block b."""
    path: str
    """The module whose output it is."""
    columns: tuple[int, ...]
    """Its coordinates in the program's own basis."""
    raw: bool
    """Whether it is the form in which attention leaves a selector's width."""
    status: Status

    def __str__(self) -> str:
        return f"{self.variable.name} at {self.path}, position {self.position} ({self.status})"


@dataclass(frozen=True, eq=False)
class Compiled:
    """A program as a network, and the truth about it."""

    program: Program
    algorithm: Algorithm
    """One variable per operation and position that the answer depends on."""
    network: Network
    graph: Graph
    schedule: Schedule
    basis: torch.Tensor
    """Directions of the program's coordinates in the residual stream, as columns, float64.  # shape: (d, d)"""
    rotated: bool
    dtype: torch.dtype

    @property
    def steps(self) -> range:
        """The moments at which the residual stream can be edited: the embedding, and twice in each block."""
        return range(2 * self.schedule.blocks + 1)

    @property
    def variables(self) -> tuple[Variable, ...]:
        """The algorithm's variables that live in the residual stream: inputs and inner ones."""
        return tuple(v for v in self.algorithm.variables if v is not self.algorithm.output_variable)

    def homes(
        self, variable: Variable | str | None = None, *, status: Status | None = None
    ) -> tuple[Home, ...]:
        """Every place that is meant for a variable (for all of them by default), at every step.

        Args:
            variable: One of `variables`.
            status: Only those of this kind.
        """
        wanted = None if variable is None else self.algorithm[variable]
        found = []
        for node in self.graph.parents:
            if not self.graph.varies(node):
                continue
            own = self.algorithm[variable_name(node)]
            if wanted is None or own is wanted:
                storages = [s for s in self.schedule.storages if s.op is node[0]]
                found += [self._home(own, node, s, step) for s in storages for step in self.steps]
        return tuple(home for home in found if status is None or home.status == status)

    def true_home(self, variable: Variable | str) -> Home:
        """The first place at which an interchange sets the variable and nothing else."""
        return self.homes(variable, status="true")[0]

    def subspace(self, columns: Iterable[int]) -> Subspace:
        """Reader and writer of these coordinates."""
        basis = self.basis[:, list(columns)].to(self.dtype).contiguous()
        return Subspace(basis, basis)

    def site(self, home: Home) -> Site:
        """The residual stream at the home's step and position."""
        return self.network.site(home.path, position=home.position)

    def alignment(self, homes: Iterable[Home]) -> Alignment:
        """The claim that each variable lives at its home: neurons without a rotation, told subspaces with one.

        Args:
            homes: One for each variable that is to be aligned.
        """
        listed = list(homes)
        features: dict[tuple[str, int], Features] = {}
        taken: dict[tuple[str, int], list[int]] = {}
        slices: dict[Variable, Slice] = {}
        for home in listed:
            key = (home.path, home.position)
            family = Rotation if self.rotated else Coordinates
            found = features.setdefault(key, family(self.site(home)))
            columns = taken.setdefault(key, [])
            start = len(columns)
            columns += home.columns
            index = range(start, len(columns)) if self.rotated else list(home.columns)
            slices[home.variable] = found[index]
        claim = Alignment(self.algorithm, slices)
        if not self.rotated:
            return claim
        columns_of = {features[key]: columns for key, columns in taken.items()}
        return claim.with_maps([self.subspace(columns_of[group.features]) for group in claim.groups])

    def _home(self, variable: Variable, node: Node, storage: Storage, step: int) -> Home:
        op, position = node
        readers = self.schedule.readers.get((node, storage.raw), ())
        later = [reader for reader in readers if reader > step]
        status: Status = "dead"
        if later:
            status = "true" if len(later) == len(readers) else "partial"
        if step < storage.made:
            status = "absent"
        return Home(variable, op, position, step, _path(step), storage.columns, storage.raw, status)


def _path(step: int) -> str:
    if step == 0:
        return "embedding"
    block, half = divmod(step - 1, 2)
    return f"blocks.{block}" if half else f"blocks.{block}.middle"

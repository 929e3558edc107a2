"""A claim's map divided into the part that the readers can read and the part that they cannot."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch

from commutes.algorithm import Variable
from commutes.alignment import Group
from commutes.engine import Featurizer
from commutes.features import Subspace
from commutes.robustness._case import Case
from commutes.robustness._readers import ReadSpace
from commutes.robustness._states import clean_states

# Coordinates along which no pair moves further than this share of the furthest move are left out: they carry nothing
# of the edit, and their parts would bring in what is none of it.
_MOVES = 1e-3
# A direction whose cosine with a space is below this has no part in it, and unit directions whose smallest singular
# value is below it are not apart.
_APART = 1e-2

Half = Literal["read", "unread"]


@dataclass(frozen=True, eq=False)
class Divided:
    """The map of one group in its two parts. Columns are those of the map; of a part that has fewer some are 0."""

    read: Featurizer
    unread: Featurizer
    sizes: dict[str, int]
    """Dimensions of each variable's read part."""
    moving: int
    """Dimensions of all its variables along which some pair moves."""
    spare: int
    """Directions that are not read and along which clean states move; counted up to `moving`."""
    crowded: bool
    """Whether the read parts of the variables are not apart from each other, or from all else that is read."""


def divided(case: Case, group: Group, space: ReadSpace) -> Divided:
    """The two parts of a group's map, which is linear.

    Args:
        case: With pairs, which say along which coordinates something moves.
        group: One of the alignment's.
        space: What is read of its site.
    """
    own = {v: _moving(case, group, v) for v in group.columns}
    read = {v: part(one, space.project) for v, one in own.items()}
    unread = {v: part(one, lambda d: d - space.project(d)) for v, one in own.items()}
    sizes = {v.name: one.dimension for v, one in read.items()}
    writers = torch.cat([one.writer for one in read.values()], dim=1)
    given = case.alignment.subspace(next(iter(group.columns))).reader.dtype
    device = case.alignment.network.device
    maps = [_joined(group, parts).to(dtype=given, device=device) for parts in (read, unread)]
    moving = sum(one.dimension for one in own.values())
    spare = _spare(case, group, space, moving)
    return Divided(maps[0], maps[1], sizes, moving, spare, _crowded(case, writers, space))


def part(own: Subspace, project: Callable[[torch.Tensor], torch.Tensor]) -> Subspace:
    """The part of a subspace in the range of an orthogonal projector P: it reads Eᵀ P, writes P D, with EᵀD = I again.

    Directions at right angles to the range have no part in it, so that there are fewer dimensions.

    Args:
        own: In double precision.
        project: P of columns, (d, k) -> (d, k).
    """
    reader, writer = project(own.reader), project(own.writer)
    left, sizes, right = torch.linalg.svd(own.reader.T @ writer)
    # Of an orthogonal map these are squared cosines.
    kept = sizes > _APART**2
    scale = sizes[kept].rsqrt()
    return Subspace(reader @ left[:, kept] * scale, writer @ right.mT[:, kept] * scale)


def _moving(case: Case, group: Group, variable: Variable) -> Subspace:
    """The variable's subspace without the directions along which no pair moves, in double precision."""
    own = case.alignment.subspace(variable).to(dtype=torch.float64, device="cpu")
    pairs = case.test
    rows = np.nonzero(pairs.swapped(variable))[0]
    if not len(rows):
        return own
    states = clean_states(case.bench.prepared, group.site, source=True)
    coordinates = torch.cat([own.read(found.cpu()) for _, found in states])
    moves = coordinates[pairs.source_of(variable)[rows]] - coordinates[pairs.base[rows]]
    flat = moves.flatten(0, -2)
    squares, turn = torch.linalg.eigh(flat.T @ flat)
    turn = turn[:, squares > _MOVES**2 * squares.max()]
    return Subspace(own.reader @ turn, own.writer @ turn)


def _joined(group: Group, parts: dict[Variable, Subspace]) -> Subspace:
    reader, writer = (torch.zeros(group.width, group.dimension, dtype=torch.float64) for _ in range(2))
    for variable, one in parts.items():
        columns = list(group.columns[variable][: one.dimension])
        reader[:, columns], writer[:, columns] = one.reader, one.writer
    return Subspace(reader, writer)


def _spare(case: Case, group: Group, space: ReadSpace, most: int) -> int:
    """In how many unread directions clean states move, up to `most`: room for something that looks like the claim."""
    _, states = next(iter(clean_states(case.bench.prepared, group.site)))
    flat = states.cpu().double().flatten(0, -2)
    # States of no particular choice: a few more than the directions that are counted span them.
    rows = np.random.default_rng([case.seed, 6]).permutation(len(flat))[: 2 * most + 8]
    moves = (flat[rows] - flat[rows].mean(dim=0)).T
    spread = torch.linalg.svdvals(moves - space.project(moves))
    return min(most, int((spread > _MOVES * torch.linalg.matrix_norm(moves, 2)).sum()))


def _crowded(case: Case, writers: torch.Tensor, space: ReadSpace) -> bool:
    """Whether what is read has no room to keep the variables apart, and them from what the claim leaves out."""
    count = writers.shape[1]
    if not count:
        return False
    apart = int((torch.linalg.svdvals(writers / writers.norm(dim=0)) > _APART).sum())
    return apart < count or (apart == space.rank and not determined(case))


def determined(case: Case) -> bool:
    """Whether the aligned variables leave nothing of the output open: every path from an input passes through one."""
    algorithm, aligned = case.alignment.algorithm, set(case.alignment.variables)
    waiting = [algorithm.output_variable]
    while waiting:
        variable = waiting.pop()
        if variable in aligned:
            continue
        if not variable.parent_names:
            return False
        waiting += variable.parents
    return True

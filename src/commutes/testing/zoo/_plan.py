"""Members with a linear site, written down as data and then built from a seed."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch

from commutes.algorithm import Algorithm
from commutes.alignment import Alignment
from commutes.counterfactuals import Distribution
from commutes.features import Oblique, Rotation, Subspace
from commutes.network import Network
from commutes.stats import Answer
from commutes.testing.zoo._member import Member, Told, Truth
from commutes.testing.zoo._wiring import Layer, Planted, Terms, Wiring, planted

Where = Mapping[str, Sequence[Terms]]
"""Variable to the directions that carry it, as combinations of the features' directions."""
MISSED: Mapping[str, Answer] = dict.fromkeys(("A2", "A4", "C1", "C2", "C8"), Answer.REFUTED)
"""What a claim deserves whose swap does not set the variable."""
WORKS: Mapping[str, Answer] = dict.fromkeys(("A2", "A4", "C1", "C2", "C8"), Answer.SUPPORTED)
"""What it deserves where the swap does, in the data and by whichever way."""


@dataclass(frozen=True, eq=False)
class Sketch:
    """A claim before there is a network to make it about."""

    name: str
    truth: Truth
    kind: str
    where: Where
    ideal: Mapping[str, Answer] = field(default_factory=dict)
    oblique: bool = False
    """Read by the dual basis of the directions, which are not orthogonal."""
    random: bool = False
    """Uniformly random directions, as many for each variable as `where` has."""
    rival: str = ""
    """The rival algorithm that the claim is about, instead of the member's own."""


@dataclass(frozen=True, eq=False)
class Task:
    """What is computed, how it is read, and from what inputs."""

    algorithm: Algorithm
    columns: tuple[str, ...]
    """What the network reads, by name."""
    encode: Callable[[Mapping[str, np.ndarray]], torch.Tensor]
    answers: tuple[Hashable, ...]
    distribution: str | Distribution
    shifts: Mapping[str, str | Distribution]
    rivals: Mapping[str, Algorithm]
    off_task: Callable[[int, int], Mapping[str, np.ndarray]] | None = None
    """Draws inputs that the algorithm says nothing about: how many, and from what seed."""


# Inputs that a claim says nothing about: enough to tell a few in a hundred from none.
OFF_TASK = 600


@dataclass(frozen=True, eq=False)
class Plan:
    """A variant: the features of its site, what reads them, and what can be claimed about it."""

    before: tuple[Layer, ...]
    features: Layer
    after: tuple[Layer, ...]
    logits: Layer
    claims: tuple[Sketch, ...]
    even: tuple[str, ...] = ()
    """Features whose gain is 1, because the truth of a claim depends on how they compare."""
    untrained: bool = False
    """Whether all weights are drawn anew, so that the network computes nothing."""


def built(name: str, task: Task, plan: Plan, *, seed: int) -> Member:
    """The member of a plan: the same bits for the same seed."""
    wiring = Wiring(task.columns, plan.before, plan.features, plan.after, plan.logits)
    made = planted(wiring, seed=seed, even=plan.even)
    network = Network(made.module, encode=task.encode, answers=task.answers, blocks="layers", name=name)
    if plan.untrained:
        network = network.reinitialised(seed)
    claims = tuple(_told(sketch, task, network, made, seed, i) for i, sketch in enumerate(plan.claims))
    return Member(
        name, "linear", seed, task.algorithm, network, claims,
        distribution=task.distribution, shifts=task.shifts, rivals=task.rivals,
        off_task=None if task.off_task is None else task.off_task(OFF_TASK, seed),
    )  # fmt: skip


def _told(sketch: Sketch, task: Task, network: Network, made: Planted, seed: int, number: int) -> Told:
    algorithm = task.rivals[sketch.rival] if sketch.rival else task.algorithm
    found = (Oblique if sketch.oblique else Rotation)(network.site(made.path))
    slices, columns = {}, []
    for name, directions in sketch.where.items():
        slices[algorithm[name]] = found[len(columns) : len(columns) + len(directions)]
        columns += [made.direction(terms) for terms in directions]
    writer = torch.stack(columns, dim=1)
    if sketch.random:
        rng = np.random.default_rng([seed, 102, number])
        writer = torch.from_numpy(np.linalg.qr(rng.standard_normal(writer.shape))[0])
    reader = writer @ torch.linalg.inv(writer.T @ writer) if sketch.oblique else writer
    subspace = Subspace(reader.float().contiguous(), writer.float().contiguous()).checked(sketch.name)
    alignment = Alignment(algorithm, slices).with_maps([subspace])
    return Told(sketch.name, alignment, sketch.truth, sketch.kind, sketch.ideal)

"""The networks that were trained to implement one of two algorithms, as shipped."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from commutes.alignment import Alignment
from commutes.counterfactuals import Distribution
from commutes.errors import ArtefactError, DataError
from commutes.features import Rotation, Subspace
from commutes.network import MLP, Network
from commutes.stats import Answer
from commutes.testing.zoo._arms import LAYER, UNITS, WIDTH, Arm, OneHot, arms, rival
from commutes.testing.zoo._member import Member, Told
from commutes.testing.zoo._wiring import LinearSite, filled

FOLDER = Path(__file__).parent
TENSORS, RECORD = "networks.safetensors", "networks.json"
# Even members are of even training seeds and odd ones of odd: what is chosen on the one half is new to the other.
SEEDS = (0, 1, 2, 3)


def trained_member(task: str, arm: str, *, seed: int) -> Member:
    """A shipped network in a random basis of its hidden layer.

    Args:
        task: "parity" or "distributive".
        arm: The algorithm that it implements: "in pairs" or "regrouped", "and of or" or "or of ands".
        seed: Of the basis; the network is that of the training seed `seed` modulo their number.

    Raises:
        DataError: No such task or arm.
        ArtefactError: The shipped file is not the one that its record describes.
    """
    own = next((one for one in arms() if (one.task, one.name) == (task, arm)), None)
    if own is None:
        known = ", ".join(f"{one.task} {one.name}" for one in arms())
        raise DataError(
            "the zoo has no such trained network", got=f"{task} {arm}", expected=f"one of {known}"
        )
    found = shipped()
    module, basis = turned(found[key(own, SEEDS[seed % len(SEEDS)])], seed=seed)
    name = f"{task}, {arm}"
    encode = OneHot(own.inputs, own.size)
    network = Network(module, encode=encode, answers=(False, True), blocks="layers", name=name)
    other = rival(own)
    return Member(
        name, "trained", seed, own.algorithm, network,
        (
            Told("trained", claim(own, network, basis), "right", "", {"A1": Answer.SUPPORTED, "A2": Answer.SUPPORTED}),
            Told(
                "the rival's variables", claim(other, network, basis), "decoy", "regrouping",
                {"A1": Answer.SUPPORTED, "A2": Answer.REFUTED},
            ),
        ),
        shifts=shifts(own), rivals={other.name: other.algorithm},
    )  # fmt: skip


def shifts(arm: Arm) -> Mapping[str, str | Distribution]:
    """Other distributions of the inputs: the networks are right on nearly every input."""
    small = Distribution(f"c below {arm.size // 2}", partial(_small, arm.inputs, arm.size))
    return {"every input alike": "inputs", "c small": small}


def _small(inputs: tuple[str, ...], size: int, rng: np.random.Generator, n: int) -> dict[str, np.ndarray]:
    return {name: rng.integers(size // 2 if name == "c" else size, size=n) for name in inputs}


def turned(module: MLP, *, seed: int) -> tuple[LinearSite, torch.Tensor]:
    """The same function with the hidden layer of the variables in a random orthogonal basis, and that basis."""
    rng = np.random.default_rng([seed, 104])
    q, r = np.linalg.qr(rng.standard_normal((WIDTH, WIDTH)))
    q = q * np.sign(np.diag(r))
    linears = [part for part in module.modules() if isinstance(part, nn.Linear)]
    maps = [(part.weight.detach().double().numpy(), part.bias.detach().double().numpy()) for part in linears]
    above = LAYER + 1
    weight, bias = maps[above]
    maps[above] = (weight @ q.T, bias)
    maps.insert(above, (q, np.zeros(WIDTH)))
    return filled(maps, above), torch.from_numpy(q)


def claim(arm: Arm, network: Network, basis: torch.Tensor) -> Alignment:
    """The arm's variables in the units that they were trained to live in."""
    rotation = Rotation(network.site(f"layers.{LAYER + 1}"))
    slices = {
        arm.algorithm[name]: rotation[i * UNITS : (i + 1) * UNITS] for i, name in enumerate(arm.variables)
    }
    directions = basis[:, : len(arm.variables) * UNITS].float().contiguous()
    return Alignment(arm.algorithm, slices).with_maps([Subspace(directions, directions)])


def key(arm: Arm, seed: int) -> str:
    """What a network's tensors are filed under."""
    return f"{arm.task}/{arm.name}/{seed}"


@cache
def record() -> Mapping[str, Any]:
    """How the shipped networks were made, and what they reach on all pairs of inputs."""
    return json.loads((FOLDER / RECORD).read_text(encoding="utf-8"))


@cache
def shipped() -> Mapping[str, MLP]:
    """The networks by key, as they were trained.

    Raises:
        ArtefactError: The file is not the one that its record describes.
    """
    from safetensors.torch import load

    data = (FOLDER / TENSORS).read_bytes()
    digest = hashlib.sha256(data).hexdigest()
    if digest != record()["sha256"]:
        raise ArtefactError(
            "the zoo's trained networks are damaged",
            where=str(FOLDER / TENSORS),
            got=f"SHA-256 {digest}",
            expected=f"SHA-256 {record()['sha256']}",
            fix="install the package again",
        )
    tensors = load(data)
    found = {}
    for arm in arms():
        for seed in SEEDS:
            module = MLP([len(arm.inputs) * arm.size, WIDTH, WIDTH, WIDTH, 2], seed=seed)
            start = f"{key(arm, seed)}/"
            module.load_state_dict(
                {n.removeprefix(start): t for n, t in tensors.items() if n.startswith(start)}
            )
            found[key(arm, seed)] = module.eval()
    return found

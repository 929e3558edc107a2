"""Small claims of which the truth is known, for the tests of what is said about claims."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
from torch import nn

from commutes import Algorithm, Alignment, Coordinates, Counterfactuals, Network, Rotation, counterfactuals
from commutes.features import Subspace
from commutes.training import Settings, fit_many

ROOT = Path(__file__).resolve().parents[1]


def load(name: str) -> ModuleType:
    """A shipped hypothesis file, as a user's file is loaded."""
    spec = importlib.util.spec_from_file_location(name, ROOT / "algorithms" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


EQUALITY = load("equality")
QUICK = Settings(steps=60, lr=0.05, batch=64, starts=2, every=20)


def equality(symbols: int = 6) -> Algorithm:
    """left = (w == x), right = (y == z), same = (left == right)."""
    return EQUALITY.exact_algorithm(symbols)


def joined(values: Mapping[str, np.ndarray]) -> torch.Tensor:
    """The inputs as columns of numbers, in the order w, x, y, z."""
    return torch.from_numpy(np.stack([values[n] for n in "wxyz"], axis=1).astype(np.float32))


def neurons(
    network: Network, algorithm: Algorithm, layer: str = "layers.1", **where: Sequence[int]
) -> Alignment:
    """The variables in these neurons of a layer."""
    x = Coordinates(network.site(layer))
    return Alignment(algorithm, {algorithm[name]: x[list(index)] for name, index in where.items()})


def exact(symbols: int = 3) -> tuple[Algorithm, Network, Alignment]:
    """The hand-made network, with the truth about it: left is neuron 0 of layers.1, right is neuron 1."""
    algorithm = equality(symbols)
    network = EQUALITY.exact_network(algorithm)
    return algorithm, network, neurons(network, algorithm, left=[0], right=[1])


class Rotated(nn.Module):
    """z = Q u with u = ([w = x], [y = z], decoys); what comes behind reads Qᵀz and compares its first two."""

    def __init__(self, width: int = 6, seed: int = 0, *, truth: bool = True) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        q = torch.linalg.qr(torch.randn(width, width, generator=generator, dtype=torch.float64)).Q.float()
        self.q = q
        self.turn = nn.Linear(width, width, bias=False)
        self.back = nn.Linear(width, width, bias=False)
        self.site = nn.Identity()
        with torch.no_grad():
            self.turn.weight.copy_(q)
            self.back.weight.copy_(q.T)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        equal = torch.stack([1 - (x[:, 0] - x[:, 1]).abs(), 1 - (x[:, 2] - x[:, 3]).abs()], dim=1).clamp(
            min=0
        )
        decoys = torch.cat([x, x[:, :2] * x[:, 2:]], dim=1)[:, : self.q.shape[0] - 2] / 6
        z = self.site(self.turn(torch.cat([equal, decoys], dim=1)))
        u = self.back(z)
        apart = (u[:, 0] - u[:, 1]).abs()
        return torch.stack([apart, 1 - apart], dim=1)


@dataclass(frozen=True, eq=False)
class Planted:
    """A network with a rotated site, and the subspaces that carry its variables."""

    algorithm: Algorithm
    network: Network
    claim: Alignment
    """left and right, one dimension each, not fitted."""
    truth: Subspace
    parts: tuple[Counterfactuals, Counterfactuals, Counterfactuals]

    def told(self) -> Alignment:
        """The claim with the truth put in by hand: what a perfect fit would give."""
        return self.claim.with_maps([self.truth])


def planted(symbols: int = 6, pairs: int = 1600, seed: int = 0) -> Planted:
    """A linear-site network with its data, split .5, .2, .3."""
    algorithm = equality(symbols)
    module = Rotated(seed=seed)
    network = Network(module, encode=joined, answers=[False, True], name="planted")
    rotation = Rotation(network.site("site"))
    claim = Alignment(algorithm, {algorithm["left"]: rotation[:1], algorithm["right"]: rotation[1:2]})
    train, select, test = counterfactuals(algorithm, pairs, seed=1).split(train=0.5, select=0.2, test=0.3)
    basis = module.q[:, :2].clone()
    return Planted(algorithm, network, claim, Subspace(basis, basis), (train, select, test))


def settled(
    claim: Alignment, parts: Sequence[Counterfactuals], maps: Sequence[Any], settings: Settings = QUICK
) -> Alignment:
    """The claim as if a fit had found these maps on these parts: ids and history are a real fit's."""
    train, select, *_ = parts
    fitted = fit_many(
        [claim], [train], selects=[select], seed=0,
        settings=Settings(steps=1, batch=settings.batch, starts=1, every=1),
    )[0]  # fmt: skip
    from dataclasses import asdict

    return fitted.with_maps(maps, history={**fitted.history, **asdict(settings)})

"""Networks written down by name: every unit as the sum that it is made of, one layer a rotated linear site."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

Terms = Mapping[str, float]
"""Name of what is read to its weight; "1" is the bias."""
Layer = Mapping[str, Terms]
"""Name of a unit to what it adds up."""


@dataclass(frozen=True, eq=False)
class Wiring:
    """inputs -> ReLU layers -> features, linear, in a random basis -> ReLU layers -> logits."""

    inputs: tuple[str, ...]
    before: tuple[Layer, ...]
    features: Layer
    """What the site holds: one direction of it for each."""
    after: tuple[Layer, ...]
    logits: Layer


class LinearSite(nn.Module):
    """The network of a wiring. `layers` run in order; the site is `layers[site]`, the only one without a ReLU.

    Args:
        shapes: Inputs and outputs of every layer and of the head.
        site: The layer of the features.
    """

    def __init__(self, shapes: Sequence[tuple[int, int]], site: int) -> None:
        super().__init__()
        *layers, head = [nn.Linear(*shape) for shape in shapes]
        self.layers = nn.ModuleList(
            nn.Sequential(linear) if i == site else nn.Sequential(linear, nn.ReLU())
            for i, linear in enumerate(layers)
        )
        self.head = head

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The logits.  # shape: (n, inputs) -> (n, answers)"""
        for layer in self.layers:
            x = layer(x)
        return self.head(x)


@dataclass(frozen=True, eq=False)
class Planted:
    """A module and the directions of its features."""

    module: LinearSite
    path: str
    """The module whose output is the site."""
    features: tuple[str, ...]
    basis: torch.Tensor
    """Orthonormal directions of the features, as columns, float64.  # shape: (d, features)"""
    gains: np.ndarray
    """How far the state moves along its direction when a feature grows by 1.  # shape: (features,)"""

    def direction(self, terms: Terms) -> torch.Tensor:
        """The unit vector of a combination of the features' directions.  # shape: (d,)"""
        found = sum(self.basis[:, self.features.index(name)] * weight for name, weight in terms.items())
        assert isinstance(found, torch.Tensor)
        return found / found.norm()


def planted(wiring: Wiring, *, seed: int, even: Collection[str] = ()) -> Planted:
    """The network of a wiring, its site z = Q G u + o with Q random orthogonal, G random gains, o a random offset.

    Args:
        wiring: What is computed.
        seed: Of Q, G and o.
        even: Features whose gain is 1, because the truth depends on how they compare.
    """
    rng = np.random.default_rng([seed, 101])
    names = tuple(wiring.features)
    d = len(names)
    q, r = np.linalg.qr(rng.standard_normal((d, d)))
    q = q * np.sign(np.diag(r))
    drawn = rng.uniform(0.8, 1.25, d)
    gains = np.array([1.0 if name in even else gain for name, gain in zip(names, drawn, strict=True)])
    offset = rng.uniform(-0.5, 0.5, d)
    maps: list[tuple[np.ndarray, np.ndarray]] = []
    below: Sequence[str] = wiring.inputs
    for layer in wiring.before:
        maps.append(_affine(layer, below))
        below = tuple(layer)
    weight, bias = _affine(wiring.features, below)
    turn = q * gains
    maps.append((turn @ weight, turn @ bias + offset))
    below = names
    back = (q / gains).T
    for i, layer in enumerate((*wiring.after, wiring.logits)):
        weight, bias = _affine(layer, below)
        maps.append((weight @ back, bias - weight @ back @ offset) if i == 0 else (weight, bias))
        below = tuple(layer)
    site = len(wiring.before)
    return Planted(filled(maps, site), f"layers.{site}", names, torch.from_numpy(q), gains)


def passing(*names: str) -> dict[str, dict[str, float]]:
    """Units that hand on what they read; with a ReLU, what is not negative.

    >>> passing("left")
    {'left': {'left': 1.0}}
    """
    return {name: {name: 1.0} for name in names}


def _affine(layer: Layer, below: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    weight, bias = np.zeros((len(layer), len(below))), np.zeros(len(layer))
    place = {name: i for i, name in enumerate(below)}
    for row, terms in enumerate(layer.values()):
        for name, value in terms.items():
            if name == "1":
                bias[row] = value
            else:
                weight[row, place[name]] = value
    return weight, bias


def filled(maps: Sequence[tuple[np.ndarray, np.ndarray]], site: int) -> LinearSite:
    """The network with these weights and biases, layer by layer and the head last."""
    # torch draws the weights that are overwritten here from the global generator: the caller's is forked.
    with torch.random.fork_rng(devices=[]):
        module = LinearSite([(w.shape[1], w.shape[0]) for w, _ in maps], site)
    linears = [part for part in module.modules() if isinstance(part, nn.Linear)]
    with torch.no_grad():
        for linear, (weight, bias) in zip(linears, maps, strict=True):
            linear.weight.copy_(torch.from_numpy(weight))
            linear.bias.copy_(torch.from_numpy(bias))
    return module.eval()

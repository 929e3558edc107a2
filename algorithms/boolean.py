"""Two ways to compute one function of three bits: (a and b) or (a and c), and a and (b or c).

They agree on all eight inputs and differ in their variables, so no test of behaviour can tell them apart;
an interchange intervention can. For each there is a network with hand-made weights, of which it is known
what each neuron carries, and a small trained one. Eight inputs are few enough for a census.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

import numpy as np
import torch

from commutes.algorithm import Algorithm
from commutes.network import MLP, Network, examples, mlp_by_hand
from commutes.network import train as descend

Progress = Callable[[int, int, dict[str, float]], None]

INPUTS = ("a", "b", "c")


def algorithm() -> Algorithm:
    """ab = (a and b), ac = (a and c), answer = (ab or ac)."""
    hypothesis = Algorithm("(a and b) or (a and c)")
    hypothesis.inputs(INPUTS, domain=(False, True))

    @hypothesis.variable
    def ab(a, b) -> bool:
        return a and b

    @hypothesis.variable
    def ac(a, c) -> bool:
        return a and c

    @hypothesis.output
    def answer(ab, ac) -> bool:
        return ab or ac

    return hypothesis.check()


def rival() -> Algorithm:
    """b_or_c = (b or c), answer = (a and b_or_c): the same function of the inputs."""
    hypothesis = Algorithm("a and (b or c)")
    hypothesis.inputs(INPUTS, domain=(False, True))

    @hypothesis.variable
    def b_or_c(b, c) -> bool:
        return b or c

    @hypothesis.output
    def answer(a, b_or_c) -> bool:
        return a and b_or_c

    return hypothesis.check()


def network(algorithm: Algorithm, *, seed: int, width: int = 8, layers: int = 2) -> Network:
    """An untrained network: three bits, `layers` hidden layers of `width` units, two logits."""
    return _wrapped(MLP([len(INPUTS), *[width] * layers, 2], seed=seed), "boolean MLP")


def train(
    network: Network, algorithm: Algorithm, *, seed: int, progress: Progress | None = None, steps: int = 600
) -> Network:
    """The network trained on all eight inputs at every step, all alike."""
    everything = examples(network, algorithm, algorithm.enumerate_inputs())
    module = descend(
        network.module,
        _again(everything),
        steps=steps,
        lr=1e-2,
        weight_decay=0.1,
        seed=seed,
        progress=progress,
    )
    return network.with_module(module)


CARRIERS: dict[str, dict[str, tuple[int, ...]]] = {"layers.0": {"ab": (0,), "ac": (1,)}}
"""In `exact_network`: module -> variable -> the neurons of its output that carry it, exactly and alone."""

RIVAL_CARRIERS: dict[str, dict[str, tuple[int, ...]]] = {"layers.0": {"b_or_c": (0,)}}
"""The same in `exact_rival_network`, where the neuron is 1 when b_or_c is false."""


def exact_network(algorithm: Algorithm | None = None, *, seed: int = 0) -> Network:
    """Weights by hand for (a and b) or (a and c): layers.0 holds ab and ac, layers.1 that neither holds."""
    module = mlp_by_hand(
        ([[1, 1, 0], [1, 0, 1]], [-1, -1]),
        ([[-1, -1]], [1]),
        ([[1], [-1]], [0, 1]),
    )
    return _wrapped(module, "exact (a and b) or (a and c)")


def exact_rival_network(algorithm: Algorithm | None = None, *, seed: int = 0) -> Network:
    """Weights by hand for a and (b or c): layers.0 holds not (b or c), and a; layers.1 the answer."""
    module = mlp_by_hand(
        ([[0, -1, -1], [1, 0, 0]], [1, 0]),
        ([[-1, 1]], [0]),
        ([[-1], [1]], [1, 0]),
    )
    return _wrapped(module, "exact a and (b or c)")


def _wrapped(module: MLP, name: str) -> Network:
    return Network(module, encode=_bits, answers=[False, True], blocks="layers", name=name)


def _bits(values: Mapping[str, np.ndarray]) -> torch.Tensor:
    return torch.from_numpy(np.stack([values[name] for name in INPUTS], axis=1).astype(np.float32))


def _again(batch: tuple[torch.Tensor, torch.Tensor]) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    while True:
        yield batch

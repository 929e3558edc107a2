"""Hierarchical equality: are two pairs alike in whether their members are equal?

Three forms of it. Twenty symbols, each a fixed random vector of four numbers, is what `commutes run
equality` uses. The anchor has fresh vectors of real numbers, as the published experiments do. The exact
form has small whole numbers and a network with hand-made weights, of which it is known which neuron carries
what.

See Finding Alignments Between Interpretable Causal Variables and Distributed Neural Representations,
arXiv 2303.02536.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np
import torch

from commutes.algorithm import Algorithm, Domain, vectors
from commutes.counterfactuals import Distribution
from commutes.errors import NetworkError
from commutes.network import MLP, Network, draw_inputs, examples, minibatches, mlp_by_hand
from commutes.network import train as descend
from commutes.network import train_many as descend_together

Progress = Callable[[int, int, dict[str, float]], None]

INPUTS = ("w", "x", "y", "z")
NUMBERS = 4  # per symbol or vector
BOUND = 0.5  # the numbers are uniform in [-BOUND, BOUND]
SYMBOL_SEED = 2303  # of the symbols' vectors, which belong to the encoding: all networks read the same

# The network of symbols and its training. Width and decay were chosen on the network seeds 10 to 13, by
# accuracy on all 160,000 inputs and by how well a distributed alignment search then does; what it does on 0
# to 9, which are reported, was not looked at. Without weight decay the networks are as accurate, but many
# remember which symbols go together instead of comparing them, and what DAS finds at 64 units varies from .85
# to .97 with the seed; with it, 64 units compare and 32 are too few to be right.
STEPS, BATCH, RATE, DECAY, DRAWS = 4_000, 512, 3e-3, 1.0, 262_144


def algorithm(symbols: int = 20) -> Algorithm:
    """left = (w == x), right = (y == z), same = (left == right), over this many symbols."""
    return _equalities(f"hierarchical equality of {symbols} symbols", range(symbols))


def control(symbols: int = 20) -> Algorithm:
    """The same function with the identity of the first argument as its variable: a negative control.

    A network that compares w with x has no reason to keep w itself where it compares.
    """
    return _first_argument(f"identity of the first of {symbols} symbols", range(symbols))


def network(algorithm: Algorithm, *, seed: int, width: int = 64, layers: int = 3) -> Network:
    """An untrained network: four symbols' vectors, `layers` hidden layers of `width` units, two logits."""
    symbols = algorithm.domain("w").size
    if symbols is None:
        raise NetworkError(
            "this network reads symbols",
            where=algorithm.name,
            got=f"inputs in {algorithm.domain('w').describe()}",
            expected="inputs range(symbols)",
            fix="build anchor_network for vectors of real numbers",
        )
    module = MLP([len(INPUTS) * NUMBERS, *[width] * layers, 2], seed=seed)
    encode = SymbolVectors(symbols)
    return Network(module, encode=encode, answers=[False, True], blocks="layers", name="equality MLP")


def train(
    network: Network, algorithm: Algorithm, *, seed: int, progress: Progress | None = None, steps: int = STEPS
) -> Network:
    """The network trained on the distribution "values": the four values of (left, right) equally often."""
    fed, targets = examples(network, algorithm, draw_inputs(algorithm, DRAWS, seed=seed))
    module = descend(
        network.module,
        minibatches(fed, targets, batch=BATCH, seed=seed),
        steps=steps,
        lr=RATE,
        schedule="cosine",
        weight_decay=DECAY,
        seed=seed,
        progress=progress,
    )
    return network.with_module(module)


class SymbolVectors:
    """Encodes symbols as their fixed vectors, one after the other.

    Args:
        symbols: How many there are; the vector of a symbol does not depend on it.
    """

    def __init__(self, symbols: int) -> None:
        drawn = np.random.default_rng(SYMBOL_SEED).uniform(-BOUND, BOUND, (symbols, NUMBERS))
        self.table = torch.from_numpy(drawn.astype(np.float32))

    def __call__(self, values: Mapping[str, np.ndarray]) -> torch.Tensor:
        """# shape: (n, 16)"""
        rows = torch.from_numpy(np.stack([values[name] for name in INPUTS], axis=1))
        return self.table[rows].flatten(1)


# The anchor: fresh vectors of real numbers, the published network and training.


def anchor_algorithm() -> Algorithm:
    """Hierarchical equality of vectors of four real numbers."""
    return _equalities("hierarchical equality of real vectors", vectors(NUMBERS, -BOUND, BOUND))


def anchor_control() -> Algorithm:
    """The identity of the first vector: the published negative control."""
    return _first_argument("identity of the first real vector", vectors(NUMBERS, -BOUND, BOUND))


def _draw_vectors(rng: np.random.Generator, n: int) -> dict[str, np.ndarray]:
    drawn = {name: rng.uniform(-BOUND, BOUND, (n, NUMBERS)) for name in INPUTS}
    for first, second in (("w", "x"), ("y", "z")):
        equal = rng.random(n) < 0.5
        drawn[second][equal] = drawn[first][equal]
    return drawn


def anchor_distribution() -> Distribution:
    """Uniform vectors; within each pair, independently, the second is the first half of the time."""
    return Distribution("uniform real vectors, equal within a pair half of the time", _draw_vectors)


ANCHOR = anchor_distribution()


def anchor_network(algorithm: Algorithm, *, seed: int) -> Network:
    """An untrained network of the published shape: 16-16-16-16-2, ReLU."""
    module = MLP([16, 16, 16, 16, 2], seed=seed)
    return Network(module, encode=_joined, answers=[False, True], blocks="layers", name="anchor MLP")


def anchor_train(
    network: Network,
    algorithm: Algorithm,
    *,
    seed: int,
    progress: Progress | None = None,
    draws: int = 1_048_576,
    epochs: int = 20,
) -> Network:
    """The network trained as published: Adam 1e-3, batches of 1,024, 20 passes over 1,048,576 examples."""
    return anchor_train_many([network], seeds=[seed], progress=progress, draws=draws, epochs=epochs)[0]


def anchor_train_many(
    networks: Sequence[Network],
    *,
    seeds: Sequence[int],
    progress: Progress | None = None,
    draws: int = 1_048_576,
    epochs: int = 20,
    batch: int = 1_024,
) -> list[Network]:
    """`anchor_train` for several networks in one batched pass, each with its own seed."""
    streams = [minibatches(*_anchor_examples(draws, seed), batch=batch, seed=seed) for seed in seeds]
    modules = descend_together(
        [network.module for network in networks],
        _side_by_side(streams),
        steps=epochs * (draws // batch),
        lr=1e-3,
        progress=progress,
    )
    return [network.with_module(module) for network, module in zip(networks, modules, strict=True)]


def _side_by_side(
    streams: Sequence[Iterator[tuple[torch.Tensor, torch.Tensor]]],
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    for batches in zip(*streams, strict=True):
        yield torch.stack([fed for fed, _ in batches]), torch.stack([targets for _, targets in batches])


def _anchor_examples(n: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    # The labels are those of anchor_algorithm (a test compares them) without a million calls of Python.
    drawn = _draw_vectors(np.random.default_rng([seed, 17]), n)
    left = (drawn["w"] == drawn["x"]).all(axis=1)
    right = (drawn["y"] == drawn["z"]).all(axis=1)
    return _joined(drawn), torch.from_numpy((left == right).astype(np.int64))


# The exact form: whole numbers, weights by hand.

CARRIERS: dict[str, dict[str, tuple[int, ...]]] = {
    "layers.0": {"left": (0, 1), "right": (2, 3)},
    "layers.1": {"left": (0,), "right": (1,)},
}
"""Module -> variable -> the neurons of its output that carry the variable, exactly and alone."""


def exact_algorithm(symbols: int = 3) -> Algorithm:
    """Hierarchical equality over few enough whole numbers for a census of all pairs of inputs."""
    return _equalities(f"hierarchical equality of {symbols} whole numbers", range(symbols))


def exact_control(symbols: int = 3) -> Algorithm:
    """The identity of the first whole number: nothing in the exact network carries it."""
    return _first_argument(f"identity of the first of {symbols} whole numbers", range(symbols))


def exact_network(algorithm: Algorithm | None = None, *, seed: int = 0) -> Network:
    """The network that computes the equalities of whole numbers exactly; it has no random weights.

    layers.0 holds ReLU(w - x), ReLU(x - w), ReLU(y - z), ReLU(z - y); layers.1 holds left and right as 0 or
    1, as ReLU(1 - |w - x|) and ReLU(1 - |y - z|); layers.2 holds ReLU(left - right), ReLU(right - left).
    """
    module = mlp_by_hand(
        ([[1, -1, 0, 0], [-1, 1, 0, 0], [0, 0, 1, -1], [0, 0, -1, 1]], [0, 0, 0, 0]),
        ([[-1, -1, 0, 0], [0, 0, -1, -1]], [1, 1]),
        ([[1, -1], [-1, 1]], [0, 0]),
        ([[1, 1], [-1, -1]], [0, 1]),
    )
    return Network(module, encode=_joined, answers=[False, True], blocks="layers", name="exact equality MLP")


def _joined(values: Mapping[str, np.ndarray]) -> torch.Tensor:
    columns = [values[name].reshape(len(values[name]), -1) for name in INPUTS]
    return torch.from_numpy(np.concatenate(columns, axis=1).astype(np.float32))


def _equalities(name: str, domain: range | Domain) -> Algorithm:
    hypothesis = Algorithm(name)
    hypothesis.inputs(INPUTS, domain=domain)

    @hypothesis.variable
    def left(w, x) -> bool:
        return w == x

    @hypothesis.variable
    def right(y, z) -> bool:
        return y == z

    @hypothesis.output
    def same(left, right) -> bool:
        return left == right

    return hypothesis.check()


def _first_argument(name: str, domain: range | Domain) -> Algorithm:
    hypothesis = Algorithm(name)
    hypothesis.inputs(INPUTS, domain=domain)

    @hypothesis.variable(domain=domain)
    def first(w):
        return w

    @hypothesis.output
    def same(first, x, y, z) -> bool:
        return (first == x) == (y == z)

    return hypothesis.check()

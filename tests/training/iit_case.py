"""A hypothesis that a small network learns in a second, for the tests of interchange-intervention training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import nn

from commutes import (
    Algorithm,
    Alignment,
    Coordinates,
    Counterfactuals,
    Network,
    Rotation,
    counterfactuals,
    train_network,
)
from commutes.features import Subspace
from commutes.network import MLP
from commutes.training import IIT, Trained

WIDTH = 12
QUICK = IIT(steps=120, batch=128, lr=2e-2, every=40)


def two_sums() -> Algorithm:
    """left = (w + x > 5), right = (y + z > 5), differ = (left != right), over six numbers."""
    algorithm = Algorithm("two sums")
    algorithm.inputs("w x y z", domain=range(6))
    algorithm.add("left", "w", "x", f=lambda w, x: w + x > 5, domain=[False, True])
    algorithm.add("right", "y", "z", f=lambda y, z: y + z > 5, domain=[False, True])
    algorithm.add(
        "differ", "left", "right", f=lambda left, right: left != right, domain=[False, True], output=True
    )
    return algorithm.check()


def encode(values: Mapping[str, np.ndarray]) -> torch.Tensor:
    return torch.from_numpy(np.stack([values[n] for n in "wxyz"], axis=1).astype(np.float32)) / 2.5 - 1


def encode_double(values: Mapping[str, np.ndarray]) -> torch.Tensor:
    return encode(values).double()


def network(module: nn.Module | None = None) -> Network:
    return Network(
        module or MLP([4, WIDTH, WIDTH, 2], seed=0),
        encode=encode,
        answers=[False, True],
        blocks="layers",
        name="sums",
    )


def double() -> Network:
    """The same in double precision."""
    module = MLP([4, WIDTH, WIDTH, 2], seed=0).double()
    return Network(module, encode=encode_double, answers=[False, True], blocks="layers", name="sums")


def neurons(net: Network, algorithm: Algorithm, layer: str = "layers.0", **where: Sequence[int]) -> Alignment:
    """The variables in these neurons of a layer."""
    x = Coordinates(net.site(layer))
    return Alignment(algorithm, {algorithm[name]: x[list(index)] for name, index in where.items()})


def basis(first: int, last: int, dtype: torch.dtype = torch.float32) -> Subspace:
    """Some columns of a fixed random rotation of a hidden layer."""
    generator = torch.Generator().manual_seed(3)
    q = torch.linalg.qr(torch.randn(WIDTH, WIDTH, generator=generator, dtype=torch.float64)).Q
    columns = q[:, first:last].to(dtype).contiguous()
    return Subspace(columns, columns)


def hidden(net: Network, algorithm: Algorithm, dtype: torch.dtype = torch.float32, **where: int) -> Alignment:
    """Variables in two directions each of a rotated hidden layer, from this direction on."""
    rotation = Rotation(net.site("layers.0"))
    # The map has a column for every direction that is used, in their order.
    place = {first: 2 * i for i, first in enumerate(sorted(where.values()))}
    claim = Alignment(
        algorithm, {algorithm[v]: rotation[place[first] : place[first] + 2] for v, first in where.items()}
    )
    maps = torch.cat([basis(first, first + 2, dtype).reader for first in place], dim=1).contiguous()
    return claim.with_maps([Subspace(maps, maps)])


def parts(
    algorithm: Algorithm, *names: str, n: int = 2_000, seed: int = 1
) -> tuple[Counterfactuals, Counterfactuals, Counterfactuals]:
    """Pairs that swap each of these variables alone: to train, to select, to test."""
    swap = [{algorithm[name]} for name in names]
    train, select, test = counterfactuals(algorithm, n, swap=swap, seed=seed).split(
        train=0.6, select=0.2, test=0.2
    )
    return train, select, test


def one_variable(
    algorithm: Algorithm,
) -> tuple[Alignment, Counterfactuals, Counterfactuals, Counterfactuals, Trained]:
    """A claim about two directions of a rotated layer, its parts, and the network trained for it."""
    claim = hidden(network(), algorithm, left=0)
    train, select, test = parts(algorithm, "left")
    return claim, train, select, test, train_network(claim, train, seed=0, settings=QUICK, select=select)


def bits(net: Network) -> bytes:
    """All weights and buffers."""
    return b"".join(p.detach().numpy().tobytes() for p in net.module.state_dict().values())

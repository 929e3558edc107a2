"""Small networks of every family, in float64, and the two ways of intervening on them."""

from __future__ import annotations

import copy
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import nn

from commutes.engine import BUDGET, Featurizer, Prepared, prepare
from commutes.features import Neurons, Subspace
from commutes.network import Network, Site

from . import oracle
from .oracle import Edit, Spot

INPUTS = 7


class Mlp(nn.Module):
    def __init__(self, width: int = 5, depth: int = 3, *, inplace: bool = False) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            nn.Sequential(nn.Linear(4 if i == 0 else width, width), nn.ReLU(inplace=inplace))
            for i in range(depth)
        )
        self.head = nn.Linear(width, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for layer in self.layers:
            x = layer(x)
        return self.head(x)


class Cnn(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(1, 3, 2)
        self.second = nn.Conv2d(3, 2, 2)
        self.head = nn.Linear(2, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.tanh(self.first(x))
        x = torch.tanh(self.second(x))
        return self.head(x.mean((2, 3)))


class Gru(nn.Module):
    """A cell that is called once per step."""

    def __init__(self, width: int = 4) -> None:
        super().__init__()
        self.cell = nn.GRUCell(2, width)
        self.head = nn.Linear(width, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = torch.zeros(len(x), self.cell.hidden_size, dtype=x.dtype)
        for step in range(x.shape[1]):
            h = self.cell(x[:, step], h)
        return self.head(h)


class Block(nn.Module):
    """Attention to every position, two heads, then an MLP; the heads' outputs side by side are `heads`."""

    def __init__(self, width: int = 4) -> None:
        super().__init__()
        self.qkv = nn.Linear(width, 3 * width)
        self.heads = nn.Identity()
        self.out = nn.Linear(width, width)
        self.up = nn.Linear(width, 6)
        self.down = nn.Linear(6, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        n, length, width = x.shape
        q, k, v = (t.reshape(n, length, 2, width // 2).transpose(1, 2) for t in self.qkv(x).chunk(3, dim=-1))
        pattern = (q @ k.transpose(-1, -2) / (width // 2) ** 0.5).softmax(-1)
        x = x + self.out(self.heads((pattern @ v).transpose(1, 2).reshape(n, length, width)))
        return x + self.down(torch.tanh(self.up(x)))


class Attention(nn.Module):
    """Tokens in, a sequence of logits out; read at a position."""

    def __init__(self, length: int = 4) -> None:
        super().__init__()
        self.tokens = nn.Embedding(5, 4)
        self.places = nn.Embedding(length, 4)
        self.blocks = nn.ModuleList([Block(), Block()])
        self.head = nn.Linear(4, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = self.tokens(x) + self.places(torch.arange(x.shape[1]))
        for block in self.blocks:
            h = block(h)
        return self.head(h)


class Encoder(nn.Module):
    """torch's own transformer layers."""

    def __init__(self) -> None:
        super().__init__()
        layers = [nn.TransformerEncoderLayer(4, 2, 6, dropout=0.1, batch_first=True) for _ in range(2)]
        self.layers = nn.ModuleList(layers)
        self.head = nn.Linear(4, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for layer in self.layers:
            x = layer(x)
        return self.head(x[:, 0])


class Pair(nn.Module):
    """Returns two tensors."""

    def __init__(self) -> None:
        super().__init__()
        self.left = nn.Linear(4, 3)
        self.right = nn.Linear(4, 3)

    def forward(self, x: torch.Tensor, scale: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return torch.tanh(self.left(x)), torch.tanh(self.right(x)) * scale


class Tuples(nn.Module):
    """A module with two inputs and two outputs in the middle."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(4, 4)
        self.pair = Pair()
        self.head = nn.Linear(6, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.tanh(self.first(x))
        left, right = self.pair(x, x[:, :1])
        return self.head(torch.cat([left, right], dim=-1))


@dataclass
class Case:
    """A module with `INPUTS` rows of input, and how a Network of it is made."""

    module: nn.Module
    rows: tuple[torch.Tensor, ...]
    options: dict[str, Any] = field(default_factory=dict)

    def network(self, **options: Any) -> Network:
        return Network(
            self.module,
            encode=lambda values: tuple(row[torch.from_numpy(values["i"])] for row in self.rows),
            **{"answers": [0, 1, 2], **self.options, **options},
        )

    def logits(self, out: Any) -> torch.Tensor:
        position = self.options.get("read")
        return out if position is None else out[:, position]


def built(make: Callable[[], nn.Module], seed: int = 0) -> nn.Module:
    """The module in float64 and evaluation mode, from a seed, with the global generator as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return make().double().eval()


def gaussian(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def mlp(seed: int = 0, **options: Any) -> Case:
    module = built(lambda: Mlp(inplace=options.pop("inplace", False)), seed)
    return Case(module, (gaussian(INPUTS, 4, seed=seed + 100),), options)


def cnn(seed: int = 0) -> Case:
    return Case(built(Cnn, seed), (gaussian(INPUTS, 1, 4, 4, seed=seed + 100),))


def gru(seed: int = 0) -> Case:
    return Case(built(Gru, seed), (gaussian(INPUTS, 4, 2, seed=seed + 100),))


def attention(seed: int = 0, **options: Any) -> Case:
    tokens = torch.randint(0, 5, (INPUTS, 4), generator=torch.Generator().manual_seed(seed + 100))
    return Case(built(Attention, seed), (tokens,), {"read": 1, **options})


def encoder(seed: int = 0, **options: Any) -> Case:
    return Case(built(Encoder, seed), (gaussian(INPUTS, 3, 4, seed=seed + 100),), options)


def tuples(seed: int = 0) -> Case:
    return Case(built(Tuples, seed), (gaussian(INPUTS, 4, seed=seed + 100),))


def one_hot(width: int, index: Sequence[int]) -> torch.Tensor:
    return torch.eye(width, dtype=torch.float64)[:, list(index)]


def biorthogonal(width: int, k: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """A reader and a writer with E^T D = I, not orthogonal."""
    reader = gaussian(width, k, seed=seed)
    other = gaussian(width, k, seed=seed + 1)
    return reader, other @ torch.linalg.inv(reader.T @ other)


def mask(pairs: int, slots: int, k: int, seed: int) -> torch.Tensor:
    """Which coordinate comes from which source, each from one at most."""
    generator = torch.Generator().manual_seed(seed)
    owner = torch.randint(-1, slots, (pairs, k), generator=generator)
    return torch.stack([owner == slot for slot in range(slots)], dim=1)


def everything(pairs: int, k: int) -> torch.Tensor:
    return torch.ones(pairs, 1, k, dtype=torch.bool)


def values() -> dict[str, np.ndarray]:
    return {"i": np.arange(INPUTS)}


def site_of(network: Network, edit: Edit) -> Site:
    """The same site in the words of the library."""
    sites = [_single(network, spot, edit.each) for spot in edit.spots]
    joined = sites[0]
    for site in sites[1:]:
        joined = joined + site
    return joined


def _single(network: Network, spot: Spot, each: bool) -> Site:
    return network.site(
        spot.path,
        part=None if spot.features is None else list(spot.features),
        position=_position(spot.position),
        source_position=_position(spot.source_position),
        call=spot.call,
        side=spot.side,  # type: ignore[arg-type]
        item=spot.item,
        axis=spot.axis,
        each=each,
    )


def _position(chosen: Any) -> Any:
    if chosen is None or isinstance(chosen[0], int):
        return None if chosen is None else list(chosen)
    table = np.asarray(chosen)
    return lambda inputs: table[inputs["i"]]


def featurizer(edit: Edit) -> Featurizer:
    """Neurons where reader and writer are one-hot, a linear subspace otherwise."""
    one = edit.reader.detach()
    if bool(((one == 0) | (one == 1)).all()) and torch.equal(one, edit.writer.detach()):
        return Neurons(one.argmax(0))
    return Subspace(edit.reader, edit.writer)


def prepared(
    case: Case, edits: Sequence[Edit], *, budget: int = BUDGET, **options: Any
) -> tuple[Prepared, list[Site]]:
    network = case.network(**options)
    sites = [site_of(network, edit) for edit in edits]
    return prepare(network, values(), sites, budget=budget), sites


def by_engine(
    case: Case,
    base: torch.Tensor,
    source: torch.Tensor,
    edits: Sequence[Edit],
    *,
    budget: int = BUDGET,
    **options: Any,
) -> torch.Tensor:
    ready, _ = prepared(case, edits, budget=budget, **options)
    batch = ready.batch(base, source)
    return ready.logits(batch, [featurizer(e) for e in edits], [e.mask for e in edits])


def by_oracle(case: Case, base: torch.Tensor, source: torch.Tensor, edits: Sequence[Edit]) -> torch.Tensor:
    return oracle.interchange(
        case.module, case.rows, base.tolist(), source.tolist(), edits, logits=case.logits
    )


def pairs(count: int, slots: int = 1, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    base = torch.randint(0, INPUTS, (count,), generator=generator)
    return base, torch.randint(0, INPUTS, (count, slots), generator=generator)


def state_of(module: nn.Module) -> list[Any]:
    """Everything about a module and the process that an intervention must leave as it was."""
    parts: list[Any] = [
        (
            path,
            list(part._forward_hooks.values()),
            list(part._forward_pre_hooks.values()),
            list(part._backward_hooks.values()),
            part.__dict__.get("forward"),
            part.training,
        )
        for path, part in module.named_modules()
    ]
    tensors = [
        (name, id(p), p.requires_grad, p.grad, p.dtype, p._version, p.detach().clone().numpy().tobytes())
        for name, p in [*module.named_parameters(), *module.named_buffers()]
    ]
    generators = [torch.get_rng_state().tolist(), random.getstate(), repr(np.random.get_state(legacy=False))]  # noqa: NPY002
    return [parts, tensors, generators, torch.is_grad_enabled(), torch.get_num_threads()]


def counted(module: nn.Module) -> tuple[nn.Module, dict[str, int]]:
    """A copy of the module that counts how often the forward of each of its parts runs."""
    twin, counts = copy.deepcopy(module), {}
    for path, part in twin.named_modules():
        counts[path] = 0

        def forward(*args: Any, path: str = path, own: Any = part.forward, **kwargs: Any) -> Any:
            counts[path] += 1
            return own(*args, **kwargs)

        part.__dict__["forward"] = forward
    return twin, counts

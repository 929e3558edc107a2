"""A tiny model with a table of prompts: one interchange three ways, by pyvene, by the engine, by hooks."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import nn

from commutes import Network
from commutes.engine import Featurizer, prepare
from commutes.engine.pyvene import pyvene
from commutes.features import Subspace
from commutes.network import Site
from tests.network.transformers import models as M
from tests.parity.plain import run, seen

N, TOKENS, LAYER = 4, 6, 1
WORDS = torch.randint(7, M.VOCABULARY, (2 * N, TOKENS), generator=torch.Generator().manual_seed(0))
BASE, SOURCE = {"input_ids": WORDS[:N]}, {"input_ids": WORDS[N:]}
CLOSE, FAR = 1e-10, 1e-3

BLOCK = "transformer.h.1"


def inputs(which: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """A dictionary of its own: some of the tests are about what pyvene does to what it is given."""
    return {name: tensor.clone() for name, tensor in which.items()}


def basis(k: int, d: int = 16, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.linalg.qr(torch.randn(d, k, generator=generator, dtype=torch.float64)).Q


def low_rank(columns: torch.Tensor, **fields: Any) -> Any:
    """pyvene's low-rank rotation with these columns."""
    with torch.random.fork_rng():
        made = pyvene().LowRankRotatedSpaceIntervention(
            embed_dim=columns.shape[0], low_rank_dimension=columns.shape[1], **fields
        )
        made = made.to(columns.dtype)
        made.rotate_layer.weight = columns
    return made


def at(layer: int, intervention: Any, *, component: str = "block_output", **fields: Any) -> Any:
    return pyvene().RepresentationConfig(
        layer=layer, component=component, intervention=intervention, **{"unit": "pos", **fields}
    )


def intervenable(model: nn.Module, *representations: Any) -> Any:
    return pyvene().IntervenableModel(pyvene().IntervenableConfig(list(representations)), model)


def everywhere(positions: int | Sequence[int], n: int = N) -> tuple[list[Any], list[Any]]:
    """`unit_locations` of one intervention: these positions of every base and source, as lists."""
    listed = [[positions] if isinstance(positions, int) else list(positions)] * n
    return [listed], [listed]


def theirs(model: Any, sources: Any, where: Any, **named: Any) -> torch.Tensor:
    """pyvene's logits at the last position."""
    with torch.no_grad():
        return model(inputs(BASE), sources, where, **named)[1].logits[:, -1]


def network(model: nn.Module) -> Network:
    """The model around the table: row i of the bases is input i, row i of the sources input N + i."""
    return Network(
        model, encode=lambda v: {"input_ids": WORDS[torch.from_numpy(v["i"])]}, answers=[0, 1], read=-1
    )


def ours(net: Network, sites: Sequence[Site], maps: Sequence[Featurizer], masks: Any = None) -> torch.Tensor:
    """This library's logits of base i with all coordinates, or those of the masks, from source i."""
    ready = prepare(net, {"i": np.arange(2 * N)}, sites)
    batch = ready.batch(torch.arange(N), torch.arange(N, 2 * N)[:, None])
    widths = [m.reader.shape[1] if isinstance(m, Subspace) else len(m.index) for m in maps]  # type: ignore[attr-defined]
    taken = masks or [torch.ones(N, 1, k, dtype=torch.bool) for k in widths]
    with torch.no_grad():
        return ready.logits(batch, maps, taken)


def rotated(columns: torch.Tensor) -> Subspace:
    return Subspace(columns, columns)


Swap = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


def oracle(
    model: nn.Module, *edits: tuple[str, str, Swap], base: Any = BASE, source: Any = SOURCE
) -> torch.Tensor:
    """Logits at the last position where each edit makes of the tensor and the source's another tensor."""

    def change(path: str, side: str, swap: Swap) -> tuple[str, str, Callable[[torch.Tensor], torch.Tensor]]:
        there = seen(model, source, path, side)
        return path, side, lambda tensor: swap(tensor.clone(), there)

    with torch.no_grad():
        return run(model, base, [change(*edit) for edit in edits])[:, -1]


def swap(columns: torch.Tensor, positions: Sequence[int] | Sequence[Sequence[int]]) -> Swap:
    """h + W Wᵀ (h_source - h) at these positions, one list for all examples or one for each."""

    def swapped(h: torch.Tensor, s: torch.Tensor) -> torch.Tensor:
        for i in range(len(h)):
            mine = positions if isinstance(positions[0], int) else positions[i]
            for p in mine:  # type: ignore[union-attr]
                h[i, p] = h[i, p] + columns @ (columns.T @ (s[i, p] - h[i, p]))
        return h

    return swapped


def gap(first: torch.Tensor, second: torch.Tensor) -> float:
    return float((first - second).abs().max())

"""Interchange in transformers equals plain hooks on prompts that are run alone, without padding, in float64."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch

from commutes import Network
from commutes.engine import certificate, prepare
from commutes.features import Subspace
from commutes.network import Site

from . import models as M

CLOSE = 1e-10
K = 2
BASE, SOURCE = (0, 1, 2, 3), ((1, 2), (3, 0), (0, 3), (2, 1))


@dataclass(frozen=True)
class Spot:
    """A place in plain words: path, side or name of the argument, features, and a position of every prompt."""

    path: str
    side: str
    features: tuple[int, ...] | None
    positions: tuple[tuple[int, ...], ...]


def values(family: str) -> dict[str, np.ndarray]:
    """Sums of which {b} has one or two digits; of Gemma 2, which cannot be padded in float64, two."""
    b = [4, 67, 8, 90] if family in M.PADDED else [40, 67, 81, 90]
    return {"a": np.array([12, 30, 55, 98]), "b": np.array(b)}


def where(family: str, b: np.ndarray) -> dict[str, tuple[tuple[int, ...], ...]]:
    """Places of the tokens in every prompt, counted by hand: [BOS] 1 2 + 4 = and what BERT puts around."""
    start = 1 if family in ("bert", "llama", "gemma2") else 0
    digits = [len(str(number)) for number in b]
    ends = [start + 3 + d for d in digits]
    return {
        "{a}": tuple((start, start + 1) for _ in b),
        "{b[last]}": tuple((end - 1,) for end in ends),
        "=": tuple((end,) for end in ends),
        "answer": tuple((end + (family == "bert"),) for end in ends),
    }


def sites(network: Network, family: str, case: str) -> list[tuple[Site, Spot]]:
    """The places of a case, by the library's names and in plain words."""
    spans = where(family, values(family)["b"])
    blocks = network.blocks
    attention = {"gpt2": "attn", "gpt_neox": "attention", "bert": "attention.self"}.get(family, "self_attn")
    out = {"gpt2": "attn.c_proj", "gpt_neox": "attention.dense", "bert": "attention.output.dense"}.get(
        family, "self_attn.o_proj"
    )
    act = {"gpt2": "mlp.act", "gpt_neox": "mlp.act", "bert": "intermediate", "phi3": "mlp.activation_fn"}.get(
        family, "mlp.act_fn"
    )
    by_position = family in ("gpt2", "gpt_neox", "bert")
    d = 6 if family in ("llama", "qwen3", "gemma2", "gemma3_text") else 4
    head = tuple(range(3 * d, 4 * d))
    minus = -2 if family != "bert" else -4
    known = {
        "last block": (
            network.site("block_output", layer=-1, position=network.read_position),
            Spot(blocks[2], "output", None, spans["answer"]),
        ),
        "first block, a slot": (
            network.site("block_output", layer=0, position="{a}"),
            Spot(blocks[0], "output", None, spans["{a}"]),
        ),
        "a head": (
            network.site("head_attention_value_output", layer=1, head=3, position="{b[last]}"),
            Spot(f"{blocks[1]}.{out}", "input", head, spans["{b[last]}"]),
        ),
        "activations": (
            network.site("mlp_activation", layer=1, position=minus),
            Spot(f"{blocks[1]}.{act}", "output", None, spans["{b[last]}"]),
        ),
        "attention's input": (
            network.site("attention_input", layer=1, position="{a[last]}"),
            Spot(
                f"{blocks[1]}.{attention}",
                "input" if by_position else "hidden_states",
                None,
                tuple((row[1],) for row in spans["{a}"]),
            ),
        ),
        "block's input": (
            network.site("block_input", layer=0, position=["{b[last]}", minus + 1]),
            Spot(blocks[0], "input", None, tuple(
                (*b, *e) for b, e in zip(spans["{b[last]}"], spans["="], strict=True)
            )),
        ),
    }  # fmt: skip
    return [known[name] for name in case.split(" and ")]


def spot_hook(module: torch.nn.Module, side: str, change: Any) -> Any:
    """Hand the tensor at one side of a module to `change`, and put what it returns in its place."""
    if side == "output":

        def after(_m: Any, _a: Any, out: Any) -> Any:
            return (change(out[0]), *out[1:]) if isinstance(out, tuple) else change(out)

        return module.register_forward_hook(after)

    def before(_m: Any, args: Any, named: Any) -> Any:
        if side == "input":
            return (change(args[0]), *args[1:]), named
        return args, {**named, side: change(named[side])}

    return module.register_forward_pre_hook(before, with_kwargs=True)


def alone(network: Network, family: str, row: int, hooks: Sequence[tuple[Spot, Any]]) -> torch.Tensor:
    """Logits of one prompt, not padded and without a word about positions, under hooks."""
    prompt = network.language.prompt  # type: ignore[union-attr]
    ids = torch.tensor([prompt.tokens(values(family))[row].ids])
    model = network.module
    handles = [spot_hook(model.get_submodule(s.path), s.side, change) for s, change in hooks]
    try:
        return model(input_ids=ids).logits[0, network.read_position]
    finally:
        for handle in handles:
            handle.remove()


def vector(tensor: torch.Tensor, spot: Spot, row: int) -> torch.Tensor:
    """Positions slowly, features fast."""
    features = list(range(tensor.shape[-1])) if spot.features is None else list(spot.features)
    return torch.cat([tensor[0, p, features] for p in spot.positions[row]])


def with_vector(tensor: torch.Tensor, spot: Spot, row: int, new: torch.Tensor) -> torch.Tensor:
    features = list(range(tensor.shape[-1])) if spot.features is None else list(spot.features)
    tensor = tensor.clone()
    for p, piece in zip(spot.positions[row], new.split(len(features)), strict=True):
        tensor[0, p, features] = piece
    return tensor


def clean(network: Network, family: str, spot: Spot, row: int) -> torch.Tensor:
    """A place's vector in a run of one prompt that nothing else is done to."""
    seen: list[torch.Tensor] = []

    def look(tensor: torch.Tensor) -> torch.Tensor:
        seen.append(vector(tensor, spot, row))
        return tensor

    alone(network, family, row, [(spot, look)])
    return seen[0]


def swapper(spot: Spot, basis: torch.Tensor, row: int, sources: Sequence[torch.Tensor]) -> Any:
    """Coordinate j of the place comes from source j."""

    def swap(tensor: torch.Tensor) -> torch.Tensor:
        h = vector(tensor, spot, row)
        new = h
        for j, source in enumerate(sources):
            new = new + basis[:, j] * (basis[:, j] @ (source - h))
        return with_vector(tensor, spot, row, new)

    return swap


def oracle(
    network: Network, family: str, spots: Sequence[Spot], bases: Sequence[torch.Tensor]
) -> torch.Tensor:
    """Every pair by hand, one prompt at a time."""
    rows = []
    for base, sources in zip(BASE, SOURCE, strict=True):
        edits = [
            (spot, swapper(spot, basis, base, [clean(network, family, spot, s) for s in sources]))
            for spot, basis in zip(spots, bases, strict=True)
        ]
        rows.append(alone(network, family, base, edits))
    return torch.stack(rows)


def bases_of(widths: Sequence[int]) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(3)
    return [torch.linalg.qr(torch.randn(d, K, generator=generator, dtype=torch.float64))[0] for d in widths]


def by_engine(
    network: Network, family: str, chosen: Sequence[Site], blocks: bool
) -> tuple[torch.Tensor, list[torch.Tensor]]:
    if not blocks:
        network.blocks = ()
    prepared = prepare(network, values(family), chosen)
    assert blocks or (prepared.block is None and prepared.cone is None)
    bases = bases_of([layout.width for layout in prepared.plan.values()])
    batch = prepared.batch(torch.tensor(BASE), torch.tensor(SOURCE))
    mask = torch.zeros(len(BASE), 2, K, dtype=torch.bool)
    mask[:, 0, 0] = mask[:, 1, 1] = True
    logits = prepared.logits(batch, [Subspace(b, b) for b in bases], [mask] * len(bases))
    return logits, bases


CASES = (
    "last block",
    "first block, a slot",
    "a head",
    "activations",
    "attention's input",
    "block's input",
    "first block, a slot and a head and last block",
)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("family", M.FAMILIES)
def test_the_engine_is_the_oracle(family: str, case: str) -> None:
    network = M.network(family)
    both = sites(network, family, case)
    with torch.no_grad():
        found, bases = by_engine(network, family, [s for s, _ in both], blocks=True)
        expected = oracle(network, family, [s for _, s in both], bases)
        untouched = torch.stack([alone(network, family, row, []) for row in BASE])
    assert (found - expected).abs().max() < CLOSE
    assert (expected - untouched).abs().max() > 1e-3


@pytest.mark.parametrize("family", M.FAMILIES)
def test_cones_and_resumed_runs_are_whole_runs(family: str) -> None:
    network = M.network(family)
    found = certificate(network, network.encode(values(family)))
    assert (found.holds, found.reason) == (True, "every block: resumed run equals whole run")
    with torch.no_grad():
        case = "first block, a slot"
        resumed = by_engine(network, family, [s for s, _ in sites(network, family, case)], blocks=True)[0]
        whole_network = M.network(family)
        chosen = [s for s, _ in sites(whole_network, family, case)]
        last = network.site("block_output", layer=1, position="last")
        ready = prepare(network, values(family), [last])
        assert (ready.cone.block if ready.cone else ready.block) == 1
        assert (ready.cone is None) == (family == "bert")
        whole = by_engine(whole_network, family, chosen, blocks=False)[0]
    assert (resumed - whole).abs().max() < CLOSE


def test_a_run_that_is_not_finite_is_not_certified() -> None:
    network = M.network("gemma2")
    padded = {"a": np.array([12, 3]), "b": np.array([4, 5])}
    assert certificate(network, network.encode(padded)).reason == (
        "resuming behind model.layers.0 is off by nan"
    )

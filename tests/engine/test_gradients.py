"""Gradients of a cross-entropy through an interchange: the engine's equal the oracle's."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest
import torch
from torch.nn.functional import cross_entropy

from commutes.engine import BUDGET
from commutes.features import rotation

from . import nets, test_interchange, test_spread
from .oracle import Edit, Spot

PAIRS = test_interchange.PAIRS
NAMES = [
    "mlp, three variables from two sources",
    "mlp, the input of a module",
    "cnn, two channels at three pixels",
    "gru, two steps as two sites",
    "attention, other positions in the source",
    "attention, one map for each position",
    "encoder layer, two places and two sources",
]
SPREAD = {n: build for n, build in test_spread.CASES.items() if "neurons" not in n}
ALL = {**{n: test_interchange.CASES[n] for n in NAMES}, **SPREAD}


def _gradients(
    loss_of: Callable[[Sequence[Edit]], torch.Tensor], edits: Sequence[Edit]
) -> list[torch.Tensor]:
    leaves = [
        Edit(e.spots, e.reader.clone().requires_grad_(), e.writer.clone().requires_grad_(), e.mask, e.each)
        for e in edits
    ]
    loss = loss_of(leaves)
    return list(torch.autograd.grad(loss, [t for e in leaves for t in (e.reader, e.writer)]))


def _loss(logits: torch.Tensor) -> torch.Tensor:
    return cross_entropy(logits, torch.arange(len(logits)) % 3)


@pytest.mark.parametrize("blocks", [None, "declared"])
@pytest.mark.parametrize("name", ALL)
def test_with_respect_to_reader_and_writer(name: str, blocks: str | None) -> None:
    case, edits, slots = ALL[name]()
    base, source = nets.pairs(PAIRS, slots, seed=2)
    if blocks is not None:
        blocks = {"Mlp": "layers", "Attention": "blocks", "Encoder": "layers"}.get(type(case.module).__name__)
    engine = _gradients(lambda es: _loss(nets.by_engine(case, base, source, es, blocks=blocks)), edits)
    plain = _gradients(lambda es: _loss(nets.by_oracle(case, base, source, es)), edits)
    for one, other in zip(engine, plain, strict=True):
        assert (one - other).abs().max() < 1e-8
    assert max(float(g.abs().max()) for g in plain) > 1e-6


def test_through_the_sign_fixed_qr() -> None:
    case, spot = nets.mlp(), Spot("layers.1")
    base, source = nets.pairs(PAIRS, 2)
    mask = nets.mask(PAIRS, 2, 3, 4)
    start = nets.gaussian(5, 3, seed=8)

    def by(run: Callable[..., torch.Tensor]) -> torch.Tensor:
        raw = start.clone().requires_grad_()
        basis = rotation(raw).reader if run is nets.by_engine else _gram_schmidt(raw)
        logits = run(case, base, source, [Edit((spot,), basis, basis, mask)])
        return torch.autograd.grad(_loss(logits), raw)[0]

    assert (by(nets.by_engine) - by(nets.by_oracle)).abs().max() < 1e-8


def _gram_schmidt(raw: torch.Tensor) -> torch.Tensor:
    columns: list[torch.Tensor] = []
    for j in range(raw.shape[1]):
        column = raw[:, j]
        for earlier in columns:
            column = column - earlier * (earlier @ raw[:, j])
        columns.append(column / column.norm())
    return torch.stack(columns, dim=1)


@pytest.mark.parametrize("budget", [BUDGET, 0])
def test_nothing_flows_into_the_network_or_into_the_sources(budget: int) -> None:
    case, edits, slots = test_interchange.CASES["mlp, two sites and two sources"]()
    ready, _ = nets.prepared(case, edits, budget=budget)
    batch = ready.batch(*nets.pairs(PAIRS, slots))
    assert not any(t.requires_grad for t in batch.sources)
    before = nets.state_of(case.module)
    raw = nets.gaussian(5, 2).requires_grad_()
    logits = ready.logits(batch, [rotation(raw), nets.featurizer(edits[1])], [e.mask for e in edits])
    torch.autograd.grad(_loss(logits), raw)
    assert nets.state_of(case.module) == before

"""Cross-entropy over whole vocabularies against the library's own."""

from __future__ import annotations

import pytest
import torch
from torch.nn.functional import cross_entropy

from commutes.evaluation import losses


@pytest.mark.parametrize("columns", [7, 4_095, 4_096, 50_257, 600_000])
@pytest.mark.parametrize("layout", ["rows", "columns"])
def test_losses_and_their_gradients_are_those_of_torch_at_any_width(columns: int, layout: str):
    generator = torch.Generator().manual_seed(columns)
    n = 3 if columns > 100_000 else 23
    drawn = 30 * torch.randn(n, columns, generator=generator, dtype=torch.float64)
    if layout == "columns":
        drawn = drawn.T.contiguous().T
    targets = torch.randint(columns, (n,), generator=generator)
    # Each row weighs otherwise, so that no row can stand for another.
    weights = torch.randn(n, generator=generator, dtype=torch.float64)
    found = []
    for loss in (losses, lambda x, t: cross_entropy(x, t, reduction="none")):
        logits = drawn.detach().clone().requires_grad_()
        per_row = loss(logits, targets)
        found.append((per_row, *torch.autograd.grad((weights * per_row).sum(), logits)))
    for mine, torchs in zip(*found, strict=True):
        assert mine.shape == torchs.shape
        assert (mine - torchs).abs().max() < 1e-12 * (1 + torchs.abs().max())


def test_logits_are_left_as_they_are():
    logits = torch.randn(20, 5_000, requires_grad=True)
    before = logits.detach().clone()
    losses(logits, torch.zeros(20, dtype=torch.long)).sum().backward()
    assert torch.equal(logits, before)


def test_a_row_of_large_logits_neither_overflows_nor_moves_another():
    logits = torch.zeros(2, 5_000, dtype=torch.float64)
    logits[0] = 1e4
    logits[1, 3] = 40
    found = losses(logits, torch.tensor([1, 3]))
    assert abs(float(found[0]) - float(torch.tensor(5_000.0).log())) < 1e-5
    assert float(found[1]) < 1e-12


def test_half_precision_is_summed_as_torch_sums_it():
    logits = (30 * torch.rand(8, 5_000, generator=torch.Generator().manual_seed(0))).bfloat16()
    targets = logits.argmax(dim=1)
    assert torch.equal(losses(logits, targets), cross_entropy(logits, targets, reduction="none"))

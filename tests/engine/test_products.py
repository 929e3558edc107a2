"""Products in pieces and prefixes that are laid out in one go, beside what torch does with the whole."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from transformers.pytorch_utils import Conv1D

from commutes.engine import _products as P
from commutes.engine._prefix import Prefix


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Matrices of a test are as large beside these pieces as a model's beside the real ones."""
    monkeypatch.setattr(P, "_PIECE", 2**9)


def linear(kind: str) -> nn.Module:
    torch.manual_seed(0)
    made = {"bias": nn.Linear(40, 50), "no bias": nn.Linear(40, 50, bias=False), "Conv1D": Conv1D(50, 40)}[
        kind
    ]
    return made.double().requires_grad_(False)


@pytest.mark.parametrize("kind", ["bias", "no bias", "Conv1D"])
@pytest.mark.parametrize("shape", [(1, 40), (2, 40), (256, 40), (257, 40), (3, 4, 40), (0, 40)])
def test_values_and_gradients_are_those_of_the_module(kind: str, shape: tuple[int, ...]):
    module = linear(kind)
    x = torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1)).requires_grad_()
    up = torch.randn(*shape[:-1], 50, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    expected, found = module(x), P.few_rows(module)(x)
    assert found.shape == expected.shape
    assert torch.allclose(found, expected, rtol=0, atol=1e-12)
    grads = [torch.autograd.grad(out, x, up)[0] for out in (expected, found)]
    assert torch.allclose(*grads, rtol=0, atol=1e-12)


@pytest.mark.parametrize("kind", ["bias", "Conv1D"])
def test_the_pieces_are_what_runs_and_only_where_it_pays(kind: str, monkeypatch: pytest.MonkeyPatch):
    module, calls = linear(kind), []
    own = P._by_pieces
    monkeypatch.setattr(P, "_by_pieces", lambda *given: calls.append(1) or own(*given))

    def ran(x: torch.Tensor) -> bool:
        calls.clear()
        x = x.detach().requires_grad_()
        P.few_rows(module)(x).sum().backward()
        return bool(calls)

    few = torch.randn(8, 40, dtype=torch.float64)
    assert ran(few)
    assert not ran(torch.randn(300, 40, dtype=torch.float64))
    assert not ran(few[:1])
    module.requires_grad_(True)
    assert not ran(few)
    module.requires_grad_(False)
    monkeypatch.setattr(P, "_PIECE", 2**20)
    assert not ran(few)


def test_weights_are_looked_up_at_every_call():
    module = linear("no bias")
    forward, x = P.few_rows(module), torch.randn(4, 40, dtype=torch.float64)
    module.weight.data = 2 * module.weight.data
    assert torch.allclose(forward(x), module(x))


def test_subclasses_are_left_alone():
    class Own(nn.Linear):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return super().forward(x) + 1

    whole = nn.Sequential(nn.Linear(2, 2), Own(2, 2), Conv1D(2, 2), nn.ReLU())
    assert P.linear_modules(whole) == (whole[0], whole[2])


@pytest.mark.parametrize("length", [1, 3])
def test_a_prefix_and_what_is_new_are_joined_and_the_gradient_goes_to_what_is_new(length: int):
    generator = torch.Generator().manual_seed(0)
    keys, values = (torch.randn(3, 2, 4, 5, generator=generator) for _ in range(2))
    rows = torch.tensor([2, 0, 2, 1])
    prefix = Prefix((keys, values), rows)
    for side, kept in enumerate((keys, values)):
        before = kept.clone()
        new = torch.randn(4, 2, 2, 5, generator=generator, requires_grad=True)
        found = prefix.before(side, length, new)
        assert torch.equal(found, torch.cat([kept[rows][:, :, :length], new], dim=2))
        up = torch.randn(found.shape, generator=generator)
        assert torch.equal(torch.autograd.grad(found, new, up)[0], up[:, :, length:])
        assert torch.equal(kept, before)

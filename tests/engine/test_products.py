"""Products by oneDNN and prefixes that are laid out in one go, beside what torch does by itself."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.func import functional_call, grad, jvp, vmap
from transformers.pytorch_utils import Conv1D

from commutes.engine import _products as P
from commutes.engine._prefix import Prefix

# torch says this of parts of its own.
JIT = pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")
KINDS = ("bias", "no bias", "Conv1D")


@pytest.fixture
def any_size(monkeypatch: pytest.MonkeyPatch) -> None:
    """Matrices of a test pay as a model's do, and the product comes in parts as that with a vocabulary does."""
    monkeypatch.setattr(P, "_COLUMNS", 30)
    monkeypatch.setattr(P, "_PAYS", 0)
    monkeypatch.setattr(P, "_SMALL", 0)


def linear(kind: str) -> nn.Module:
    torch.manual_seed(0)
    made = {"bias": nn.Linear(40, 50), "no bias": nn.Linear(40, 50, bias=False), "Conv1D": Conv1D(50, 40)}
    return made[kind].requires_grad_(False)


def numbers(*shape: int, seed: int = 1) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.usefixtures("any_size")
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shape", [(7, 40), (8, 40), (16, 40), (120, 40), (301, 40), (3, 4, 40), (0, 40)])
def test_values_and_gradients_are_those_of_the_module(
    kind: str, shape: tuple[int, ...], calls: list[torch.Size]
):
    module = linear(kind)
    x = numbers(*shape).requires_grad_()
    up = numbers(*shape[:-1], 50, seed=2)
    # In double precision, which only torch multiplies.
    expected = linear(kind).double()(x.double())
    with P.fast_products(module):
        found = module(x)
    assert found.shape == expected.shape
    assert torch.allclose(found.double(), expected, rtol=0, atol=1e-5)
    grads = [torch.autograd.grad(out, x, g)[0] for out, g in ((expected, up.double()), (found, up))]
    assert torch.allclose(*grads, rtol=0, atol=1e-5)
    assert len(calls) == (2 if x.numel() >= 8 * 40 else 0)


@pytest.mark.usefixtures("any_size")
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dim", [0, 1])
def test_rows_of_all_members_are_multiplied_at_once(kind: str, dim: int, calls: list[torch.Size]):
    module = linear(kind)
    x = numbers(9, 9, 40).requires_grad_()
    up = numbers(9, 9, 50, seed=2)

    def together(x: torch.Tensor) -> torch.Tensor:
        with P.fast_products(module):
            return vmap(module, in_dims=dim)(x)

    expected, found = vmap(module, in_dims=dim)(x), together(x)
    assert torch.allclose(found, expected, rtol=0, atol=1e-5)
    assert calls[-1] == (9, 9, 40)
    grads = [torch.autograd.grad(out, x, up)[0] for out in (expected, found)]
    assert torch.allclose(*grads, rtol=0, atol=1e-5)


@pytest.mark.usefixtures("any_size")
@pytest.mark.parametrize("kind", KINDS)
def test_a_second_derivative_is_torchs(kind: str):
    module = linear(kind)
    x = numbers(9, 40).requires_grad_()

    def curvature(out: torch.Tensor) -> torch.Tensor:
        (first,) = torch.autograd.grad((out**3).sum(), x, create_graph=True)
        return torch.autograd.grad(first.square().sum(), x)[0]

    expected = curvature(module(x))
    with P.fast_products(module):
        assert torch.allclose(curvature(module(x)), expected, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("kind", ["bias", "Conv1D"])
def test_only_where_it_pays_and_nothing_is_learnt(
    kind: str, calls: list[torch.Size], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(P, "_SMALL", 0)
    monkeypatch.setattr(P, "_PAYS", 10 * 40 * 50)
    module = linear(kind)

    def ran(x: torch.Tensor) -> bool:
        calls.clear()
        with P.fast_products(module):
            module(x)
        return bool(calls)

    few = numbers(10, 40)
    assert ran(few)
    assert not ran(few[:9])
    with torch.autocast("cpu", torch.bfloat16):
        assert not ran(few)
    module.requires_grad_(True)
    assert not ran(few)
    with torch.no_grad():
        assert ran(few)
    module.double()
    assert not ran(few.double())


@pytest.mark.usefixtures("any_size")
def test_weights_are_looked_up_at_every_call():
    module = linear("no bias")
    x = numbers(9, 40)
    with P.fast_products(module):
        module.weight.data = 2 * module.weight.data
        found = module(x)
    assert torch.allclose(found, module(x), atol=1e-5)


@pytest.mark.usefixtures("any_size")
def test_modules_that_are_more_than_a_product_are_left_alone():
    class Own(nn.Linear):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return super().forward(x) + 1

    whole = nn.Sequential(nn.Linear(2, 2), Own(2, 2), Conv1D(2, 2), nn.ReLU(), nn.Linear(2, 2).double())
    assert P.linear_modules(whole) == (whole[0], whole[2])
    answer = whole[0].__dict__["forward"] = lambda x: x
    with P.fast_products(whole):
        assert whole[0].__dict__["forward"] is answer
        assert "forward" in whole[2].__dict__
    assert whole[0].__dict__["forward"] is answer
    assert "forward" not in whole[2].__dict__


@pytest.mark.parametrize("rows", [*range(1, 300), 1000])
def test_few_sizes_cover_all_rows_and_little_more(rows: int):
    pieces = list(P._pieces(rows))
    assert {size for _, size in pieces} <= set(P._ROWS)
    assert [begin for begin, _ in pieces] == [sum(size for _, size in pieces[:i]) for i in range(len(pieces))]
    assert rows <= sum(size for _, size in pieces) <= rows + 16


def test_small_matrices_are_left_alone():
    assert P.linear_modules(nn.Sequential(nn.Linear(127, 128), nn.Linear(128, 128)))[0].in_features == 128


@pytest.mark.usefixtures("any_size")
@pytest.mark.parametrize("kind", KINDS)
def test_what_is_returned_may_be_written_into(kind: str):
    module = linear(kind)
    x = numbers(3, 4, 40).requires_grad_()

    def written(out: torch.Tensor) -> torch.Tensor:
        out.clamp_(-0.5, 0.5)
        out[:, 0] += 1
        out *= 2
        return torch.autograd.grad(out.square().sum(), x)[0]

    expected = written(module(x) + 0)
    with P.fast_products(module):
        assert torch.allclose(written(module(x)), expected, atol=1e-4)


@JIT
@pytest.mark.usefixtures("any_size")
def test_modules_that_transform_their_parts_do_so_with_torchs(calls: list[torch.Size]):
    module = linear("bias")
    x, weights = numbers(9, 40), numbers(3, 50, 40, seed=3)

    def several(weight: torch.Tensor) -> torch.Tensor:
        return functional_call(module, {"weight": weight}, (x,))

    def slope(weight: torch.Tensor) -> torch.Tensor:
        return several(weight).square().sum()

    tasks = (
        lambda: vmap(several)(weights),
        lambda: grad(slope)(weights[0]),
        lambda: jvp(module, (x,), (x,))[1],
    )
    for task in tasks:
        expected = task()
        with P.fast_products(module):
            assert torch.equal(task(), expected)
    assert not calls


@JIT
@pytest.mark.usefixtures("any_size")
def test_what_is_compiled_keeps_its_forward():
    whole = nn.Sequential(nn.Linear(2, 2), nn.Sequential(nn.Linear(2, 2)), nn.Linear(2, 2))
    whole[1].compile()
    assert P.linear_modules(whole) == (whole[0], whole[2])
    wrapped = nn.Sequential(whole[0], torch.compile(whole[2]))
    assert P.linear_modules(wrapped) == (whole[0],)


@pytest.mark.usefixtures("any_size")
def test_torchs_switch_and_torchs_errors_are_torchs(calls: list[torch.Size]):
    module = linear("bias")
    torch.backends.mkldnn.set_flags(False)
    try:
        with P.fast_products(module):
            module(numbers(9, 40))
    finally:
        torch.backends.mkldnn.set_flags(True)
    assert not calls
    with P.fast_products(module), pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        module(numbers(9, 41))


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

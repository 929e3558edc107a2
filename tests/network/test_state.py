"""What of a module can change behind one's back is seen."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn.modules import module as torch_module

from commutes.network import hooked, hooks_of, state_of
from commutes.network._state import contents


def made() -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return nn.Sequential(nn.Linear(2, 3), nn.Sequential(nn.Tanh(), nn.Linear(3, 2)))


def nothing(*_: Any) -> None:
    return None


HOOKS: dict[str, Callable[[nn.Module], Any]] = {
    "forward": lambda m: m.register_forward_hook(nothing),
    "forward with names": lambda m: m.register_forward_hook(nothing, with_kwargs=True),
    "forward, whatever happens": lambda m: m.register_forward_hook(nothing, always_call=True),
    "before": lambda m: m.register_forward_pre_hook(nothing),
    "before with names": lambda m: m.register_forward_pre_hook(nothing, with_kwargs=True),
    "backward": lambda m: m.register_full_backward_hook(nothing),
    "before backward": lambda m: m.register_full_backward_pre_hook(nothing),
}
GLOBAL: dict[str, Callable[[], Any]] = {
    "forward": lambda: torch_module.register_module_forward_hook(nothing),
    "before": lambda: torch_module.register_module_forward_pre_hook(nothing),
    "backward": lambda: torch_module.register_module_full_backward_hook(nothing),
}


@pytest.mark.parametrize("kind", HOOKS)
@pytest.mark.parametrize(("path", "said"), [("", "the module itself"), ("1.1", "1.1")])
def test_hooks_of_all_kinds_are_found_and_gone_with_them(kind: str, path: str, said: str) -> None:
    module = made()
    before = state_of(module)
    assert (hooks_of(module), hooked(module), before.hooks) == ((), [], ())
    handle = HOOKS[kind](module.get_submodule(path))
    assert hooked(module) == [said]
    assert len(hooks_of(module)) == 1
    assert state_of(module) == before._replace(hooks=hooks_of(module))
    handle.remove()
    assert state_of(module) == before


@pytest.mark.parametrize("kind", GLOBAL)
def test_hooks_on_every_module_are_found(kind: str) -> None:
    module = made()
    handle = GLOBAL[kind]()
    try:
        assert hooked(module) == ["every module"]
        assert len(hooks_of(module)) == len(state_of(module).hooks) == 1
    finally:
        handle.remove()
    assert hooks_of(module) == ()


def test_one_hook_for_another_is_another_state() -> None:
    module = made()
    states = []
    for _ in range(2):
        handle = module[0].register_forward_hook(nothing)  # type: ignore[index]
        states.append(state_of(module))
        handle.remove()
    assert states[0].hooks != states[1].hooks


def _stepped(module: Any) -> None:
    optimiser = torch.optim.SGD(module.parameters(), lr=0.1)
    module(torch.ones(1, 2)).sum().backward()
    optimiser.step()


def _replaced(module: Any) -> None:
    module[0].weight = nn.Parameter(module[0].weight.detach().clone())


def _moved(module: Any) -> None:
    module[0].weight.data = module[0].weight.data.clone()


def _part(module: Any) -> None:
    module[1][1] = nn.Linear(3, 2)


CHANGES: list[Callable[[Any], Any]] = [
    _stepped, _replaced, _moved, _part, lambda m: m.double(),
    lambda m: nn.init.zeros_(m[1][1].bias), lambda m: m.load_state_dict(made().state_dict()),
]  # fmt: skip


@pytest.mark.parametrize("change", CHANGES)
def test_other_weights_are_another_state(change: Callable[[Any], Any]) -> None:
    module = made()
    before = state_of(module)
    change(module)
    assert state_of(module) != before


def test_a_run_and_a_gradient_leave_it_as_it_was() -> None:
    module = made()
    before = state_of(module)
    module(torch.ones(4, 2)).sum().backward()
    for parameter in module.parameters():
        parameter.requires_grad_(False)
    module.train()
    assert state_of(module) == before


def test_weights_that_count_nothing_are_no_obstacle() -> None:
    with torch.inference_mode():
        module = made()
    assert len(state_of(module).weights) == 4


KINDS = [torch.float64, torch.float32, torch.bfloat16, torch.float16, torch.int8, torch.uint8, torch.bool]


def values(kind: torch.dtype) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    drawn = torch.randn(40, 64, generator=generator)
    return drawn > 0 if kind == torch.bool else (50 * drawn.abs()).to(kind)


@pytest.mark.parametrize("kind", KINDS)
def test_contents_tell_values_and_their_order(kind: torch.dtype) -> None:
    tensor = values(kind)
    before = contents([tensor])
    assert contents([tensor.clone()]) == before
    for change in (
        lambda t: t.index_select(0, torch.arange(40).roll(1)),
        lambda t: t.flip(1),
        lambda t: torch.where(torch.arange(t.numel()).reshape(t.shape) == 1234, t == 0, t).to(kind),
        lambda t: t.index_fill(0, torch.tensor([3]), 0),
    ):
        assert contents([change(tensor)]) != before
    assert contents([tensor, tensor]) == before * 2


def test_contents_of_what_is_written_behind_ones_back() -> None:
    module = made()
    state, before = state_of(module), contents(module.parameters())
    module[0].bias.data[1] += 1e-3  # type: ignore[index, union-attr, operator]
    assert state_of(module) == state
    assert contents(module.parameters()) != before


def test_contents_of_strides_of_nothing_and_of_no_number() -> None:
    assert contents([]) == []
    assert contents([torch.zeros(0)]) == [[0.0, 0.0, 0.0]]
    whole = torch.arange(12.0).reshape(3, 4)
    assert contents([whole.T]) != contents([whole])
    assert contents([whole.T]) == contents([whole.T.contiguous()])
    nan = torch.tensor([float("nan")])
    assert contents([nan]) != contents([nan])

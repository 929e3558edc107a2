"""A cone leaves nothing behind in the user's model, whatever happens in it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from commutes import Network
from commutes.engine import Edited, cone_certificate, logits_together
from commutes.features import Subspace
from tests.network.transformers import models as M

from . import cones as C
from .cones import CLOSE

CASES = [("block_output", 1, "last"), ("mlp_output", 2, "last"), ("block_output", 0, "last")]


def everything(model: nn.Module) -> dict[str, object]:
    """What a user could look at: hooks, forwards, modes, gradients, bits, and every attribute's name."""
    found: dict[str, object] = {"seed": torch.get_rng_state().tolist()}
    for path, module in model.named_modules():
        hooks = [
            list(own.values())
            for name, own in vars(module).items()
            if name.endswith("_hooks") and isinstance(own, dict)
        ]
        found[path] = (sorted(vars(module)), hooks, vars(module).get("forward"), module.training)
    for name, parameter in model.named_parameters():
        found[name] = (parameter.requires_grad, parameter.grad is None, id(parameter))
    for name, tensor in (*model.named_parameters(), *model.named_buffers()):
        found[f"{name} bits"] = tensor.detach().view(torch.int64).tolist()
    found["state"] = list(model.state_dict())
    found["config"] = model.config.to_dict()  # type: ignore[operator,union-attr]
    return found


def fresh(family: str = "llama") -> Network:
    """One parameter is the user's to freeze."""
    network = M.network(family)
    next(network.module.parameters()).requires_grad_(False)
    return network


def ready(network: Network) -> list[Edited]:
    prepared, raws = C.ready(network, C.values(True), [[C.site(network, *case)] for case in CASES])
    assert all(one.cone is not None for one in prepared)
    return [C.edited(one, raw) for one, raw in zip(prepared, raws, strict=True)]


@pytest.mark.parametrize("family", C.PADDED)
def test_after_runs_all_is_as_before(family: str) -> None:
    network = fresh(family)
    before = everything(network.module)
    runs = ready(network)
    assert everything(network.module) == before
    raw = C.raws([16])[0].requires_grad_()
    logits_together(runs, columns=torch.tensor([3, 4]))
    map_ = [Subspace(raw, raw)]
    found = logits_together([run._replace(featurizers=map_) for run in runs[:1]])
    found[0].sum().backward()
    assert raw.grad is not None
    assert everything(network.module) == before


class Raises:
    """A map that gives up, in the moment of the edit."""

    def __init__(self, error: BaseException) -> None:
        self.error = error

    def read(self, state: torch.Tensor, /) -> torch.Tensor:
        raise self.error

    def write(self, state: torch.Tensor, old: torch.Tensor, new: torch.Tensor, /) -> torch.Tensor:
        raise self.error


ERRORS = [ValueError("of the user's"), KeyboardInterrupt(), torch.OutOfMemoryError("none left")]


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_after_an_error_in_an_edit(error: BaseException) -> None:
    network = fresh()
    before = everything(network.module)
    runs = ready(network)
    broken = [*runs[:2], runs[2]._replace(featurizers=[Raises(error)])]
    with pytest.raises(type(error)):
        logits_together(broken, columns=torch.tensor([3, 4]))
    assert everything(network.module) == before
    with torch.no_grad():
        assert all(
            (found - C.whole(run)).abs().max() < CLOSE
            for found, run in zip(logits_together(runs), runs, strict=True)
        )


def interrupted(network: Network, path: str, error: BaseException, during: Callable[[], object]) -> None:
    """Runs `during` while a module raises; all is then as it was."""

    def fail(*_: object, **__: object) -> None:
        raise error

    before = everything(network.module)
    # A forward of its own, no hook: with hooks a network runs whole.
    own = network.module.get_submodule(path).__dict__
    own["forward"] = fail
    try:
        with pytest.raises(type(error)):
            during()
        assert own["forward"] is fail
    finally:
        del own["forward"]
    assert everything(network.module) == before


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("path", ["model.layers.2.mlp.act_fn", "model.layers.1", "model.norm", "lm_head", ""])
def test_after_an_error_in_the_model(path: str, error: BaseException) -> None:
    network = fresh()
    runs = ready(network)
    interrupted(network, path, error, lambda: logits_together(runs, columns=torch.tensor([3])))


def test_after_an_error_in_a_base_run_and_in_the_trial() -> None:
    network = fresh()
    interrupted(network, "model.layers.1.mlp", KeyboardInterrupt(), lambda: ready(network))
    ready(network)
    interrupted(network, "model.layers.1.mlp", KeyboardInterrupt(), lambda: ready(network))
    # A trial that fails is no error: the network runs whole.
    other = fresh("qwen3")
    before = everything(other.module)
    mlp = other.module.get_submodule("model.layers.1.mlp")
    mlp.__dict__["forward"] = _one_row_only(mlp.forward)
    found = cone_certificate(other, other.encode(C.values(True)))
    del mlp.__dict__["forward"]
    assert (found.holds, found.reason) == (False, "ValueError: one row is too few")
    assert everything(other.module) == before


def test_memory_that_runs_out_in_the_trial_says_nothing_about_the_model() -> None:
    network = fresh()
    error = torch.OutOfMemoryError("none left")
    inputs = network.encode(C.values(True))
    interrupted(network, "model.layers.1.mlp", error, lambda: cone_certificate(network, inputs))
    assert cone_certificate(network, inputs).holds


def _one_row_only(own: Callable[[torch.Tensor], torch.Tensor]) -> Callable[[torch.Tensor], torch.Tensor]:
    def forward(state: torch.Tensor) -> torch.Tensor:
        if len(state) == 1:
            raise ValueError("one row is too few")
        return own(state)

    return forward


@pytest.mark.parametrize("layer", [0, 1, 2])
def test_a_forward_of_the_users_own_is_honoured_and_left(layer: int) -> None:
    """As libraries install it that move weights about: on the instance, around the class's own."""
    network = M.network("llama")
    block: Any = network.module.get_submodule(network.blocks[layer])
    rows: list[int] = []
    old = block.forward

    def own(hidden_states: torch.Tensor, *args: Any, **named: Any) -> torch.Tensor:
        rows.append(len(hidden_states))
        return torch.cos(old(hidden_states, *args, **named))

    block.forward = own
    runs = ready(network)
    rows.clear()
    with torch.no_grad():
        together = logits_together(runs)
        # Four rows join behind block 0, eight behind block 1.
        assert rows == {0: [], 1: [4], 2: [12]}[layer]
        assert vars(block)["forward"] is own
        for found, run in zip(together, runs, strict=True):
            assert (found - C.whole(run)).abs().max() < CLOSE
    plain = C.network("llama")
    (prepared,), (raws,) = C.ready(plain, C.values(True), [[C.site(plain, *CASES[0])]])
    with torch.no_grad():
        assert (logits_together([C.edited(prepared, raws)])[0] - together[0]).abs().max() > 1e-2


def test_the_weights_may_be_frozen_or_not() -> None:
    """Gradients of the map are the same; those of the weights are never computed by a cone."""
    found = []
    for frozen in (False, True):
        network = M.network("llama")
        network.module.requires_grad_(not frozen)
        (prepared,), (raws,) = C.ready(network, C.values(True), [[C.site(network, *CASES[0])]])
        raw = raws[0].clone().requires_grad_()
        run = C.edited(prepared, [raw])
        logits_together([run])[0].square().sum().backward()
        found.append(raw.grad)
        assert all(p.requires_grad is not frozen and p.grad is None for p in network.module.parameters())
    assert torch.equal(*found)  # type: ignore[arg-type]

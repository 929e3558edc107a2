"""Hooks of a user's own take part in every edited run as in a run by hand, whatever of it may be skipped."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn.modules import module as torch_module

from commutes import Network
from commutes.engine import Prepared, certificate, cone_certificate, logits_together, prepare_all
from commutes.errors import EngineError, NetworkError
from tests.network.transformers import models as M

from . import cones as C
from . import decoders, nets
from .cones import CLOSE
from .oracle import Spot
from .test_interchange import rotated

DEPTH = 6
# At every block, and the places of blocks between those that a trial of a cone joins.
CASES: list[tuple[str, int, Any]] = [
    *(("block_output", layer, "last") for layer in range(DEPTH)),
    ("attention_output", 2, "last"), ("mlp_output", 4, "{b[last]}"),
]  # fmt: skip


def network(family: str) -> Network:
    sizes: dict[str, Any] = {"n_layer" if family == "gpt2" else "num_hidden_layers": DEPTH}
    return M.network(family, **sizes)


def _vector(width: int) -> torch.Tensor:
    return torch.linspace(-2, 2, width, dtype=torch.float64)


def steer(_module: Any, _args: Any, output: torch.Tensor) -> torch.Tensor:
    return output + _vector(output.shape[-1])


def named(_module: Any, _args: Any, _named: Any, output: torch.Tensor) -> torch.Tensor:
    return output * 1.5


def before(_module: Any, args: Any) -> Any:
    return (args[0] + _vector(args[0].shape[-1]), *args[1:])


def before_named(_module: Any, args: Any, named: Any) -> Any:
    return before(_module, args), named


def ablate(_module: Any, _args: Any, output: torch.Tensor) -> torch.Tensor:
    """A token of fixed place."""
    output = output.clone()
    output[:, 0] = 0
    return output


HOOKS: dict[str, Callable[[nn.Module], Any]] = {
    "adds a vector": lambda m: m.register_forward_hook(steer),
    "with names": lambda m: m.register_forward_hook(named, with_kwargs=True),
    "before": lambda m: m.register_forward_pre_hook(before),
    "before, with names": lambda m: m.register_forward_pre_hook(before_named, with_kwargs=True),
    "a token of fixed place": lambda m: m.register_forward_hook(ablate),
}


def exact(net: Network, cases: Sequence[tuple[str, int, Any]], family: str) -> list[Prepared]:
    """Every case against plain hooks on single prompts, where the user's fire before ours."""
    prepared, parameters = C.ready(net, C.values(False), [[C.site(net, *case)] for case in cases])
    runs = [C.edited(one, raws) for one, raws in zip(prepared, parameters, strict=True)]
    alone = C.Alone(net, C.values(False))
    spots = [C.spot(family, False, *case) for case in cases]
    clean = alone.clean(spots)
    with torch.no_grad():
        for i, found in enumerate(logits_together(runs)):
            expected = alone.swapped([i], spots, [runs[i].featurizers[0].writer], clean)  # type: ignore[attr-defined]
            assert (found - expected).abs().max() < CLOSE
    return prepared


@pytest.mark.parametrize("kind", HOOKS)
@pytest.mark.parametrize("family", ["gpt2", "llama"])
def test_hooks_on_a_block_act_once(family: str, kind: str) -> None:
    net = network(family)
    path = net.blocks[1]
    handle = HOOKS[kind](net.module.get_submodule(path))
    prepared = exact(net, CASES, family)
    assert {one.route for one in prepared} == {f"whole runs; no cone: there are hooks on {path}"}
    # Without them cones again, and no word of the trial that was not made.
    handle.remove()
    assert all(one.cone is not None for one in exact(net, CASES, family))


@pytest.mark.parametrize("path", ["", "model.embed_tokens", "model.layers.3.mlp", "model.norm", "lm_head"])
def test_hooks_around_and_in_the_blocks(path: str) -> None:
    net = network("llama")

    def louder(_module: Any, _args: Any, output: Any) -> Any:
        if isinstance(output, torch.Tensor):
            return output * 1.5
        output.logits = output.logits + torch.arange(output.logits.shape[-1])
        return output

    handle = net.module.get_submodule(path).register_forward_hook(louder)
    prepared = exact(net, CASES[:2], "llama")
    assert prepared[0].cone is None
    # The logits of some answers only are those of all.
    columns = torch.tensor([5, 3, 7])
    run = C.edited(prepared[0], C.raws([16]))
    with torch.no_grad():
        some, full = logits_together([run], columns=columns)[0], logits_together([run])[0]
    assert torch.equal(some, full[:, columns])
    handle.remove()


def test_hooks_on_every_module() -> None:
    net = network("llama")
    mlp = type(net.module.get_submodule("model.layers.0.mlp"))

    def louder(module: Any, _args: Any, output: Any) -> Any:
        return output * 1.5 if isinstance(module, mlp) else None

    handle = torch_module.register_module_forward_hook(louder)
    try:
        prepared = exact(net, CASES[:3], "llama")
    finally:
        handle.remove()
    assert {one.route for one in prepared} == {"whole runs; no cone: there are hooks on every module"}


def test_a_certificate_is_no_longer_given_once_there_are_hooks() -> None:
    net = network("qwen3")
    inputs = net.encode(C.values(False))
    assert cone_certificate(net, inputs).holds
    handles = [net.module.get_submodule(path).register_forward_hook(steer) for path in net.blocks]
    found = cone_certificate(net, inputs)
    assert (found.holds, found.reason) == (
        False,
        "there are hooks on model.layers.0, model.layers.1 and 4 more modules",
    )
    exact(net, CASES[:2], "qwen3")
    for handle in handles:
        handle.remove()
    assert cone_certificate(net, inputs).holds


@pytest.mark.parametrize("kind", ["adds a vector", "with names", "before", "before, with names"])
@pytest.mark.parametrize(("path", "block"), [("layers.0", 1), ("layers.1", 1), ("layers.2", 2)])
@pytest.mark.parametrize("at_first", [True, False])
def test_hooks_on_blocks_of_any_network(kind: str, path: str, block: int, at_first: bool) -> None:
    case = nets.mlp(blocks="layers")
    net = case.network()
    inputs = net.encode(nets.values())
    edits = [rotated(Spot(f"layers.{block}"), d=5, k=2)]
    if not at_first:
        assert certificate(net, inputs).holds
    handle = HOOKS[kind](case.module.get_submodule(path))
    found = certificate(net, inputs)
    assert (found.holds, found.reason) == (False, f"there are hooks on {path}")
    base, source = nets.pairs(5, seed=4)
    assert nets.prepared(case, edits)[0].block is None
    by_engine = nets.by_engine(case, base, source, edits)
    assert (by_engine - nets.by_oracle(case, base, source, edits)).abs().max() < CLOSE
    handle.remove()
    assert certificate(net, inputs).holds


def _changes(module: nn.Module) -> list[tuple[Callable[[], Any], str]]:
    path, part = next((p, m) for p, m in module.named_modules() if isinstance(m, nn.Linear))
    return [
        (lambda: part.register_forward_hook(steer), f"other hooks than then; now on: {path}"),
        (lambda: nn.init.zeros_(part.weight), "weights that were written into or replaced"),
        (lambda: module.double().float(), "weights that were written into or replaced"),
    ]


@pytest.mark.parametrize("change", range(3))
@pytest.mark.parametrize("kind", ["cone", "resumed", "whole"])
def test_what_changed_since_it_was_prepared_is_refused(kind: str, change: int) -> None:
    if kind == "cone":
        net = M.network("llama")
        (prepared,) = prepare_all(
            net, C.values(False), [[net.site("block_output", layer=1, position="last")]]
        )
        assert prepared.cone is not None
        run = C.edited(prepared, C.raws([16]))
    else:
        net = nets.mlp(blocks="layers" if kind == "resumed" else None).network()
        (prepared,) = prepare_all(net, nets.values(), [[net.site("layers.1")]])
        assert (prepared.block is None) == (kind == "whole")
        run = C.edited(prepared, C.raws([5]))
    assert torch.isfinite(logits_together([run])[0]).all()
    make, got = _changes(net.module)[change]
    make()
    for ask in (lambda: logits_together([run]), lambda: prepared.logits(*run[1:4])):
        with pytest.raises(EngineError) as caught:
            ask()
        assert str(caught.value) == (
            "the network has changed since it was prepared\n"
            f"  where:    {net.name}\n"
            f"  got:      {got}\n"
            "  expected: the module as it was: states of its clean runs are kept\n"
            "  do:       change the module first, and prepare, fit or evaluate then"
        )


def test_hooks_that_are_gone_since_are_refused_too() -> None:
    net = M.network("llama")
    handle = net.module.get_submodule("lm_head").register_forward_hook(steer)
    prepared, raws = C.ready(net, C.values(False), [[net.site("block_output", layer=1, position="last")]])
    run = C.edited(prepared[0], raws[0])
    logits_together([run])
    handle.remove()
    with pytest.raises(EngineError, match="other hooks than then; now on: none"):
        logits_together([run])


def test_one_of_several_that_was_prepared_before_the_change_is_refused() -> None:
    net = M.network("llama")
    sites = [[net.site("block_output", layer=1, position="last")]]
    old, raws = C.ready(net, C.values(False), sites)
    nn.init.constant_(net.module.get_submodule("model.norm").weight, 0.5)  # type: ignore[arg-type]
    new, _ = C.ready(net, C.values(False), sites)
    runs = [C.edited(one[0], raws[0]) for one in (new, old)]
    logits_together(runs[:1])
    with pytest.raises(EngineError, match="the network has changed since it was prepared"):
        logits_together(runs)


def test_padding_is_tried_again_where_there_is_another_hook() -> None:
    model = decoders.model()
    net = Network(model, M.tokenizer(), template=M.PROMPT, answers=M.DIGITS)
    sites = [[net.site("block_output", layer=0, position="last")]]
    prepare_all(net, C.values(True), sites)
    model.register_forward_pre_hook(
        lambda _m, args, named: (args, {**named, "attention_mask": torch.ones_like(named["attention_mask"])}),
        with_kwargs=True,
    )
    with pytest.raises(NetworkError, match="padding changes what the model answers"):
        prepare_all(net, C.values(True), sites)


def test_weights_of_a_fit_are_no_change() -> None:
    """What `forward` is given beside the module's own leaves the module as it was."""
    case = nets.mlp(blocks="layers")
    net = case.network()
    (prepared,) = prepare_all(net, nets.values(), [[net.site("layers.1")]])
    run = C.edited(prepared, C.raws([5]))
    weights = {name: p.detach() * 2 for name, p in net.module.named_parameters()}
    twice = prepared.logits(*run[1:4], weights=weights)
    once = prepared.logits(*run[1:4])
    assert (twice - once).abs().max() > 0.1

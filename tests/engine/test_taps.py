"""Hooks fire as declared, and nothing of them is left."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from torch import nn

from commutes.engine import capture, forward, layouts, observe, prepare
from commutes.errors import EngineError, SiteError
from commutes.features import Neurons
from commutes.network import Moment, Network

from . import nets
from .nets import Case


def _text(call: Callable[[], object], kind: type[Exception]) -> str:
    with pytest.raises(kind) as caught:
        call()
    return str(caught.value)


class Branching(nn.Module):
    """Runs `twice` twice, `never` never, and `sometimes` where an input is large."""

    def __init__(self) -> None:
        super().__init__()
        self.twice = nn.Linear(4, 4)
        self.never = nn.Linear(4, 4)
        self.sometimes = nn.Linear(4, 4)
        self.head = nn.Linear(4, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        large = bool((x > 1e3).any())
        x = self.twice(self.twice(x))
        x = self.sometimes(x) if large else x
        return self.head(x)


def _branching() -> Case:
    return Case(nets.built(Branching), (nets.gaussian(nets.INPUTS, 4),))


def test_a_module_that_runs_twice_wants_to_know_which_call() -> None:
    network = _branching().network()
    assert _text(lambda: prepare(network, nets.values(), [network.site("twice")]), EngineError) == (
        "a module did not fire as declared\n"
        "  where:    twice of Branching\n"
        "  got:      ran 2 times\n"
        "  expected: exactly one call\n"
        "  do:       say which call with call=0 to 1"
    )


def test_a_module_that_never_runs() -> None:
    network = _branching().network()
    assert _text(lambda: prepare(network, nets.values(), [network.site("never")]), EngineError) == (
        "a module did not fire as declared\n"
        "  where:    never of Branching\n"
        "  got:      did not run\n"
        "  expected: exactly one call\n"
        "  do:       name a module that runs: head, twice"
    )


class Once(nn.Module):
    """Runs once, and never again."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(4, 4) for _ in range(3))
        self.runs = 0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.runs += 1
        x = self.layers[0](x)
        if self.runs > 1:
            raise RuntimeError("not again")
        return self.layers[1](x)


def test_a_network_that_cannot_be_run_again_names_what_ran_so_far() -> None:
    network = Case(nets.built(Once), (nets.gaussian(nets.INPUTS, 4),)).network()
    text = _text(lambda: prepare(network, nets.values(), [network.site("layers.2")]), EngineError)
    assert text.endswith(
        "  got:      did not run\n  expected: exactly one call\n  do:       name a module that runs: layers.0"
    )


def test_a_call_beyond_the_last() -> None:
    network = nets.gru().network()
    assert _text(lambda: prepare(network, nets.values(), [network.site("cell", call=4)]), EngineError) == (
        "a module did not fire as declared\n"
        "  where:    cell at call 4 of Gru\n"
        "  got:      ran 4 times\n"
        "  expected: at least 5 calls\n"
        "  do:       say which call with call=0 to 3"
    )


def test_a_weight_that_is_used_without_its_module_running() -> None:
    # nn.MultiheadAttention takes the weight of `out_proj` and never calls it: a hook there would do nothing.
    network = nets.encoder().network()
    site = network.site("layers.0.self_attn.out_proj")
    text = _text(lambda: prepare(network, nets.values(), [site]), EngineError)
    assert text == (
        "a module did not fire as declared\n"
        "  where:    layers.0.self_attn.out_proj of Encoder\n"
        "  got:      did not run\n"
        "  expected: exactly one call\n"
        "  do:       name a module that runs: layers.0.self_attn, layers.1.self_attn, layers.0.norm2, "
        "layers.0.norm1, layers.0.linear2, layers.0.linear1, layers.0.dropout, layers.0.dropout2, "
        "layers.0.dropout1, layers.1.norm2 and 9 more, which `commutes sites SPEC` lists"
    )
    # No hook of the search is left.
    assert not any(module._forward_pre_hooks for module in network.module.modules())


def test_a_module_that_stops_firing_is_noticed_in_the_edited_run() -> None:
    case = _branching()
    case.rows[0][0] = 1e4
    network = case.network()
    ready = prepare(network, nets.values(), [network.site("sometimes")])
    everything, map = nets.everything(2, 4), [Neurons(torch.arange(4))]
    sources = torch.tensor([[1], [2]])
    assert ready.logits(ready.batch(torch.tensor([0, 3]), sources), map, [everything]).shape == (2, 3)
    batch = ready.batch(torch.tensor([3, 4]), sources)
    assert _text(lambda: ready.logits(batch, map, [everything]), EngineError) == (
        "a module did not fire as declared\n"
        "  where:    sometimes of Branching\n"
        "  got:      did not run\n"
        "  expected: exactly one call\n"
        "  do:       name a module that runs: twice, head"
    )


@pytest.mark.parametrize(
    ("read", "got"), [("twice", "ran 2 times"), ("never", "did not run")], ids=["twice", "never"]
)
def test_the_module_that_is_read_fires_once(read: str, got: str) -> None:
    network = _branching().network(read=read)
    fed = network.encode(nets.values())
    assert _text(lambda: forward(network, fed.args, {}, taps={}), EngineError) == (
        "the module that read= names did not fire once\n"
        f"  where:    {read} of Branching\n"
        f"  got:      {got}\n"
        "  expected: exactly one call\n"
        "  do:       name a module that runs once with read=, or let the network return its logits"
    )


def test_observing_runs_as_far_as_the_last_tap_whatever_the_order_of_the_taps() -> None:
    module, counts = nets.counted(nets.mlp().module)
    network = Case(module, nets.mlp().rows).network()
    fed = network.encode(nets.values())
    seen: list[str] = []
    taps = {
        Moment(path, "output", None, None): (lambda t, path=path: seen.append(path))
        for path in ("layers.1", "layers.0")
    }
    observe(network, fed.args, {}, taps=taps)
    assert seen == ["layers.0", "layers.1"]
    assert counts["layers.2"] == counts["head"] == 0
    observe(network, fed.args, {}, taps={})
    assert counts["layers.0"] == 1


# What a place can hold.


class Named(NamedTuple):
    state: torch.Tensor
    count: int


class Odd(nn.Module):
    """Modules that return a named tuple, a list, integers, nothing; and one that is called by keyword."""

    def __init__(self) -> None:
        super().__init__()
        self.named, self.listed, self.whole, self.none = (Answer(kind) for kind in range(4))
        self.keyword = Keyword()
        self.flat = Answer(4)
        self.head = nn.Linear(4, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        named = self.named(x)
        first, second = self.listed(named.state)
        self.whole(x)
        self.none(x)
        self.flat(x)
        return self.head(self.keyword(x=first + second))


class Answer(nn.Module):
    def __init__(self, kind: int) -> None:
        super().__init__()
        self.kind = kind

    def forward(self, x: torch.Tensor) -> Any:
        return [Named(x * 2, 1), [x, x + 1], x.argmax(-1), None, x.sum()][self.kind]


class Keyword(nn.Module):
    def forward(self, *, x: torch.Tensor) -> torch.Tensor:
        return torch.tanh(x)


def _odd() -> Network:
    return Case(nets.built(Odd), (nets.gaussian(nets.INPUTS, 4),)).network()


def _layout_error(**options: Any) -> str:
    network = _odd()
    site = network.site(**options)
    return _text(lambda: layouts(network, network.encode(nets.values()), [site]), SiteError)


def test_a_tuple_wants_to_know_which_member() -> None:
    assert _layout_error(path="named") == (
        "the site is one of several values\n"
        "  where:    named\n"
        "  got:      a tuple of 2: float64 tensor (1, 4), int\n"
        "  expected: item= from 0 to 1\n"
        "  do:       choose one with network.site(path, item=...)"
    )


def test_an_item_beyond_the_tuple() -> None:
    assert "item= from 0 to 1" in _layout_error(path="listed", item=2)


def test_an_item_of_what_is_no_tuple() -> None:
    assert _layout_error(path="head", item=0) == (
        "item= chooses among several values, and there is one\n"
        "  where:    head[0]\n"
        "  got:      float64 tensor (1, 3)\n"
        "  expected: a tuple\n"
        "  do:       leave item= out"
    )


@pytest.mark.parametrize(
    ("options", "got"),
    [
        ({"path": "whole"}, "int64 tensor (1,)"),
        ({"path": "none"}, "None"),
        ({"path": "named", "item": 1}, "int"),
    ],
    ids=["integers", "None", "a number"],
)
def test_a_place_without_activations(options: dict[str, Any], got: str) -> None:
    where = "named[1]" if "item" in options else options["path"]
    assert _layout_error(**options) == (
        "the site holds no activations\n"
        f"  where:    {where}\n"
        f"  got:      {got}\n"
        "  expected: a tensor of floating-point numbers\n"
        "  do:       list the places with `commutes sites SPEC`"
    )


def test_a_module_that_is_called_by_keyword_needs_the_name_of_the_argument() -> None:
    assert _layout_error(path="keyword", side="input") == (
        "the module has no input that can be a site\n"
        "  where:    keyword.input\n"
        "  got:      no positional arguments\n"
        "  expected: at least one tensor passed by position\n"
        "  do:       choose an argument by its name with item='...', or use the output of the module that makes it"
    )


def test_a_module_with_two_inputs_wants_to_know_which() -> None:
    network = nets.tuples().network()
    site = network.site("pair", side="input")
    text = _text(lambda: layouts(network, network.encode(nets.values()), [site]), SiteError)
    assert text == (
        "the site is one of several values\n"
        "  where:    pair.input\n"
        "  got:      2 arguments: float64 tensor (1, 4), float64 tensor (1, 1)\n"
        "  expected: item= from 0 to 1\n"
        "  do:       choose one with network.site(path, item=...)"
    )


@pytest.mark.parametrize(("path", "item"), [("named", 0), ("listed", 1), ("listed", -1)])
def test_named_tuples_and_lists_stay_what_they_are(path: str, item: int) -> None:
    network = _odd()
    site = network.site(path, item=item)
    ready = prepare(network, nets.values(), [site])
    base = torch.arange(nets.INPUTS)
    batch = ready.batch(base, base.flip(0).unsqueeze(1))
    found = ready.logits(batch, [Neurons(torch.arange(4))], [nets.everything(nets.INPUTS, 4)])
    clean = network.module(*ready.inputs.args)
    assert found.shape == clean.shape
    assert not torch.equal(found, clean)


# Nothing is left.


class Failing(nn.Module):
    """An MLP whose second layer fails on demand."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList([nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 4)])
        self.head = nn.Linear(4, 3)
        self.fails = False

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for index, layer in enumerate(self.layers):
            if self.fails and index == 2:
                raise ZeroDivisionError("in the module")
            x = layer(x)
        return self.head(x)


class Bad(Neurons):
    """A featurizer that fails."""

    def read(self, state: torch.Tensor, /) -> torch.Tensor:
        raise KeyError("in the featurizer")


def _own_forward(x: torch.Tensor) -> torch.Tensor:
    return x + 1


def _failing() -> tuple[Case, list[Any]]:
    """A network with hooks, gradients, frozen parameters and a forward of the user's own."""
    case = Case(nets.built(Failing), (nets.gaussian(nets.INPUTS, 4),), {"blocks": "layers"})
    layers = case.module.layers
    case.module(case.rows[0]).sum().backward()
    layers[0].weight.requires_grad_(False)  # type: ignore[index, union-attr]
    layers[1].register_forward_hook(lambda _m, _a, out: out * 2)  # type: ignore[index, union-attr]
    layers[1].register_forward_pre_hook(lambda _m, args: None)  # type: ignore[index, union-attr]
    layers[1].__dict__["forward"] = _own_forward  # type: ignore[index]
    case.module.head.train()  # type: ignore[union-attr]
    return case, nets.state_of(case.module)


def _logits(case: Case, featurizer: Any = None, *, prepare_only: bool = False, **site: Any) -> None:
    network = case.network()
    ready = prepare(network, nets.values(), [network.site(site.pop("path", "layers.1"), **site)])
    if not prepare_only:
        case.module.fails = getattr(case.module, "fails_later", False)  # type: ignore[assignment]
        batch = ready.batch(*nets.pairs(5))
        ready.logits(batch, [featurizer or Neurons(torch.tensor([0]))], [nets.everything(5, 1)])


def test_after_a_run_everything_is_as_it_was() -> None:
    case, before = _failing()
    _logits(case)
    _logits(case, path="layers.2", side="input")
    capture(case.network(), nets.values(), [case.network().site("head")])
    assert nets.state_of(case.module) == before


def test_after_an_exception_in_the_module_everything_is_as_it_was() -> None:
    case, before = _failing()
    case.module.fails = True  # type: ignore[assignment]
    with pytest.raises(ZeroDivisionError, match="in the module"):
        _logits(case)
    assert nets.state_of(case.module) == before


def test_after_an_exception_in_a_resumed_run_everything_is_as_it_was() -> None:
    case, before = _failing()
    case.module.fails_later = True  # type: ignore[assignment]
    with pytest.raises(ZeroDivisionError, match="in the module"):
        _logits(case, path="layers.0")
    assert nets.state_of(case.module) == before


def test_after_an_exception_in_a_featurizer_everything_is_as_it_was() -> None:
    case, before = _failing()
    with pytest.raises(KeyError, match="in the featurizer"):
        _logits(case, Bad(torch.tensor([0])))
    assert nets.state_of(case.module) == before


def test_after_an_exception_in_a_position_function_everything_is_as_it_was() -> None:
    case, before = _failing()

    def position(values: Any) -> Any:
        return values["i"] + None

    with pytest.raises(TypeError):
        _logits(case, position=position)
    assert nets.state_of(case.module) == before


def test_after_a_tap_that_raises_or_a_module_that_does_not_fire_everything_is_as_it_was() -> None:
    case, before = _failing()
    network = case.network()
    fed = network.encode(nets.values())

    def tap(tensor: torch.Tensor) -> None:
        raise OverflowError("in the tap")

    moments = [Moment("layers.0", "output", None, None), Moment("layers.2", "input", None, None)]
    with pytest.raises(OverflowError, match="in the tap"):
        forward(network, fed.args, {}, taps=dict.fromkeys(moments, tap))
    with pytest.raises(EngineError):
        forward(network, fed.args, {}, taps={Moment("layers.0", "output", None, 3): lambda t: None})
    with pytest.raises(AttributeError):
        forward(
            network,
            fed.args,
            {},
            taps={moments[0]: lambda t: None, Moment("gone", "output", None, None): tap},
        )
    assert nets.state_of(case.module) == before


def test_the_users_own_hooks_take_part() -> None:
    case = nets.mlp()
    base, source = nets.pairs(5)
    network = case.network(blocks="layers")
    plain = prepare(network, nets.values(), [network.site("layers.1")])
    every = [nets.everything(5, 5)]
    before = plain.logits(plain.batch(base, source), [Neurons(torch.arange(5))], every)
    case.module.layers[0].register_forward_hook(lambda _m, _a, out: out + 1)  # type: ignore[index, union-attr]
    steered_network = case.network(blocks="layers")
    steered = prepare(steered_network, nets.values(), [steered_network.site("layers.1")])
    found = steered.logits(steered.batch(base, source), [Neurons(torch.arange(5))], every)
    expected = case.module(case.rows[0][source[:, 0]])
    assert (found - expected).abs().max() < 1e-12
    assert not torch.allclose(found, before)


def test_an_argument_that_is_passed_by_name_is_a_site() -> None:
    class ByName(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.part = nn.Bilinear(3, 3, 2)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.part(x, input2=x + 1)

    module = ByName().double()
    network = Network(module, encode=lambda v: nets.gaussian(2, 3, seed=1), answers=[0, 1])
    x = network.encode({"x": np.arange(2)}).args[0]
    moment = Moment("part", "input", "input2", None)
    seen = []

    def doubled(tensor: torch.Tensor) -> torch.Tensor:
        seen.append(tensor)
        return 2 * tensor

    edited = forward(network, (x,), {}, taps={moment: doubled})
    assert torch.equal(seen[0], x + 1)
    assert (edited - module.part(x, 2 * (x + 1))).abs().max() < 1e-12
    site = network.site("part", side="input", item="input3")
    text = _text(lambda: layouts(network, network.encode({"x": np.arange(2)}), [site]), SiteError)
    assert text == (
        "the module is not called with that argument by name\n"
        "  where:    part.input[input3]\n"
        "  got:      input2\n"
        "  expected: the name of an argument that holds a tensor\n"
        "  do:       arguments that are passed by position are chosen with item=0, 1, ..."
    )


def test_a_forward_that_handles_exceptions_does_not_swallow_the_early_stop():
    class Careful(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = nn.Linear(2, 2), nn.Linear(2, 2)
            self.went_on = 0

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            try:
                x = self.first(x)
            except Exception:
                self.went_on += 1
            self.went_on += 1
            return self.second(x)

    module = Careful()
    network = Network(module, encode=lambda v: torch.zeros(3, 2), answers=[False, True])
    capture(network, {"a": np.zeros(3)}, [network.site("first")])
    # One whole run learns the shape; the capture itself stops.
    assert module.went_on == 1

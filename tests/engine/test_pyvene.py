"""Sites in pyvene's words, and the refusal of every one where pyvene would do something else."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from commutes import Network
from commutes.engine import layouts
from commutes.engine.pyvene import Carrier, carrier, first_item, path_of, twin
from commutes.errors import EngineError
from commutes.network import Site
from tests.network.transformers import models as M

WIDTH = 4
VALUES = {"i": np.arange(6)}
ROWS = torch.randn(6, 3, WIDTH, generator=torch.Generator().manual_seed(1))


class Blocks(nn.Module):
    """A little of everything that modules do with tensors."""

    def __init__(self, body: Callable[[Any, torch.Tensor], Any]) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            self.one, self.two, self.head = (nn.Linear(WIDTH, n) for n in (WIDTH, WIDTH, 2))
        self.tap, self.pair, self.named, self.wide = nn.Identity(), Pair(), Named(), Wide()
        self.body = body

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.body(self, x).flatten(1).unflatten(1, (-1, WIDTH)).mean(1))


class Pair(nn.Module):
    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return x * 2, torch.tanh(x)


class Named(nn.Module):
    def forward(self, *, scale: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        return torch.tanh(x) * scale


class Wide(nn.Module):
    """One row of memory for all positions."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.mean(1, keepdim=True).expand(-1, 3, -1)


def network(body: Callable[[Any, torch.Tensor], Any], *, rows: torch.Tensor = ROWS) -> Network:
    module = Blocks(body).eval()
    return Network(module, encode=lambda v: rows[torch.from_numpy(v["i"])], answers=[0, 1])


def where(
    of: Network, site: Site, *, rotated: bool = True, values: dict[str, np.ndarray] = VALUES
) -> Carrier:
    inputs = of.encode(values)
    return carrier(twin(of, inputs), inputs, layouts(of, inputs, [site])[site], rotated=rotated)


def residual(m: Any, x: torch.Tensor) -> torch.Tensor:
    x = m.one(x)
    return x + m.two(m.tap(x))


REFUSED: dict[str, tuple[Callable[[Any, torch.Tensor], Any], dict[str, Any], str]] = {
    "a tensor that is returned as it came in": (residual, {"path": "tap"}, "a tensor that is used elsewhere too"),
    "an input that others read": (
        lambda m, x: m.two(m.one(x)) + m.tap(x),
        {"path": "one", "side": "input"},
        "a tensor that is used elsewhere too",
    ),
    "a call of several": (
        lambda m, x: m.one(torch.tanh(m.one(x))),
        {"path": "one", "call": 0},
        "call 0 of a module; pyvene writes at every call",
    ),
    "another member of a tuple": (
        lambda m, x: sum(m.pair(m.one(x))),
        {"path": "pair", "item": 1},
        "another value: pyvene takes the first",
    ),
    "another argument than the first": (
        lambda m, x: m.named(scale=torch.ones_like(x), x=m.one(x)),
        {"path": "named", "side": "input", "item": "x"},
        "another value: pyvene takes the first",
    ),
    "memory that rows share": (
        lambda m, x: m.wide(m.one(x)) + 1,
        {"path": "wide"},
        "a tensor that cannot be written into",
    ),
    "features on another axis": (
        lambda m, x: m.one(x),
        {"path": "one", "axis": 1},
        "a tensor of shape (batch, 3, 4) with features on axis 1",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_pyvene_would_do_otherwise_is_refused(name: str) -> None:
    body, asked, words = REFUSED[name]
    net = network(body)
    with pytest.raises(EngineError) as caught:
        where(net, net.site(**asked))
    assert "pyvene cannot run this as declared" in str(caught.value)
    assert words in str(caught.value)


def test_an_image_is_refused() -> None:
    rows = torch.randn(6, 2, 3, WIDTH, generator=torch.Generator().manual_seed(1))
    net = network(lambda m, x: m.one(x), rows=rows)
    with pytest.raises(EngineError, match=r"a tensor of shape \(batch, 2, 3, 4\) with features on axis 1"):
        where(net, net.site("one"))


def test_one_map_over_two_modules_is_refused() -> None:
    net = network(lambda m, x: m.two(m.one(x)))
    with pytest.raises(EngineError, match="one map over several places"):
        where(net, net.site("one", position=0) + net.site("two", position=0))


def test_hooks_that_pyvene_would_take_away_are_refused() -> None:
    net = network(lambda m, x: m.two(m.one(x)))
    handle = net.module.get_submodule("two").register_forward_hook(lambda *_: None)
    with pytest.raises(EngineError, match="a forward hook on two; pyvene removes every hook when it runs"):
        where(net, net.site("one"))
    handle.remove()
    assert where(net, net.site("one")).component == "module.one.output"


def test_a_network_on_several_devices_is_refused() -> None:
    net = network(lambda m, x: m.one(x))
    inputs = net.encode(VALUES)
    net.module.get_submodule("two").to("meta")
    with pytest.raises(EngineError, match="modules on cpu and meta; pyvene looks up positions on one device"):
        twin(net, inputs)


def test_the_same_places_where_nothing_else_reads_them_are_taken() -> None:
    """The refusals are of what the modules do, not of their kind."""
    net = network(lambda m, x: m.two(m.tap(m.one(x))))
    assert where(net, net.site("tap")).component == "module.tap.output"
    net = network(lambda m, x: sum(m.pair(m.one(x))))
    assert where(net, net.site("pair", item=0)).component == "module.pair.output"
    net = network(lambda m, x: m.named(scale=torch.ones_like(x), x=m.one(x)))
    assert where(net, net.site("named", side="input", item="scale")).component == "module.named.input"
    net = network(lambda m, x: m.two(m.one(x)), rows=ROWS[:, 0])
    flat = where(net, net.site("one"))
    assert (flat.count, flat.rows, flat.locations(None, 2)) == (None, WIDTH, None)


def test_which_value_pyvene_would_take() -> None:
    net = network(lambda m, x: sum(m.pair(m.one(x))) + m.named(scale=torch.ones_like(x), x=x))
    inputs = net.encode(VALUES)
    assert first_item(net, inputs, "pair", "output") == 0
    assert first_item(net, inputs, "pair", "input") is None
    assert first_item(net, inputs, "named", "input") == "scale"
    assert first_item(net, inputs, "one", "output") is None


def test_neurons_are_the_same_at_every_position() -> None:
    net = network(lambda m, x: m.two(m.one(x)))
    place = where(net, net.site("one", part=[3, 1], position=[0, 2]), rotated=False)
    assert place.neurons([1, 3]) == [1]
    assert place.neurons([0, 1, 2, 3]) == [3, 1]
    with pytest.raises(EngineError, match="neurons that differ from position to position"):
        place.neurons([0, 3])


def test_a_part_is_carried_by_the_whole_with_zeros() -> None:
    net = network(lambda m, x: m.two(m.one(x)))
    place = where(net, net.site("one", part=[3, 1], position=[0, 2]))
    basis = torch.arange(8.0).reshape(4, 2)
    spread = place.spread(basis)
    assert spread.shape == (place.rows, 2) == (8, 2)
    assert torch.equal(spread[[3, 1, 7, 5]], basis)
    assert not spread[[0, 2, 4, 6]].any()


HEADS = {"gpt2": 4, "llama": 6}


@pytest.mark.parametrize("family", HEADS)
def test_heads_go_by_their_name_where_one_map_is_shared_by_positions(family: str) -> None:
    net = M.network(family)
    values = {"a": np.array([12, 30]), "b": np.array([4, 67])}
    one = where(net, net.site("head_query_output", layer=1, head=[3, 1], position="last"), values=values)
    assert (one.component, one.layer, one.unit, one.heads) == ("head_query_output", 1, "h.pos", (3, 1))
    assert one.rows == 2 * HEADS[family]
    assert one.locations(torch.tensor([[5], [4]]), 2) == [[[3, 1], [3, 1]], [[5], [4]]]
    # Positions strung together pyvene cannot do by heads: the whole tensor carries them, with zeros.
    site = net.site("head_attention_value_output", layer=1, head=1, position=["last", "{a[last]}"])
    two = where(net, site, values=values)
    assert (two.component, two.unit, two.heads) == ("attention_value_output", "pos", None)
    assert two.rows == 2 * 4 * HEADS[family]


def test_places_of_families_that_pyvene_does_not_know_go_by_their_path() -> None:
    net = M.network("phi3")
    values = {"a": np.array([12]), "b": np.array([4])}
    found = where(net, net.site("mlp_output", layer=2, position="last"), values=values)
    assert (found.component, found.layer) == ("model.layers.2.mlp.output", 0)
    assert path_of(net.module, found.component, 0) == ("model.layers.2.mlp", "output")
    assert path_of(net.module, "model.layers[2].mlp.input", 0) == ("model.layers.2.mlp", "input")


def test_a_slice_needs_a_network_that_knows_it() -> None:
    net = M.network("gpt2")
    assert path_of(net.module, "mlp_output", 1) == ("transformer.h.1.mlp", "output")
    with pytest.raises(EngineError, match="key_output, a slice of a module"):
        path_of(net.module, "key_output", 1)

"""Where pyvene 0.1.8 silently does something else than is declared: positions, sources and places.

Each test shows what pyvene does, what this library does and what plain hooks say, so that it fails on the day when
pyvene is mended: the entry in docs/pyvene.md goes then, and so does the refusal in engine/pyvene.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from commutes import Network
from commutes.engine import capture, layouts, prepare
from commutes.engine.pyvene import carrier, pyvene, twin
from commutes.errors import EngineError, SiteError
from commutes.features import Neurons
from tests.network.transformers import models as M
from tests.parity import rows as R
from tests.parity.rows import BASE, CLOSE, FAR, SOURCE, N, gap

# Positions.


def test_a_common_position_once_makes_all_later_ones_common() -> None:
    """A call with one position for all examples switches the model to a "fast" path for good. Later calls with
    positions of their own read at each example's, and write at the first example's.
    """
    model, w = M.model("gpt2"), R.basis(2)
    places = [[0], [2], [4], [5]]
    expected = R.oracle(model, (R.BLOCK, "output", R.swap(w, places)))
    other = R.intervenable(model, R.at(1, R.low_rank(w)))
    own = {"sources->base": ([places], [places])}
    assert gap(R.theirs(other, [R.inputs(SOURCE)], own), expected) < CLOSE
    R.theirs(other, [R.inputs(SOURCE)], {"sources->base": 3})
    assert gap(R.theirs(other, [R.inputs(SOURCE)], own), expected) > FAR
    net = R.network(model)
    common = net.site(R.BLOCK, position=3)
    R.ours(net, [common], [R.rotated(w)])
    site = net.site(R.BLOCK, position=lambda v: np.array(places)[v["i"] % N])
    assert gap(R.ours(net, [site], [R.rotated(w)]), expected) < CLOSE


def test_two_positions_are_read_as_one_of_the_source_and_one_of_the_base() -> None:
    """`[0, 5]` is position 0 of the source written to position 5 of the base; `[0, 3, 5]` is three positions."""
    model, w = M.model("gpt2"), R.basis(2)
    other = R.intervenable(model, R.at(1, R.low_rank(w)))
    found = R.theirs(other, [R.inputs(SOURCE)], {"sources->base": [0, 5]})

    def from_0_to_5(h: torch.Tensor, s: torch.Tensor) -> torch.Tensor:
        h[:, 5] = h[:, 5] + (s[:, 0] - h[:, 5]) @ w @ w.T
        return h

    assert gap(found, R.oracle(model, (R.BLOCK, "output", from_0_to_5))) < CLOSE
    expected = R.oracle(model, (R.BLOCK, "output", R.swap(w, [0, 5])))
    assert gap(found, expected) > FAR
    net = R.network(model)
    both = net.site(R.BLOCK, position=[0, 5], each=True)
    assert gap(R.ours(net, [both], [R.rotated(w)]), expected) < CLOSE


def test_positions_count_the_padding() -> None:
    """In a batch padded on the left, position 0 of a shorter prompt is padding: the swap does nothing to it."""
    net, w = M.network("gpt2"), R.basis(2)
    model: Any = net.module
    values = {"a": np.array([3, 45]), "b": np.array([4, 67])}
    batch = net.encode(values)
    base, source = ({k: t[rows].clone() for k, t in batch.kwargs.items()} for rows in ([0, 1], [1, 0]))
    # The shorter prompt, "3+4=", has two tokens of padding before it; its source "45+67=" has none.
    assert base["attention_mask"].tolist() == [[0, 0, 1, 1, 1, 1], [1, 1, 1, 1, 1, 1]]
    other = R.intervenable(M.model("gpt2"), R.at(1, R.low_rank(w)))
    with torch.no_grad():
        found = other(base, [source], {"sources->base": 0})[1].logits[:, -1]
        clean = model(**batch.kwargs).logits[:, -1]
    assert gap(found[0], clean[0]) < CLOSE
    alone, there = (
        {"input_ids": batch.kwargs["input_ids"][i : i + 1, skip:]} for i, skip in ((0, 2), (1, 0))
    )
    expected = R.oracle(model, (R.BLOCK, "output", R.swap(w, [0])), base=alone, source=there)[0]
    assert gap(found[0], expected) > FAR
    site = net.site("block_output", layer=1, position=0)
    ready = prepare(net, values, [site])
    pairs = ready.batch(torch.tensor([0]), torch.tensor([[1]]))
    mine = ready.logits(pairs, [R.rotated(w)], [torch.ones(1, 1, 2, dtype=torch.bool)])[0]
    assert gap(mine, expected) < CLOSE


def test_a_map_of_heads_is_shared_by_positions_and_one_of_positions_is_not() -> None:
    """Two positions of unit "pos" are one vector, which the map must be wide enough for; two positions of unit
    "h.pos" are two vectors that go through the same map.
    """
    model, narrow, wide = M.model("gpt2"), R.basis(2, 4), R.basis(2, 32)
    heads = R.intervenable(
        model, R.at(1, R.low_rank(narrow), component="head_attention_value_output", unit="h.pos")
    )
    where = [[[3]] * N, [[2, 4]] * N]
    found = R.theirs(heads, [R.inputs(SOURCE)], {"sources->base": ([where], [where])})

    def shared(h: torch.Tensor, s: torch.Tensor) -> torch.Tensor:
        for p in (2, 4):
            h[:, p, 12:] = h[:, p, 12:] + (s[:, p, 12:] - h[:, p, 12:]) @ narrow @ narrow.T
        return h

    out = f"{R.BLOCK}.attn.c_proj"
    assert gap(found, R.oracle(model, (out, "input", shared))) < CLOSE
    blocks = R.intervenable(model, R.at(1, R.low_rank(wide), max_number_of_units=2))
    found = R.theirs(blocks, [R.inputs(SOURCE)], {"sources->base": R.everywhere([2, 4])})

    def together(h: torch.Tensor, s: torch.Tensor) -> torch.Tensor:
        mine, there = h[:, [2, 4]].flatten(1), s[:, [2, 4]].flatten(1)
        h[:, [2, 4]] = (mine + (there - mine) @ wide @ wide.T).unflatten(1, (2, 16))
        return h

    assert gap(found, R.oracle(model, (R.BLOCK, "output", together))) < CLOSE
    # Here it is said with each=, of heads and of all other places alike.
    net = R.network(model)
    for path, part, side, each, w, change in (
        (out, slice(12, 16), "input", True, narrow, shared),
        (R.BLOCK, None, "output", False, wide, together),
    ):
        site = net.site(path, part=part, side=side, position=[2, 4], each=each)  # type: ignore[arg-type]
        expected = R.oracle(model, (path, side, change))
        assert gap(R.ours(net, [site], [R.rotated(w)]), expected) < CLOSE


# Sources.


def test_without_a_source_nothing_is_done() -> None:
    """A forgotten source is no error: what is called the intervened output is the clean one."""
    model = M.model("gpt2")
    other = R.intervenable(model, R.at(1, R.low_rank(R.basis(2))))
    with torch.no_grad():
        assert torch.equal(R.theirs(other, None, {"base": 3}), model(**BASE).logits[:, -1])
    net = R.network(model)
    ready = prepare(net, {"i": np.arange(N)}, [net.site(R.BLOCK, position=3)])
    with pytest.raises(EngineError, match="bases and sources do not fit together"):
        ready.batch(torch.arange(N), torch.zeros(0, 1, dtype=torch.long))


def test_one_source_is_stretched_over_all_bases() -> None:
    """A batch of one source is broadcast over four bases without a word."""
    model, w = M.model("gpt2"), R.basis(2)
    other = R.intervenable(model, R.at(1, R.low_rank(w)))
    first = {"input_ids": SOURCE["input_ids"][:1].clone()}
    found = R.theirs(other, [first], {"sources->base": ([[[3]]], [[[3]] * N])})
    stretched = {"input_ids": SOURCE["input_ids"][:1].expand(N, -1)}
    assert gap(found, R.oracle(model, (R.BLOCK, "output", R.swap(w, [3])), source=stretched)) < CLOSE
    net = R.network(model)
    ready = prepare(net, {"i": np.arange(2 * N)}, [net.site(R.BLOCK, position=3)])
    with pytest.raises(EngineError, match="nothing is broadcast"):
        ready.batch(torch.arange(N), torch.tensor([[N]]))


def test_one_source_is_taken_for_every_intervention_and_the_callers_list_grows() -> None:
    """With two interventions and one source, both take from it, and the caller's list has two members then."""
    model, v, w = M.model("gpt2"), R.basis(2), R.basis(2, seed=1)
    other = R.intervenable(model, R.at(0, R.low_rank(v)), R.at(2, R.low_rank(w)))
    sources = [R.inputs(SOURCE)]
    found = R.theirs(other, sources, {"sources->base": 3})
    assert len(sources) == 2
    both = R.oracle(
        model,
        ("transformer.h.0", "output", R.swap(v, [3])),
        ("transformer.h.2", "output", R.swap(w, [3])),
    )
    assert gap(found, both) < CLOSE
    net = R.network(model)
    sites = [net.site(f"transformer.h.{layer}", position=3) for layer in (0, 2)]
    # Here a mask says for every coordinate of every site from which source it comes, if from any.
    first = [torch.ones(N, 1, 2, dtype=torch.bool), torch.zeros(N, 1, 2, dtype=torch.bool)]
    only = R.oracle(model, ("transformer.h.0", "output", R.swap(v, [3])))
    assert gap(R.ours(net, sites, [R.rotated(v), R.rotated(w)], first), only) < CLOSE
    assert gap(R.ours(net, sites, [R.rotated(v), R.rotated(w)]), both) < CLOSE


# Places.


class Table(nn.Module):
    """Plain modules, and what pyvene asks of a model."""

    def __init__(self) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            self.one, self.two, self.unused = (nn.Linear(4, 4).double() for _ in range(3))
        self.named = Scaled()
        self.config, self.device = {}, torch.device("cpu")

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.two(self.named(scale=torch.full_like(x, 2.0), x=self.one(x)))


class Scaled(nn.Module):
    def forward(self, *, scale: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        return torch.tanh(x) * scale


X = torch.randn(2 * N, 4, generator=torch.Generator().manual_seed(2), dtype=torch.float64)


def table(model: Table, component: str) -> torch.Tensor:
    """pyvene's plain swap of all features."""
    vanilla = pyvene().VanillaIntervention(embed_dim=4)
    other = R.intervenable(model, pyvene().RepresentationConfig(component=component, intervention=vanilla))
    with torch.no_grad():
        return other({"x": X[:N].clone()}, [{"x": X[N:].clone()}])[1]


def table_network(model: Table) -> Network:
    return Network(model, encode=lambda v: X[torch.from_numpy(v["i"])], answers=[0, 1])


def test_a_module_that_does_not_run_is_no_error() -> None:
    """A hook that never fires leaves the clean run, which is returned as the intervened one."""
    model = Table()
    with torch.no_grad():
        assert torch.equal(table(model, "unused.output"), model(X[:N]))
    net = table_network(model)
    with pytest.raises(EngineError, match="a module did not fire as declared"):
        prepare(net, {"i": np.arange(N)}, [net.site("unused")])


def test_the_first_argument_by_name_is_taken_for_the_state() -> None:
    """Of a module that is called with arguments by name pyvene swaps the first, here a constant."""
    model = Table()
    with torch.no_grad():
        clean = model(X[:N])
        expected = model.two(torch.tanh(model.one(X[N:])) * 2)
    assert torch.equal(table(model, "named.input"), clean)
    assert gap(expected, clean) > FAR
    net = table_network(model)
    site = net.site("named", side="input", item="x")
    ready = prepare(net, {"i": np.arange(2 * N)}, [site])
    batch = ready.batch(torch.arange(N), torch.arange(N, 2 * N)[:, None])
    mine = ready.logits(batch, [Neurons(torch.arange(4))], [torch.ones(N, 1, 4, dtype=torch.bool)])
    assert gap(mine, expected) < CLOSE
    with pytest.raises(SiteError, match="the module has no input that can be a site"):
        capture(net, {"i": np.arange(N)}, [net.site("named", side="input")])


@pytest.mark.parametrize(
    ("family", "path", "item"),
    [
        ("olmo2", "model.layers.1.self_attn", "hidden_states"),
        ("olmo2", "model.layers.1.mlp", None),
        ("bert", "bert.encoder.layer.1.attention.self", 0),
    ],
)
def test_the_residual_stream_changes_with_the_input_of_attention(
    family: str, path: str, item: str | int | None
) -> None:
    """pyvene writes into tensors where they lie. What OLMo 2's and BERT's attention and MLP are called with is the
    residual stream itself, so that an edit of their input is one of the stream too.
    """
    model, w = M.model(family), R.basis(2)
    expected = R.oracle(model, (path, "input", R.swap(w, [3])))
    other = R.intervenable(model, R.at(0, R.low_rank(w), component=f"{path}.input"))
    found = R.theirs(other, [R.inputs(SOURCE)], {"sources->base": R.everywhere(3)})
    assert gap(found, expected) > FAR
    if not path.endswith("mlp"):
        # What attention gets is what the whole block got, and the stream goes on with.
        block = path.removesuffix(".attention.self").removesuffix(".self_attn")
        assert gap(found, R.oracle(model, (block, "input", R.swap(w, [3])))) < CLOSE
    net = R.network(model)
    site = net.site(path, side="input", item=item, position=3)
    assert gap(R.ours(net, [site], [R.rotated(w)]), expected) < CLOSE
    inputs = net.encode({"i": np.arange(N)})
    with pytest.raises(EngineError, match="a tensor that is used elsewhere too; pyvene writes into it"):
        carrier(twin(net, inputs), inputs, layouts(net, inputs, [site])[site], rotated=True)


def test_the_callers_inputs_are_written_into() -> None:
    """A model that is called with embeddings has them changed by an edit of its first block's input: the next
    call with the same tensors, of pyvene or of the model, runs other prompts.
    """
    model: Any = M.model("llama")
    w = R.basis(2)
    with torch.no_grad():
        base, source = (model.model.embed_tokens(which["input_ids"]) for which in (BASE, SOURCE))
    kept = base.clone()
    other = R.intervenable(model, R.at(0, R.low_rank(w), component="block_input"))
    with torch.no_grad():
        found = other({"inputs_embeds": base}, [{"inputs_embeds": source}], {"sources->base": 3})[1].logits
        assert gap(base[:, 3], kept[:, 3]) > FAR
        assert torch.equal(model(inputs_embeds=base).logits, found)
    net = Network(
        model, encode=lambda v: {"inputs_embeds": kept[torch.from_numpy(v["i"])]}, answers=[0, 1], read=-1
    )
    before = kept.clone()
    ready = prepare(net, {"i": np.arange(N)}, [net.site("model.layers.0", side="input", position=3, item=0)])
    batch = ready.batch(torch.arange(N), torch.arange(N).flip(0)[:, None])
    ready.logits(batch, [R.rotated(w)], [torch.ones(N, 1, 2, dtype=torch.bool)])
    assert torch.equal(kept, before)
    assert all(
        torch.equal(ready.inputs.kwargs[k], t) for k, t in net.encode({"i": np.arange(N)}).kwargs.items()
    )


@pytest.mark.parametrize("head", [None, 3])
def test_widths_come_from_a_table_and_a_swap_of_more_is_a_swap_of_a_part(head: int | None) -> None:
    """Llama with an explicit head width: 4 heads of 6 are 24 features, of which pyvene takes hidden_size, 16, and
    of one head hidden_size / heads, 4 of 6. The plain swap is then of a part, and silently so.
    """
    model = M.model("llama")
    pv_kind = "attention_value_output" if head is None else "head_attention_value_output"
    config = pyvene().IntervenableConfig(
        [pyvene().RepresentationConfig(1, pv_kind, "pos" if head is None else "h.pos", 1)],
        intervention_types=pyvene().VanillaIntervention,
    )
    other = pyvene().IntervenableModel(config, model)
    heads = [[[3]] * N, [[2]] * N]
    where = R.everywhere(2) if head is None else ([heads], [heads])
    found = R.theirs(other, [R.inputs(SOURCE)], {"sources->base": where})
    start, most, all_ = (0, 16, 24) if head is None else (18, 22, 24)
    path = "model.layers.1.self_attn.o_proj"

    def until(stop: int) -> R.Swap:
        def change(h: torch.Tensor, s: torch.Tensor) -> torch.Tensor:
            h[:, 2, start:stop] = s[:, 2, start:stop]
            return h

        return change

    expected = R.oracle(model, (path, "input", until(all_)))
    assert gap(found, R.oracle(model, (path, "input", until(most)))) < CLOSE
    assert gap(found, expected) > FAR
    net = R.network(model)
    site = net.site(path, side="input", part=slice(start, all_), position=2)
    assert gap(R.ours(net, [site], [Neurons(torch.arange(all_ - start))]), expected) < CLOSE


def test_a_layer_beside_a_path_is_ignored() -> None:
    """`layer=2` with the path of layer 0's MLP edits layer 0."""
    model, w = M.model("gpt2"), R.basis(2)
    other = R.intervenable(model, R.at(2, R.low_rank(w), component="transformer.h[0].mlp.output"))
    found = R.theirs(other, [R.inputs(SOURCE)], {"sources->base": R.everywhere(3)})
    assert gap(found, R.oracle(model, ("transformer.h.0.mlp", "output", R.swap(w, [3])))) < CLOSE
    with pytest.raises(SiteError, match="layer= and head= go with a name"):
        M.network("gpt2").site("transformer.h.0.mlp", layer=2)


def test_every_pitfall_stands_on_the_page_and_the_page_names_no_other() -> None:
    page = (Path(__file__).parents[2] / "docs" / "pyvene.md").read_text()
    named = re.findall(r"`(test_\w+)`", page)
    here = [Path(__file__), Path(__file__).with_name("test_pyvene_maps_pitfalls.py")]
    text = "".join(file.read_text() for file in here)
    written = re.findall(r"^def (test_(?!every_pitfall)\w+)", text, re.MULTILINE)
    assert sorted(named) == sorted(written)

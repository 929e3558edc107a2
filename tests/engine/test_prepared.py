from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from commutes.engine import BUDGET, Prepared, prepare, prepare_all
from commutes.errors import EngineError, NetworkError, SiteError
from commutes.features import Neurons, rotation
from commutes.network.transformers import _prompt
from tests.network.transformers import models as M

from . import nets
from .nets import Case

PAIRS = 6


def _ready(case: Case, path: str = "layers.1", *, budget: int = BUDGET, **site: Any) -> Prepared:
    network = case.network()
    return prepare(network, nets.values(), [network.site(path, **site)], budget=budget)


def test_what_is_kept() -> None:
    ready = _ready(nets.mlp(blocks="layers"))
    assert ready.block == 1
    assert ready.states is not None
    assert ready.states.shape == (nets.INPUTS, 5)
    assert [s.shape for s in ready.sources.tiers[0].values()] == [(nets.INPUTS, 1, 5)]
    assert ready.inputs.n == nets.INPUTS


def test_what_is_not_kept_beyond_the_budget() -> None:
    states = nets.INPUTS * 5 * 8  # float64
    case = nets.mlp(blocks="layers")
    for budget, sources, block in [
        (0, (), None), (states // 2, (nets.INPUTS // 2,), None),
        (states, (nets.INPUTS,), None), (2 * states, (nets.INPUTS,), 1),
    ]:  # fmt: skip
        ready = _ready(case, budget=budget)
        assert (ready.sources.bounds, ready.block) == (sources, block)


@pytest.mark.parametrize("site", [{}, {"part": [3, 1]}], ids=["all", "a part"])
def test_every_budget_gives_the_same_answers(site: dict[str, Any]) -> None:
    case = nets.mlp(blocks="layers")
    base, source = nets.pairs(PAIRS, 2)
    source[1, 1] = -1
    found = []
    for budget in (0, nets.INPUTS * 5 * 8, BUDGET):
        ready = _ready(case, budget=budget, **site)
        width = next(iter(ready.plan.values())).width
        map = rotation(nets.gaussian(width, 2))
        found.append(ready.logits(ready.batch(base, source), [map], [nets.mask(PAIRS, 2, 2, 0)]))
    assert (found[0] - found[1]).abs().max() < 1e-12
    assert (found[0] - found[2]).abs().max() < 1e-12


def test_a_batch_has_the_rows_that_it_is_asked_for() -> None:
    case = nets.attention(blocks="blocks")
    ready = _ready(case, "blocks.0", position=lambda values: values["i"] % 4)
    base, source = torch.tensor([3, 3, 0]), torch.tensor([[1, -1], [2, 5], [6, 6]])
    batch = ready.batch(base, source)
    assert torch.equal(batch.args[0], case.rows[0][base])
    kept = next(iter(ready.sources.tiers[0].values()))
    assert torch.equal(batch.sources[0][:, 0], kept[source[:, 0]])
    assert torch.equal(batch.sources[0][:, 1], kept[torch.tensor([3, 5, 6])])  # none: the base stands in
    assert batch.positions[0][0].tolist() == [[3], [3], [0]]
    assert ready.states is not None
    assert torch.equal(batch.state[0], ready.states[base])


def test_keyword_inputs() -> None:
    case = nets.mlp()
    network = case.network()
    named = type(network)(
        case.module,
        encode=lambda v: {"x": case.rows[0][torch.from_numpy(v["i"])]},
        answers=[0, 1, 2],
        blocks="layers",
    )
    base, source = nets.pairs(PAIRS)
    found = []
    for n in (network, named):
        ready = prepare(n, nets.values(), [n.site("layers.0")])
        batch = ready.batch(base, source)
        found.append(ready.logits(batch, [Neurons(torch.tensor([1, 2]))], [nets.everything(PAIRS, 2)]))
    assert torch.equal(found[0], found[1])


@pytest.mark.parametrize(
    ("base", "source"), [((4,), (4,)), ((4,), (1, 1)), ((1,), (4, 1)), ((4, 1), (4, 1))], ids=str
)
def test_bases_and_sources_are_never_broadcast(base: tuple[int, ...], source: tuple[int, ...]) -> None:
    ready = _ready(nets.mlp())
    zeros = torch.zeros(base, dtype=torch.long), torch.zeros(source, dtype=torch.long)
    with pytest.raises(EngineError) as caught:
        ready.batch(*zeros)
    assert str(caught.value) == (
        "bases and sources do not fit together\n"
        f"  got:      bases {base}, sources {source}\n"
        "  expected: bases (n,), sources (n, slots)\n"
        "  do:       give every base its own row of sources: nothing is broadcast"
    )


NAN = (
    "the network's clean run is not finite\n"
    "  where:    layers.0.0, example 4\n"
    "  got:      NaN or infinity\n"
    "  expected: finite activations\n"
    "  do:       run the network on that example alone; the intervention is not at fault"
)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_an_example_whose_clean_run_is_not_finite_is_named(value: float) -> None:
    case = nets.mlp()
    case.rows[0][4:, 2] = value
    with pytest.raises(EngineError) as caught:
        _ready(case, "layers.0.0")
    assert str(caught.value) == NAN


def test_it_is_named_also_where_nothing_is_kept() -> None:
    case = nets.mlp()
    case.rows[0][4, 2] = float("nan")
    ready = _ready(case, "layers.0.0", budget=0)
    ready.batch(torch.tensor([0, 1]), torch.tensor([[3], [5]]))
    with pytest.raises(EngineError) as caught:
        ready.batch(torch.tensor([0, 1, 2]), torch.tensor([[6], [4], [3]]))
    assert str(caught.value) == NAN


def test_a_position_is_refused_by_its_place_among_all_inputs() -> None:
    # Captured in pieces, an example's number in its piece would mislead.
    network = nets.attention().network()
    many = {"i": np.arange(9000) % nets.INPUTS, "p": np.where(np.arange(9000) == 8500, 4, 0)}
    site = network.site("blocks.0", position=lambda values: values["p"])
    with pytest.raises(SiteError) as caught:
        prepare(network, many, [site])
    assert str(caught.value) == (
        "a position lies outside the sequence\n"
        "  where:    blocks.0 position by <lambda>, example 8500\n"
        "  got:      position 4\n"
        "  expected: from -4 to 3"
    )
    source = network.site("blocks.0", position=0, source_position=lambda values: values["p"])
    with pytest.raises(SiteError, match="example 8500"):
        prepare(network, many, [source])


def test_the_callers_tensors_are_as_they_were() -> None:
    case = nets.mlp(inplace=True, blocks="layers")
    rows = case.rows[0].clone()
    values = nets.values()
    network = case.network()
    ready = prepare(network, values, [network.site("layers.0.0"), network.site("layers.2")])
    base, source = nets.pairs(PAIRS)
    masks = [nets.everything(PAIRS, 2), nets.everything(PAIRS, 2)]
    raw = nets.gaussian(5, 2)
    kept = [t.clone() for t in (base, source, raw, *masks)]
    batch = ready.batch(base, source)
    sources = [t.clone() for t in batch.sources]
    with torch.no_grad():
        ready.logits(batch, [rotation(raw), Neurons(torch.tensor([0, 1]))], masks)
    assert torch.equal(case.rows[0], rows)
    assert np.array_equal(values["i"], np.arange(nets.INPUTS))
    for one, other in zip(kept, (base, source, raw, *masks), strict=True):
        assert torch.equal(one, other)
    for one, other in zip(sources, batch.sources, strict=True):
        assert torch.equal(one, other)


def test_training_mode_is_refused() -> None:
    case = nets.encoder()
    case.module.layers[1].dropout1.train()  # type: ignore[index, union-attr]
    with pytest.raises(NetworkError) as caught:
        _ready(case, "layers.0")
    assert str(caught.value) == (
        "the network is in training mode\n"
        "  where:    layers.1.dropout1\n"
        "  got:      Dropout in training mode\n"
        "  expected: a network that gives the same answer twice\n"
        "  do:       call module.eval() first"
    )


def test_one_map_and_one_mask_for_every_site() -> None:
    ready = _ready(nets.mlp())
    batch = ready.batch(*nets.pairs(PAIRS))
    with pytest.raises(ValueError, match="zip"):
        ready.logits(batch, [], [nets.everything(PAIRS, 1)])


@pytest.mark.parametrize("budget", [BUDGET, 0])
def test_prompts_are_tokenised_once(budget: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many sites are in words; beyond the budget once more for the inputs of a batch."""
    network = M.network("llama")
    asked: list[int] = []
    old = _prompt.tokenised

    def counted(tokenizer: Any, filled: Any, *, special: bool) -> Any:
        asked.append(len(filled))
        return old(tokenizer, filled, special=special)

    sites = [
        [network.site("block_output", layer=layer, position=position, source_position="{a[first]}")]
        for layer in range(3)
        for position in ("last", "{a[last]}", "{b[last]}", -2)
    ]
    values = {"a": np.arange(10, 90), "b": np.arange(90, 10, -1)}
    monkeypatch.setattr(_prompt, "tokenised", counted)
    prepared = prepare_all(network, values, sites, budget=budget)
    assert asked == [80]
    prepared[0].batch(torch.tensor([3, 3, 5]), torch.tensor([[4], [4], [7]]))
    assert asked == ([80] if budget else [80, 1, 1])
    # Of the positions that they were found with.
    (table,) = prepared[1].positions[sites[1][0]].values()
    assert table.flatten().tolist() == [2] * 80

"""Base states under a budget: what is kept, what is computed again, and that neither makes a difference."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from commutes import Network
from commutes.engine import BUDGET, Prepared, _prepare, logits_together, prepare_all
from commutes.engine._kept import Kept
from commutes.engine._store import Store, bytes_of_tree, rows_of
from commutes.errors import EngineError
from tests.network.transformers import models as M

from . import cones as C

SAME = 1e-12
CASES: list[tuple[str, int, Any]] = [
    ("block_output", 0, "{b[last]}"), ("mlp_output", 1, "last"), ("block_output", 2, "last"),
    ("block_input", 0, "last"),
]  # fmt: skip
N = 8


def inputs(padded: bool = True) -> dict[str, np.ndarray]:
    b = np.array([4, 67, 8, 90, 5, 23, 71, 6] if padded else [40, 67, 81, 90, 57, 23, 71, 62])
    return {"a": np.array([12, 30, 55, 98, 41, 77, 20, 63]), "b": b}


def ready(
    network: Network, budget: int = BUDGET, *, bases: Any = None, sources: Any = None
) -> list[Prepared]:
    sites = [[C.site(network, *case)] for case in CASES]
    return prepare_all(network, inputs(), sites, bases=bases, sources=sources, budget=budget)


def logits(
    prepared: Sequence[Prepared], base: Sequence[int] = range(N), source: Any = None
) -> list[torch.Tensor]:
    """Of all alternatives, sharing forwards; input i has the sources i + 1 and i + 3."""
    source = [((i + 1) % N, (i + 3) % N) for i in base] if source is None else source
    raws = [C.raws([layout.width for layout in one.plan.values()]) for one in prepared]
    with torch.no_grad():
        return logits_together(
            [C.edited(p, raw, base, source) for p, raw in zip(prepared, raws, strict=True)]
        )


def gap(one: Sequence[torch.Tensor], other: Sequence[torch.Tensor]) -> float:
    return max(float((a - b).abs().max()) for a, b in zip(one, other, strict=True))


def kept(prepared: Prepared) -> Kept:
    assert prepared.cone is not None
    return prepared.cone.kept


def used(prepared: Prepared) -> tuple[int, int]:
    """Bytes that sources and base states take."""
    return tuple(
        sum(bytes_of_tree(tier) for tier in store.tiers)
        for store in (prepared.sources, kept(prepared).states)
    )  # type: ignore[return-value]


@pytest.mark.parametrize("family", ["gpt2", "llama", "mistral", "gemma3_text"])
def test_a_budget_changes_what_is_kept_and_nothing_else(family: str) -> None:
    network = C.network(family)
    full = ready(network)
    sources, bases = used(full[0])
    expected = logits(full)
    counts = []
    for budget in (0, sources - 1, sources, sources + bases // 2, sources + bases - 1, sources + bases):
        prepared = ready(network, budget)
        assert sum(used(prepared[0])) <= budget
        assert len({id(kept(one)) for one in prepared}) == 1
        counts.append((sum(prepared[0].sources.bounds), sum(kept(prepared[0]).states.bounds)))
        assert gap(logits(prepared), expected) < SAME
        # Of some inputs in another order, of one twice, of one kept and one not.
        for base in ([7, 0, 3, 3], [5], [0, 7]):
            assert gap(logits(prepared, base), [found[base] for found in expected]) < SAME
    # A source's states are a small part of a base's, and each saves a run: sources come first.
    rest = (sources // N - 1) // (bases // N)
    assert counts == [(0, 0), (N - 1, rest), (N, 0), (N, 4), (N, 7), (N, 8)]


def test_what_is_kept_is_no_more_than_is_needed() -> None:
    """Outputs of the lanes' blocks from the first position on, keys and values behind them before it."""
    network = C.network("llama")
    sites = [[C.site(network, "block_output", 1, "{b[last]}")], [C.site(network, "block_output", 2, "last")]]
    one, two = prepare_all(network, inputs(), sites)
    wanted = kept(one).wanted
    assert kept(one) is kept(two)
    assert (dict(wanted.outputs), wanted.layers, wanted.positions) == ({1: 5, 2: 6}, (2,), 6)
    (tier,) = kept(one).states.tiers
    assert {e: tuple(t.shape) for e, t in tier.outputs.items()} == {1: (8, 2, 16), 2: (8, 1, 16)}
    assert [tuple(t.shape) for t in tier.pairs[2]] == [(8, 2, 6, 6)] * 2
    assert kept(one).states.bounds == (8,)


def test_states_of_two_tiers_and_of_none_make_one() -> None:
    network = C.network("qwen3")
    prepared = ready(network)
    expected = logits(prepared)

    def split(store: Store) -> Store:
        (tier,) = store.tiers
        parts = tuple(rows_of(tier, torch.arange(*ends), store.device) for ends in ((0, 2), (2, 5)))
        return replace(store, tiers=parts, bounds=(2, 5))

    both = replace(kept(prepared[0]), states=split(kept(prepared[0]).states))
    sources = split(prepared[0].sources)
    mixed = [replace(one, sources=sources, cone=replace(one.cone, kept=both)) for one in prepared]  # type: ignore[type-var]
    for base in (range(N), [4, 1, 4], [6, 0], [7, 5, 6], [2, 3], [1, 0]):
        assert gap(logits(mixed, list(base)), [found[list(base)] for found in expected]) < SAME


class _Elsewhere(str):
    """The host under another name."""

    type = "elsewhere"


def test_an_accelerator_spills_into_host_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    network = C.network("gpt2")
    full = ready(network)
    sources, bases = used(full[0])
    expected = logits(full)
    monkeypatch.setattr(Network, "device", property(lambda _: _Elsewhere("cpu")))
    each = bases // N
    for on_device, bounds in ((0, ()), (1, (1, 5)), (2, (2, 8)), (8, (8,))):
        prepared = ready(network, sources + on_device * each)
        assert kept(prepared[0]).states.bounds == bounds
        assert gap(logits(prepared), expected) < SAME
        assert gap(logits(prepared, [6, 1, 3]), [found[[6, 1, 3]] for found in expected]) < SAME


def test_only_announced_bases_and_sources_are_kept() -> None:
    network = C.network("llama")
    expected = logits(ready(network))
    base, source = [5, 2, 2], [(1, 6), (-1, 3), (6, -1)]
    prepared = ready(network, bases=np.array([2, 5, 2]), sources=np.array([[1, 6], [-1, 3], [6, -1]]))
    assert [t.shape[0] for t in prepared[0].sources.tiers[0].values()] == [3] * len(CASES)
    assert kept(prepared[0]).states.bounds == (2,)
    full = ready(network)
    for budget in (0, BUDGET):
        again = ready(network, budget, bases=np.array(base), sources=np.array(source))
        assert gap(logits(again, base, source), logits(full, base, source)) < SAME
    assert gap(logits(full), expected) == 0


def test_the_first_position_is_that_of_the_announced_bases() -> None:
    """Of padded prompts the short ones have {a} further behind."""
    network = C.network("llama")
    site = [[C.site(network, "block_output", 0, "{a[first]}")]]
    starts = [
        prepare_all(network, inputs(), site, bases=np.array(bases))[0].cone.start  # type: ignore[union-attr]
        for bases in ([0, 2, 4], [0, 1])
    ]
    assert starts == [2, 1]


def said(prepared: Prepared, base: Sequence[int], source: Any) -> str:
    with pytest.raises(EngineError) as caught:
        prepared.batch(torch.tensor(base), torch.tensor(source))
    return str(caught.value)


def test_inputs_in_another_role_than_announced_are_refused() -> None:
    network = C.network("llama")
    prepared = ready(network, bases=np.array([2, 5]), sources=np.array([1, 6]))[0]
    assert said(prepared, [5, 3], [[1], [6]]) == (
        "an input is used as a base that was not prepared as one\n"
        "  where:    example 3\n"
        "  got:      an input outside bases=\n"
        "  expected: one of the bases that prepare was told\n"
        "  do:       name it in bases= too, or leave bases= out"
    )
    assert said(prepared, [5, 2], [[-1, 6], [1, 4]]) == (
        "an input is used as a source that was not prepared as one\n"
        "  where:    example 4\n"
        "  got:      an input outside sources=\n"
        "  expected: one of the sources that prepare was told\n"
        "  do:       name it in sources= too, or leave sources= out"
    )


def test_lanes_share_what_is_captured_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond the budget the sources of a step are run once for all the sites of a sweep, a few at a time."""
    network = C.network("llama")
    expected = logits(ready(network))
    prepared = ready(network, 0)
    runs: list[int] = []
    own = _prepare.captured

    def counted(network: Network, inputs: Any, *others: Any, **more: Any) -> Any:
        runs.append(inputs.n)
        return own(network, inputs, *others, **more)

    monkeypatch.setattr(_prepare, "captured", counted)
    found = logits(prepared, [0, 1], [(2, 3), (3, 4)])
    assert runs == [1, 1, 1]
    assert gap(found, logits(ready(network), [0, 1], [(2, 3), (3, 4)])) < SAME
    runs.clear()
    assert gap(logits(prepared), expected) < SAME
    assert runs == [1] * N


def test_what_names_no_input_or_site_is_refused() -> None:
    network = C.network("llama")
    site = C.site(network, "block_output", 1, "last")
    for more, what in (
        ({"bases": np.array([], int)}, "bases= names no input of these"),
        ({"bases": np.array([3, -1])}, "bases= names no input of these"),
        ({"bases": np.array([3, N])}, "bases= names no input of these"),
        ({"sources": np.array([[3, N]])}, "sources= names no input of these"),
        ({"sources": np.array([[3, -2]])}, "sources= names no input of these"),
    ):
        with pytest.raises(EngineError, match=what):
            prepare_all(network, inputs(), [[site]], **more)
    for alternatives in ([], [[site], []]):
        with pytest.raises(EngineError, match="there is no site to edit"):
            prepare_all(network, inputs(), alternatives)
    for sources in ([], [[-1, -1]]):
        (prepared,) = prepare_all(network, inputs(), [[site]], sources=np.array(sources, int))
        assert prepared.batch(torch.tensor([1]), torch.tensor([[-1]])).sources[0].shape == (1, 1, 1, 16)
    with pytest.raises(EngineError, match="there are no pairs to run"):
        prepared.batch(torch.zeros(0, dtype=torch.long), torch.zeros(0, 1, dtype=torch.long))


def test_autocast_is_another_way_through_the_model() -> None:
    network = Network(
        M.model("llama", dtype=torch.float32),
        M.fitting_tokenizer("llama"),
        template=M.prompt("llama"),
        answers=M.DIGITS,
    )
    expected = logits(ready(network))
    with torch.autocast("cpu", torch.bfloat16):
        under = ready(network)
        assert all(one.cone is not None for one in under)
        rough = logits(under)
    assert 1e-6 < gap(rough, expected) < 0.5
    again = ready(network)
    assert all(one.cone is not None for one in again)
    assert gap(logits(again), expected) == 0

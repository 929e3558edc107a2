"""How many pairs are run at once follows from what one of them needs, and a budget of memory holds."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import transformers as hf
from torch.profiler import ProfilerActivity, profile

from commutes import Network
from commutes.engine import Prepared, clean_rows_within, forward, prepare_all, rows_within
from commutes.engine._counted import _Counting, bytes_of
from commutes.engine._kept import _run, keep
from commutes.network.transformers import word_tokenizer
from tests.network.transformers import models as M

from . import cones as C
from . import decoders, nets

N, TOKENS, SLACK = 40, 24, 1.3


def allocated(run: Callable[[], object]) -> int:
    """Bytes that torch's own allocator gave out and had not got back, at most, as its profiler tells."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as found:
        kept = run()
    assert kept is not None
    events: list[Any] = found.profiler.kineto_results.events()  # type: ignore[union-attr, assignment]
    events = sorted((e for e in events if e.name() == "[memory]"), key=lambda e: e.start_ns())
    sizes = [e.nbytes() for e in events]
    return int(max(np.cumsum(sizes), default=0))


def network(layers: int = 4) -> Network:
    """Wide enough for tensors to be more than what lies around them."""
    tokenizer = word_tokenizer(" ".join(str(i) for i in range(300)))
    config = hf.GPT2Config(
        vocab_size=len(tokenizer), n_layer=layers, n_embd=64, n_head=4, n_positions=64, bos_token_id=2, eos_token_id=3
    )  # fmt: skip
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = hf.GPT2LMHeadModel(config).eval()
    words = " ".join(str(100 + i) for i in range(TOKENS - 3))
    return Network(model, tokenizer, template=words + " {a} {b} 7", answers={i: f" {i}" for i in range(10)})


def values() -> dict[str, np.ndarray]:
    return {"a": np.arange(10, 10 + N), "b": np.arange(60, 60 + N)}


def ready(net: Network, layer: int, position: Any, budget: int) -> Prepared:
    site = net.site("block_output", layer=layer, position=position)
    return prepare_all(net, values(), [[site]], budget=budget)[0]


CASES = {
    "kept": (1, "last", 2**30),
    "computed again": (0, "last", 2**12),
    "from the middle on": (0, 3, 2**30),
    "whole": (0, 0, 2**30),
}


@pytest.mark.parametrize("case", CASES)
def test_as_many_pairs_as_fit_take_the_budget(case: str) -> None:
    prepared = ready(network(), *CASES[case])
    raws = C.raws([64])[0].float()
    for share in (4, 12):
        one = _pairs(prepared, raws, 1)
        budget = share * allocated(one)
        rows = rows_within(prepared, budget, slots=2)
        used = allocated(_pairs(prepared, raws, rows))
        assert 2 <= rows <= N
        assert used <= SLACK * budget
        # Nor far less than could be.
        assert 4 * used >= budget


def _pairs(prepared: Prepared, raw: torch.Tensor, rows: int) -> Callable[[], torch.Tensor]:
    base = torch.arange(N - rows, N)

    def run() -> torch.Tensor:
        with torch.no_grad():
            edited = C.edited(
                prepared, [raw], base.tolist(), torch.stack([base - 1, base // 2], dim=1).tolist()
            )
            return prepared.logits(*edited[1:4])

    return run


def test_runs_without_edits_fit_too() -> None:
    net = network()
    inputs = net.encode(values())

    def run(rows: int) -> Callable[[], torch.Tensor]:
        some = inputs.rows(torch.arange(rows))
        return lambda: forward(net, some.args, some.kwargs, taps={})

    with torch.no_grad():
        budget = 8 * allocated(run(1))
        rows = clean_rows_within(net, inputs, budget)
        used = allocated(run(rows))
    assert used <= SLACK * budget
    assert 4 * used >= budget


def test_no_fewer_than_one_and_no_more_than_usual() -> None:
    net = network()
    prepared = ready(net, 1, "last", 2**30)
    usual = net.batch_size(prepared.inputs)
    assert rows_within(prepared, 0) == clean_rows_within(net, prepared.inputs, 0) == 1
    assert rows_within(prepared, 2**40) == clean_rows_within(net, prepared.inputs, 2**40) == usual
    assert usual == 256


def test_more_that_is_skipped_leaves_room_for_more() -> None:
    net = network()
    budget = 2**20
    found = [
        rows_within(ready(net, *case, 2**30), budget) for case in ((0, 0), (0, 3), (0, "last"), (2, "last"))
    ]
    # Skipped positions make a forward smaller. Skipped layers need not: without gradients the prefixes of those that
    # do run are laid out one at a time, so that the last case may only be as large as the third.
    assert found[0] < found[1] < found[2] <= found[3]


def test_other_networks_run_as_many_as_usual() -> None:
    net = nets.mlp().network()
    (prepared,) = prepare_all(net, nets.values(), [[net.site("layers.1")]])
    assert rows_within(prepared, 0) == clean_rows_within(net, prepared.inputs, 0) == net.chunk


@pytest.mark.parametrize("make", [lambda: M.network("bert"), lambda: decoders.network("by name")])
def test_language_models_that_run_whole(make: Callable[[], Network]) -> None:
    net = make()
    site = net.site("block_output", layer=1, position="{b[last]}")
    (prepared,) = prepare_all(net, C.values(False), [[site]])
    assert prepared.cone is None
    assert rows_within(prepared, 0) == 1
    assert rows_within(prepared, 2**40) == 256


def test_only_announced_bases_are_asked_for() -> None:
    net = network()
    site = net.site("block_output", layer=1, position="last")
    for budget in (0, 2**30):
        (prepared,) = prepare_all(
            net, values(), [[site]], bases=np.array([3, 7]), sources=np.array([[5]]), budget=budget
        )
        assert prepared.cone is not None
        assert prepared.cone.kept.states.last.tolist() == [7]
        assert rows_within(prepared, 2**40) == 256


def test_what_is_there_at_the_same_time_is_counted() -> None:
    x = torch.zeros(1000)
    with torch.no_grad(), _Counting() as counting:
        a = x + 1
        b = a.view(10, 100).T  # the same bytes
        del a
        c = b * 2
        del b
        c.add_(1)
        x.mul_(2)  # made outside
        d = [c + i for i in range(3)]
        assert (counting.now, counting.most) == (16_000, 16_000)
        del d, c
        assert counting.now == 0
        e = torch.ones(10)
    assert (counting.now, counting.most) == (40, 16_000)
    del e


def test_states_that_are_computed_again_are_so_a_few_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """By all that a run makes: what is kept of it is the least."""
    net = network()
    module: Any = net.module
    old, rows = module.forward, []

    def counted(*args: Any, **named: Any) -> Any:
        rows.append(len(named["input_ids"]))
        return old(*args, **named)

    full = ready(net, 0, "last", 2**30)
    assert full.cone is not None
    wanted = full.cone.kept.wanted

    def taken(n: int) -> int:
        return bytes_of(lambda: _run(net, full.inputs.rows(torch.arange(n)), wanted))

    each = taken(1)
    # Keys and values of one input in all four layers, and what is kept of it: output, keys and values behind.
    assert each > 4 * (4 * 2 * TOKENS * 64 + 64 + 3 * 2 * (TOKENS - 1) * 64)
    expected = _pairs(full, C.raws([64])[0].float(), N)()
    for fit in (1, 3, 7):
        kept = keep(net, full.inputs, wanted, bases=torch.arange(N), budget=300, room=fit * each)
        assert taken(fit) <= fit * each
        monkeypatch.setitem(module.__dict__, "forward", counted)
        states, where = kept.states.of(torch.arange(N))
        monkeypatch.undo()
        beyond = N - sum(kept.states.bounds)
        assert beyond
        assert rows == [fit] * (beyond // fit) + ([beyond % fit] if beyond % fit else [])
        rows.clear()
        whole, there = full.cone.kept.states.of(torch.arange(N))
        assert (states.outputs[0][where] - whole.outputs[0][there]).abs().max() < 1e-5
        again = ready(net, 0, "last", fit * each)
        assert (_pairs(again, C.raws([64])[0].float(), N)() - expected).abs().max() < 1e-5

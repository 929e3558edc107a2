"""Runs that start behind the first edited block skip what they may, and are refused where they may not."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from torch import nn

from commutes.engine import Resume, certificate, forward, prepare, resume_block
from commutes.network import Moment

from . import nets
from .nets import Case
from .oracle import Edit, Spot
from .test_interchange import CLOSE, rotated

PAIRS = 5


class Chain(nn.Module):
    """Layers and a rule that says what else feeds them."""

    def __init__(self, rule: str) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Sequential(nn.Linear(4, 4), nn.Tanh()) for _ in range(3))
        self.between = nn.Linear(4, 4)
        self.head = nn.Linear(4, 3)
        self.rule = rule

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        start, outputs = x, []
        for index, layer in enumerate(self.layers):
            if self.rule == "by keyword":
                x = layer(input=x)
            else:
                x = layer(x)
            outputs.append(x)
            if self.rule == "a module between":
                x = self.between(x)
            if self.rule == "from the start" and index == 1:
                x = x + self.between(start)
        if self.rule == "a weak skip":
            x = x + 1e-7 * outputs[0]
        if self.rule == "around":
            x = x + outputs[0]
        if self.rule == "twice":
            for layer in self.layers:
                x = layer(x)
        if self.rule == "needs the first":
            x = x + torch.ones(outputs[0].shape[1] - 3, dtype=x.dtype)
        return self.head(x)


class Narrow(nn.Module):
    """Blocks of different widths, with something between them that only fits what the first returns."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(4, 6)
        self.fit = nn.LayerNorm(6)
        self.second = nn.Linear(6, 5)
        self.head = nn.Linear(5, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.second(self.fit(self.first(x))))


def _chain(rule: str) -> Case:
    return Case(
        nets.built(lambda: Chain(rule)), (nets.gaussian(nets.INPUTS, 4, seed=9),), {"blocks": "layers"}
    )


def _edits(path: str, d: int = 4) -> list[Edit]:
    return [rotated(Spot(path), d=d, k=2)]


def _compare(case: Case, edits: Sequence[Edit], block: int | None) -> None:
    base, source = nets.pairs(PAIRS, seed=4)
    assert nets.prepared(case, edits)[0].block == block
    found = nets.by_engine(case, base, source, edits)
    assert (found - nets.by_oracle(case, base, source, edits)).abs().max() < CLOSE


@pytest.mark.parametrize("rule", ["plain", "a module between", "from the start"])
@pytest.mark.parametrize(("path", "block"), [("layers.1", 1), ("layers.2", 2), ("layers.2.0", 1)])
def test_what_may_resume(rule: str, path: str, block: int) -> None:
    case = _chain(rule)
    network = case.network()
    found = certificate(network, network.encode(nets.values()))
    assert (found.holds, found.reason) == (True, "every block: resumed run equals whole run")
    _compare(case, _edits(path), block)


REASONS: dict[str, str] = {
    "around": "resuming behind layers.1 is off by",
    "a weak skip": "resuming behind layers.1 is off by",
    "twice": "block layers.0 cannot be edited alone: a module did not fire as declared",
    "by keyword": "cannot resume behind layers.0:",
}


@pytest.mark.parametrize("rule", REASONS)
@pytest.mark.parametrize("path", ["layers.1", "layers.2.0"])
def test_what_may_not_resume_says_why_and_runs_whole(rule: str, path: str) -> None:
    case = _chain(rule)
    network = case.network()
    found = certificate(network, network.encode(nets.values()))
    assert not found.holds
    assert found.reason.startswith(REASONS[rule])
    if rule != "twice":
        _compare(case, _edits(path), None)


def test_a_list_that_runs_twice_runs_whole_and_is_right() -> None:
    _compare(_chain("twice"), [rotated(Spot("layers.1", call=1), d=4, k=2)], None)
    _compare(_chain("twice"), [rotated(Spot("layers.1", call=0), d=4, k=2)], None)


def test_blocks_that_pass_on_what_does_not_fit_run_whole_and_are_right() -> None:
    case = Case(nets.built(Narrow), (nets.gaussian(nets.INPUTS, 4, seed=9),), {"blocks": ["first", "second"]})
    network = case.network()
    found = certificate(network, network.encode(nets.values()))
    assert found.reason.startswith("cannot resume behind second: ")
    _compare(case, _edits("second", 5), None)


def test_blocks_in_the_wrong_order_run_whole_and_are_right() -> None:
    case = _chain("plain")
    case.options["blocks"] = ["layers.1", "layers.0", "layers.2"]
    network = case.network()
    assert not certificate(network, network.encode(nets.values())).holds
    _compare(case, _edits("layers.0"), None)


def test_blocks_of_images() -> None:
    class Blocks(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.blocks = nn.ModuleList([nn.Conv2d(1, 3, 2), nn.Conv2d(3, 2, 2)])
            self.head = nn.Linear(2, 3)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            for block in self.blocks:
                x = torch.tanh(block(x))
            return self.head(x.mean((2, 3)))

    case = Case(nets.built(Blocks), (nets.gaussian(nets.INPUTS, 1, 5, 4, seed=9),), {"blocks": "blocks"})
    _compare(case, [rotated(Spot("blocks.0", features=(2, 0), position=[1, 7]), d=4, k=2)], 0)
    _compare(case, [rotated(Spot("blocks.1", axis=2, position=[1, 3]), d=6, k=2)], 1)


@pytest.mark.parametrize(
    ("places", "block"),
    [
        ([{"path": "layers.0"}], 0),
        ([{"path": "layers.2"}], 2),
        ([{"path": "layers.2"}, {"path": "layers.1"}], 1),
        ([{"path": "layers.2", "side": "input"}], 1),
        ([{"path": "layers.2.1", "side": "input"}], 1),
        ([{"path": "layers.1", "call": 0}], 0),
        ([{"path": "layers.0.0"}], None),
        ([{"path": "head"}], None),
        ([{"path": "layers.2"}, {"path": ""}], None),
    ],
)
def test_the_block_from_which_runs_resume(places: list[dict[str, object]], block: int | None) -> None:
    case = _chain("plain")
    network = case.network()
    sites = [network.site(**place) for place in places]  # type: ignore[arg-type]
    assert resume_block(network, network.encode(nets.values()), sites) == block
    whole = case.network(blocks=None)
    sites = [whole.site(**place) for place in places]  # type: ignore[arg-type]
    assert resume_block(whole, whole.encode(nets.values()), sites) is None


def _counts(case: Case, path: str, run: Callable[..., object], **options: object) -> dict[str, int]:
    module, counts = nets.counted(case.module)
    counting = Case(module, case.rows, {**case.options, **options})
    edits = _edits(path)
    ready, _ = nets.prepared(counting, edits)
    batch = ready.batch(*nets.pairs(PAIRS))
    before = dict(counts)
    run(ready.logits(batch, [nets.featurizer(edits[0])], [edits[0].mask]))
    return {p: counts[p] - before[p] for p in ("layers.0", "layers.0.0", "layers.1.0", "layers.2.0", "head")}


def test_earlier_blocks_are_really_skipped() -> None:
    def done(logits: torch.Tensor) -> None:
        assert logits.shape == (PAIRS, 3)

    case = _chain("plain")
    # The parts of a skipped block never run, and the block's own state comes from the cache.
    assert _counts(case, "layers.1", done) == {
        "layers.0": 0,
        "layers.0.0": 0,
        "layers.1.0": 0,
        "layers.2.0": 1,
        "head": 1,
    }
    assert _counts(case, "layers.1", done, blocks=None) == {
        "layers.0": 1,
        "layers.0.0": 1,
        "layers.1.0": 1,
        "layers.2.0": 1,
        "head": 1,
    }


@pytest.mark.parametrize(("path", "side", "block"), [("layers.1", "output", 1), ("layers.2", "input", 1)])
def test_a_batch_is_as_it_was_after_a_resumed_run_of_a_network_that_writes_in_place(
    path: str, side: str, block: int
) -> None:
    class Inplace(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layers = nn.ModuleList(nn.Linear(4, 4) for _ in range(3))
            self.head = nn.Linear(4, 3)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x.mul_(3)
            for layer in self.layers:
                x = layer(x).mul_(2).add_(1)
            return self.head(x)

    case = Case(nets.built(Inplace), (nets.gaussian(nets.INPUTS, 4),), {"blocks": "layers"})
    edits = [rotated(Spot(path, side), d=4, k=2)]
    base, source = nets.pairs(PAIRS)
    with torch.no_grad():
        ready, _ = nets.prepared(case, edits)
        assert ready.block == block
        batch = ready.batch(base, source)
        kept = [t.clone() for t in (*batch.args, *batch.state, *batch.sources)]
        first = ready.logits(batch, [nets.featurizer(edits[0])], [edits[0].mask])
        again = ready.logits(batch, [nets.featurizer(edits[0])], [edits[0].mask])
        nothing = ready.logits(batch, [nets.featurizer(edits[0])], [edits[0].mask & False])
    assert torch.equal(first, again)
    assert (first - nets.by_oracle(case, base, source, edits)).abs().max() < CLOSE
    assert (nothing - case.module(case.rows[0][base].clone())).abs().max() < CLOSE
    for one, other in zip(kept, (*batch.args, *batch.state, *batch.sources), strict=True):
        assert torch.equal(one, other)


def test_a_certificate_is_asked_for_once_per_network_and_dies_with_it() -> None:
    module, counts = nets.counted(_chain("plain").module)
    case = Case(module, (nets.gaussian(nets.INPUTS, 4),), {"blocks": "layers"})
    network = case.network()
    inputs = network.encode(nets.values())
    certificate(network, inputs)
    runs = counts["head"]
    assert runs == 2 * 3
    assert certificate(network, inputs) is certificate(network, inputs)
    assert counts["head"] == runs
    gone = weakref.ref(network)
    del network
    gc.collect()
    assert gone() is None


def test_memory_that_runs_out_in_the_trial_says_nothing_about_the_network() -> None:
    case = _chain("plain")
    network = case.network()
    last: Any = case.module.get_submodule("layers.2")

    def fail(_: torch.Tensor) -> None:
        raise torch.OutOfMemoryError("none left")

    last.forward = fail
    with pytest.raises(torch.OutOfMemoryError):
        certificate(network, network.encode(nets.values()))
    del last.forward
    assert certificate(network, network.encode(nets.values())).holds


def test_a_known_state_stands_in_for_the_block() -> None:
    case = _chain("plain")
    network = case.network()
    state = nets.gaussian(nets.INPUTS, 4, seed=77)
    seen: list[torch.Tensor] = []
    tap = {Moment("layers.2", "input", None, None): seen.append}
    found = forward(network, case.rows, {}, taps=tap, start=Resume(1, state))  # type: ignore[arg-type]
    assert torch.equal(seen[0], state)
    assert torch.equal(found, case.module.head(case.module.layers[2](state)))  # type: ignore[operator, index]


def test_one_input_is_enough_for_a_certificate() -> None:
    case = _chain("plain")
    network = case.network()
    ready = prepare(network, {"i": nets.values()["i"][:1]}, [network.site("layers.1")])
    assert ready.block == 1

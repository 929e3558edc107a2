"""Sites that span several moments: two modules, two steps of a recurrent cell."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from . import nets
from .nets import Case
from .oracle import Edit, Spot
from .test_interchange import CLOSE, PAIRS, neurons, rotated

STEPS = tuple(Spot("cell", call=step) for step in range(4))

CASES = {
    "two layers": lambda: (
        nets.mlp(),
        [rotated(Spot("layers.0", features=(0, 3)), Spot("layers.2"), d=7, k=3)],
        1,
    ),
    "two steps": lambda: (nets.gru(), [rotated(STEPS[0], STEPS[2], d=8, k=3, slots=2)], 2),
    "neurons of two steps": lambda: (nets.gru(), [neurons(STEPS[1], STEPS[2], d=8, index=(0, 3, 5))], 1),
    "one map for every step": lambda: (nets.gru(), [rotated(*STEPS[:3], d=4, k=2, each=True)], 1),
    "a step and a site of its own": lambda: (
        nets.gru(),
        [
            rotated(STEPS[1], d=4, k=2, slots=2, seed=3),
            rotated(STEPS[0], STEPS[3], d=8, k=2, slots=2, seed=4),
        ],
        2,
    ),
    "two such sites": lambda: (
        nets.mlp(),
        [
            rotated(Spot("layers.0", features=(0, 1)), Spot("layers.1", features=(0, 1)), d=4, k=2, slots=2),
            rotated(Spot("layers.0", features=(2, 3)), Spot("layers.2"), d=7, k=2, slots=2, seed=9),
        ],
        2,
    ),
    "two places at one moment and one at another": lambda: (
        nets.attention(),
        [
            rotated(
                Spot("blocks.0", position=[0]),
                Spot("blocks.1.up", position=[1], features=(2, 5)),
                Spot("blocks.0", position=[3, 2], features=(1,)),
                d=8,
                k=4,
            )
        ],
        1,
    ),
    "positions per example in two blocks": lambda: (
        nets.attention(),
        [
            rotated(
                Spot("blocks.0", position=[[i % 4] for i in range(nets.INPUTS)]),
                Spot("blocks.1", position=[1], source_position=[2]),
                d=8,
                k=3,
            )
        ],
        1,
    ),
}


@pytest.mark.parametrize("blocks", [False, True], ids=["whole", "blocks"])
@pytest.mark.parametrize("name", CASES)
def test_the_engine_equals_plain_hooks(name: str, blocks: bool) -> None:
    case, edits, slots = CASES[name]()
    base, source = nets.pairs(PAIRS, slots, seed=2)
    declared = {"Mlp": "layers", "Attention": "blocks"}.get(type(case.module).__name__)
    found = nets.by_engine(case, base, source, edits, blocks=declared if blocks else None)
    assert (found - nets.by_oracle(case, base, source, edits)).abs().max() < CLOSE


def _whole(case: Case, *spots: Spot, d: int, map: str) -> None:
    base, source = nets.pairs(PAIRS, seed=3)
    mask = nets.everything(PAIRS, d)
    if map == "neurons":
        edit = Edit(spots, nets.one_hot(d, range(d)), nets.one_hot(d, range(d)), mask)
    else:
        edit = Edit(spots, *nets.biorthogonal(d, d, 5), mask)
    found = nets.by_engine(case, base, source, [edit])
    expected = case.logits(case.module(*(row[source[:, 0]] for row in case.rows)))
    assert (found - expected).abs().max() < 1e-9


@pytest.mark.parametrize("map", ["neurons", "a map of the whole space"])
def test_two_whole_layers_from_the_source_give_the_sources_answer(map: str) -> None:
    _whole(nets.mlp(), Spot("layers.0"), Spot("layers.1"), d=10, map=map)


def test_the_last_two_states_of_a_cell_from_the_source_give_its_answer() -> None:
    # The state behind the last step decides: whatever the earlier swap did to it, it is the source's now.
    _whole(nets.gru(), STEPS[2], STEPS[3], d=8, map="neurons")


def test_neurons_are_the_sources_at_every_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    case = nets.gru()
    base, source = nets.pairs(PAIRS, seed=3)
    edit = neurons(STEPS[0], STEPS[2], d=8, index=(1, 6))
    edit.mask[:] = True
    ready, sites = nets.prepared(case, [edit])
    batch = ready.batch(base, source)
    steps: list[torch.Tensor] = []
    cell: Any = case.module.cell

    def looked(x: torch.Tensor, state: torch.Tensor, own: Any = cell.forward) -> torch.Tensor:
        steps.append(state)
        return own(x, state)

    monkeypatch.setitem(cell.__dict__, "forward", looked)
    ready.logits(batch, [nets.featurizer(edit)], [edit.mask])
    after = steps[-4:]  # what the last run gave each step; the run before it only looked
    states = batch.sources[0][:, 0, 0]
    assert torch.equal(after[1][:, 1], states[:, 1])
    assert torch.equal(after[3][:, 2], states[:, 6])
    assert len(sites[0].moments) == 2


@pytest.mark.parametrize("name", [n for n in CASES if "per example" not in n])
def test_a_base_is_its_own_source_bit_for_bit(name: str) -> None:
    case, edits, slots = CASES[name]()
    base = torch.arange(nets.INPUTS)
    masks = [nets.mask(nets.INPUTS, slots, e.mask.shape[2], 1) for e in edits]
    ready, _ = nets.prepared(case, edits)
    batch = ready.batch(base, base.unsqueeze(1).expand(-1, slots))
    with torch.no_grad():  # as in the capture: torch's own cells round otherwise when gradients are recorded
        found = ready.logits(batch, [nets.featurizer(e) for e in edits], masks)
        assert torch.equal(found, case.logits(case.module(*case.rows)))


class Inplace(nn.Module):
    """Writes over what its layers return."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(4, 5)
        self.second = nn.Linear(5, 5)
        self.relu = nn.ReLU(inplace=True)
        self.head = nn.Linear(5, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x.mul_(1.5)
        h = self.first(x)
        g = self.second(self.relu(h))
        h += 10
        return self.head(self.relu(g).add_(h))


def test_a_network_that_writes_in_place_between_the_moments() -> None:
    case = Case(nets.built(Inplace), (nets.gaussian(nets.INPUTS, 4, seed=100),))
    before = case.rows[0].clone()
    base, source = nets.pairs(PAIRS, seed=3)
    for edits in (
        [rotated(Spot("first"), Spot("second"), d=10, k=4)],
        [neurons(Spot("first"), Spot("second"), d=10, index=(0, 2, 7))],
        [rotated(Spot("first"), d=5, k=2)],
        # Something is still to come after the place that is written over.
        [rotated(Spot("first"), Spot("second"), Spot("head"), d=13, k=6)],
        [rotated(Spot("second", "input"), Spot("head", features=(1,)), d=6, k=3)],
    ):
        with torch.no_grad():
            found = nets.by_engine(case, base, source, edits)
            assert (found - nets.by_oracle(case, base, source, edits)).abs().max() < CLOSE
    assert torch.equal(case.rows[0], before)

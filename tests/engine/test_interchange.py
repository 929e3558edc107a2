"""The engine against the plain-hook oracle, in float64, on every family of network."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from commutes.engine import BUDGET, SiteEdit, interchange, layouts
from commutes.errors import EngineError
from commutes.features import Neurons

from . import nets
from .nets import Case
from .oracle import Edit, Spot

PAIRS = 5
CLOSE = 1e-10

Builder = Callable[[], tuple[Case, list[Edit], int]]


def rotated(*spots: Spot, d: int, k: int, slots: int = 1, seed: int = 0, each: bool = False) -> Edit:
    """An oblique subspace of d coordinates at the spots."""
    reader, writer = nets.biorthogonal(d, k, seed)
    return Edit(spots, reader, writer, nets.mask(PAIRS, slots, k, seed + 7), each)


def neurons(*spots: Spot, d: int, index: tuple[int, ...], slots: int = 1, each: bool = False) -> Edit:
    basis = nets.one_hot(d, index)
    return Edit(spots, basis, basis, nets.mask(PAIRS, slots, len(index), 3), each)


PER_INPUT = [[i % 4, (i + 1) % 4] for i in range(nets.INPUTS)]
ELSEWHERE = [[(i + 2) % 4, (i + 3) % 4] for i in range(nets.INPUTS)]
ONE_EACH = [[(3 * i) % 4] for i in range(nets.INPUTS)]

CASES: dict[str, Builder] = {
    "mlp, a rotation": lambda: (nets.mlp(), [rotated(Spot("layers.0"), d=5, k=2)], 1),
    "mlp, neurons": lambda: (nets.mlp(), [neurons(Spot("layers.1"), d=5, index=(3, 0))], 1),
    "mlp, three variables from two sources": lambda: (
        nets.mlp(),
        [rotated(Spot("layers.1"), d=5, k=4, slots=2)],
        2,
    ),
    "mlp, two sites and two sources": lambda: (
        nets.mlp(),
        [
            rotated(Spot("layers.0"), d=5, k=2, slots=2, seed=1),
            neurons(Spot("layers.2"), d=5, index=(1, 4), slots=2),
        ],
        2,
    ),
    "mlp, the input of a module": lambda: (
        nets.mlp(),
        [rotated(Spot("layers.1.1", "input"), d=5, k=3)],
        1,
    ),
    "mlp, a part": lambda: (nets.mlp(), [rotated(Spot("layers.0", features=(4, 1, 2)), d=3, k=2)], 1),
    "mlp, the logits": lambda: (nets.mlp(), [rotated(Spot("head"), d=3, k=1)], 1),
    "mlp, the whole module": lambda: (nets.mlp(), [rotated(Spot(""), d=3, k=2)], 1),
    "mlp, two parts of one module": lambda: (
        nets.mlp(),
        [rotated(Spot("layers.0", features=(0,)), Spot("layers.0", features=(3, 2)), d=3, k=2)],
        1,
    ),
    "cnn, channels at all pixels": lambda: (nets.cnn(), [rotated(Spot("first"), d=27, k=3)], 1),
    "cnn, two channels at three pixels": lambda: (
        nets.cnn(),
        [rotated(Spot("first", features=(2, 0), position=[8, 0, 4]), d=6, k=2)],
        1,
    ),
    "cnn, one map of channels for each pixel": lambda: (
        nets.cnn(),
        [rotated(Spot("first"), d=3, k=1, each=True)],
        1,
    ),
    "cnn, another feature axis": lambda: (
        nets.cnn(),
        [rotated(Spot("first", axis=-1, position=[1, 5]), d=6, k=2)],
        1,
    ),
    "gru, one step": lambda: (nets.gru(), [rotated(Spot("cell", call=1), d=4, k=2)], 1),
    "gru, two steps as two sites": lambda: (
        nets.gru(),
        [
            rotated(Spot("cell", call=0), d=4, k=2, slots=2, seed=1),
            rotated(Spot("cell", call=2), d=4, k=1, slots=2, seed=2),
        ],
        2,
    ),
    "gru, the state that a step is given": lambda: (
        nets.gru(),
        [neurons(Spot("cell", "input", item=1, call=2), d=4, index=(0, 2))],
        1,
    ),
    "attention, the residual stream at a position": lambda: (
        nets.attention(),
        [rotated(Spot("blocks.0", position=[2]), d=4, k=2)],
        1,
    ),
    "attention, a head at all positions": lambda: (
        nets.attention(),
        [rotated(Spot("blocks.0.heads", features=(2, 3)), d=8, k=3)],
        1,
    ),
    "attention, a head and some neurons of the MLP": lambda: (
        nets.attention(),
        [
            rotated(Spot("blocks.0.heads", features=(0, 1), position=[1]), d=2, k=1, slots=2),
            neurons(Spot("blocks.1.up", features=(5, 2, 0), position=[0, 3]), d=6, index=(0, 4, 5), slots=2),
        ],
        2,
    ),
    "attention, positions per example": lambda: (
        nets.attention(),
        [rotated(Spot("blocks.0", position=PER_INPUT), d=8, k=2)],
        1,
    ),
    "attention, other positions in the source": lambda: (
        nets.attention(),
        [rotated(Spot("blocks.0", position=PER_INPUT, source_position=ELSEWHERE), d=8, k=3, slots=2)],
        2,
    ),
    "attention, one fixed position from one per source": lambda: (
        nets.attention(),
        [rotated(Spot("blocks.0", position=[1], source_position=ONE_EACH), d=4, k=2)],
        1,
    ),
    "attention, one map for each position": lambda: (
        nets.attention(),
        [rotated(Spot("blocks.0", position=PER_INPUT), d=4, k=2, each=True)],
        1,
    ),
    "attention, one map for places of two kinds": lambda: (
        nets.attention(),
        [
            rotated(
                Spot("blocks.0.up", features=(0, 1, 2), position=[0]),
                Spot("blocks.0.up", features=(3, 4, 5), position=PER_INPUT),
                d=3,
                k=1,
                each=True,
            )
        ],
        1,
    ),
    "encoder layer, one position": lambda: (
        nets.encoder(),
        [rotated(Spot("layers.0", position=[1]), d=4, k=2)],
        1,
    ),
    "encoder layer, what its attention returns": lambda: (
        nets.encoder(),
        [rotated(Spot("layers.1.self_attn", item=0, position=[0, 2]), d=8, k=3)],
        1,
    ),
    "encoder layer, two places and two sources": lambda: (
        nets.encoder(),
        [
            rotated(Spot("layers.0.linear1", position=[2]), d=6, k=2, slots=2),
            rotated(Spot("layers.1.norm1", position=[0]), d=4, k=2, slots=2),
        ],
        2,
    ),
    "tuples, one of two outputs": lambda: (nets.tuples(), [rotated(Spot("pair", item=1), d=3, k=2)], 1),
    "tuples, both outputs": lambda: (
        nets.tuples(),
        [
            rotated(Spot("pair", item=0), d=3, k=1, slots=2),
            rotated(Spot("pair", item=1), d=3, k=1, slots=2, seed=4),
        ],
        2,
    ),
    "tuples, one of two inputs": lambda: (
        nets.tuples(),
        [rotated(Spot("pair", "input", item=1), d=1, k=1)],
        1,
    ),
}
BLOCKS = {"mlp": "layers", "attention": "blocks", "encoder": "layers"}


@pytest.mark.parametrize("budget", [BUDGET, 0], ids=["cached", "recomputed"])
@pytest.mark.parametrize("name", CASES)
def test_the_engine_equals_plain_hooks(name: str, budget: int) -> None:
    case, edits, slots = CASES[name]()
    base, source = nets.pairs(PAIRS, slots)
    expected = nets.by_oracle(case, base, source, edits)
    found = nets.by_engine(case, base, source, edits, budget=budget)
    assert (found - expected).abs().max() < CLOSE
    unchanged = case.logits(case.module(*(row[base] for row in case.rows)))
    assert (expected - unchanged).abs().max() > 1e-6  # the comparison is of edits that do something


@pytest.mark.parametrize("name", [n for n in CASES if n.split(",")[0].split()[0] in BLOCKS])
def test_networks_that_declare_blocks_give_the_same(name: str) -> None:
    case, edits, slots = CASES[name]()
    base, source = nets.pairs(PAIRS, slots, seed=5)
    blocks = BLOCKS[name.split(",")[0].split()[0]]
    expected = nets.by_oracle(case, base, source, edits)
    found = nets.by_engine(case, base, source, edits, blocks=blocks)
    assert (found - expected).abs().max() < CLOSE


def test_some_of_those_runs_are_resumed() -> None:
    resumed = {}
    for name, build in CASES.items():
        blocks = BLOCKS.get(name.split(",")[0].split()[0])
        if blocks is not None:
            case, edits, _ = build()
            resumed[name] = nets.prepared(case, edits, blocks=blocks)[0].block
    assert resumed["mlp, neurons"] == 1
    assert resumed["mlp, the input of a module"] == 0
    assert resumed["mlp, two sites and two sources"] == 0
    assert resumed["attention, a head at all positions"] is None  # inside the first block: nothing to skip
    assert resumed["encoder layer, what its attention returns"] == 0
    assert resumed["mlp, the logits"] is None


def test_a_missing_source_leaves_its_coordinates_alone() -> None:
    case, edits, _ = CASES["mlp, three variables from two sources"]()
    base, source = nets.pairs(PAIRS, 2)
    source[2, 1] = -1
    edits[0].mask[2, 1] = False
    found = nets.by_engine(case, base, source, edits)
    assert (found - nets.by_oracle(case, base, source, edits)).abs().max() < CLOSE
    source[2, 1] = 4  # whatever stands there: nothing is taken from it
    again = nets.by_engine(case, base, source, edits)
    assert torch.equal(found, again)


@st.composite
def mlp_edits(draw: st.DrawFn) -> tuple[list[Edit], torch.Tensor, torch.Tensor, str | None]:
    slots = draw(st.integers(1, 3))
    paths = draw(st.lists(st.sampled_from(["layers.0", "layers.1", "layers.2"]), min_size=1, unique=True))
    edits = []
    for path in paths:
        features = draw(
            st.none() | st.lists(st.integers(0, 4), min_size=1, max_size=5, unique=True).map(tuple)
        )
        side = draw(st.sampled_from(["output", "input"])) if path != "layers.0" else "output"
        d = 5 if features is None else len(features)
        k, seed = draw(st.integers(1, d)), draw(st.integers(0, 99))
        edits.append(rotated(Spot(path, side, features=features), d=d, k=k, slots=slots, seed=seed))
    base, source = nets.pairs(PAIRS, slots, seed=draw(st.integers(0, 99)))
    return edits, base, source, draw(st.sampled_from([None, "layers"]))


@given(drawn=mlp_edits())
@settings(max_examples=40, deadline=None, derandomize=True)
def test_any_interchange_in_an_mlp(
    drawn: tuple[list[Edit], torch.Tensor, torch.Tensor, str | None],
) -> None:
    edits, base, source, blocks = drawn
    case = nets.mlp(seed=1)
    found = nets.by_engine(case, base, source, edits, blocks=blocks)
    assert (found - nets.by_oracle(case, base, source, edits)).abs().max() < CLOSE


@st.composite
def attention_edits(draw: st.DrawFn) -> tuple[list[Edit], torch.Tensor, torch.Tensor]:
    widths = {"blocks.0": 4, "blocks.0.heads": 4, "blocks.1.up": 6}
    slots, edits = draw(st.integers(1, 2)), []
    for path in draw(st.lists(st.sampled_from(sorted(widths)), min_size=1, unique=True)):
        count = draw(st.integers(1, 3))
        row = st.lists(st.integers(-4, 3), min_size=count, max_size=count, unique_by=lambda p: p % 4)
        table = st.lists(row, min_size=nets.INPUTS, max_size=nets.INPUTS)
        position = draw(row | table)
        source_position = draw(st.none() | row | table)
        each = draw(st.booleans())
        d = widths[path] if each else widths[path] * count
        k, seed = draw(st.integers(1, d)), draw(st.integers(0, 99))
        spot = Spot(path, position=_plain(position), source_position=_plain(source_position))
        edits.append(rotated(spot, d=d, k=k, slots=slots, seed=seed, each=each))
    return edits, *nets.pairs(PAIRS, slots, seed=draw(st.integers(0, 99)))


def _plain(position: Any) -> Any:
    """Negative positions are the library's business; the oracle is told where they are."""
    if position is None:
        return None
    if isinstance(position[0], int):
        return [p % 4 for p in position]
    return [[p % 4 for p in row] for row in position]


@given(drawn=attention_edits())
@settings(max_examples=25, deadline=None, derandomize=True)
def test_any_positions_in_a_transformer(drawn: tuple[list[Edit], torch.Tensor, torch.Tensor]) -> None:
    edits, base, source = drawn
    case = nets.attention(seed=1)
    found = nets.by_engine(case, base, source, edits, blocks="blocks")
    assert (found - nets.by_oracle(case, base, source, edits)).abs().max() < CLOSE


def test_negative_positions_count_from_the_end() -> None:
    case = nets.attention()
    base, source = nets.pairs(PAIRS)
    last, first = (
        [rotated(Spot("blocks.0", position=[p], source_position=[q]), d=4, k=2)]
        for p, q in [(3, 0), (-1, -4)]
    )
    assert torch.equal(nets.by_engine(case, base, source, first), nets.by_engine(case, base, source, last))


def test_negative_features_count_from_the_end() -> None:
    case = nets.mlp()
    base, source = nets.pairs(PAIRS)
    one, other = ([rotated(Spot("layers.0", features=f), d=2, k=1)] for f in [(4, 1), (-1, -4)])
    assert torch.equal(nets.by_engine(case, base, source, one), nets.by_engine(case, base, source, other))


def _edit(sources: torch.Tensor, masks: torch.Tensor) -> tuple[Case, SiteEdit]:
    case = nets.mlp()
    network = case.network()
    site = network.site("layers.0")
    layout = layouts(network, network.encode(nets.values()), [site])[site]
    return case, SiteEdit(layout, Neurons(torch.tensor([0, 1])), sources, masks, (None,))


@pytest.mark.parametrize(
    ("sources", "masks"),
    [((1, 1, 1, 5), (7, 1, 2)), ((7, 1, 1, 5), (1, 1, 2)), ((7, 1, 1, 5), (7, 1, 1)), ((7, 1, 5), (7, 1, 2))],
    ids=["one source for all", "one mask for all", "one mask for all coordinates", "no groups"],
)
def test_nothing_is_broadcast(sources: tuple[int, ...], masks: tuple[int, ...]) -> None:
    case, edit = _edit(torch.zeros(sources).double(), torch.ones(masks, dtype=torch.bool))
    with pytest.raises(EngineError) as caught:
        interchange(case.network(), case.rows, {}, [edit])
    assert str(caught.value) == (
        "sources and masks do not fit the bases\n"
        "  where:    layers.0\n"
        f"  got:      sources {sources}, masks {masks}\n"
        "  expected: sources (7, 1, 1, 5), masks (7, 1, 2)\n"
        "  do:       give every pair its own sources and masks: nothing is broadcast"
    )


def test_shapes_that_fit_are_taken() -> None:
    case, edit = _edit(torch.zeros(7, 1, 1, 5).double(), torch.ones(7, 1, 2, dtype=torch.bool))
    assert interchange(case.network(), case.rows, {}, [edit]).shape == (7, 3)


@pytest.mark.parametrize("slots", [1, 2])
@pytest.mark.parametrize("name", [n for n in CASES if "other positions" not in n and "per source" not in n])
def test_a_base_is_its_own_source_bit_for_bit(name: str, slots: int) -> None:
    case, edits, _ = CASES[name]()
    base = torch.arange(nets.INPUTS)
    ready, _ = nets.prepared(case, edits)
    batch = ready.batch(base, base.unsqueeze(1).expand(-1, slots))
    masks = [nets.mask(nets.INPUTS, slots, e.mask.shape[2], 1) for e in edits]
    with torch.no_grad():  # as in the capture: torch's own cells round otherwise when gradients are recorded
        found = ready.logits(batch, [nets.featurizer(e) for e in edits], masks)
        nothing = ready.logits(batch, [nets.featurizer(e) for e in edits], [m & False for m in masks])
    assert torch.equal(found, nothing)
    assert all(bool(m.any()) for m in masks)

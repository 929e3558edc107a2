"""How a site is resolved, and what cannot be resolved."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from commutes.engine import layouts, prepare
from commutes.errors import SiteError
from commutes.network import Network, Site

from . import nets
from .nets import Case


def _error(network: Network, site: Site) -> str:
    with pytest.raises(SiteError) as caught:
        prepare(network, nets.values(), [site])
    return str(caught.value)


def _layout(case: Case, make: Callable[[Network], Site]) -> tuple[int, int]:
    network = case.network()
    site = make(network)
    layout = layouts(network, network.encode(nets.values()), [site])[site]
    return layout.groups, layout.width


@pytest.mark.parametrize(
    ("case", "make", "expected"),
    [
        (nets.mlp(), lambda n: n.site("layers.0"), (1, 5)),
        (nets.mlp(), lambda n: n.site("layers.0", part=slice(1, None, 2)), (1, 2)),
        (nets.mlp(), lambda n: n.site("layers.0", part=range(3)), (1, 3)),
        (nets.mlp(), lambda n: n.site("layers.0", part=2), (1, 1)),
        (nets.mlp(), lambda n: n.site("layers.0", part=np.int64(2)), (1, 1)),
        (nets.mlp(), lambda n: n.site("layers.0", part=np.array([2, 0])), (1, 2)),
        (nets.cnn(), lambda n: n.site("first"), (1, 27)),
        (nets.cnn(), lambda n: n.site("first", position=[0, 8]), (1, 6)),
        (nets.cnn(), lambda n: n.site("first", position=[0, 8], each=True), (2, 3)),
        (nets.cnn(), lambda n: n.site("first", axis=2, each=True), (9, 3)),
        (nets.attention(), lambda n: n.site("blocks.0"), (1, 16)),
        (nets.attention(), lambda n: n.site("blocks.0", position=range(2)), (1, 8)),
        (
            nets.attention(),
            lambda n: n.site("blocks.0", position=-1) + n.site("blocks.1.up", position=0),
            (1, 10),
        ),
        (
            nets.attention(),
            lambda n: n.site("blocks.0", each=True) + n.site("blocks.1", position=[0], each=True),
            (5, 4),
        ),
    ],
)
def test_groups_and_width(case: Case, make: Callable[[Network], Site], expected: tuple[int, int]) -> None:
    assert _layout(case, make) == expected


def test_joining_and_parting_are_inverse() -> None:
    for each in (False, True):
        network = nets.attention().network()
        site = network.site("blocks.0", position=[2, 0], each=each) + network.site(
            "blocks.1", position=[1], each=each
        )
        layout = layouts(network, network.encode(nets.values()), [site])[site]
        parts = [nets.gaussian(3, 2, 4), nets.gaussian(3, 1, 4)]
        back = layout.parts(layout.join(parts), [2, 1])
        assert all(torch.equal(a, b) for a, b in zip(parts, back, strict=True))


def test_a_part_beyond_the_width() -> None:
    network = nets.mlp().network()
    assert _error(network, network.site("layers.0", part=[0, 5])) == (
        "the part of the site does not exist\n"
        "  where:    layers.0\n"
        "  got:      [0, 5]\n"
        "  expected: distinct features from 0 to 4\n"
        "  do:       name the features by index; commutes sites lists the widths"
    )


@pytest.mark.parametrize(
    ("part", "got"),
    [
        (slice(0, 6), "0:6"),
        (slice(2, 10**12), "2:1000000000000"),
        (range(4, 7), "range(4, 7)"),
        (-6, "-6"),
        (5, "5"),
    ],
)
def test_no_part_is_cut_short_without_a_word(part: Any, got: str) -> None:
    network = nets.mlp().network()
    text = _error(network, network.site("layers.0", part=part))
    assert text.startswith("the part of the site does not exist\n")
    assert f"got:      {got}\n" in text


@pytest.mark.parametrize("part", [[], slice(3, 3), [1, 1], [0, -5], slice(9, None)], ids=str)
def test_a_part_that_is_empty_or_repeats_itself(part: Any) -> None:
    network = nets.mlp().network()
    text = _error(network, network.site("layers.0", part=part))
    assert text.startswith("the part of the site is empty or repeats itself\n  where:    layers.0\n")


@pytest.mark.parametrize(
    "part", [[[0, 5]], "3", [0.5], 1.0, True, [True, False], np.array([True, False]), 1 + 2j], ids=repr
)
def test_a_part_is_made_of_whole_numbers(part: Any) -> None:
    network = nets.mlp().network()
    text = _error(network, network.site("layers.0", part=part))
    lines = text.split("\n")
    assert lines[0] == "a part is made of whole numbers"
    assert lines[-2:] == [
        "  expected: an index, a slice or a flat list of indices",
        "  do:       [0, 5] is two features, slice(0, 5) is five",
    ]


def test_a_position_beyond_the_sequence_names_the_example() -> None:
    network = nets.attention().network()
    table = np.array([[0, 1]] * 5 + [[0, -5]] + [[4, 0]])
    site = network.site("blocks.0", position=lambda values: table[values["i"]])
    assert _error(network, site) == (
        "a position lies outside the sequence\n"
        "  where:    blocks.0 position by <lambda>, example 5\n"
        "  got:      position -5\n"
        "  expected: from -4 to 3"
    )
    assert "position 9 (source 0), example 0" in _error(
        network, network.site("blocks.0", position=9, source_position=0)
    )


def test_a_position_that_is_named_twice() -> None:
    network = nets.attention().network()
    assert _error(network, network.site("blocks.0", position=[1, -3])) == (
        "a position is named twice\n"
        "  where:    blocks.0 position [1, -3], example 0\n"
        "  got:      1, -3\n"
        "  expected: distinct positions"
    )


def test_a_source_may_be_read_twice_at_one_position() -> None:
    network = nets.attention().network()
    prepare(network, nets.values(), [network.site("blocks.0", position=[0, 1], source_position=[2, 2])])


@pytest.mark.parametrize("position", [[[0, 1]], np.zeros((7, 2), int), [], [[0], [1]]], ids=repr)
def test_listed_positions_are_one_list(position: Any) -> None:
    network = nets.attention().network()
    text = _error(network, network.site("blocks.0", position=position))
    lines = text.split("\n")
    assert lines[0] == "positions are given as one list for all examples"
    assert lines[1] == "  where:    blocks.0"
    assert (
        lines[-1]
        == "  do:       [0, 5] is two positions; give a function of the inputs for positions per example"
    )


@pytest.mark.parametrize("position", [0.0, [0.5], "0", True, slice(0, 2)], ids=repr)
def test_positions_are_whole_numbers(position: Any) -> None:
    network = nets.attention().network()
    text = _error(network, network.site("blocks.0", position=position))
    assert text.startswith("positions are whole numbers\n")
    assert text.endswith("expected: integers")


@pytest.mark.parametrize(
    ("answer", "shape"),
    [
        (lambda v: np.int64(0), "()"),
        (lambda v: np.zeros(99, int), "(99,)"),
        (lambda v: np.zeros((len(v["i"]), 0), int), None),
    ],
    ids=["one for all", "too many", "none"],
)
def test_a_position_function_answers_for_every_example(answer: Any, shape: str | None) -> None:
    network = nets.attention().network()
    text = _error(network, network.site("blocks.0", position=answer))
    assert text == (
        "a position function must answer for every example\n"
        "  where:    blocks.0 position by <lambda>\n"
        f"  got:      an array of shape {shape or '(1, 0)'}\n"
        "  expected: (1,) or (1, positions)"
    )


def test_base_and_source_positions_are_as_many() -> None:
    network = nets.attention().network()
    assert _error(network, network.site("blocks.0", position=[0, 1], source_position=2)) == (
        "base and source positions differ in number\n"
        "  where:    blocks.0 position [0, 1] (source 2)\n"
        "  got:      2 in the base, 1 in the source\n"
        "  expected: as many positions in the source as in the base"
    )
    assert "4 in the base, 1 in the source" in _error(network, network.site("blocks.0", source_position=2))


@pytest.mark.parametrize(("axis", "ndim"), [(0, 2), (2, 2), (-2, 2), (3, 3), (-3, 3)])
def test_a_feature_axis_that_does_not_exist(axis: int, ndim: int) -> None:
    network = (nets.mlp() if ndim == 2 else nets.attention()).network()
    path = "layers.0" if ndim == 2 else "blocks.0"
    assert _error(network, network.site(path, axis=axis)) == (
        "the feature axis does not exist\n"
        f"  where:    {path}\n"
        f"  got:      axis {axis} of a tensor with {ndim} axes\n"
        f"  expected: an axis from 1 to {ndim - 1} (axis 0 is the batch)"
    )


def test_places_that_share_one_map_are_equally_wide() -> None:
    network = nets.mlp().network()
    site = network.site("layers.0", each=True) + network.site("head", each=True)
    assert _error(network, site) == (
        "each=True shares one map, so all places must be equally wide\n"
        "  where:    layers.0 + head (each position)\n"
        "  got:      widths [3, 5]\n"
        "  expected: one width"
    )


def test_a_tensor_without_a_batch() -> None:
    class Sums(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.total = nn.Flatten(0)
            self.head = nn.Linear(4, 3)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            self.total(x)
            return self.head(x)

    network = Case(nets.built(Sums), (nets.gaussian(nets.INPUTS, 4),)).network()
    assert _error(network, network.site("total")) == (
        "the site's tensor has no batch axis\n"
        "  where:    total\n"
        "  got:      shape (4,) for one example\n"
        "  expected: (batch, ...) with the batch first"
    )


def test_places_of_one_site_share_no_coordinate() -> None:
    network = nets.mlp().network()
    site = network.site("layers.0", part=[0, 2]) + network.site("layers.0", part=[3, 2])
    assert _error(network, site) == (
        "two places of one site overlap\n"
        "  where:    layers.0 features [0, 2] + layers.0 features [3, 2]\n"
        "  got:      feature 2 twice at one position, example 0\n"
        "  expected: places that share no coordinate\n"
        "  do:       name each coordinate once"
    )
    whole = network.site("layers.0")
    assert "feature 0 twice" in _error(network, whole + whole)


def test_places_that_meet_in_one_example_only() -> None:
    network = nets.attention().network()
    site = network.site("blocks.0", position=0) + network.site(
        "blocks.0", position=lambda v: np.where(v["i"] == 5, 0, 2)
    )
    assert "feature 0 twice at one position, example 5" in _error(network, site)
    apart = network.site("blocks.0", position=0) + network.site("blocks.0", position=lambda v: v["i"] % 3 + 1)
    prepare(network, nets.values(), [apart])
    parts = network.site("blocks.0", part=[0, 1]) + network.site("blocks.0", part=[2, 3], position=2)
    prepare(network, nets.values(), [parts])

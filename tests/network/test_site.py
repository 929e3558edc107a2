from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from commutes.errors import SiteError
from commutes.network import Moment, Network, Place


def _network() -> Network:
    module = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 2))
    return Network(module, encode=lambda v: torch.zeros(1, 4), answers=[0, 1])


def _at(values: Any) -> Any:
    return values["i"]


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({}, "0"),
        ({"side": "input"}, "0.input"),
        ({"item": 1, "call": 2}, "0[1] at call 2"),
        ({"side": "input", "item": 0}, "0.input[0]"),
        ({"part": slice(0, 4)}, "0 features 0:4"),
        ({"part": slice(None, 8, 2)}, "0 features :8:2"),
        ({"part": [3, 1], "position": -1}, "0 features [3, 1] position -1"),
        ({"part": [4, 5, 6, 7]}, "0 features 4:8"),
        ({"part": [4, 5, 7]}, "0 features [4, 5, 7]"),
        ({"position": 2, "source_position": [0]}, "0 position 2 (source [0])"),
        ({"position": _at}, "0 position by _at"),
        ({"position": 1, "each": True}, "0 position 1 (each position)"),
    ],
)
def test_a_site_says_where_it_is(options: dict[str, Any], text: str) -> None:
    site = _network().site("0", **options)
    assert str(site) == text
    assert repr(site) == f"Site({text})"


def test_the_module_itself_is_a_place() -> None:
    assert str(_network().site("")) == "(the module itself)"


def test_sites_are_joined() -> None:
    network = _network()
    site = network.site("0") + network.site("2", part=[0]) + network.site("0", position=1)
    assert str(site) == "0 + 2 features [0] + 0 position 1"
    assert site.moments == (Moment("0", "output", None, None), Moment("2", "output", None, None))
    assert len(site.places) == 3


def test_only_sites_of_one_network_and_alike_are_joined() -> None:
    network = _network()
    for other in (_network().site("2"), network.site("2", each=True)):
        with pytest.raises(SiteError) as caught:
            network.site("0") + other
        assert str(caught.value) == (
            "only sites of one network, alike in each=, can be joined\n"
            f"  got:      0 and {other}\n"
            "  expected: two sites made by the same Network object"
        )
    with pytest.raises(TypeError):
        network.site("0") + "2"  # type: ignore[operator]


def test_the_feature_axis_is_the_last_and_the_first_of_images() -> None:
    place = Place(Moment("0", "output", None, None))
    assert [place.feature_axis(ndim) for ndim in (2, 3, 4, 5)] == [1, 2, 1, 1]
    named = Place(Moment("0", "output", None, None), axis=-1)
    assert [named.feature_axis(ndim) for ndim in (2, 3, 4)] == [1, 2, 3]


def test_positions_are_resolved_per_example() -> None:
    values = {"i": np.array([0, -1, 2])}

    def table(position: Any, source_position: Any = None, *, source: bool = False) -> Any:
        place = Place(Moment("0", "output", None, None), position=position, source_position=source_position)
        found = place.positions(values, 3, 4, source=source)
        return None if found is None else found.tolist()

    assert table(None) is None
    assert table(1) == [[1]] * 3
    assert table([-1, 0]) == [[3, 0]] * 3
    assert table(_at) == [[0], [3], [2]]
    assert table(1, _at) == [[1]] * 3
    assert table(1, _at, source=True) == [[0], [3], [2]]
    assert table(1, source=True) == [[1]] * 3
    assert table(lambda v: np.stack([v["i"], v["i"] + 1], axis=1)) == [[0, 1], [3, 0], [2, 3]]


def test_what_a_function_answers_stays_the_users() -> None:
    answer = np.array([-1, -2, -3])
    place = Place(Moment("0", "output", None, None), position=lambda v: answer)
    place.positions({}, 3, 4, source=False)
    assert answer.tolist() == [-1, -2, -3]

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from commutes.errors import AlignmentError
from commutes.features import Coordinates, Features, Rotation, Slice
from commutes.network import Network, Site

WIDTH = 8


def _site() -> Site:
    network = Network(nn.Linear(4, WIDTH), encode=lambda v: torch.zeros(1, 4), answers=[0, 1])
    return network.site("")


FAMILIES: list[type[Any]] = [Coordinates, Rotation]


def _resolve(family: type[Any], index: Any) -> tuple[int, ...]:
    features: Features = family(_site())
    return features[index].resolve(WIDTH, of="left")


def _error(family: type[Any], index: Any) -> str:
    with pytest.raises(AlignmentError) as caught:
        _resolve(family, index)
    return str(caught.value)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize(
    ("index", "chosen"),
    [
        (3, (3,)),
        (slice(None, 4), (0, 1, 2, 3)),
        (slice(4, 8), (4, 5, 6, 7)),
        (slice(1, 8, 3), (1, 4, 7)),
        ([0, 5], (0, 5)),
        ((5, 0), (5, 0)),
        (range(2, 4), (2, 3)),
        (np.int64(2), (2,)),
        (np.array([6, 1]), (6, 1)),
        (torch.tensor([6, 1]), (6, 1)),
    ],
    ids=repr,
)
def test_coordinates_as_numbers(family: type[Any], index: Any, chosen: tuple[int, ...]) -> None:
    assert _resolve(family, index) == chosen
    assert all(type(c) is int for c in _resolve(family, index))


def test_an_open_end_is_all_the_rest_for_neurons_and_an_error_for_a_learnt_map() -> None:
    assert _resolve(Coordinates, slice(5, None)) == (5, 6, 7)
    assert _error(Rotation, slice(5, None)) == (
        "an open-ended slice of a learnt map would learn all the rest of the space\n"
        "  where:    left at (the module itself)\n"
        "  got:      rotation[5:]\n"
        "  expected: a slice with an end, such as [:4]\n"
        "  do:       say how many dimensions the variable gets"
    )
    assert "got:      rotation[:]" in _error(Rotation, slice(None))
    assert "got:      rotation[::2]" in _error(Rotation, slice(None, None, 2))


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize(
    ("index", "text"),
    [
        (-1, "[-1]"),
        ([0, -8], "[0, -8]"),
        (slice(-2, 4), "[-2:4]"),
        (slice(0, -1), "[0:-1]"),
        (slice(4, 0, -1), "[4:0:-1]"),
        (slice(0, 4, 0), "[0:4:0]"),
    ],
    ids=str,
)
def test_negative_coordinates(family: type[Any], index: Any, text: str) -> None:
    assert _error(family, index) == (
        "coordinates count from 0 upwards\n"
        "  where:    left at (the module itself)\n"
        f"  got:      {text}\n"
        "  expected: numbers from 0 to 7, in steps of at least 1"
    )


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize(
    ("index", "text"),
    [([], "[]"), (slice(0, 0), "[0:0]"), (slice(5, 2), "[5:2]"), ([1, 1], "[1, 1]")],
    ids=str,
)
def test_empty_or_repeated_coordinates(family: type[Any], index: Any, text: str) -> None:
    assert _error(family, index) == (
        "a variable needs at least one coordinate, and none twice\n"
        "  where:    left at (the module itself)\n"
        f"  got:      {text}\n"
        "  expected: one or several distinct coordinates"
    )


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize(
    ("index", "beyond"),
    [
        (8, 8),
        (slice(0, 9), 8),
        (slice(10, 12), 10),
        (slice(0, 10**15), 8),
        ([0, 99], 99),
        (slice(7, 20, 5), 12),
    ],
    ids=str,
)
def test_coordinates_beyond_the_width(family: type[Any], index: Any, beyond: int) -> None:
    assert _error(family, index) == (
        "more dimensions are asked for than the site has\n"
        "  where:    left at (the module itself)\n"
        f"  got:      coordinate {beyond}\n"
        "  expected: from 0 to 7: the site has 8\n"
        "  do:       ask for fewer dimensions, or align with a wider site"
    )


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize(
    ("index", "text"),
    [
        (True, "[True]"),
        ([True, False], "[True, False]"),
        (1.0, "[1.0]"),
        ([0.5], "[0.5]"),
        ("3", "['3']"),
        ([[0, 5]], "[[0, 5]]"),
        (slice(0, 2.5), "[0:2.5]"),
        (None, "[None]"),
        (np.array([True, False]), "[True, False]"),
    ],
    ids=repr,
)
def test_coordinates_are_whole_numbers(family: type[Any], index: Any, text: str) -> None:
    assert _error(family, index) == (
        "coordinates are whole numbers\n"
        "  where:    left at (the module itself)\n"
        f"  got:      {text}\n"
        "  expected: an int, a slice or a flat list of ints\n"
        "  do:       [[0, 5]] is two coordinates, [0:5] is five"
    )


@given(start=st.none() | st.integers(0, 9), stop=st.integers(0, 9), step=st.none() | st.integers(1, 4))
@settings(deadline=None, derandomize=True)
def test_a_slice_is_pythons_or_an_error(start: int | None, stop: int, step: int | None) -> None:
    expected = tuple(range(start or 0, stop, step or 1))
    index = slice(start, stop, step)
    if expected and expected[-1] < WIDTH:
        assert _resolve(Rotation, index) == expected
    else:
        assert _error(Rotation, index).startswith(("a variable needs", "more dimensions"))


def test_a_slice_is_a_value_that_prints() -> None:
    hidden = Rotation(_site())
    assert repr(hidden[:4]) == "rotation[:4]"
    assert repr(Coordinates(_site())[[0, 5]]) == "neurons[0, 5]"
    assert isinstance(hidden[3], Slice)
    assert hidden[3].features is hidden
    assert (str(Coordinates(_site())), Coordinates(_site()).learnt, hidden.learnt) == ("neurons", False, True)

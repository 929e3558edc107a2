"""Gates over the coordinates of another map."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load, save

from commutes.alignment._saved_maps import map_of, parts_of
from commutes.errors import AlignmentError
from commutes.features import (
    Boundless,
    Coordinates,
    Directions,
    Gated,
    Mask,
    Neurons,
    Rotation,
    Subspace,
    pca,
    random_raw,
    rotation,
    swap,
)
from commutes.features import moments as moments_of
from commutes.testing import FeaturizerContract
from tests.planted import planted


@pytest.fixture(scope="module")
def site():
    return planted(pairs=400).network.site("site")


class OfGates(FeaturizerContract):
    """A fitted mask in a file is what an alignment's file has of it."""

    coordinates: tuple[int, ...]
    family: Callable[[Any], Any]

    @pytest.fixture(autouse=True)
    def _site(self, site: Any) -> None:
        self.site = site

    def reloaded(self, featurizer: Any) -> Any:
        family = self.family(self.site)
        parts = {name: tensor.clone() for name, tensor in parts_of(family, featurizer).items()}
        stored = load(save(parts))
        return map_of(family, self.coordinates, stored, self.site.network, Path("file"))


class TestGatedNeurons(OfGates):
    coordinates = (5, 2, 7)

    @staticmethod
    def family(site: Any) -> Mask:
        return Mask(Coordinates(site))

    def featurizer(self) -> Gated:
        return Gated(Neurons(torch.tensor(self.coordinates)), torch.tensor([True, False, True]))

    def complement(self, featurizer: Any) -> Any:
        return featurizer.opened().complement(self.width)


class TestGatedSubspace(OfGates):
    coordinates = (0, 1, 2, 3)

    @staticmethod
    def family(site: Any) -> Boundless:
        return Boundless(site)

    def featurizer(self) -> Gated:
        inner = rotation(random_raw(8, 4, 0, dtype=torch.float64))
        return Gated(inner, torch.tensor([False, True, True, False]))

    def complement(self, featurizer: Any) -> Any:
        return featurizer.opened().complement()


def test_behind_closed_gates_nothing_moves_and_behind_open_ones_everything() -> None:
    base, source = random_raw(5, 8, 0), random_raw(5, 8, 1)
    inner = Neurons(torch.tensor([0, 3, 6]))
    gate = torch.tensor([True, False, True])
    after = swap(Gated(inner, gate), base, source)
    expected = base.clone()
    expected[:, [0, 6]] = source[:, [0, 6]]
    assert torch.equal(after, expected)
    assert torch.equal(swap(Gated(inner, ~gate & gate), base, source), base)
    assert torch.equal(swap(Gated(inner, gate | ~gate), base, source), swap(inner, base, source))


def test_a_soft_gate_takes_its_share() -> None:
    base, source = random_raw(5, 8, 0).double(), random_raw(5, 8, 1).double()
    shares = torch.tensor([0.25, 1.0], dtype=torch.float64)
    after = swap(Gated(Neurons(torch.tensor([1, 2])), shares), base, source)
    expected = base.clone()
    expected[:, 1] = 0.75 * base[:, 1] + 0.25 * source[:, 1]
    expected[:, 2] = source[:, 2]
    assert torch.allclose(after, expected, atol=1e-14)


def test_coordinates_in_a_row_share_a_gate(site) -> None:
    part = Mask(Coordinates(site), per=2).parametrisation(6, [0, 1, 2, 3, 4, 5], [(0, 1, 2, 3), (4, 5)])
    assert part.gate_of == (0, 0, 1, 1, 2, 2)
    assert part.start(0).shape == (3,)
    hard = part.hard(torch.tensor([1.0, -1.0, 1.0]))
    assert hard.gate.tolist() == [True, True, False, False, True, True]
    assert hard.open == (0, 1, 4, 5)


@pytest.mark.parametrize(
    ("per", "columns", "got"),
    [
        (3, [(0, 1, 2, 3), (4, 5)], "1 of the coordinates 3 to 5"),
        (6, [(0, 1, 2), (3, 4, 5)], "3 of the coordinates 0 to 5"),
        (4, [(0, 1, 2), (3, 4, 5)], "3 of the coordinates 0 to 3"),
    ],
)
def test_a_gate_is_one_variables_alone(site, per: int, columns: list[tuple[int, ...]], got: str) -> None:
    with pytest.raises(AlignmentError) as caught:
        Mask(Coordinates(site), per=per).parametrisation(6, range(6), columns)
    assert str(caught.value) == (
        "a slice takes a part of a gate\n"
        "  where:    site\n"
        f"  got:      {got}\n"
        f"  expected: whole ones of {per} coordinates each, as per={per} says\n"
        "  do:       end slices at multiples of per"
    )


def test_the_last_gate_may_be_smaller(site) -> None:
    part = Mask(Coordinates(site), per=4).parametrisation(6, range(6), [(0, 1, 2, 3), (4, 5)])
    assert part.gate_of == (0, 0, 0, 0, 1, 1)


@pytest.mark.parametrize(
    "options",
    [
        {"per": 1.5},
        {"per": "2"},
        {"per": True},
        {"sparsity": "a"},
        {"temperature": 1.0},
        {"temperature": (1,)},
        {"temperature": (float("inf"), 0.1)},
        {"cooling": "cosine"},
    ],
)
def test_settings_of_a_mask_that_are_none_are_refused(site, options) -> None:
    with pytest.raises(AlignmentError):
        Mask(Coordinates(site), **options)


@pytest.mark.parametrize(("cooling", "middle"), [("linear", 1.25), ("exponential", 1.0)])
def test_gates_grow_hard_as_the_fit_goes_on(site, cooling: Any, middle: float) -> None:
    mask = Mask(Coordinates(site), temperature=(2.0, 0.5), cooling=cooling)
    part = mask.at(site).parametrisation(6, [0, 1], [(0, 1)])
    raw = torch.tensor([1.0, -1.0])
    for progress, temperature in ((0.0, 2.0), (0.5, middle), (1.0, 0.5)):
        assert torch.allclose(part.map(raw, progress).gate, torch.sigmoid(raw / temperature))
        cost = part.penalty(raw[None], progress)
        assert torch.allclose(cost, 0.1 * torch.sigmoid(raw / temperature).mean()[None])


def test_a_boundary_lets_the_first_coordinates_of_its_variable_through(site) -> None:
    part = Boundless(site, sparsity=0.5).parametrisation(6, range(5), [(0, 1, 4), (2, 3)])
    raw = part.start(0)
    assert raw.shape == (6 * 5 + 2,)
    raw[-2:] = torch.tensor([0.0, 9.0])
    solved = part.solve(raw[None])
    assert solved[0, -2:].tolist() == pytest.approx([0.5, 1.0], abs=1e-6)
    hard = part.hard(solved[0])
    # Of three coordinates the middles of the first lies before one half, of two both lie before 1.
    assert hard.gate.tolist() == [True, False, True, True, False]
    assert isinstance(hard.inner, Subspace)
    assert hard.inner.defect() < 1e-6
    soft = part.map(solved[0], 0.0).gate
    slow = Boundless(site, cooling="exponential").at(site).parametrisation(6, range(5), [(0, 1, 4), (2, 3)])
    expected = torch.sigmoid(torch.tensor(1 / 3 / (0.2 * 0.01) ** 0.5))
    assert slow.map(solved[0], 0.5).gate[0] == pytest.approx(float(expected), abs=1e-6)
    assert soft[1] == pytest.approx(0.5, abs=1e-6)
    assert soft[0] == pytest.approx(float(torch.sigmoid(torch.tensor(1 / 3 / 0.2))), abs=1e-6)
    assert part.penalty(solved, 0.0).tolist() == pytest.approx([0.375], abs=1e-6)


def test_masks_of_one_and_the_same_coordinates_may_share_a_batch(site) -> None:
    one, two = (Mask(Coordinates(site)).parametrisation(6, [0, 2], [(0, 1)]) for _ in range(2))
    assert one == two
    assert hash(one) == hash(two)
    assert one != Mask(Coordinates(site)).parametrisation(6, [0, 3], [(0, 1)])
    assert one != Mask(Coordinates(site), sparsity=0.2).parametrisation(6, [0, 2], [(0, 1)])
    basis = rotation(random_raw(6, 4, 0))
    other = rotation(random_raw(6, 4, 0))
    three, four, five = (
        Mask(Directions(site, s)).parametrisation(6, [0, 2], [(0, 1)]) for s in (basis, basis, other)
    )
    assert three == four != five


def test_what_a_mask_cannot_choose_among(site) -> None:
    with pytest.raises(AlignmentError) as caught:
        Mask(Rotation(site))  # type: ignore[arg-type]
    assert str(caught.value).startswith("a mask chooses among coordinates that are given\n")
    assert "use Boundless(site)" in str(caught.value)
    for options in ({"sparsity": -1.0}, {"temperature": (0.1, 1.0)}, {"temperature": (1.0, 0.0)}):
        with pytest.raises(AlignmentError, match="a mask is sparse to a degree, and cools"):
            Mask(Coordinates(site), **options)
    with pytest.raises(AlignmentError, match="per is a count"):
        Mask(Coordinates(site), per=0)


def test_an_open_ended_slice_is_for_masks_alone(site) -> None:
    assert Mask(Coordinates(site))[2:].resolve(6, of="left") == (2, 3, 4, 5)
    with pytest.raises(AlignmentError, match="open-ended"):
        Boundless(site)[2:].resolve(6, of="left")


def test_directions_are_coordinates_of_what_is_given(site) -> None:
    states = random_raw(50, 6, 3)
    found = pca(moments_of(states), k=3)
    features = Directions(site, found)
    assert not features.learnt
    assert features.size(6) == 3
    chosen = features.given([2, 0], torch.device("cpu"))
    assert torch.equal(chosen.reader, found.reader[:, [2, 0]])
    with pytest.raises(AlignmentError) as caught:
        features.size(7)
    assert str(caught.value) == (
        "the directions do not fit the site\n"
        "  where:    site\n"
        "  got:      directions of states of 6 numbers\n"
        "  expected: of 7\n"
        "  do:       use the directions of this module, layer and model"
    )
    with pytest.raises(AlignmentError, match="not biorthogonal"):
        Directions(site, Subspace(2 * found.reader, found.writer)).size(6)

"""What descent moves, and the maps that it stands for."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.func import vmap

from commutes.errors import AlignmentError
from commutes.features import (
    Affine,
    Boundless,
    Coordinates,
    Mask,
    Oblique,
    Parametrisation,
    Reversible,
    Rotation,
    random_raw,
    swap,
)
from tests.planted import planted

WIDTH, CHOSEN = 6, (0, 1, 3)
MAKE: dict[str, Any] = {
    "rotation": Rotation,
    "oblique": Oblique,
    "affine": Affine,
    "reversible": lambda site: Reversible(site, depth=3, hidden=4),
    "boundless": Boundless,
    "mask": lambda site: Mask(Coordinates(site)),
}


@pytest.fixture(scope="module")
def site():
    return planted(pairs=400).network.site("site")


def part_of(name: str, site: Any) -> Parametrisation:
    found = MAKE[name](site).parametrisation(WIDTH, CHOSEN, [(0, 2), (1,)])
    assert isinstance(found, Parametrisation)
    return found


def moved(part: Parametrisation, seed: int) -> torch.Tensor:
    """Somewhere on the way, in double precision."""
    start = part.start(seed).double()
    noise = torch.randn(start.shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return start + 0.3 * noise


@pytest.mark.parametrize("name", MAKE)
def test_starts_depend_on_the_seed_alone(name: str, site: Any) -> None:
    part = part_of(name, site)
    state = torch.get_rng_state()
    assert torch.equal(part.start(3), part.start(3))
    assert not torch.equal(part.start(3), part.start(4))
    assert torch.equal(torch.get_rng_state(), state)
    assert part == part_of(name, site)


def test_every_variable_of_an_oblique_map_begins_at_an_orthogonal_projector(site: Any) -> None:
    """Also where all of them together fill the site: Gaussian columns are orthogonal projectors only together."""
    part = Oblique(site).parametrisation(WIDTH, range(WIDTH), [(0, 1, 2), (3, 4, 5)])
    begun = part.hard(part.solve(part.start(0)[None].double())[0])
    for columns in (slice(0, 3), slice(3, 6)):
        projector = begun[columns].projector()
        assert torch.allclose(projector, projector.mT, atol=1e-6)
        assert torch.allclose(projector @ projector, projector, atol=1e-6)


@pytest.mark.parametrize("name", MAKE)
def test_whatever_descent_reaches_is_a_featurizer(name: str, site: Any) -> None:
    """A swap with itself does nothing, there and back is nothing, and what was swapped in is read."""
    part = part_of(name, site)
    base, source = random_raw(9, WIDTH, 0, dtype=torch.float64), random_raw(9, WIDTH, 1, dtype=torch.float64)
    for seed in range(3):
        solved = part.solve(moved(part, seed)[None])[0]
        for found in (part.hard(solved), part.final(solved)):
            assert torch.equal(swap(found, base, base), base)
            after = swap(found, base, source)
            assert torch.allclose(found.read(after), found.read(source), atol=1e-9)
            assert torch.allclose(swap(found, after, base), base, atol=1e-9)


@pytest.mark.parametrize("name", MAKE)
def test_maps_of_a_batch_are_those_of_each_alone(name: str, site: Any) -> None:
    part = part_of(name, site)
    raws = torch.stack([moved(part, seed) for seed in range(3)])
    base, source = random_raw(9, WIDTH, 0, dtype=torch.float64), random_raw(9, WIDTH, 1, dtype=torch.float64)
    for make in (lambda solved: part.map(solved, 0.4), part.hard):
        together = vmap(lambda solved, make=make: swap(make(solved), base, source))(part.solve(raws))
        for raw, found in zip(raws, together, strict=True):
            assert torch.allclose(swap(make(part.solve(raw[None])[0]), base, source), found, atol=1e-12)


@pytest.mark.parametrize("name", MAKE)
def test_every_number_that_is_moved_matters(name: str, site: Any) -> None:
    """And the gradient is that of the function: finite differences agree."""
    part = part_of(name, site)
    base, source = random_raw(9, WIDTH, 0, dtype=torch.float64), random_raw(9, WIDTH, 1, dtype=torch.float64)
    weights = random_raw(9, WIDTH, 2, dtype=torch.float64)

    def loss(raw: torch.Tensor) -> torch.Tensor:
        return (swap(part.map(part.solve(raw[None])[0], 0.5), base, source) * weights).sum()

    raw = moved(part, 0).requires_grad_()
    (gradient,) = torch.autograd.grad(loss(raw), raw)
    direction = random_raw(raw.numel(), 1, 5, dtype=torch.float64).reshape(raw.shape)
    step = 1e-6
    with torch.no_grad():
        slope = (loss(raw + step * direction) - loss(raw - step * direction)) / (2 * step)
    assert float(slope) == pytest.approx(float((gradient * direction).sum()), rel=1e-5, abs=1e-7)
    assert float(gradient.abs().max()) > 1e-3


@pytest.mark.parametrize("name", ["rotation", "oblique", "affine", "reversible"])
def test_a_fit_can_begin_at_a_map(name: str, site: Any) -> None:
    part = part_of(name, site)
    base, source = random_raw(9, WIDTH, 0, dtype=torch.float64), random_raw(9, WIDTH, 1, dtype=torch.float64)
    known = part.final(part.solve(moved(part, 1)[None])[0])
    raw = part.raw(known)
    assert raw is not None
    again = part.final(part.solve(raw[None])[0])
    assert torch.allclose(swap(again, base, source), swap(known, base, source), atol=1e-10)


def test_a_map_of_another_kind_is_no_start(site: Any) -> None:
    subspace = part_of("rotation", site)
    assert part_of("affine", site).raw(subspace.final(subspace.solve(subspace.start(0)[None])[0])) is None
    affine = part_of("affine", site)
    found = affine.final(affine.solve(affine.start(0)[None])[0])
    for name in ("rotation", "oblique", "reversible", "mask", "boundless"):
        assert part_of(name, site).raw(found) is None


def test_an_oblique_map_begins_as_a_random_rotation(site: Any) -> None:
    oblique, rotation = part_of("oblique", site), part_of("rotation", site)
    base, source = random_raw(9, WIDTH, 0), random_raw(9, WIDTH, 1)
    one, two = (p.final(p.solve(p.start(7)[None])[0]) for p in (oblique, rotation))
    assert torch.allclose(swap(one, base, source), swap(two, base, source), atol=1e-5)


def test_a_map_that_cannot_be_inverted_is_refused_at_the_end(site: Any) -> None:
    part = part_of("affine", site)
    raw = part.start(0).double()
    raw[1] = raw[0] + 1e-6 * raw[1]
    with pytest.raises(AlignmentError, match="cannot be inverted safely"):
        part.final(part.solve(raw[None])[0])
    part = part_of("oblique", site)
    raw = moved(part, 0).float()
    raw[:, 0] -= raw[:, 3:] @ torch.linalg.lstsq(raw[:, 3:], raw[:, 0]).solution * (1 - 1e-6)
    with pytest.raises(AlignmentError, match="not biorthogonal"):
        part.final(part.solve(raw[None])[0])

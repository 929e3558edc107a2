from __future__ import annotations

from typing import Any

import pytest
import torch

from commutes.errors import AlignmentError
from commutes.features import Reversible, ReversibleMap, Subspace, random_raw, reversible, swap
from tests.planted import planted

D = 7


def _map(bend: float = 0.8, index: tuple[int, ...] = (0, 5), **options: int) -> ReversibleMap:
    return reversible(D, index=index, seed=1, bend=bend, dtype=torch.float64, **options)


def _states(seed: int) -> torch.Tensor:
    return random_raw(12, D, seed, dtype=torch.float64)


@pytest.mark.parametrize("width", [2, 3, 7, 8])
def test_it_is_invertible_and_not_linear(width: int) -> None:
    map = reversible(width, index=[0], seed=2, bend=1.0, dtype=torch.float64)
    states = 3 * random_raw(20, width, 0, dtype=torch.float64)
    z = map.encode(states)
    assert float((map.decode(z) - states).abs().max()) < 1e-10
    assert float((map.encode(map.decode(states)) - states).abs().max()) < 1e-10
    middle = map.encode((states[::2] + states[1::2]) / 2)
    assert float((middle - (z[::2] + z[1::2]) / 2).abs().max()) > 0.05


def test_every_coordinate_bends_every_other() -> None:
    map = _map(depth=4)
    jacobian = torch.autograd.functional.jacobian(map.encode, _states(0)[0])
    other = torch.autograd.functional.jacobian(map.encode, _states(3)[0])
    # The rotation mixes everything already; what the couplings add differs from state to state.
    assert bool(((jacobian - other).abs() > 1e-4).all())
    assert float(torch.linalg.det(jacobian).abs()) > 1e-3


def test_without_bending_it_is_the_rotation() -> None:
    map, base, source = _map(bend=0.0), _states(1), _states(2)
    basis = map.rotation[:, [0, 5]].contiguous()
    plain = Subspace(basis, basis)
    assert torch.allclose(map.read(base), plain.read(base))
    assert torch.allclose(swap(map, base, source), plain.swap(base, source))
    bent = _map()
    assert not torch.allclose(swap(bent, base, source), plain.swap(base, source), atol=0.01)


def test_a_swap_mixes_the_coordinates_of_two_states() -> None:
    map, base, source = _map(), _states(1), _states(2)
    mixed = map.encode(base)
    mixed[:, [0, 5]] = map.encode(source)[:, [0, 5]]
    assert torch.allclose(swap(map, base, source), map.decode(mixed))


def test_its_weights_depend_on_the_seed_alone() -> None:
    state = torch.get_rng_state()
    one, two, other = (reversible(4, index=[0], seed=s, bend=1.0) for s in (0, 0, 1))
    assert all(torch.equal(t, two.tensors()[n]) for n, t in one.tensors().items())
    assert not torch.equal(one.rotation, other.rotation)
    assert torch.equal(torch.get_rng_state(), state)
    assert one.rotation.dtype == torch.float32


def test_gradients_reach_every_weight() -> None:
    map, base, source = _map(), _states(1), _states(2)
    weights = [t.requires_grad_() for n, t in map.tensors().items() if n != "index"]
    slopes = torch.autograd.grad(swap(map, base, source).square().sum(), weights)
    assert all(bool(torch.isfinite(g).all()) and float(g.abs().max()) > 0 for g in slopes)


def test_large_states_stay_finite() -> None:
    map = reversible(6, index=[0], seed=0, depth=8, bend=5.0)
    states = 1e4 * torch.randn(10, 6, generator=torch.Generator().manual_seed(0))
    assert bool(torch.isfinite(map.encode(states)).all())
    assert bool(torch.isfinite(map.decode(states)).all())


@pytest.mark.parametrize(("width", "depth"), [(1, 2), (4, 0)])
def test_a_network_without_halves_or_couplings(width: int, depth: int) -> None:
    with pytest.raises(AlignmentError) as caught:
        reversible(width, index=[0], seed=0, depth=depth)
    assert str(caught.value) == (
        "a reversible network bends one half of the coordinates by the other\n"
        f"  got:      {width} coordinates, {depth} couplings\n"
        "  expected: at least 2 coordinates and 1 coupling"
    )


@pytest.mark.parametrize("wrong", [{"depth": 0}, {"depth": 1.5}, {"hidden": 0}, {"hidden": True}])
def test_a_shape_that_is_none_is_refused_when_it_is_written(wrong: dict[str, Any]) -> None:
    site = planted(pairs=400).network.site("site")
    (name,) = wrong
    with pytest.raises(AlignmentError, match=f"{name} is a count"):
        Reversible(site, **wrong)

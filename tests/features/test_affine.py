from __future__ import annotations

import pytest
import torch

from commutes.errors import AlignmentError
from commutes.features import AffineMap, affine, random_raw, swap

D = 5


def _map(index: list[int]) -> AffineMap:
    matrix = random_raw(D, D, 0, dtype=torch.float64) + 3 * torch.eye(D).double()
    return affine(matrix, torch.arange(D).double(), index=index)


def _states(seed: int) -> torch.Tensor:
    return random_raw(12, D, seed, dtype=torch.float64)


def test_it_reads_the_affine_coordinates() -> None:
    whole = _map([0, 1, 2, 3, 4])
    states = _states(1)
    expected = torch.stack([whole.matrix @ h + whole.offset for h in states])
    assert torch.allclose(whole.read(states), expected)
    assert torch.allclose(_map([3, 1]).read(states), expected[:, [3, 1]])


def test_a_swap_takes_the_sources_coordinates_and_keeps_the_others() -> None:
    whole, part = _map([0, 1, 2, 3, 4]), _map([3, 1])
    base, source = _states(1), _states(2)
    mixed = whole.read(base)
    mixed[:, [3, 1]] = whole.read(source)[:, [3, 1]]
    expected = torch.stack([torch.linalg.solve(whole.matrix, z - whole.offset) for z in mixed])
    assert torch.allclose(swap(part, base, source), expected)


def test_its_swaps_are_those_of_a_biorthogonal_pair_whatever_the_offset() -> None:
    part = _map([3, 1])
    pair = part.subspace()
    base, source = _states(1), _states(2)
    assert pair.defect() < 1e-12
    assert torch.allclose(swap(part, base, source), pair.swap(base, source))
    # Erasure goes to where the coordinates are 0: the offset is what distinguishes the two.
    assert float(part.read(pair.erase(base)).abs().max()) < 1e-10
    assert float(part.read(base).abs().max()) > 0.1


def test_without_an_offset_it_is_zero() -> None:
    assert not affine(torch.eye(3), index=[0]).offset.any()


@pytest.mark.parametrize("scale", [0.0, 1e-6])
def test_a_matrix_without_an_inverse(scale: float) -> None:
    matrix = torch.eye(3)
    matrix[2, 2] = scale
    with pytest.raises(AlignmentError) as caught:
        affine(matrix, index=[0])
    assert str(caught.value).startswith(
        "the matrix of an affine map cannot be inverted safely\n  got:      condition number"
    )
    assert "expected: at most 10000" in str(caught.value)


def test_a_file_whose_matrices_do_not_belong_together() -> None:
    tensors = _map([0]).tensors()
    with pytest.raises(AlignmentError) as caught:
        AffineMap.from_tensors({**tensors, "inverse": tensors["inverse"] * 1.5})
    assert "the matrices of an affine map are not each other's inverse" in str(caught.value)
    assert "max |A A^-1 - I| = 0.5" in str(caught.value)

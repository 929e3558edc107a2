from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch

from commutes.errors import FitError
from commutes.features import Subspace, difference_of_means, leace, merge, moments


def _data(classes: int = 2, n: int = 400, d: int = 6, seed: int = 0) -> tuple[torch.Tensor, np.ndarray]:
    rng = np.random.default_rng(seed)
    labels = rng.integers(classes, size=n)
    x = (
        rng.standard_normal((n, d)) @ rng.standard_normal((d, d))
        + 2 * rng.standard_normal((classes, d))[labels]
    )
    return torch.from_numpy(x), labels


def _theirs(states: torch.Tensor, labels: np.ndarray) -> torch.Tensor:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        oracle = pytest.importorskip("concept_erasure")
    one_hot = torch.nn.functional.one_hot(torch.from_numpy(labels)).double()
    eraser = oracle.LeaceFitter.fit(
        states, one_hot, shrinkage=False, constrain_cov_trace=False, svd_tol=1e-6
    ).eraser
    return eraser(states)


@pytest.mark.parametrize("classes", [2, 4])
def test_erasure_is_concept_erasures(classes: int) -> None:
    states, labels = _data(classes)
    ours = leace(moments(states, labels))
    assert ours.dimension == classes - 1
    assert (ours.erase(states) - _theirs(states, labels)).abs().max() < 1e-8


def test_erasure_from_merged_parts_is_concept_erasures() -> None:
    states, labels = _data(3)
    parts = [moments(states[:100], labels[:100]), moments(states[100:], labels[100:])]
    assert (leace(merge(parts)).erase(states) - _theirs(states, labels)).abs().max() < 1e-8


def test_a_singular_covariance_is_no_trouble() -> None:
    states, labels = _data(2)
    flat = torch.cat([states, states[:, :2] @ torch.ones(2, 2).double()], dim=1)
    found = leace(moments(flat, labels))
    assert found.defect() < 1e-8
    assert (found.erase(flat) - _theirs(flat, labels)).abs().max() < 1e-7


@pytest.mark.parametrize("classes", [2, 4])
def test_class_means_are_equal_after_and_were_not_before(classes: int) -> None:
    states, labels = _data(classes)
    erased = leace(moments(states, labels)).erase(states)
    for x, equal in ((states, False), (erased, True)):
        gaps = [float((x[labels == c].mean(dim=0) - x.mean(dim=0)).norm()) for c in range(classes)]
        assert (max(gaps) < 1e-9) == equal
    assert torch.allclose(erased.mean(dim=0), states.mean(dim=0))


def test_of_the_maps_that_make_the_means_equal_it_moves_the_states_least() -> None:
    """Least in the norm of the inverse covariance and in the plain one; difference of means is another such map."""
    states, labels = _data(2)
    m = moments(states, labels)
    inverse = torch.linalg.inv(m.covariance)

    def moved(subspace: Subspace) -> tuple[float, float]:
        change = subspace.erase(states) - states
        return float(change.square().sum()), float(torch.einsum("ni,ij,nj->", change, inverse, change))

    ours, plain = moved(leace(m)), moved(difference_of_means(m))
    assert ours[0] < plain[0]
    assert ours[1] < plain[1]


def test_a_linear_probe_sees_the_class_before_and_not_after() -> None:
    states, labels = _data(2)
    found = leace(moments(states, labels))
    z = torch.from_numpy(labels).double() - labels.mean()
    for x, sees in ((states, True), (found.erase(states), False)):
        centred = x - x.mean(dim=0)
        weights = torch.linalg.lstsq(centred, z[:, None], driver="gelsd").solution
        explained = 1 - float((z - (centred @ weights)[:, 0]).square().sum() / z.square().sum())
        assert (explained > 0.2) == sees
        assert sees or abs(explained) < 1e-9


def test_one_class() -> None:
    states, _ = _data()
    with pytest.raises(FitError, match="concept erasure compares classes, and there is one"):
        leace(moments(states))

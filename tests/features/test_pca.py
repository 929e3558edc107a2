from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch

from commutes.errors import FitError
from commutes.features import Subspace, lda, lift, moments, pca, pca_of_differences, principal


def _data(n: int = 80, d: int = 6, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.standard_normal((n, d)) @ rng.standard_normal((d, d)) + rng.standard_normal(d)


def test_components_are_scikit_learns() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        decomposition = pytest.importorskip("sklearn.decomposition")
    x = _data()
    theirs = decomposition.PCA(3).fit(x).components_.T
    ours = pca(moments(torch.from_numpy(x), np.arange(80) % 2), k=3)
    assert np.allclose(np.abs(theirs.T @ ours.reader.numpy()), np.eye(3), atol=1e-9)
    assert ours.reader is ours.writer
    assert ours.centre is not None
    assert np.allclose(ours.centre.numpy(), x.mean(axis=0))


def test_differences_are_taken_about_the_origin() -> None:
    deltas = np.random.default_rng(1).standard_normal((200, 4)) * [1, 1, 1, 0.1] + [0, 0, 0, 5]
    m = moments(torch.from_numpy(deltas))
    # What all pairs have in common counts for differences, and is exactly what a covariance leaves out.
    assert abs(float(pca_of_differences(m, k=1).reader[3])) > 0.99
    assert abs(float(pca(m, k=1).reader[3])) < 0.2
    lead = np.linalg.svd(deltas)[2][0]
    assert abs(lead @ pca_of_differences(m, k=1).reader[:, 0].numpy()) == pytest.approx(1)
    assert pca_of_differences(m, k=1).centre is None


def test_the_sign_is_settled() -> None:
    x = torch.from_numpy(_data())
    for found in (pca(moments(x), k=3).reader, pca(moments(-x), k=3).reader):
        assert (found.gather(0, found.abs().argmax(dim=0, keepdim=True)) > 0).all()


def test_more_components_than_the_states_vary_in() -> None:
    x = torch.from_numpy(_data(4))
    with pytest.raises(FitError) as caught:
        pca(moments(x), k=4)
    assert str(caught.value) == (
        "the covariance of the states has fewer directions than were asked for\n"
        "  got:      k = 4, and 3 of 6 eigenvalues above rounding\n"
        "  expected: k from 1 to 3\n"
        "  do:       ask for fewer dimensions"
    )
    with pytest.raises(FitError, match="nothing varies here"):
        pca(moments(torch.ones(5, 3)), k=1)
    with pytest.raises(FitError, match="more dimensions are asked for than the site has"):
        pca(moments(x), k=7)


# Working in principal components.


def test_a_closed_form_in_all_components_is_the_closed_form() -> None:
    x, labels = _data(), np.arange(80) % 3
    x += 3 * np.random.default_rng(5).standard_normal((3, 6))[labels]
    states = torch.from_numpy(x)
    basis = principal(states)
    assert basis.shape == (6, 6)
    there = lift(lda(moments(states @ basis, labels), shrinkage=0.0), basis)
    here = lda(moments(states, labels), shrinkage=0.0)
    # Signs are settled in other coordinates, so that projectors are compared.
    assert torch.allclose(there.projector(), here.projector())
    assert there.centre is not None
    assert here.centre is not None
    assert torch.allclose(there.centre, here.centre)


def test_fewer_states_than_coordinates() -> None:
    rng = np.random.default_rng(0)
    states, labels = torch.from_numpy(rng.standard_normal((40, 300))), np.arange(40) % 2
    states[:, :3] += 4 * torch.from_numpy(labels)[:, None]
    basis = principal(states, 30)
    assert torch.allclose(basis.T @ basis, torch.eye(30).double())
    found = lift(lda(moments(states @ basis, labels)), basis, states.mean(dim=0))
    assert found.defect() < 1e-9
    assert found.centre is not None
    assert torch.allclose(found.centre, states.mean(dim=0))
    read = found.read(states)[:, 0]
    assert float((read[1::2].mean() - read[::2].mean()).abs()) > 3 * float(read[::2].std())
    # No more components than there are directions between forty states.
    assert principal(states, 256).shape == (300, 39)


def test_components_keep_an_orthogonal_map_orthogonal() -> None:
    x = torch.from_numpy(_data())
    basis = principal(x, 4)
    found = lift(pca(moments(x @ basis), k=2), basis)
    assert found.reader is found.writer
    assert found.defect() < 1e-10


def test_states_that_do_not_vary_have_no_components() -> None:
    with pytest.raises(FitError, match="the states do not vary"):
        principal(torch.full((5, 3), 0.1))
    with pytest.raises(FitError, match="k is a number of dimensions"):
        principal(torch.randn(5, 3), 0)


def test_a_subspace_of_another_basis_is_not_lifted() -> None:
    eye = torch.eye(3).double()
    with pytest.raises(FitError) as caught:
        lift(Subspace(eye[:, :1], eye[:, :1]), torch.eye(5).double()[:, :4])
    assert str(caught.value) == (
        "the subspace was not found in this basis\n"
        "  got:      states of 3 numbers, 4 basis vectors\n"
        "  expected: as many of both"
    )

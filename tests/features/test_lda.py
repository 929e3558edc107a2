from __future__ import annotations

import warnings
from types import ModuleType

import numpy as np
import pytest
import torch

from commutes.errors import FitError
from commutes.features import lda, moments


@pytest.fixture(scope="module")
def oracle() -> ModuleType:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pytest.importorskip("sklearn.discriminant_analysis")


def _data(classes: int, n: int = 200, d: int = 6, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % classes
    x = (
        rng.standard_normal((n, d)) @ rng.standard_normal((d, d))
        + 2 * rng.standard_normal((classes, d))[labels]
    )
    return x, labels


def _up_to_sign(got: np.ndarray, wanted: np.ndarray) -> bool:
    got, wanted = got / np.linalg.norm(got, axis=0), wanted / np.linalg.norm(wanted, axis=0)
    return bool(np.allclose(np.abs((got * wanted).sum(axis=0)), 1, atol=1e-9))


@pytest.mark.parametrize("classes", [2, 4])
def test_discriminants_are_scikit_learns(oracle: ModuleType, classes: int) -> None:
    x, labels = _data(classes)
    theirs = oracle.LinearDiscriminantAnalysis(solver="eigen").fit(x, labels)
    ours = lda(moments(torch.from_numpy(x), labels), shrinkage=0.0)
    assert ours.dimension == classes - 1
    assert _up_to_sign(ours.reader.numpy(), theirs.scalings_[:, : classes - 1])
    # Scikit-learn scales them alike: the covariance within the classes is 1 along each.
    assert np.allclose(np.abs(ours.reader.numpy()), np.abs(theirs.scalings_[:, : classes - 1]))


def test_the_shrunk_direction_is_scikit_learns(oracle: ModuleType) -> None:
    from sklearn.covariance import LedoitWolf

    x, labels = _data(2, n=20, d=12)
    means = np.stack([x[labels == c].mean(axis=0) for c in range(2)])
    within = LedoitWolf(assume_centered=True).fit(x - means[labels]).covariance_
    wanted = np.linalg.solve(within, means[1] - means[0])[:, None]
    ours = lda(moments(torch.from_numpy(x), labels))
    assert _up_to_sign(ours.reader.numpy(), wanted)
    unshrunk = lda(moments(torch.from_numpy(x), labels), shrinkage=0.0)
    assert not _up_to_sign(unshrunk.reader.numpy(), wanted)


def test_the_writer_is_the_reader_seen_by_the_covariance() -> None:
    x, labels = _data(4)
    m = moments(torch.from_numpy(x), labels)
    found = lda(m)
    assert found.defect() < 1e-9
    assert torch.allclose(found.writer, m.shrunk()[0] @ found.reader)
    # Erasing along two classes' discriminant makes the class means equal: the writer is along their difference.
    x, labels = _data(2)
    m = moments(torch.from_numpy(x), labels)
    gap = m.means[1] - m.means[0]
    along = lda(m, shrinkage=0.0).writer[:, 0]
    assert float((gap @ along).abs() / gap.norm() / along.norm()) == pytest.approx(1)


def test_the_orthogonal_map_has_the_span_of_the_readers() -> None:
    x, labels = _data(4)
    m = moments(torch.from_numpy(x), labels)
    oblique, orthogonal = lda(m), lda(m, map="orthogonal")
    assert orthogonal.reader is orthogonal.writer
    assert float(oblique.angles(orthogonal, of="reader").max()) < 1e-7
    assert float(oblique.angles(orthogonal, of="writer").max()) > 0.01


# Refusals.


def _said(m: object, **options: object) -> str:
    with pytest.raises(FitError) as caught:
        lda(m, **options)  # type: ignore[arg-type]
    return str(caught.value)


def test_a_singular_covariance_without_shrinkage() -> None:
    x, labels = _data(2, n=6, d=12)
    m = moments(torch.from_numpy(x), labels)
    assert _said(m, shrinkage=0.0) == (
        "the covariance within the classes is singular\n"
        "  got:      8 of 12 directions without variance\n"
        "  expected: variance in every direction\n"
        "  do:       shrink it, or work in the leading principal components: principal(states), then lift"
    )
    assert lda(m).defect() < 1e-9


def test_states_without_any_variance_within_their_classes() -> None:
    m = moments(torch.tensor([[0.0, 1.0], [2.0, 0.0]]), [0, 1])
    assert "2 of 2 directions without variance" in _said(m)


def test_one_class_and_too_many_dimensions() -> None:
    x, labels = _data(3)
    m = moments(torch.from_numpy(x), labels)
    assert "there is one" in _said(m.one(0))
    assert _said(m, k=3).startswith(
        "more dimensions are asked for than tell the classes apart\n  got:      k = 3 for 3 classes"
    )
    assert "more dimensions are asked for than the site has" in _said(m, k=9)
    assert "shrinkage is a share" in _said(m, shrinkage=1.5)
    assert "there is no such map" in _said(m, map="diagonal")

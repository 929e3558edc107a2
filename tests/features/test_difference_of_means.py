from __future__ import annotations

import numpy as np
import pytest
import torch

from commutes.errors import FitError
from commutes.features import difference_of_means, moments


def _data(classes: int = 2, d: int = 6, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    labels = rng.integers(classes, size=90)
    return rng.standard_normal((90, d)) + 2 * rng.standard_normal((classes, d))[labels], labels


def test_two_classes_give_the_direction_from_the_first_to_the_second() -> None:
    x, labels = _data()
    found = difference_of_means(moments(torch.from_numpy(x), labels))
    gap = x[labels == 1].mean(axis=0) - x[labels == 0].mean(axis=0)
    assert np.allclose(found.reader[:, 0].numpy(), gap / np.linalg.norm(gap))
    assert found.reader is found.writer
    assert found.centre is not None
    assert np.allclose(found.centre.numpy(), x.mean(axis=0))


def test_more_classes_give_the_span_of_their_means() -> None:
    x, labels = _data(4)
    found = difference_of_means(moments(torch.from_numpy(x), labels))
    means = np.stack([x[labels == c].mean(axis=0) for c in range(4)]) - x.mean(axis=0)
    assert found.dimension == 3
    assert np.allclose(means @ found.projector().numpy(), means)
    # Fewer dimensions: those in which the means, weighted by how often they occur, vary most.
    weighted = means * np.sqrt(np.bincount(labels) / len(labels))[:, None]
    lead = np.linalg.svd(weighted)[2][:2].T
    two = difference_of_means(moments(torch.from_numpy(x), labels), k=2)
    assert np.allclose(two.projector().numpy(), lead @ lead.T)


def test_after_erasure_two_class_means_are_equal_and_were_not_before() -> None:
    x, labels = _data()
    states = torch.from_numpy(x)
    erased = difference_of_means(moments(states, labels)).erase(states).numpy()
    gaps = [m[labels == 1].mean(axis=0) - m[labels == 0].mean(axis=0) for m in (x, erased)]
    assert np.linalg.norm(gaps[0]) > 1
    assert np.linalg.norm(gaps[1]) < 1e-10
    assert np.allclose(erased.mean(axis=0), x.mean(axis=0))


def test_one_class() -> None:
    with pytest.raises(FitError) as caught:
        difference_of_means(moments(torch.randn(9, 3), [4] * 9))
    assert str(caught.value) == (
        "a difference of means compares classes, and there is one\n"
        "  got:      class 4 in all 9 states\n"
        "  expected: states of at least two values of the variable\n"
        "  do:       the variable is constant on these inputs: draw others"
    )


def test_class_means_that_coincide() -> None:
    x = torch.tensor([[1.0, 2.0], [3.0, 0.0], [1.0, 2.0], [3.0, 0.0]])
    with pytest.raises(FitError) as caught:
        difference_of_means(moments(x, [0, 0, 1, 1]))
    assert str(caught.value).startswith(
        "a difference of means compares classes, and their means coincide\n"
        "  got:      2 classes of which no coordinate knows"
    )


@pytest.mark.parametrize(
    ("k", "text"),
    [
        (2, "k = 2, and 1 of 6 eigenvalues above rounding"),
        (7, "more dimensions are asked for than the site has"),
        (0, "k is a number of dimensions"),
        (1.5, "k is a number of dimensions"),
    ],
)
def test_dimensions_that_there_are_not(k: int, text: str) -> None:
    x, labels = _data()
    with pytest.raises(FitError) as caught:
        difference_of_means(moments(torch.from_numpy(x), labels), k=k)
    assert text in str(caught.value)

from __future__ import annotations

import numpy as np
import pytest
import scipy.linalg
import torch

from commutes.errors import FitError
from commutes.features import (
    Moments,
    Subspace,
    choose_size,
    contrast,
    moments,
    null_spectrum,
    pca_of_differences,
    transitions,
)

D = 6


def _deltas(seed: int = 0, n: int = 80) -> tuple[torch.Tensor, torch.Tensor]:
    rng = np.random.default_rng(seed)
    flips = rng.standard_normal((n, D)) @ rng.standard_normal((D, D))
    holds = rng.standard_normal((n, D)) @ rng.standard_normal((D, D))
    return torch.from_numpy(flips), torch.from_numpy(holds)


def _planted(
    k: int, *, n: int = 500, d: int = 16, seed: int = 0
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """h = D v + M u with more nuisances than the variable has dimensions; flips move u's first parts, too.

    Returns differences that flip v, differences that hold it, and the true reader and writer.
    """
    rng = np.random.default_rng([seed, k])
    mixing = np.linalg.qr(rng.standard_normal((d, d)))[0] @ (np.eye(d) + 0.3 * rng.standard_normal((d, d)))
    flips, holds = rng.standard_normal((n, d)), rng.standard_normal((n, d))
    holds[:, :k] = 0
    # The variable's parents move with it, in three directions of which the pairs that hold it know.
    flips[:, k + 3 :] = 0
    flips[:, :k] *= 2
    noise = 0.01 * rng.standard_normal((2, n, d))
    reader = np.linalg.inv(mixing).T[:, :k]
    return (
        torch.from_numpy(flips @ mixing.T + noise[0]),
        torch.from_numpy(holds @ mixing.T + noise[1]),
        torch.from_numpy(reader),
        torch.from_numpy(mixing[:, :k].copy()),
    )


@pytest.mark.parametrize("ridge", [0.1, 2.0])
def test_its_spectrum_is_scipys_generalised_one(ridge: float) -> None:
    flips, holds = _deltas()
    found = contrast(moments(flips), moments(holds), ridge=ridge)
    s1, s0 = (flips.T @ flips / 80).numpy(), (holds.T @ holds / 80).numpy()
    metric = s0 + ridge * np.trace(s0) / D * np.eye(D)
    values, vectors = scipy.linalg.eigh(s1, metric)
    assert np.allclose(found.values.numpy(), values[::-1])
    assert np.allclose(np.abs(found.readers.numpy()), np.abs(vectors[:, ::-1]))
    subspace = found.subspace(2)
    assert np.allclose(subspace.writer.numpy(), metric @ subspace.reader.numpy())
    assert subspace.defect() < 1e-10


def test_the_default_ridge_depends_on_the_map() -> None:
    flips, holds = (moments(d) for d in _deltas())
    level = float(holds.second.trace()) / D
    for map, share in (("oblique", 0.1), ("orthogonal", 1.0)):
        found = contrast(flips, holds, map=map)  # type: ignore[arg-type]
        assert torch.allclose(found.metric - holds.second, share * level * torch.eye(D).double())
    orthogonal = contrast(flips, holds, map="orthogonal").subspace(2)
    assert orthogonal.reader is orthogonal.writer
    assert orthogonal.defect() < 1e-10


@pytest.mark.parametrize("k", [1, 2, 4])
def test_it_finds_the_planted_reader_and_the_components_of_the_flips_do_not(k: int) -> None:
    flips, holds, reader, writer = _planted(k)
    found = contrast(moments(flips), moments(holds), ridge=1e-5).subspace(k)
    plain = pca_of_differences(moments(flips), k=k)
    truth = Subspace(reader, writer)
    assert float(truth.angles(found, of="reader").max()) < 0.05
    assert float(truth.angles(found, of="writer").max()) < 0.25
    assert float(truth.angles(plain, of="reader").max()) > 0.4


def test_every_transition_counts_alike() -> None:
    """Ten times longer differences between two of three values change nothing but their own length."""
    flips, holds = _deltas(n=90)
    labels = transitions(np.arange(90) % 3, (np.arange(90) + 1) % 3)
    assert sorted(set(labels.tolist())) == [0, 1, 2]
    scaled = flips.clone()
    scaled[torch.from_numpy(labels == 2)] *= 10
    one, other = (contrast(moments(f, labels), moments(holds)) for f in (flips, scaled))
    assert torch.allclose(one.values, other.values)
    blind, blind_scaled = (contrast(moments(f), moments(holds)) for f in (flips, scaled))
    assert not torch.allclose(blind.values, blind_scaled.values, rtol=0.5)


def test_transitions_have_no_direction() -> None:
    assert transitions(np.array([0, 1, 2, 0]), np.array([1, 0, 0, 2])).tolist() == [0, 0, 1, 1]


# How many dimensions.


@pytest.mark.parametrize("k", [1, 2, 3, 5])
def test_the_size_is_the_planted_one(k: int) -> None:
    flips, holds, _, _ = _planted(k)
    found = choose_size(flips, holds, draws=8, seed=0)
    assert abs(found.k - k) <= 1
    assert found.above >= k
    assert found.null.shape == (8, 16)


def test_where_nothing_goes_with_the_variable_the_size_is_zero() -> None:
    rng = np.random.default_rng(0)
    sizes = []
    for _ in range(10):
        flips, holds = (torch.from_numpy(rng.standard_normal((200, 8))) for _ in range(2))
        sizes.append(choose_size(flips, holds, draws=19, seed=0).k)
    # By chance the largest of twenty equal draws is the first one in one case of twenty.
    assert sizes.count(0) >= 8


def test_the_null_is_drawn_from_its_seed_and_has_forgotten_the_labels() -> None:
    flips, holds, _, _ = _planted(1)
    once, again = (null_spectrum(flips, holds, draws=3, seed=5) for _ in range(2))
    assert torch.equal(once, again)
    assert not torch.equal(once, null_spectrum(flips, holds, draws=3, seed=6))
    assert float(contrast(moments(flips), moments(holds)).values[0]) > 3 * float(once.max())
    with pytest.raises(FitError, match="draws is a count"):
        null_spectrum(flips, holds, draws=0, seed=0)


def test_a_null_with_transitions_shuffles_them_with_the_pairs() -> None:
    flips, holds = _deltas(n=90)
    null = null_spectrum(flips, holds, labels=np.arange(90) % 3, draws=2, seed=0)
    assert null.shape == (2, D)
    assert bool((null[:, :-1] >= null[:, 1:]).all())


# Refusals.


def _said(flips: Moments, holds: Moments, **options: object) -> str:
    with pytest.raises(FitError) as caught:
        contrast(flips, holds, **options).subspace(1)  # type: ignore[arg-type]
    return str(caught.value)


def test_refusals() -> None:
    flips, holds = (moments(d) for d in _deltas())
    still = moments(torch.zeros(5, D))
    assert _said(flips, still) == (
        "the pairs that hold the variable change nothing at this site\n"
        "  got:      5 differences, all zero\n"
        "  expected: differences of what the variable does not depend on\n"
        '  do:       draw them with nuisance="all", or choose a site that holds more than the variable'
    )
    assert _said(still, holds) == (
        "the variable changes nothing at this site\n"
        "  got:      1 of 1 transitions with no difference at all\n"
        "  expected: states that differ when the variable does\n"
        "  do:       choose a site that the variable reaches"
    )
    assert "states of 6 and of 3 numbers" in _said(flips, moments(torch.ones(2, 3)))
    assert "the ridge is a multiple of tr(S0)/d" in _said(flips, holds, ridge=0.0)
    assert "there is no such map" in _said(flips, holds, map="round")
    with pytest.raises(FitError, match="more dimensions are asked for than the site has"):
        contrast(flips, holds).subspace(7)

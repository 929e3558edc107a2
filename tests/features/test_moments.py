from __future__ import annotations

import itertools
import warnings

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from commutes.errors import FitError
from commutes.features import Moments, merge, moments


def _data(n: int = 60, d: int = 5, classes: int = 3, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    labels = rng.integers(classes, size=n)
    states = (
        rng.standard_normal((n, d)) @ rng.standard_normal((d, d))
        + 3 * rng.standard_normal((classes, d))[labels]
    )
    return states, labels


def _close(got: torch.Tensor, wanted: np.ndarray, tolerance: float = 1e-9) -> bool:
    return bool(np.allclose(got.numpy(), wanted, rtol=tolerance, atol=tolerance * (1 + np.abs(wanted).max())))


def _sums(m: Moments) -> list[torch.Tensor]:
    return [m.counts, m.means, m.scatters, m.cubes, m.quartics]


def test_moments_are_what_numpy_says() -> None:
    x, labels = _data()
    found = moments(torch.from_numpy(x), labels)
    assert found.labels == (0, 1, 2)
    assert (found.n, found.width) == (60, 5)
    assert _close(found.mean, x.mean(axis=0))
    assert _close(found.covariance, np.cov(x.T, bias=True))
    assert _close(found.second, x.T @ x / len(x))
    within = sum(np.cov(x[labels == c].T, bias=True) * (labels == c).mean() for c in range(3))
    assert _close(found.within, within)
    assert _close(found.between, np.cov(x.T, bias=True) - within)
    for c in range(3):
        y = x[labels == c] - x[labels == c].mean(axis=0)
        squares = (y**2).sum(axis=1)
        assert _close(found.cubes[c], squares @ y)
        assert _close(found.quartics[c], (squares**2).sum())
        assert _close(found.one(c).mean, x[labels == c].mean(axis=0))
    assert _close(found.pooled().covariance, np.cov(x.T, bias=True))
    centred = ((x - x.mean(axis=0)) ** 2).sum(axis=1)
    assert _close(found.pooled().quartics, (centred**2).sum()[None])


@given(
    cuts=st.lists(st.integers(1, 59), max_size=5),
    seed=st.integers(0, 1000),
    shift=st.sampled_from([0.0, 1e4]),
)
@settings(deadline=None, derandomize=True, max_examples=25)
def test_moments_of_parts_merge_to_those_of_the_whole(cuts: list[int], seed: int, shift: float) -> None:
    x, labels = _data(seed=seed)
    states = torch.from_numpy(x + shift)
    ends = [0, *sorted(set(cuts)), 60]
    parts = [moments(states[a:b], labels[a:b]) for a, b in itertools.pairwise(ends)]
    whole = moments(states, labels)
    # At once, one by one, and backwards: any grouping.
    one_by_one = parts[0]
    for part in parts[1:]:
        one_by_one = merge([one_by_one, part])
    for merged in (merge(parts), one_by_one, merge(parts[::-1])):
        assert merged.labels == whole.labels
        for got, wanted in zip(_sums(merged), _sums(whole), strict=True):
            # A mean of 1e4 costs four digits of the deviations, and no more: nothing is squared before it is centred.
            assert _close(got, wanted.numpy(), 1e-9 if not shift else 1e-7)


def test_merging_without_centring_would_not_have_kept_the_digits() -> None:
    x, labels = _data()
    big = x.astype(np.float64) + 1e8
    merged = merge([moments(torch.from_numpy(big[:30])), moments(torch.from_numpy(big[30:]))])
    assert _close(merged.covariance, np.cov(x.T, bias=True), 1e-5)
    naive = big.T @ big / 60 - np.outer(big.mean(axis=0), big.mean(axis=0))
    assert not np.allclose(naive, np.cov(x.T, bias=True), rtol=1e-2)
    assert labels.shape == (60,)


def test_classes_that_one_part_lacks() -> None:
    x, _ = _data()
    states = torch.from_numpy(x)
    merged = merge([moments(states[:20], [7] * 20), moments(states[20:], np.array([2, 7] * 20))])
    assert merged.labels == (2, 7)
    assert merged.counts.tolist() == [20, 40]
    assert _close(merged.one(2).mean, x[20::2].mean(axis=0))


def test_several_vectors_per_example_count_each_with_its_label() -> None:
    x, labels = _data()
    grouped = moments(torch.from_numpy(x.reshape(30, 2, 5)), labels[:30])
    flat = moments(torch.from_numpy(x), np.repeat(labels[:30], 2))
    for got, wanted in zip(_sums(grouped), _sums(flat), strict=True):
        assert torch.equal(got, wanted)


def test_single_precision_is_summed_in_double() -> None:
    x, labels = _data()
    single = torch.from_numpy(x).float()
    assert moments(single, labels).scatters.dtype == torch.float64
    assert _close(moments(single).covariance, np.cov(single.double().numpy().T, bias=True))


def test_truth_values_are_classes() -> None:
    x, labels = _data()
    assert moments(torch.from_numpy(x), torch.from_numpy(labels == 1)).labels == (0, 1)


@pytest.mark.parametrize(("n", "d"), [(40, 5), (12, 30), (400, 5)])
def test_shrinkage_is_scikit_learns(n: int, d: int) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        covariance = pytest.importorskip("sklearn.covariance")
    x, labels = _data(n, d, 2, seed=4)
    for found, centred in (
        (moments(torch.from_numpy(x)), x - x.mean(axis=0)),
        (
            moments(torch.from_numpy(x), labels),
            x - np.stack([x[labels == c].mean(axis=0) for c in range(2)])[labels],
        ),
    ):
        oracle = covariance.LedoitWolf(assume_centered=True).fit(centred)
        shrunk, share = found.shrunk()
        assert share == pytest.approx(oracle.shrinkage_, rel=1e-8)
        assert _close(shrunk, oracle.covariance_)
        assert 0 < share <= 1
    # Also where the sums come from parts.
    parts = merge([moments(torch.from_numpy(x[: n // 3])), moments(torch.from_numpy(x[n // 3 :]))])
    oracle = covariance.LedoitWolf().fit(x)
    assert parts.shrunk()[1] == pytest.approx(oracle.shrinkage_, rel=1e-8)


def test_states_that_are_all_alike_are_not_shrunk() -> None:
    shrunk, share = moments(torch.ones(5, 3)).shrunk()
    assert share == 0
    assert not shrunk.any()


# Refusals.


def _said(*args: object) -> str:
    with pytest.raises(FitError) as caught:
        moments(*args)  # type: ignore[arg-type]
    return str(caught.value)


def test_activations_that_are_not_finite() -> None:
    states = torch.zeros(6, 3)
    states[4, 1] = torch.nan
    states[5, 0] = torch.inf
    assert _said(states) == (
        "activations are not finite\n"
        "  got:      2 of 6 states, the first is number 4\n"
        "  expected: finite numbers\n"
        "  do:       look at what the network does with that input, or leave it out"
    )


@pytest.mark.parametrize("labels", [[0, 1], [[0], [1], [2]], [0.5, 1.0, 2.0], ["a", "b", "c"]], ids=str)
def test_labels_that_do_not_fit(labels: object) -> None:
    said = _said(torch.zeros(3, 2), labels)
    assert said.startswith("every state needs one class")
    assert "expected: 3 whole numbers or truth values" in said


def test_no_states() -> None:
    assert _said(torch.zeros(0, 2)) == "there are no states\n  got:      none\n  expected: at least one"


def test_more_than_fits_into_memory() -> None:
    said = _said(torch.zeros(2, 20_000))
    assert said.startswith("the scatter matrices would not fit into memory")
    assert "1 classes of 20,000 x 20,000 numbers" in said
    assert "principal(states)" in said


def test_merging_what_does_not_belong_together() -> None:
    with pytest.raises(FitError, match="states of 2 and 3 numbers"):
        merge([moments(torch.zeros(1, 3)), moments(torch.zeros(1, 2))])
    with pytest.raises(FitError, match="moments of one width are merged"):
        merge([])


def test_a_class_that_is_not_there() -> None:
    with pytest.raises(FitError, match="no state is of this class"):
        moments(torch.zeros(1, 3)).one(4)

"""Every featurizer of the library keeps the contract that it asks of others."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from commutes.features import (
    Latents,
    Neurons,
    SparseAutoencoder,
    Subspace,
    affine,
    contrast,
    difference_of_means,
    joint,
    lda,
    leace,
    moments,
    orthonormal,
    pca,
    random_raw,
    reversible,
    rotation,
    stacked,
)
from commutes.testing import FeaturizerContract

WIDTH = 8


def _normal(*shape: int, seed: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def _oblique(k: int = 3) -> Subspace:
    reader, other = _normal(WIDTH, k, seed=1), _normal(WIDTH, k, seed=2)
    return Subspace(reader, other @ torch.linalg.inv(reader.T @ other))


def _labelled() -> tuple[torch.Tensor, torch.Tensor]:
    labels = torch.arange(300) % 3
    states = (
        _normal(300, WIDTH, seed=3) @ _normal(WIDTH, WIDTH, seed=4) + 2 * _normal(3, WIDTH, seed=5)[labels]
    )
    return states, labels


def _found() -> dict[str, Subspace]:
    states, labels = _labelled()
    by_class = moments(states, labels)
    flips, holds = moments(states[labels == 0]), moments(states[labels == 1])
    one, two = lda(by_class, k=1), pca(by_class, k=2)
    return {
        "difference of means": difference_of_means(by_class),
        "LDA": lda(by_class),
        "LDA, orthogonal": lda(by_class, map="orthogonal"),
        "PCA": pca(by_class, k=2),
        "LEACE": leace(by_class),
        "contrast": contrast(flips, holds).subspace(2),
        "contrast, orthogonal": contrast(flips, holds, map="orthogonal").subspace(2),
        "joint": stacked(joint([one, two])),
    }


LINEAR: dict[str, Callable[[], Subspace]] = {
    "rotation": lambda: rotation(random_raw(WIDTH, 3, 0, dtype=torch.float64)),
    "oblique": _oblique,
    "oblique, centred": lambda: _oblique().centred(_normal(WIDTH, seed=7)),
    "one dimension": lambda: _oblique(1),
    **{name: (lambda name=name: _found()[name]) for name in _found()},
}


@pytest.mark.parametrize("kind", LINEAR)
class TestSubspace(FeaturizerContract):
    @pytest.fixture(autouse=True)
    def _kind(self, kind: str) -> None:
        self.kind = kind

    def featurizer(self) -> Subspace:
        return LINEAR[self.kind]()


class TestWholeSpace(FeaturizerContract):
    def featurizer(self) -> Subspace:
        return rotation(random_raw(WIDTH, WIDTH, 0, dtype=torch.float64))


class TestNeurons(FeaturizerContract):
    def featurizer(self) -> Neurons:
        return Neurons(torch.tensor([5, 0, 2]))

    def complement(self, featurizer: Any) -> Neurons:
        return featurizer.complement(self.width)


class TestAffine(FeaturizerContract):
    def featurizer(self) -> Any:
        matrix = _normal(WIDTH, WIDTH, seed=8) + 4 * torch.eye(WIDTH, dtype=torch.float64)
        return affine(matrix, _normal(WIDTH, seed=9), index=[6, 1])


@pytest.mark.parametrize("width", [8, 7, 2])
class TestReversible(FeaturizerContract):
    @pytest.fixture(autouse=True)
    def _width(self, width: int) -> None:
        self.width = width

    def featurizer(self) -> Any:
        index = [0, self.width - 1][: max(1, self.width - 1)]
        return reversible(self.width, index=index, seed=3, hidden=16, bend=0.5, dtype=torch.float64)


def _autoencoder() -> SparseAutoencoder:
    """Five orthonormal directions in eight dimensions, tied."""
    basis = orthonormal(_normal(WIDTH, 5, seed=10))
    centre = _normal(WIDTH, seed=11)
    return SparseAutoencoder(basis, torch.zeros(5).double(), basis.T.contiguous(), centre, centre)


class TestDictionary(FeaturizerContract):
    """On states whose latents are all positive: there an orthonormal tied dictionary encodes what it decodes."""

    def featurizer(self) -> Latents:
        return Latents(_autoencoder(), torch.tensor([4, 0]), torch.float64)

    def states(self, seed: int) -> torch.Tensor:
        dictionary, free = _autoencoder(), super().states(seed)
        latents = super().states(seed + 100)[..., :5].abs() + 0.1
        residual = free - (free @ dictionary.encoder) @ dictionary.decoder
        return dictionary.decode(latents) + residual

    def reloaded(self, featurizer: Any) -> Latents:
        again = SparseAutoencoder.from_tensors(featurizer.dictionary.tensors())
        return Latents(again, featurizer.index, featurizer.dtype)

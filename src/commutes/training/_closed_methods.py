"""The closed forms by name, each from the states and pairs that it is defined on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

import numpy as np
import torch

from commutes.algorithm import Variable
from commutes.errors import DataError
from commutes.features import (
    Moments,
    Subspace,
    active_subspace,
    attribution,
    contrast,
    difference_of_means,
    lda,
    leace,
    moments,
    orthonormal,
    pca,
    pca_of_differences,
    products,
)
from commutes.features._spectra import rounding
from commutes.training._closed_material import Material

__all__ = ["BLIND", "BY_VARIABLE", "METHODS", "Found", "Method"]

Method = Literal[
    "difference_of_means",
    "lda",
    "pca",
    "pca_of_differences",
    "leace",
    "active_subspace",
    "attribution",
    "contrast",
    "pca_of_flips",
]

METHODS: tuple[Method, ...] = get_args(Method)
"""Every closed form."""


@dataclass(frozen=True, eq=False)
class Found:
    """What a method says of one variable, or of all variables of a group together."""

    subspace: Subspace
    values: torch.Tensor
    """The spectrum behind it, falling."""
    notes: dict[str, Any] = field(default_factory=dict)
    """What the history is to say beside it."""


def _difference_of_means(data: Material, variable: Variable, k: int) -> Found:
    found = data.of_classes(variable)
    pair = difference_of_means(found, k=_apart(found, k))
    return Found(pair, _spectrum(found.between), {"inputs": len(data.rows)})


def _lda(data: Material, variable: Variable, k: int) -> Found:
    found = data.of_classes(variable)
    pair = lda(found, k=_apart(found, k), map=data.map)
    return Found(pair, _spectrum(found.between), {"inputs": len(data.rows)})


def _leace(data: Material, variable: Variable, k: int) -> Found:
    found = data.of_classes(variable)
    pair = leace(found)[:k]
    if data.map == "orthogonal":
        basis = orthonormal(pair.reader)
        pair = Subspace(basis, basis, pair.centre)
    return Found(pair, _spectrum(found.between), {"inputs": len(data.rows)})


def _attribution(data: Material, variable: Variable, k: int) -> Found:
    flips = data.flips(variable)[0]
    drawn = flips.pairs
    rows = drawn.effective
    if not rows.any():
        raise DataError(
            "no controlled pair changes the answer",
            got=f"{len(drawn):,} controlled pairs, 0 effective",
            expected="pairs in which the variable alone changes the answer",
            fix="use a method that does not go by the answer",
        )
    plus, minus = drawn.expected[rows], drawn.base_answer[rows]
    base, source = ({name: c[rows] for name, c in side.items()} for side in (flips.base, flips.source))
    slopes = data.slopes(base, plus, minus) + data.slopes(source, plus, minus, source=True)
    sums = products(slopes, data.reduced(data.activations.delta(data.group.site, base, source)))
    mean = (sums.total + sums.total.T) / (2 * sums.n)
    pair = attribution(sums, k=_there(mean, k))
    return Found(
        pair,
        _spectrum(mean),
        {"pairs": int(rows.sum())} | _held_names(data, variable),
    )


def _pca_of_flips(data: Material, variable: Variable, k: int) -> Found:
    found = moments(data.of_flips(variable))
    return Found(
        pca_of_differences(found, k=k),
        _spectrum(found.second),
        {"pairs": found.n} | _held_names(data, variable),
    )


def _contrast(data: Material, variable: Variable, k: int) -> Found:
    flips, holds, labels = data.of_flips(variable), data.of_held(variable), data.flips(variable)[0].labels
    whole = contrast(moments(flips, labels), moments(holds), map=data.map)
    # Beyond the rank of what changes with the variable the eigenvectors are arbitrary.
    rank = max(int((whole.values > 1e-9 * whole.values[0]).sum()), 1)
    notes = {"pairs": len(flips), "held_pairs": len(holds), "recombined": data.held(variable)[1]}
    return Found(whole.subspace(min(k, rank)), whole.values, notes | _held_names(data, variable))


def _pca(data: Material, k: int) -> Found:
    found = moments(data.states)
    pair = pca(found, k=_there(found.covariance, k))
    return Found(pair, _spectrum(found.covariance), {"inputs": len(data.rows)})


def _pca_of_differences(data: Material, k: int) -> Found:
    base, source = _sides(data, np.arange(len(data.pairs)))
    rows = data.some_pairs(np.ones(len(base), bool))
    deltas = data.reduced(
        data.activations.delta(
            data.group.site, *({n: c[s[rows]] for n, c in data.pairs.inputs.items()} for s in (base, source))
        )
    )
    found = moments(deltas)
    pair = pca_of_differences(found, k=_there(found.second, k))
    return Found(pair, _spectrum(found.second), {"pairs": len(rows)})


def _sides(data: Material, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Base and source of every pair, once for each source, as rows of the inputs."""
    sources = data.pairs.source[rows]
    base = np.repeat(data.pairs.base[rows], sources.shape[1])
    flat = sources.reshape(-1)
    return base[flat >= 0], flat[flat >= 0]


def _active_subspace(data: Material, k: int) -> Found:
    rows = data.some_pairs(data.pairs.effective)
    base = {name: column[data.pairs.base[rows]] for name, column in data.pairs.inputs.items()}
    found = moments(data.slopes(base, data.pairs.expected[rows], data.pairs.base_answer[rows]))
    pair = active_subspace(found, k=_there(found.second, k))
    return Found(pair, _spectrum(found.second), {"pairs": len(rows)})


def _apart(found: Moments, k: int) -> int:
    """k, or the number of dimensions in which the class means differ where that is less."""
    return min(_there(found.between, k), max(len(found.labels) - 1, 1))


def _there(matrix: torch.Tensor, k: int) -> int:
    """k, or the number of eigenvalues above rounding where that is less; 1 where there is none, for the refusal."""
    return max(min(k, int((torch.linalg.eigvalsh(matrix) > rounding(matrix)).sum())), 1)


def _spectrum(matrix: torch.Tensor) -> torch.Tensor:
    return torch.linalg.eigvalsh(matrix).flip(0)


def _held_names(data: Material, variable: Variable) -> dict[str, Any]:
    return {"held": list(data.flips(variable)[1])}


BY_VARIABLE: dict[str, Callable[[Material, Variable, int], Found]] = {
    "difference_of_means": _difference_of_means,
    "lda": _lda,
    "leace": _leace,
    "attribution": _attribution,
    "contrast": _contrast,
    "pca_of_flips": _pca_of_flips,
}
"""Those that know of a variable: at most k directions of each."""

BLIND: dict[str, Callable[[Material, int], Found]] = {
    "pca": _pca,
    "pca_of_differences": _pca_of_differences,
    "active_subspace": _active_subspace,
}
"""Those that do not: k directions for all variables of a group together."""

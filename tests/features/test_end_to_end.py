"""From pairs to a subspace to an accuracy, without a gradient step, where the truth is known."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

from commutes import Algorithm, Alignment, Variable, counterfactuals, evaluate
from commutes.features import (
    Moments,
    Oblique,
    Subspace,
    choose_size,
    contrast,
    difference_moments,
    differences,
    joint,
    lda,
    nuisance_pairs,
    stacked,
    state_moments,
)
from commutes.network import Network, Site
from tests.planted import EQUALITY, Planted, equality, planted


@pytest.fixture(scope="module")
def case() -> Planted:
    return planted(symbols=6, pairs=1600)


Sides = tuple[dict[str, np.ndarray], dict[str, np.ndarray]]


def _flips(algorithm: Algorithm, variable: Variable) -> Sides:
    """Controlled pairs of the training part, by value."""
    drawn = counterfactuals(algorithm, 1600, flip={variable}, seed=1).split(train=0.5, select=0.2, test=0.3)[
        0
    ]
    source = drawn.source_of(variable)
    return (
        algorithm.arrays({name: column[drawn.base] for name, column in drawn.inputs.items()}),
        algorithm.arrays({name: column[source] for name, column in drawn.inputs.items()}),
    )


def _holds(case: Planted, variable: Variable) -> Sides:
    pairs = nuisance_pairs(case.algorithm, variable, case.parts[0].inputs, 800, seed=2, nuisance="all")
    return case.algorithm.arrays(pairs.base), case.algorithm.arrays(pairs.source)


def _contrast(case: Planted, site: Site, variable: Variable) -> Subspace:
    flips, holds = _flips(case.algorithm, variable), _holds(case, variable)
    return contrast(difference_moments(site, *flips), difference_moments(site, *holds)).subspace(1)


def _lda(case: Planted, site: Site, variable: Variable) -> Subspace:
    train = case.parts[0]
    found: Moments = state_moments(site, case.algorithm.arrays(train.inputs), train.columns[variable.name])
    return lda(found)


def _accuracy(
    case: Planted, site: Site, find: Callable[[Planted, Site, Variable], Subspace]
) -> tuple[float, float]:
    """IIA on effective held-out pairs, and what a random subspace reaches there."""
    variables = [case.algorithm[name] for name in ("left", "right")]
    together = stacked(joint([find(case, site, v) for v in variables])).to(dtype=torch.float32)
    hidden = Oblique(site)
    claim = Alignment(case.algorithm, {v: hidden[i] for i, v in enumerate(variables)})
    fitted = claim.with_maps([together], fitted_ids=case.parts[0].input_ids)
    found = evaluate(fitted, case.parts[2])
    return found.overall.rate, found.floors["random subspace"].rate


@pytest.mark.parametrize("find", [_contrast, _lda])
def test_closed_forms_find_the_planted_variables(
    case: Planted, find: Callable[[Planted, Site, Variable], Subspace]
) -> None:
    reached, random = _accuracy(case, case.network.site("site"), find)
    assert reached > 0.95
    assert random < 0.75


def test_the_suggested_size_is_one_dimension_per_variable(case: Planted) -> None:
    site = case.network.site("site")
    for name in ("left", "right"):
        variable = case.algorithm[name]
        flips = differences(site, *_flips(case.algorithm, variable))
        holds = differences(site, *_holds(case, variable))
        assert choose_size(flips, holds, draws=5, seed=0).k == 1


def test_on_an_untrained_network_they_stay_near_the_floor() -> None:
    algorithm = equality(6)
    network: Network = EQUALITY.network(EQUALITY.algorithm(6), seed=0, width=16)
    parts = counterfactuals(algorithm, 1600, seed=1).split(train=0.5, select=0.2, test=0.3)
    basis = torch.eye(16)[:, :2]
    case = Planted(algorithm, network, None, Subspace(basis, basis), parts)  # type: ignore[arg-type]
    for find in (_contrast, _lda):
        reached, random = _accuracy(case, network.site("layers.0"), find)
        assert reached < random + 0.1

"""The smallest size that does as well as the best on the selection split."""

from __future__ import annotations

import numpy as np
import pytest

import commutes as cm
from commutes.errors import DataError, FitError
from commutes.testing import zoo
from commutes.training import ClosedForm, Settings, Sized, fit_many, smallest_size
from tests.planted import Planted, planted

SETTINGS = Settings(steps=120, lr=0.05, batch=64, starts=2, every=40)


@pytest.fixture(scope="module")
def case() -> Planted:
    return planted(pairs=800)


def claims(case: Planted, *sizes: int) -> dict[int, cm.Alignment]:
    hidden = cm.Oblique(case.network.site("site"))
    left, right = case.algorithm["left"], case.algorithm["right"]
    return {k: cm.Alignment(case.algorithm, {left: hidden[:k], right: hidden[k : 2 * k]}) for k in sizes}


@pytest.fixture(scope="module")
def sized(case: Planted) -> Sized:
    train, select, _ = case.parts
    return smallest_size(claims(case, 3, 1, 2), train, select=select, seed=0, settings=SETTINGS)


def test_one_dimension_is_enough_for_what_lies_along_one(case: Planted, sized: Sized) -> None:
    assert sized.size == 1
    assert list(sized.scores) == [1, 2, 3]
    assert sized.alignment.sizes(sized.alignment.groups[0]) == dict.fromkeys(sized.alignment.variables, 1)
    assert cm.evaluate(sized.alignment, case.parts[2]).overall.rate > 0.98


def test_it_is_the_fit_of_that_size_and_knows_on_what_it_was_chosen(case: Planted, sized: Sized) -> None:
    train, select, test = case.parts
    (alone,) = fit_many(list(claims(case, 1).values()), [train], selects=[select], seed=0, settings=SETTINGS)
    assert alone.history["selection"] == sized.alignment.history["selection"]
    assert np.array_equal(sized.alignment.selected_ids, select.input_ids)
    assert np.array_equal(sized.alignment.fitted_ids, train.input_ids)
    at = sized.alignment.history["chosen_step"]
    assert dict(map(tuple, alone.history["selection"]))[at] == pytest.approx(sized.scores[1][0])
    assert sized.alignment.history["sizes"] == {str(k): list(both) for k, both in sized.scores.items()}
    # It is a claim like any other.
    assert cm.challenge(sized.alignment, train=train, select=select, test=test, level="R1").level == "R1"


def test_a_variable_of_four_values_needs_three_dimensions_and_one_of_two_needs_one() -> None:
    for name, variable, size in (("many values", "first", 3), ("clean", "left", 1)):
        member = zoo.linear(name, seed=0)
        algorithm, site = member.algorithm, member.claims[0].alignment.sites[0]
        hidden, v = cm.Oblique(site), member.algorithm[variable]
        pairs = cm.counterfactuals(algorithm, 1_200, swap=[{v}], seed=1)
        train, select = pairs.split(train=0.5, select=0.5)
        by_size = {k: cm.Alignment(algorithm, {v: hidden[:k]}) for k in (1, 2, 3, 4)}
        found = smallest_size(by_size, train, select=select, seed=0, settings=ClosedForm("contrast"))
        assert found.size == size
        assert np.isin(select.input_ids, found.alignment.selected_ids).all()
        assert not np.isin(select.input_ids, found.alignment.fitted_ids).any()
        with pytest.raises(DataError):
            cm.challenge(found.alignment, train=train, test=select, level="R0")


def test_a_margin_decides_what_is_as_good(case: Planted) -> None:
    train, select, _ = case.parts
    found = smallest_size(
        claims(case, 1, 2), train, select=select, seed=0, settings=ClosedForm("pca"), margin=0.99
    )
    assert found.size == 1
    lines = str(found).splitlines()
    assert lines[0] == "the smallest size within .990 of the best, on the selection split"
    assert lines[1] == "  size   mean  worst cell"
    assert lines[2].startswith(">   1  ")
    assert lines[3].startswith("    2  ")


def test_what_is_no_size_is_refused(case: Planted) -> None:
    train, select, _ = case.parts
    one = claims(case, 1)[1]
    for by_size, got in (({}, "no claims"), ({0: one}, "0"), ({True: one}, "True")):
        with pytest.raises(FitError) as caught:
            smallest_size(by_size, train, select=select, seed=0, settings=SETTINGS)
        assert "a size is a number of dimensions" in str(caught.value)
        assert got in str(caught.value)
        assert "claims by size, such as {1: ..., 2: ...}" in str(caught.value)
    with pytest.raises(FitError) as caught:
        smallest_size({1: one}, train, select=select, seed=0, margin=1.5)
    assert "margin is a difference of two rates" in str(caught.value)
    with pytest.raises(DataError) as shared:
        smallest_size({1: one}, train, select=train, seed=0, settings=ClosedForm("lda"))
    assert "training and selection share inputs" in str(shared.value)

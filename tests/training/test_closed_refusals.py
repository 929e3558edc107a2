"""Maps without a gradient step: what is refused, in words."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

import commutes as cm
from commutes.errors import AlignmentError, DataError, NetworkError
from tests.planted import Planted, equality, exact, joined, planted
from tests.training.closed_case import (
    bits,
    claimed,
    found,
    said,
    stacked_inputs,
)


@pytest.fixture(scope="module")
def case() -> Planted:
    return planted(symbols=6, pairs=1600)


# Refusals.


def test_arguments_that_cannot_be(case: Planted) -> None:
    assert said(lambda: found(case, "constrast")) == (
        "no such method\n"
        "  got:      'constrast'\n"
        "  expected: 'difference_of_means' or 'lda' or 'pca' or 'pca_of_differences' or 'leace' or 'active_subspace' "
        "or 'attribution' or 'contrast' or 'pca_of_flips'\n"
        "  do:       write 'contrast'"
    )
    assert "no such nuisance\n  got:      'al'" in said(lambda: found(case, nuisance="al"))
    for size in (1, True, 2.5):
        assert said(lambda size=size: found(case, size=size)) == (
            f"size is a number of pairs\n  got:      {size!r}\n  expected: a whole number from 2"
        )
    assert "seed is a whole number from 0" in said(lambda: found(case, seed=-1))


def test_claims_without_a_closed_form(case: Planted) -> None:
    site = case.network.site("site")
    neurons = cm.Alignment(case.algorithm, {case.algorithm["left"]: cm.Coordinates(site)[[0]]})
    assert said(lambda: cm.closed_form(neurons, case.parts[0], seed=0)).startswith(
        "there is nothing to learn\n"
    )
    affine = claimed(case, cm.Affine)
    assert said(lambda: cm.closed_form(affine, case.parts[0], seed=0)) == (
        "maps of this family have no closed form\n"
        "  where:    site\n"
        "  got:      affine map\n"
        "  expected: a Rotation or an Oblique\n"
        "  do:       declare one of these, or fit it by descent: cm.fit"
    )


def test_pairs_of_another_algorithm(case: Planted) -> None:
    others = cm.counterfactuals(equality(6), 100, seed=0)
    text = said(lambda: cm.closed_form(claimed(case, cm.Oblique), others, seed=0), AlignmentError)
    assert text.startswith("the pairs were drawn under another algorithm than the aligned one\n")


def test_a_variable_that_is_constant_on_the_pairs(case: Planted) -> None:
    pairs = cm.counterfactuals(case.algorithm, 400, swap=["left"], seed=0)
    rows = [
        i for i in range(len(pairs))
        if not pairs.columns["right"][pairs.base[i]] and not pairs.columns["right"][pairs.source[i, 0]]
    ]  # fmt: skip
    assert said(lambda: cm.closed_form(claimed(case, cm.Oblique), pairs.subset(rows), seed=0)) == (
        "the variable is constant on the pairs\n"
        "  where:    right\n"
        f"  got:      right = False in all {len(pairs.subset(rows).ids):,} inputs\n"
        "  expected: inputs with at least two of its values\n"
        "  do:       draw pairs in which it changes, or leave it out of the alignment"
    )


def test_a_variable_that_no_pair_flips() -> None:
    """Both hang on one input: neither changes while the other is held."""
    algorithm = cm.Algorithm("twins")
    algorithm.inputs("a b", domain=[0, 1])
    algorithm.add("first", "a", f=lambda a: a, domain=[0, 1])
    algorithm.add("second", "a", f=lambda a: 1 - a, domain=[0, 1])
    algorithm.add("out", "first", "second", "b", f=lambda f, s, b: (f, s, b) == (1, 0, 1), output=True)
    network = cm.Network(nn.Sequential(nn.Linear(2, 3)), encode=stacked_inputs, answers=[False, True])
    pairs = cm.counterfactuals(algorithm, 40, seed=0)
    hidden = cm.Oblique(network.site("0"))
    claim = cm.Alignment(algorithm, {algorithm["first"]: hidden[:1]})
    pairs = cm.counterfactuals(algorithm, 40, swap=["first"], seed=0)
    text = said(lambda: cm.closed_form(claim, pairs, seed=0), DataError)
    assert text.startswith("no pair in which first changes and what is held does not\n")
    assert "flip=first, hold=b, second" in text


class Broken(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.site = nn.Identity()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        z = self.site(torch.where(x[:, :1] == 3, torch.nan, x))
        return z[:, :2]


def test_activations_that_are_not_finite() -> None:
    algorithm = equality(6)
    network = cm.Network(Broken(), encode=joined, answers=[False, True])
    pairs = cm.counterfactuals(algorithm, 200, seed=0)
    claim = cm.Alignment(algorithm, {algorithm["left"]: cm.Oblique(network.site("site"))[:1]})
    text = said(lambda: cm.closed_form(claim, pairs, seed=0))
    assert text.startswith("activations are not finite\n  where:    site\n  got:      nan or inf in ")
    assert "the first is w=3, x=" in text


def test_too_many_dimensions_for_what_changes() -> None:
    """By hand left is one neuron; two dimensions of it there are not, and the rest of the site is not taken instead."""
    algorithm, network, _ = exact(4)
    pairs = cm.counterfactuals(algorithm, 400, seed=0)
    claim = cm.Alignment(algorithm, {algorithm["left"]: cm.Oblique(network.site("layers.1"))[:2]})
    assert said(lambda: cm.closed_form(claim, pairs, seed=0)) == (
        "the method finds fewer dimensions than were asked for, and nothing else changes with the variable\n"
        "  where:    left at layers.1\n"
        "  got:      1 more asked for; k = 1, and 0 of 2 eigenvalues above rounding\n"
        "  expected: states that differ\n"
        "  do:       give the variable fewer dimensions"
    )
    assert said(lambda: cm.closed_form(claim, pairs, method="pca_of_flips", seed=0)) == (
        "the second moment of the differences has fewer directions than were asked for\n"
        "  where:    left at layers.1\n"
        "  got:      k = 2, and 1 of 2 eigenvalues above rounding\n"
        "  expected: k from 1 to 1\n"
        "  do:       ask for fewer dimensions"
    )


def test_a_singular_covariance() -> None:
    algorithm, network, _ = exact(4)
    pairs = cm.counterfactuals(algorithm, 400, seed=0)
    claim = cm.Alignment(algorithm, {algorithm["left"]: cm.Oblique(network.site("layers.1"))[:1]})
    whole = said(lambda: cm.closed_form(claim, _still(pairs), method="lda", seed=0))
    assert whole.startswith("the covariance within the classes is singular\n  where:    left at layers.1\n")


def _still(pairs: cm.Counterfactuals) -> cm.Counterfactuals:
    """Pairs whose inputs all have one value of right, so that nothing but left varies at the exact network's site."""
    held = pairs.columns["right"]
    return pairs.subset(
        [i for i in range(len(pairs)) if not held[pairs.base[i]] and not held[pairs.source[i, 0]]]
    )


def test_subspaces_that_overlap() -> None:
    """Two variables that the network sums into one number cannot both be read from it."""

    class Sum(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.site = nn.Identity()

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            total = x[:, 0] + x[:, 1]
            z = self.site(torch.stack([total, -total], dim=1))
            return torch.stack([z[:, 0], 1 - z[:, 0]], dim=1)

    algorithm = bits()
    network = cm.Network(Sum(), encode=stacked_inputs, answers=[False, True])
    hidden = cm.Rotation(network.site("site"))
    claim = cm.Alignment(algorithm, {algorithm["first"]: hidden[:1], algorithm["second"]: hidden[1:2]})
    pairs = cm.counterfactuals(algorithm, 100, seed=0)
    text = said(lambda: cm.closed_form(claim, pairs, method="pca_of_flips", seed=0), AlignmentError)
    assert text.startswith("the subspaces overlap\n  where:    first, second at site\n")


def test_a_method_that_finds_too_little_to_share(case: Planted) -> None:
    assert said(lambda: found(case, "active_subspace")) == (
        "the method finds fewer directions than there are variables to share them\n"
        "  where:    left, right at site\n"
        "  got:      1 for left, right\n"
        "  expected: at least 2\n"
        '  do:       use a method that looks at each variable, such as "contrast"'
    )


def test_classes_of_a_real_number() -> None:
    algorithm = cm.Algorithm("sum")
    algorithm.inputs("a b", domain=cm.reals(0.0, 1.0))
    algorithm.add("half", "a", f=lambda a: a / 2, domain=cm.reals(0.0, 1.0))
    algorithm.add("out", "half", "b", f=lambda half, b: half + b > 0.7, domain=[False, True], output=True)
    network = cm.Network(
        nn.Sequential(nn.Linear(2, 4), nn.Tanh(), nn.Linear(4, 2)),
        encode=stacked_inputs,
        answers=[False, True],
    )
    pairs = cm.counterfactuals(algorithm, 100, seed=0)
    claim = cm.Alignment(algorithm, {algorithm["half"]: cm.Oblique(network.site("1"))[:1]})
    text = said(lambda: cm.closed_form(claim, pairs, method="lda", seed=0))
    assert text.startswith("this method compares classes, and the variable has none\n  where:    half at 1\n")
    assert "half in " in text
    text = said(lambda: cm.closed_form(claim, pairs, seed=0), DataError)
    assert text.startswith("too few inputs agree for the variable to be held\n  where:    half\n")
    assert 'do:       give more inputs, or use nuisance="others", which leaves' in text
    for method in ("contrast", "pca_of_flips", "attribution"):
        nuisance = "others" if method == "contrast" else "all"
        alignment = cm.closed_form(claim, pairs, method=method, nuisance=nuisance, size=50, seed=0)  # type: ignore[arg-type]
        assert alignment.fitted


def test_gradients_need_answers_and_pairs_that_change_them(case: Planted) -> None:
    pairs = case.parts[0]
    idle = pairs.subset(np.flatnonzero(~pairs.effective))
    assert said(
        lambda: cm.closed_form(claimed(case, cm.Oblique), idle, method="active_subspace", seed=0), DataError
    ) == (
        "no pair changes the answer\n"
        "  where:    left, right at site\n"
        f"  got:      {len(idle):,} pairs, 0 effective\n"
        "  expected: pairs whose expected answer is not the base's\n"
        "  do:       draw other pairs, or use a method that does not go by the answer"
    )
    network = cm.Network(
        case.network.module, encode=joined, decode=lambda logits: [bool(i) for i in logits.argmax(dim=1)]
    )
    hidden = cm.Oblique(network.site("site"))
    claim = cm.Alignment(case.algorithm, {case.algorithm["left"]: hidden[:1]})
    swaps_left = pairs.subset(np.flatnonzero(pairs.swapped("left")))
    text = said(lambda: cm.closed_form(claim, swaps_left, method="attribution", seed=0), NetworkError)
    assert text.startswith("a network with a custom decode= can be evaluated, not fitted\n")
    assert cm.closed_form(claim, swaps_left, seed=0).fitted

"""What cannot be fitted is refused in one screen, and what was found is told: never a whole swap without a word."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import nn

import commutes as cm
from commutes.errors import AlignmentError, CommutesError, DataError, EngineError
from commutes.features import Gated, Neurons
from commutes.robustness._claim import _variables
from commutes.training import summary
from tests.planted import Planted, joined, planted

FAMILIES = (cm.Rotation, cm.Oblique, cm.Affine, cm.Boundless, cm.Reversible)


@pytest.fixture(scope="module")
def case() -> Planted:
    return planted(pairs=600)


def said(kind: type[CommutesError], call: Callable[[], object]) -> str:
    with pytest.raises(kind) as caught:
        call()
    return str(caught.value)


@pytest.mark.parametrize("family", FAMILIES)
def test_more_dimensions_than_the_site_has(case: Planted, family: type) -> None:
    hidden = family(case.network.site("site"))
    left, right = case.algorithm["left"], case.algorithm["right"]
    assert said(
        AlignmentError, lambda: cm.Alignment(case.algorithm, {left: hidden[:4], right: hidden[4:8]})
    ) == (
        "more dimensions are asked for than the site has\n"
        "  where:    right at site\n"
        "  got:      coordinate 6\n"
        "  expected: from 0 to 5: the site has 6\n"
        "  do:       ask for fewer dimensions, or align with a wider site"
    )


@pytest.mark.parametrize("family", FAMILIES)
def test_slices_that_overlap(case: Planted, family: type) -> None:
    hidden = family(case.network.site("site"))
    left, right = case.algorithm["left"], case.algorithm["right"]
    assert said(
        AlignmentError, lambda: cm.Alignment(case.algorithm, {left: hidden[:2], right: hidden[1:3]})
    ) == (
        "two variables overlap\n"
        "  where:    site\n"
        "  got:      coordinate 1 for left and for right\n"
        "  expected: disjoint slices\n"
        "  do:       give each variable coordinates of its own"
    )


def test_two_featurizers_of_one_place(case: Planted) -> None:
    site, left, right = case.network.site("site"), case.algorithm["left"], case.algorithm["right"]
    two = {left: cm.Rotation(site)[:1], right: cm.Oblique(site)[:1]}
    assert said(AlignmentError, lambda: cm.Alignment(case.algorithm, two)) == (
        "two featurizers overlap\n"
        "  where:    site, position 0, feature 0\n"
        "  got:      rotation at site and oblique map at site\n"
        "  expected: one featurizer per place, sliced for several variables\n"
        "  do:       make one featurizer of the site and give each variable a slice of it"
    )


def test_a_variable_that_no_training_pair_changes(case: Planted) -> None:
    """Its map would stay where it began, a random subspace that looks like a fitted one."""
    train, select, _ = case.parts
    right = case.algorithm["right"]
    of_left = train.swap == 0
    still = of_left | (train.base_value(right) == train.source_value(right))
    few = train.subset(np.nonzero(still)[0])
    swapped = int((few.swap == 1).sum())
    for method in ("das", "auto"):
        assert said(
            DataError, lambda method=method: cm.fit(case.claim, few, select=select, seed=0, method=method)
        ) == (
            "no training pair changes the variable\n"
            "  where:    right\n"
            f"  got:      {swapped} of {len(few)} pairs swap it, for the value that it has\n"
            "  expected: pairs whose source has another value of it\n"
            "  do:       draw pairs that swap it and in which it changes, or leave it out of the alignment"
        )
    none = train.subset(np.nonzero(of_left)[0])
    assert f"  got:      {len(none)} pairs, none of which swaps it\n" in said(
        DataError, lambda: cm.fit(case.claim, none, seed=0)
    )


def test_given_neurons_need_no_pair_that_changes_them(case: Planted) -> None:
    """Only what is learnt would be left as it began."""
    member_site = case.network.site("site")
    left, right = case.algorithm["left"], case.algorithm["right"]
    train = case.parts[0]
    of_left = train.subset(np.nonzero(train.swap == 0)[0])
    with pytest.raises(AlignmentError):
        # Neurons beside a learnt map of one place are refused as overlapping; elsewhere they are as they are.
        cm.Alignment(
            case.algorithm, {left: cm.Rotation(member_site)[:1], right: cm.Coordinates(member_site)[:1]}
        )
    claim = cm.Alignment(
        case.algorithm,
        {left: cm.Rotation(member_site)[:1], right: cm.Coordinates(case.network.site("back"))[:1]},
    )
    assert cm.fit(claim, of_left, seed=0, steps=1, batch=8, starts=1).fitted


class Breaking(nn.Module):
    """States that are not a number where the first input is 3; what comes behind hides it or does not."""

    def __init__(self, *, hides: bool) -> None:
        super().__init__()
        self.site, self.head, self.hides = nn.Identity(), nn.Linear(4, 2), hides

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        logits = self.head(self.site(torch.where(x[:, :1] == 3, torch.nan, x)))
        return torch.nan_to_num(logits) if self.hides else logits


@pytest.mark.parametrize("hides", [False, True])
@pytest.mark.parametrize("method", ["das", "auto"])
def test_states_that_are_not_finite(case: Planted, hides: bool, method: str) -> None:
    network = cm.Network(Breaking(hides=hides), encode=joined, answers=[False, True])
    hidden = cm.Rotation(network.site("site"))
    left, right = case.algorithm["left"], case.algorithm["right"]
    claim = cm.Alignment(case.algorithm, {left: hidden[:1], right: hidden[1:2]})
    train = case.parts[0]
    bad = int(np.nonzero(case.algorithm.arrays(train.inputs)["w"] == 3)[0][0])
    assert said(EngineError, lambda: cm.fit(claim, train, seed=0, method=method)) == (
        "the network's clean run is not finite\n"
        f"  where:    site, example {bad}\n"
        "  got:      NaN or infinity\n"
        "  expected: finite activations\n"
        "  do:       run the network on that example alone; the intervention is not at fault"
    )


class Code(nn.Module):
    """A dictionary of states of seven numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(7, 12))

    def encode(self, x: torch.Tensor) -> torch.Tensor:
        return torch.relu(x @ self.weight)

    def decode(self, z: torch.Tensor) -> torch.Tensor:
        return z @ self.weight.T


def test_a_dictionary_of_another_width(case: Planted) -> None:
    latents = cm.Dictionary(case.network.site("site"), Code())
    left = case.algorithm["left"]
    for features in (latents, cm.Mask(latents)):
        text = said(
            AlignmentError,
            lambda features=features: cm.fit(
                cm.Alignment(case.algorithm, {left: features[:3]}), case.parts[0], seed=0
            ),
        )
        assert text == (
            "the dictionary does not fit the site\n"
            "  where:    site\n"
            "  got:      RuntimeError: mat1 and mat2 shapes cannot be multiplied (1x6 and 7x12)\n"
            "  expected: encode and decode of states of 6 numbers, on the network's device\n"
            "  do:       use the dictionary of this module, layer and model"
        )


SOME = ", 2 of 3 gates open"
NONE = ", 0 of 3 gates open: nothing is swapped"
ALL = ", 3 of 3 gates open: all of it is swapped"
SOME_AND_NONE = ([True, False, True, False, False, False], (2, "some"), (0, "none"), (SOME, NONE))
ALL_AND_SOME = ([True, True, True, True, True, False], (3, "all"), (2, "some"), (ALL, SOME))


@pytest.mark.parametrize(("gates", "left", "right", "words"), [SOME_AND_NONE, ALL_AND_SOME])
def test_masks_with_no_gate_on_and_with_all_are_told(case: Planted, gates, left, right, words) -> None:
    """In the history of the fit, in its text, and in the claim on the card."""
    features = cm.Mask(cm.Coordinates(case.network.site("site")))
    one, two = case.algorithm["left"], case.algorithm["right"]
    claim = cm.Alignment(case.algorithm, {one: features[:3], two: features[3:6]})
    train, select, test = case.parts
    fitted = cm.fit(claim, train, select=select, seed=0, steps=1, batch=8, starts=1)
    mask = Gated(Neurons(torch.arange(6)), torch.tensor(gates))
    told = [
        {"variable": name, "open": count, "of": 3, "gates": word}
        for name, (count, word) in (("left", left), ("right", right))
    ]
    assert claim.with_maps([mask]).gates == told
    by_hand = fitted.with_maps([mask], history={**fitted.history, "gates": told})
    assert [one["featurizer"] for one in _variables(by_hand)] == [f"mask of neurons{w}" for w in words]
    assert summary(by_hand).splitlines()[-2:] == [
        f"{n}: {w[2:]}" for n, w in zip(("left", "right"), words, strict=True)
    ]
    label = cm.evaluate(by_hand, test).label
    for name, (_, word) in (("left", left), ("right", right)):
        assert (f"no gate of {name} is open" in label) == (word == "none")
        assert (f"every gate of {name} is open" in label) == (word == "all")
    assert f"{left[0]} of 3 gates open, right" in repr(by_hand)
    if not right[0]:
        # What has no gate open does nothing: the answers are the bases' own.
        rows = np.nonzero(test.swap == 1)[0]
        found = cm.evaluate(by_hand, test.subset(rows))
        assert found.overall.rate == found.floors["do nothing"].rate

"""Members with a linear site are what they are said to be: by the library's measure and by oracles of their own."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
import torch

from commutes import Distribution, census, evaluate
from commutes.errors import DataError
from commutes.evaluation import bench, cell_rows
from commutes.robustness import CHECKS
from commutes.stats import Answer
from commutes.testing.zoo import KINDS, LINEAR, Member, linear
from commutes.testing.zoo._equality import joined
from tests.robustness.cases import case_of
from tests.testing.zoo.oracles import (
    Bench,
    agreement,
    margin_outside,
    powerless,
    reads_but_does_not_patch,
    seen_nowhere,
    undividable,
    unread_share,
)

YES, NO = Answer.SUPPORTED, Answer.REFUTED


@cache
def member(name: str, seed: int = 1) -> Member:
    return linear(name, seed=seed)


@cache
def told_bench(name: str, number: int) -> Bench:
    one = member(name)
    told = one.claims[number]
    return Bench(one, told, one.pairs(told, 1_200, seed=1))


def claims(check: str | None = None, truth: str | None = None) -> pytest.MarkDecorator:
    """The claims of which the answer of a check is told, or that are of this truth; all of them by default."""
    found = [
        (name, number)
        for name in LINEAR
        for number, told in enumerate(member(name).claims)
        if (check is None or check in told.ideal) and truth in (None, told.truth)
    ]
    return pytest.mark.parametrize(("name", "number"), found, ids=lambda value: str(value))


def worst(name: str, number: int, distribution: str | Distribution | None = None) -> tuple[float, float]:
    """Accuracy of the network, and the rate of the worst stratum of a variable."""
    one = member(name)
    alignment = one.claims[number].alignment
    measured = bench(alignment, one.pairs(one.claims[number], 800, seed=2, distribution=distribution))
    hits = measured.hits(alignment.featurizers)
    rates = [float(hits[rows].mean()) for *_, rows in cell_rows(measured.pairs) if len(rows) > 20]
    return float(measured.right.mean()), min(rates)


@claims()
def test_the_library_and_a_swap_by_hand_agree_on_every_pair(name, number):
    found = told_bench(name, number)
    alignment = found.told.alignment
    by_hand = found.patched(*found.maps).argmax(dim=1).numpy()
    np.testing.assert_array_equal(bench(alignment, found.pairs).answered(alignment.featurizers), by_hand)


@claims()
def test_behaviour_and_strata_are_as_told(name, number):
    ideal = member(name).claims[number].ideal
    right, rate = worst(name, number)
    assert ideal.get("A1", YES) is (YES if right == 1 else NO)
    if "A2" in ideal:
        assert ideal["A2"] is (YES if rate == 1 else NO)
        assert rate == 1 or rate < 0.6


@claims()
def test_the_librarys_checks_answer_as_told(name, number):
    one = member(name)
    told = one.claims[number]
    case = case_of(told.alignment, one.pairs(told, 1_000, seed=2))
    for check in ("A1", "A2"):
        if check in told.ideal:
            assert CHECKS[check](case).answer is told.ideal[check]
    # The data can tell every claim from its trivial rivals: what is refuted is the claim.
    assert CHECKS["A3"](case).answer is YES


@claims("E1")
def test_shifts_are_survived_as_told(name, number):
    one = member(name)
    found = [worst(name, number, shift) for shift in one.shifts.values()]
    assert len(found) >= 2
    if one.claims[number].ideal["E1"] is YES:
        assert found == [(1.0, 1.0)] * len(found)
    else:
        assert min(rate for _, rate in found) < 0.6


@claims("A4")
def test_margins_are_recovered_as_told(name, number):
    outside = margin_outside(told_bench(name, number))
    assert outside == 0 if member(name).claims[number].ideal["A4"] is YES else outside > 0.2


@claims("D1")
def test_what_is_unread_is_as_told(name, number):
    found = told_bench(name, number)
    (_, lost), ideal = unread_share(found), found.told.ideal["D1"]
    assert undividable(found) is (ideal is Answer.VACUOUS)
    if ideal is not Answer.VACUOUS:
        # All of the claim about one of two variables: half of the effective pairs.
        assert lost == (pytest.approx(0.5, abs=0.05) if ideal is NO else 0)


@claims("D3")
def test_what_readers_see_of_edits_is_as_told(name, number):
    found = told_bench(name, number)
    ideal, seen = found.told.ideal["D3"], seen_nowhere(found).values()
    if ideal is YES:
        assert all(moved > 0.1 and new == 0 for moved, new in seen)
    elif ideal is NO:
        assert max(new for _, new in seen) == 1
    else:
        # Nothing of it is seen, nearly all of the site is, or what is seen beside it would say the old value.
        read, _ = unread_share(found)
        assert min(moved for moved, _ in seen) < 1e-4 or name in ("backup", "redundant") or read >= 8


@claims("D4")
def test_decoded_values_under_upstream_resampling_are_as_told(name, number):
    found = told_bench(name, number)
    agreed, ideal = agreement(found, seed=3), found.told.ideal["D4"]
    assert powerless(found) is (ideal is Answer.VACUOUS)
    if ideal is not Answer.VACUOUS:
        assert agreed == 1 if ideal is YES else agreed < 0.85


@claims("D6")
def test_what_reads_patches_as_told(name, number):
    gap = reads_but_does_not_patch(told_bench(name, number))
    kind = member(name).claims[number].kind
    if member(name).claims[number].ideal["D6"] is YES:
        assert gap <= 0
    else:
        assert gap == 1 if kind in ("inert copy", "backup") else 0.3 < gap < 1


@claims(truth="right")
def test_right_claims_are_exact_on_all_pairs_of_a_small_domain(name, number):
    one = linear(name, seed=0, symbols=2, shades=2)
    alignment = one.claims[number].alignment
    measured = bench(alignment, census(alignment.algorithm, swap=[{v} for v in alignment.variables]))
    assert len(measured.pairs) == 256 * 256 * len(alignment.variables)
    assert measured.hits(alignment.featurizers).all()
    assert measured.right.all()


def test_every_kind_of_the_catalogue_is_there():
    planted = {told.kind for name in LINEAR for told in member(name).claims} - {""}
    assert planted | {"read before"} == set(KINDS)
    wrong = {told.kind for name in LINEAR for told in member(name).claims if told.truth == "decoy"}
    assert {
        "inert copy",
        "illusion",
        "shortcut",
        "regrouping",
        "backup",
        "whole space",
        "random network",
    } <= wrong


def test_some_decoys_pass_every_stratum_and_each_is_caught_elsewhere():
    passing = {
        (name, told.name): {check for check, answer in told.ideal.items() if answer is Answer.REFUTED}
        for name in LINEAR
        for told in member(name).claims
        if told.truth != "right" and told.ideal.get("A2") is Answer.SUPPORTED
    }
    assert passing == {
        ("clean", "all but right"): set(),
        ("illusion", "copy and dormant direction"): {"D1", "D3", "D4"},
        ("illusion, rank-one reader", "copy and dormant direction"): {"D4"},
        ("shortcut", "shades"): {"E1", "E2"},
        ("gate open in the data", "behind the gate"): {"E1"},
        ("cancellation", "with half of it"): {"A4"},
        ("asleep", "with the switch"): {"C9"},
    }


def test_one_network_reads_inputs_outside_its_algorithm_and_answers_them_alike():
    (name,) = [name for name in LINEAR if member(name).off_task is not None]
    found = member(name)
    assert found.off_task is not None
    assert found.algorithm.domain("w").attempt(found.off_task["w"][[0]])[1] == 0
    with torch.no_grad():
        answers = found.network.module(joined(found.off_task)).argmax(dim=1)
    assert found.network.answers == (False, True)
    assert (answers == 0).all()


def test_a_shortcut_that_is_not_tied_shows_at_once():
    """The inverse: what makes the shortcut a decoy is the distribution, not the network."""
    one = member("shortcut")
    told = one.claims[0]
    assert evaluate(told.alignment, one.pairs(told, 800, seed=1)).accuracy.rate == 1.0
    assert evaluate(told.alignment, one.pairs(told, 800, seed=1, distribution="values")).accuracy.rate < 0.6


def test_a_cancellation_hides_in_the_mean():
    found = told_bench("cancellation", 1)
    change = found.patched(*found.maps) - found.clean[found.pairs.base]
    answer = found.clean[found.pairs.base].argmax(dim=1)
    placebo = found.pairs.base_value("left") == found.pairs.source_value("left")
    rows = torch.from_numpy(found.pairs.swapped("left") & placebo)
    moved = (change[:, 1] - change[:, 0])[rows] * (2 * answer[rows] - 1)
    assert abs(moved.mean()) < 0.1
    assert moved.abs().mean() > 0.2


def test_the_same_seed_gives_the_same_member_and_another_seed_another():
    one, again, other = (linear("illusion", seed=seed) for seed in (4, 4, 5))
    assert one.network.fingerprint == again.network.fingerprint != other.network.fingerprint
    assert one.algorithm is other.algorithm
    for told, same in zip(one.claims, again.claims, strict=True):
        for variable in told.alignment.variables:
            found, expected = told.alignment.subspace(variable), same.alignment.subspace(variable)
            assert torch.equal(found.reader, expected.reader)
            assert torch.equal(found.writer, expected.writer)


def test_members_draw_nothing_from_the_global_generators():
    torch.manual_seed(3)
    before = torch.get_rng_state()
    for name in LINEAR:
        linear(name, seed=9)
    assert torch.equal(before, torch.get_rng_state())


def test_an_unknown_variant_is_named_with_the_nearest():
    with pytest.raises(DataError) as caught:
        linear("ilusion", seed=0)
    assert caught.value.what == "the zoo has no network 'ilusion' with a linear site"
    assert caught.value.fix == "write 'illusion'"

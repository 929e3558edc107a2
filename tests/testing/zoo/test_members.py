"""The zoo as a whole: what is iterated over, and how a told claim is used."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest

from commutes import challenge
from commutes.errors import DataError
from commutes.evaluation import bench, cell_rows
from commutes.evaluation._floors import not_excluded
from commutes.report import CATALOGUE
from commutes.robustness import CHECKS
from commutes.stats import Answer
from commutes.testing.compiler import PROGRAMS
from commutes.testing.zoo import FAMILIES, KINDS, LINEAR, Member, as_fitted, compiled, linear, members
from commutes.training import Settings
from tests.testing.compiler.sizes import SMALL


@cache
def program(name: str) -> Member:
    return compiled(name, seed=1, length=SMALL[name][0], symbols=SMALL[name][1])


def test_every_family_is_there_in_a_fixed_order():
    found = list(members(seed=2, families=("linear", "trained")))
    assert [m.name for m in found] == [
        *LINEAR, "parity, in pairs", "parity, regrouped", "distributive, and of or", "distributive, or of ands",
    ]  # fmt: skip
    assert {m.seed for m in found} == {2}
    again = members(seed=2, families=("linear", "trained"))
    assert [m.network.fingerprint for m in found] == [m.network.fingerprint for m in again]
    assert FAMILIES == ("linear", "compiled", "trained")


def test_members_are_made_one_by_one():
    made = members(seed=0)
    assert next(iter(made)).name == LINEAR[0]


def test_every_claim_is_told_in_the_same_words():
    for member in [*members(seed=1, families=("linear", "trained")), *map(program, PROGRAMS)]:
        assert any(told.truth != "decoy" for told in member.claims) or member.name in (
            "shortcut",
            "random network",
        )
        assert len({told.name for told in member.claims}) == len(member.claims)
        for told in member.claims:
            assert told.alignment.fitted
            assert told.alignment.network is member.network
            assert set(told.ideal) <= {one.id for one in CATALOGUE}
            assert told.kind in (*KINDS, "")


def check_claims(member: Member) -> None:
    assert member.claims[0].truth == "right"
    for told in member.claims:
        pairs = member.pairs(told, 500, seed=1)
        assert pairs.complete
        measured = bench(told.alignment, pairs)
        hits = measured.hits(told.alignment.featurizers)
        assert measured.right.all()
        worst = min(float(hits[rows].mean()) for *_, rows in cell_rows(pairs) if len(rows))
        if told.truth == "right":
            assert hits.all()
        elif told.truth == "decoy":
            assert worst < 0.9
        if told.kind == "inert copy":
            assert not hits[pairs.effective].any()


@pytest.mark.parametrize("name", SMALL)
def test_claims_about_programs_are_as_told(name):
    check_claims(program(name))


@pytest.mark.slow
@pytest.mark.parametrize("name", PROGRAMS)
def test_claims_about_programs_of_their_own_size_are_as_told(name):
    check_claims(compiled(name, seed=0))


@pytest.mark.parametrize("name", SMALL)
def test_the_data_can_tell_a_claim_about_a_program_from_trivial_rivals(name):
    """A variable that alone decides the answer cannot be told from the whole source: no claim is about one."""
    member = program(name)
    found = not_excluded(member.pairs(member.claims[0], 1, seed=0), 0.9)
    assert set(found) == {v.name for v in member.claims[0].alignment.variables}
    assert not any(found.values())


def test_without_a_basis_claims_name_neurons():
    plain = compiled("reverse", seed=1, length=3, symbols=2, rotated=False)
    turned = program("reverse")
    for member, learnt in ((plain, False), (turned, True)):
        alignment = member.claims[0].alignment
        assert {group.features.learnt for group in alignment.groups} == {learnt}
        assert bench(alignment, member.pairs(member.claims[0], 1, seed=0)).hits(alignment.featurizers).all()
    assert plain.algorithm is turned.algorithm


def test_pairs_of_a_small_domain_are_all_of_them_and_of_a_large_one_a_sample():
    small, large = program("reverse"), linear("clean", seed=0)
    assert small.small
    assert len(small.pairs(small.claims[0], 10, seed=0)) == 3 * 8 * 8
    assert not large.small
    drawn = large.pairs(large.claims[0], 400, seed=0)
    assert len(drawn) == 400
    assert {s.label for s in drawn.swaps} == {"left", "right"}
    shifted = large.pairs(large.claims[0], 400, seed=0, distribution=large.shifts["z always dark"])
    assert shifted.distribution == "z always of shade 0"


def test_pairs_of_a_claim_about_a_rival_are_drawn_under_the_rival():
    member = linear("regrouped", seed=0)
    told = next(t for t in member.claims if t.truth == "right")
    assert member.pairs(told, 400, seed=0).algorithm is member.rivals["regrouped"]
    assert member.rivals["regrouped"] is not member.algorithm


def test_a_told_claim_is_challenged_as_if_it_had_been_fitted():
    member = linear("clean", seed=0)
    told = member.claims[0]
    pairs = member.pairs(told, 1_600, seed=1)
    train, select, test = pairs.split(train=0.5, select=0.2, test=0.3)
    settings = Settings(steps=40, lr=0.05, batch=64, starts=1, every=20)
    claim = as_fitted(told.alignment, train, select, settings)
    assert np.isin(train.input_ids, claim.fitted_ids).all()
    assert len(told.alignment.fitted_ids) == 0
    report = challenge(claim, train=train, select=select, test=test, level="R1")
    assert report.answers["A1"] == Answer.SUPPORTED
    assert set(report.answers) <= set(CHECKS)


def test_wrong_families_and_seeds_are_refused():
    with pytest.raises(DataError) as caught:
        members(seed=0, families=["planted"])  # type: ignore[list-item]
    assert (caught.value.what, caught.value.got) == ("the zoo has no such family", "'planted'")
    for seed in (-1, True, 1.5):
        with pytest.raises(DataError, match="seed is a whole number from 0"):
            members(seed=seed)  # type: ignore[arg-type]


def test_a_member_says_what_it_is():
    assert repr(linear("tilt", seed=3)) == "Member('tilt', seed 3, 5 claims)"

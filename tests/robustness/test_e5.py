"""E5: networks that implement one of two algorithms of the same function keep their own and refute the other."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pytest

import commutes.robustness._challenge as challenge_module
from commutes import Algorithm, Alignment, Coordinates, challenge, counterfactuals
from commutes.features import Rotation
from commutes.robustness import CHECKS
from commutes.robustness import _e5_rivals as module
from commutes.robustness import _rival_contenders as contenders
from commutes.robustness._case import Case, Declared
from commutes.robustness._multiplicity import corrected
from commutes.robustness._rival_contenders import Expectation, bets_of
from commutes.robustness._rival_relations import View, recoded, shared_inputs, spoken_of
from commutes.stats import Answer, weighted_gap
from commutes.testing.zoo import Member, as_fitted, linear, trained_member
from commutes.testing.zoo._arms import arms
from commutes.training import Settings
from tests.planted import equality, exact, neurons

from .cases import case_of

E5 = CHECKS["E5"]
BRIEF = Settings(steps=40, lr=0.03, batch=64, starts=1, every=20)
IN_PAIRS, REGROUPED, AND_OR, OR_ANDS = (arm.algorithm for arm in arms())


@cache
def member(task: str, arm: str, seed: int = 0) -> Member:
    return linear(arm, seed=seed) if task == "linear" else trained_member(task, arm, seed=seed)


@cache
def told(task: str, arm: str, claim: int, seed: int = 0, settings: Settings = BRIEF) -> Case:
    """The claim as if it had been fitted, without a rival."""
    one = member(task, arm, seed)
    known = one.claims[claim]
    train, select, test = one.pairs(known, 1600, seed=3, distribution=one.distribution).split(
        train=0.5, select=0.2, test=0.3
    )
    fitted = as_fitted(known.alignment, train, select, settings)
    return case_of(fitted, test, train=train, select=select, settings=settings)


@pytest.fixture
def declared_only(monkeypatch):
    """No rival is made: each would cost a fit."""
    monkeypatch.setattr(contenders, "MADE", 0)


@pytest.fixture(autouse=True)
def fitted_once(monkeypatch):
    """A rival in the place of one claim is fitted once for all tests."""
    real = module.refits

    def one(alignment, train, select, test, **how):
        key = (
            alignment.algorithm.fingerprint,
            alignment.network.fingerprint,
            how["settings"],
            len(test),
            test.ids.sum(),
        )
        if key not in FITS:
            (FITS[key],) = real([alignment], [train], [select], [test], **how)
        return FITS[key]

    def cached(alignments, trains, selects, tests, **how):
        if selects is None or how["progress"] is not None:
            return real(alignments, trains, selects, tests, **how)
        return [one(*parts, **how) for parts in zip(alignments, trains, selects, tests, strict=True)]

    monkeypatch.setattr(module, "refits", cached)


FITS = {}


def against(case: Case, **rivals: Algorithm) -> Case:
    return replace(case, declared=Declared(rivals))


# The networks of which the truth is known.


@pytest.mark.usefixtures("declared_only")
def test_the_right_claim_is_supported_and_the_only_survivor():
    found = E5(against(told("parity", "in pairs", 0), regrouped=REGROUPED))
    assert found.answer is Answer.SUPPORTED
    assert found.figures["finest survivors"] == ["the claim"]
    rival = found.figures["rivals"]["regrouped"]
    assert rival["gap"]["lower"] > 0.1
    assert rival["claim"]["value"] == 1.0
    assert found.sentence.startswith("where they expect different answers the claim 1.000 [")
    assert "and the rival regrouped, fitted in its place, " in found.sentence
    assert found.sentence.endswith(", more than .100; finest survivor: the claim")
    assert not found.refuted_at(0.05)


@pytest.mark.usefixtures("declared_only")
def test_every_input_that_the_network_runs_on_is_counted(monkeypatch):
    case, seen = against(told("parity", "in pairs", 0), regrouped=REGROUPED), []
    cached = module.refits
    monkeypatch.setattr(module, "refits", lambda *a, **k: seen.extend(cached(*a, **k)) or seen)
    found = E5(case)
    (refit,) = seen
    history = refit.alignment.history
    fit = history["last_step"] * BRIEF.batch + history["measured"] * len(case.select)
    assert found.forward_passes == fit + len(case.test) + len(refit.seen)
    assert len(refit.seen) == len(case.test)


@pytest.mark.usefixtures("declared_only")
def test_the_regrouped_claim_is_refuted_and_its_rival_survives():
    found = E5(against(told("distributive", "and of or", 1), own=AND_OR))
    assert found.answer is Answer.REFUTED
    assert found.figures["finest survivors"] == ["own"]
    assert found.figures["rivals"]["own"]["gap"]["upper"] < -0.5
    assert found.figures["rivals"]["own"]["rival"]["value"] > 0.9
    assert found.sentence.endswith("finest survivor: own")
    assert found.refuted_at(0.001)
    assert corrected({"E5": found})["E5"].answer is Answer.REFUTED


LONG = Settings(steps=100, lr=0.03, batch=96, starts=1, every=25)


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1])
@pytest.mark.parametrize("arm", arms(), ids=lambda arm: f"{arm.task}, {arm.name}")
def test_every_arm_keeps_its_own_algorithm_and_refutes_the_other(arm, seed):
    one = member(arm.task, arm.name, seed)
    own = against(told(arm.task, arm.name, 0, seed, LONG), other=next(iter(one.rivals.values())))
    found = E5(own)
    assert found.answer is Answer.SUPPORTED
    assert found.figures["finest survivors"] == ["the claim"]
    made = [name for name in found.figures["rivals"] if name.startswith("by way of")]
    assert len(made) == (0 if arm.name == "or of ands" else contenders.MADE)
    decoy = E5(against(told(arm.task, arm.name, 1, seed, LONG), own=one.algorithm))
    assert decoy.answer is Answer.REFUTED
    assert decoy.figures["finest survivors"] == ["own"]


@pytest.mark.slow
def test_the_linear_network_that_regroups_keeps_the_rival():
    one = member("linear", "regrouped")
    decoy = E5(against(told("linear", "regrouped", 0, 0, LONG), **one.rivals))
    right = E5(against(told("linear", "regrouped", 1, 0, LONG), sum=one.algorithm))
    assert (decoy.answer, decoy.figures["finest survivors"]) == (Answer.REFUTED, ["regrouped"])
    assert (right.answer, right.figures["finest survivors"]) == (Answer.SUPPORTED, ["the claim"])


def test_rivals_are_made_where_none_is_declared(monkeypatch):
    monkeypatch.setattr(contenders, "MADE", 1)
    seen = []
    case = replace(
        told("parity", "in pairs", 0), progress=lambda stage, step, steps, figures: seen.append(stage)
    )
    found = E5(case)
    assert found.answer is Answer.SUPPORTED
    assert list(found.figures["rivals"]) in (
        ["by way of (a, c) and (b, d)"], ["by way of (a, d) and (b, c)"],
    )  # fmt: skip
    assert set(seen) == {"rival algorithms"}
    again = E5(case)
    assert again.sentence == found.sentence


@pytest.mark.usefixtures("declared_only")
def test_a_challenge_that_seeks_r5_holds_the_claim_against_the_rivals_that_were_declared(monkeypatch):
    monkeypatch.setattr(challenge_module, "CHECKS", {"E5": E5})
    case = told("parity", "in pairs", 0)
    report = challenge(
        case.alignment, train=case.train, select=case.select, test=case.test, level="R5",
        rivals={"regrouped": REGROUPED, "turned": turned()},
    )  # fmt: skip
    (check,) = [check for check in report.record()["checks"] if check["id"] == "E5"]
    assert check["answer"] == "supported"
    assert check["figures"]["finest survivors"] == ["the claim"]
    assert check["figures"]["apart"] == {"turned": "it is the claim, up to a relabelling of values"}
    assert check["figures"]["rivals"]["regrouped"]["algorithm"] == REGROUPED.fingerprint
    assert "where they expect different answers the claim 1.000" in " ".join(str(report).split())


# What is no rival.


def turned() -> Algorithm:
    """The claim of the pairs with both variables the other way round, under other names."""
    found = Algorithm("evenness of two pairs")
    found.inputs("a b c d", domain=range(5))
    for name, group in (("even_cd", "cd"), ("even_ab", "ab")):
        found.add(name, *group, f=lambda x, y: (x + y) % 2 == 0, domain=bool)
    found.add("odd", "even_cd", "even_ab", f=lambda x, y: x != y, domain=bool, output=True)
    return found.check()


def first_alone() -> Algorithm:
    """The second variable left out."""
    found = Algorithm("the first pair alone")
    found.inputs("a b c d", domain=range(5))
    found.add("first", "a", "b", f=lambda a, b: (a + b) % 2 == 1, domain=bool)
    found.add("odd", "first", "c", "d", f=lambda v, c, d: (v + c + d) % 2 == 1, domain=bool, output=True)
    return found.check()


def remainders() -> Algorithm:
    """The sums modulo 4, of which the claim keeps whether they are odd."""
    found = Algorithm("sums modulo 4")
    found.inputs("a b c d", domain=range(5))
    for name, group in (("first", "ab"), ("second", "cd")):
        found.add(name, *group, f=lambda x, y: (x + y) % 4, domain=range(4))
    found.add("odd", "first", "second", f=lambda x, y: (x + y) % 2 == 1, domain=bool, output=True)
    return found.check()


def three() -> Algorithm:
    """Another function: whether three of the four sum to an odd number; d counts where it is 4."""
    found = Algorithm("parity of three")
    found.inputs("a b c d", domain=range(5))
    found.add("first", "a", "b", f=lambda a, b: (a + b) % 2 == 1, domain=bool)
    found.add(
        "odd", "first", "c", "d", f=lambda v, c, d: (v + c + (d == 4)) % 2 == 1, domain=bool, output=True
    )
    return found.check()


@pytest.mark.usefixtures("declared_only")
def test_what_is_entailed_or_the_same_or_another_function_is_listed_and_costs_no_fit():
    case = told("parity", "in pairs", 0)
    found = E5(against(case, turned=turned(), alone=first_alone(), three=three()))
    assert found.answer is Answer.VACUOUS
    assert found.sentence == "no rival was fitted in the claim's place"
    assert found.reason == (
        "turned is no rival here, it is the claim, up to a relabelling of values; "
        "alone is no rival here, the claim entails it; "
        "three is no rival here, it is another function: another answer to 375 of 625 inputs; "
        "no rival was made: these data tell no other grouping of its inputs from it"
    )
    assert found.forward_passes == 0


@pytest.mark.usefixtures("declared_only")
def test_they_stand_beside_the_rivals_on_the_card_and_change_no_answer():
    case = against(told("parity", "in pairs", 0), turned=turned(), regrouped=REGROUPED, alone=first_alone())
    found = E5(case)
    assert found.answer is Answer.SUPPORTED
    assert list(found.figures["rivals"]) == ["regrouped"]
    assert found.sentence.endswith(
        "; finest survivor: the claim; turned is no rival, it is the claim, up to a relabelling of values;"
        " alone is no rival, the claim entails it"
    )


@pytest.mark.usefixtures("declared_only")
def test_a_finer_rival_that_these_data_cannot_tell_blocks_support():
    found = E5(against(told("parity", "in pairs", 0), regrouped=REGROUPED, remainders=remainders()))
    assert found.answer is Answer.INCONCLUSIVE
    assert found.n_to_decide is None
    assert (
        "remainders is not told from the claim, the two expect different answers on 0 of 480 pairs"
        in found.sentence
    )
    alone = E5(against(told("parity", "in pairs", 0), remainders=remainders()))
    assert alone.answer is Answer.VACUOUS
    assert alone.reason.startswith(
        "remainders is no rival here, the two expect different answers on 0 of 480"
    )


def test_a_function_that_cannot_be_regrouped_has_no_rival():
    algorithm = equality(8)
    _, network, _ = exact(8)
    train, test = counterfactuals(algorithm, 800, seed=0).split(train=0.5, test=0.5)
    found = E5(case_of(neurons(network, algorithm, left=[0], right=[1]), test, train=train))
    assert found.answer is Answer.VACUOUS
    assert found.reason == (
        "no rival was made: no other grouping of its inputs gives 2 variables of at most 2 values"
    )


# What is needed.


def test_without_pairs_to_fit_on_there_is_no_rival():
    algorithm, _, claim = exact(2)
    pairs = counterfactuals(algorithm, 200, seed=0)
    found = E5(case_of(claim, pairs))
    assert (found.answer, found.reason) == (
        Answer.VACUOUS, "a rival needs a fit of its own, and there is no train= to fit it on",
    )  # fmt: skip
    shared = E5(case_of(claim, pairs, train=pairs))
    assert (shared.answer, shared.reason) == (
        Answer.VACUOUS, "a rival would be fitted on inputs of the test pairs",
    )  # fmt: skip


def test_what_was_picked_by_hand_gets_a_rotation_of_the_same_sizes(monkeypatch):
    monkeypatch.setattr(contenders, "MADE", 1)
    from commutes import census

    algorithm, network, _ = exact(2)
    claim = neurons(network, algorithm, left=[0], right=[1])
    complete = census(algorithm)
    case = case_of(claim, complete, train=complete, settings=BRIEF)
    field = contenders.field_of(case, complete)
    placed = contenders.placed(claim, field.contenders[0])
    assert [str(group.features) for group in placed.groups] == ["rotation"]
    assert [len(columns) for columns in placed.groups[0].columns.values()] == [1, 1]
    assert placed.groups[0].site is claim.groups[0].site
    found = E5(case)
    assert found.answer is Answer.SUPPORTED
    # Of a complete domain the gap is exact.
    (rival,) = found.figures["rivals"].values()
    assert rival["gap"]["lower"] == rival["gap"]["value"] == rival["gap"]["upper"]


def test_a_rotation_keeps_its_slices_and_places_beside_it_stay_apart():
    algorithm, network, _ = exact(2)
    rotation = Rotation(network.site("layers.1"))
    claim = Alignment(
        algorithm,
        {algorithm["left"]: rotation[1:2], algorithm["right"]: Coordinates(network.site("layers.0"))[[2, 0]]},
    )
    rival = Algorithm("regrouped equality")
    rival.inputs("w x y z", domain=range(2))
    for name, group in (("one", "wy"), ("other", "xz")):
        rival.add(name, *group, f=lambda x, y: x == y, domain=bool)
    rival.add("same", "one", "other", f=lambda x, y: x == y, domain=bool, output=True)
    view = View(rival.check(), spoken_of(rival), *shared_inputs(rival, seed=0))
    expects = Expectation("regrouped", view, np.zeros(0), np.zeros(0, bool))
    pairs = counterfactuals(algorithm, 100, seed=0)
    contender = contenders.Contender(
        expects, {"left": "other", "right": "one"}, pairs, pairs, None, finer=False
    )  # fmt: skip
    placed = contenders.placed(claim, contender)
    assert {v.name: (str(s.features), str(s.features.site)) for v, s in placed.slices.items()} == {
        "other": ("rotation", "layers.1"), "one": ("rotation", "layers.0"),
    }  # fmt: skip
    assert placed.groups[0].coordinates == (1,)
    assert [group.dimension for group in placed.groups] == [1, 2]
    assert not placed.fitted


# Deliberately wrong variants.


def expectations(claim: Algorithm, rival: Algorithm, swap, names) -> tuple:
    from commutes.counterfactuals import same_pairs

    pairs = counterfactuals(claim, 1200, swap=swap, seed=5)
    inputs, complete = shared_inputs(claim, seed=0)
    ours = View(claim, spoken_of(claim), inputs, complete)
    theirs = View(rival, spoken_of(rival), inputs, complete)
    own, rows = same_pairs(pairs, rival, names=names)
    assert len(rows) == len(pairs)
    expected = recoded(own.expected, theirs.output, ours.output)
    every = np.ones(len(pairs), bool)
    return (
        pairs,
        Expectation("the claim", ours, pairs.expected, every),
        Expectation("rival", theirs, expected, every),
    )


def trivial(pairs, rule: str) -> np.ndarray:
    return pairs.base_answer if rule == "do nothing" else pairs.source_answer[:, 0]


@pytest.mark.parametrize("rule", ["do nothing", "the source's answer"])
@pytest.mark.parametrize("turned_round", [False, True])
def test_an_edit_that_does_nothing_or_swaps_all_wins_no_bet(rule, turned_round):
    """An unweighted gap lets an inert claim win, because the pairs are balanced for its own strata alone."""
    names = {"either": "with_b", "a": "with_c"}
    swap = ["either", "a"]
    one, other = AND_OR, OR_ANDS
    if turned_round:
        one, other, names, swap = other, one, {b: a for a, b in names.items()}, ["with_b", "with_c"]
    pairs, ours, theirs = expectations(one, other, swap, names)
    bets = bets_of(pairs, ours, theirs)
    assert len(bets.rows) > 100
    answered = trivial(pairs, rule)[bets.rows]
    hits = [answered == e.expected[bets.rows] for e in (ours, theirs)]
    weighted = weighted_gap(*hits, bets.weights, bets.cells, pairs.members[bets.rows])
    assert weighted.value == pytest.approx(0, abs=1e-12)
    assert abs(float(hits[0].mean() - hits[1].mean())) > 0.02
    np.testing.assert_array_equal(np.unique(bets.cells), np.arange(bets.cells.max() + 1))


@pytest.mark.usefixtures("declared_only")
def test_what_is_entailed_would_be_a_rival_that_loses_for_sure(monkeypatch):
    """With a variable left out and an input in its place there is no rival: it must not earn the claim its support."""
    case = against(told("parity", "in pairs", 0), alone=first_alone())
    assert E5(case).answer is Answer.VACUOUS
    monkeypatch.setattr(contenders, "relation", lambda *_, **__: "rival")
    assert E5(case).answer is Answer.SUPPORTED


@pytest.mark.usefixtures("declared_only")
def test_without_a_relabelling_the_claim_is_a_rival_of_itself(monkeypatch):
    case = against(told("parity", "in pairs", 0), regrouped=REGROUPED, turned=turned())
    assert E5(case).answer is Answer.SUPPORTED

    def by_table(claim, rival, **_):
        return "the same" if claim.algorithm.fingerprint == rival.algorithm.fingerprint else "rival"

    monkeypatch.setattr(contenders, "relation", by_table)
    assert E5(case).answer is Answer.INCONCLUSIVE


@pytest.mark.usefixtures("declared_only")
def test_a_rival_in_the_claims_own_map_loses_without_a_chance():
    """At the claim's fitted coordinates the true algorithm does badly; with a fit of its own it wins."""
    case = against(told("distributive", "and of or", 1), own=AND_OR)
    (contender,) = contenders.field_of(case, case.train).contenders
    from commutes.evaluation import bench

    unfitted = contenders.placed(case.alignment, contender)
    there = unfitted.with_maps(case.alignment.featurizers)
    assert bench(there, contender.pairs).hits(there.featurizers).mean() > 0.9
    # The units that carry the variables are all in both claims: what differs is which of them are whose.
    crossed = case.alignment.featurizers[0]
    order = [*range(8, 16), *range(8)]
    there = unfitted.with_maps([crossed[order]])
    assert bench(there, contender.pairs).hits(there.featurizers).mean() < 0.7
    assert E5(case).answer is Answer.REFUTED

"""E2: how often a claim fails at random, a failure that is looked for, and the pair that shows it again."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

import commutes as cm
from commutes import Network, census, challenge, counterfactuals, one_source, replay
from commutes.errors import DataError
from commutes.evaluation import bench
from commutes.report import plain
from commutes.robustness import CHECKS
from commutes.robustness import _e2_counterexamples as module
from commutes.robustness._replay import written
from commutes.robustness._search import climbed, every_pair, tried
from commutes.stats import Answer, gate
from commutes.testing.zoo import LINEAR, linear
from tests.planted import EQUALITY, equality, exact, joined, neurons

from .cases import case_of
from .travel_cases import Otherwise, around, declared, drawing, numbers, trap, zoo_case

E2 = CHECKS["E2"]
YES, NO = Answer.SUPPORTED, Answer.REFUTED


@pytest.fixture(scope="module")
def caught():
    return trap()


# Truth.


@pytest.mark.slow
@pytest.mark.parametrize("seed", [5])
@pytest.mark.parametrize("name", LINEAR)
def test_planted_claims_on_every_input_are_answered_as_told(name, seed):
    member = linear(name, seed=seed)
    for told in member.claims:
        if told.truth == "right" or "E2" in told.ideal:
            found = E2(zoo_case(member, told, seed=seed, every_input=True))
            assert found.answer is told.ideal.get("E2", YES)


def test_a_shortcut_that_the_data_hide_is_found_by_looking_and_refutes_a_claim_on_every_input():
    member = linear("shortcut", seed=0)
    case = zoo_case(member, member.claims[0], every_input=True)
    found = E2(case)
    assert found.answer is NO
    assert found.figures["found_by"] == "a search"
    assert all(one["hits"] == 0 for one in found.figures["random"].values())
    shown = E2(declared(case))
    assert shown.answer is YES
    assert shown.figures["counterexample"] == found.figures["counterexample"]
    assert (
        "the claim is not declared about every input, so that what was found does not decide"
        in shown.sentence
    )


def test_a_claim_that_holds_everywhere_is_supported():
    found = E2(numbers(n=200))
    assert found.answer is YES
    assert found.sentence == (
        "random pairs of right fail in .000 [.000, .042], n = 100, upper bound .032, asked for less than .100;"
        " a search ran 1,920 pairs and found none, the lowest margin 1"
    )
    assert found.figures["counterexample"] is None
    json.dumps(plain(dict(found.figures)), allow_nan=False)


# Random pairs.


def test_random_pairs_are_independent_draws_of_inputs_that_nothing_was_found_on():
    case = numbers(n=400)
    seen = case.test.algorithm.input_ids(
        {v: c[:8_000] for v, c in case.test.algorithm.enumerate_inputs().items()}
    )
    claim = case.alignment.with_maps(case.alignment.featurizers, fitted_ids=seen)
    pairs = module._random_pairs(replace(case, alignment=claim))
    assert pairs is not None
    assert not np.isin(pairs.ids, seen).any()
    assert [int((pairs.swap == i).sum()) for i in (0, 1)] == [200, 200]
    left = pairs.columns["left"]
    assert left[pairs.base].mean() == pytest.approx(0.5, abs=0.1)
    agree = (left[pairs.base] == left[pairs.source[:, 0]]).mean()
    assert agree == pytest.approx(0.5, abs=0.1)


def test_without_inputs_that_are_left_the_check_is_vacuous():
    case = numbers(n=60)
    ids = case.test.algorithm.input_ids(case.test.algorithm.enumerate_inputs())
    claim = case.alignment.with_maps(case.alignment.featurizers, fitted_ids=ids)
    found = E2(replace(case, alignment=claim))
    assert (found.answer, found.reason) == (
        Answer.VACUOUS, "too few inputs are left that were neither fitted nor selected on"
    )  # fmt: skip


def test_a_claim_that_fails_at_random_is_refuted_and_shown():
    claim = around(Otherwise, lambda x: x[:, 2] > 8)
    found = E2(case_of(claim, counterfactuals(claim.algorithm, 400, seed=0)))
    assert found.answer is NO
    assert found.figures["found_by"] == "random pairs"
    assert found.figures["search"] is None
    assert found.figures["counterexample"]["base"]["y"] > 8
    assert not found.figures["counterexample"]["right without a swap"]
    assert found.refuted_at(0.05)
    assert not found.refuted_at(1e-12)


def test_few_pairs_are_inconclusive_with_the_number_that_would_decide():
    found = E2(numbers(n=40))
    assert found.answer is Answer.INCONCLUSIVE
    assert 40 < found.n_to_decide < 100


def test_where_doing_nothing_seldom_fails_rare_failures_say_nothing():
    """Of 24 numbers two are seldom equal: over inputs as they come a swap hardly ever changes the answer."""
    algorithm = equality(24)
    claim = neurons(EQUALITY.exact_network(algorithm), algorithm, left=[0], right=[1])
    found = E2(case_of(claim, counterfactuals(algorithm, 200, distribution="inputs", seed=0)))
    assert found.answer is Answer.VACUOUS
    assert found.reason == "random pairs of left do not exclude: do nothing, best constant, whole source"


# All pairs, and the search.


def test_small_domains_are_gone_through():
    algorithm, _, claim = exact()
    found = E2(case_of(claim, counterfactuals(algorithm, 200, seed=0)))
    assert found.figures["all_pairs"] == {"pairs": 2 * 81 * 81, "failing": 0}
    assert "of all 13,122 pairs of the domain none fails" in found.sentence


def test_all_pairs_are_those_of_the_census():
    algorithm = equality(2)
    whole = census(algorithm, swap=["left", {"left", "right"}])
    mine = every_pair(algorithm, whole.swaps, 16**2 + 16**3)
    assert mine is not None
    assert every_pair(algorithm, whole.swaps, 16**2 + 16**3 - 1) is None

    def rows(pairs):
        ids = np.where(pairs.members >= 0, pairs.ids[pairs.members], 0)
        found = [*ids.T, pairs.swap, pairs.expected, pairs.stratum]
        return np.unique(np.stack([column.astype(np.uint64) for column in found]), axis=1)

    np.testing.assert_array_equal(rows(mine), rows(whole))


def test_a_complete_domain_is_a_claim_on_every_input():
    algorithm, _, claim = exact()
    found = E2(case_of(claim, census(algorithm)))
    assert found.answer is YES
    assert found.sentence == (
        "none of all 13,122 pairs fails; a claim on a complete domain is about every input of it"
    )
    assert found.forward_passes == 0
    wrong = around(Otherwise, lambda x: x.sum(dim=1) == 0, symbols=3)
    found = E2(case_of(wrong, census(wrong.algorithm)))
    assert found.answer is NO
    # A base of zeros alone, of 81 bases with 81 sources for either variable.
    assert found.figures["all_pairs"] == {"pairs": 13_122, "failing": 162}
    assert not replay(wrong, found.figures["counterexample"]).hit
    assert found.refuted_at(1e-9)


def test_the_one_place_where_a_network_is_wrong_is_found(caught):
    found = E2(declared(caught, every_input=True))
    assert found.answer is NO
    assert found.figures["found_by"] == "a search"
    assert found.figures["counterexample"]["base"] == {"w": 7, "x": 2, "y": 9, "z": 4}
    assert found.figures["search"]["lowest_margin"] < 0
    assert found.refuted_at(1e-9)
    assert "a counterexample is kept (" in found.sentence


def test_changes_at_random_without_the_margin_do_not_find_it(caught, monkeypatch):
    """What the search finds it finds because it climbs: with all margins alike it stays where it is."""
    import commutes.robustness._search as search

    monkeypatch.setattr(search, "_margins", lambda answers, logits, expected, hits: np.where(hits, 1.0, -1.0))
    start = tried(caught.alignment, module._random_pairs(caught))
    assert climbed(caught.alignment, start, budget=4_000, seed=0).found is None


def test_the_budget_is_kept_and_the_same_seed_finds_the_same_pair(caught):
    start = tried(caught.alignment, module._random_pairs(caught))
    few = climbed(caught.alignment, start, budget=300, seed=0)
    assert few.tried == 256
    assert few.found is None
    assert climbed(caught.alignment, start, budget=0, seed=0).tried == 0
    first, again = (E2(declared(caught, every_input=True)) for _ in range(2))
    assert (first.figures, first.sentence) == (again.figures, again.sentence)
    other = E2(replace(declared(caught, every_input=True), seed=1))
    assert other.figures["counterexample"] != first.figures["counterexample"]


def test_nothing_of_the_network_is_changed(caught):
    before = {name: t.clone() for name, t in caught.alignment.network.module.state_dict().items()}
    state = torch.random.get_rng_state()
    E2(caught)
    now = caught.alignment.network.module.state_dict()
    assert all(torch.equal(tensor, before[name]) for name, tensor in now.items())
    assert torch.equal(torch.random.get_rng_state(), state)


def test_margins_are_those_of_the_logits(caught):
    pairs = module._random_pairs(caught)
    found = tried(caught.alignment, pairs)
    measured = bench(caught.alignment, pairs)
    logits = torch.cat(list(measured.edited(caught.alignment.featurizers))).double().numpy()
    own = logits[np.arange(len(pairs)), pairs.expected]
    other = logits[np.arange(len(pairs)), 1 - pairs.expected]
    np.testing.assert_allclose(found.margin, own - other)
    np.testing.assert_array_equal(found.hits, found.margin > 0)


def test_of_an_answer_of_several_tokens_the_worst_one_counts():
    from commutes.evaluation import Answers

    answers = Answers(equality(3), None, np.array([[0, 1], [1, 2]]))
    logits = torch.tensor([[[5.0, 1.0, 0.0], [0.0, 2.0, 4.0]], [[1.0, 5.0, 0.0], [0.0, 2.0, 4.0]]])
    from commutes.robustness._search import _margins

    found = _margins(answers, logits, np.array([0, 1]), np.array([False, True]))
    np.testing.assert_allclose(found, [-2.0, 2.0])


def test_a_network_without_logits_is_searched_all_the_same():
    algorithm = equality(12)
    inner = EQUALITY.exact_network(algorithm).module
    network = Network(
        inner, encode=joined, decode=lambda logits: [bool(v) for v in logits.argmax(dim=1).tolist()]
    )
    claim = neurons(network, algorithm, left=[0], right=[1])
    found = E2(case_of(claim, counterfactuals(algorithm, 100, seed=0)))
    assert found.figures["search"] == {"pairs": 1_000, "lowest_margin": 1.0}


# Replaying.


def test_a_pair_replays_from_a_saved_record(caught, tmp_path):
    report = challenge(caught.alignment, test=caught.test, level="R4", every_input=True, refits=0)
    assert report.answers["E2"] == "refuted"
    (figures,) = [c["figures"] for c in report.record()["checks"] if c["id"] == "E2"]
    pair = json.loads(json.dumps(figures))["counterexample"]
    found = cm.replay(caught.alignment, pair)
    assert not found.hit
    assert (found.swap, found.expected, found.answered) == (pair["swap"], pair["expected"], pair["answered"])
    assert dict(found.base) == {"w": 7, "x": 2, "y": 9, "z": 4}
    assert found.right is pair["right without a swap"]
    assert str(found).startswith("counterexample: (w=7, x=2, y=9, z=4) with ")
    fine = {**pair, "base": {"w": 0, "x": 0, "y": 0, "z": 0}}
    assert replay(caught.alignment, fine).hit
    assert str(replay(caught.alignment, fine)).startswith("agrees: ")


def test_pairs_of_several_variables_replay_with_their_own_or_one_source():
    algorithm, _, claim = exact(4)
    for swap in ({"left", "right"}, one_source(algorithm["left"], algorithm["right"])):
        pairs = counterfactuals(algorithm, 80, swap=[swap], seed=0)
        found = tried(claim, pairs)
        from commutes.robustness._replay import pair_record

        for row in range(8):
            record = pair_record(pairs, row, found.answered, found.right)
            again = replay(claim, json.loads(json.dumps(record)))
            assert (again.expected, again.answered) == (record["expected"], record["answered"])
            assert again.swap == pairs.swaps[0].label
            sources = [tuple(inputs.values()) for inputs in again.sources.values()]
            assert (sources[0] == sources[1]) or len(pairs.swaps[0].slots) == 2


def message(pair, claim) -> str:
    with pytest.raises(DataError) as error:
        replay(claim, pair)
    return str(error.value)


def test_what_is_no_pair_is_refused():
    _, _, claim = exact()
    row = dict.fromkeys("wxyz", 0)
    pair = {"base": row, "sources": {"left": row}}
    assert replay(claim, pair).hit
    assert message({"base": row}, claim) == (
        "this is no pair to replay\n"
        "  got:      base\n"
        '  expected: "base" and "sources", as the figures of E2 have them under "counterexample"\n'
        '  do:       pass report.outcomes["E2"].outcome.figures["counterexample"], or the same from report.json'
    )
    assert message(None, claim).startswith("this is no pair to replay\n  got:      None")
    assert message({**pair, "sources": {"lefft": row}}, claim) == (
        "the pair swaps a variable that the algorithm has not\n"
        "  got:      'lefft'\n"
        "  expected: one of w, x, y, z, left, right, same\n"
        "  do:       write 'left'"
    )
    assert message({**pair, "base": {"w": 0}}, claim).startswith(
        "the pair's inputs are not the algorithm's\n  where:    the base\n  got:      w\n  expected: w, x, y, z"
    )
    assert message({**pair, "sources": {"left": {**row, "y": 7}}}, claim) == (
        "y has no such value\n"
        "  where:    the source of left\n"
        "  got:      7\n"
        "  expected: {0, 1, 2}\n"
        "  do:       replay it with the claim that it was found for; a pair of E1 with its shift="
    )


@pytest.mark.parametrize("value", [True, 1, 2.5, "a", None, (1, (True, None)), frozenset({2, 1}), b"a"])
def test_values_are_written_so_that_json_keeps_them_apart(value):
    assert json.loads(json.dumps(written(value))) == written(value)
    assert json.dumps(written(True)) != json.dumps(written(1))


# Wrong variants, each caught by a planted claim.


def test_the_lower_bound_instead_of_the_upper_lets_a_shortcut_pass():
    """Where shades are loose in some inputs a shortcut fails now and then: too few pairs are no support."""
    member = linear("shortcut", seed=1)
    told = member.claims[0]
    own, free = member.distribution, member.shifts["any shades"]

    def draw(rng, n):
        one, other = own.draw(rng, n), free.draw(rng, n)
        loose = rng.random(n) < 0.1
        return {v: [b if f else a for a, b, f in zip(one[v], other[v], loose, strict=True)] for v in "wxyz"}

    pairs = member.pairs(told, 200, seed=0, distribution=cm.Distribution("shades nearly tied", draw))
    found = E2(case_of(told.alignment, pairs))
    rates = found.figures["random"].values()
    assert all(0 < one["rate"] < 0.1 for one in rates)
    assert all(gate((one["lower"], one["lower"]), found.figures["most"], side="<") is YES for one in rates)
    assert found.answer is Answer.INCONCLUSIVE


def test_the_mean_over_variables_instead_of_the_worst_lets_one_of_them_fail():
    algorithm = equality(12)
    network = EQUALITY.exact_network(algorithm)
    case = case_of(neurons(network, algorithm, left=[0], right=[1]), counterfactuals(algorithm, 800, seed=0))
    pairs = module._random_pairs(case)
    hits = np.ones(len(pairs), bool)
    hits[np.nonzero(pairs.swap == 0)[0][:64]] = False
    assert (~hits).mean() < 0.1
    assert module._refuted(hits, pairs, 0.1, 0.05)
    assert not module._refuted(np.ones(len(pairs), bool), pairs, 0.1, 0.05)


def test_distributions_of_the_users_own_are_what_random_pairs_are_drawn_from():
    odd = drawing("w odd", lambda found: found.update(w=found["w"] | 1))
    algorithm = equality(12)
    claim = neurons(EQUALITY.exact_network(algorithm), algorithm, left=[0], right=[1])
    case = case_of(claim, counterfactuals(algorithm, 200, distribution=odd, seed=0))
    pairs = module._random_pairs(case)
    assert (pairs.columns["w"] % 2 == 1).all()

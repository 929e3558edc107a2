"""D3: edited states as the readers of a site see them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from commutes import Alignment, Coordinates, Distribution, Network, Rotation, census, counterfactuals, fit
from commutes.robustness import CHECKS
from commutes.robustness import _d3_natural as module
from commutes.robustness import _views as views
from commutes.robustness._readers import ReadSpace, Rows
from commutes.stats import Answer
from commutes.testing.compiler import compile_program, program
from commutes.testing.zoo import trained_member
from tests.network.transformers import models as M
from tests.planted import equality, exact
from tests.robustness.cases import case_of
from tests.robustness.zoo_cases import answered, claims, member, told, zoo_case
from tests.testing.zoo.oracles import Bench, seen_nowhere

D3 = CHECKS["D3"]
YES, NO, VACUOUS, OPEN = Answer.SUPPORTED, Answer.REFUTED, Answer.VACUOUS, Answer.INCONCLUSIVE


@claims("D3")
def test_claims_of_the_zoo_are_answered_as_told(name, seed, number):
    assert answered("D3", name, seed, number).answer is told(name, seed, number).ideal["D3"]


@pytest.mark.parametrize(
    ("name", "number"), [("illusion", 0), ("illusion", 1), ("cancellation", 0), ("clean", 0)]
)
def test_what_is_far_out_is_seen_nowhere_else(name, number):
    oracle = seen_nowhere(Bench(member(name, 1), told(name, 1, number), zoo_case(name, 1, number).test))
    found = answered("D3", name, 1, number).figures["by_set"]
    assert {label: one["edited"]["rate"] for label, one in found.items()} == pytest.approx(
        {label: new for label, (_, new) in oracle.items()}
    )


def test_an_illusion_puts_its_readers_where_no_input_does():
    found = answered("D3", "illusion", 1, 1)
    left, right = found.figures["by_set"]["left"], found.figures["by_set"]["right"]
    assert (left["edited"]["rate"], left["natural"], right["edited"]["rate"]) == (1.0, 0.0, 0.0)
    # What is read beside the dormant direction says left as well; by itself it moves as nothing does by nature.
    assert left["alone"]["edited"]["rate"] == 1.0
    assert left["alone"]["median"] > 50 * left["alone"]["quantile"]
    assert found.sentence == (
        "left: 1.000 [.977, 1.000], n = 160 of edited states lie far beyond natural ones with the same values, excess"
        " 1.000 [.976, 1.000], below .050 is asked for; layers.3.0 reads 3 of 11 directions"
    )
    assert found.figures["fitted_on"].endswith(" inputs of the training split")
    assert found.refuted_at(1e-6)
    rows = np.array(left["furthest"])
    pairs = zoo_case("illusion", 1, 1).test
    assert (pairs.base_value("left")[rows] != pairs.source_value("left")[rows]).all()


def test_a_copy_that_is_read_beside_it_leaves_the_question_open():
    found = answered("D3", "backup", 1, 0)
    assert found.answer is VACUOUS
    assert found.reason == (
        "what is read beside the coordinates of left says it as well: whichever of the two is edited, they come to"
        " disagree, as no natural state does"
    )
    left = found.figures["by_set"]["left"]
    assert (left["edited"]["rate"], left["alone"]["edited"]["rate"]) == (1.0, 0.0)


def test_edits_that_nobody_sees_are_not_natural():
    found = answered("D3", "inert copy", 1, 1)
    assert (found.answer, found.reason) == (VACUOUS, "edits of left move nothing that is read")


@pytest.mark.parametrize(
    ("seed", "reason"),
    [
        (0, "layers.3.0 reads 31 of 32 directions: their view is nearly the whole space"),
        (1, "layers.3.0 reads 32 of 32 directions: their view is the whole space"),
    ],
)
def test_where_all_or_nearly_all_is_read_nothing_is_said(seed, reason):
    one = trained_member("parity", "in pairs", seed=seed)
    found = D3(case_of(one.claims[0].alignment, one.pairs(one.claims[0], 60, seed=1)))
    assert (found.answer, found.sentence) == (VACUOUS, "the readers have no view of their own")
    assert found.reason == reason + ", in which true edits are flagged as well"


def test_without_a_training_split_half_of_the_pairs_are_judged_by_the_other_half():
    one = member("illusion", 1)
    own = case_of(one.claims[1].alignment, one.pairs(one.claims[1], 640, seed=5))
    found = D3(own)
    assert found.answer is NO
    assert D3(replace(own, train=None)).figures == found.figures
    pool = views.pool_of(own)
    assert len(pool.rows) == 320
    assert not np.isin(pool.learnt, own.test.members[pool.rows]).any()
    assert found.figures["fitted_on"] == f"{len(pool.learnt)} other inputs of the test part"
    assert D3(case_of(one.claims[0].alignment, one.pairs(one.claims[0], 640, seed=5))).answer is YES


def test_a_complete_domain_is_natural_as_it_is():
    algorithm, _, claim = exact(3)
    case = case_of(claim, census(algorithm))
    # Both neurons are all that is read of two: asked all the same, to see that a census has no interval.
    found = [module._seen(case, v, s, p) for p in [views.pool_of(case)] for s, v in views.views_of(
        case, claim.groups[0], ReadSpace(("head",), (Rows(torch.eye(2, dtype=torch.float64), torch.ones(2), 1),)), p
    )]  # fmt: skip
    assert [one.gated(0.05, 0.05) for one in found] == [YES, YES]
    assert found[0].excess(0.05).lower == found[0].excess(0.05).upper == 0
    assert found[0].on == "the complete domain"


def test_values_that_no_natural_input_has_are_left_out_and_counted():
    case = zoo_case("clean", 1, 0)
    group = case.alignment.groups[0]
    space = module.read_space(case.bench.prepared, group.site)
    pool = views.pool_of(case)
    columns = case.test.columns
    # Natural are only inputs in which the two are not both true.
    both = (columns["left"] == 1) & (columns["right"] == 1)
    (one, _) = [
        module._seen(case, v, s, p)
        for p in [replace(pool, inputs=pool.inputs[~both[pool.inputs]])]
        for s, v in views.views_of(case, group, space, p)
    ]
    pairs = case.test
    rows = np.nonzero((pairs.swap == 0) & (pairs.base_value("left") != pairs.source_value("left")))[0]
    never = (pairs.source_value("left")[rows] == 1) & (pairs.base_value("right")[rows] == 1)
    assert one.asked - len(one.rows) == never.sum() > 0.2 * len(rows)
    assert module._short(one) == (
        f"for {never.sum():,} of {len(rows):,} pairs of left no natural input has the same values"
    )


def test_a_compiled_program_has_no_readers_of_a_part():
    made = compile_program(program("duplicate", length=3), rotation=1)
    inner = made.algorithm.inner_variables[0]
    claim = made.alignment([made.true_home(inner)])
    found = D3(case_of(claim, counterfactuals(claim.algorithm, 60, swap=[inner], seed=0)))
    assert found.answer is VACUOUS
    assert found.reason.endswith("as in a residual stream: all of it is read")


def test_neurons_of_a_language_model_are_looked_at():
    net = Network(
        M.model("gpt2", dtype=torch.float32),
        M.tokenizer(),
        template="{w}{x}{y}{z}=",
        answers={False: "1", True: "2"},
    )
    algorithm = equality(4)
    site = net.site("mlp_activation", layer=1, position="last")
    claim = Alignment(
        algorithm, {algorithm["left"]: Coordinates(site)[:4], algorithm["right"]: Coordinates(site)[4:8]}
    )
    found = D3(case_of(claim, counterfactuals(algorithm, 300, seed=0)))
    assert found.figures["readers"] == "transformer.h.1.mlp.c_proj reads 16 of 64 directions"
    assert set(found.figures["by_set"]) == {"left", "right"}
    # Four neurons of a natural input in place of those of another are nothing that stands out.
    assert found.figures["by_set"]["left"]["edited"]["rate"] < 0.2


@pytest.mark.slow
@pytest.mark.parametrize("name", ["clean", "tilt"])
@pytest.mark.parametrize("seed", [1, 2])
def test_a_fit_that_finds_the_variables_is_not_refuted(name, seed):
    """It misses them by a little, and natural states are in two places."""
    one = member(name, seed)
    algorithm = one.algorithm
    train, select, test = counterfactuals(algorithm, 2000, seed=seed).split(train=0.4, select=0.2, test=0.4)
    rotation = Rotation(one.network.site("layers.2"))
    claim = Alignment(algorithm, {algorithm["left"]: rotation[:1], algorithm["right"]: rotation[1:2]})
    fitted = fit(claim, train, select=select, seed=0, steps=300, starts=2)
    case = case_of(fitted, test, train=train, select=select)
    found = D3(case)
    assert case.evaluation.overall.rate > 0.8
    assert found.answer is not NO


# Gates.


def seen(edited: int, natural: int = 0, n: int = 200, m: int = 400, *, alone: object = None) -> module._Seen:
    return module._Seen(
        "left", n, np.arange(n), np.arange(2 * n).reshape(n, 2), np.arange(n) < edited, np.arange(m) < natural,
        np.zeros(m, np.int64), np.full(m, n / m), 1.0, 1.0, 0.5, "other inputs", False, alone,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("edited", "natural", "answer"), [(0, 0, YES), (30, 0, NO), (10, 0, OPEN), (20, 60, YES), (100, 80, NO)]
)
def test_the_excess_is_gated_on_its_bounds(edited, natural, answer):
    assert seen(edited, natural).gated(0.05, 0.05) is answer


def test_too_few_pairs_or_natural_inputs_say_nothing():
    assert seen(0, n=58).gated(0.05, 0.05) is OPEN
    assert seen(0, m=58).gated(0.05, 0.05) is OPEN
    assert seen(100, n=200, m=58).gated(0.05, 0.05) is OPEN
    assert replace(seen(58, n=58), census=True).gated(0.05, 0.05) is NO


def test_a_set_that_is_said_twice_is_judged_by_its_edits_alone():
    assert seen(200, alone=seen(0)).gated(0.05, 0.05) is OPEN
    assert seen(200, alone=seen(200)).gated(0.05, 0.05) is NO


def test_the_number_that_would_decide_is_of_test_pairs(monkeypatch):
    case = zoo_case("clean", 1, 0)
    unsure = seen(6)
    monkeypatch.setattr(module, "_seen", lambda case, views, swap, pool: unsure)
    found = D3(case)
    assert found.answer is OPEN
    excess = unsure.excess(0.05)
    alone = np.ceil(200 * ((excess.upper - excess.value) / (0.05 - excess.value)) ** 2)
    assert found.n_to_decide == -(-int(alone) * len(case.test) // 200)


def test_the_quantile_of_weighted_states():
    values = np.array([1.0, 2.0, 3.0, 4.0])
    assert views.quantile(values, np.array([90.0, 5.0, 4.0, 1.0]), 0.05) == 2.0
    assert views.quantile(values, np.array([90.0, 4.0, 4.0, 2.0]), 0.05) == 3.0
    assert views.quantile(values, np.array([0.0, 1.0, 0.0, 0.0]), 0.05) == 2.0


# Wrong variants.


def test_the_full_space_flags_the_truth(monkeypatch):
    """A copy that always goes with left is nothing to the readers, and all to a distance in the whole space."""
    assert answered("D3", "inert copy", 1, 0).answer is YES

    def everything(prepared, site):
        width = prepared.plan[site].width
        return ReadSpace(("all",), (Rows(torch.eye(width, dtype=torch.float64), torch.ones(width), 1),))

    monkeypatch.setattr(module, "read_space", everything)
    monkeypatch.setattr(module, "_unseen", lambda case, group, space: None)
    monkeypatch.setattr(module, "_says", lambda *_: False)
    assert D3(zoo_case("inert copy", 1, 0)).answer is NO


def test_natural_states_of_other_values_flag_the_truth_about_a_rare_value(monkeypatch):
    """Where left is seldom true all states in which it is are far out, edited or not."""
    one = member("clean", 1)
    alignment = one.claims[0].alignment

    def draw(rng, n):
        rows = {name: [] for name in "wxyz"}
        for left, right in zip(rng.random(n) < 0.02, rng.random(n) < 0.5, strict=True):
            for pair, equal in (("wx", left), ("yz", right)):
                first = int(rng.integers(4))
                second = first if equal else int((first + rng.integers(1, 4)) % 4)
                for name, symbol in zip(pair, (first, second), strict=True):
                    rows[name].append((symbol, int(rng.integers(3))))
        return rows

    rare = Distribution("left in one of fifty", draw)
    pairs = counterfactuals(alignment.algorithm, 800, distribution=rare, seed=1)
    case = case_of(alignment, pairs)
    assert D3(case).answer is YES
    # Every natural state counts the same, and natural states are as the distribution has them.
    real = views.pool_of(case)
    columns, rng = case.test.columns, np.random.default_rng(0)
    natural = np.concatenate([
        rng.choice(real.inputs[columns["left"][real.inputs] == value], count)
        for value, count in ((0, 294), (1, 6))
    ])  # fmt: skip
    monkeypatch.setattr(module, "pool_of", lambda case: replace(real, inputs=natural))
    monkeypatch.setattr(
        views,
        "_cells",
        lambda case, group, inputs, rows: (np.zeros(len(inputs), int), np.zeros(len(rows), int)),
    )
    assert D3(case).answer is NO

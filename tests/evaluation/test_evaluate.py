"""What may be measured, how the number may be read, and what stands beside it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from commutes import Algorithm, Alignment, Coordinates, Network, census, counterfactuals, evaluate, reals
from commutes.alignment import Alignment as Claim
from commutes.errors import DataError, EngineError, NetworkError
from commutes.evaluation import OTHER, answers_of, not_excluded
from commutes.report import as_evaluation
from tests.planted import equality, exact, joined, neurons, planted, settled


@pytest.fixture(scope="module")
def fitted():
    case = planted()
    return case, settled(case.claim, case.parts, [case.truth])


def test_inputs_that_were_fitted_on_are_refused_with_the_overlap(fitted):
    case, claim = fitted
    train, select, test = case.parts
    with pytest.raises(DataError) as error:
        evaluate(claim, train)
    said = str(error.value)
    count = len(train.input_ids)
    assert "the alignment was fitted on these inputs" in said
    assert f"got:      {count:,} of {count:,} inputs were fitted on" in said
    assert "of the part 'train'" in said
    assert "census=True" in said
    assert evaluate(claim, select).label == "selection, optimistic"
    assert evaluate(claim, test).label == ""


def test_a_partial_overlap_is_counted(fitted):
    case, claim = fitted
    mixed = counterfactuals(case.algorithm, 200, seed=9)
    seen = np.isin(mixed.input_ids, claim.fitted_ids).sum()
    assert 0 < seen < len(mixed.input_ids)
    with pytest.raises(DataError, match=f"{seen:,} of {len(mixed.input_ids):,} inputs were fitted on"):
        evaluate(claim, mixed)


def test_a_census_may_use_fitted_inputs_where_it_is_said_and_is_labelled():
    case = planted(symbols=3, pairs=300)
    pairs = census(case.algorithm)
    claim = case.claim.with_maps([case.truth], fitted_ids=pairs.input_ids)
    assert evaluate(claim, pairs, census=True).label == "in-sample, complete domain"
    with pytest.raises(DataError, match="81 of 81 inputs were fitted on"):
        evaluate(claim, pairs)
    with pytest.raises(DataError, match="were fitted on"):
        evaluate(claim, counterfactuals(case.algorithm, 100, seed=0), census=True)
    unseen = case.claim.with_maps([case.truth])
    assert evaluate(unseen, pairs).label == "complete domain"


def test_a_census_is_exact_and_only_its_random_floor_has_an_interval():
    algorithm, _, claim = exact()
    found = evaluate(claim, census(algorithm))
    assert found.overall.method == "census"
    assert found.overall.low == found.overall.high == 1.0
    assert found.floors["do nothing"].method == "census"
    random = found.floors["random subspace"]
    assert random.method != "census"
    assert random.clusters == 5
    assert random.n == 5 * 13_122
    as_evaluation(found.record())


def test_a_stratum_that_the_algorithm_excludes_is_impossible_and_one_without_pairs_is_not():
    """y = v: with one variable that is the answer nothing can be novel, and a placebo cannot be."""
    from commutes import Algorithm

    algorithm = Algorithm("copy")
    (a,) = algorithm.inputs("a", domain=range(4))
    algorithm.add("v", a, f=lambda a: a, domain=range(4))
    algorithm.add("y", "v", f=lambda v: v, domain=range(4), output=True)

    class Copy(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.site = nn.Identity()

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.site(x)

    network = Network(Copy(), encode=lambda v: torch.eye(4)[torch.from_numpy(v["a"])], answers=[0, 1, 2, 3])
    claim = Claim(algorithm.check(), {algorithm["v"]: Coordinates(network.site("site"))[:4]})
    found = evaluate(claim, census(algorithm))
    statuses = {c.stratum: c.status for c in found.cells}
    assert statuses == {"flip": "gated", "placebo": "impossible", "novel": "impossible", "neutral": "gated"}
    assert found.natural["v"][0] == 1.0
    impossible = [c for c in found.cells if c.status == "impossible"]
    assert [(c.rate, c.weight, c.floors, c.inputs) for c in impossible] == [(None, 0.0, {}, 0)] * 2
    # A whole source is right wherever it can be told apart: this data cannot exclude it.
    assert found.not_excluded == {"v": ["whole source"]}


def test_a_possible_stratum_without_pairs_is_too_small_and_leaves_the_natural_mean_out():
    algorithm, _, claim = exact(6)
    pairs = counterfactuals(algorithm, 400, seed=0)
    flips = pairs.subset(pairs.stratum != pairs.strata.index("novel"))
    found = evaluate(claim, flips)
    novel = [c for c in found.cells if c.stratum == "novel"]
    assert [(c.status, c.rate) for c in novel] == [("too small", None)] * 2
    assert all(c.weight > 0 for c in novel)
    assert found.natural == {"left": None, "right": None}
    assert found.record()["natural"] == {"rate": None, "low": None, "high": None}
    as_evaluation(found.record())


def conjunction() -> Algorithm:
    """u = (p > 0), v = (q = r), o = u and v: expected answers are rare within strata, and unequally so."""
    algorithm = Algorithm("conjunction")
    p, q, r = algorithm.inputs("p q r", domain=range(8))
    algorithm.add("u", p, f=lambda p: p > 0, domain=[False, True])
    algorithm.add("v", q, r, f=lambda q, r: q == r, domain=[False, True])
    algorithm.add("o", "u", "v", f=lambda u, v: u and v, domain=[False, True], output=True)
    return algorithm.check()


class Always(nn.Module):
    """Answers True whatever comes: right exactly where True is expected."""

    def __init__(self) -> None:
        super().__init__()
        self.site = nn.Identity()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.stack([0 * self.site(x)[:, 0], 0 * x[:, 0] + 1], dim=1)


def always_true() -> Alignment:
    algorithm = conjunction()
    network = Network(
        Always(),
        encode=lambda v: torch.from_numpy(np.stack([v[n] for n in "pqr"], axis=1).astype(np.float32)),
        answers=[False, True],
    )
    return neurons(network, algorithm, "site", u=[0], v=[1])


@pytest.mark.parametrize("reuse", [True, "auto"])
def test_natural_is_the_rate_that_pairs_drawn_from_the_distribution_have(reuse):
    claim = always_true()
    pairs = counterfactuals(claim.algorithm, 1200, distribution="inputs", reuse=reuse, seed=0)
    if reuse == "auto":
        (pairs,) = pairs.split(test=1.0)
    found = evaluate(claim, pairs)
    rng = np.random.default_rng(0)
    base, source = rng.integers(0, 8, (2, 200_000, 3))
    u, v = base[:, 0] > 0, base[:, 1] == base[:, 2]
    loop = {"u": ((source[:, 0] > 0) & v).mean(), "v": (u & (source[:, 1] == source[:, 2])).mean()}
    assert found.overall.rate > 0.4  # balanced over expected answers
    for swap, truth in loop.items():
        value, low, high = found.natural[swap]
        assert value == pytest.approx(truth, abs=0.005) == 7 / 64
        assert low < value < high
    assert found.natural_mean[0] == pytest.approx(7 / 64)
    assert found.record()["natural"]["rate"] == found.natural_mean[0]


def test_the_interval_of_natural_covers_the_rate_of_the_distribution():
    """A claim that is right where p of the base is even: a rate that varies within every cell."""
    from commutes.evaluation._rates import natural, natural_mean

    algorithm = conjunction()
    whole = counterfactuals(algorithm, 60_000, distribution="inputs", seed=99)
    truth = natural_mean(whole.inputs["p"][whole.base] % 2 == 0, whole)[0]
    covered = {"u": 0, "v": 0, "mean": 0}
    for seed in range(60):
        pairs = counterfactuals(algorithm, 300, distribution="inputs", seed=seed)
        hits = pairs.inputs["p"][pairs.base] % 2 == 0
        found = {**natural(hits, pairs), "mean": natural_mean(hits, pairs)}
        for name, (_, low, high) in found.items():
            target = (
                truth if name == "mean" else natural(whole.inputs["p"][whole.base] % 2 == 0, whole)[name][0]
            )
            covered[name] += low <= target <= high
    assert min(covered.values()) >= 53


def test_the_natural_rate_of_a_census_weighs_inputs_and_not_only_strata():
    """All pairs of a domain are as common as each other there; under "values" they are not."""
    from commutes.evaluation._rates import natural

    algorithm = conjunction()
    pairs = census(algorithm)
    hits = pairs.inputs["q"][pairs.base] == 0
    # u and v are uniform, then the inputs that give them: P(q = 0) is 1/8 either way; P(p = 0) is 1/2, not 1/8.
    assert natural(hits, pairs)["u"] == pytest.approx((1 / 8,) * 3)
    hits = pairs.inputs["p"][pairs.source[:, 0]] == 0
    assert natural(hits, pairs)["u"] == pytest.approx((1 / 2,) * 3)
    assert natural(hits, pairs)["v"] == pytest.approx((1 / 2,) * 3)


def test_natural_is_none_where_an_answer_of_a_stratum_was_not_measured():
    algorithm, _, claim = exact(6)
    pairs = counterfactuals(algorithm, 400, seed=0)
    gone = (pairs.swap == 0) & (pairs.stratum == 0) & (pairs.expected == 1)
    found = evaluate(claim, pairs.subset(~gone))
    assert found.natural["left"] is None
    assert found.natural["right"][0] == 1.0
    assert found.natural_mean is None


def test_the_random_floor_is_as_uncertain_as_its_draws_are_few():
    from commutes.evaluation._floors import floor_rate
    from commutes.stats import mean_interval

    algorithm = equality(6)
    pairs = counterfactuals(algorithm, 800, seed=0)
    drawn = np.zeros((5, 800), dtype=bool)
    for draw, hits in enumerate((80, 240, 400, 560, 720)):
        drawn[draw, np.random.default_rng(draw).permutation(800)[:hits]] = True
    found, spread = floor_rate(drawn, pairs), mean_interval(drawn.mean(axis=1), limits=(0, 1))
    assert (found.hits, found.n, found.clusters) == (2000, 4000, 5)
    assert found.low <= spread.low
    assert found.high >= spread.high
    assert found.lower <= spread.lower
    assert found.upper >= spread.upper
    alike = floor_rate(np.repeat(drawn[2:3], 5, axis=0), pairs)
    single = floor_rate(drawn[2:3], pairs)
    # Draws that agree leave what the pairs leave open, which five times the same pairs do not narrow.
    assert alike.high - alike.low == pytest.approx(single.high - single.low, rel=0.1)


def test_a_constant_is_the_best_of_its_swapped_set():
    """Where the swapped sets expect different answers one constant for both would be a weaker rival."""
    algorithm, _, claim = exact(6)
    pairs = counterfactuals(algorithm, 800, seed=0)
    apart = pairs.subset(pairs.expected == (pairs.swap == 0))
    found = evaluate(claim, apart)
    assert found.floors["best constant"].rate == 1.0
    assert all("best constant" in names for names in found.not_excluded.values())
    coverage = apart.coverage()
    assert [coverage[row]["best constant"].count for row in ("left", "right", "all swaps")] == [0, 0, 0]


def test_possible_cells_that_are_too_small_are_counted_and_the_effective_ones_named():
    algorithm, _, claim = exact(6)
    pairs = counterfactuals(algorithm, 800, seed=0)
    place = {name: i for i, name in enumerate(pairs.strata)}
    left = pairs.swap == 0
    few = np.zeros(len(pairs), dtype=bool)
    few[np.nonzero(left & (pairs.stratum == place["flip"]))[0][:20]] = True
    keep = few | ~(left & np.isin(pairs.stratum, [place["flip"], place["placebo"]]))
    found = evaluate(claim, pairs.subset(keep))
    assert found.worst is not None
    assert (found.worst.cells, found.worst.too_small) == (6, 2)
    assert found.ungated == (("left", "flip"),)
    assert found.record()["worst"]["too_small"] == 2
    assert "lowest of 6 gated cells; 2 more are too small" in " ".join(str(found).split())
    assert evaluate(claim, pairs).ungated == ()


def test_nothing_gated_means_no_headline_and_nothing_excluded():
    algorithm, _, claim = exact(6)
    few = counterfactuals(algorithm, 40, seed=0)
    found = evaluate(claim, few)
    assert found.worst is None
    assert found.record()["worst"] is None
    assert {c.status for c in found.cells} == {"too small"}
    assert all(len(names) == 3 for names in not_excluded(few, 0.9).values())


def test_sixty_pairs_of_few_inputs_are_too_small():
    algorithm, _, claim = exact(3)
    pairs = counterfactuals(algorithm, 4000, seed=0)
    one = np.nonzero((pairs.swap == 0) & (pairs.stratum == 0))[0]
    keep = one[np.isin(pairs.base[one], np.unique(pairs.base[one])[:8])]
    other = np.setdiff1d(np.arange(len(pairs)), one)
    found = evaluate(claim, pairs.subset(np.concatenate([keep, other])))
    (cell,) = [c for c in found.cells if (c.swap, c.stratum) == ("left", "flip")]
    assert cell.rate.n >= 59 > cell.inputs
    assert cell.status == "too small"


def test_disjoint_pairs_have_exact_bounds_and_recurring_ones_do_not():
    algorithm, _, claim = exact(8)
    (measured,) = counterfactuals(algorithm, 800, seed=1).split(test=1.0)
    assert evaluate(claim, measured).overall.method == "disjoint"
    recurring = counterfactuals(algorithm, 800, seed=1)
    found = evaluate(claim, recurring)
    assert found.overall.method == "dyadic"
    assert found.overall.lower < evaluate(claim, measured).overall.lower


def test_the_trivial_rivals_are_excluded_by_balanced_pairs():
    algorithm, _, claim = exact(6)
    assert evaluate(claim, counterfactuals(algorithm, 800, seed=0)).not_excluded == {"left": [], "right": []}


def test_pairs_on_which_doing_nothing_is_right_exclude_it_no_longer():
    algorithm, _, claim = exact(6)
    pairs = counterfactuals(algorithm, 800, seed=0)
    quiet = pairs.subset(~pairs.effective)
    assert "do nothing" in evaluate(claim, quiet).not_excluded["left"]
    alike = pairs.subset(pairs.expected == pairs.source_answer[:, 0])
    assert "whole source" in evaluate(claim, alike).not_excluded["left"]


def test_answers_of_another_type_are_refused():
    algorithm = equality(3)
    module = exact()[1].module
    for answers in ([0, 1], ["False", "True"], [False, 1.0]):
        network = Network(module, encode=joined, answers=answers)
        with pytest.raises(NetworkError) as error:
            evaluate(neurons(network, algorithm, left=[0], right=[1]), census(algorithm))
        assert "the network has no answer for a value of the algorithm's output" in str(error.value)
        assert "(bool) among them" in str(error.value)


def test_an_argmax_goes_over_everything_that_the_network_can_answer():
    """Two logits beyond the answers: where one is the largest the answer is none, and never a hit."""
    algorithm, network, _ = exact()

    class More(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = network.module

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            logits = self.inner(x)
            high = (x[:, 0] == 2).float().unsqueeze(1) * 9
            return torch.cat([logits, high - 1, high - 2], dim=1)

    more = Network(More(), encode=joined, answers=[False, True])
    claim = neurons(more, algorithm, "inner.layers.1", left=[0], right=[1])
    pairs = census(algorithm)
    found = evaluate(claim, pairs)
    spoilt = pairs.inputs["w"][pairs.base] == 2
    assert not found.hits[spoilt].any()
    assert found.hits[~spoilt].all()
    assert (found.answered[spoilt] == OTHER).all()
    assert found.accuracy.rate == pytest.approx(2 / 3)


def test_answers_in_another_order_are_the_same_answers():
    algorithm, network, claim = exact()

    class Swapped(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = network.module

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.inner(x).flip(1)

    other = Network(Swapped(), encode=joined, answers=[True, False])
    found = evaluate(neurons(other, algorithm, "inner.layers.1", left=[0], right=[1]), census(algorithm))
    assert np.array_equal(found.hits, evaluate(claim, census(algorithm)).hits)


def test_a_custom_decode_is_evaluated():
    algorithm, network, _ = exact()
    wrapped = Network(
        network.module, encode=joined, decode=lambda logits: [bool(t > f) for f, t in logits.tolist()]
    )
    claim = neurons(wrapped, algorithm, left=[0], right=[1])
    assert evaluate(claim, census(algorithm)).hits.all()
    with pytest.raises(NetworkError, match="can be evaluated, not fitted"):
        answers_of(wrapped, algorithm).targets(np.array([0]))


def test_a_decode_that_answers_something_else_never_hits():
    algorithm, network, _ = exact()
    odd = Network(network.module, encode=joined, decode=lambda logits: ["perhaps"] * len(logits))
    found = evaluate(neurons(odd, algorithm, left=[0], right=[1]), census(algorithm))
    assert not found.hits.any()
    assert (found.answered == OTHER).all()
    short = Network(network.module, encode=joined, decode=lambda logits: [True])
    with pytest.raises(NetworkError, match="decode must return one value per example"):
        evaluate(neurons(short, algorithm, left=[0], right=[1]), census(algorithm))


def test_logits_that_are_not_finite_are_named_by_their_example():
    algorithm = equality(3)

    class Breaks(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = exact()[1].module

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.inner(x) / (1 - (x == 2).all(dim=1).float()).unsqueeze(1)

    network = Network(Breaks(), encode=joined, answers=[False, True])
    claim = neurons(network, algorithm, "inner.layers.1", left=[0], right=[1])
    with pytest.raises(EngineError) as error:
        evaluate(claim, census(algorithm))
    assert "the network's clean answers are not finite" in str(error.value)
    assert "example 80" in str(error.value)


def test_a_map_that_is_not_the_identity_on_equal_states_is_an_error():
    case = planted(3, 300)

    class Leaky:
        def read(self, state):
            return state[..., :2]

        def write(self, state, old, new):
            return state + (new + 1e-3 - old).sum()

    with pytest.raises(EngineError, match="swapping a base with itself changed the answer"):
        evaluate(case.claim.with_maps([Leaky()]), census(case.algorithm))


def test_the_same_seed_gives_the_same_floors_and_another_does_not():
    case = planted()
    claim, test = case.told(), case.parts[2]
    first, again, other = (evaluate(claim, test, seed=s) for s in (0, 0, 1))
    assert first.record() == again.record()
    assert first.floors["random subspace"].hits != other.floors["random subspace"].hits
    assert first.floors["do nothing"] == other.floors["do nothing"]


def test_evaluating_leaves_the_network_and_the_global_generators_alone():
    case = planted()
    module = case.network.module
    before = {k: v.clone() for k, v in module.state_dict().items()}
    torch.manual_seed(5)
    state = torch.get_rng_state()
    np_state = np.random.get_state()[1].copy()  # noqa: NPY002
    evaluate(case.told(), case.parts[2])
    assert torch.equal(torch.get_rng_state(), state)
    assert np.array_equal(np.random.get_state()[1], np_state)  # noqa: NPY002
    assert all(torch.equal(module.state_dict()[k], v) for k, v in before.items())
    assert all(p.requires_grad and p.grad is None for p in module.parameters())
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in module.modules())


# Outputs that are numbers.


class Sum(nn.Module):
    """a + b through a site that holds both, off by a little where a is 3."""

    def __init__(self, off: float = 0.0) -> None:
        super().__init__()
        self.site = nn.Identity()
        self.off = off

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = self.site(x)
        return (h.sum(dim=1) + self.off * (h[:, 0] == 3)).unsqueeze(1)


def number_claim(off: float, tolerance: float | None) -> Alignment:
    from commutes import Algorithm

    algorithm = Algorithm("sum")
    a, b = algorithm.inputs("a b", domain=range(5))
    algorithm.add("first", a, f=lambda a: a, domain=range(5))
    algorithm.add(
        "total", "first", b, f=lambda first, b: float(first + b), domain=reals(0, 10, tolerance), output=True
    )
    network = Network(
        Sum(off),
        encode=lambda v: torch.from_numpy(np.stack([v["a"], v["b"]], axis=1).astype(np.float32)),
        decode=lambda logits: logits[:, 0].tolist(),
    )
    return Alignment(algorithm.check(), {algorithm["first"]: Coordinates(network.site("site"))[0]})


def test_numbers_agree_within_their_tolerance_and_are_never_called_iia():
    claim = number_claim(0.05, 0.1)
    found = evaluate(claim, census(claim.algorithm))
    assert found.hits.all()
    assert found.label == "agreement within 0.1, not IIA, complete domain"
    assert [(c.stratum, c.rate.rate) for c in found.cells] == [("agreement", 1.0)]
    assert found.directions == ()
    text = str(found)
    assert text.startswith("Agreement, the share of pairs")
    assert "IIA" not in text.replace("NOT IIA", "")
    as_evaluation(found.record())


def test_numbers_beyond_the_tolerance_miss():
    claim = number_claim(0.5, 0.1)
    pairs = census(claim.algorithm)
    found = evaluate(claim, pairs)
    off = pairs.inputs["a"][pairs.source[:, 0]] == 3
    assert np.array_equal(found.hits, ~off)
    exact_only = number_claim(0.05, None)
    found = evaluate(exact_only, census(exact_only.algorithm))
    assert found.label.startswith("agreement within 0, not IIA")
    assert np.array_equal(found.hits, ~off)


def test_answers_of_several_numbers_agree_where_all_of_them_do():
    from commutes import Algorithm, Space

    algorithm = Algorithm("sum and first")
    a, b = algorithm.inputs("a b", domain=range(5))
    algorithm.add("first", a, f=lambda a: a, domain=range(5))
    pairs_of = Space("two numbers", lambda rng, n: rng.random((n, 2)), lambda _: True, width=2, tolerance=0.1)
    algorithm.add(
        "both", "first", b, f=lambda first, b: (float(first + b), float(first)), domain=pairs_of, output=True
    )
    network = Network(
        Sum(0.5),
        encode=lambda v: torch.from_numpy(np.stack([v["a"], v["b"]], axis=1).astype(np.float32)),
        decode=lambda logits: [(float(x), 3.0) for x in logits[:, 0]],
    )
    claim = Alignment(algorithm.check(), {algorithm["first"]: Coordinates(network.site("site"))[0]})
    pairs = census(algorithm)
    found = evaluate(claim, pairs)
    # The second number is right where the source's a is 3, and there the first is off by a half.
    assert found.hits.shape == (len(pairs),)
    assert not found.hits.any()
    assert found.self_checks["whole swap of what is read"].rate == 1.0


def test_the_floors_of_numbers_are_agreement_as_well():
    claim = number_claim(0.0, 1.0)
    pairs = census(claim.algorithm)
    found = evaluate(claim, pairs)
    near = np.abs(pairs.expected - pairs.base_answer) <= 1.0
    assert found.floors["do nothing"].hits == near.sum()
    best = max(int((np.abs(pairs.expected - c) <= 1.0).sum()) for c in np.arange(0, 9, 0.5))
    assert found.floors["best constant"].hits == best


def test_a_challenge_of_numbers_has_no_stratified_iia():
    from commutes import challenge

    claim = number_claim(0.0, 0.1)
    report = challenge(claim, test=census(claim.algorithm))
    assert report.answers["A2"] == "vacuous"
    assert "agreement within a tolerance is no IIA" in report.outcomes["A2"].outcome.reason
    assert report.level != "R2"
    assert "IIA, the share" not in str(report)

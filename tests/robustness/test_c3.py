"""C3: what lies outside the alignment is taken from another input, and the answer stays or does not."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from commutes import Algorithm, Alignment, Coordinates, Mask, Network, census, counterfactuals
from commutes.features import Dictionary, Gated, Neurons, Subspace
from commutes.robustness import CHECKS
from commutes.robustness._resampling import MOST, taken
from commutes.stats import Answer, gate
from commutes.testing.zoo import compiled
from commutes.training import donors, left_open, way_around
from tests.network.transformers import models
from tests.planted import EQUALITY, equality, exact, joined, neurons
from tests.testing.zoo.oracles import Bench

from .cases import case_of
from .zoo_cases import answered, claims, found, member, told, told_case

C3 = CHECKS["C3"]


@claims("C3")
def test_told_claims_are_answered_as_told(name, seed, number):
    assert answered("C3", name, seed, number).answer is told(name, seed, number).ideal["C3"]


@pytest.mark.parametrize(
    ("name", "claim"),
    [
        ("inert copy", "copy"),
        ("redundant", "one of two"),
        ("entangled", "oblique"),
        ("tilt", "tilted by 60 degrees"),
    ],
)
def test_the_rate_is_that_of_a_resampling_by_hand(name, claim):
    case, one = told_case(name, claim), next(t for t in member(name, 1).claims if t.name == claim)
    pairs = taken(case.test, np.unique(case.test.base), np.random.default_rng([case.seed, 63]))
    by_hand = Bench(member(name, 1), one, case.test)
    reader, writer = ({n: t.double() for n, t in m.items()} for m in by_hand.maps)
    base, mixed = (by_hand.states[x].double() for x in (pairs.base, pairs.source[:, 0]))
    kept = sum((base - mixed) @ reader[n] @ writer[n].T for n in reader)
    said = by_hand.logits((mixed + kept).float()).argmax(dim=1)
    stays = (said == by_hand.clean[pairs.base].argmax(dim=1)).numpy()
    joint = found(name, claim, "C3").figures["joint"]
    assert (joint["hits"], joint["n"]) == (int(stays.sum()), len(pairs))
    changed = found(name, claim, "C3").figures["changed"]
    assert changed == pairs.members[~stays][:10].tolist()


def test_the_sentence_and_the_figures():
    one = found("inert copy", "copy", "C3")
    joint = one.figures["joint"]
    name = min(one.figures["units"], key=lambda unit: one.figures["units"][unit]["rate"])
    assert one.sentence.startswith(f"the answer stays in .{round(1000 * joint['rate'])} [.")
    assert (
        " when all that carries no variable is taken from another input, at least .950; of 8 units alone"
        in one.sentence
    )
    assert f"the worst is {name}, ." in one.sentence
    assert joint["method"] == "dyadic"
    assert one.figures["everything"]["rate"] < 0.6
    assert one.forward_passes == joint["n"] * 3 + 8 * 128
    assert one.refuted_at(0.001)
    alone = found("clean", "left alone", "C3")
    assert "from another input that agrees on right, at least .950" in alone.sentence
    assert alone.figures["agree_on"] == {"layers.2": ["right"]}
    assert found("many values", "crossed", "C3").sentence.endswith(
        "; no answer changes with one of 2 units alone"
    )


def test_units_are_counted_and_a_complete_domain_is_exact():
    algorithm, _, _ = exact(3)
    wide = Wide(EQUALITY.exact_network(algorithm).module)
    network = Network(wide, encode=joined, answers=[False, True])
    case = case_of(neurons(network, algorithm, "site", left=[0], right=[1]), census(algorithm))
    one = C3(case)
    joint = one.figures["joint"]
    assert (joint["rate"], joint["n"], joint["method"]) == (1.0, 81 * 80, "census")
    assert (len(one.figures["units"]), one.figures["left_out"]) == (32, 8)
    assert one.answer is Answer.SUPPORTED


class Wide(nn.Module):
    """The exact network with forty numbers beside the two bits: waves of the input, which are read or not."""

    def __init__(self, inner: nn.Module, *, read: float = 0.0, bits: float = 1.0, waves: float = 1.0) -> None:
        super().__init__()
        self.inner, self.site, self.read = inner, nn.Identity(), read
        self.bits, self.waves = bits, waves
        generator = torch.Generator().manual_seed(0)
        self.register_buffer("speeds", torch.randn(4, 40, generator=generator))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = self.inner.layers[1](self.inner.layers[0](x))
        h = self.site(torch.cat([h, self.waves * torch.cos(x @ self.speeds)], dim=1))
        hidden = self.bits * h[:, :2] + (1 - self.bits) * self.inner.layers[1](self.inner.layers[0](x))
        logits = self.inner.head(self.inner.layers[2](hidden))
        return logits + self.read * h[:, 2:].sum(dim=1, keepdim=True) * torch.tensor([1.0, -1.0])


def wide(symbols: int = 6, pairs: int = 400, **changes) -> tuple[Alignment, object]:
    algorithm = equality(symbols)
    network = Network(
        Wide(EQUALITY.exact_network(algorithm).module, **changes), encode=joined, answers=[False, True]
    )
    claim = neurons(network, algorithm, "site", left=[0], right=[1])
    return claim, counterfactuals(algorithm, pairs, seed=0)


def test_what_is_read_outside_is_refuted():
    assert C3(case_of(*wide(read=0.0))).answer is Answer.SUPPORTED
    assert C3(case_of(*wide(read=1.0))).answer is Answer.REFUTED


def test_a_few_inputs_leave_it_open_and_the_number_that_would_decide_decides():
    claim, pairs = wide(pairs=600)

    def of(n: int):
        return C3(case_of(claim, pairs.subset(np.arange(n))))

    one = of(48)
    assert (one.answer, one.reason) == (Answer.INCONCLUSIVE, None)
    assert one.figures["joint"]["rate"] == 1.0
    assert 48 < one.n_to_decide < 200
    assert of(one.n_to_decide + 20).answer is Answer.SUPPORTED


# Where it has no power.


def test_where_nothing_is_left_over_it_is_vacuous():
    one = found("clean", "all but right", "C3")
    assert one.sentence == "nothing can be resampled"
    assert one.reason == (
        "every coordinate of the alignment's sites carries a variable: nothing that could be taken from another input"
    )


def test_where_no_two_inputs_agree_the_variables_to_align_are_named():
    case = told_case("clean", "left alone")
    right = case.test.base_value("right")
    rows = [int(np.nonzero(right == value)[0][0]) for value in (0, 1)]
    one = C3(case_of(case.alignment, case.test.subset(rows)))
    assert (one.answer, one.reason) == (
        Answer.VACUOUS,
        "y -> right -> same passes no aligned variable, and no two inputs agree on right: align right",
    )


def test_one_input_is_no_resampling():
    claim, pairs = wide()
    one = C3(case_of(claim, pairs.subset([0])))
    assert (one.answer, one.reason) == (Answer.VACUOUS, "there is one base")


def test_a_map_without_a_complement_is_vacuous():
    claim, pairs = wide()
    latents = Dictionary(claim.network.site("site"), _Same())
    algorithm = claim.algorithm
    one = C3(
        case_of(Alignment(algorithm, {algorithm["left"]: latents[0], algorithm["right"]: latents[1]}), pairs)
    )
    assert (one.answer, one.reason) == (
        Answer.VACUOUS,
        "what carries no variable is not known: a Latents, which has no complement",
    )


class _Same(nn.Module):
    def encode(self, state: torch.Tensor) -> torch.Tensor:
        return state

    def decode(self, latents: torch.Tensor) -> torch.Tensor:
        return latents


def test_an_outside_that_is_the_same_for_all_inputs_is_vacuous():
    one = C3(case_of(*wide(waves=0.0)))
    assert (one.answer, one.figures["joint"]["rate"]) == (Answer.VACUOUS, 1.0)
    assert (
        one.reason
        == "what lies outside the alignment hardly differs between inputs: 0 of the whole difference"
    )


def test_sites_that_the_answer_does_not_hang_on_are_vacuous():
    one = C3(case_of(*wide(bits=0.0)))
    assert one.answer is Answer.VACUOUS
    assert one.reason.startswith("the answer stays as well, in 1.000 [.")
    assert one.reason.endswith(", when all coordinates of the sites are taken")


# Who takes from whom.


def test_everyone_takes_from_another_of_its_group_once():
    group = np.array([0, 1, 0, 2, 1, 0, 0, 1])
    taken_ = donors(group, np.random.default_rng(0))
    assert sorted(taken_) == list(range(8))
    assert (group[taken_] == group).all()
    own = taken_ == np.arange(8)
    assert own.tolist() == [False, False, False, True, False, False, False, False]


def test_inputs_agree_where_they_must_and_those_without_another_are_counted():
    algorithm = equality(3)
    pairs, rng = census(algorithm), np.random.default_rng(0)
    agree = [algorithm["w"], algorithm["right"]]
    found_ = taken(pairs, np.arange(81), rng, [agree])
    for variable in agree:
        column = pairs.columns[variable.name]
        assert (column[found_.base] == column[found_.source[:, 0]]).all()
    # By hand: 9 inputs agree on w and have y = z, 18 do not; each takes from all others of its own.
    assert len(found_) == 3 * (9 * 8 + 18 * 17)
    assert (found_.whole, found_.alone) == (True, 0)
    assert (found_.base != found_.source[:, 0]).all()
    some = counterfactuals(algorithm, 12, seed=1)
    lonely = taken(some, np.arange(len(some.ids)), rng, [list(algorithm.input_variables)])
    assert (len(lonely), lonely.alone) == (0, len(some.ids))


def test_large_complete_domains_are_drawn_from():
    algorithm = equality(4)
    found_ = taken(census(algorithm), np.arange(256), np.random.default_rng(0))
    assert (len(found_), found_.whole, found_.drawn) == (MOST, False, True)
    assert found_.rate(np.ones(MOST, bool)).method == "disjoint"
    rows, some = found_.some(100, np.random.default_rng(1))
    assert np.array_equal(some.base, found_.base[rows])
    assert some.drawn


def chain() -> Algorithm:
    algorithm = Algorithm("chain")
    algorithm.inputs("a b c d", domain=range(2))
    algorithm.add("p", "a", "b", f=lambda a, b: a ^ b, domain=range(2))
    algorithm.add("q", "p", "c", f=lambda p, c: p & c, domain=range(2))
    algorithm.add("r", "q", "d", f=lambda q, d: q ^ d, domain=range(2))
    algorithm.add("s", "r", "p", f=lambda r, p: 2 * r + p, output=True)
    return algorithm.check()


@pytest.mark.parametrize(
    ("aligned", "open_"),
    [
        (["p", "r"], []),
        (["p"], ["c", "d"]),
        (["q"], ["d", "p"]),
        (["r"], ["p"]),
        (["p", "q"], ["d"]),
        (["a"], ["b", "c", "d"]),
    ],
)
def test_what_decides_beside_the_aligned_variables_is_known_from_the_graph(aligned, open_):
    algorithm = chain()
    network = Network(nn.Linear(4, 4), encode=lambda v: torch.zeros(len(v["a"]), 4), answers=range(4))
    x = Coordinates(network.site(""))
    claim = Alignment(algorithm, {algorithm[name]: x[[i]] for i, name in enumerate(aligned)})
    assert [v.name for v in left_open(algorithm, claim.variables)] == open_
    assert (way_around(claim) != "") == (open_ != [])
    # Held, the answer is one for each of their values; with one of them left out it is not.
    inputs = algorithm.enumerate_inputs()
    held = [*aligned, *open_]
    for without in [None, *open_]:
        do = {
            algorithm[n]: np.ones(16, np.int64) for n in held if n != without and algorithm[n].kind != "input"
        }
        fixed = {
            n: np.full(16, int(n != "b")) if n in held and n != without else c for n, c in inputs.items()
        }
        answers = algorithm.run(fixed, do)["s"]
        assert (len(set(answers)) == 1) == (without is None)


def test_coordinates_behind_closed_gates_lie_outside():
    claim, pairs = wide()
    x = Mask(Coordinates(claim.network.site("site")))
    masked = Alignment(
        claim.algorithm, {claim.algorithm["left"]: x[[0, 2]], claim.algorithm["right"]: x[[1, 3]]}
    )
    group = masked.groups[0]
    gate_ = torch.tensor([coordinate < 2 for coordinate in group.coordinates])
    opened = masked.with_maps([Gated(Neurons(torch.tensor(group.coordinates)), gate_)])
    one = C3(case_of(opened, pairs))
    assert one.figures["joint"] == C3(case_of(claim, pairs)).figures["joint"]
    assert len(one.figures["units"]) + one.figures["left_out"] == 40
    basis = torch.linalg.qr(torch.randn(5, 3, generator=torch.Generator().manual_seed(0))).Q
    inner = Gated(Subspace(basis, basis), torch.tensor([True, False, True])).opened()
    assert torch.equal(inner.reader, basis[:, [0, 2]])
    latents = Dictionary(claim.network.site("site"), _Same())[[4, 5]].features.given(
        [4, 5], torch.device("cpu")
    )
    assert Gated(latents, torch.tensor([False, True])).opened().index.tolist() == [5]


# A wrong variant.


def test_the_mean_over_single_units_lets_an_inert_copy_pass():
    """What is spread over many units hangs on none of them alone."""
    one = found("inert copy", "copy", "C3")
    units = [unit["rate"] for unit in one.figures["units"].values()]
    assert gate((np.mean(units), np.mean(units)), 0.95) is Answer.SUPPORTED
    assert one.answer is Answer.REFUTED


# Other networks.


def test_a_compiled_program_is_strict_at_its_true_places():
    program = compiled("equality", seed=1, length=4, symbols=2)
    answers = {}
    for one in program.claims:
        answers[one.kind] = C3(case_of(one.alignment, program.pairs(one, 400, seed=0)))
    assert answers[""].answer is Answer.SUPPORTED
    assert answers["inert copy"].answer is Answer.REFUTED
    # A residual stream carries what was made earlier past every later site: there the other input must agree on it.
    sites = answers[""].figures["agree_on"]
    assert sites["blocks.1.middle position 0"] == []
    assert any(sites.values())
    assert "another input that agrees on whatever else decides there, at least" in answers[""].sentence


def test_places_that_differ_in_what_must_agree_take_from_inputs_of_their_own():
    algorithm = equality(3)
    pairs, right = census(algorithm), [algorithm["right"]]
    found_ = taken(pairs, np.arange(81), np.random.default_rng(0), [[], right, []])
    assert (found_.column, found_.source.shape, found_.whole, found_.drawn) == (
        (0, 1, 0),
        (81 * 80, 2),
        False,
        True,
    )
    values = pairs.columns["right"]
    assert (values[found_.base] == values[found_.source[:, 1]]).all()
    assert (values[found_.base] != values[found_.source[:, 0]]).any()
    few = taken(pairs, np.arange(9), np.random.default_rng(0), [[], right])
    assert len(few) == 1024 // 9 * 9


def test_a_language_model_is_resampled_at_its_tokens():
    network = models.network("gpt2")
    algorithm = Algorithm("sum")
    algorithm.inputs("a b", domain=range(10))
    algorithm.add("low", "b", f=lambda b: b % 2, domain=range(2))
    algorithm.add("sum", "a", "low", f=lambda a, low: (a + low) % 10, domain=range(10), output=True)
    claim = Alignment(
        algorithm, {algorithm["low"]: Coordinates(network.site("block_output", layer=1, position="last"))[:4]}
    )
    one = C3(case_of(claim, counterfactuals(algorithm, 60, seed=1)))
    assert list(one.figures["agree_on"].values()) == [["a"]]
    assert one.figures["joint"]["rate"] < 0.9
    assert one.answer is Answer.REFUTED

"""D6: what reads and does not patch."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from commutes import Algorithm, Alignment, Coordinates, Network, census, counterfactuals
from commutes.algorithm import Space
from commutes.evaluation import rate_of
from commutes.features import moments
from commutes.robustness import CHECKS
from commutes.robustness._d6_probe_and_patch import _measured
from commutes.robustness._decoding import clean, decoder, decoding, read_as_sources
from commutes.stats import Answer, gate, paired_gap
from commutes.testing.zoo import compiled
from tests.network.transformers import models
from tests.planted import EQUALITY, equality, exact, joined
from tests.testing.zoo.oracles import Bench, reads_but_does_not_patch

from .cases import case_of
from .zoo_cases import answered, claims, found, member, told, told_case

D6 = CHECKS["D6"]


@claims("D6")
def test_told_claims_are_answered_as_told(name, seed, number):
    assert answered("D6", name, seed, number).answer is told(name, seed, number).ideal["D6"]


@pytest.mark.parametrize(
    ("name", "claim"), [("inert copy", "copy"), ("backup", "copy"), ("clean", "true"), ("illusion", "true")]
)
def test_the_gap_is_that_of_an_oracle(name, claim):
    case = told_case(name, claim)
    one = next(t for t in member(name, 1).claims if t.name == claim)
    assert reads_but_does_not_patch(Bench(member(name, 1), one, case.test)) == pytest.approx(
        found(name, claim, "D6").figures["variables"]["left"]["gap"]["value"]
    )


def test_the_sentence_and_the_figures_of_an_inert_copy():
    one = found("inert copy", "copy", "D6")
    left = one.figures["variables"]["left"]
    assert one.sentence == (
        "left reads in 1.000 [.977, 1.000], n = 160 and patches in .000 [.000, .023], n = 160 of effective pairs, the"
        " worst of 2 variables: gap 1.000 [.939, 1.000], below .200 is asked for"
    )
    assert (left["reads"]["rate"], left["patches"]["rate"], left["gap"]["value"]) == (1.0, 0.0, 1.0)
    assert left["gap"]["lower"] == pytest.approx(2 * 0.025 ** (1 / 160) - 1)
    case = told_case("inert copy", "copy")
    rows = left["pairs_that_read_and_do_not_patch"]
    assert len(rows) == 10
    assert (case.test.effective[rows] & ~case.evaluation.hits[rows]).all()
    assert one.figures["variables"]["right"]["gap"]["value"] == 0
    assert left["fitted_on"] == f"{len(case.train.ids):,} inputs of the training split"
    assert one.forward_passes == len(case.train.ids)
    assert one.refuted_at(0.001)


def test_a_few_pairs_leave_it_open_and_the_number_that_would_decide_decides():
    case = told_case("inert copy", "true")

    def of(n: int, misses: int):
        rows = np.concatenate(
            [np.nonzero(case.test.effective & (case.test.swap == i))[0][:n] for i in (0, 1)]
        )
        few = replace(case_of(case.alignment, case.test.subset(rows), train=case.train), seed=1)
        hits = few.evaluation.hits.copy()
        hits[:misses] = False
        return D6(replace(few, evaluation=replace(few.evaluation, hits=hits)))

    one = of(20, 2)
    assert (one.answer, one.reason) == (Answer.INCONCLUSIVE, None)
    assert one.figures["variables"]["left"]["gap"]["value"] == pytest.approx(0.1)
    assert 40 < one.n_to_decide <= 2 * 100
    assert of(100, 10).answer is Answer.SUPPORTED


def test_without_a_training_split_inputs_are_read_by_what_was_fitted_on_others():
    algorithm, _, claim = exact(3)
    case = case_of(claim, census(algorithm))
    one = D6(case)
    assert one.answer is Answer.SUPPORTED
    assert one.figures["variables"]["left"]["fitted_on"] == "other inputs of the test part"
    assert one.figures["variables"]["left"]["reads"]["method"] == "census"
    fitted = clean(case)
    decoders = decoding(case, fitted, algorithm["left"])
    assert (len(decoders.decoders), set(np.bincount(decoders.fold))) == (5, {16, 17})
    # The inputs that a decoder is asked about are not among those that it was fitted on.
    column, codes = read_as_sources(case)[algorithm["left"]], case.test.columns["left"]
    for number, one_of_five in enumerate(decoders.decoders):
        others = decoders.fold != number
        again = decoder(column[torch.from_numpy(others)], codes[others])
        assert torch.equal(again.means, one_of_five.means)
    # A census that was fitted on holds nothing out.
    assert not clean(replace(case, train=case.test)).held_out


# Where it has no power.


def test_what_reads_no_better_than_by_chance_is_vacuous():
    case = told_case("clean", "crossed")
    one = D6(case)
    assert (one.answer, one.sentence) == (Answer.VACUOUS, "no variable reads")
    names = one.figures["without"]
    assert list(names) == ["left", "right"]
    assert names["left"].startswith("left reads in .")
    assert ", no better than by chance (." in names["left"]
    assert one.reason == f"{names['left']}; {names['right']}"
    assert one.refuted_at is None


class Sum(nn.Module):
    """A number that is read, and logits that say whether it is above 4."""

    def __init__(self) -> None:
        super().__init__()
        self.site = nn.Identity()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        total = self.site(x.sum(dim=1, keepdim=True))
        return torch.cat([4.5 - total, total - 4.5], dim=1)


def test_a_variable_without_a_list_of_values_is_vacuous():
    numbers = Space("numbers", draw=lambda rng, n: rng.random(n), contains=lambda value: True)
    algorithm = Algorithm("above")
    algorithm.inputs("a b", domain=range(5))
    algorithm.add("total", "a", "b", f=lambda a, b: float(a + b), domain=numbers)
    algorithm.add("above", "total", f=lambda total: total > 4.5, domain=bool, output=True)
    network = Network(
        Sum(),
        encode=lambda v: torch.tensor(np.stack([v["a"], v["b"]], axis=1)).float(),
        answers=[False, True],
    )
    claim = Alignment(algorithm, {algorithm["total"]: Coordinates(network.site("site"))[0]})
    one = D6(case_of(claim, counterfactuals(algorithm, 200, seed=0)))
    assert (one.answer, one.reason) == (Answer.VACUOUS, "total has no finite list of values to decode")


def test_coordinates_that_are_not_finite_are_vacuous(monkeypatch):
    from commutes.robustness import _d6_probe_and_patch as module

    case = told_case("clean", "left alone")
    monkeypatch.setattr(
        module, "read_as_sources", lambda c: {v: x * torch.inf for v, x in read_as_sources(c).items()}
    )
    assert D6(case).reason == "the coordinates of left are not finite"


def test_a_variable_that_no_pair_swaps_alone_leaves_the_rest_open():
    algorithm, _, claim = exact(4)
    pairs = counterfactuals(algorithm, 400, swap=["left", {"left", "right"}], seed=0)
    one = D6(case_of(claim, pairs))
    assert (one.answer, one.reason) == (Answer.VACUOUS, "no effective pair swaps right alone")
    assert one.figures["variables"]["left"]["gap"]["value"] == 0
    # What is refuted stays so: a variable without pairs does not take it back.
    case = case_of(claim, pairs)
    wrong = replace(case, evaluation=replace(case.evaluation, hits=np.zeros(len(pairs), bool)))
    assert D6(wrong).answer is Answer.REFUTED


# The decoder.


@pytest.mark.parametrize("n", [300, 20])
def test_the_decoder_is_the_nearest_mean_by_the_shrunk_covariance(n):
    """By the closed form of the same covariance, and in the dual where there are fewer states than numbers."""
    rng = np.random.default_rng(0)
    codes = np.arange(n) % 3
    x = torch.from_numpy(rng.normal(size=(n, 30)) * rng.uniform(0.1, 3, 30) + rng.normal(size=(3, 30))[codes])
    ask = torch.from_numpy(rng.normal(size=(50, 30)))
    found = decoder(x, codes + 4)
    sums = moments(x, codes)
    covariance, _ = sums.shrunk()
    gaps = ask.unsqueeze(1) - sums.means
    expected = torch.einsum("nck,kl,ncl->nc", gaps, torch.linalg.inv(covariance), gaps).sqrt()
    assert torch.allclose(found.distances(ask), expected, rtol=1e-5)
    assert np.array_equal(found.decode(ask), expected.argmin(dim=1).numpy() + 4)


def test_states_without_any_spread_are_read_by_plain_distance():
    x = torch.tensor([[0.0, 0.0], [1.0, 1.0]]).repeat(10, 1)
    found = decoder(x, np.arange(20) % 2)
    assert np.array_equal(found.decode(torch.tensor([[0.4, 0.4], [0.9, 0.3]])), [0, 1])
    gaps = found.distances(x[:2])
    assert gaps[0, 0] == gaps[1, 1] == 0
    assert gaps[0, 1] == pytest.approx(float(gaps[1, 0]))
    nothing = decoder(torch.zeros(4, 2), np.arange(4) % 2)
    assert torch.isfinite(nothing.distances(torch.zeros(1, 2))).all()


def test_directions_that_vary_whatever_the_value_is_do_not_drown_it():
    """The inverse beside it: by plain distance they do."""
    rng = np.random.default_rng(1)
    codes = np.arange(400) % 2
    x = torch.from_numpy(np.column_stack([codes * 1.0, rng.normal(size=400) * 50]))
    read = decoder(x[:200], codes[:200]).decode(x[200:])
    assert (read == codes[200:]).mean() == 1
    means = torch.stack([x[:200][codes[:200] == c].mean(dim=0) for c in (0, 1)])
    assert (torch.cdist(x[200:], means).argmin(dim=1).numpy() == codes[200:]).mean() < 0.9


# A wrong variant.


class Scrambled(nn.Module):
    """The exact network, and beside it many numbers that nothing reads: waves of the input, too fast to learn from."""

    def __init__(self, inner: nn.Module, width: int = 400) -> None:
        super().__init__()
        self.inner, self.site = inner, nn.Identity()
        generator = torch.Generator().manual_seed(0)
        self.register_buffer("speeds", 40 * torch.randn(4, width, generator=generator))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.inner(x) + 0 * self.site(torch.cos(x @ self.speeds))[:, :1]


def test_reading_measured_where_it_was_fitted_takes_memory_for_reading():
    """Few states of many numbers are told apart whatever they mean: then what is not there is refuted as unused."""
    algorithm = equality(12)
    network = Network(
        Scrambled(EQUALITY.exact_network(algorithm).module), encode=joined, answers=[False, True]
    )
    claim = Alignment(algorithm, {algorithm["left"]: Coordinates(network.site("site"))[:]})
    case = case_of(claim, counterfactuals(algorithm, 200, swap=["left"], seed=0))
    pairs, (left,) = case.test, claim.variables
    x, codes = read_as_sources(case)[left], pairs.columns["left"]
    memory = decoder(x, codes).decode(x) == codes
    rows = np.nonzero(pairs.effective)[0]
    wrong = paired_gap(memory[pairs.source[rows, 0]], case.evaluation.hits[rows], pairs.members[rows])
    assert memory.mean() > 0.8
    assert gate(wrong, case.thresholds.unused, side="<") is Answer.REFUTED
    assert D6(case).answer is Answer.VACUOUS


# Other networks.


def test_a_compiled_program_reads_and_patches():
    program = compiled("induction", seed=1, length=4, symbols=2)
    answers = {}
    for one in program.claims:
        answers[one.kind] = D6(case_of(one.alignment, program.pairs(one, 400, seed=0)))
    assert answers[""].answer is Answer.SUPPORTED
    assert answers["inert copy"].answer is Answer.REFUTED


def test_a_language_model_is_read_at_its_tokens():
    network = models.network("gpt2")
    algorithm = Algorithm("sum")
    algorithm.inputs("a b", domain=range(10))
    algorithm.add("low", "b", f=lambda b: b % 2, domain=range(2))
    algorithm.add("sum", "a", "low", f=lambda a, low: (a + low) % 10, domain=range(10), output=True)
    site = network.site("block_output", layer=1, position="{b}", source_position="{b}")
    claim = Alignment(algorithm, {algorithm["low"]: Coordinates(site)[:]})
    train, test = counterfactuals(algorithm, 120, seed=1).split(train=0.5, test=0.5)
    one = D6(case_of(claim, test, train=train))
    low = one.figures["variables"]["low"]
    assert low["reads"]["rate"] >= 0.9
    assert (
        low["patches"]["rate"]
        == rate_of(case_of(claim, test).evaluation.hits, test, np.nonzero(test.effective)[0]).rate
    )
    assert one.answer is Answer.REFUTED


def test_what_is_measured_is_what_is_said():
    """Pair by pair: read in the source, patched as the evaluation has it, on effective pairs of one variable."""
    case = told_case("gate", "behind the gate")
    (left, right), without, _ = _measured(case)
    assert without == {}
    assert (left.name, right.name) == ("left", "right")
    assert np.array_equal(left.patched, case.evaluation.hits[left.rows])
    assert (case.test.swap[left.rows] == 0).all()
    assert case.test.effective[left.rows].all()
    values = case.test.source_value("left")[case.rows("left")]
    assert left.chance == max(np.mean(values == 0), np.mean(values == 1))

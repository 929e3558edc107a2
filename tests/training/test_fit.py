"""Fitting an alignment: what it gives, what it leaves alone, what it refuses."""

from __future__ import annotations

import copy
import hashlib
import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from torch import nn

from commutes import Alignment, Coordinates, Network, Rotation, counterfactuals, evaluate, fit, fit_many
from commutes.errors import DataError, FitError, NetworkError
from commutes.features import Neurons, Oblique, orthonormal
from commutes.training import Settings
from tests.planted import EQUALITY, QUICK, ROOT, equality, joined, planted


@pytest.fixture(scope="module")
def case():
    return planted(pairs=1200)


def quick(case, **changes) -> Alignment:
    settings = {"steps": 60, "lr": 0.05, "batch": 64, "starts": 2, **changes}
    return fit(case.claim, case.parts[0], select=case.parts[1], seed=3, **settings)


def bits(claim: Alignment) -> str:
    return hashlib.sha256(b"".join(m.reader.numpy().tobytes() for m in claim.featurizers)).hexdigest()


def test_a_fit_finds_the_planted_subspaces(case):
    # Measured at the end alone: a fit that is right on all of the selection split ends there, before it is this close.
    claim = fit(
        case.claim, case.parts[0], select=case.parts[1], seed=0, steps=600, every=600, lr=0.02, batch=128
    )
    for i, name in enumerate(("left", "right")):
        angle = case.truth[i].angles(claim.subspace(claim.algorithm[name]))
        assert float(angle.max()) < 0.2
    assert evaluate(claim, case.parts[2]).overall.rate == 1.0
    angles = case.truth[0].angles(claim.subspace(claim.algorithm["right"]))
    assert float(angles.max()) > 1.3


@pytest.mark.slow
def test_a_long_fit_finds_the_planted_subspaces_to_a_hundredth():
    case = planted(pairs=4000)
    claim = fit(case.claim, case.parts[0], seed=0, steps=1000, lr=0.02, batch=256, starts=1)
    for i, name in enumerate(("left", "right")):
        assert float(case.truth[i].angles(claim.subspace(claim.algorithm[name])).max()) < 1e-2


def test_the_old_claim_the_network_and_the_global_generator_are_as_before(case):
    module = case.network.module
    before = copy.deepcopy(module.state_dict())
    frozen = [p.requires_grad for p in module.parameters()]
    torch.manual_seed(11)
    state, threads = torch.get_rng_state(), torch.get_num_threads()
    claim = quick(case)
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.get_num_threads() == threads
    assert not case.claim.fitted
    assert len(case.claim.fitted_ids) == 0
    assert claim is not case.claim
    assert all(torch.equal(module.state_dict()[k], v) for k, v in before.items())
    assert [p.requires_grad for p in module.parameters()] == frozen
    assert all(p.grad is None for p in module.parameters())
    assert module.training
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in module.modules())
    assert not any("forward" in m.__dict__ for m in module.modules())


def test_parameters_that_take_gradients_or_not_make_no_difference(case):
    module = copy.deepcopy(case.network.module).requires_grad_(False)
    frozen = case.claim.on(case.network.with_module(module))
    settings = Settings(steps=20, lr=0.05, batch=64, starts=1)
    one, two = (fit_many([c], [case.parts[0]], seed=0, settings=settings)[0] for c in (case.claim, frozen))
    assert bits(one) == bits(two)
    assert not any(p.requires_grad for p in module.parameters())


def test_maps_are_detached_orthonormal_and_of_the_right_shape(case):
    (basis,) = (m.reader for m in quick(case).featurizers)
    assert basis.shape == (6, 2)
    assert not basis.requires_grad
    assert basis.is_contiguous()
    assert torch.allclose(basis.T @ basis, torch.eye(2), atol=1e-6)


def test_the_claim_knows_what_it_has_seen_and_how_it_was_fitted(case):
    train, select, _ = case.parts
    claim = quick(case)
    assert np.array_equal(claim.fitted_ids, train.input_ids)
    assert np.array_equal(claim.selected_ids, select.input_ids)
    history = claim.history
    assert {
        "steps": 60,
        "lr": 0.05,
        "batch": 64,
        "starts": 2,
        "every": 100,
        "seed": 3,
        "method": "das",
    }.items() <= (history.items())
    assert [step for step, _ in history["loss"]] == [60]
    assert len(history["start_scores"]) == 2
    assert history["start_scores"][history["chosen_start"]] == max(history["start_scores"])


def test_the_same_seed_gives_the_same_bits_and_another_does_not(case):
    one, two = quick(case), quick(case)
    assert bits(one) == bits(two)
    assert one.history == two.history
    other = fit(
        case.claim, case.parts[0], select=case.parts[1], seed=4, steps=60, lr=0.05, batch=64, starts=2
    )
    assert bits(one) != bits(other)


SCRIPT = """
import sys
sys.path.insert(0, sys.argv[1])
from tests.planted import planted
from tests.training.test_fit import bits, quick
print(bits(quick(planted(pairs=1200))))
"""


@pytest.mark.slow
def test_hash_seeds_and_processes_make_no_difference(case):
    found = {bits(quick(case))}
    for seed in ("0", "1"):
        done = subprocess.run(
            [sys.executable, "-c", SCRIPT, str(ROOT)],
            capture_output=True, text=True, check=True,
            env={**os.environ, "PYTHONHASHSEED": seed},
        )  # fmt: skip
        found.add(done.stdout.strip())
    assert len(found) == 1


def test_early_stopping_takes_the_best_step_of_all_that_were_measured(case):
    settings = Settings(steps=50, lr=0.3, batch=32, starts=3, every=5)
    (claim,) = fit_many([case.claim], [case.parts[0]], selects=[case.parts[1]], seed=2, settings=settings)
    history = claim.history
    scores = [m + w for (_, m), (_, w) in zip(history["selection"], history["selection_worst"], strict=True)]
    best = max(range(len(scores)), key=lambda i: (scores[i], -i))
    assert history["chosen_step"] == history["selection"][best][0] == 5 * (best + 1)
    assert history["chosen_step"] < 50
    assert max(scores) == max(history["start_scores"])
    # What was kept is what was measured then: the map, measured again, gives the same.
    found = evaluate(claim, case.parts[1])
    rates = [c.rate.rate for c in found.cells if c.rate is not None]
    assert min(rates) == pytest.approx(history["selection_worst"][best][1])
    assert np.mean(rates) == pytest.approx(history["selection"][best][1])


def test_without_a_selection_split_the_last_step_is_taken(case):
    settings = Settings(steps=40, lr=0.3, batch=32, starts=3, every=5)
    (claim,) = fit_many([case.claim], [case.parts[0]], seed=2, settings=settings)
    assert claim.history["chosen_step"] == 40
    assert [step for step, _ in claim.history["selection"]] == [40]
    assert len(claim.selected_ids) == 0
    scores = claim.history["start_scores"]
    assert scores[claim.history["chosen_start"]] == max(scores)


@pytest.mark.slow
def test_ending_a_fit_that_is_perfect_changes_nothing(case, monkeypatch):
    """A strictly better score is impossible: stopping must give the maps that going on would have given."""
    import commutes.training._found as module

    settings = Settings(steps=700, lr=0.03, batch=96, starts=3, every=50)
    twins = [case.claim, case.claim.on(planted(seed=1).network)]
    arguments = {"seed": 0, "settings": settings}

    def both(claims):
        count = len(claims)
        return fit_many(claims, [case.parts[0]] * count, selects=[case.parts[1]] * count, **arguments)

    stopped = [both([case.claim]), both(twins)]
    monkeypatch.setattr(module, "PERFECT", 3.0)
    whole = [both([case.claim]), both(twins)]
    for early, late in zip(stopped, whole, strict=True):
        assert early[0].history["last_step"] < 700 == late[0].history["last_step"]
        for one, other in zip(early, late, strict=True):
            assert bits(one) == bits(other)
            for key in ("chosen_step", "chosen_start"):
                assert one.history[key] == other.history[key]
            assert one.history["selection"] == other.history["selection"][: len(one.history["selection"])]


def test_several_networks_fitted_together_are_each_as_fitted_alone(case):
    claims = [case.claim, *(case.claim.on(case.network.reinitialised(s)) for s in (1, 2))]
    trains = [case.parts[0]] * 3
    selects = [case.parts[1]] * 3
    together = fit_many(claims, trains, selects=selects, seed=5, settings=QUICK)
    for claim, found in zip(claims, together, strict=True):
        (alone,) = fit_many([claim], trains[:1], selects=selects[:1], seed=5, settings=QUICK)
        for key in ("chosen_start", "chosen_step"):
            assert alone.history[key] == found.history[key]
        for one, other in zip(alone.featurizers, found.featurizers, strict=True):
            assert torch.allclose(one.reader, other.reader, atol=1e-4)


def test_claims_on_different_pairs_fitted_together_are_as_fitted_alone(case):
    other = counterfactuals(case.algorithm, 700, seed=8).split(train=0.6, select=0.4)
    pairs = [case.parts[:2], other]
    claims = [case.claim, case.claim]
    together = fit_many(claims, [t for t, _ in pairs], selects=[s for _, s in pairs], seed=5, settings=QUICK)
    for (train, select), found in zip(pairs, together, strict=True):
        (alone,) = fit_many([case.claim], [train], selects=[select], seed=5, settings=QUICK)
        assert alone.history["chosen_start"] == found.history["chosen_start"]
        assert torch.allclose(alone.featurizers[0].reader, found.featurizers[0].reader, atol=1e-4)


def test_fits_with_seeds_of_their_own_are_each_as_fitted_alone(case):
    seeds = [5, 9, 5]
    train, select = ([part] * 3 for part in case.parts[:2])
    together = fit_many([case.claim] * 3, train, selects=select, seed=seeds, settings=QUICK)
    assert [found.history["seed"] for found in together] == seeds
    for seed, found in zip(seeds, together, strict=True):
        (alone,) = fit_many([case.claim], train[:1], selects=select[:1], seed=seed, settings=QUICK)
        assert alone.history["chosen_start"] == found.history["chosen_start"]
        assert torch.allclose(alone.featurizers[0].reader, found.featurizers[0].reader, atol=1e-4)
    one, other, again = (found.featurizers[0].reader for found in together)
    assert torch.equal(one, again)
    assert not torch.allclose(one, other, atol=1e-2)


class Branching(nn.Module):
    """Data decide which way is taken: nothing that vmap can batch. Both ways compute the same."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.inner(x) if bool(x.sum() > 30) else self.inner(x + 0)


@pytest.mark.parametrize("claims", [1, 2])
def test_what_cannot_be_batched_is_looped_over_and_gives_the_same(case, claims):
    from commutes.training._cohort import cohort

    def aligned(module) -> Alignment:
        network = Network(module, encode=joined, answers=[False, True])
        rotation = Rotation(network.site("inner.site"))
        left, right = case.algorithm["left"], case.algorithm["right"]
        return Alignment(case.algorithm, {left: rotation[:1], right: rotation[1:2]})

    class Plain(Branching):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.inner(x)

    modules = [case.network.reinitialised(s).module for s in range(claims)]
    looped = [aligned(Branching(m)) for m in modules]
    batched = [aligned(Plain(m)) for m in modules]
    trains, selects = [case.parts[0]] * claims, [case.parts[1]] * claims
    assert not cohort(looped, trains, budget=2**30).stacks
    assert list(cohort(batched, trains, budget=2**30).stacks) == [tuple(range(claims))]
    settings = Settings(steps=15, lr=0.05, batch=32, starts=2, every=5)
    one = fit_many(looped, trains, selects=selects, seed=1, settings=settings)
    two = fit_many(batched, trains, selects=selects, seed=1, settings=settings)
    for a, b in zip(one, two, strict=True):
        assert torch.allclose(a.featurizers[0].reader, b.featurizers[0].reader, atol=1e-5)
        assert a.history["chosen_start"] == b.history["chosen_start"]


def test_claims_at_different_places_of_one_width_are_never_run_through_the_first(case):
    from commutes.training._cohort import cohort

    algorithm = equality(6)
    network = EQUALITY.network(EQUALITY.algorithm(6), seed=0, width=8, layers=2)
    pairs = counterfactuals(algorithm, 200, seed=0)
    claims = []
    for layer in ("layers.0", "layers.1"):
        rotation = Rotation(network.site(layer))
        claims.append(
            Alignment(algorithm, {algorithm["left"]: rotation[:1], algorithm["right"]: rotation[1:2]})
        )
    assert sorted(cohort(claims, [pairs, pairs], budget=2**30).stacks) == [(0,), (1,)]
    settings = Settings(steps=5, batch=16, starts=1)
    together = fit_many(claims, [pairs, pairs], seed=0, settings=settings)
    for claim, found in zip(claims, together, strict=True):
        (alone,) = fit_many([claim], [pairs], seed=0, settings=settings)
        assert torch.allclose(alone.featurizers[0].reader, found.featurizers[0].reader, atol=1e-5)


def test_a_selection_split_of_the_same_size_is_not_mistaken_for_the_training_pairs(case):
    """Both have as many pairs and inputs: the scores must come from the selection split's own pairs."""
    from commutes.training._cohort import cohort
    from commutes.training._selection import Selection

    pairs = counterfactuals(case.algorithm, 400, seed=0)
    train, select = pairs.subset(np.arange(200)), pairs.subset(np.arange(200, 400))
    object.__setattr__(select, "ids", select.ids[: len(select.ids)])
    claims = [case.claim]
    members = cohort(claims, [train], budget=2**30)
    selection = Selection(members, claims, [select], budget=2**30)
    assert selection.cohort is not members
    raw = torch.randn(1, 6, 2, generator=torch.Generator().manual_seed(0))
    (score,) = selection.scores([raw], 1)
    basis = orthonormal(raw)[0]
    from commutes.evaluation import bench
    from commutes.features import Subspace

    hits = bench(case.claim, select).hits([Subspace(basis, basis)])
    rates = [
        hits[(select.swap == s) & (select.stratum == t)].mean()
        for s in range(2)
        for t in range(4)
        if ((select.swap == s) & (select.stratum == t)).any()
    ]
    assert score.tolist() == pytest.approx([min(rates), np.mean(rates)])
    assert Selection(members, claims, [train], budget=2**30).cohort is members


def test_joint_swaps_of_two_sources_are_fitted():
    case = planted(pairs=400)
    left, right = case.algorithm["left"], case.algorithm["right"]
    pairs = counterfactuals(case.algorithm, 2400, swap=[{left}, {right}, {left, right}], seed=2)
    train, select, test = pairs.split(train=0.5, select=0.2, test=0.3)
    claim = fit(case.claim, train, select=select, seed=0, steps=600, lr=0.02, batch=128)
    found = evaluate(claim, test)
    assert found.overall.rate == 1.0
    assert found.variables["left+right"].n > 100


def test_neurons_stay_as_they_are_beside_a_rotation():
    algorithm = equality(6)
    network = EQUALITY.exact_network(algorithm)
    x, rotation = Coordinates(network.site("layers.0")), Rotation(network.site("layers.1"))
    claim = Alignment(algorithm, {algorithm["left"]: x[[0, 1]], algorithm["right"]: rotation[:1]})
    train, select, test = counterfactuals(algorithm, 2000, seed=1).split(train=0.5, select=0.2, test=0.3)
    found = fit(claim, train, select=select, seed=0, steps=300, lr=0.05, batch=128, starts=2)
    neurons, _ = found.featurizers
    assert isinstance(neurons, Neurons)
    assert neurons.index.tolist() == [0, 1]
    assert evaluate(found, test).overall.rate == 1.0
    assert abs(float(found.subspace(algorithm["right"]).reader[1, 0])) > 0.99


def test_several_sites_are_fitted_at_once():
    algorithm = equality(6)
    network = EQUALITY.exact_network(algorithm)
    first, second = Rotation(network.site("layers.0")), Rotation(network.site("layers.1"))
    claim = Alignment(algorithm, {algorithm["left"]: first[:2], algorithm["right"]: second[:1]})
    train, select, test = counterfactuals(algorithm, 2000, seed=1).split(train=0.5, select=0.2, test=0.3)
    found = fit(claim, train, select=select, seed=0, steps=800, lr=0.05, batch=128, starts=3)
    assert [m.reader.shape for m in found.featurizers] == [(4, 2), (2, 1)]
    assert evaluate(found, test).overall.rate > 0.95


def test_a_place_that_spans_modules_and_each_position_can_be_fitted():
    class Tokens(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed = nn.Linear(1, 5)
            self.mix = nn.Linear(5, 5)
            self.head = nn.Linear(20, 2)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            h = torch.tanh(self.embed(x.unsqueeze(-1)))
            return self.head((h + self.mix(h)).flatten(1))

    torch.manual_seed(0)
    network = Network(Tokens(), encode=joined, answers=[False, True])
    algorithm = equality(6)
    pairs = counterfactuals(algorithm, 300, swap=["left"], seed=0)
    for site in (
        network.site("embed", position=[0]) + network.site("mix", position=[1]),
        network.site("embed", position=[0, 1], each=True),
    ):
        claim = Alignment(algorithm, {algorithm["left"]: Rotation(site)[:2]})
        found = fit(claim, pairs, seed=0, steps=10, batch=32, starts=2)
        assert found.featurizers[0].reader.shape[1] == 2


def test_float64_networks_are_fitted():
    case = planted(pairs=400)
    module = copy.deepcopy(case.network.module).double()
    network = Network(module, encode=lambda v: joined(v).double(), answers=[False, True])
    claim = case.claim.on(network)
    found = fit(claim, case.parts[0], seed=0, steps=10, batch=32, starts=1)
    assert evaluate(found, case.parts[2]).self_checks["base onto itself"] == 0


def test_progress_is_told_and_ends_at_the_end(case):
    told = []
    settings = Settings(steps=700, lr=0.01, batch=96, starts=3, every=50)
    (claim,) = fit_many(
        [case.claim], [case.parts[0]], selects=[case.parts[1]], seed=0, settings=settings,
        progress=lambda step, steps, figures: told.append((step, steps, dict(figures))),
    )  # fmt: skip
    assert claim.history["last_step"] < 700
    assert told[0][0] == 50
    assert told[-1][:2] == (700, 700)
    assert all(np.isfinite(list(figures.values())).all() for *_, figures in told)
    told.clear()
    fit_many([case.claim], [case.parts[0]], seed=0, settings=Settings(steps=20, batch=8, starts=1, every=10),
             progress=lambda step, steps, figures: told.append(figures))  # fmt: skip
    assert ["selection" in figures for figures in told] == [False, True]


# Refusals.


def message(kind, call) -> str:
    with pytest.raises(kind) as error:
        call()
    return str(error.value)


def test_training_and_selection_may_not_share_inputs(case):
    train, *_ = case.parts
    mixed = counterfactuals(case.algorithm, 300, seed=77)
    shared = int(np.isin(mixed.input_ids, train.input_ids).sum())
    said = message(DataError, lambda: fit(case.claim, train, select=mixed, seed=0))
    assert f"{shared:,} of {len(mixed.input_ids):,} selection inputs are in training" in said
    assert "training and selection share inputs" in message(
        DataError, lambda: fit(case.claim, train, select=train, seed=0)
    )


def test_neurons_alone_are_nothing_to_learn(case):
    x = Coordinates(case.network.site("site"))
    claim = Alignment(case.algorithm, {case.algorithm["left"]: x[0], case.algorithm["right"]: x[1]})
    said = message(FitError, lambda: fit(claim, case.parts[0], seed=0))
    assert "there is nothing to learn" in said
    assert "neurons need no fit" in said


def test_pairs_that_never_change_the_answer_are_refused(case):
    train = case.parts[0]
    quiet = train.subset(~train.effective)
    said = message(DataError, lambda: fit(case.claim, quiet, seed=0))
    assert "no training pair changes the answer" in said
    assert f"got:      {len(quiet):,} pairs, 0 effective" in said


@pytest.mark.parametrize(
    ("name", "value"),
    [("steps", 0), ("steps", True), ("batch", 0), ("batch", 2.5), ("starts", -1), ("starts", "3")],
)
def test_counts_are_counts(case, name, value):
    said = message(FitError, lambda: fit(case.claim, case.parts[0], seed=0, **{name: value}))
    assert f"{name} is a count" in said
    assert f"got:      {value!r}" in said


@pytest.mark.parametrize("value", [0, -0.1, float("nan"), float("inf"), True, "fast"])
def test_a_learning_rate_is_a_finite_number_above_zero(case, value):
    said = message(FitError, lambda: fit(case.claim, case.parts[0], seed=0, lr=value))
    assert "lr is a learning rate" in said
    assert "a finite number above 0" in said


@pytest.mark.parametrize("seed", [-1, 0.5, True, None])
def test_a_seed_is_a_whole_number(case, seed):
    assert "seed is a whole number from 0" in message(
        FitError, lambda: fit(case.claim, case.parts[0], seed=seed)
    )


def test_every_claim_needs_its_own_seed(case):
    said = message(FitError, lambda: fit_many([case.claim] * 2, [case.parts[0]] * 2, seed=[0, 1, 2]))
    assert "every claim needs its own seed" in said
    assert "got:      3 seeds for 2 claims" in said
    assert "seed is a whole number from 0" in message(
        FitError, lambda: fit_many([case.claim], [case.parts[0]], seed=[-1])
    )


def test_every_claim_needs_its_own_pairs(case):
    said = message(FitError, lambda: fit_many([case.claim] * 2, [case.parts[0]], seed=0))
    assert "got:      2 alignments, 1 training parts" in said
    assert "every claim needs its own pairs" in message(FitError, lambda: fit_many([], [], seed=0))


def test_claims_of_two_shapes_are_fitted_together_as_they_would_be_alone(case):
    rotation = Rotation(case.network.site("site"))
    left, right = case.algorithm["left"], case.algorithm["right"]
    wide = Alignment(case.algorithm, {left: rotation[:2], right: rotation[2:4]})
    claims, (train, select, _) = [case.claim, wide, case.claim], case.parts
    together = fit_many(claims, [train] * 3, selects=[select] * 3, seed=0, settings=QUICK)
    for claim, found in zip(claims, together, strict=True):
        (alone,) = fit_many([claim], [train], selects=[select], seed=0, settings=QUICK)
        assert torch.allclose(alone.featurizers[0].reader, found.featurizers[0].reader, atol=1e-5)
        assert alone.history["start_scores"] == found.history["start_scores"]


def test_a_network_with_a_custom_decode_is_not_fitted(case):
    network = Network(
        case.network.module, encode=joined, decode=lambda x: [bool(b > a) for a, b in x.tolist()]
    )
    said = message(NetworkError, lambda: fit(case.claim.on(network), case.parts[0], seed=0))
    assert "can be evaluated, not fitted" in said


def test_a_loss_that_is_not_finite_names_the_step_and_the_rate(case):
    class Explodes(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = case.network.module

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            logits = self.inner(x)
            # The clean answers are finite; what an interchange makes of them is not.
            return logits + torch.where((logits - logits.round()).abs() > 1e-3, torch.inf, 0.0) * 0

    network = Network(Explodes(), encode=joined, answers=[False, True])
    rotation = Rotation(network.site("inner.site"))
    left, right = case.algorithm["left"], case.algorithm["right"]
    claim = Alignment(case.algorithm, {left: rotation[:1], right: rotation[1:2]})
    said = message(FitError, lambda: fit(claim, case.parts[0], seed=0, steps=3, batch=32, starts=1))
    assert "no longer finite" in said
    assert "step 3" in said
    assert "lower the learning rate (it is 0.01)" in said


def test_a_network_in_training_mode_with_dropout_is_refused():
    module = nn.Sequential(nn.Linear(4, 6), nn.Dropout(0.5), nn.Linear(6, 2))
    network = Network(module.eval(), encode=joined, answers=[False, True])
    algorithm = equality(6)
    claim = Alignment(algorithm, {algorithm["left"]: Rotation(network.site("0"))[:1]})
    pairs = counterfactuals(algorithm, 100, swap=["left"], seed=0)
    module.train()
    assert "the network is in training mode" in message(NetworkError, lambda: fit(claim, pairs, seed=0))
    module.eval()
    assert fit(claim, pairs, seed=0, steps=2, batch=8, starts=1).fitted


@pytest.mark.parametrize("n", [800, 80])
def test_a_cell_of_three_pairs_chooses_no_step_where_others_are_gated(n):
    from commutes.training._cohort import cohort
    from commutes.training._selection import Selection

    case = planted()
    pairs = counterfactuals(case.algorithm, n, seed=0)
    left_flips = np.nonzero((pairs.swap == 0) & (pairs.stratum == 0))[0]
    few = pairs.subset(np.setdiff1d(np.arange(len(pairs)), left_flips[3:]))
    fitted = cohort([case.claim], [few], budget=2**30)
    chosen = Selection(fitted, [case.claim], [few], budget=2**30)
    sizes = sorted(len(rows) for rows in chosen.rows[0])
    assert len(sizes) == (7 if n == 800 else 8)
    assert (sizes[0] == 3) == (n == 80)


class Unknown(Oblique):
    """A family that does not say how it is parametrised."""

    def parametrisation(self, width, coordinates, columns):
        return None


def test_a_family_that_is_not_fitted_is_refused_before_the_work(case):
    unknown = Unknown(case.network.site("site"))
    left, right = case.algorithm["left"], case.algorithm["right"]
    claim = Alignment(case.algorithm, {left: unknown[:1], right: unknown[1:2]})
    said = message(FitError, lambda: fit(claim, case.parts[0], seed=0))
    assert "maps of this family are not found by descent" in said
    assert "alignment.with_maps" in said


def test_a_fit_in_inference_mode_is_refused(case):
    with torch.inference_mode():
        said = message(FitError, lambda: quick(case))
    assert said == (
        "a fit needs gradients\n"
        "  got:      a call inside torch.inference_mode(), where there are none\n"
        "  expected: gradients of the maps; the network's weights have none anyway\n"
        "  do:       fit outside of it"
    )

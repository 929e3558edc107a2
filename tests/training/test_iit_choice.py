"""The step that is kept, and what is said about a training: history, progress, schedules."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

import commutes as cm
from commutes import Rotation, evaluate, train_network
from commutes.training import IIT

from .iit_case import bits, network, neurons, one_variable, parts, two_sums


@pytest.fixture(scope="module")
def algorithm():
    return two_sums()


@pytest.fixture(scope="module")
def left_only(algorithm):
    return one_variable(algorithm)


def test_the_step_that_is_best_on_the_selection_split_is_kept(algorithm):
    train, select, _ = parts(algorithm, "left", n=600)
    claim = neurons(network(), algorithm, left=[0, 1])
    # A rate at which it goes up and down.
    settings = IIT(steps=40, batch=16, lr=0.2, schedule="constant", every=5)
    trained = train_network(claim, train, seed=2, settings=settings, select=select)
    curves = trained.history["selection"]
    steps = [step for step, _ in curves["interchange"]]
    assert steps == [0, 5, 10, 15, 20, 25, 30, 35, 40]
    worst = np.minimum(*([share for _, share in curves[name]] for name in ("interchange", "behaviour")))
    chosen = trained.history["chosen_step"]
    assert chosen == max(step for step, share in zip(steps, worst, strict=True) if share == worst.max())
    assert chosen > 0
    # Those are the weights of that step and no others.
    again = IIT(steps=chosen, batch=16, lr=0.2, schedule="constant")
    assert bits(trained.network) == bits(train_network(claim, train, seed=2, settings=again).network)
    found = evaluate(trained.alignment, select)
    # So few pairs make no gated cell: then all of them count.
    assert min(cell.rate.rate for cell in found.cells) == max(
        share for step, share in curves["interchange"] if step == chosen
    )


def test_a_network_that_training_only_harms_stays_as_it_was(algorithm, left_only):
    *_, done = left_only
    train, select, _ = parts(algorithm, "left", seed=9)
    settings = IIT(steps=4, batch=8, lr=30.0, schedule="constant", every=2)
    harmed = train_network(done.alignment, train, seed=0, settings=settings, select=select)
    assert harmed.history["chosen_step"] == 0
    assert bits(harmed.network) == bits(done.network)
    # The inputs of both trainings are known.
    assert np.isin(done.alignment.fitted_ids, harmed.alignment.fitted_ids).all()
    assert np.isin(train.input_ids, harmed.alignment.fitted_ids).all()


def test_a_step_is_not_chosen_by_what_was_not_asked_for(algorithm):
    train, select, _ = parts(algorithm, "left", n=800)
    claim = neurons(network(), algorithm, left=[0, 1])
    settings = IIT(interchange=0.0, steps=80, batch=128, lr=2e-2, every=20)
    history = train_network(claim, train, seed=0, settings=settings, select=select).history
    curves = {name: dict(map(tuple, curve)) for name, curve in history["selection"].items()}
    best = max(curves["behaviour"].values())
    assert curves["behaviour"][history["chosen_step"]] == best > 0.9
    # By the worst cell it would have been another one.
    assert curves["interchange"][history["chosen_step"]] < curves["interchange"][0]


def test_strictness_is_among_what_a_step_is_chosen_by(algorithm):
    train, select, _ = parts(algorithm, "left", "right", n=800)
    claim = neurons(network(), algorithm, left=[0, 1], right=[2, 3])
    settings = IIT(steps=4, strict=1.0, strictness="joint", every=2)
    trained = train_network(claim, train, seed=0, settings=settings, select=select)
    step, share = trained.history["selection"]["strict"][0]
    assert step == 0
    assert share == cm.strictness(claim, select, seed=0, units=0).joint.rate


def test_the_history_is_plain_and_saved_with_the_alignment(algorithm, left_only, tmp_path):
    claim, *_, trained = left_only
    history = trained.alignment.history["network_training"]
    assert history == trained.history
    assert history["steps"] == 120
    assert history["seed"] == 0
    assert [step for step, _ in history["losses"]["interchange"]] == [40, 80, 120]
    for (_, loss), (_, one), (_, two) in zip(
        *(history["losses"][name] for name in ("loss", "interchange", "behaviour")), strict=True
    ):
        assert loss == pytest.approx(one + two, abs=1e-6)
    cm.save(trained.alignment, tmp_path / "claim")
    again = cm.load(tmp_path / "claim", network=trained.network, algorithm=algorithm)
    assert again.history["network_training"] == json.loads(json.dumps(trained.history))
    assert np.array_equal(again.fitted_ids, trained.alignment.fitted_ids)
    with pytest.raises(cm.errors.CommutesError):
        cm.load(tmp_path / "claim", network=claim.network, algorithm=algorithm)


def test_what_a_fit_said_stays_beside_what_the_training_says(algorithm):
    train, select, _ = parts(algorithm, "left", n=400)
    claim = cm.Alignment(algorithm, {algorithm["left"]: Rotation(network().site("layers.0"))[:2]})
    fitted = cm.fit(claim, train, seed=0, steps=4, batch=16, starts=1)
    trained = train_network(fitted, train, seed=0, settings=IIT(steps=2), select=select)
    assert trained.alignment.history["method"] == "das"
    assert trained.alignment.history["network_training"]["steps"] == 2
    assert torch.equal(trained.alignment.maps[0].reader, fitted.maps[0].reader)


def test_progress_is_told(algorithm):
    train, select, _ = parts(algorithm, "left", n=400)
    claim = neurons(network(), algorithm, left=[0, 1])
    told: list[tuple[int, int, list[str]]] = []
    train_network(
        claim,
        train,
        seed=0,
        settings=IIT(steps=5, every=2),
        select=select,
        progress=lambda step, steps, figures: told.append((step, steps, list(figures))),
    )
    names = ["loss", "interchange", "behaviour", "selection"]
    assert told == [(2, 5, names), (4, 5, names), (5, 5, names)]


def test_the_weight_of_the_interchange_rises_along_the_ramp(algorithm):
    settings = IIT(steps=10, ramp=0.5, interchange=2.0, behaviour=3.0)
    assert [settings.weights_at(s)["interchange"] for s in range(7)] == pytest.approx(
        [0.4, 0.8, 1.2, 1.6, 2.0, 2.0, 2.0]
    )
    assert {settings.weights_at(s)["behaviour"] for s in range(10)} == {3.0}
    train, *_ = parts(algorithm, "left", n=400)
    claim = neurons(network(), algorithm, left=[0, 1])
    history = train_network(
        claim, train, seed=0, settings=IIT(steps=4, ramp=0.5, every=1, interchange=1.0)
    ).history
    first = {name: curve[0][1] for name, curve in history["losses"].items()}
    assert first["loss"] == pytest.approx(0.5 * first["interchange"] + first["behaviour"], abs=1e-6)


def test_long_gradients_are_shortened_and_rates_follow_their_schedule(algorithm):
    train, *_ = parts(algorithm, "left", n=400)
    claim = neurons(network(), algorithm, left=[0, 1])

    def moved(**changes) -> float:
        settings = IIT(steps=1, lr=0.1, **changes)
        new = train_network(claim, train, seed=0, settings=settings).network.module
        pairs = zip(new.parameters(), claim.network.module.parameters(), strict=True)
        return max(float((a - b).detach().abs().max()) for a, b in pairs)

    # The first step of Adam is as long as the rate whatever the gradient, unless that is of the size of its epsilon.
    assert moved() == pytest.approx(0.1, rel=1e-3)
    assert moved(clip=1e-9) < 0.02


def test_every_pair_is_used_where_there_are_fewer_than_a_batch(algorithm):
    train, *_ = parts(algorithm, "left", n=100)
    claim = neurons(network(), algorithm, left=[0, 1])
    assert len(train) < 256
    first, again = (train_network(claim, train, seed=s, settings=IIT(steps=1)) for s in (0, 1))
    assert first.history["losses"] != {}
    found = [t.history["losses"]["loss"][0][1] for t in (first, again)]
    assert found[0] == pytest.approx(found[1], rel=1e-5)

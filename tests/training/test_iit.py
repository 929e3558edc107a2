"""Training a network to implement an alignment: what it gives, what it leaves alone, what it refuses."""

from __future__ import annotations

import copy
import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

import commutes as cm
from commutes import Coordinates, Network, Rotation, counterfactuals, evaluate, train_network
from commutes.errors import AlignmentError, DataError, FitError, NetworkError
from commutes.network import MLP
from commutes.training import IIT

from .iit_case import WIDTH, encode, hidden, network, neurons, parts, two_sums

QUICK = IIT(steps=120, batch=128, lr=2e-2, every=40)


@pytest.fixture(scope="module")
def algorithm():
    return two_sums()


@pytest.fixture(scope="module")
def left_only(algorithm):
    """One variable trained into two directions of a rotated layer."""
    claim = hidden(network(), algorithm, left=0)
    train, select, test = parts(algorithm, "left")
    return claim, train, select, test, train_network(claim, train, seed=0, settings=QUICK, select=select)


def bits(net: Network) -> bytes:
    return b"".join(p.detach().numpy().tobytes() for p in net.module.state_dict().values())


def text(error, call) -> str:
    with pytest.raises(error) as found:
        call()
    return str(found.value)


def test_a_variable_is_put_where_the_alignment_says_and_was_not_there_before(left_only):
    claim, _, _, test, trained = left_only
    found = evaluate(trained.alignment, test)
    assert found.worst.rate >= 0.97
    assert found.accuracy.rate >= 0.97
    assert evaluate(claim, test).effective.rate < 0.6


def test_a_variable_that_was_not_trained_is_not_there_and_once_trained_is(algorithm, left_only):
    *_, trained = left_only
    pairs = parts(algorithm, "right", seed=5)[2]
    beside = evaluate(hidden(trained.network, algorithm, right=2), pairs)
    assert beside.overall.rate < 0.8
    # In the very directions that hold the other variable it is no more than doing nothing.
    wrong = evaluate(hidden(trained.network, algorithm, right=0), pairs)
    assert wrong.overall.rate < 0.6
    train, _, test = parts(algorithm, "left", "right", n=3_200)
    claim = hidden(network(), algorithm, left=0, right=2)
    both = train_network(claim, train, seed=0, settings=IIT(steps=400, batch=128, lr=2e-2))
    assert evaluate(both.alignment, test).worst.rate >= 0.95
    assert len(both.alignment.groups) == 1


@pytest.mark.parametrize("strictness", ["unit", "joint"])
def test_the_strict_term_frees_the_answer_from_what_carries_no_variable(algorithm, strictness):
    train, _, test = parts(algorithm, "left", "right", n=3_200)
    claim = neurons(network(), algorithm, left=range(3), right=range(3, 6))
    plain = IIT(interchange=0.0, steps=200, batch=128, lr=2e-2)
    loose, strict = (
        train_network(claim, train, seed=0, settings=settings).alignment
        for settings in (plain, replace(plain, strict=1.0, strictness=strictness))
    )
    before, after = (cm.strictness(trained, test, seed=0) for trained in (loose, strict))
    assert min(before.accuracy.rate, after.accuracy.rate) >= 0.97
    assert before.joint.rate < 0.8
    assert before.worst[1].rate < 0.9
    if strictness == "joint":
        assert after.joint.rate >= 0.97
    assert after.worst[1].rate >= 0.95


def test_without_the_interchange_term_the_variable_is_not_put_there(algorithm):
    train, _, test = parts(algorithm, "left")
    claim = hidden(network(), algorithm, left=0)
    settings = IIT(interchange=0.0, steps=120, batch=128, lr=2e-2)
    found = evaluate(train_network(claim, train, seed=0, settings=settings).alignment, test)
    assert found.accuracy.rate >= 0.97
    assert found.effective.rate < 0.7


def test_nothing_of_the_callers_is_touched(algorithm):
    module = MLP([4, WIDTH, WIDTH, 2], seed=0)
    module.register_buffer("steps", torch.tensor([3.0]))
    module.head.bias.requires_grad_(False)
    module.layers[1].eval()
    calls: list[int] = []
    handle = module.layers[0].register_forward_hook(lambda _m, _a, out: calls.append(len(out)))
    net = network(module)
    claim = neurons(net, algorithm, left=[0, 1])
    train, select, _ = parts(algorithm, "left")
    before, modes = bits(net), [m.training for m in module.modules()]
    torch.manual_seed(11)
    numpy_state = np.random.get_state()[1].tobytes()  # noqa: NPY002 - the global one is what is watched
    state, threads = torch.get_rng_state(), torch.get_num_threads()
    calls.clear()
    with torch.no_grad():
        trained = train_network(claim, train, seed=0, settings=IIT(steps=6, every=3), select=select)
        assert not torch.is_grad_enabled()
    assert torch.equal(torch.get_rng_state(), state)
    assert np.random.get_state()[1].tobytes() == numpy_state  # noqa: NPY002
    assert torch.get_num_threads() == threads
    assert bits(net) == before != bits(trained.network)
    assert [m.training for m in module.modules()] == modes
    assert [m.training for m in trained.network.module.modules()] == modes
    assert [p.requires_grad for p in module.parameters()] == [True] * 5 + [False]
    assert [p.requires_grad for p in trained.network.module.parameters()] == [True] * 5 + [False]
    assert all(p.grad is None for p in (*module.parameters(), *trained.network.module.parameters()))
    # A frozen parameter and a buffer are the same in the copy.
    assert torch.equal(trained.network.module.head.bias, module.head.bias)
    assert torch.equal(trained.network.module.steps, module.steps)
    assert [len(m._forward_hooks) for m in module.modules()].count(1) == 1
    assert not any("forward" in m.__dict__ for m in module.modules())
    assert len(claim.fitted_ids) == 0
    assert claim.network is net
    assert claim.history == {}
    handle.remove()


def test_what_the_network_was_trained_on_is_known_to_its_alignment(left_only):
    claim, train, select, _, trained = left_only
    assert trained.alignment.network is trained.network
    assert trained.network.fingerprint != claim.network.fingerprint
    assert all(m is o for m, o in zip(trained.alignment.maps, claim.maps, strict=True))
    assert evaluate(trained.alignment, select).label == "selection, optimistic"
    assert "the alignment was fitted on these inputs" in text(
        DataError, lambda: evaluate(trained.alignment, train)
    )


def test_the_same_seed_gives_the_same_bits_whatever_the_threads_and_the_global_generator(algorithm):
    train, select, _ = parts(algorithm, "left", "right", n=600)
    claim = neurons(network(), algorithm, left=[0, 1], right=[2, 3])
    settings = IIT(steps=15, batch=64, strict=0.5, every=5)
    threads = torch.get_num_threads()
    first = train_network(claim, train, seed=4, settings=settings, select=select)
    try:
        torch.set_num_threads(threads + 1)
        torch.manual_seed(77)
        again = train_network(claim, train, seed=4, settings=settings, select=select)
    finally:
        torch.set_num_threads(threads)
    other = train_network(claim, train, seed=5, settings=settings, select=select)
    assert bits(first.network) == bits(again.network) != bits(other.network)
    assert first.history == again.history


def by_hooks(module: nn.Module, base: torch.Tensor, source: torch.Tensor, units: list[int]) -> torch.Tensor:
    """The interchange of neurons of the first layer, by plain hooks."""
    kept: list[torch.Tensor] = []
    layer = module.get_submodule("layers.0")
    handle = layer.register_forward_hook(lambda _m, _a, out: kept.append(out.clone()))
    with torch.no_grad():
        module(source)
        handle.remove()

        def write(_m: nn.Module, _a: object, out: torch.Tensor) -> torch.Tensor:
            out = out.clone()
            out[:, units] = kept[0][:, units]
            return out

        handle = layer.register_forward_hook(write)
        logits = module(base)
        handle.remove()
    return logits


def test_nothing_of_the_old_network_is_used_for_the_new_one(algorithm):
    train, select, test = parts(algorithm, "left", n=800)
    claim = neurons(network(), algorithm, left=[0, 1])
    before = evaluate(claim, test)
    trained = train_network(claim, train, seed=0, settings=QUICK, select=select)
    after = evaluate(trained.alignment, test)
    x = encode(algorithm.arrays(test.inputs))
    for found, net in ((before, claim.network), (after, trained.network)):
        logits = by_hooks(net.module, x[test.base], x[test.source[:, 0]], [0, 1])
        assert found.answered.tolist() == logits.argmax(dim=1).tolist()
    assert before.answered.tolist() != after.answered.tolist()


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


class Dead(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList([nn.Linear(4, 4)])
        self.head = nn.Linear(4, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.layers[0](x)).exp().exp().exp()


def test_a_loss_that_is_not_finite_is_named_by_its_step(algorithm):
    module = Dead()
    with torch.no_grad():
        module.head.bias.fill_(50)
    claim = neurons(network(module), algorithm, left=[0, 1])
    train, *_ = parts(algorithm, "left", n=400)
    message = text(FitError, lambda: train_network(claim, train, seed=0, settings=IIT(steps=3)))
    assert message == (
        "the loss is no longer finite\n"
        "  where:    step 1 of 3\n"
        "  got:      interchange nan, behaviour nan\n"
        "  expected: finite numbers\n"
        "  do:       lower the learning rate (it is 0.001), or shorten gradients with clip=1.0"
    )


class Steep(MLP):
    """The loss is finite and the gradient is not."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x) + (self.head.bias * 0).sqrt()


def test_weights_that_are_not_finite_are_refused(algorithm):
    train, *_ = parts(algorithm, "left", n=400)
    steep = neurons(network(Steep([4, WIDTH, WIDTH, 2], seed=0)), algorithm, left=[0, 1])
    assert text(FitError, lambda: train_network(steep, train, seed=0, settings=IIT(steps=1))) == (
        "the network's weights are no longer finite\n"
        "  where:    step 1 of 1\n"
        "  got:      NaN or infinity\n"
        "  expected: finite numbers\n"
        "  do:       lower the learning rate (it is 0.001)"
    )
    claim = neurons(network(), algorithm, left=[0, 1])
    broken = copy.deepcopy(claim.network.module)
    with torch.no_grad():
        broken.head.weight[0, 0] = float("nan")
    claim = claim.on(claim.network.with_module(broken))
    message = text(FitError, lambda: train_network(claim, train, seed=0))
    assert message.startswith("the network's weights are not finite\n")
    assert message.endswith("do:       load the network again")


def test_what_cannot_be_trained_is_refused_before_anything_runs(algorithm):
    train, *_ = parts(algorithm, "left", n=400)
    net = network()
    claim = neurons(net, algorithm, left=[0, 1])
    unfitted = cm.Alignment(algorithm, {algorithm["left"]: Rotation(net.site("layers.0"))[:2]})
    assert "the alignment is not fitted" in text(
        AlignmentError, lambda: train_network(unfitted, train, seed=0)
    )
    right = parts(algorithm, "right", n=400)[0]
    assert "the pairs swap a variable that is not aligned" in text(
        AlignmentError, lambda: train_network(claim, right, seed=0)
    )
    assert "training and selection share inputs" in text(
        DataError, lambda: train_network(claim, train, seed=0, select=train)
    )
    same = train.subset(np.nonzero(~train.effective)[0])
    assert "no training pair changes the answer" in text(
        DataError, lambda: train_network(claim, same, seed=0)
    )
    for seed in (-1, True, 1.0):
        assert text(FitError, lambda seed=seed: train_network(claim, train, seed=seed)) == (
            f"seed is a whole number from 0\n  got:      {seed!r}\n  expected: such as seed=0"
        )


def test_networks_that_cannot_be_trained_are_refused(algorithm):
    train, *_ = parts(algorithm, "left", n=400)
    module = MLP([4, WIDTH, WIDTH, 2], seed=0)
    frozen = neurons(network(copy.deepcopy(module).requires_grad_(False)), algorithm, left=[0, 1])
    assert text(FitError, lambda: train_network(frozen, train, seed=0)) == (
        "nothing to train\n"
        "  got:      MLP without a parameter that requires a gradient\n"
        "  expected: at least one\n"
        "  do:       set requires_grad on the parameters that are to be trained"
    )
    coarse = Network(
        copy.deepcopy(module).bfloat16(),
        encode=lambda values: encode(values).bfloat16(),
        answers=[False, True],
    )
    assert text(FitError, lambda: train_network(neurons(coarse, algorithm, left=[0]), train, seed=0)) == (
        "weights of sixteen bits round small steps away\n"
        "  where:    MLP\n"
        "  got:      bfloat16\n"
        "  expected: float32 or float64\n"
        "  do:       train network.with_module(copy.deepcopy(module).float()), and round afterwards"
    )
    decoded = Network(module, encode=encode, decode=lambda logits: (logits[:, 1] > 0).tolist())
    assert "a network with a custom decode= can be evaluated, not fitted" in text(
        NetworkError, lambda: train_network(neurons(decoded, algorithm, left=[0]), train, seed=0)
    )
    random = nn.Sequential(nn.Linear(4, 4), nn.Dropout(0.5), nn.Linear(4, 2)).eval()
    net = network_of(random)
    claim = cm.Alignment(algorithm, {algorithm["left"]: Coordinates(net.site("0"))[:1]})
    random.train()
    assert "the network is in training mode" in text(
        NetworkError, lambda: train_network(claim, train, seed=0)
    )


def network_of(module: nn.Module) -> Network:
    return Network(module, encode=encode, answers=[False, True])


def test_an_impossible_strict_term_is_refused(algorithm):
    strict = IIT(strict=1.0)
    train, *_ = parts(algorithm, "left", n=400)
    alone = neurons(network(), algorithm, left=[0, 1])
    assert text(FitError, lambda: train_network(alone, train, seed=0, settings=strict)) == (
        "the answer does not hang on the aligned variables alone\n"
        "  where:    two sums\n"
        "  got:      strict=1, and y -> right -> differ passes no aligned variable\n"
        "  expected: an aligned variable on every path from an input to the output\n"
        "  do:       align a variable on that path too, or leave strict= out"
    )
    both, *_ = parts(algorithm, "left", "right", n=400)
    full = neurons(network(), algorithm, left=range(6), right=range(6, 12))
    assert text(FitError, lambda: train_network(full, both, seed=0, settings=strict)) == (
        "every coordinate of the alignment's sites carries a variable\n"
        "  where:    layers.0\n"
        "  got:      nothing that could be taken from another input\n"
        "  expected: coordinates that carry no variable\n"
        "  do:       leave strict= out, or align slices of a wider site"
    )


def test_two_sites_at_one_place_leave_over_what_the_other_holds(algorithm):
    net = network()
    x, y = Coordinates(net.site("layers.0")), Coordinates(net.site("layers.0"))
    claim = cm.Alignment(algorithm, {algorithm["left"]: x[:2], algorithm["right"]: y[2:4]})
    both, *_ = parts(algorithm, "left", "right", n=400)
    assert text(FitError, lambda: train_network(claim, both, seed=0, settings=IIT(strict=1.0))) == (
        "two sites of the alignment share coordinates\n"
        "  where:    layers.0 and layers.0\n"
        "  got:      feature 0 twice at one position, example 0\n"
        "  expected: sites of their own: what is left over at one may carry a variable at the other\n"
        "  do:       make one Coordinates of one site, and give each variable a slice of it"
    )
    # Without the strict term nothing is left over that could be taken.
    assert train_network(claim, both, seed=0, settings=IIT(steps=1)).alignment.fitted


def test_pairs_of_several_variables_at_once_are_learnt_too(algorithm):
    left, right = algorithm["left"], algorithm["right"]
    pairs = counterfactuals(algorithm, 1_500, swap=[{left}, {right}, {left, right}], seed=1)
    train, test = pairs.split(train=0.7, test=0.3)
    claim = neurons(network(), algorithm, left=[0, 1, 2], right=[3, 4, 5])
    trained = train_network(claim, train, seed=0, settings=IIT(steps=150, batch=128, lr=2e-2))
    assert {
        name: found.rate >= 0.95 for name, found in evaluate(trained.alignment, test).variables.items()
    } == {swap.label: True for swap in pairs.swaps}

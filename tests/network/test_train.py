from __future__ import annotations

import copy
from collections.abc import Iterator

import pytest
import torch
from torch import nn

from commutes.errors import FitError
from commutes.network import MLP, minibatches, train, train_many
from commutes.network._train import Course

X = torch.randn(256, 6, generator=torch.Generator().manual_seed(0))
Y = (X[:, 0] * X[:, 1] > 0).long()


def batches(seed: int = 0) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    return minibatches(X, Y, batch=64, seed=seed)


def net(seed: int = 0) -> MLP:
    return MLP([6, 16, 2], seed=seed)


def weights(module: nn.Module) -> dict[str, bytes]:
    return {name: tensor.numpy().tobytes() for name, tensor in module.state_dict().items()}


def together(seeds: list[int]) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    for several in zip(*(batches(seed) for seed in seeds), strict=True):
        yield torch.stack([x for x, _ in several]), torch.stack([y for _, y in several])


def test_it_learns():
    trained = train(net(), batches(), steps=400, lr=1e-2)
    assert (trained(X).argmax(1) == Y).float().mean() > 0.95
    assert (net()(X).argmax(1) == Y).float().mean() < 0.8


def test_it_is_adam_on_the_cross_entropy():
    module, seen = net(), []
    optimiser = torch.optim.Adam(module.parameters(), lr=1e-2)
    for _, (x, y) in zip(range(20), batches(), strict=False):
        loss = nn.functional.cross_entropy(module(x), y)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        seen.append(float(loss.detach()))
    figures = []
    trained = train(net(), batches(), steps=20, lr=1e-2, progress=lambda _s, _n, f: figures.append(f["loss"]))
    for mine, theirs in zip(trained.parameters(), module.parameters(), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=0, atol=1e-6)
    assert figures == pytest.approx(seen, abs=1e-6)


def test_the_same_seed_gives_the_same_bits_whatever_the_threads():
    threads = torch.get_num_threads()
    torch.manual_seed(1)
    first = train(net(), batches(), steps=30)
    try:
        torch.set_num_threads(threads + 1)
        torch.manual_seed(2)
        again = train(net(), batches(), steps=30)
        assert torch.get_num_threads() == threads + 1
    finally:
        torch.set_num_threads(threads)
    assert weights(first) == weights(again) != weights(train(net(), batches(1), steps=30))


def test_dropout_draws_from_the_seed_alone():
    module = nn.Sequential(nn.Linear(6, 16), nn.Dropout(0.5), nn.Linear(16, 2)).eval()
    first, again, other = (train(module, batches(), steps=10, seed=seed) for seed in (0, 0, 1))
    assert weights(first) == weights(again) != weights(other)
    assert not any(part.training for part in first.modules())


def test_nothing_of_the_users_is_touched():
    module = net().eval()
    module.head.bias.requires_grad_(False)
    before, generator = weights(module), torch.get_rng_state()
    with torch.no_grad():
        trained = train(module, batches(), steps=10)
        assert not torch.is_grad_enabled()
    assert weights(module) == before != weights(trained)
    assert torch.equal(torch.get_rng_state(), generator)
    assert all(p.grad is None for p in (*module.parameters(), *trained.parameters()))
    assert not module.training
    assert not trained.training
    # A frozen parameter stays as it was.
    assert torch.equal(trained.head.bias, module.head.bias)
    assert [p.requires_grad for p in trained.parameters()] == [p.requires_grad for p in module.parameters()]


def test_everything_is_restored_after_an_exception():
    threads, generator = torch.get_num_threads(), torch.get_rng_state()
    torch.set_num_threads(2)

    def stop(_step: int, _steps: int, _figures: dict[str, float]) -> None:
        raise KeyboardInterrupt

    try:
        with pytest.raises(KeyboardInterrupt):
            train(net(), batches(), steps=10, progress=stop)
        assert torch.get_num_threads() == 2
        assert torch.equal(torch.get_rng_state(), generator)
    finally:
        torch.set_num_threads(threads)


def test_progress_is_told_the_last_step_and_at_most_a_few_hundred_others():
    seen = []
    train(net(), batches(), steps=1_010, progress=lambda step, steps, _f: seen.append((step, steps)))
    assert seen[-1] == (1_010, 1_010)
    assert 100 <= len(seen) <= 201


def test_the_cosine_ends_where_the_constant_does_not():
    moves = {}
    for schedule in ("constant", "cosine"):
        nearly = train(net(), batches(), steps=99, lr=1e-2, schedule=schedule)
        done = train(net(), batches(), steps=100, lr=1e-2, schedule=schedule)
        moves[schedule] = max(
            float((a - b).detach().abs().max())
            for a, b in zip(nearly.parameters(), done.parameters(), strict=True)
        )
    assert moves["cosine"] < moves["constant"]


def test_the_rate_rises_and_falls():
    course = Course(steps=10, lr=2.0, schedule="cosine", weight_decay=0.0, warmup=0.4)
    rates = [course.rate(step) for step in range(10)]
    assert rates[:5] == [0.5, 1.0, 1.5, 2.0, 2.0]
    assert rates[7] == pytest.approx(1.0)
    assert rates[4:] == sorted(rates[4:], reverse=True)
    steady = Course(steps=10, lr=2.0, schedule="constant", weight_decay=0.0, warmup=0.25)
    assert [steady.rate(step) for step in range(4)] == [1.0, 2.0, 2.0, 2.0]


@pytest.mark.parametrize(
    ("options", "what", "got"),
    [
        ({"warmup": 1.0}, "warmup is a share of the steps", "1.0"),
        ({"warmup": -0.1}, "warmup is a share of the steps", "-0.1"),
        ({"clip": 0.0}, "clip is a length", "0.0"),
        ({"clip": True}, "clip is a length", "True"),
    ],
)
def test_a_course_that_cannot_be_is_refused(options, what, got):
    with pytest.raises(FitError) as error:
        Course(steps=5, lr=1.0, schedule="cosine", weight_decay=0.0, **options)
    assert said(error).startswith(what)
    assert f"got:      {got}" in said(error)


def test_weight_decay_shrinks():
    free, decayed = (train(net(), batches(), steps=100, lr=1e-2, weight_decay=w) for w in (0.0, 1.0))
    assert sum(p.square().sum() for p in decayed.parameters()) < sum(
        p.square().sum() for p in free.parameters()
    )


@pytest.mark.parametrize("decay", [0.0, 0.5])
def test_many_are_trained_as_each_is_alone(decay):
    seeds = [0, 1, 2, 3]
    modules = [net(seed) for seed in seeds]
    before = [weights(module) for module in modules]
    trained = train_many(modules, together(seeds), steps=50, lr=1e-2, schedule="cosine", weight_decay=decay)
    for seed, module in zip(seeds, trained, strict=True):
        alone = train(net(seed), batches(seed), steps=50, lr=1e-2, schedule="cosine", weight_decay=decay)
        for mine, theirs in zip(module.parameters(), alone.parameters(), strict=True):
            torch.testing.assert_close(mine, theirs, rtol=0, atol=1e-5)
    assert [weights(module) for module in modules] == before
    assert weights(trained[0]) != weights(trained[1])


def test_many_report_means_over_the_networks():
    figures = []
    train_many([net(0), net(1)], together([0, 1]), steps=1, progress=lambda _s, _n, f: figures.append(f))
    expected = [
        float(nn.functional.cross_entropy(net(seed)(x), y).detach())
        for seed in (0, 1)
        for x, y in [next(batches(seed))]
    ]
    assert figures[0]["loss"] == pytest.approx(sum(expected) / 2, abs=1e-6)


def said(error: pytest.ExceptionInfo[FitError]) -> str:
    return str(error.value)


@pytest.mark.parametrize(
    ("options", "what", "got"),
    [
        ({"steps": 0}, "steps is a number of optimiser steps", "0"),
        ({"steps": True}, "steps is a number of optimiser steps", "True"),
        ({"steps": 5, "lr": 0.0}, "lr is a learning rate", "0.0"),
        ({"steps": 5, "lr": float("nan")}, "lr is a learning rate", "nan"),
        ({"steps": 5, "weight_decay": -1.0}, "weight_decay is a rate of decay", "-1.0"),
        ({"steps": 5, "schedule": "cosin"}, "no such schedule", "'cosin'"),
    ],
)
@pytest.mark.parametrize("many", [False, True])
def test_numbers_that_cannot_be_are_refused(options, what, got, many):
    with pytest.raises(FitError) as error:
        if many:
            train_many([net()], together([0]), **options)
        else:
            train(net(), batches(), **options)
    assert said(error).startswith(what)
    assert f"got:      {got}" in said(error)


def test_batches_that_end_early_are_named():
    with pytest.raises(FitError) as error:
        train(net(), [(X, Y)] * 3, steps=5)
    assert said(error).startswith("the batches end before the training does")
    assert "got:      3 batches" in said(error)
    assert "expected: 5, one per step" in said(error)


def test_a_module_without_trainable_parameters_is_refused():
    with pytest.raises(FitError) as error:
        train(copy.deepcopy(net()).requires_grad_(False), batches(), steps=5)
    assert said(error).startswith("nothing to train")
    assert "MLP without a parameter that requires a gradient" in said(error)


def test_a_loss_that_is_not_finite_is_named_with_its_step():
    with pytest.raises(FitError) as error:
        train(net(), [(X * torch.nan, Y)] * 5, steps=5)
    assert said(error).startswith("the training diverged")
    assert "where:    step 1 of 5" in said(error)
    assert "got:      a loss of nan" in said(error)


def test_no_networks_are_refused():
    with pytest.raises(FitError, match="no networks to train"):
        train_many([], together([0]), steps=5)


def test_networks_of_different_shapes_are_refused():
    with pytest.raises(FitError) as error:
        train_many([net(), MLP([6, 8, 2], seed=0)], together([0, 1]), steps=5)
    assert said(error).startswith("networks that are trained together are of one shape")
    assert "where:    module 1" in said(error)
    assert "layers.0.0.weight" in said(error)


def test_a_batch_for_another_number_of_networks_is_refused():
    with pytest.raises(FitError) as error:
        train_many([net(0), net(1)], together([0, 1, 2]), steps=5)
    assert said(error).startswith("a batch for several networks has the networks on its first axis")
    assert "got:      inputs (3, 64, 6), targets (3, 64)" in said(error)

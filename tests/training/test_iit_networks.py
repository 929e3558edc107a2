"""Interchange-intervention training of recurrent networks and of transformers."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest
import torch
from torch import nn

import commutes as cm
from commutes import Algorithm, Alignment, Coordinates, Network, counterfactuals, evaluate, train_network
from commutes.errors import NetworkError
from commutes.evaluation import bench
from commutes.features import Neurons
from commutes.training import IIT
from commutes.training._iit_loss import Draw, lesson
from tests.network.transformers import models as M


def parity() -> Algorithm:
    """so_far = whether a + b is odd, odd = whether a + b + c is."""
    algorithm = Algorithm("parity")
    algorithm.inputs("a b c", domain=range(8))
    algorithm.add("so_far", "a", "b", f=lambda a, b: (a > 3) != (b > 3), domain=[False, True])
    algorithm.add(
        "odd", "so_far", "c", f=lambda so_far, c: so_far != (c > 3), domain=[False, True], output=True
    )
    return algorithm.check()


class Recurrent(nn.Module):
    """A cell that is called once per step."""

    def __init__(self, width: int = 8) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            self.cell = nn.GRUCell(1, width)
            self.head = nn.Linear(width, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = torch.zeros(len(x), self.cell.hidden_size, dtype=x.dtype)
        for step in range(x.shape[1]):
            h = self.cell(x[:, step : step + 1], h)
        return self.head(h)


def numbers(values: Mapping[str, np.ndarray]) -> torch.Tensor:
    return torch.from_numpy(np.stack([values[n] for n in "abc"], axis=1).astype(np.float32)) / 3.5 - 1


def test_a_recurrent_cell_learns_to_keep_a_variable_at_one_of_its_calls():
    algorithm = parity()
    net = Network(Recurrent(), encode=numbers, answers=[False, True], name="recurrent")
    x = Coordinates(net.site("cell", call=1))
    claim = Alignment(algorithm, {algorithm["so_far"]: x[:3]})
    train, _, test = counterfactuals(algorithm, 1_600, seed=1).split(train=0.6, select=0.1, test=0.3)
    trained = train_network(claim, train, seed=0, settings=IIT(steps=250, batch=128, lr=2e-2))
    found = evaluate(trained.alignment, test)
    assert found.effective.rate >= 0.95
    assert found.accuracy.rate >= 0.95
    assert evaluate(claim, test).effective.rate < 0.6
    # The same by hand: the cell is called three times, and edited at the second.
    module = trained.network.module
    inputs = numbers(algorithm.arrays(test.inputs))
    with torch.no_grad():
        states = torch.zeros(len(inputs), 8)
        for step in range(2):
            states = module.cell(inputs[:, step : step + 1], states)
        mixed = states[test.base].clone()
        mixed[:, :3] = states[test.source[:, 0], :3]
        logits = module.head(module.cell(inputs[test.base, 2:], mixed))
    assert found.answered.tolist() == logits.argmax(dim=1).tolist()


def test_a_gradient_reaches_the_cell_through_both_runs():
    algorithm = parity()
    module = Recurrent().double()
    net = Network(
        module, encode=lambda values: numbers(values).double(), answers=[False, True], name="recurrent"
    )
    x = Coordinates(net.site("cell", call=1))
    claim = Alignment(algorithm, {algorithm["so_far"]: x[:3]})
    pairs = counterfactuals(algorithm, 60, seed=1)
    task = lesson(claim, pairs, strict=False)
    rows = torch.arange(len(pairs))
    weights = {"interchange": 1.0, "behaviour": 0.0, "strict": 0.0}
    loss = task.terms(Draw(rows, rows, None), weights)["interchange"]
    inputs = numbers(algorithm.arrays(pairs.inputs)).double()

    def state(index: np.ndarray) -> torch.Tensor:
        h = torch.zeros(len(index), 8, dtype=torch.float64)
        for step in range(2):
            h = module.cell(inputs[index, step : step + 1], h)
        return h

    mixed = torch.cat([state(pairs.source[:, 0])[:, :3], state(pairs.base)[:, 3:]], dim=1)
    logits = module.head(module.cell(inputs[pairs.base, 2:], mixed))
    wanted = nn.functional.cross_entropy(logits, torch.from_numpy(pairs.expected))
    assert float((loss - wanted).detach().abs()) < 1e-10
    parameters = list(module.parameters())
    for found, expected in zip(
        torch.autograd.grad(loss, parameters), torch.autograd.grad(wanted, parameters), strict=True
    ):
        assert float((found - expected).abs().max()) < 1e-8


def digits() -> Algorithm:
    """low = a modulo 2, digit = low + 2 (b modulo 2)."""
    algorithm = Algorithm("digits")
    algorithm.inputs("a b", domain=range(10))
    algorithm.add("low", "a", f=lambda a: a % 2, domain=range(2))
    algorithm.add("digit", "low", "b", f=lambda low, b: low + 2 * (b % 2), domain=range(4), output=True)
    return algorithm.check()


def by_hooks(
    model: nn.Module, ids: torch.Tensor, base: np.ndarray, source: np.ndarray, units: list[int], at: int
) -> torch.Tensor:
    """Logits at the last token after neurons of block 1 at a token were taken from the source; nothing is padded."""
    block = model.get_submodule("transformer.h.1")
    kept: list[torch.Tensor] = []
    handle = block.register_forward_hook(lambda _m, _a, out: kept.append(first(out).clone()))
    with torch.no_grad():
        model(input_ids=ids[source])
        handle.remove()

        def write(_m: nn.Module, _a: object, out: object) -> object:
            new = first(out).clone()
            new[:, at, units] = kept[0][:, at, units]
            return (new, *out[1:]) if isinstance(out, tuple) else new

        handle = block.register_forward_hook(write)
        logits = model(input_ids=ids[base]).logits
        handle.remove()
    return logits


def first(out: object) -> torch.Tensor:
    found = out[0] if isinstance(out, tuple) else out
    assert isinstance(found, torch.Tensor)
    return found


def test_a_transformer_learns_to_keep_a_variable_at_a_token():
    algorithm = digits()
    net = M.network("gpt2", dtype=torch.float32)
    before = {name: t.clone() for name, t in net.module.state_dict().items()}
    site = net.site("block_output", layer=1, position="last")
    claim = Alignment(algorithm, {algorithm["low"]: Coordinates(site)[:4]})
    pairs = counterfactuals(algorithm, 1_000, seed=1)
    train, test = pairs.split(train=0.7, test=0.3)
    untrained = evaluate(claim, test)
    trained = train_network(claim, train, seed=0, settings=IIT(steps=50, batch=48, lr=1e-2))
    found = evaluate(trained.alignment, test)
    assert untrained.overall.rate < 0.5
    assert found.overall.rate > 0.65
    assert all(torch.equal(net.module.state_dict()[name], tensor) for name, tensor in before.items())
    inputs = trained.network.encode(algorithm.arrays(test.inputs))
    assert bool(inputs.kwargs["attention_mask"].all())
    logits = by_hooks(
        trained.network.module,
        inputs.kwargs["input_ids"],
        test.base,
        test.source[:, 0],
        list(range(4)),
        inputs.kwargs["input_ids"].shape[1] - 1,
    )
    spelling = trained.network.spelling
    assert spelling is not None
    tokens = logits[:, -1].argmax(dim=1).numpy()
    wanted = [list(spelling[:, 0]).index(t) if t in spelling[:, 0] else -1 for t in tokens]
    assert found.answered.tolist() == wanted


ANSWERS = {i: f"{i}{9 - i}" for i in range(4)}


def two_tokens() -> Network:
    return Network(
        M.model("gpt2", dtype=torch.float32, n_layer=2),
        M.tokenizer(),
        template=M.PROMPT,
        answers=ANSWERS,
    )


def test_a_model_reads_at_every_step_what_it_then_answers_itself():
    algorithm = digits()
    net = two_tokens()
    claim = Alignment(
        algorithm, {algorithm["low"]: Coordinates(net.site("block_output", layer=0, position="last"))[:4]}
    )
    pairs = counterfactuals(algorithm, 200, seed=1)
    task = lesson(claim, pairs, strict=False)
    assert task.examples.kept is None
    index = torch.arange(len(pairs.ids))
    old = task.examples.rows(index).kwargs["input_ids"]
    with torch.no_grad():
        net.module.get_submodule("transformer.wte").weight.add_(
            torch.randn(M.VOCABULARY, 16, generator=torch.Generator().manual_seed(0))
        )
    new = task.examples.rows(index).kwargs["input_ids"]
    prompt = new[:, :-1]
    with torch.no_grad():
        greedy = net.module(input_ids=prompt).logits[:, -1].argmax(dim=1)
    assert torch.equal(new[:, -1], greedy)
    assert torch.equal(old[:, :-1], prompt)
    assert not torch.equal(old[:, -1], new[:, -1])


def test_answers_of_several_tokens_are_learnt_and_the_trained_model_goes_on_in_its_own_way():
    algorithm = digits()
    net = two_tokens()
    site = net.site("block_output", layer=0, position="last")
    claim = Alignment(algorithm, {algorithm["low"]: Coordinates(site)[:6]})
    pairs = counterfactuals(algorithm, 600, seed=1)
    train, test = pairs.split(train=0.7, test=0.3)
    trained = train_network(claim, train, seed=0, settings=IIT(steps=32, batch=32, lr=1e-2, every=8))
    curve = [loss for _, loss in trained.history["losses"]["interchange"]]
    found = evaluate(trained.alignment, test)
    assert curve[-1] < 0.8 * curve[0]
    assert found.accuracy.n == len(test.ids)
    # A network that was made anew around the trained model answers the same.
    language = trained.network.language
    assert language is not None
    fresh = Network(trained.network.module, M.tokenizer(), template=M.PROMPT, answers=ANSWERS, name="two")
    again = bench(claim.on(fresh), test)
    assert np.array_equal(again.answered([Neurons(torch.arange(6))]), found.answered)


def test_a_model_that_padding_changes_is_refused():
    algorithm = Algorithm("copy")
    algorithm.inputs("a b", domain=range(12))
    algorithm.add("kept", "a", f=lambda a: a % 2, domain=range(2))
    algorithm.add("out", "kept", "b", f=lambda kept, b: kept + 2 * (b % 2), domain=range(4), output=True)
    model = M.model("gpt2", dtype=torch.float32)
    # Positions from the start of what is fed, padding and all.
    model.register_forward_pre_hook(
        lambda _m, args, named: (args, {**named, "position_ids": None}), with_kwargs=True
    )
    net = Network(model, M.tokenizer(), template=M.PROMPT, answers=M.DIGITS)
    site = net.site("block_output", layer=1, position="last")
    claim = Alignment(algorithm.check(), {algorithm["kept"]: Coordinates(site)[:4]})
    pairs = counterfactuals(algorithm, 200, seed=1)
    with pytest.raises(NetworkError, match="padding changes what the model answers"):
        train_network(claim, pairs, seed=0, settings=IIT(steps=1))
    with pytest.raises(NetworkError, match="padding changes what the model answers"):
        cm.strictness(claim, pairs, seed=0)


@pytest.mark.parametrize("strictness", ["unit", "joint"])
def test_a_strict_term_at_a_token_of_a_transformer(strictness):
    algorithm = Algorithm("copy")
    algorithm.inputs("a b", domain=range(10))
    algorithm.add("kept", "a", "b", f=lambda a, b: (a > 4) != (b > 4), domain=[False, True])
    algorithm.add("out", "kept", f=lambda kept: int(kept), domain=[0, 1], output=True)
    net = M.network("gpt2", dtype=torch.float32)
    site = net.site("block_output", layer=1, position="last")
    claim = Alignment(algorithm, {algorithm.check()["kept"]: Coordinates(site)[:4]})
    train, test = counterfactuals(algorithm, 300, seed=1).split(train=0.6, test=0.4)
    settings = IIT(steps=2, strict=1.0, strictness=strictness, every=1)
    trained = train_network(claim, train, seed=0, settings=settings)
    losses = trained.history["losses"]
    assert losses["loss"][0][1] == pytest.approx(
        sum(losses[name][0][1] for name in ("interchange", "behaviour", "strict")), rel=1e-5
    )
    found = cm.strictness(trained.alignment, test, seed=0, units=2)
    assert found.left_out == 10
    assert all(name.startswith("transformer.h.1") for name in found.units)

"""Training of language models: what they are fed, what they are scored on, what is held out, what is left alone."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers as hf

from commutes import Network
from commutes.algorithm import Algorithm
from commutes.counterfactuals import Distribution
from commutes.errors import FitError, NetworkError
from commutes.network import MLP, draw_inputs, minibatches
from commutes.network.transformers import (
    answered,
    character_tokenizer,
    held_out,
    language_examples,
    save_pretrained,
    train_language,
    untrained_model,
    word_tokenizer,
)

from . import models as M

PROMPT = "{a}+{b}="
# Prompts of four lengths, answers of two tokens.
NUMBERS = (1, 2, 5, 9, 10, 13)


def sums(name: str = "sum") -> Algorithm:
    hypothesis = Algorithm(name)
    hypothesis.inputs("a b", domain=NUMBERS)

    @hypothesis.output(domain=range(27))
    def total(a, b):
        return a + b

    return hypothesis.check()


def config(kind: str = "gpt2", **changes: Any) -> Any:
    if kind == "llama":
        sizes: dict[str, Any] = {"hidden_size": 24, "intermediate_size": 32, "num_hidden_layers": 2}
        return hf.LlamaConfig(
            vocab_size=16, num_attention_heads=2, max_position_embeddings=16, **sizes, **changes
        )
    drop = dict.fromkeys(("resid_pdrop", "embd_pdrop", "attn_pdrop"), 0.0)
    named: dict[str, Any] = {"bos_token_id": 2, "eos_token_id": 3, "pad_token_id": 0, **drop, **changes}
    return hf.GPT2Config(vocab_size=16, n_positions=16, n_embd=24, n_layer=2, n_head=2, **named)


def network(kind: str = "gpt2", *, seed: int = 0, **changes: Any) -> Network:
    return Network(
        untrained_model(config(kind, **changes), seed=seed),
        character_tokenizer("0123456789+="),
        template=PROMPT,
        answers={total: f"{total:02d}" for total in range(27)},
    )


def bits(net: Network) -> dict[str, bytes]:
    return {name: tensor.numpy().tobytes() for name, tensor in net.module.state_dict().items()}


def written(net: Network, prompts: Sequence[str], count: int = 2) -> list[str]:
    """What the model writes behind each prompt, one prompt at a time and token by token."""
    model: Any = net.module
    tokenizer = net.language.prompt.tokenizer if net.language else None
    assert tokenizer is not None
    found = []
    for prompt in prompts:
        ids = tokenizer(prompt, return_tensors="pt").input_ids
        with torch.no_grad():
            for _ in range(count):
                ids = torch.cat([ids, model(ids).logits[:, -1:].argmax(-1)], dim=1)
        found.append(tokenizer.decode(ids[0, -count:]))
    return found


# What is fed and asked


def test_prompts_are_padded_on_the_left_and_answers_stand_behind_them():
    fed, targets = language_examples(network(), sums(), {"a": np.array([0, 4]), "b": np.array([3, 5])})
    tokens = network().language.prompt.tokenizer  # pyright: ignore[reportOptionalMemberAccess]
    said = [tokens.convert_ids_to_tokens(row) for row in fed[:, 0].tolist()]
    assert said == [
        ["<pad>", "<pad>", "1", "+", "9", "=", "1"],
        ["1", "0", "+", "1", "3", "=", "2"],
    ]
    assert fed[:, 1].tolist() == [[0, 0, 1, 1, 1, 1, 1], [1] * 7]
    assert fed[:, 2].tolist() == [[0, 0, 0, 1, 2, 3, 4], list(range(7))]
    assert [tokens.convert_ids_to_tokens(row) for row in targets.tolist()] == [["1", "0"], ["2", "3"]]


def test_the_whole_text_is_asked_for_where_that_is_wanted():
    inputs = {"a": np.array([0, 4]), "b": np.array([3, 5])}
    fed, targets = language_examples(network(), sums(), inputs, whole=True)
    assert targets[0, :2].tolist() == [-100, -100]
    assert torch.equal(targets[0, 2:-1], fed[0, 0, 3:])
    assert torch.equal(targets[1, :-1], fed[1, 0, 1:])
    assert torch.equal(targets[:, -2:], language_examples(network(), sums(), inputs)[1])


@pytest.mark.parametrize("kind", ["gpt2", "llama"])
@pytest.mark.parametrize("whole", [False, True])
def test_the_loss_is_the_librarys_own_without_padding(kind, whole):
    net, algorithm, seen = network(kind), sums(), []
    train_language(
        net, algorithm, steps=1, batch=8, draws=64, share=0.0, whole=whole, seed=5,
        progress=lambda _s, _n, figures: seen.append(figures),
    )  # fmt: skip
    columns = draw_inputs(algorithm, 64, seed=5)
    rows = next(minibatches(torch.arange(64), torch.arange(64), batch=8, seed=5))[0].numpy()
    values = {name: [NUMBERS[i] for i in column[rows]] for name, column in columns.items()}
    model: Any = net.module
    tokenizer = character_tokenizer("0123456789+=")
    losses, count = torch.tensor(0.0), 0
    for a, b in zip(values["a"], values["b"], strict=True):
        ids = tokenizer(f"{a}+{b}={a + b:02d}", return_tensors="pt").input_ids
        labels = ids.clone()
        if not whole:
            labels[:, :-2] = -100
        asked = int((labels[:, 1:] != -100).sum())
        losses, count = losses + model(ids, labels=labels).loss.detach() * asked, count + asked
    assert seen[0]["loss"] == pytest.approx(float(losses) / count, abs=1e-5)
    right = [
        text == f"{a + b:02d}"
        for text, a, b in zip(
            written(net, [f"{a}+{b}=" for a, b in zip(values["a"], values["b"], strict=True)]),
            values["a"],
            values["b"],
            strict=True,
        )
    ]
    assert seen[0]["accuracy"] == np.mean(right)


# The descent


def test_it_is_adam_with_decay_of_matrices_a_warm_up_and_a_bounded_gradient():
    net, algorithm, steps = network(), sums(), 12
    trained = train_language(
        net, algorithm, steps=steps, batch=16, lr=1e-2, warmup=0.25, weight_decay=0.5, clip=0.3, draws=128,
        share=0.0, seed=3,
    )  # fmt: skip
    fed, targets = language_examples(net, algorithm, draw_inputs(algorithm, 128, seed=3))
    module: Any = network().module.train()
    matrices = [p for p in module.parameters() if p.ndim > 1]
    vectors = [p for p in module.parameters() if p.ndim <= 1]
    optimiser = torch.optim.AdamW(
        [{"params": matrices, "weight_decay": 0.5}, {"params": vectors, "weight_decay": 0.0}]
    )
    rates = [1e-2 * f for f in (1 / 3, 2 / 3, 1.0)]
    rates += [1e-2 * (1 + np.cos(np.pi * i / 9)) / 2 for i in range(9)]
    stream = minibatches(fed, targets, batch=16, seed=3)
    for rate, (x, y) in zip(rates, stream, strict=False):
        for group in optimiser.param_groups:
            group["lr"] = rate
        logits = module(input_ids=x[:, 0], attention_mask=x[:, 1], position_ids=x[:, 2]).logits[:, -2:]
        optimiser.zero_grad()
        torch.nn.functional.cross_entropy(logits.flatten(0, 1), y.flatten()).backward()
        length = torch.stack([p.grad.square().sum() for p in module.parameters()]).sum().sqrt()
        assert length > 0.3
        for p in module.parameters():
            p.grad.mul_(0.3 / length)
        optimiser.step()
    for mine, theirs in zip(trained.module.parameters(), module.parameters(), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=0, atol=2e-4)


@pytest.mark.parametrize("kind", ["gpt2", "llama"])
def test_it_learns_and_answers_as_greedy_decoding_does(kind):
    net, algorithm = network(kind), sums()
    trained = train_language(net, algorithm, steps=150, batch=36, lr=1e-2, draws=1_024, share=0.0)
    inputs = algorithm.enumerate_inputs()
    hits = answered(trained, algorithm, inputs)
    assert hits.mean() > 0.9
    assert answered(net, algorithm, inputs).mean() < 0.2
    pairs = [(a, b) for a in NUMBERS for b in NUMBERS]
    half = train_language(net, algorithm, steps=40, batch=36, lr=1e-2, draws=1_024, share=0.0)
    for some in (trained, half):
        said = written(some, [f"{a}+{b}=" for a, b in pairs])
        expected = [text == f"{a + b:02d}" for text, (a, b) in zip(said, pairs, strict=True)]
        assert answered(some, algorithm, inputs).tolist() == expected
    assert 0 < answered(half, algorithm, inputs).sum() < 36


def test_the_same_seed_gives_the_same_bits_whatever_the_threads():
    net, algorithm, threads = network(resid_pdrop=0.2), sums(), torch.get_num_threads()

    def train(seed: int) -> Network:
        return train_language(net, algorithm, steps=6, batch=8, draws=64, seed=seed)

    torch.manual_seed(1)
    first = train(0)
    try:
        torch.set_num_threads(threads + 1)
        torch.manual_seed(2)
        again = train(0)
        assert torch.get_num_threads() == threads + 1
    finally:
        torch.set_num_threads(threads)
    assert bits(first) == bits(again) != bits(train(1))
    assert not any(part.training for part in first.module.modules())


def test_watching_the_progress_changes_nothing():
    net, algorithm = network(resid_pdrop=0.2), sums()
    watched, unwatched = (
        train_language(net, algorithm, steps=12, batch=8, draws=64, share=0.3, progress=told)
        for told in (lambda _s, _n, _f: None, None)
    )
    assert bits(watched) == bits(unwatched)


def test_nothing_of_the_users_is_touched():
    net, algorithm = network(), sums()
    next(net.module.parameters()).requires_grad_(False)
    before, generator = bits(net), torch.get_rng_state()
    with torch.no_grad():
        trained = train_language(net, algorithm, steps=3, batch=8, draws=64)
        assert not torch.is_grad_enabled()
    assert bits(net) == before != bits(trained)
    assert torch.equal(torch.get_rng_state(), generator)
    assert all(p.grad is None for p in (*net.module.parameters(), *trained.module.parameters()))
    frozen, same = next(trained.module.parameters()), next(net.module.parameters())
    assert torch.equal(frozen, same)
    assert not frozen.requires_grad


def test_an_untrained_model_follows_its_seed_and_leaves_the_global_generator():
    before = torch.get_rng_state()
    first, again, other = (network(seed=seed) for seed in (0, 0, 1))
    assert bits(first) == bits(again) != bits(other)
    assert torch.equal(torch.get_rng_state(), before)
    assert not first.module.training


# What is held out


def test_inputs_are_held_out_by_input_and_by_seed():
    algorithm = sums()
    drawn = draw_inputs(algorithm, 2_000, seed=0)
    out = held_out(algorithm, drawn, share=0.3, seed=1)
    inputs = list(zip(drawn["a"].tolist(), drawn["b"].tolist(), strict=True))
    chosen = {pair for pair, is_out in zip(inputs, out, strict=True) if is_out}
    assert not chosen & {pair for pair, is_out in zip(inputs, out, strict=True) if not is_out}
    # Of 36 inputs .3 are 10.8, with a standard deviation of 2.7.
    assert 2 < len(chosen) < 20
    assert (out != held_out(algorithm, drawn, share=0.3, seed=2)).any()
    assert not held_out(algorithm, drawn, share=0.0, seed=1).any()


def test_what_is_held_out_is_no_part_of_the_split_of_the_same_seed():
    algorithm = Algorithm("one of many")
    algorithm.inputs("a b", domain=range(100))
    algorithm.add("total", "a", "b", f=lambda a, b: a + b, domain=range(200), output=True)
    inputs = algorithm.enumerate_inputs()
    out = held_out(algorithm, inputs, share=0.5, seed=0)
    from commutes.counterfactuals._codes import unit

    train = unit(algorithm.input_ids(inputs), 0) < 0.5
    assert 0.45 < (out == train).mean() < 0.55


def test_a_training_never_sees_what_is_held_out(monkeypatch):
    net, algorithm, seen = network(), sums(), []

    def watched(fed, targets, **options):
        seen.extend(tuple(row) for row in fed[:, 0].tolist())
        return minibatches(fed, targets, **options)

    monkeypatch.setattr("commutes.network.transformers._training.minibatches", watched)
    train_language(net, algorithm, steps=1, batch=8, draws=2_000, share=0.3, seed=4)
    inputs = algorithm.enumerate_inputs()
    out = held_out(algorithm, inputs, share=0.3, seed=4)
    fed = [tuple(row) for row in language_examples(net, algorithm, inputs)[0][:, 0].tolist()]
    assert {row for row, is_out in zip(fed, out, strict=True) if not is_out} == set(seen)
    # The values are drawn equally often: as often as they would be without what is held out.
    assert len(seen) == int(
        (~held_out(algorithm, draw_inputs(algorithm, 2_000, seed=4), share=0.3, seed=4)).sum()
    )


def test_the_progress_tells_the_accuracy_on_what_is_held_out():
    net, algorithm, seen = network(), sums(), []
    trained = train_language(
        net, algorithm, steps=300, batch=32, lr=1e-2, draws=512, share=0.3, seed=4,
        progress=lambda step, steps, figures: seen.append((step, steps, figures)),
    )  # fmt: skip
    assert [step for step, _, _ in seen] == list(range(3, 301, 3))
    assert all(list(figures) == ["loss", "accuracy", "held_out"] for _, _, figures in seen)
    drawn = draw_inputs(algorithm, 512, seed=4)
    out = held_out(algorithm, drawn, share=0.3, seed=4)
    unseen = {name: column[out] for name, column in drawn.items()}
    assert seen[-1][2]["held_out"] == answered(trained, algorithm, unseen).mean()
    assert seen[0][2]["held_out"] < 0.2
    # At the beginning and after every tenth of the steps, and as it was in between.
    looks = [(step, figures["held_out"]) for step, _, figures in seen]
    changes = [step for (step, new), (_, old) in pairwise(reversed(looks)) if new != old]
    assert set(changes) <= set(range(30, 301, 30))
    assert seen[-1][2]["accuracy"] > 0.9


def test_without_a_share_held_out_the_progress_is_silent_about_it():
    seen = []
    train_language(
        network(),
        sums(),
        steps=2,
        batch=8,
        draws=64,
        share=0.0,
        progress=lambda _s, _n, f: seen.append(list(f)),
    )
    assert seen == [["loss", "accuracy"]] * 2


def test_the_inputs_come_from_the_distribution(monkeypatch):
    small = Distribution("one and two", lambda rng, n: {name: rng.integers(1, 3, n) for name in "ab"})
    lengths = []

    def watched(fed, targets, **options):
        lengths.append((len(fed), fed.shape[-1], len({tuple(row) for row in fed[:, 0].tolist()})))
        return minibatches(fed, targets, **options)

    monkeypatch.setattr("commutes.network.transformers._training.minibatches", watched)
    train_language(network(), sums(), steps=1, batch=8, draws=100, share=0.0, distribution=small)
    assert lengths == [(100, 5, 4)]


# Saved and read back


def test_a_trained_model_is_read_back_from_its_folder(tmp_path: Path):
    algorithm = sums()
    trained = train_language(network(), algorithm, steps=60, batch=36, lr=1e-2, draws=512, share=0.0)
    save_pretrained(trained, tmp_path)
    answers = {total: f"{total:02d}" for total in range(27)}
    again = Network.pretrained(str(tmp_path), template=PROMPT, answers=answers)
    assert bits(again) == bits(trained)
    inputs = algorithm.enumerate_inputs()
    assert (answered(again, algorithm, inputs) == answered(trained, algorithm, inputs)).all()


def test_other_networks_are_not_saved_in_this_form(tmp_path: Path):
    net = Network(
        MLP([2, 2, 2], seed=0), encode=lambda values: torch.zeros(1, 2), answers=[0, 1], name="small"
    )
    with pytest.raises(NetworkError) as found:
        save_pretrained(net, tmp_path)
    assert str(found.value) == (
        "only language models are saved in this form\n"
        "  where:    small\n"
        "  got:      a network without a tokenizer\n"
        "  expected: Network(model, tokenizer, template=..., answers=...)\n"
        "  do:       save module.state_dict()"
    )


# What is refused


def refused(net: Network, algorithm: Algorithm, **options: Any) -> str:
    with pytest.raises(FitError) as found:
        train_language(net, algorithm, **{"steps": 1, "batch": 2, "draws": 32, **options})
    return str(found.value)


def test_a_network_without_a_tokenizer_and_a_masked_model_are_refused():
    net = Network(
        MLP([2, 2, 2], seed=0), encode=lambda values: torch.zeros(1, 2), answers=[0, 1], name="small"
    )
    assert refused(net, sums()) == (
        "this is for language models that continue a prompt\n"
        "  where:    small\n"
        "  got:      a network without a tokenizer\n"
        "  expected: Network(model, tokenizer, template=..., answers=...) of a causal language model\n"
        "  do:       train other networks with commutes.network.train"
    )
    assert "got:      a model that fills in a mask" in refused(M.network("bert"), sums())


def test_an_output_without_an_answer_is_named():
    net = Network(
        untrained_model(config(), seed=0),
        character_tokenizer("0123456789+="),
        template=PROMPT,
        answers={total: f"{total:02d}" for total in range(10)},
    )
    said = refused(net, sums()).splitlines()
    assert said[:2] == [
        "the network has no answer for an output of the algorithm",
        "  where:    total of sum",
    ]
    assert said[3:] == [
        "  expected: one of its 10 answers: 0, 1, 2, 3, 4, 5, 6, 7, ...",
        "  do:       give Network answers= with a text for every value of the output",
    ]


def test_a_word_that_the_tokenizer_does_not_know_is_named():
    net = Network(
        untrained_model(config(), seed=0),
        word_tokenizer("1 2 5 9 10 + = 0"),
        template=PROMPT,
        answers={1: "1", 2: "2"},
    )
    inputs = {"a": np.array([0]), "b": np.array([5])}
    with pytest.raises(NetworkError) as found:
        language_examples(net, sums(), inputs)
    assert str(found.value) == (
        "the tokenizer does not know a part of a prompt\n"
        "  where:    example 0: '1+13='\n"
        "  got:      '13', which becomes <unk>\n"
        "  expected: words that it knows: those that it does not cannot be told apart\n"
        "  do:       write it as the model's own texts do, or make a tokenizer that knows it"
    )


@pytest.mark.parametrize(
    ("options", "what"),
    [
        ({"share": 1.0}, "held_out is a share of the inputs"),
        ({"share": True}, "held_out is a share of the inputs"),
        ({"warmup": 2}, "warmup is a share of the steps"),
        ({"clip": -1.0}, "clip is a length"),
        ({"steps": 0}, "steps is a number of optimiser steps"),
        ({"batch": 64}, "these examples make no batch"),
    ],
)
def test_numbers_that_cannot_be_are_refused(options, what):
    assert refused(network(), sums(), **options).startswith(what)


def test_a_frozen_model_is_refused():
    net = network()
    net.module.requires_grad_(False)
    said = refused(net, sums())
    assert said.startswith("nothing to train\n  got:      GPT2LMHeadModel without a parameter")


def test_a_model_in_training_mode_is_not_asked():
    net = network(resid_pdrop=0.2)
    net.module.train()
    with pytest.raises(NetworkError, match="training mode"):
        answered(net, sums(), sums().enumerate_inputs())

from __future__ import annotations

import numpy as np
import pytest
import torch

from commutes.errors import AlgorithmError
from commutes.network.transformers import answered, held_out


def number(columns, word: str, digits: int) -> np.ndarray:
    return sum(10**place * columns[f"{word}{place}"].astype(np.int64) for place in range(digits))  # pyright: ignore[reportReturnType]


def bits(network) -> dict[str, bytes]:
    return {name: tensor.numpy().tobytes() for name, tensor in network.module.state_dict().items()}


# The algorithms


def test_two_digits_are_added_in_their_columns(addition):
    values = addition.algorithm().evaluate({"a1": 2, "a0": 7, "b1": 1, "b0": 9})
    assert values == {
        "a1": 2, "a0": 7, "b1": 1, "b0": 9, "ones": 6, "carry": True, "tens": 3, "total": 46,
    }  # fmt: skip


def test_three_digits_have_a_second_carry(addition):
    inputs = {"a2": 2, "a1": 7, "a0": 5, "b2": 9, "b1": 2, "b0": 8}
    values = addition.algorithm(3).evaluate(inputs)
    assert [values[name] for name in ("ones", "carry", "tens", "second_carry", "hundreds")] == [
        3,
        True,
        9,
        True,
        11,
    ]
    assert values["total"] == 275 + 928


@pytest.mark.parametrize("form", ["algorithm", "rival", "control"])
@pytest.mark.parametrize("digits", [2, 3])
def test_every_form_adds(addition, form, digits):
    algorithm = getattr(addition, form)(digits)
    rng = np.random.default_rng(0)
    inputs = {v.name: rng.integers(10, size=3_000) for v in algorithm.input_variables}
    output = algorithm.run(inputs)["total"]
    found = algorithm.values("total", output)
    assert found == (number(inputs, "a", digits) + number(inputs, "b", digits)).tolist()


def test_the_forms_differ_in_their_variables(addition):
    names = {
        form: [v.name for v in getattr(addition, form)().inner_variables]
        for form in ("algorithm", "rival", "control")
    }
    assert names == {
        "algorithm": ["ones", "carry", "tens"],
        "rival": ["upper", "lower"],
        "control": ["upper", "first"],
    }


def test_a_carry_may_meet_any_ones_digit(addition):
    for digits, largest in ((2, 199), (3, 1999)):
        algorithm = addition.algorithm(digits)
        nines = {v.name: np.array([9]) for v in algorithm.input_variables}
        do = {"ones": np.array([9])}
        assert algorithm.values("total", algorithm.run(nines, do)["total"]) == [largest]
        assert largest in addition.answers(digits)


def test_other_numbers_of_digits_are_refused(addition):
    with pytest.raises(AlgorithmError) as found:
        addition.algorithm(4)
    assert str(found.value) == (
        "numbers have two or three digits here\n  got:      4\n  expected: digits=2 or digits=3"
    )


# The network


def test_the_prompt_and_the_answer_have_a_token_for_each_character(addition):
    algorithm = addition.algorithm()
    network = addition.network(algorithm, seed=0, layers=1, width=16)
    inputs = {name: np.array([digit]) for name, digit in (("a1", 2), ("a0", 7), ("b1", 0), ("b0", 9))}
    tokenizer = network.language.prompt.tokenizer
    row = network.language.prompt.tokens(inputs)[0]
    assert tokenizer.convert_ids_to_tokens(list(row.ids)) == list("27+09=")
    assert tokenizer.convert_ids_to_tokens(list(network.language.tokens[36])) == list("036")
    assert addition.template(3) == "{a2}{a1}{a0}+{b2}{b1}{b0}="
    assert addition.answers(3)[7] == "0007"
    assert len(network.answers) == 200


def test_the_untrained_network_has_the_declared_shape(addition):
    network = addition.network(addition.algorithm(), seed=0)
    assert network.blocks == tuple(f"transformer.h.{i}" for i in range(3))
    assert network.module.config.n_embd == 128
    assert network.site("block_output", layer=1, position="{b0}").places
    first, again, other = (
        addition.network(addition.algorithm(), seed=seed, layers=1, width=16) for seed in (0, 0, 1)
    )
    assert bits(first) == bits(again) != bits(other)


def test_training_is_a_function_of_its_seed_and_touches_nothing(addition):
    algorithm, seen = addition.algorithm(), []
    network = addition.network(algorithm, seed=0, layers=1, width=16)
    untrained, generator = bits(network), torch.get_rng_state()
    first = addition.train(network, algorithm, seed=3, steps=5, progress=lambda *told: seen.append(told))
    again = addition.train(network, algorithm, seed=3, steps=5)
    other = addition.train(network, algorithm, seed=4, steps=5)
    assert bits(first) == bits(again) != bits(other)
    assert bits(network) == untrained
    assert torch.equal(torch.get_rng_state(), generator)
    assert [told[:2] for told in seen] == [(step, 5) for step in range(1, 6)]
    assert list(seen[-1][2]) == ["loss", "accuracy", "held_out"]


@pytest.mark.slow
def test_a_smaller_network_learns_to_add_numbers_that_it_never_saw(addition):
    algorithm = addition.algorithm()
    network = addition.network(algorithm, seed=0, layers=2, width=64)
    trained = addition.train(network, algorithm, seed=0, steps=400)
    inputs = algorithm.enumerate_inputs()
    right = answered(trained, algorithm, inputs)
    unseen = held_out(algorithm, inputs, seed=0)
    assert 900 < unseen.sum() < 1_100
    assert right[unseen].mean() > 0.95
    assert answered(network, algorithm, inputs).mean() < 0.05

from __future__ import annotations

import numpy as np
import pytest

from commutes.counterfactuals import counterfactuals
from commutes.network import draw_inputs
from commutes.network.transformers import answered, held_out

FORMS = ("algorithm", "rival", "control")
QUESTION = {
    "colour": "red", "w": "blue", "x": "grey", "y": "red", "z": "pink", "p": "C", "q": "A", "r": "H", "s": "B",
}  # fmt: skip


@pytest.mark.parametrize("form", FORMS)
def test_the_letter_beside_the_colour_is_the_answer(multiple_choice, form):
    algorithm = getattr(multiple_choice, form)()
    assert algorithm.evaluate(QUESTION)["letter"] == "H"
    assert algorithm.evaluate(QUESTION | {"colour": "pink"})["letter"] == "B"
    assert algorithm.evaluate(QUESTION | {"colour": "blue"})["letter"] == "C"


def test_all_forms_agree_wherever_the_inputs_hold(multiple_choice):
    forms = [getattr(multiple_choice, form)() for form in FORMS]
    rng = np.random.default_rng(0)
    inputs = {v.name: forms[0].domain(v).sample(rng, 3_000) for v in forms[0].input_variables}
    expected, *others = (form.run(inputs)["letter"] for form in forms)
    assert all((other == expected).all() for other in others)


def test_a_place_and_a_letter_part_where_the_letters_are_others(multiple_choice):
    source = QUESTION | {"colour": "blue", "p": "E", "q": "F", "r": "G", "s": "D"}
    for form, variable, expected in (("algorithm", "right", "C"), ("rival", "symbol", "E")):
        algorithm = getattr(multiple_choice, form)()
        columns = [
            algorithm.columns({name: [value] for name, value in row.items()}) for row in (QUESTION, source)
        ]
        found = algorithm.interchange(columns[0], {variable: columns[1]})["letter"]
        assert algorithm.values("letter", found) == [expected]


def test_questions_have_one_right_choice_and_different_letters(multiple_choice):
    drawn = multiple_choice.questions.draw(np.random.default_rng(0), 20_000)
    colours = np.stack([drawn[name] for name in "wxyz"], axis=1)
    letters = np.stack([drawn[name] for name in "pqrs"], axis=1)
    assert all(len(set(row)) == 4 for table in (colours, letters) for row in table.tolist())
    right = colours == np.array(drawn["colour"])[:, None]
    assert (right.sum(axis=1) == 1).all()
    # Four standard deviations of a share of 20,000.
    assert np.abs(right.mean(axis=0) - 0.25).max() < 4 * (0.25 * 0.75 / 20_000) ** 0.5
    for letter in multiple_choice.LETTERS:
        share = (letters[right] == letter).mean()
        assert abs(share - 1 / 8) < 4 * (1 / 8 * 7 / 8 / 20_000) ** 0.5


def test_every_word_is_one_token_where_it_is_read_and_where_it_is_answered(multiple_choice):
    algorithm = multiple_choice.algorithm()
    network = multiple_choice.network(algorithm, seed=0, layers=1, width=16)
    tokenizer = network.language.prompt.tokenizer
    columns = algorithm.columns({name: [value] for name, value in QUESTION.items()})
    row = network.language.prompt.tokens(algorithm.arrays(columns))[0]
    said = "<bos> The box is red . What colour is it ? C : blue A : grey H : red B : pink Answer :"
    assert tokenizer.convert_ids_to_tokens(list(row.ids)) == said.split()
    assert tokenizer.convert_ids_to_tokens(list(network.language.tokens["H"])) == ["H"]
    assert network.site("block_output", layer=0, position="{r}").places
    assert network.blocks == ("model.layers.0",)


def test_it_is_trained_on_questions_of_this_form(multiple_choice, monkeypatch):
    asked = {}
    monkeypatch.setattr(multiple_choice, "train_language", lambda *given, **named: asked.update(named))
    multiple_choice.train(None, None, seed=7, steps=3)
    assert asked["distribution"] is multiple_choice.questions
    assert (asked["seed"], asked["steps"]) == (7, 3)


def test_pairs_are_drawn_from_the_questions(multiple_choice):
    algorithm = multiple_choice.algorithm()
    pairs = counterfactuals(algorithm, 200, seed=0, distribution=multiple_choice.questions)
    values = {v.name: algorithm.values(v, pairs.inputs[v.name]) for v in algorithm.input_variables}
    assert all(len(set(row)) == 4 for row in zip(*(values[name] for name in "pqrs"), strict=True))


@pytest.mark.slow
def test_with_four_colours_and_letters_questions_that_it_never_saw_are_soon_answered(
    multiple_choice, monkeypatch
):
    monkeypatch.setattr(multiple_choice, "COLOURS", multiple_choice.COLOURS[:4])
    monkeypatch.setattr(multiple_choice, "LETTERS", multiple_choice.LETTERS[:4])
    algorithm = multiple_choice.algorithm()
    network = multiple_choice.network(algorithm, seed=0)
    trained = multiple_choice.train(network, algorithm, seed=0, steps=350)
    drawn = draw_inputs(algorithm, 10_000, seed=5, distribution=multiple_choice.questions)
    unseen = {name: column[held_out(algorithm, drawn, seed=0)] for name, column in drawn.items()}
    assert answered(trained, algorithm, unseen).mean() > 0.95
    assert answered(network, algorithm, unseen).mean() < 0.5

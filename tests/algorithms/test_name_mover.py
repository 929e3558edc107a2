from __future__ import annotations

import numpy as np
import pytest

from commutes.counterfactuals import counterfactuals
from commutes.network import draw_inputs
from commutes.network.transformers import answered, held_out

FORMS = ("algorithm", "rival", "control")
MARY = {"first": "Mary", "second": "John", "subject": "Mary"}


@pytest.mark.parametrize("form", FORMS)
def test_the_other_name_is_next(name_mover, form):
    algorithm = getattr(name_mover, form)()
    assert algorithm.evaluate(MARY)["recipient"] == "John"
    assert algorithm.evaluate(MARY | {"subject": "John"})["recipient"] == "Mary"


def test_all_forms_agree_on_all_inputs(name_mover):
    algorithm, rival, control = (getattr(name_mover, form)() for form in FORMS)
    inputs = algorithm.enumerate_inputs()
    expected = algorithm.run(inputs)["recipient"]
    assert (rival.run(inputs)["recipient"] == expected).all()
    assert (control.run(inputs)["recipient"] == expected).all()


def test_position_and_name_part_where_the_names_are_others(name_mover):
    base = {"first": "Amy", "second": "Paul", "subject": "Paul"}
    for form, variable, expected in (("algorithm", "subject_first", "Paul"), ("rival", "repeated", "Amy")):
        algorithm = getattr(name_mover, form)()
        columns = [algorithm.columns({name: [value] for name, value in row.items()}) for row in (base, MARY)]
        found = algorithm.interchange(columns[0], {variable: columns[1]})["recipient"]
        assert algorithm.values("recipient", found) == [expected]


def test_sentences_hold_two_names_and_one_of_them_again(name_mover):
    drawn = name_mover.sentences.draw(np.random.default_rng(0), 20_000)
    first, second, subject = (np.array(drawn[name]) for name in ("first", "second", "subject"))
    assert (first != second).all()
    assert ((subject == first) | (subject == second)).all()
    # Four standard deviations of a share of 20,000, and of a count of one name of sixty.
    assert abs((subject == first).mean() - 0.5) < 4 * 0.5 / 20_000**0.5
    names, counts = np.unique(second, return_counts=True)
    assert set(first) == set(names) == set(name_mover.NAMES)
    assert np.abs(counts - 20_000 / 60).max() < 4.5 * (20_000 / 60) ** 0.5


def test_every_name_is_one_token_where_it_is_read_and_where_it_is_answered(name_mover):
    algorithm = name_mover.algorithm()
    network = name_mover.network(algorithm, seed=0, layers=1, width=16)
    tokenizer = network.language.prompt.tokenizer
    columns = algorithm.columns({name: [value] for name, value in MARY.items()})
    row = network.language.prompt.tokens(algorithm.arrays(columns))[0]
    said = "When Mary and John went to the store , Mary gave a drink to"
    assert tokenizer.convert_ids_to_tokens(list(row.ids)) == said.split()
    assert network.language.tokens["John"] == (row.ids[3],)
    assert len(set(network.language.tokens.values())) == 60
    assert network.site("block_output", layer=0, position="{subject}").places
    assert network.blocks == ("transformer.h.0",)


def test_it_is_trained_on_sentences_of_this_form(name_mover, monkeypatch):
    asked = {}
    monkeypatch.setattr(name_mover, "train_language", lambda *given, **named: asked.update(named))
    name_mover.train(None, None, seed=7, steps=3)
    assert asked["distribution"] is name_mover.sentences
    assert (asked["seed"], asked["steps"]) == (7, 3)


def test_the_spec_finds_the_distribution_by_its_name(name_mover):
    algorithm = name_mover.algorithm()
    pairs = counterfactuals(algorithm, 200, seed=0, distribution=name_mover.sentences)
    values = {v.name: algorithm.values(v, pairs.inputs[v.name]) for v in algorithm.input_variables}
    rows = zip(values["first"], values["second"], values["subject"], strict=True)
    assert all(first != second and subject in (first, second) for first, second, subject in rows)


@pytest.mark.slow
def test_fewer_steps_are_enough_for_sentences_that_it_never_saw(name_mover):
    algorithm = name_mover.algorithm()
    network = name_mover.network(algorithm, seed=0, layers=2)
    trained = name_mover.train(network, algorithm, seed=0, steps=250)
    drawn = draw_inputs(algorithm, 10_000, seed=5, distribution=name_mover.sentences)
    unseen = {name: column[held_out(algorithm, drawn, seed=0)] for name, column in drawn.items()}
    assert answered(trained, algorithm, unseen).mean() > 0.95
    assert answered(network, algorithm, unseen).mean() < 0.1

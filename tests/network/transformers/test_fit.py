"""An alignment with a transformer is fitted, evaluated and moved as with any network."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import commutes as cm
from commutes.engine import prepare

from . import models as M


def carry() -> cm.Algorithm:
    algorithm = cm.Algorithm("last digit")
    a, b = algorithm.inputs("a b", domain=range(12))
    algorithm.add("left", a, f=lambda a: a % 5)
    algorithm.add("digit", "left", b, f=lambda left, b: (left + b) % 10, output=True)
    return algorithm


@pytest.mark.parametrize("family", ["gpt2", "llama"])
def test_fit_and_evaluate(family: str) -> None:
    algorithm = carry()
    network = M.network(family)
    site = network.site("block_output", layer=1, position="{b[last]}")
    alignment = cm.Alignment(algorithm, {algorithm["left"]: cm.Rotation(site)[:2]})
    pairs = cm.counterfactuals(algorithm, 120, seed=1)
    train, test = pairs.split(train=0.6, test=0.4)
    fitted = cm.fit(alignment, train, seed=0, steps=4, batch=8, starts=1)
    found = cm.evaluate(fitted, test)
    assert found.self_checks["base onto itself"] == 0
    # A random model knows no sums, but what it answers is an answer of the whole vocabulary.
    assert 0 <= found.overall.rate < 1
    assert found.accuracy.n == len(test.ids)


def test_positions_by_meaning_are_saved_as_words(tmp_path: Path) -> None:
    algorithm = carry()
    network = M.network("llama")
    site = network.site(
        "head_value_output", layer=1, head=1, position=["{b[last]}", -1], source_position=["last", 0]
    )
    alignment = cm.Alignment(algorithm, {algorithm["left"]: cm.Rotation(site)[:2]})
    pairs = cm.counterfactuals(algorithm, 60, seed=1)
    train, test = pairs.split(train=0.5, test=0.5)
    fitted = cm.fit(alignment, train, seed=0, steps=2, batch=8, starts=1)
    cm.save(fitted, tmp_path)
    record = json.loads((tmp_path / "alignment.json").read_text())
    place = record["groups"][0]["site"]["places"][0]
    assert (place["position"], place["source_position"]) == (
        {"tokens": ["{b[last]}", -1]},
        {"tokens": ["last", 0]},
    )
    back = cm.load(tmp_path, algorithm=algorithm, network=network)
    assert np.array_equal(cm.evaluate(back, test).answered, cm.evaluate(fitted, test).answered)
    # The same weights behind another prompt are another network.
    other = cm.Network(network.module, M.fitting_tokenizer("llama"), template="{b}+{a}=", answers=M.DIGITS)
    with pytest.raises(cm.errors.ArtefactError, match="fitted for another network"):
        cm.load(tmp_path, algorithm=algorithm, network=other)


def test_an_answer_that_is_no_candidate_is_never_a_hit() -> None:
    algorithm = carry()
    network = M.network("gpt2")
    candidates = list(network.language.tokens.values())  # type: ignore[union-attr]
    # A bias that makes a word the answer to everything: the best digit is then no answer.
    head = network.module.lm_head = type(network.module.lm_head)(16, M.VOCABULARY, dtype=network.module.dtype)
    word = next(i for i in range(M.VOCABULARY) if i not in candidates)
    head.weight.data.zero_()
    head.bias.data.zero_()
    head.bias.data[word] = 1.0
    other = cm.Network(network.module, M.tokenizer(), template=M.PROMPT, answers=M.DIGITS)
    site = other.site("block_output", layer=0, position="last")
    alignment = cm.Alignment(algorithm, {algorithm["left"]: cm.Coordinates(site)[:4]})
    found = cm.evaluate(alignment, cm.counterfactuals(algorithm, 60, seed=1))
    assert (found.accuracy.hits, found.overall.hits) == (0, 0)
    assert set(found.answered) == {-1}


def test_names_of_one_tensor_overlap() -> None:
    algorithm = carry()
    algorithm = cm.Algorithm("two")
    a, b = algorithm.inputs("a b", domain=range(5))
    left = algorithm.add("left", a, f=lambda a: a % 2)
    right = algorithm.add("right", b, f=lambda b: b % 2)
    algorithm.add("out", "left", "right", f=lambda left, right: left + right, output=True)
    network = M.network("llama")
    one = network.site("block_output", layer=1, position="last")
    same = network.site("blocks.1.hook_resid_post", position=-1)
    with pytest.raises(cm.errors.AlignmentError, match="two featurizers overlap"):
        cm.Alignment(algorithm, {left: cm.Rotation(one)[:2], right: cm.Rotation(same)[:2]})


def test_padding_never_reaches_a_site() -> None:
    # The states of one prompt are the same whatever the longest prompt beside it is.
    network = M.network("llama")
    site = network.site("block_output", layer=1, position="{b[last]}")
    (short,) = prepare(network, {"a": np.array([1]), "b": np.array([2])}, [site]).sources.tiers
    (beside,) = prepare(network, {"a": np.array([1, 12345]), "b": np.array([2, 678])}, [site]).sources.tiers
    assert (short[site][0] - beside[site][0]).abs().max() < 1e-10

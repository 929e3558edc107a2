"""One model read through another template: the same answers, and positions in words found in the new prompts."""

from __future__ import annotations

import numpy as np
import pytest

from commutes import Algorithm, Alignment, Network, Rotation
from commutes.errors import NetworkError
from commutes.network.transformers import reread

from .models import DIGITS, model, network, tokenizer

OTHER = "= {b} + {a} is"


def values() -> dict[str, np.ndarray]:
    return {"a": np.array([1, 2, 3]), "b": np.array([4, 5, 6])}


def test_the_prompt_is_the_other_one_and_answers_are_the_same_tokens():
    own = network("gpt2")
    other = reread(own, OTHER)
    assert other.module is own.module
    assert other.answers == own.answers
    np.testing.assert_array_equal(other.spelling, own.spelling)
    direct = Network(own.module, tokenizer(), template=OTHER, answers=DIGITS)
    for name, tensor in direct.encode(values()).kwargs.items():
        assert (other.encode(values()).kwargs[name] == tensor).all()
    assert other.fingerprint != own.fingerprint
    assert own.language.prompts(values())[0].text == "1+4="


def test_positions_in_words_are_found_in_the_prompts_of_the_network_that_a_claim_is_moved_to():
    own = network("gpt2")
    other = reread(own, OTHER)
    site = own.site("block_output", layer=0, position=["{b}", "last"])
    moved = site.on(other)
    asked = other.site("block_output", layer=0, position=["{b}", "last"])
    place, found, wanted = site.places[0], moved.places[0], asked.places[0]
    np.testing.assert_array_equal(found.position(values()), wanted.position(values()))
    assert not (found.position(values()) == place.position(values())).all()
    # Back again, and on a network of other weights with the same prompt.
    np.testing.assert_array_equal(moved.on(own).places[0].position(values()), place.position(values()))
    twin = own.with_module(model("gpt2"))
    assert site.on(twin).places[0].position is place.position


def test_alignments_move_with_their_positions():
    own = network("gpt2")
    other = reread(own, OTHER)
    algorithm = Algorithm("last digit")
    algorithm.inputs("a b", domain=range(5))
    algorithm.add("copy", "b", f=lambda b: b, domain=range(5))
    algorithm.add("total", "a", "copy", f=lambda a, b: a + b, domain=range(10), output=True)
    rotation = Rotation(own.site("block_output", layer=0, position="{b}"))
    moved = Alignment(algorithm, {algorithm["copy"]: rotation[:2]}).on(other)
    (site,) = moved.sites
    assert site.network is other
    wanted = other.site("block_output", layer=0, position="{b}").places[0].position
    np.testing.assert_array_equal(site.places[0].position(values()), wanted(values()))


def test_a_template_must_be_one_of_the_models():
    with pytest.raises(NetworkError, match="the template has no slot"):
        reread(network("gpt2"), "a plus b")

"""Positions by meaning are tokens of the prompt, whatever padding, other values or special tokens do."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from commutes import Network
from commutes.engine import capture
from commutes.errors import SiteError

from . import models as M

# 12 + 4 =, 30 + 678 =: as many tokens in {a}, not in {b}.
VALUES = {"a": np.array([12, 30]), "b": np.array([4, 678])}


def network(prompt: str = M.PROMPT, ends: str | None = "[BOS] $A") -> Network:
    return Network(M.model("llama"), M.tokenizer(ends=ends), template=prompt, answers=M.DIGITS)


def found(net: Network, position: Any, values: Any = VALUES, **options: Any) -> list[list[str]]:
    """The tokens at a site's positions."""
    site = net.site("block_output", layer=0, position=position, **options)
    prompt = net.language.prompt  # type: ignore[union-attr]
    ids = net.encode(values).kwargs["input_ids"]
    table = site.places[0].positions(values, len(ids), ids.shape[1], source=False)
    assert table is not None
    return [prompt.tokenizer.convert_ids_to_tokens(row) for row in ids.gather(1, table)]


def text(net: Network, position: Any, values: Any = VALUES) -> str:
    with pytest.raises(SiteError) as raised:
        found(net, position, values)
    return str(raised.value)


@pytest.mark.parametrize(
    ("position", "tokens"),
    [
        ("last", [["="], ["="]]),
        (-1, [["="], ["="]]),
        (-2, [["4"], ["8"]]),
        (0, [["[BOS]"], ["[BOS]"]]),
        (2, [["2"], ["0"]]),
        (3, [["+"], ["+"]]),
        (4, [["4"], ["6"]]),
        ("{a}", [["1", "2"], ["3", "0"]]),
        ("{a[first]}", [["1"], ["3"]]),
        ("{a[last]}", [["2"], ["0"]]),
        ("{a[1]}", [["2"], ["0"]]),
        ("{b[-1]}", [["4"], ["8"]]),
        ("{b[0]}", [["4"], ["6"]]),
        (["{a}", 3, "last"], [["1", "2", "+", "="], ["3", "0", "+", "="]]),
    ],
)
def test_what_a_position_means(position: Any, tokens: list[list[str]]) -> None:
    assert found(network(), position) == tokens


def test_positions_are_the_same_states_with_and_without_padding() -> None:
    net = network()
    site = net.site("block_output", layer=2, position=["{a}", "{b[last]}", "last"])
    together = capture(net, VALUES, [site])[site]
    for row in range(2):
        alone = capture(net, {k: v[row : row + 1] for k, v in VALUES.items()}, [site])[site]
        assert (alone[0] - together[row]).abs().max() < 1e-10


def test_a_source_may_be_read_elsewhere() -> None:
    net = network()
    site = net.site("block_output", layer=0, position="{a[last]}", source_position="{b[last]}")
    both = [net.site("block_output", layer=0, position=p) for p in ("{a[last]}", "{b[last]}")]
    base, source = capture(net, VALUES, [site])[site], capture(net, VALUES, [site], source=True)[site]
    clean = capture(net, VALUES, both)
    assert torch.equal(base, clean[both[0]])
    assert torch.equal(source, clean[both[1]])


def test_no_position_is_every_token_and_no_padding() -> None:
    net = network()
    same = {"a": np.array([12, 30]), "b": np.array([4, 6])}
    assert found(net, "every", same) == found(net, None, same) == [["[BOS]", *"12+4="], ["[BOS]", *"30+6="]]
    assert text(net, None) == (
        "a span has different numbers of tokens\n"
        "  where:    every token\n"
        "  got:      6 tokens in '12+4=', 8 in '30+678='\n"
        "  expected: as many tokens in every base and source\n"
        "  do:       take one of them, such as '{b[last]}', or values that are equally long"
    )


def test_a_span_of_other_length_is_refused() -> None:
    assert text(network(), "{b}") == (
        "a span has different numbers of tokens\n"
        "  where:    position '{b}', examples 0 and 1\n"
        "  got:      1 tokens in '12+4=', 3 in '30+678='\n"
        "  expected: as many tokens in every base and source\n"
        "  do:       take one of them, such as '{b[last]}', or values that are equally long"
    )


def test_a_span_that_is_missing_is_refused() -> None:
    empty = {"a": np.array(["1", ""]), "b": np.array(["2", "3"])}
    assert text(network(), "{a}", empty) == (
        "a slot has no token of its own\n"
        "  where:    position '{a}', example 1: '+3='\n"
        "  got:      no token\n"
        "  expected: at least one token that holds characters of the slot"
    )
    assert text(network(), "{b[2]}").startswith(
        "a slot has no such token\n  where:    position '{b[2]}', example 0: '12+4='\n"
        "  got:      token 2 of the slot\n  expected: from -1 to 0"
    )


def test_a_slot_that_occurs_twice_must_be_told_apart() -> None:
    net = network("{a}+{b}={b}+")
    assert text(net, "{b}") == (
        "a slot occurs more than once\n"
        "  where:    {a}+{b}={b}+\n"
        "  got:      '{b}', which is there 2 times\n"
        "  expected: which of them: '{b@1}' to '{b@2}'"
    )
    assert text(net, "{b@3}").startswith("a slot does not occur that often\n")
    assert found(net, ["{b@1[last]}", 3]) == [["4", "+"], ["8", "+"]]
    assert found(net, "{b@2[first]}") == [["4"], ["6"]]


def test_a_token_that_holds_more_than_the_slot_is_refused() -> None:
    words = {"a": np.array(["Par"]), "b": np.array(["1"])}
    assert text(network("{a}is+{b}="), "{a}", words) == (
        "a token holds a slot and what is around it\n"
        "  where:    position '{a}', example 0: 'Paris+1='\n"
        "  got:      the token 'Paris'\n"
        "  expected: tokens that begin and end with the slot\n"
        "  do:       put a blank around the slot, or name the token by its number"
    )


def test_a_number_that_means_different_tokens_is_refused() -> None:
    assert text(network(), 5) == (
        "a number means different tokens in prompts of different length\n"
        "  where:    position 5, examples 0 and 1\n"
        "  got:      in '12+4=' (6 tokens) another part than in '30+678=' (8)\n"
        "  expected: the same part of the template in every prompt\n"
        "  do:       say what is meant: 'last', or a slot such as '{b[last]}'"
    )
    assert text(network(), -4).startswith("a number means different tokens")
    # Equally long prompts are no excuse: {a} and {b} trade a digit.
    traded = {"a": np.array([12, 3]), "b": np.array([4, 56])}
    assert text(network(), 2, traded).startswith("a number means different tokens")


def test_a_number_outside_the_prompt_is_never_padding() -> None:
    assert text(network(), -7) == (
        "a position lies outside the prompt\n"
        "  where:    example 0: '12+4='\n"
        "  got:      position -7\n"
        "  expected: from -6 to 5"
    )
    assert text(network(), 6).startswith("a position lies outside the prompt")


def test_words_that_are_no_position() -> None:
    net = network()
    assert text(net, "lst") == (
        "there is no such position\n"
        "  got:      'lst'\n"
        "  expected: 'last', 'every', a number, or a slot: '{b}', '{b[first]}', '{b[-1]}'; nearest: 'last'"
    )
    assert text(net, "{c}") == (
        "the template has no such slot\n"
        "  where:    {a}+{b}=\n"
        "  got:      '{c}'\n"
        "  expected: one of a, b; nearest: b"
    )
    assert text(net, [1.5]).startswith("a position is a number or a word\n  got:      1.5\n")
    assert text(net, []).startswith("a position names at least one token\n")


def test_a_place_without_a_sequence_has_no_such_positions() -> None:
    net = Network(M.model("qwen3"), M.tokenizer(), template=M.PROMPT, answers=M.DIGITS)
    with pytest.raises(SiteError) as raised:
        net.site("model.layers.0.self_attn.q_norm", position=-1)
    assert str(raised.value) == (
        "the place has no token positions\n"
        "  where:    model.layers.0.self_attn.q_norm\n"
        "  got:      shape (1, 3, 4, 6) for a prompt of 3 tokens\n"
        "  expected: (batch, tokens, features)\n"
        "  do:       leave position= out, or use the input or output of a projection"
    )


def test_module_paths_have_positions_by_meaning_too() -> None:
    net = network()
    path, name = (
        net.site("model.layers.1", position="{b[last]}"),
        net.site("block_output", layer=1, position="{b[last]}"),
    )
    states = capture(net, VALUES, [path, name])
    assert torch.equal(states[path], states[name])
    assert str(path) == "model.layers.1 at {b[last]}"
    apart = net.site("model.layers.1", position="{b[last]}", source_position=["last", 0])
    assert str(apart) == "model.layers.1 at {b[last]} (source at last, 0)"


def test_functions_of_the_inputs_stay_what_they_are() -> None:
    net = network()
    assert found(net, lambda values: np.full(len(values["a"]), -1)) == [["="], ["="]]


def test_words_need_a_language_model() -> None:
    net = Network(torch.nn.Linear(2, 2), encode=lambda v: torch.zeros(1, 2), answers=[0, 1])
    with pytest.raises(SiteError, match="positions are whole numbers"):
        capture(net, {"a": np.array([1])}, [net.site("", position="last")])

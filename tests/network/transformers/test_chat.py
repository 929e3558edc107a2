"""Chats: whose turn it is, braces that are words, and what a chat template does not take."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from commutes import Network
from commutes.errors import NetworkError
from commutes.network.transformers._chat import chat_template

from . import models as M

USER = {"role": "user", "content": "{a}+{b}"}
BEGUN = {"role": "assistant", "content": "x is "}
PLAIN = (
    "{% for m in messages %}{{ m['role'] }}:{{ m['content'] }}#{% endfor %}"
    "{% if add_generation_prompt %}assistant:{% endif %}"
)
VALUES = {"a": np.array([1]), "b": np.array([2])}


def tokenizer(template: str = PLAIN) -> Any:
    made = M.tokenizer(words=(*M.WORDS, "user", "assistant", "tool", "{", "}", "plusplus"))
    made.chat_template = template
    return made


def words(messages: Any, template: str = PLAIN) -> str:
    return chat_template(messages, tokenizer(template)).written({"a": "1", "b": "2"}).text


def text(messages: Any, template: str = PLAIN) -> str:
    with pytest.raises(NetworkError) as found:
        tokens = tokenizer(template)
        Network(M.model("gpt2", vocab_size=len(tokens)), tokens, template=messages, answers=M.DIGITS)
    return str(found.value)


def test_the_model_begins_its_turn_or_goes_on_with_the_one_it_has_begun() -> None:
    assert words([USER]) == "user:1+2#assistant:"
    assert words([USER, BEGUN]) == "user:1+2#assistant:x is "
    # A blank that the chat template trims is no part of the prompt.
    trimmed = PLAIN.replace("m['content']", "m['content'] | trim")
    assert words([USER, BEGUN], trimmed) == "user:1+2#assistant:x is"
    # A slot may stand in the begun turn, and at its end.
    assert words([USER, {"role": "assistant", "content": "{a} is {b}"}]) == "user:1+2#assistant:1 is 2"
    tokens = tokenizer()
    net = Network(
        M.model("gpt2", vocab_size=len(tokens)),
        tokens,
        template=[USER, BEGUN],
        answers={i: str(i) for i in range(10)},
    )
    ids = net.encode(VALUES).kwargs["input_ids"][0]
    assert tokens.convert_ids_to_tokens(ids) == [
        "user", ":", "1", "+", "2", "#", "assistant", ":", "x", " ", "is", " "
    ]  # fmt: skip


def test_it_is_the_chat_that_the_tokenizer_writes_of_the_values() -> None:
    tokens = tokenizer()
    filled = [{"role": "user", "content": "1+2"}, {"role": "assistant", "content": "x is "}]
    expected = tokens.apply_chat_template(filled, tokenize=False, continue_final_message=True)
    assert words([USER, BEGUN]) == expected
    assert words([USER]) == tokens.apply_chat_template(filled[:1], tokenize=False, add_generation_prompt=True)


def test_braces_of_the_chat_template_are_words() -> None:
    braces = "{{ '{' }}tool{{ '}' }}{% raw %}{{a}}{% endraw %}" + PLAIN
    assert words([USER], braces) == "{tool}{{a}}user:1+2#assistant:"
    # Those of the messages are written as in any template.
    escaped = [{"role": "user", "content": "{{tool}} {a:02d}+{b}"}]
    found = chat_template(escaped, tokenizer(braces))
    assert found.slots == ("a", "b")
    assert found.fill(VALUES)[0].text == "{tool}{{a}}user:{tool} 01+2#assistant:"


def test_a_slot_that_is_written_twice_is_there_twice() -> None:
    twice = "{% for m in messages %}{{ m['content'] }}:{{ m['content'] }}{% endfor %}="
    assert chat_template([USER], tokenizer(twice)).pieces_of("a") == [0, 4]


def test_what_a_chat_template_does_not_leave_as_it_is() -> None:
    assert text([USER], PLAIN.replace("m['content']", "m['content'] | upper")) == (
        "the chat template changes what is written into its messages\n"
        "  got:      'user:AB0+AB0#assistant:' with 'Ab0' in every slot\n"
        "  expected: 'user:Ab0+Ab0#assistant:'\n"
        "  do:       write the prompt as one text"
    )
    assert text([{"role": "system", "content": "{b}"}, USER], "{{ messages[1]['content'] }}=").startswith(
        "the chat template does not write a slot\n"
        "  where:    {a}+{b}=\n"
        "  got:      no slot {b}, which is in the messages\n"
    )


def test_messages_that_are_not_taken() -> None:
    refusing = "{% if messages[0]['role'] == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}"
    assert text([{"role": "system", "content": "x"}, USER], refusing + PLAIN) == (
        "the chat template does not take these messages\n"
        "  where:    roles: system, user\n"
        "  got:      System role not supported\n"
        "  expected: messages that the tokenizer's chat template has a place for\n"
        "  do:       leave out what it does not take, such as a system message, or write the prompt as one text"
    )
    # A template that drops the turn to go on with.
    assert text([USER, BEGUN], "{{ messages[0]['content'] }}=").startswith(
        "the chat template does not take these messages\n  where:    roles: user, assistant\n"
    )
    for wrong in ({"role": "user"}, {"role": "user", "content": 3}, "hello"):
        assert text([wrong]) == (
            "a chat is a list of messages\n"
            f"  got:      {wrong!r}\n"
            '  expected: messages such as {"role": "user", "content": "{a}+{b}="}'
        )
    assert text([]).startswith("a chat is a list of messages\n  got:      no message\n")
    assert text(3) == (
        "a template is a prompt or the messages of a chat\n"
        "  got:      3\n"
        '  expected: "{a}+{b}=", or messages such as {"role": "user", "content": "{a}+{b}="}'
    )
    assert text([{"role": "user", "content": "1+1"}]).startswith("the template has no slot\n")

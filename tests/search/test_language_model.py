# ruff: noqa: E501 - the texts of files and messages stand as they are
"""Language models that a spec names."""

from __future__ import annotations

import json

import pytest
import torch

from commutes.errors import SpecError
from commutes.search import build_network, load_hypothesis, read_spec
from tests.counting import HYPOTHESIS, SPEC
from tests.network.transformers import models as M


@pytest.fixture
def built(tmp_path):
    """The network of the spec with changes; the folder `model` beside it holds a random model."""
    (tmp_path / "counting.py").write_text(HYPOTHESIS)
    M.model("gpt2", dtype=torch.float32).save_pretrained(tmp_path / "model")
    M.tokenizer().save_pretrained(tmp_path / "model")
    path = tmp_path / "counting.toml"

    def made(*changes, overrides=()):
        text = SPEC
        for old, new in changes:
            assert old in text
            text = text.replace(old, new)
        path.write_text(text)
        spec = read_spec(path, given="counting.toml", overrides=overrides)
        hypothesis = load_hypothesis(spec)
        return build_network(hypothesis, spec, hypothesis.module.algorithm().check(), seed=0)

    return made


def test_a_folder_relative_to_the_spec(built, capfd):
    network = built()
    assert network.name == "model"
    assert network.answers == (0, 1, 2)
    assert str(network.language.prompt.template) == "{a}+{b}="
    assert len(network.blocks) == 3
    # Nothing of the library's own bars: progress is told in one way.
    assert capfd.readouterr() == ("", "")


def test_the_bars_of_the_library_are_as_they_were(built):
    from transformers.utils import logging

    for shown in (True, False):
        (logging.enable_progress_bar if shown else logging.disable_progress_bar)()
        built()
        assert logging.is_progress_bar_enabled() == shown
    logging.enable_progress_bar()


def test_type_and_device(built):
    network = built(overrides=['network.dtype="float64"', 'network.device="cpu"'])
    assert next(network.module.parameters()).dtype == torch.float64


@pytest.mark.parametrize("places", ['"cpu"', '{ transformer = "cpu", lm_head = "cpu" }'])
def test_a_map_of_devices(built, places):
    network = built(overrides=[f"network.device_map={places}"])
    assert {p.device.type for p in network.module.parameters()} == {"cpu"}


def test_answers_of_the_declared_number_of_tokens(built):
    assert built(overrides=["network.answer_tokens=1"]).language.prompt.length == 1


@pytest.mark.parametrize(
    ("answers", "texts"),
    [('"{}"', ["0", "1", "2"]), ('{ 0 = "x", 1 = "y", 2 = "is" }', ["x", "y", "is"])],
)
def test_answers_as_a_format_or_as_a_table(built, answers, texts):
    network = built(("[claim]", f"answers = {answers}\n\n[claim]"))
    found = [network.language.tokens[value] for value in (0, 1, 2)]
    ids = M.tokenizer().convert_tokens_to_ids(texts)
    assert [token if isinstance(token, int) else token[0] for token in found] == ids


REFUSED = [
    (("[claim]", 'answers = "{} or {}"\n\n[claim]'), ("the answers do not say where the value stands", "line 12, key network.answers", "'{} or {}'", 'text with {} in it once, such as " {}" or "{:02d}"', "write {{ and }} for braces that are no place")),
    (("[claim]", 'answers = "{0.real}"\n\n[claim]'), ("the answers do not say where the value stands", None, None, None, None)),
    (("[claim]", 'answers = "{"\n\n[claim]'), ("the answers do not say where the value stands", None, None, None, None)),
    (("[claim]", 'answers = "{:s}"\n\n[claim]'), ("the answers cannot be written as asked", None, "'{:s}': Unknown format code 's' for object of type 'int'", "a format that takes {0, 1, 2}", 'write answers = "{}", or a table from values to texts')),
    (("[claim]", 'answers = { 0 = "x", 1 = "y", 3 = "is" }\n\n[claim]'), ("the answers name 3, which is no value of the output", "line 12, key network.answers[3]", "'3'", "one text for each of 0, 1, 2", "write one text for each value")),
    (("[claim]", 'answers = { 0 = "x", 1 = "y" }\n\n[claim]'), ("the answers leave out 2", "line 12, key network.answers", "texts for 2 of 3 values", "one text for each of 0, 1, 2", "write one text for each value")),
    (("{b:02d}", "{c:02d}"), ("the prompt has a slot that is no input of the algorithm", "line 8, key network; {a}+{c}=", "{c}", "one of a, b; nearest: b", None)),
    (("+{b:02d}", ""), ("the prompt leaves out an input of the algorithm", "line 8, key network; {a}=", "no slot {b}", None, None)),
    (('"model"', '"./modell"'), ("there is no such model", "line 9, key network.pretrained", None, "a folder made by save_pretrained, or a repository such as openai-community/gpt2", "check the path; it is relative to the spec")),
    (('"model"', '"nobody/nothing"'), ("the model cannot be had", "line 9, key network.pretrained; nobody/nothing", None, None, None)),
    (("[claim]", "answer_tokens = 2\n\n[claim]"), ("an answer is not 2 tokens, as declared", "line 8, key network; answer 0", None, "answer_tokens=2", None)),
    (("[claim]", 'device_map = "cuda:7"\n\n[claim]'), ("there is no such device", None, None, None, None)),
    (("[claim]", 'device = "cuda:7"\n\n[claim]'), ("a device that is not there", "line 12, key network.device", None, "a device of this machine; every machine has cpu", "remove device, or name another")),
]  # fmt: skip


@pytest.mark.parametrize(
    ("change", "words"), REFUSED, ids=[f"{words[0]} {row}" for row, (_, words) in enumerate(REFUSED)]
)
def test_what_does_not_fit_is_told_with_its_key(built, tmp_path, change, words):
    with pytest.raises(SpecError) as caught:
        built(change)
    error = caught.value
    what, where, got, expected, fix = words
    assert error.what == what
    for found, wanted in (
        (error.where, where),
        (error.got, got),
        (error.expected, expected),
        (error.fix, fix),
    ):
        if wanted is not None:
            assert (found or "").removeprefix(f"{tmp_path / 'counting.toml'}, ") == wanted


def test_an_output_without_end_has_no_answers(built, tmp_path):
    endless = HYPOTHESIS.replace(
        'counting.add("count", left, right, f=lambda left, right: left + right, domain=[0, 1, 2], output=True)',
        "from commutes.algorithm import reals\n"
        '    counting.add("count", left, right, f=lambda left, right: 0.5 * left + right, domain=reals(), output=True)',
    )
    assert endless != HYPOTHESIS
    (tmp_path / "counting.py").write_text(endless)
    with pytest.raises(SpecError, match="a language model answers with one of finitely many texts") as caught:
        built()
    assert caught.value.fix == "build the network in the hypothesis file, with an encode of its own"


def test_code_of_a_repository_is_never_run(built, tmp_path):
    foreign = tmp_path / "foreign"
    foreign.mkdir()
    config = {
        "model_type": "own",
        "auto_map": {"AutoConfig": "code.Own", "AutoModelForCausalLM": "code.Model"},
    }
    (foreign / "config.json").write_text(json.dumps(config))
    (foreign / "code.py").write_text("raise SystemExit('it ran')\n")
    with pytest.raises(SpecError, match="the model asks to run code of its own") as caught:
        built(('"model"', '"foreign"'))
    assert "key network.pretrained" in (caught.value.where or "")


def test_a_layer_beyond_the_last_is_told_before_the_weights_are_read(built, tmp_path):
    (tmp_path / "model" / "model.safetensors").write_bytes(b"no weights at all")
    with pytest.raises(SpecError) as caught:
        built(('layers = "all"', "layers = [0, 99]"))
    error = caught.value
    assert (error.what, error.expected) == ("the network has no layer 99", "0 to 2: model has 3 blocks")
    assert "key claim.layers[1]" in (error.where or "")

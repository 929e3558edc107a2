"""Dictionaries from files, in the layouts in which they are published."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from commutes.errors import ArtefactError
from commutes.features import load_dictionary, random_raw

D, M = 4, 9
ENCODER, DECODER = random_raw(D, M, 0), random_raw(M, D, 1)
B_ENC, B_DEC = random_raw(M, 1, 2)[:, 0].contiguous(), random_raw(D, 1, 3)[:, 0].contiguous()
THRESHOLD = torch.full((M,), 0.7)
STATES = random_raw(20, D, 4)

PLAIN = {"W_enc": ENCODER, "b_enc": B_ENC, "W_dec": DECODER, "b_dec": B_DEC}
LINEAR = {"encoder.weight": ENCODER.T, "encoder.bias": B_ENC, "W_dec": DECODER, "b_dec": B_DEC}


def _file(folder: Path, tensors: dict[str, torch.Tensor], config: Any = None) -> Path:
    save_file({n: t.contiguous().clone() for n, t in tensors.items()}, folder / "sae.safetensors")
    if config is not None:
        (folder / "cfg.json").write_text(config if isinstance(config, str) else json.dumps(config))
    return folder / "sae.safetensors"


def _pre(subtracted: bool) -> torch.Tensor:
    return (STATES - B_DEC if subtracted else STATES) @ ENCODER + B_ENC


def test_saelens_standard(tmp_path: Path) -> None:
    for apply in (True, False):
        path = _file(tmp_path, PLAIN, {"architecture": "standard", "apply_b_dec_to_input": apply})
        found = load_dictionary(path)
        assert torch.allclose(found.encode(STATES), _pre(apply).relu())
        latents = found.encode(STATES)
        assert torch.allclose(found.decode(latents), latents @ DECODER + B_DEC)


def test_jumprelu_with_thresholds(tmp_path: Path) -> None:
    path = _file(tmp_path, {**PLAIN, "threshold": THRESHOLD})
    found = load_dictionary(path, subtract_bias=False)
    pre = _pre(False)
    assert torch.allclose(found.encode(STATES), pre * (pre > 0.7))
    assert bool(((pre > 0) & (pre < 0.7)).any())


@pytest.mark.parametrize(
    "config", [{"architecture": "topk", "k": 3}, {"activation_fn": "topk", "activation_fn_kwargs": {"k": 3}}]
)
def test_topk(tmp_path: Path, config: dict[str, Any]) -> None:
    found = load_dictionary(_file(tmp_path, PLAIN, {**config, "apply_b_dec_to_input": True}))
    pre = _pre(True).relu()
    kept = torch.zeros_like(pre).scatter(-1, pre.topk(3).indices, pre.topk(3).values)
    assert torch.allclose(found.encode(STATES), kept)
    by_argument = load_dictionary(_file(tmp_path, PLAIN, "{}"), activation="topk", k=3, subtract_bias=True)
    assert torch.equal(by_argument.encode(STATES), found.encode(STATES))


def test_sparsify_writes_k_and_always_subtracts(tmp_path: Path) -> None:
    found = load_dictionary(_file(tmp_path, LINEAR, {"k": 3, "d_in": 4, "expansion_factor": 2}))
    assert found.largest == 3
    assert torch.equal(found.before, B_DEC)
    assert torch.equal(found.encoder, ENCODER)


@pytest.mark.parametrize(
    "names",
    [
        {"encoder.weight": ENCODER.T, "latent_bias": B_ENC, "decoder.weight": DECODER.T, "pre_bias": B_DEC},
        {"encoder.weight": ENCODER.T, "encoder.bias": B_ENC, "decoder.weight": DECODER.T, "bias": B_DEC},
    ],
    ids=["pre_bias", "bias"],
)
def test_layers_with_a_bias_that_is_always_subtracted(tmp_path: Path, names: dict[str, torch.Tensor]) -> None:
    found = load_dictionary(_file(tmp_path, names), activation="relu")
    assert torch.allclose(found.encode(STATES), _pre(True).relu())
    assert torch.allclose(found.decode(found.encode(STATES)), _pre(True).relu() @ DECODER + B_DEC)


def test_a_tied_dictionary_decodes_with_its_encoder(tmp_path: Path) -> None:
    found = load_dictionary(_file(tmp_path, {"W_enc": ENCODER}), activation="relu")
    assert torch.equal(found.decoder, ENCODER.T)
    assert not found.encoder_bias.any()
    assert not found.decoder_bias.any()


# What a file does not say is not guessed.


def _said(path: Path, **options: Any) -> str:
    with pytest.raises(ArtefactError) as caught:
        load_dictionary(path, **options)
    return str(caught.value)


def test_an_activation_that_nobody_names(tmp_path: Path) -> None:
    path = _file(tmp_path, PLAIN)
    assert _said(path) == (
        "the dictionary's file does not say enough\n"
        f"  where:    {path}\n"
        "  got:      no thresholds, and nothing in cfg.json\n"
        "  expected: the activation behind the encoder\n"
        '  do:       say activation="relu" or "topk" with k='
    )
    path = _file(tmp_path, PLAIN, {"architecture": "gated"})
    assert "cfg.json says 'gated'" in _said(path)
    assert "a JumpReLU without thresholds" in _said(path, activation="jumprelu", subtract_bias=True)
    assert "how many latents a TopK dictionary keeps" in _said(path, activation="topk", subtract_bias=True)
    assert "at most all" in _said(path, activation="topk", k=99, subtract_bias=True)


def test_a_bias_of_which_nobody_says_whether_it_is_subtracted(tmp_path: Path) -> None:
    path = _file(tmp_path, PLAIN)
    said = _said(path, activation="relu")
    assert "a bias of the decoder, and nothing in cfg.json" in said
    assert "say subtract_bias=True or False: published dictionaries do either" in said
    without = _file(tmp_path, {**PLAIN, "b_dec": torch.zeros(D)})
    assert torch.allclose(load_dictionary(without, activation="relu").encode(STATES), _pre(False).relu())


@pytest.mark.parametrize(
    "setting",
    [
        {"normalize_activations": "layer_norm"},
        {"skip_connection": True},
        {"rescale_acts_by_decoder_norm": True},
    ],
)
def test_a_dictionary_that_does_more_is_refused(tmp_path: Path, setting: dict[str, Any]) -> None:
    path = _file(tmp_path, PLAIN, {"architecture": "standard", "apply_b_dec_to_input": True, **setting})
    said = _said(path)
    assert said.startswith("the dictionary does more than encode and decode")
    (name,) = setting
    assert f"{name} = {setting[name]!r}" in said


@pytest.mark.parametrize(
    "tensors",
    [
        {"W_gate": ENCODER, **PLAIN},
        {"W_dec": DECODER},
        {"W_enc": ENCODER, "encoder.weight": ENCODER.T},
        {"W_enc": B_ENC},
    ],
    ids=["strange", "no encoder", "two encoders", "no matrix"],
)
def test_tensors_that_make_no_dictionary(tmp_path: Path, tensors: dict[str, torch.Tensor]) -> None:
    said = _said(_file(tmp_path, tensors), activation="relu", subtract_bias=True)
    assert said.startswith("these tensors make no dictionary that is known")
    assert all(f"{name} {tuple(t.shape)}" in said for name, t in tensors.items())


def test_tensors_of_another_shape(tmp_path: Path) -> None:
    path = _file(tmp_path, {**PLAIN, "W_dec": DECODER.T})
    said = _said(path, activation="relu", subtract_bias=True)
    assert said.startswith("the parts of the dictionary do not fit together")
    assert f"where:    {path}, decoder" in said


def test_files_that_are_none(tmp_path: Path) -> None:
    assert "sae.safetensors" in _said(tmp_path / "sae.safetensors")
    (tmp_path / "sae.safetensors").write_bytes(b"\x80\x04 a pickle")
    assert "safetensors; a pickle is never opened" in _said(tmp_path / "sae.safetensors")
    path = _file(tmp_path, PLAIN, "{")
    assert "restore it, or move it away" in _said(path)
    path = _file(tmp_path, PLAIN, "[]")
    assert "a JSON object" in _said(path)


@pytest.mark.parametrize(
    ("config", "largest"),
    [
        ({"architecture": "standard", "activation_fn_str": "topk", "activation_fn_kwargs": {"k": 2}}, 2),
        ({"architecture": "standard", "activation_fn": "topk", "k": 3}, 3),
        ({"architecture": "standard", "activation_fn_str": "relu"}, None),
        ({"architecture": "standard"}, None),
    ],
)
def test_what_names_the_function_counts_before_the_architecture(
    tmp_path: Path, config: dict[str, Any], largest: int | None
) -> None:
    found = load_dictionary(_file(tmp_path, PLAIN, config), subtract_bias=True)
    assert found.largest == largest


@pytest.mark.parametrize(
    "config",
    [
        {"architecture": "topk", "activation_fn_str": "relu", "k": 2},
        {"architecture": "standard", "activation_fn_str": "tanh-relu"},
        {"architecture": ["standard"]},
        {"architecture": "gated"},
    ],
)
def test_functions_that_contradict_each_other_or_are_unknown_are_refused(
    tmp_path: Path, config: dict[str, Any]
) -> None:
    with pytest.raises(ArtefactError, match="does not say enough"):
        load_dictionary(_file(tmp_path, PLAIN, config), subtract_bias=True)


@pytest.mark.parametrize(
    ("config", "said"),
    [({"architecture": "topk", "k": 5}, "topk"), ({"architecture": "temporal"}, "'temporal'")],
)
def test_thresholds_of_what_is_said_to_be_another_function_are_refused(
    tmp_path: Path, config: dict[str, Any], said: str
) -> None:
    path = _file(tmp_path, {**PLAIN, "threshold": THRESHOLD}, config)
    with pytest.raises(ArtefactError) as caught:
        load_dictionary(path, subtract_bias=True)
    assert f"thresholds, and cfg.json says {said}" in str(caught.value)
    # What is asked for counts.
    assert load_dictionary(path, subtract_bias=True, activation="jumprelu").threshold is not None


def test_arguments_that_make_no_sense_are_refused(tmp_path: Path) -> None:
    path = _file(tmp_path, PLAIN, {"architecture": "standard"})
    known: dict[str, Any] = {"subtract_bias": True}
    with pytest.raises(ArtefactError, match="no such activation"):
        load_dictionary(path, activation="gelu", **known)  # type: ignore[arg-type]
    with pytest.raises(ArtefactError, match="k is of a TopK dictionary alone"):
        load_dictionary(path, activation="relu", k=5, **known)


def test_weights_that_are_whole_numbers_are_refused(tmp_path: Path) -> None:
    whole = {name: (8 * tensor).to(torch.int32) for name, tensor in PLAIN.items()}
    with pytest.raises(ArtefactError, match="no floating-point numbers"):
        load_dictionary(_file(tmp_path, whole, {"architecture": "standard"}), subtract_bias=True)


def test_numbers_that_are_not_finite_are_refused(tmp_path: Path) -> None:
    broken = {name: tensor.clone() for name, tensor in PLAIN.items()}
    broken["W_dec"][0, 0] = torch.nan
    with pytest.raises(ArtefactError, match="numbers that are not finite"):
        load_dictionary(_file(tmp_path, broken, {"architecture": "standard"}), subtract_bias=True)

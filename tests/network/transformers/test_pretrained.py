"""Models from a folder, and the errors where there is none: nothing is fetched, nothing of theirs is run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import huggingface_hub.constants
import numpy as np
import pytest
import torch

from commutes import Network
from commutes.errors import NetworkError

from . import models as M

VALUES = {"a": np.array([12, 3]), "b": np.array([4, 56])}


def folder(path: Path, family: str) -> str:
    M.model(family, dtype=torch.float32).save_pretrained(path)
    M.fitting_tokenizer(family).save_pretrained(path)
    return str(path)


@pytest.mark.parametrize("family", ["gpt2", "llama", "bert"])
def test_a_folder_is_read_back(tmp_path: Path, family: str) -> None:
    network = Network.pretrained(folder(tmp_path, family), template=M.prompt(family), answers=M.DIGITS)
    own = M.network(family, dtype=torch.float32)
    assert not network.module.training
    with torch.no_grad():
        found, expected = (
            n.logits_of(n.module(**n.encode(VALUES).kwargs, **n.options)) for n in (network, own)
        )
    assert (found - expected).abs().max() < 1e-5
    assert network.name == str(tmp_path)


def test_the_dtype_is_as_asked(tmp_path: Path) -> None:
    name = folder(tmp_path, "gpt2")
    for dtype in ("bfloat16", torch.float64):
        network = Network.pretrained(name, template=M.PROMPT, answers=M.DIGITS, dtype=dtype)
        assert next(network.module.parameters()).dtype == (torch.bfloat16 if dtype == "bfloat16" else dtype)


def test_a_model_that_is_not_in_the_cache_while_offline(monkeypatch: pytest.MonkeyPatch) -> None:
    # The hub's library reads the switch when it is imported.
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(NetworkError) as found:
        Network.pretrained("nobody/nothing", template="{a}", answers={0: "0", 1: "1"})
    lines = str(found.value).splitlines()
    assert lines[:2] == ["the model cannot be had", "  where:    nobody/nothing"]
    assert lines[2].endswith("; offline, by HF_HUB_OFFLINE")
    assert lines[3:] == [
        "  expected: a repository of the hub, one in its cache, or a folder made by save_pretrained",
        "  do:       fetch it where there is a network: hf download nobody/nothing",
    ]


def test_code_of_the_repository_is_never_run(tmp_path: Path) -> None:
    config = {
        "model_type": "own",
        "auto_map": {"AutoConfig": "code.Own", "AutoModelForCausalLM": "code.Model"},
    }
    (tmp_path / "config.json").write_text(json.dumps(config))
    (tmp_path / "code.py").write_text("raise SystemExit('it ran')\n")
    with pytest.raises(NetworkError) as found:
        Network.pretrained(str(tmp_path), template=M.PROMPT, answers=M.DIGITS)
    assert str(found.value) == (
        "the model asks to run code of its own\n"
        f"  where:    {tmp_path}\n"
        "  got:      a repository with Python code\n"
        "  expected: an architecture that transformers has\n"
        "  do:       load the model yourself if you trust it, and give it as Network(model, tokenizer, ...)"
    )


def refused(name: str, **asked: Any) -> list[str]:
    with pytest.raises(NetworkError) as found:
        Network.pretrained(name, template=M.PROMPT, answers=M.DIGITS, **asked)
    return str(found.value).splitlines()


@pytest.mark.parametrize(
    ("device_map", "device"),
    [
        ("cuda:97", "cuda:97"),
        ({"model": "cpu", "": "cuda:97"}, "cuda:97"),
        ("gpu", "gpu"),
        ("", ""),
        ({"": 97}, "97"),
    ],
)
def test_a_device_that_is_not_there(device_map: Any, device: str) -> None:
    # Nothing is looked for by this name: it is said before.
    lines = refused("nobody/nothing", device_map=device_map)
    assert lines[:2] == ["there is no such device", "  where:    device_map= of nobody/nothing"]
    assert lines[2].startswith(f"  got:      {device!r}: ")
    assert lines[3].startswith("  expected: one of cpu")
    assert lines[3].endswith(", or 'auto'")
    assert lines[4:] == ["  do:       leave device_map= out to load on the processor"]


def test_cuda_where_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    if torch.cuda.is_available():
        monkeypatch.setattr(torch, "empty", lambda *_, **__: torch.ones(1).cuda(97))
    assert refused("nobody/nothing", device_map="cuda")[2].startswith("  got:      'cuda': ")


def test_weights_that_would_stay_on_the_disk() -> None:
    for device in ("disk", "meta"):
        lines = refused("nobody/nothing", device_map={"model": "cpu", "lm_head": device})
        assert lines[2] == f"  got:      {device!r}: weights would stay on the disk"


def test_devices_that_are_there(tmp_path: Path) -> None:
    name = folder(tmp_path, "gpt2")
    for device_map in ("cpu", "auto", {"": "cpu"}):
        made = Network.pretrained(name, template=M.PROMPT, answers=M.DIGITS, device_map=device_map)
        assert made.encode(VALUES).n == 2


@pytest.mark.parametrize(
    ("dtype", "rest"),
    [
        ("float17", "; nearest: float16"),
        ("bf16", "; nearest: bfloat16"),
        ("int8", ""),
        (torch.int8, ""),
        (16, ""),
    ],
)
def test_a_type_that_is_none(dtype: Any, rest: str) -> None:
    lines = refused("nobody/nothing", dtype=dtype)
    assert lines[:3] == [
        "no such type of weights",
        "  where:    dtype= of nobody/nothing",
        f"  got:      {dtype!r}",
    ]
    assert lines[3].startswith("  expected: one of float16, bfloat16, float32, float64, auto")
    assert lines[3].endswith(rest)


def test_a_folder_that_cannot_be_read(tmp_path: Path) -> None:
    name = folder(tmp_path, "gpt2")
    weights = tmp_path / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:5])
    lines = refused(name)
    assert lines[:2] == ["the model cannot be loaded", f"  where:    {name}"]
    assert lines[2].startswith("  got:      SafetensorError: ")
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "nosuch"}))
    lines = refused(name)
    assert lines[0] == "the model cannot be loaded"
    assert "`nosuch`" in lines[2]
    assert lines[3:] == [
        "  expected: a model and a tokenizer as save_pretrained writes them, of this or an earlier transformers",
        "  do:       load it with transformers alone to see all that it says, and give it as Network(model, tokenizer)",
    ]


def test_code_of_a_repository_is_never_run() -> None:
    assert refused("nobody/nothing", trust_remote_code=True) == [
        "code of a repository's own is never run",
        "  where:    nobody/nothing",
        "  got:      trust_remote_code=True",
        "  expected: a model that transformers itself has the code of",
        "  do:       read that code, load the model yourself, and hand it over: Network(model, tokenizer, ...)",
    ]

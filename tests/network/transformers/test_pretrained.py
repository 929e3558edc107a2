"""Models from a folder, and the errors where there is none: nothing is fetched, nothing of theirs is run."""

from __future__ import annotations

import json
from pathlib import Path

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

"""A tiny GPT-2 that counts how many of two numbers are large, with a spec for it: what a run of a language model is."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
import transformers as hf

from tests.network.transformers import models as M

TEMPLATE = "{a:02d}+{b:02d}="

HYPOTHESIS = '''\
"""How many of two numbers below twenty are ten or more."""

from commutes.algorithm import Algorithm


def algorithm():
    counting = Algorithm("large numbers")
    a, b = counting.inputs("a b", domain=range(20))
    left = counting.add("left", a, f=lambda a: a > 9, domain=[False, True])
    right = counting.add("right", b, f=lambda b: b > 9, domain=[False, True])
    counting.add("count", left, right, f=lambda left, right: left + right, domain=[0, 1, 2], output=True)
    return counting
'''

SPEC = f"""\
format = 1
name = "counting"
seed = 1

[algorithm]
file = "counting.py"

[network]
pretrained = "model"
template = "{TEMPLATE}"

[claim]
variables = ["left"]
layers = "all"
positions = ["{{a[first]}}", "last"]
sizes = [1, 2]

[data]
pairs = 400

[fit]
steps = 20
batch = 32
starts = 1
lr = 0.05

[challenge]
level = "R1"
"""


def save_model(folder: Path) -> None:
    """Train the model on all 400 inputs, and save it with its tokenizer."""
    tokenizer = M.tokenizer()
    config = hf.GPT2Config(
        vocab_size=M.VOCABULARY, n_embd=16, n_layer=2, n_head=2, n_positions=12, bos_token_id=2, eos_token_id=3,
        resid_pdrop=0, embd_pdrop=0, attn_pdrop=0,
    )  # fmt: skip
    inputs = np.stack(np.meshgrid(np.arange(20), np.arange(20), indexing="ij"), axis=-1).reshape(-1, 2)
    ids = torch.tensor(tokenizer([TEMPLATE.format(a=a, b=b) for a, b in inputs])["input_ids"])
    targets = torch.tensor(tokenizer.convert_tokens_to_ids([str(n) for n in (inputs > 9).sum(axis=1)]))
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = hf.GPT2LMHeadModel(config).eval()
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-2)
    right = 0.0
    for _ in range(400):
        logits = model(ids, logits_to_keep=1).logits[:, -1]
        right = float((logits.argmax(dim=-1) == targets).float().mean())
        if right == 1:
            break
        optimiser.zero_grad()
        torch.nn.functional.cross_entropy(logits, targets).backward()
        optimiser.step()
    assert right == 1, "the model that the tests stand on has not learnt its task"
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def project(folder: Path, model: Path) -> Path:
    """A user's folder with the hypothesis, the spec and the model; the path of the spec."""
    folder.mkdir()
    (folder / "counting.py").write_text(HYPOTHESIS)
    (folder / "counting.toml").write_text(SPEC.replace('"model"', f'"{model}"'))
    return folder / "counting.toml"

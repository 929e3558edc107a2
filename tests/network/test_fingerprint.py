"""Networks that compute the same have one fingerprint in every process; those that do not have two."""

from __future__ import annotations

import functools
import os
import subprocess
import sys
import types
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from commutes.network import MLP, Network

FILE = """
import numpy as np, torch
from torch import nn
from commutes.network import Network

SCALE, ORDER = 2.0, {"b": 1, "a": 0}

class Net(nn.Module):
    def __init__(self, kind, share):
        super().__init__()
        self.kind, self.share = kind, share
        self.head = nn.Linear(2, 2)

    def forward(self, x):
        return self.head(x * self.share)

class Encode:
    def __init__(self, table):
        self.table, self.names = table, {"a", "b", "c", "d"}

    def __call__(self, values):
        return self.table[values["a"]] * SCALE

def helper(values):
    return {"x", "y", "z"} and Encode(torch.eye(2))(values)

def encode(values):
    return helper(values)

def network(kind="softmax", share=1.0, encode=encode):
    torch.manual_seed(0)
    return Network(Net(kind, share), encode=encode, answers=[False, True])
"""


def loaded(text: str = FILE, name: str = "first") -> types.ModuleType:
    module = types.ModuleType(name)
    exec(compile(text, f"{name}.py", "exec"), vars(module))
    return module


def test_a_network_rebuilt_from_its_file_has_the_same() -> None:
    first, second = loaded(), loaded(name="another")
    assert first.network().fingerprint == second.network().fingerprint
    tables = [first.Encode(torch.eye(2)), second.Encode(torch.eye(2))]
    one, two = (m.network(encode=t).fingerprint for m, t in zip((first, second), tables, strict=True))
    assert one == two


def test_plain_attributes_of_modules_count() -> None:
    file = loaded()
    found = [file.network(), file.network(kind="constant"), file.network(share=0.5)]
    assert len({network.fingerprint for network in found}) == 3


def test_neither_mode_nor_hooks_nor_gradients_count() -> None:
    network = loaded().network()
    before = network.fingerprint
    network.module.eval().requires_grad_(False)
    handle = network.module.head.register_forward_hook(lambda *_: None)
    assert network.fingerprint == before
    handle.remove()


def test_how_it_is_read_counts() -> None:
    module = MLP([2, 3, 2], seed=0)

    def encode(values: dict[str, np.ndarray]) -> torch.Tensor:
        return torch.zeros(len(values["a"]), 2)

    def other(values: dict[str, np.ndarray]) -> torch.Tensor:
        return torch.ones(len(values["a"]), 2)

    found = [
        Network(module, encode=encode, answers=[False, True]),
        Network(module, encode=encode, answers=[True, False]),
        Network(module, encode=encode, answers=[0, 1]),
        Network(module, encode=encode, answers=[False, True], read="head"),
        Network(module, encode=encode, answers=[False, True], read=-1),
        Network(module, encode=encode, answers=[False, True], blocks="layers"),
        Network(module, encode=other, answers=[False, True]),
        Network(module, encode=encode, decode=lambda logits: logits.argmax(1).tolist()),
        Network(module, encode=encode, decode=lambda logits: logits.argmin(1).tolist()),
    ]
    assert len({network.fingerprint for network in found}) == len(found)


@dataclass
class Prompt:
    """A callable that is a dataclass."""

    text: str
    inner: object = None

    def __call__(self, values: dict[str, np.ndarray]) -> torch.Tensor:
        return torch.zeros(len(values["a"]), 2)

    def read(self, values: dict[str, np.ndarray]) -> torch.Tensor:
        return torch.ones(len(values["a"]), 2)


def test_what_an_encoding_carries_counts() -> None:
    module = MLP([2, 3, 2], seed=0)

    def made(table: object, *, default: int = 0):
        def encode(values, *, which=default):
            return torch.as_tensor(table)[values["a"] + which]

        return encode

    def scaled(values, by):
        return torch.zeros(len(values["a"]), 2) * by

    eye = np.eye(2)
    file = loaded()
    changed = loaded(FILE.replace("SCALE, ORDER = 2.0", "SCALE, ORDER = 3.0"))
    deeper = loaded(FILE.replace('{"x", "y", "z"}', '{"x", "y"}'))
    encodings = [
        made(eye), made(eye + 1), made(torch.eye(2)), made([[0, 1]]), made(eye, default=1),
        functools.partial(scaled, by=1), functools.partial(scaled, by=2),
        Prompt("{a}+"), Prompt("{a}-"), Prompt("{a}+", Prompt("")), Prompt("{a}+").read, Prompt("{a}-").read,
        file.Encode(torch.eye(2)), file.Encode(torch.zeros(2, 2)), changed.Encode(torch.eye(2)),
        file.encode, deeper.encode, nn.Linear(1, 2), torch.zeros, np.asarray,
    ]  # fmt: skip
    found = {Network(module, encode=e, answers=[False, True]).fingerprint for e in encodings}
    assert len(found) == len(encodings)
    again = Network(module, encode=made(np.eye(2)), answers=[False, True])
    assert again.fingerprint == Network(module, encode=encodings[0], answers=[False, True]).fingerprint


def test_functions_that_call_each_other_come_to_an_end() -> None:
    text = "def even(n):\n    return n == 0 or odd(n - 1)\n\ndef odd(n):\n    return n != 0 and even(n - 1)\n"
    file = loaded(text)
    assert Network(MLP([2, 3, 2], seed=0), encode=file.even, answers=[0, 1]).fingerprint


def test_it_is_the_same_in_every_process() -> None:
    code = FILE + "\nprint(network().fingerprint, network(encode=Encode(torch.eye(2))).fingerprint)"
    said = [
        subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    ]
    file = loaded()
    here = f"{file.network().fingerprint} {file.network(encode=file.Encode(torch.eye(2))).fingerprint}\n"
    assert said == [here, here]

"""A small project of a user's: a spec and a hypothesis file in a folder of their own."""

from __future__ import annotations

from pathlib import Path

import pytest

SPEC = """\
format = 1
name = "and or"
seed = 3

[algorithm]
file = "gate.py"

[claim]
variables = ["both"]
layers = [0, 1]
sizes = [1, 2]

[data]
pairs = 400

[fit]
lr = 0.05
"""

HYPOTHESIS = '''\
"""(a and b) or c, over four values each so that there are inputs to divide."""

from commutes.algorithm import Algorithm


def algorithm(values=6):
    gate = Algorithm("gate")
    a, b, c = gate.inputs("a b c", domain=range(values))
    both = gate.add("both", a, b, f=lambda a, b: a % 2 == 1 and b % 2 == 1, domain=[False, True])
    gate.add("out", both, c, f=lambda both, c: both or c % 3 == 0, domain=[False, True], output=True)
    return gate


def network(algorithm, *, seed, width=8):
    import numpy as np
    import torch
    from torch import nn

    from commutes.network import Network

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.layers = nn.ModuleList([nn.Linear(3, width), nn.Linear(width, width)])
            self.head = nn.Linear(width, 2)

        def forward(self, x):
            for layer in self.layers:
                x = torch.relu(layer(x))
            return self.head(x)

    def encode(values):
        return torch.tensor(np.stack([values[name] for name in "abc"], axis=1), dtype=torch.float32)

    with torch.random.fork_rng():
        torch.manual_seed(seed)
        module = Net()
    return Network(module, encode=encode, answers=[False, True], blocks="layers", name="small MLP")


def train(network, algorithm, *, seed, progress=None):
    if progress is not None:
        progress(1, 1, {"loss": 0.5})
    return network
'''


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """The folder of the project; its spec is and_or.toml."""
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "and_or.toml").write_text(SPEC)
    (folder / "gate.py").write_text(HYPOTHESIS)
    return folder


@pytest.fixture
def spec_path(project: Path) -> Path:
    return project / "and_or.toml"

"""The hypothesis files, loaded as a user's file is, and an interchange that shares no code with ours."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch

from commutes.counterfactuals import Counterfactuals
from commutes.network import Network

ROOT = Path(__file__).resolve().parents[2]
Where = Mapping[str, tuple[int, ...]]


def load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, ROOT / "algorithms" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def equality() -> ModuleType:
    return load("equality")


@pytest.fixture(scope="session")
def boolean() -> ModuleType:
    return load("boolean")


@pytest.fixture(scope="session")
def modular() -> ModuleType:
    return load("modular_addition")


@pytest.fixture(scope="session")
def addition() -> ModuleType:
    return load("addition")


@pytest.fixture(scope="session")
def name_mover() -> ModuleType:
    return load("name_mover")


@pytest.fixture(scope="session")
def multiple_choice() -> ModuleType:
    return load("multiple_choice")


def interchanged(network: Network, pairs: Counterfactuals, path: str, where: Where) -> np.ndarray:
    """Whether each pair comes out as expected when these neurons take their values from the sources."""
    fed = network.encode(pairs.algorithm.arrays(pairs.inputs)).args[0]
    module = network.module.get_submodule(path)
    seen: list[torch.Tensor] = []
    with torch.no_grad():
        handle = module.register_forward_hook(lambda _m, _a, output: seen.append(output))
        network.module(fed)
        handle.remove()
        edited = seen[0][torch.from_numpy(pairs.base)]
        for variable in pairs.variables:
            rows = np.flatnonzero(pairs.swapped(variable))
            sources = torch.from_numpy(pairs.source_of(variable)[rows])
            for neuron in where[variable.name]:
                edited[rows, neuron] = seen[0][sources, neuron]
        handle = module.register_forward_hook(lambda _m, _a, _output: edited)
        logits = network.logits_of(network.module(fed[torch.from_numpy(pairs.base)]))
        handle.remove()
    return logits.argmax(1).numpy() == pairs.expected


@pytest.fixture(scope="session")
def interchange() -> Callable[[Network, Counterfactuals, str, Where], np.ndarray]:
    return interchanged

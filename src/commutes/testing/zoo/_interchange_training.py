"""Training of a network to implement one algorithm and not another with the same function.

The loss is the cross-entropy of the plain answers, of the answers after interchanges of the units that are to carry
each variable, alone and together, and of the base's answers after the other units have been taken from elsewhere.
See Inducing Causal Structure for Interpretable Neural Networks, arXiv 2112.00826.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from commutes.algorithm import Columns
from commutes.network import MLP
from commutes.testing.zoo._arms import LAYER, UNITS, WIDTH, Arm, OneHot

STEPS, BATCH, RATE = 2_000, 256, 3e-3


def trained(arm: Arm, *, seed: int, steps: int = STEPS) -> MLP:
    """A network that implements the arm's algorithm: its variables in the first units of hidden layer `LAYER`.

    Args:
        arm: What is implemented.
        seed: Of the weights and of the batches.
        steps: Optimiser steps of Adam, the learning rate falling to 0 by a cosine.
    """
    module = MLP([len(arm.inputs) * arm.size, WIDTH, WIDTH, WIDTH, 2], seed=seed)
    optimiser = torch.optim.Adam(module.parameters(), lr=RATE)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    rows = arm.algorithm.run(arm.algorithm.enumerate_inputs())
    encoded = OneHot(arm.inputs, arm.size)(arm.algorithm.arrays({name: rows[name] for name in arm.inputs}))
    rng = np.random.default_rng([seed, 103])
    threads = torch.get_num_threads()
    # The bits of a sum depend on how it is divided among threads.
    torch.set_num_threads(1)
    try:
        for _ in range(steps):
            loss = torch.stack([*_losses(module, arm, rows, encoded, rng)]).sum()
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
    finally:
        torch.set_num_threads(threads)
    return module.requires_grad_(True).eval()


def _losses(
    module: MLP, arm: Arm, rows: Columns, encoded: torch.Tensor, rng: np.random.Generator
) -> Iterator[torch.Tensor]:
    base, *sources = (rng.integers(len(encoded), size=BATCH) for _ in range(len(arm.variables) + 2))
    state = _below(module, encoded[base])
    taken = [_below(module, encoded[source]) for source in sources]
    yield _loss(_above(module, state), arm, rows, base, {})
    alone = [{name} for name in arm.variables]
    for swapped in (*alone, set(arm.variables)):
        mixed, do = state.clone(), {}
        for i, name in enumerate(arm.variables):
            if name in swapped:
                units = slice(i * UNITS, (i + 1) * UNITS)
                mixed[:, units] = taken[i][:, units]
                do[name] = sources[i]
        yield _loss(_above(module, mixed), arm, rows, base, do)
    rest = slice(len(arm.variables) * UNITS, None)
    mixed = state.clone()
    mixed[:, rest] = taken[-1][:, rest]
    yield _loss(_above(module, mixed), arm, rows, base, {})


def _loss(
    logits: torch.Tensor, arm: Arm, rows: Columns, base: np.ndarray, do: dict[str, np.ndarray]
) -> torch.Tensor:
    """Cross-entropy to the algorithm's answer for the bases, variables in `do` as they are for those inputs."""
    chosen = {name: rows[name][base] for name in arm.inputs}
    values = {name: rows[name][source] for name, source in do.items()}
    answers = arm.algorithm.run(chosen, values)[arm.algorithm.output_variable.name]
    return functional.cross_entropy(logits, torch.from_numpy(answers))


def _below(module: MLP, x: torch.Tensor) -> torch.Tensor:
    for layer in module.layers[: LAYER + 1]:
        x = layer(x)
    return x


def _above(module: MLP, state: torch.Tensor) -> torch.Tensor:
    for layer in module.layers[LAYER + 1 :]:
        state = layer(state)
    head: nn.Module = module.head
    return head(state)

"""Training of a language model on an algorithm's own inputs: prompts, and answers behind them."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from commutes.errors import FitError
from commutes.network._examples import draw_inputs, minibatches
from commutes.network._train import Course, Progress, alone, descend
from commutes.network.transformers._sequences import (
    continuing,
    language_examples,
    read_sequences,
    right,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from commutes.algorithm import Algorithm
    from commutes.counterfactuals import Distribution
    from commutes.network._network import Network

# Added to the seed before inputs are held out, so that they are none of the parts into which counterfactuals of
# the same seed are split.
_HELD_OUT = 2**32

# How often in a training, and on how many held-out draws at most, the accuracy is measured.
_LOOKS, _LOOKED_AT = 10, 1_000


def untrained_model(config: Any, *, seed: int) -> Any:
    """A causal language model of a configuration, in evaluation mode, with weights drawn from the seed.

    Args:
        config: A transformers.PretrainedConfig, such as GPT2Config or LlamaConfig.
        seed: Of the weights; the global generator stays as it was.
    """
    from transformers import AutoModelForCausalLM

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return AutoModelForCausalLM.from_config(config).eval()


def held_out(
    algorithm: Algorithm, inputs: Mapping[str, np.ndarray], *, share: float = 0.1, seed: int = 0
) -> np.ndarray:
    """Which inputs a training with this share and seed never sees; by input, whatever is drawn.  # shape: (n,)

    Raises:
        FitError: A share that is none.
    """
    from commutes.counterfactuals._codes import unit

    if isinstance(share, bool) or not isinstance(share, int | float) or not 0 <= share < 1:
        raise FitError("held_out is a share of the inputs", got=repr(share), expected="from 0 to less than 1")
    return unit(algorithm.input_ids(dict(inputs)), seed + _HELD_OUT) < share


def train_language(
    network: Network,
    algorithm: Algorithm,
    *,
    steps: int,
    batch: int = 128,
    lr: float = 1e-3,
    warmup: float = 0.1,
    weight_decay: float = 0.1,
    clip: float | None = 1.0,
    distribution: str | Distribution = "values",
    draws: int = 65_536,
    share: float = 0.1,
    whole: bool = False,
    seed: int = 0,
    progress: Progress | None = None,
) -> Network:
    """A trained copy of a language model: AdamW on the cross-entropy of the answers' tokens behind the prompts.

    The learning rate rises, then falls to zero as a cosine. It runs on one thread; the network, the global
    generators, the number of threads and the gradient mode are afterwards as they were.

    Args:
        network: A language model that continues prompts; its template and answers make the examples.
        algorithm: Whose inputs are written into the prompts, and whose output is the right answer.
        steps: Number of optimiser steps.
        batch: Prompts in a step.
        lr: Highest learning rate.
        warmup: Share of the steps over which it rises.
        weight_decay: Share of every matrix, times the learning rate, that each step takes away; biases and norms
            keep theirs.
        clip: Largest norm of the gradient; None leaves it as it is.
        distribution: Of the inputs, as in `draw_inputs`.
        draws: Inputs drawn, once; they come again, in another order, when all were used.
        share: Of the inputs that is held out; `held_out` says which.
        whole: Learn the prompts' own tokens too, not only the answers'.
        seed: Of the draw, the order and the model's dropout.
        progress: Called with the steps done, all steps and {"loss", "accuracy"} of the last batch, an answer counting
            when all its tokens are right; with a share held out also {"held_out"}, the accuracy there when it was
            last looked at, ten times in all.

    Raises:
        FitError: A number that cannot be, no such model, an output without an answer, or a loss that is not finite.
    """
    course = Course(steps, lr, "cosine", weight_decay, warmup, clip)
    length = continuing(network).prompt.length
    columns = draw_inputs(algorithm, draws, seed=seed, distribution=distribution)
    out = held_out(algorithm, columns, share=share, seed=seed)
    fed, targets = _repeated(network, algorithm, _rows(columns, ~out), whole)
    model = copy.deepcopy(network.module)
    if progress is not None and out.any():
        unseen = _rows(columns, np.flatnonzero(out)[:_LOOKED_AT])
        progress = _Looking(network, model, *language_examples(network, algorithm, unseen), progress)

    def forward(rows: torch.Tensor) -> torch.Tensor:
        return read_sequences(model, rows, targets.shape[1], network.options).flatten(0, 1)[None]

    def accuracy(logits: torch.Tensor, asked: torch.Tensor) -> float:
        hits = (logits.argmax(dim=-1).reshape(asked.shape) == asked)[:, -length:]
        return float(hits.all(dim=1).float().mean())

    groups = _groups(model, weight_decay)
    modes = [(part, part.training) for part in model.modules()]
    model.train()
    with alone(seed, [p for group in groups for p in group["params"]]):
        stream = minibatches(fed, targets, batch=batch, seed=seed)
        descend(groups, forward, stream, course, progress, members=None, accuracy=accuracy)
    for part, mode in modes:
        part.training = mode
    model.zero_grad(set_to_none=True)
    return network.with_module(model)


class _Looking:
    """Adds to the progress how often the model is right where it was never trained."""

    def __init__(
        self, network: Network, model: Any, fed: torch.Tensor, targets: torch.Tensor, progress: Progress
    ) -> None:
        self.options, self.model, self.progress = network.options, model, progress
        self.fed, self.targets = fed, targets
        self.looks, self.found = -1, 0.0

    def __call__(self, step: int, steps: int, figures: dict[str, float]) -> None:
        if step * _LOOKS // steps > self.looks:
            self.looks = step * _LOOKS // steps
            self.model.eval()
            self.found = float(right(self.model, self.fed, self.targets, self.options).mean())
            self.model.train()
        self.progress(step, steps, {**figures, "held_out": self.found})


def _repeated(
    network: Network, algorithm: Algorithm, columns: dict[str, np.ndarray], whole: bool
) -> tuple[torch.Tensor, torch.Tensor]:
    """The examples of inputs of which many are drawn more than once: each is written and cut into tokens once."""
    _, first, again = np.unique(algorithm.input_ids(columns), return_index=True, return_inverse=True)
    fed, targets = language_examples(network, algorithm, _rows(columns, first), whole=whole)
    rows = torch.from_numpy(again).to(fed.device)
    return fed[rows], targets[rows]


def _rows(columns: Mapping[str, np.ndarray], chosen: np.ndarray) -> dict[str, np.ndarray]:
    return {name: column[chosen] for name, column in columns.items()}


def _groups(model: Any, weight_decay: float) -> list[dict[str, Any]]:
    """Matrices, which decay, and vectors (biases, norms), which do not."""
    trained = [p for p in model.parameters() if p.requires_grad]
    if not trained:
        raise FitError(
            "nothing to train",
            got=f"{type(model).__name__} without a parameter that requires a gradient",
            expected="at least one",
            fix="set requires_grad on the parameters that are to be trained",
        )
    return [
        {"params": [p for p in trained if p.ndim > 1], "weight_decay": weight_decay},
        {"params": [p for p in trained if p.ndim <= 1], "weight_decay": 0.0},
    ]

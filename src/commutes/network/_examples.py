"""Examples for training a small network: drawn, encoded, labelled by the algorithm, cut into batches."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from commutes.errors import FitError

if TYPE_CHECKING:
    from commutes.algorithm import Algorithm
    from commutes.counterfactuals import Distribution
    from commutes.network._network import Network

Batch = tuple[torch.Tensor, torch.Tensor]


def draw_inputs(
    algorithm: Algorithm, n: int, *, seed: int, distribution: str | Distribution = "values"
) -> dict[str, np.ndarray]:
    """`n` inputs with replacement, from the distribution that counterfactuals are drawn from.

    Args:
        algorithm: Whose inputs; "values" and "inputs" need a domain that can be listed.
        n: How many.
        seed: Of the draw.
        distribution: "values" (uniform over the values of the inner variables, then over the inputs that give
            them), "inputs" (uniform) or a `Distribution`.

    Returns:
        Columns of the input variables.

    Raises:
        DataError: No such distribution.
        AlgorithmError: A domain that is too large to be listed.
    """
    from commutes.counterfactuals._design import Distribution as Own
    from commutes.counterfactuals._design import check_distribution
    from commutes.counterfactuals._pool import pool_of_all

    rng = np.random.default_rng([seed, 17])
    chosen = check_distribution(distribution, "the inputs that a network is trained on")
    if isinstance(chosen, Own):
        drawn: Mapping[str, Any] = chosen.draw(rng, n)
        return dict(algorithm.columns(drawn))
    pool = pool_of_all(algorithm, chosen == "values")
    rows = rng.choice(len(pool), size=n, p=pool.weights)
    return {v.name: pool.columns[v.name][rows] for v in algorithm.input_variables}


def examples(network: Network, algorithm: Algorithm, inputs: Mapping[str, np.ndarray]) -> Batch:
    """What the network is fed and the class that the algorithm gives, for columns of the algorithm's inputs.

    Returns:
        The encoded inputs (n, ...) and, as positions among the network's answers, the outputs (n,).

    Raises:
        FitError: A network without answers, an output that is not among them, or more than one input tensor.
    """
    columns = dict(inputs)
    fed = network.encode(algorithm.arrays(columns))
    if len(fed.args) != 1 or fed.kwargs:
        raise FitError(
            "the small trainer feeds one tensor",
            where=network.name,
            got=f"{len(fed.args) + len(fed.kwargs)} tensors from encode=",
            expected="one tensor with the batch first",
            fix="train the module in your own loop and wrap the result in a Network",
        )
    place = {(type(answer), answer): i for i, answer in enumerate(network.answers or ())}
    output = algorithm.output_variable
    outputs = algorithm.values(output, algorithm.run(columns)[output.name])
    known = ", ".join(map(repr, network.answers or ()))
    missing = next((value for value in outputs if (type(value), value) not in place), None)
    if len(outputs) and missing is not None:
        raise FitError(
            "the network has no logit for an output of the algorithm",
            where=f"{output.name} of {algorithm.name}",
            got=repr(missing),
            expected=f"one of its answers: {known or 'none are declared'}",
            fix="give Network answers= with every value of the output, in the order of the logits",
        )
    targets = torch.tensor([place[type(value), value] for value in outputs], device=network.device)
    return fed.args[0], targets


def minibatches(inputs: torch.Tensor, targets: torch.Tensor, *, batch: int, seed: int) -> Iterator[Batch]:
    """Shuffled batches of a fixed data set, epoch after epoch, without end.

    Args:
        inputs: One row per example.  # shape: (n, ...)
        targets: Class of each example.  # shape: (n,)
        batch: Examples in a batch; what is left of an epoch is dropped.
        seed: Of the order.

    Raises:
        FitError: Fewer examples than a batch needs, or targets of another length.

    >>> x, y = torch.arange(4.0)[:, None], torch.arange(4)
    >>> next(minibatches(x, y, batch=4, seed=0))[1].sort().values
    tensor([0, 1, 2, 3])
    """
    if isinstance(batch, bool) or not 1 <= batch <= len(inputs) or len(inputs) != len(targets):
        raise FitError(
            "these examples make no batch",
            got=f"batch={batch!r}, {len(inputs)} inputs, {len(targets)} targets",
            expected="as many targets as inputs, and a batch from 1 to that number",
        )
    return _shuffled(inputs, targets, batch, torch.Generator().manual_seed(seed))


def _shuffled(
    inputs: torch.Tensor, targets: torch.Tensor, batch: int, generator: torch.Generator
) -> Iterator[Batch]:
    while True:
        order = torch.randperm(len(inputs), generator=generator).to(inputs.device)
        for start in range(0, len(inputs) - batch + 1, batch):
            rows = order[start : start + batch]
            yield inputs[rows], targets[rows]

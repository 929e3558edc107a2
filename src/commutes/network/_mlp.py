"""A plain multilayer perceptron whose hidden layers are sites, with weights from a seed or by hand."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import nn

from commutes.errors import NetworkError

Affine = tuple[Sequence[Sequence[float]], Sequence[float]]


class MLP(nn.Module):
    """x -> head(layers[-1](... layers[0](x))), each layer a linear map and its ReLU in one module.

    So the output of `layers.0` is the first hidden layer after its ReLU, and `head` gives the logits.

    Args:
        widths: Of the input, of every hidden layer, of the logits.
        seed: Of the initial weights, which are drawn as `nn.Linear` draws them.

    Raises:
        NetworkError: Fewer than three widths, or one that is not a whole number from 1.

    >>> MLP([16, 8, 2], seed=0)(torch.zeros(5, 16)).shape
    torch.Size([5, 2])
    """

    def __init__(self, widths: Sequence[int], *, seed: int) -> None:
        super().__init__()
        if len(widths) < 3 or any(isinstance(w, bool) or not isinstance(w, int) or w < 1 for w in widths):
            raise NetworkError(
                "these widths make no network with a hidden layer",
                where="MLP(widths)",
                got=repr(list(widths)),
                expected="whole numbers from 1: the input's, one per hidden layer, the logits'",
                fix="give every layer at least one unit",
            )
        # nn.Linear draws from the global generator and takes no other: the caller's is forked.
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            *hidden, head = [nn.Linear(fan_in, fan_out) for fan_in, fan_out in pairwise(widths)]
        self.layers = nn.ModuleList(nn.Sequential(linear, nn.ReLU()) for linear in hidden)
        self.head = head

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The logits.  # shape: (n, inputs) -> (n, logits)"""
        for layer in self.layers:
            x = layer(x)
        return self.head(x)


def mlp_by_hand(*maps: Affine) -> MLP:
    """An `MLP` with these weights: one (matrix, bias) per hidden layer and one for the head, rows are units.

    Raises:
        NetworkError: Maps that do not fit on to each other.

    With r = ReLU(a - b) and the logits r, 1 - r:

    >>> net = mlp_by_hand(([[1.0, -1.0]], [0.0]), ([[1.0], [-1.0]], [0.0, 1.0]))
    >>> net(torch.tensor([[3.0, 2.0]])).tolist()
    [[1.0, 0.0]]
    """
    tensors = [(torch.tensor(matrix), torch.tensor(bias)) for matrix, bias in maps]
    widths = [tensors[0][0].shape[1], *(len(bias) for _, bias in tensors)] if tensors else []
    network = MLP(widths, seed=0)
    linears = [m for m in network.modules() if isinstance(m, nn.Linear)]
    with torch.no_grad():
        for i, (linear, (matrix, bias)) in enumerate(zip(linears, tensors, strict=True)):
            if matrix.shape != linear.weight.shape:
                raise NetworkError(
                    "hand-made weights do not fit on to each other",
                    where=f"map {i}",
                    got=f"a matrix of shape {tuple(matrix.shape)}",
                    expected=f"{tuple(linear.weight.shape)}",
                )
            linear.weight.copy_(matrix)
            linear.bias.copy_(bias)
    return network

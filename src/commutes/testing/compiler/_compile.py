"""From a program to a network, its algorithm, and the places where each variable lives."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache

import numpy as np
import torch
from torch import nn

from commutes.algorithm import Algorithm
from commutes.network import Network
from commutes.testing.compiler._compiled import Compiled
from commutes.testing.compiler._module import Attention, Block, Embedding, Transformer
from commutes.testing.compiler._nodes import Graph, algorithm_of, graph_of, variable_name
from commutes.testing.compiler._program import Program, Tokens
from commutes.testing.compiler._schedule import schedule_of
from commutes.testing.compiler._tables import Hidden, hidden_units
from commutes.testing.compiler._weights import Builder, Head


def compile_program(
    program: Program, *, rotation: int | None = None, spare: int = 0, dtype: torch.dtype = torch.float32
) -> Compiled:
    """A transformer that computes the program on every input, exactly but for rounding.

    Args:
        program: What it computes.
        rotation: Seed of a uniformly random orthogonal basis of the residual stream; without it every variable has
            coordinates of its own.
        spare: Coordinates of the residual stream in which nothing ever stands.
        dtype: Of the weights.

    Raises:
        AlgorithmError: The program is no causal model, or takes a mean of what is no number.

    See Tracr: Compiled Transformers as a Laboratory for Interpretability, arXiv 2301.05062.
    """
    graph, algorithm = _understood(program)
    schedule = schedule_of(graph, spare=spare)
    basis = _basis(schedule.width, rotation)
    # torch draws the weights that are overwritten here from the global generator: the caller's is forked.
    with torch.random.fork_rng(devices=[]):
        module = _module(Builder(graph, schedule), basis).to(dtype).eval()
    name = program.name if rotation is None else f"{program.name} (rotation {rotation})"
    tokens = next(op for op in program.operations if isinstance(op, Tokens))
    names = [variable_name((tokens, position)) for position in range(program.length)]
    network = Network(
        module,
        encode=TokenCodes(names, program.alphabet),
        answers=graph.answers(),
        blocks="blocks",
        name=name,
    )
    return Compiled(program, algorithm, network, graph, schedule, basis, rotation is not None, dtype)


@lru_cache(maxsize=64)
def _understood(program: Program) -> tuple[Graph, Algorithm]:
    # Kept, so that all rotations of a program share one algorithm, and pairs that were drawn for one serve the others.
    graph = graph_of(program)
    return graph, algorithm_of(graph)


class TokenCodes:
    """Encodes sequences as positions in the alphabet; an input that the algorithm lacks is the first symbol.

    Args:
        names: The input variables, by position.
        alphabet: The symbols.
    """

    def __init__(self, names: Sequence[str], alphabet: Sequence[object]) -> None:
        self.names, self.alphabet = tuple(names), tuple(alphabet)

    def __call__(self, values: Mapping[str, np.ndarray]) -> torch.Tensor:
        """# shape: (n, positions)"""
        codes = {symbol: code for code, symbol in enumerate(self.alphabet)}
        n = len(next(iter(values.values())))
        table = np.zeros((n, len(self.names)), dtype=np.int64)
        for position, name in enumerate(self.names):
            if name in values:
                table[:, position] = [codes[symbol] for symbol in values[name].tolist()]
        return torch.from_numpy(table)


def _basis(width: int, rotation: int | None) -> torch.Tensor:
    """The directions of the program's coordinates, as columns.  # shape: (width, width)"""
    if rotation is None:
        return torch.eye(width, dtype=torch.float64)
    generator = torch.Generator().manual_seed(rotation)
    q, r = torch.linalg.qr(torch.randn(width, width, generator=generator, dtype=torch.float64))
    # With the signs of R's diagonal the distribution is uniform.
    return q * torch.sign(torch.diagonal(r))


def _module(builder: Builder, basis: torch.Tensor) -> Transformer:
    graph: Graph = builder.graph
    positions = tuple(sorted({position for _, position in graph.program.outputs}))
    weights, biases = builder.readout()
    embedding = Embedding(len(graph.program.alphabet), graph.program.length, len(basis)).double()
    _put(embedding.tokens.weight, builder.tokens() @ basis.T)
    _put(embedding.positions.weight, builder.positions() @ basis.T)
    blocks = [_block(builder, block, basis) for block in range(builder.schedule.blocks)]
    module = Transformer(embedding, blocks, positions, len(weights)).double()
    turned = weights.reshape(len(weights), len(positions), -1) @ basis.T
    _linear(module.head, turned.flatten(1), biases)
    return module


def _block(builder: Builder, block: int, basis: torch.Tensor) -> Block:
    heads, hidden = builder.heads(block), hidden_units(builder, block)
    attention = _attention(heads, basis, causal=builder.graph.program.causal)
    made = Block(attention, len(basis), max(1, len(hidden.reads))).double()
    _fill_mlp(made.mlp, hidden, basis)
    return made


def _attention(heads: Sequence[Head], basis: torch.Tensor, *, causal: bool) -> Attention:
    """All heads as wide as the widest, filled up with zeros."""
    width = len(basis)
    key = max((len(head.key) for head in heads), default=1)
    value = max((len(head.value) for head in heads), default=1)
    made = Attention(width, heads=max(1, len(heads)), key=key, value=value, causal=causal).double()
    for linear in (made.query, made.key, made.value, made.out):
        _linear(linear, torch.zeros_like(linear.weight), torch.zeros_like(linear.bias))
    with torch.no_grad():
        made.sink_value.zero_()
        for h, head in enumerate(heads):
            rows = slice(h * key, h * key + len(head.key))
            # Attention divides by the root of the width of its keys.
            made.query.weight[rows] = head.query @ basis.T * key**0.5
            made.query.bias[rows] = head.query_bias * key**0.5
            made.key.weight[rows] = head.key @ basis.T
            columns = slice(h * value, h * value + len(head.value))
            made.value.weight[columns] = head.value @ basis.T
            made.out.weight[:, columns] = basis @ head.out
            made.sink_score[h] = head.sink_score
            made.sink_value[h, : len(head.sink_value)] = head.sink_value
    return made


def _fill_mlp(mlp: nn.Sequential, hidden: Hidden, basis: torch.Tensor) -> None:
    first, _, second = mlp
    zero = torch.zeros(1, len(basis), dtype=torch.float64)
    reads = torch.stack(hidden.reads) if hidden.reads else zero
    writes = torch.stack(hidden.writes) if hidden.writes else zero
    _linear(first, reads @ basis.T, torch.tensor(hidden.biases or [0.0], dtype=torch.float64))
    _linear(second, basis @ writes.T, basis @ hidden.constant)


def _linear(linear: nn.Module, weight: torch.Tensor, bias: torch.Tensor) -> None:
    assert isinstance(linear, nn.Linear)
    _put(linear.weight, weight)
    _put(linear.bias, bias)


def _put(parameter: torch.Tensor, value: torch.Tensor) -> None:
    with torch.no_grad():
        parameter.copy_(value)

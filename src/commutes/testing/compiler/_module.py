"""The network that programs are compiled to: a transformer without normalisation, its residual stream in the open."""

from __future__ import annotations

import math

import torch
from torch import nn


class Attention(nn.Module):
    """Softmax attention in which every head has a sink: a score and a value that belong to no position.

    A head that finds nothing gives its sink's value. See Efficient Streaming Language Models with Attention Sinks,
    arXiv 2309.17453.

    Args:
        width: Of the residual stream.
        heads: How many.
        key: Width of a head's keys and queries.
        value: Width of a head's values.
        causal: Whether positions see only themselves and earlier ones.
    """

    def __init__(self, width: int, *, heads: int, key: int, value: int, causal: bool) -> None:
        super().__init__()
        self.heads, self.causal = heads, causal
        self.query = nn.Linear(width, heads * key)
        self.key = nn.Linear(width, heads * key)
        self.value = nn.Linear(width, heads * value)
        self.out = nn.Linear(heads * value, width)
        self.sink_score = nn.Parameter(torch.zeros(heads))
        self.sink_value = nn.Parameter(torch.zeros(heads, value))

    def reset_parameters(self) -> None:
        """Sinks as an untrained network has them; the linear maps reset themselves."""
        nn.init.zeros_(self.sink_score)
        nn.init.normal_(self.sink_value, std=0.02)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """What is added to the residual stream.  # shape: (n, positions, width)"""
        n, length, _ = x.shape
        query, key, value = (
            part(x).reshape(n, length, self.heads, -1).transpose(1, 2)
            for part in (self.query, self.key, self.value)
        )
        scores = query @ key.transpose(2, 3) / math.sqrt(query.shape[-1])
        if self.causal:
            later = torch.ones(length, length, dtype=torch.bool, device=x.device).triu(1)
            scores = scores.masked_fill(later, -torch.inf)
        sink = self.sink_score.reshape(1, -1, 1, 1).expand(n, -1, length, 1)
        weights = torch.cat([scores, sink], dim=-1).softmax(dim=-1)
        found = weights[..., :-1] @ value + weights[..., -1:] * self.sink_value[:, None]
        return self.out(found.transpose(1, 2).reshape(n, length, -1))


class Block(nn.Module):
    """Attention, then a network of two layers, each added to the residual stream. `middle` is what is between."""

    def __init__(self, attention: Attention, width: int, hidden: int) -> None:
        super().__init__()
        self.attention = attention
        self.middle = nn.Identity()
        self.mlp = nn.Sequential(nn.Linear(width, hidden), nn.ReLU(), nn.Linear(hidden, width))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The residual stream behind the block.  # shape: (n, positions, width)"""
        x = self.middle(x + self.attention(x))
        return x + self.mlp(x)


class Embedding(nn.Module):
    """The vector of each token plus that of its position."""

    def __init__(self, tokens: int, positions: int, width: int) -> None:
        super().__init__()
        self.tokens = nn.Embedding(tokens, width)
        self.positions = nn.Embedding(positions, width)

    def forward(self, codes: torch.Tensor) -> torch.Tensor:
        """The residual stream at its start.  # shape: (n, positions) -> (n, positions, width)"""
        return self.tokens(codes) + self.positions.weight


class Transformer(nn.Module):
    """Embedding, blocks, and logits from the residual stream at some positions.

    Args:
        embedding: From codes to the residual stream.
        blocks: In order.
        positions: Where the answer is read.
        answers: How many there are.
    """

    def __init__(
        self, embedding: Embedding, blocks: list[Block], positions: tuple[int, ...], answers: int
    ) -> None:
        super().__init__()
        self.embedding = embedding
        self.blocks = nn.ModuleList(blocks)
        self.positions = positions
        self.head = nn.Linear(len(positions) * embedding.tokens.embedding_dim, answers)

    def forward(self, codes: torch.Tensor) -> torch.Tensor:
        """The logits.  # shape: (n, positions) -> (n, answers)"""
        x = self.embedding(codes)
        for block in self.blocks:
            x = block(x)
        return self.head(x[:, list(self.positions)].flatten(1))

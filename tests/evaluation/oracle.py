"""Everything that an evaluation reports, by loops over pairs and manual forward passes. No code of ours is used.

The pairs' columns and the algorithm's plain functions are all that is read.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import nn


def forward(
    module: nn.Module, stop: nn.Module, row: torch.Tensor, replace: torch.Tensor | None = None
) -> tuple[torch.Tensor, torch.Tensor]:
    """The logits of one example, and what `stop` returned; `replace` stands in its place."""
    seen: list[torch.Tensor] = []

    def hook(_module: nn.Module, _args: Any, output: torch.Tensor) -> torch.Tensor | None:
        seen.append(output.clone())
        return replace

    handle = stop.register_forward_hook(hook)
    try:
        with torch.no_grad():
            logits = module(row.unsqueeze(0))
    finally:
        handle.remove()
    return logits[0], seen[0][0]


def argmax(logits: torch.Tensor) -> int:
    best, where = float("-inf"), -1
    for i, value in enumerate(logits.tolist()):
        if value > best:
            best, where = value, i
    return where


def evaluation(
    *,
    module: nn.Module,
    stop: nn.Module,
    rows: Sequence[torch.Tensor],
    answer_of: Sequence[Any],
    inputs: Sequence[Mapping[str, Any]],
    pairs: Sequence[tuple[int, Sequence[int], Mapping[str, int]]],
    run: Callable[[Mapping[str, Any], Mapping[str, Any]], Mapping[str, Any]],
    output: str,
    bases: Mapping[str, torch.Tensor],
) -> dict[str, Any]:
    """Rates by plain counting.

    Args:
        module: The network.
        stop: The module whose output is the site.
        rows: The encoded inputs.
        answer_of: The value that each logit stands for.
        inputs: The inputs as plain values.
        pairs: (base, sources, {variable: which source}).
        run: The algorithm: (input, values that are set) to the values of all variables.
        output: The name of its output.
        bases: Orthonormal (d, k) per variable.
    """
    hits, where, effective = [], defaultdict(list), []
    by_change, by_answer = defaultdict(list), defaultdict(list)
    for base, sources, swapped in pairs:
        clean = run(inputs[base], {})
        values = {v: run(inputs[sources[s]], {})[v] for v, s in swapped.items()}
        expected = run(inputs[base], values)[output]
        _, state = forward(module, stop, rows[base])
        new = state.clone()
        for v, s in swapped.items():
            _, there = forward(module, stop, rows[sources[s]])
            for k in range(bases[v].shape[1]):
                direction = bases[v][:, k]
                new = new + direction * float((there - state) @ direction)
        logits, _ = forward(module, stop, rows[base], new.unsqueeze(0))
        answered = answer_of[argmax(logits)]
        hit = type(answered) is type(expected) and answered == expected
        hits.append(hit)
        effective.append(expected != clean[output])
        label = "+".join(swapped)
        others = [run(inputs[s], {})[output] for s in sources[: len(set(swapped.values()))]]
        where[label, stratum(expected, clean[output], others)].append(hit)
        if len(swapped) == 1:
            (v,) = swapped
            by_change[label, str(clean[v]), str(values[v])].append(hit)
        by_answer[label, str(clean[output]), str(expected)].append(hit)
    clean_hits = [
        answer_of[argmax(forward(module, stop, row)[0])] == run(one, {})[output]
        for row, one in zip(rows, inputs, strict=True)
    ]
    return {
        "hits": hits,
        "effective": effective,
        "cells": {key: (sum(h), len(h)) for key, h in where.items()},
        "transitions": {key: (sum(h), len(h)) for key, h in by_change.items()},
        "directions": {key: (sum(h), len(h)) for key, h in by_answer.items()},
        "accuracy": (sum(clean_hits), len(clean_hits)),
    }


def stratum(expected: Any, base: Any, sources: Sequence[Any]) -> str:
    if len(sources) == 1:
        names = {
            (False, True): "flip",
            (True, False): "placebo",
            (False, False): "novel",
            (True, True): "neutral",
        }
        return names[expected == base, expected == sources[0]]
    return f"b={int(expected == base)} " + " ".join(
        f"s{i + 1}={int(expected == s)}" for i, s in enumerate(sources)
    )

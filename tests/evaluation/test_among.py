"""Answers compared with each other alone: by loops over answers and tokens, and beside an evaluation."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch

import commutes as cm
from commutes.evaluation import answer_scores, answers_of, bench
from commutes.report import as_evaluation
from tests.network.transformers import models as M
from tests.planted import exact

SPELLING = np.array([[9, 4, 4], [4, 9, 7], [30, 4, 7], [7, 7, 9]])


def logits(n: int, tokens: int, columns: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(5)
    found = 3 * torch.randn(n, tokens, columns, generator=generator, dtype=torch.float64)
    return found[:, 0] if tokens == 1 else found


def score(row: list[Any], answer: list[int]) -> float:
    """The logarithm of the probability that a row of logits gives to an answer, token by token."""
    total = 0.0
    for values, column in zip(row, answer, strict=True):
        total += values[column] - math.log(sum(math.exp(v) for v in values))
    return total


def by_hand(found: torch.Tensor, spelling: list[list[int]]) -> list[list[float]]:
    """The logarithms of the probabilities of all answers for every row."""
    rows = found[:, None] if found.ndim == 2 else found
    return [[score(row, answer) for answer in spelling] for row in rows.tolist()]


@pytest.mark.parametrize("tokens", [1, 3])
def test_scores_are_probabilities_of_whole_answers_up_to_a_shared_number(tokens: int) -> None:
    spelling = np.unique(SPELLING[:, :tokens], axis=0)
    found = logits(7, tokens, 33)
    table = torch.tensor(by_hand(found, spelling.tolist()), dtype=torch.float64)
    scores = answer_scores(found, torch.from_numpy(spelling))
    gap = scores - table
    assert (gap - gap[:, :1]).abs().max() < 1e-12
    # Which answer is the likeliest differs from row to row, or an argmax over anything would do.
    assert len(set(scores.argmax(1).tolist())) > 1


def test_sums_of_half_precision_are_taken_in_single() -> None:
    # 256 and 257 are one number in bfloat16.
    found = torch.tensor([[[256, 256, 256], [0, 1, 0]]], dtype=torch.bfloat16)
    spelling = torch.tensor([[0, 0], [1, 1], [2, 2]])
    assert answer_scores(found, spelling).tolist() == [[256.0, 257.0, 256.0]]


def case(tokens: int) -> tuple[cm.Alignment, cm.Network]:
    """A random model that adds badly, whole swaps at a digit."""
    algorithm = cm.Algorithm("sum")
    a, b = algorithm.inputs("a b", domain=range(10))
    algorithm.add("left", a, f=lambda a: a % 5)
    algorithm.add("total", "left", b, f=lambda left, b: (3 * left + b) % 10, output=True)
    answers = {i: f"{i:0{tokens}d}" for i in range(9, -1, -1)}
    network = cm.Network(M.model("llama"), M.fitting_tokenizer("llama"), template=M.PROMPT, answers=answers)
    site = network.site("block_output", layer=1, position=["{a}", "last"])
    return cm.Alignment(algorithm, {algorithm["left"]: cm.Coordinates(site)[:32]}), network


def best(row: torch.Tensor, answers: dict[int, list[int]]) -> int:
    """The candidate whose tokens are the likeliest together."""
    rows = row[None] if row.ndim == 1 else row
    return max(answers, key=lambda value: score(rows.tolist(), answers[value]))


@pytest.mark.parametrize("tokens", [1, 2])
def test_an_evaluation_has_the_argmax_over_candidates_beside_the_iia(tokens: int) -> None:
    alignment, network = case(tokens)
    pairs = cm.counterfactuals(alignment.algorithm, 80, seed=0)
    found = cm.evaluate(alignment, pairs)
    digits = {i: [7 + int(c) for c in f"{i:0{tokens}d}"] for i in range(10)}
    prepared = bench(alignment, pairs).prepared
    batch = prepared.batch(torch.from_numpy(pairs.base), torch.from_numpy(pairs.source))
    with torch.no_grad():
        after = prepared.logits(batch, alignment.featurizers, alignment.masks(pairs))
        fed = prepared.inputs.kwargs
        before = network.logits_of(network.module(**fed, **network.options))
    values = alignment.algorithm.values(alignment.algorithm.output_variable, pairs.expected)
    hits = [best(row, digits) == value for row, value in zip(after, values, strict=True)]
    own = alignment.algorithm.values(alignment.algorithm.output_variable, pairs.answers)
    clean = [best(row, digits) for row in before]
    among = found.among
    assert among is not None
    assert among.answers == 10
    assert among.hits.tolist() == hits
    assert among.accuracy.hits == sum(c == value for c, value in zip(clean, own, strict=True))
    assert (among.overall.hits, among.overall.n) == (sum(hits), 80)
    effective = [hit for hit, is_one in zip(hits, pairs.effective, strict=True) if is_one]
    assert (among.effective.hits, among.effective.n) == (sum(effective), len(effective))
    # The IIA itself stays as it is: a model that would say something else is not right.
    assert found.overall.hits < among.overall.hits
    assert found.hits.sum() == found.overall.hits
    assert among.floors["do nothing"].hits == sum(
        clean[base] == value for base, value in zip(pairs.base, values, strict=True)
    )
    assert among.floors["random subspace"].n == 400
    assert among.floors["random subspace"].hits > found.floors["random subspace"].hits
    record = found.record()
    assert as_evaluation(record).candidates is not None
    assert record["candidates"]["overall"]["hits"] == sum(hits)
    assert "no IIA: by argmax over the 10 candidate" in " ".join(str(found).split())


def test_a_network_that_can_say_nothing_else_has_no_candidates() -> None:
    _, _, claim = exact(3)
    pairs = cm.counterfactuals(claim.algorithm, 60, seed=0)
    found = cm.evaluate(claim, pairs)
    assert found.among is None
    assert found.record()["candidates"] is None
    assert "candidate" not in str(found)


def test_answers_are_in_the_order_of_the_algorithm() -> None:
    alignment, network = case(2)
    reader = answers_of(network, alignment.algorithm)
    found = torch.zeros(3, 2, M.VOCABULARY)
    # A word that is no answer is the likeliest everywhere; then "07", then a mixture of "03" and "19".
    found[..., 1] = 9.0
    found[0, 0, 7], found[0, 1, 14] = 1.0, 1.0
    found[1, 0, 7], found[1, 1, 10], found[1, 1, 16] = 2.0, 1.0, 0.5
    found[2, 1, 7 + 9] = 0.1
    assert reader.decode(found).tolist() == [-1, -1, -1]
    among = reader.among(found)
    assert among is not None
    domain = alignment.algorithm.values(alignment.algorithm.output_variable, among)
    assert domain == [7, 3, 9]

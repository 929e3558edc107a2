"""The declared answers as the only ones: their scores and losses, token by token by hand."""

from __future__ import annotations

import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch

import commutes as cm
from commutes.evaluation import Answers, candidates_of


def answers(spelling: list[list[int]]) -> Answers:
    algorithm = cm.Algorithm("copy")
    x = algorithm.input("x", domain=range(len(spelling)))
    algorithm.add("y", x, f=lambda x: x, domain=range(len(spelling)), output=True)
    network = SimpleNamespace(name="none")
    return Answers(algorithm.check(), network, np.array(spelling))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "spelling", [[[7], [2], [9]], [[7, 2], [2, 2], [9, 7]]], ids=["one token", "two tokens"]
)
def test_scores_add_over_tokens_and_losses_are_over_the_answers_alone(spelling: list[list[int]]) -> None:
    found = candidates_of(answers(spelling))
    assert found.columns.tolist() == sorted({c for row in spelling for c in row})
    tokens = len(spelling[0])
    whole = torch.randn(4, tokens, 11, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    narrow = whole[..., found.columns]
    narrow = narrow[:, 0] if tokens == 1 else narrow
    codes = torch.tensor([2, 0, 1, 1])
    for row, code in enumerate(codes.tolist()):
        scores = [sum(float(whole[row, t, token]) for t, token in enumerate(spelt)) for spelt in spelling]
        assert found.scores(narrow)[row].tolist() == pytest.approx(scores)
        expected = math.log(sum(math.exp(s) for s in scores)) - scores[code]
        assert float(found.losses(narrow, codes)[row]) == pytest.approx(expected)


def test_other_columns_do_not_matter() -> None:
    found = candidates_of(answers([[3], [5]]))
    assert found.columns.tolist() == [3, 5]
    assert found.index.tolist() == [[0], [1]]

"""What is run at once when answers are measured: as many prompts as their length and the budget allow."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import commutes as cm
from commutes import Network
from commutes.engine import half, rows_within
from commutes.evaluation import answers_of, behaviour, bench, clean_answers
from tests.network.transformers import models as M

from .test_language_selfchecks import claim


@pytest.fixture
def network() -> Network:
    return M.network("llama", dtype=torch.float32)


@pytest.fixture
def rows(network: Network, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Rows of every forward, as they come."""
    module: Any = network.module
    old, found = module.forward, []

    def counted(*args: Any, **named: Any) -> Any:
        found.append(len(named["input_ids"]))
        return old(*args, **named)

    monkeypatch.setitem(module.__dict__, "forward", counted)
    return found


def test_clean_runs_are_as_many_prompts_as_their_length_allows(
    network: Network, rows: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    alignment, pairs = claim(network)
    inputs = network.encode(alignment.algorithm.arrays(pairs.inputs))
    prepared = bench(alignment, pairs).prepared
    answers = answers_of(network, alignment.algorithm)
    before = behaviour(network, pairs)
    monkeypatch.setattr("commutes.network._network.TOKENS", 7 * inputs.kwargs["input_ids"].shape[1])
    assert network.batch_size(inputs) == 7
    for run in (lambda: behaviour(network, pairs), lambda: clean_answers(prepared, answers)):
        rows.clear()
        run()
        # One, by which the others' memory is counted.
        assert rows == [1, *[7] * (inputs.n // 7), *([inputs.n % 7] if inputs.n % 7 else [])]
    assert np.array_equal(behaviour(network, pairs), before)


def test_edited_runs_fit_into_the_budget_and_answer_the_same(network: Network, rows: list[int]) -> None:
    alignment, pairs = claim(network)
    maps = alignment.featurizers
    wide = bench(alignment, pairs)
    expected = wide.outcome(maps)
    assert wide.at_once == wide.prepared.network.batch_size(wide.prepared.inputs)
    for budget in (2**17, 2**19):
        small = bench(alignment, pairs, budget=budget)
        assert small.at_once == rows_within(small.prepared, half(budget)) < len(pairs)
        rows.clear()
        found = small.outcome(maps)
        assert max(rows) <= small.at_once
        assert np.array_equal(found.answered, expected.answered)
        assert found.among is not None
        assert expected.among is not None
        assert np.array_equal(found.among, expected.among)


def test_a_budget_of_nothing_runs_one_at_a_time(network: Network, rows: list[int]) -> None:
    alignment, pairs = claim(network)
    none = bench(alignment, pairs, budget=0)
    assert none.at_once == 1
    assert set(rows[-len(none.prepared.inputs.values["a"]) :]) == {1}
    found = cm.evaluate(alignment, pairs, budget=0)
    assert np.array_equal(found.hits, cm.evaluate(alignment, pairs).hits)

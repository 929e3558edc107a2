"""A second opinion through pyvene: the same answers, labelled; and an error where they are others."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import commutes as cm
from commutes.engine.pyvene import Twin
from commutes.errors import EngineError
from tests.planted import exact, planted


def test_hits_rates_and_floors_are_those_of_the_engine() -> None:
    case = planted()
    told, test = case.told(), case.parts[2]
    ours, theirs = cm.evaluate(told, test, seed=3), cm.evaluate(told, test, seed=3, engine="pyvene")
    assert np.array_equal(ours.hits, theirs.hits)
    mine, other = ours.record(), theirs.record()
    gap = other["self_checks"].pop("pyvene beside this engine")
    assert 0 <= gap < 1e-4
    assert (mine.pop("label"), other.pop("label")) == ("", "through pyvene")
    assert mine == other


def test_it_is_printed() -> None:
    algorithm, _, alignment = exact()
    pairs = cm.counterfactuals(algorithm, 40, seed=0)
    text = " ".join(str(cm.evaluate(alignment, pairs, engine="pyvene")).split())
    assert "THROUGH PYVENE" in text.upper()
    assert "pyvene beside this engine, largest difference 0" in text


def test_every_swapped_set_is_compared() -> None:
    """The pairs of each set are other calls of pyvene's, any of which could go wrong alone."""
    algorithm, _, alignment = exact()
    pairs = cm.counterfactuals(algorithm, 60, seed=0, swap=[{"left"}, {"right"}, {"left", "right"}])
    for number, swap in enumerate(pairs.swaps):
        bad = _off_by_one(number)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Twin, "logits", bad)
            with pytest.raises(EngineError) as caught:
                cm.evaluate(alignment, pairs, engine="pyvene")
        assert "pyvene answers otherwise than this library" in str(caught.value)
        assert f"{swap.label}, 20 pairs" in str(caught.value)
        assert "a logit that differs by 1" in str(caught.value)


def _off_by_one(call: int) -> Any:
    right, calls = Twin.logits, [0]

    def logits(self: Twin, returned: object) -> torch.Tensor:
        calls[0] += 1
        return right(self, returned) + (calls[0] == call + 1)

    return logits


def test_logits_that_are_not_finite_are_no_agreement(monkeypatch: pytest.MonkeyPatch) -> None:
    algorithm, _, alignment = exact()
    pairs = cm.counterfactuals(algorithm, 20, seed=0)
    monkeypatch.setattr(Twin, "logits", lambda self, returned: returned * float("nan"))
    with pytest.raises(EngineError, match="pyvene answers otherwise than this library"):
        cm.evaluate(alignment, pairs, engine="pyvene")

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from commutes.errors import NetworkError
from commutes.network import Columns, Network


def _network(encode: Any) -> Network:
    return Network(nn.Linear(2, 2), encode=encode, answers=[0, 1])


VALUES = {"a": np.arange(4), "b": np.array([True, False, True, True])}


def _error(encode: Any, values: Any = None) -> str:
    with pytest.raises(NetworkError) as caught:
        _network(encode).encode(VALUES if values is None else values)
    return str(caught.value)


def test_encode_may_return_a_tensor_a_tuple_or_a_dict() -> None:
    a, b = torch.zeros(4, 2), torch.ones(4, 3, dtype=torch.long)
    one = _network(lambda v: a).encode(VALUES)
    assert (len(one.args), dict(one.kwargs), one.n) == (1, {}, 4)
    two = _network(lambda v: (a, b)).encode(VALUES)
    assert [t.shape for t in two.args] == [(4, 2), (4, 3)]
    listed = _network(lambda v: [a, b]).encode(VALUES)
    assert len(listed.args) == 2
    named = _network(lambda v: {"input_ids": b, "mask": a}).encode(VALUES)
    assert named.args == ()
    assert list(named.kwargs) == ["input_ids", "mask"]
    assert list(named.values) == ["a", "b"]


def test_encode_gets_the_values_by_name() -> None:
    def encode(values: dict[str, np.ndarray]) -> torch.Tensor:
        assert list(values) == ["a", "b"]
        assert all(isinstance(column, np.ndarray) for column in values.values())
        return torch.zeros(len(values["a"]), 2)

    assert _network(encode).encode({"a": [1, 2], "b": [0, 0]}).n == 2  # type: ignore[dict-item]


def test_rows_repeat_and_reorder_everything() -> None:
    inputs = _network(lambda v: (torch.from_numpy(v["a"]), torch.zeros(4, 1))).encode(VALUES)
    some = inputs.rows(torch.tensor([3, 0, 3]))
    assert some.args[0].tolist() == [3, 0, 3]
    assert some.values["a"].tolist() == [3, 0, 3]
    assert some.values["b"].tolist() == [True, True, True]
    assert some.n == 3


def test_encode_returns_tensors() -> None:
    assert _error(lambda v: v["a"]) == (
        "encode must return tensors\n"
        "  got:      ndarray\n"
        "  expected: a tensor, a tuple of tensors, or a dict of tensors by argument name"
    )


@pytest.mark.parametrize(
    ("answer", "where", "got"),
    [
        (torch.zeros(3, 2), "argument 0", "(3, 2) for 4 inputs"),
        (torch.zeros(()), "argument 0", "() for 4 inputs"),
        ((torch.zeros(4, 2), torch.zeros(1, 4)), "argument 1", "(1, 4) for 4 inputs"),
        ({"x": torch.zeros(4), "mask": None}, "mask", "NoneType for 4 inputs"),
        ([[0.0, 1.0]], "argument 0", "list for 4 inputs"),
    ],
    ids=["too few", "no axis", "the second", "None by name", "a list of numbers"],
)
def test_encode_returns_one_row_per_input(answer: Any, where: str, got: str) -> None:
    assert _error(lambda v: answer) == (
        "encode must return one row per input\n"
        f"  where:    {where}\n"
        f"  got:      {got}\n"
        "  expected: a tensor whose first axis has length 4\n"
        "  do:       encode gets arrays by input name, one entry per example: return the batch first"
    )


@pytest.mark.parametrize(("values", "got"), [({}, "0 columns"), ({"a": []}, "columns of length 0")])
def test_there_must_be_inputs(values: dict[str, list[int]], got: str) -> None:
    assert _error(lambda v: torch.zeros(0, 2), values) == (
        f"there are no inputs to run\n  got:      {got}\n  expected: at least one example"
    )


def test_an_exception_in_encode_is_the_users() -> None:
    with pytest.raises(KeyError, match="'c'"):
        _network(lambda v: v["c"]).encode(VALUES)


def test_what_was_found_out_about_examples_goes_with_them() -> None:
    asked: list[Columns] = []

    def find() -> list[str]:
        asked.append(columns)
        return [f"{a} {b}" for a, b in zip(columns["a"], columns["b"], strict=True)]

    columns = Columns(VALUES)
    assert columns == VALUES
    assert columns.once("text", find)[2] == "2 True"
    part = columns.rows(np.array([3, 1, 1]))
    assert part.once("text", find) == ["3 True", "1 False", "1 False"]
    assert part["a"].tolist() == [3, 1, 1]
    assert len(asked) == 1
    # Another question, and others' columns.
    assert columns.once("length", lambda: [1, 2, 3, 4]) == [1, 2, 3, 4]
    assert Columns(columns).once("text", find) == columns.once("text", find)
    assert len(asked) == 2


def test_inputs_may_forget_it() -> None:
    inputs = _network(lambda v: torch.zeros(4, 2)).encode(VALUES)
    assert inputs.values.once("text", lambda: list("abcd")) == list("abcd")
    assert inputs.rows(torch.tensor([2])).values.once("text", lambda: ["x"]) == ["c"]
    other = inputs.forgetful()
    assert other.values.once("text", lambda: list("wxyz")) == list("wxyz")
    assert (other.args, other.n, dict(other.values)) == (inputs.args, inputs.n, dict(inputs.values))

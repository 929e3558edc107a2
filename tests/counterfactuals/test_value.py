"""The value: splits, subsets, replication, other algorithms."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from commutes.algorithm import Algorithm
from commutes.counterfactuals import Counterfactuals, census, counterfactuals
from commutes.errors import DataError


def rows_of(pairs: Counterfactuals) -> set[tuple[int, ...]]:
    return set(zip(*(column.tolist() for column in pairs.inputs.values()), strict=True))


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 2**70), st.floats(0.15, 0.6), st.floats(0.15, 0.35))
def test_parts_share_no_input(equality_of_seven: Algorithm, seed: int, first: float, second: float) -> None:
    pairs = counterfactuals(equality_of_seven, 600, seed=seed)
    parts = pairs.split(train=first, test=second)
    assert [p.part for p in parts] == ["train", "test"]
    assert not rows_of(parts[0]) & rows_of(parts[1])
    assert not set(parts[0].ids.tolist()) & set(parts[1].ids.tolist())


@pytest.fixture(scope="session", name="equality_of_seven")
def _seven() -> Algorithm:
    algorithm = Algorithm("small equality")
    algorithm.inputs("w x y z", domain=range(7))
    algorithm.add("left", "w", "x", f=lambda w, x: w == x, domain=[False, True])
    algorithm.add("right", "y", "z", f=lambda y, z: y == z, domain=[False, True])
    return_output = algorithm.add(
        "same", "left", "right", f=lambda a, b: a == b, domain=[False, True], output=True
    )
    assert return_output.kind == "output"
    return algorithm.check()


def test_an_input_belongs_to_its_part_whoever_draws(equality_of_seven: Algorithm) -> None:
    """Other n, other seed of drawing, another algorithm: the partition by input stays."""
    train, test = counterfactuals(equality_of_seven, 2_000, seed=3).split(train=0.5, test=0.5)
    other = counterfactuals(equality_of_seven, 300, seed=3).split(train=0.5, test=0.5)
    assert not rows_of(other[0]) & rows_of(test)
    assert not rows_of(other[1]) & rows_of(train)
    for again in (train.replicate(99), train.replicate(99, n=77)):
        assert again.part == "train"
        assert not np.array_equal(again.ids, train.ids)
        assert not rows_of(again) & rows_of(test)
    assert len(train.replicate(99, n=77)) == 77
    assert len(train.replicate(99)) == len(train)


def test_order_and_number_of_the_shares(equality_of_seven: Algorithm) -> None:
    pairs = counterfactuals(equality_of_seven, 1_000, seed=0)
    parts = pairs.split(test=0.25, other=0.25, train=0.5)
    assert [(p.part, len(p)) for p in parts] == [("test", 250), ("other", 250), ("train", 500)]
    assert sum(len(p) for p in pairs.split(a=1 / 3, b=1 / 3, c=1 / 3)) == 1_000
    everything = pairs.split(test=1.0)[0]
    assert len(everything) == 1_000


def test_another_algorithm_gets_the_same_design(equality_of_seven: Algorithm) -> None:
    control = Algorithm("control")
    control.inputs("w x y z", domain=range(7))
    control.add("left", "w", "x", f=lambda w, x: (w + x) % 2 == 0, domain=[False, True])
    control.add("right", "y", "z", f=lambda y, z: y == z, domain=[False, True])
    control.add("same", "left", "right", f=lambda a, b: a == b, domain=[False, True], output=True)
    train, test = counterfactuals(equality_of_seven, 600, seed=0).split(train=0.5, test=0.5)
    redrawn = test.for_algorithm(control)
    assert redrawn.algorithm is control
    assert redrawn.part == "test"
    assert len(redrawn) == len(test)
    assert not rows_of(redrawn) & rows_of(train)
    assert [s.label for s in redrawn.swaps] == ["left", "right"]
    assert redrawn.swaps[0].variables == (control["left"],)
    w, x, y, z = (redrawn.inputs[k] for k in "wxyz")
    left = (w + x) % 2 == 0
    assert np.array_equal(redrawn.answers == 1, left == (y == z))
    swapped = redrawn.swap == 0
    expected = left[redrawn.source[:, 0]] == (y == z)[redrawn.base]
    assert np.array_equal(redrawn.expected[swapped] == 1, expected[swapped])
    whole = census(control, swap={"left"}).complete if control.input_count**2 <= 1_000_000 else True
    assert whole


def test_a_census_of_another_algorithm_is_a_census(boolean: Algorithm) -> None:
    other = Algorithm("or")
    other.inputs("a b c", domain=[False, True])
    other.add("p", "a", "b", f=lambda a, b: a or b, domain=[False, True])
    other.add("q", "a", "c", f=lambda a, c: a and c, domain=[False, True])
    other.add("out", "p", "q", f=lambda p, q: p or q, domain=[False, True], output=True)
    redrawn = census(boolean).for_algorithm(other)
    assert redrawn.complete
    assert len(redrawn) == 128


def test_another_algorithm_with_other_inputs_or_variables_is_refused(boolean: Algorithm) -> None:
    pairs = counterfactuals(boolean, 50, seed=0)
    wide = Algorithm("wide")
    wide.inputs("a b c", domain=[0, 1, 2])
    wide.add("p", "a", "b", f=lambda a, b: a + b)
    wide.add("out", "p", "c", f=lambda p, c: p + c, output=True)
    with pytest.raises(DataError) as caught:
        pairs.for_algorithm(wide)
    assert str(caught.value) == (
        "the algorithms 'and-or' and 'wide' have different inputs\n"
        "  where:    for_algorithm\n"
        "  got:      a in {0, 1, 2}, b in {0, 1, 2}, c in {0, 1, 2}\n"
        "  expected: a in {False, True}, b in {False, True}, c in {False, True}\n"
        "  do:       declare the same inputs with the same domains in both"
    )
    lean = Algorithm("lean")
    lean.inputs("a b c", domain=[False, True])
    lean.add("p", "a", "b", "c", f=lambda a, b, c: a and (b or c))
    lean.add("out", "p", f=lambda p: p, output=True)
    with pytest.raises(DataError) as caught:
        pairs.for_algorithm(lean)
    assert str(caught.value) == (
        "the algorithm 'lean' lacks a variable that is swapped\n"
        "  where:    for_algorithm\n"
        "  got:      variables a, b, c, p, out\n"
        "  expected: variables p, q\n"
        "  do:       give the other algorithm's variables the same names"
    )


def test_a_subset_keeps_every_column(equality: Algorithm) -> None:
    pairs = counterfactuals(equality, 900, swap=[{"left"}, {"left", "right"}], seed=0)
    picked = np.array([5, 700, 3, 899])
    few = pairs.subset(picked)
    assert len(few) == 4
    for name in ("swap", "expected", "stratum", "moved", "effective", "base_answer", "source_answer"):
        assert np.array_equal(getattr(few, name), getattr(pairs, name)[picked]), name
    for column in ("w", "x", "y", "z"):
        assert np.array_equal(few.inputs[column][few.base], pairs.inputs[column][pairs.base[picked]])
    assert np.array_equal(few.source < 0, pairs.source[picked] < 0)
    assert np.array_equal(few.ids[few.base], pairs.ids[pairs.base[picked]])
    assert np.array_equal(few.source_value("left"), pairs.source_value("left")[picked])
    assert len(few.ids) == len(np.unique(few.members[few.members >= 0]))
    masked = pairs.subset(pairs.effective)
    assert masked.effective.all()
    assert not pairs.subset([0]).reused or pairs.base[0] == pairs.source[0, 0]
    assert np.array_equal(few.input_ids, np.sort(few.ids))


def test_a_subset_of_a_census_is_one_while_cells_are_whole(boolean: Algorithm) -> None:
    pairs = census(boolean)
    assert pairs.subset(pairs.stratum == 0).complete
    assert pairs.subset(pairs.swap == 1).complete
    assert not pairs.subset(np.arange(len(pairs) - 1)).complete
    assert not pairs.subset([0] * 500).complete


@pytest.mark.parametrize(
    ("rows", "what"),
    [
        ([], "no pairs are left"),
        (np.zeros(50, dtype=bool), "no pairs are left"),
        ([50], "these rows are not rows of the data"),
        ([0.5], "these rows are not rows of the data"),
        (np.ones(49, dtype=bool), "these rows are not rows of the data"),
        ([[0, 5]], "these rows are not rows of the data"),
    ],
)
def test_rows_that_do_not_exist_are_refused(boolean: Algorithm, rows: object, what: str) -> None:
    with pytest.raises(DataError, match=what):
        counterfactuals(boolean, 50, seed=0).subset(rows)


def refused(call) -> str:
    with pytest.raises(DataError) as caught:
        call()
    return str(caught.value)


def test_what_cannot_be_split(equality_of_seven: Algorithm, boolean: Algorithm) -> None:
    pairs = counterfactuals(equality_of_seven, 100, seed=0)
    part = pairs.split(test=0.5)[0]
    assert refused(lambda: part.split(test=0.5)) == (
        "the part 'test' of a split cannot be split\n"
        "  where:    split\n"
        "  got:      50 pairs of the part 'test' of a split\n"
        "  expected: undivided pairs, as counterfactuals(algorithm, n, seed=...) gives them\n"
        "  do:       split the undivided pairs once, into all the parts that are needed"
    )
    assert refused(lambda: census(boolean).split(test=0.5)).startswith("a census cannot be split\n")
    assert refused(lambda: pairs.subset([1, 2]).split(test=0.5)).startswith("a subset cannot be split\n")
    assert refused(lambda: census(boolean).replicate(1)).startswith("a census cannot be replicated\n")


def test_wrong_shares(equality_of_seven: Algorithm) -> None:
    pairs = counterfactuals(equality_of_seven, 100, seed=0)
    assert refused(lambda: pairs.split(train=0.7, test=0.5)) == (
        "the shares sum to more than 1\n"
        "  where:    split\n"
        "  got:      0.7 + 0.5 = 1.2\n"
        "  expected: at most 1, since no input may be in two parts\n"
        "  do:       write split(train=0.5, select=0.2, test=0.3)"
    )
    for share in (-0.1, 0, 1.5, True, "half", float("nan")):
        assert refused(lambda share=share: pairs.split(test=share)) == (
            "the share of part 'test' is not a share\n"
            "  where:    split\n"
            f"  got:      test = {share!r}\n"
            "  expected: a number above 0 and at most 1\n"
            "  do:       write split(train=0.5, select=0.2, test=0.3)"
        )
    assert refused(lambda: pairs.split()).startswith("split needs the parts and their shares\n")


def test_too_few_inputs_name_the_census(boolean: Algorithm) -> None:
    text = refused(lambda: counterfactuals(boolean, 100, seed=0).split(train=0.5, test=0.5))
    assert text.startswith("too few inputs in part '")
    assert "swapping p, stratum novel" in text
    assert (
        "do:       run the complete domain instead: census(algorithm); or give the part a larger share"
        in text
    )
    assert "too few inputs" in refused(lambda: counterfactuals(boolean, 100, seed=0).split(test=1e-6))

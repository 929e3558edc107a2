"""Evaluation by column against an oracle that goes row by row and shares no code with it."""

from __future__ import annotations

import itertools
from collections import Counter
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from commutes.algorithm import Algorithm, Finite, _mechanism, reals, vectors
from commutes.errors import AlgorithmError, DomainError

# Five values of five kinds, in the arithmetic of integers modulo 5; True and 1 are different ones.
LABELS = (True, 1, "one", (1, 12), None)
RANK = {(type(label), label): rank for rank, label in enumerate(LABELS)}


class Recipe:
    """A random algorithm: each variable is a linear function, modulo 5, of some of those before it."""

    def __init__(self, inputs: int, inner: list[tuple[tuple[int, ...], tuple[int, ...]]]) -> None:
        self.inputs = [f"i{n}" for n in range(inputs)]
        self.terms: dict[str, dict[str, int]] = {}
        for number, (picks, factors) in enumerate(inner):
            before = [*self.inputs, *self.terms]
            parents = list(dict.fromkeys(before[pick % len(before)] for pick in picks))
            self.terms[f"v{number}"] = dict(zip(parents, factors, strict=False))
        used = {parent for terms in self.terms.values() for parent in terms}
        loose = [name for name in (*self.inputs, *self.terms) if name not in used]
        self.terms["out"] = {name: 1 + n % 4 for n, name in enumerate(loose)}

    def build(self) -> Algorithm:
        algorithm = Algorithm("random")
        algorithm.inputs(self.inputs, domain=LABELS)
        for name, terms in self.terms.items():
            algorithm.add(name, *terms, f=self.mechanism(terms), domain=LABELS, output=name == "out")
        return algorithm

    @staticmethod
    def mechanism(terms: dict[str, int]):
        def mechanism(*values):
            total = sum(
                factor * RANK[type(value), value]
                for factor, value in zip(terms.values(), values, strict=True)
            )
            return LABELS[total % 5]

        return mechanism

    def oracle(self, row: dict[str, Any], do: dict[str, Any]) -> dict[str, Any]:
        values = {name: do.get(name, row[name]) for name in self.inputs}
        for name, terms in self.terms.items():
            computed = self.mechanism(terms)(*(values[parent] for parent in terms))
            values[name] = do.get(name, computed)
        return values


recipes = st.builds(
    Recipe,
    st.integers(1, 3),
    st.lists(
        st.tuples(
            st.lists(st.integers(0, 20), min_size=1, max_size=3).map(tuple),
            st.tuples(*[st.integers(1, 4)] * 3),
        ),
        max_size=4,
    ),
)


def same(left: Any, right: Any) -> bool:
    return type(left) is type(right) and left == right


def checked(recipe: Recipe) -> Algorithm:
    algorithm = recipe.build()
    try:
        return algorithm.check()
    except AlgorithmError as error:  # sums may cancel; nothing else can be wrong with a recipe
        assume("constant" not in error.what)
        raise


@settings(max_examples=60, deadline=None)
@given(recipes, st.data())
def test_columns_equal_rows(recipe, data):
    algorithm = checked(recipe)
    n = data.draw(st.integers(0, 6))
    names = [*recipe.inputs, *recipe.terms]
    rows = [{name: data.draw(st.sampled_from(LABELS)) for name in recipe.inputs} for _ in range(n)]
    fixed = data.draw(st.lists(st.sampled_from(names), unique=True, max_size=3))
    do = {name: [data.draw(st.sampled_from(LABELS)) for _ in range(n)] for name in fixed}
    columns = algorithm.columns({name: [row[name] for row in rows] for name in recipe.inputs})
    encoded = {algorithm[name]: algorithm.domain(name).encode(values) for name, values in do.items()}
    result = algorithm.run(columns, encoded)
    assert list(result) == [variable.name for variable in algorithm.variables]
    decoded = {name: algorithm.values(name, column) for name, column in result.items()}
    for number, row in enumerate(rows):
        interventions = {name: values[number] for name, values in do.items()}
        expected = recipe.oracle(row, interventions)
        assert all(same(decoded[name][number], expected[name]) for name in names)
        single = algorithm.evaluate(row, do=interventions)
        assert all(same(single[name], expected[name]) for name in names)


@settings(max_examples=40, deadline=None)
@given(recipes, st.randoms(use_true_random=False), st.integers(0, 2**32))
def test_interchange_is_do_with_the_sources_values(recipe, random, seed):
    algorithm = checked(recipe)
    rng = np.random.default_rng(seed)
    draw = lambda: {name: rng.integers(5, size=20) for name in recipe.inputs}
    base, sources = draw(), {}
    for variable in algorithm.inner_variables:
        if random.random() < 0.6:
            sources[variable] = draw()
    expected = algorithm.run(base, {v: algorithm.run(source)[v.name] for v, source in sources.items()})
    result = algorithm.interchange(base, sources)
    for name, column in expected.items():
        assert (result[name] == column).all()


@settings(max_examples=40, deadline=None)
@given(recipes, st.data(), st.integers(0, 2**32))
def test_the_answer_under_an_intervention_is_that_of_the_whole_run(recipe, data, seed):
    """Given only what enters below the intervention, it is what running everything again gives."""
    algorithm = checked(recipe)
    rng = np.random.default_rng(seed)
    clean = algorithm.run({name: rng.integers(5, size=20) for name in recipe.inputs})
    names = [v.name for v in algorithm.variables if v is not algorithm.output_variable]
    fixed = data.draw(st.lists(st.sampled_from(names), unique=True, min_size=1, max_size=3))
    do = {name: rng.integers(5, size=20) for name in fixed}
    below = {v for name in fixed for v in algorithm.descendants(name)}
    entering = {p.name for v in below for p in algorithm.parents(v)}
    known = {name: clean[name] for name in entering}
    whole = algorithm.run({name: clean[name] for name in recipe.inputs}, do)["out"]
    assert (algorithm.answers_under(known, do) == whole).all()


@settings(max_examples=40, deadline=None)
@given(recipes, st.integers(0, 2**32))
def test_interchange_with_itself_is_the_identity(recipe, seed):
    algorithm = checked(recipe)
    rng = np.random.default_rng(seed)
    base = {name: rng.integers(5, size=20) for name in recipe.inputs}
    result = algorithm.interchange(base, dict.fromkeys(algorithm.variables, base))
    clean = algorithm.run(base)
    assert all((result[name] == clean[name]).all() for name in clean)


@settings(max_examples=40, deadline=None)
@given(recipes, st.integers(0, 2**32))
def test_all_parents_together_determine_the_output(recipe, seed):
    algorithm = checked(recipe)
    rng = np.random.default_rng(seed)
    base, other = ({name: rng.integers(5, size=20) for name in recipe.inputs} for _ in range(2))
    full = algorithm.run(other)
    do = {v: full[v.name] for v in algorithm.parents(algorithm.output_variable)}
    assert (algorithm.run(base, do)["out"] == full["out"]).all()
    everything = {v: full[v.name] for v in (*algorithm.inner_variables, *algorithm.input_variables)}
    assert (algorithm.run(base, everything)["out"] == full["out"]).all()


@settings(max_examples=30, deadline=None)
@given(recipes)
def test_graph_questions_agree_with_paths(recipe):
    algorithm = checked(recipe)
    order = [variable.name for variable in algorithm.variables]
    parents = {name: list(recipe.terms.get(name, ())) for name in order}
    assert order[: len(recipe.inputs)] == recipe.inputs
    assert all(order.index(parent) < order.index(name) for name in order for parent in parents[name])
    reach = {(p, c) for c in order for p in parents[c]}
    for middle in order:
        reach |= {(a, d) for a, b in reach for c, d in reach if b == c == middle}
    for name in order:
        names = lambda variables: [variable.name for variable in variables]
        assert names(algorithm.ancestors(name)) == [other for other in order if (other, name) in reach]
        assert names(algorithm.descendants(name)) == [other for other in order if (name, other) in reach]
        assert names(algorithm.parents(name)) == [other for other in order if other in parents[name]]


def test_one_call_per_distinct_row_and_none_for_rows_that_were_seen(equality):
    calls: Counter[tuple[Any, ...]] = Counter()

    def equal(p, q):
        calls[p, q] += 1
        return p == q

    a = Algorithm("counted")
    a.inputs("x y", domain=range(2_000))  # four million rows: no table
    a.add("out", "x", "y", f=equal, domain=bool, output=True)
    a.check()
    calls.clear()
    columns = {"x": np.array([1, 1, 2, 1, 1999]), "y": np.array([1, 1, 2, 3, 1999])}
    tried = set(calls)
    assert a.run(columns)["out"].tolist() == [1, 1, 1, 0, 1]
    assert max(calls.values()) == 1
    assert set(calls) <= {(1, 1), (2, 2), (1, 3), (1999, 1999)}
    assert tried == set()
    before = calls.copy()
    assert a.run(columns)["out"].tolist() == [1, 1, 1, 0, 1]
    assert calls == before


def test_a_small_mechanism_is_a_table_after_the_check():
    calls: Counter[int] = Counter()

    def double(x):
        calls[x] += 1
        return 2 * x

    a = Algorithm("counted")
    a.input("x", domain=range(50))
    a.add("out", "x", f=double, output=True)
    a.check()
    assert set(calls.values()) == {2}  # once for the table, once to see whether it answers the same
    a.run({"x": np.arange(50).repeat(10)})
    assert set(calls.values()) == {2}


def test_vectors_are_handed_over_as_tuples_once_per_distinct_row():
    calls: Counter[Any] = Counter()

    def equal(p, q):
        assert type(p) is tuple
        assert type(p[0]) is float
        calls[p, q] += 1
        return p == q

    a = Algorithm("vectors")
    a.inputs("p q", domain=vectors(3))
    a.add("out", "p", "q", f=equal, domain=bool, output=True)
    a.check()
    calls.clear()
    rng = np.random.default_rng(0)
    pool = rng.uniform(-1, 1, (10, 3))
    p, q = rng.integers(10, size=(2, 500))
    result = a.run(a.columns({"p": pool[p], "q": pool[q]}))
    assert result["out"].tolist() == (p == q).tolist()
    assert len(calls) == len(set(zip(p.tolist(), q.tolist(), strict=True)))
    assert set(calls.values()) == {1}
    assert a.evaluate({"p": (0.5, 0.0, 1), "q": [0.5, -0.0, 1]})["out"] is True


def test_rows_are_grouped_exactly_even_where_their_hashes_collide(monkeypatch):
    from commutes.algorithm import _hash

    columns = [np.random.default_rng(0).integers(6, size=(200)) for _ in range(2)]
    expected = [tuple(row) for row in np.stack(columns, axis=1).tolist()]
    for collide in (False, True):
        if collide:
            monkeypatch.setattr(_hash, "mix", lambda words: words & np.uint64(1))
        first, inverse = _hash.distinct_rows(columns)
        assert [expected[first[group]] for group in inverse] == expected
        assert len(first) == len(set(expected))


def test_many_rows_are_converted_chunk_by_chunk(monkeypatch):
    monkeypatch.setattr(_mechanism, "CHUNK", 7)
    a = Algorithm("chunks")
    a.inputs("x y", domain=reals())
    a.add("z", "x", "y", f=lambda x, y: x - y, domain=reals())
    a.add("out", "z", f=lambda z: z > 0, domain=bool, output=True)
    x, y = np.random.default_rng(0).standard_normal((2, 50))
    result = a.run({"x": x, "y": y})
    assert (result["z"] == x - y).all()
    assert (result["out"] == (x > y)).all()


def test_an_output_may_be_a_real_number():
    a = Algorithm("a sum of parts")
    a.inputs("x y", domain=vectors(2))
    a.add("sum", "x", "y", f=lambda x, y: (x[0] + y[0], x[1] + y[1]), domain=vectors(2, -2, 2))
    a.add("out", "sum", f=lambda s: s[0] * s[1], domain=reals(tolerance=1e-6), output=True)
    columns = a.columns({"x": [(0.5, 1.0)], "y": [(0.25, -0.5)]})
    assert a.run(columns)["out"].tolist() == [0.375]
    assert a.run(columns, {"sum": np.array([[1.0, 2.0]])})["out"].tolist() == [2.0]
    assert a.input_count is None
    assert a.arrays(columns)["x"].tolist() == [[0.5, 1.0]]


def test_a_real_variable_may_depend_on_finite_ones():
    a = Algorithm("a mean")
    a.inputs("x y", domain=range(5))
    a.add("mean", "x", "y", f=lambda x, y: (x + y) / 2, domain=reals())
    a.add("out", "mean", f=lambda m: m > 2, domain=bool, output=True)
    result = a.run(a.enumerate_inputs())
    assert result["mean"].tolist() == [(x + y) / 2 for x in range(5) for y in range(5)]


def test_a_mechanism_without_parents_can_be_intervened_on():
    a = Algorithm("a switch")
    a.input("x", domain=range(3))
    a.add("negate", f=lambda: False, domain=bool)
    a.add("out", "x", "negate", f=lambda x, negate: -x if negate else x, output=True)
    assert a.evaluate({"x": 2})["out"] == 2
    assert a.evaluate({"x": 2}, do={"negate": True})["out"] == -2
    assert a.run({"x": np.array([0, 1, 2])})["negate"].tolist() == [0, 0, 0]


def test_twenty_parents_are_more_rows_than_an_index_can_number():
    a = Algorithm("wide")
    names = [f"d{i}" for i in range(20)]
    a.inputs(names, domain=range(10))
    a.add("out", *names, f=lambda *digits: sum(digits) % 2, domain=range(2), output=True)
    assert a.input_count == 10**20
    rng = np.random.default_rng(0)
    columns = {name: rng.integers(10, size=100) for name in names}
    assert a.run(columns)["out"].tolist() == (sum(columns.values()) % 2).tolist()


def test_inputs_are_listed_with_the_last_varying_fastest(make_equality):
    a = make_equality(2)
    listed = a.enumerate_inputs()
    rows = list(zip(*(a.values(name, column) for name, column in listed.items()), strict=True))
    assert rows == list(itertools.product(range(2), repeat=4))
    assert a.input_count == 16


def test_too_many_inputs_are_not_listed(equality):
    with pytest.raises(DomainError) as caught:
        equality.enumerate_inputs(limit=100_000)
    assert str(caught.value) == (
        "the inputs of hierarchical equality cannot be listed\n  got:      160,000 inputs\n"
        "  expected: at most 100,000\n"
        "  do:       sample instead: draw counterfactuals, or declare smaller domains"
    )
    a = Algorithm("large")
    a.inputs("x y z", domain=range(1_000))
    a.add("out", "x", "y", "z", f=lambda x, y, z: x == y == z, domain=bool, output=True)
    with pytest.raises(DomainError, match="sample instead") as caught:
        a.enumerate_inputs()
    assert caught.value.got == "1,000,000,000 inputs"


def test_infinite_inputs_are_not_listed():
    a = Algorithm("infinite")
    a.input("x", domain=reals())
    a.add("out", "x", f=lambda x: x > 0, domain=bool, output=True)
    with pytest.raises(DomainError, match="sample instead") as caught:
        a.enumerate_inputs()
    assert caught.value.got == "infinitely many"


def text_of(raising) -> str:
    with pytest.raises(AlgorithmError) as caught:
        raising()
    return str(caught.value)


def zeros(n: int = 2) -> dict[str, np.ndarray]:
    return {name: np.zeros(n, dtype=np.int64) for name in "wxyz"}


def test_a_misspelt_intervention(equality):
    expected = (
        "hierarchical equality has no variable 'lefft'\n  expected: one of w, x, y, z, left, right, same\n"
        "  do:       write left"
    )
    row = dict.fromkeys("wxyz", 0)
    assert text_of(lambda: equality.run(zeros(), {"lefft": np.zeros(2, dtype=np.int64)})) == expected
    assert text_of(lambda: equality.evaluate(row, do={"lefft": True})) == expected
    assert text_of(lambda: equality.interchange(zeros(), {"lefft": zeros()})) == expected
    assert text_of(lambda: equality["lefft"]) == expected


def test_an_intervention_outside_the_domain(equality):
    row = dict.fromkeys("wxyz", 0)
    assert text_of(lambda: equality.evaluate(row, do={"left": 1})) == (
        "value outside the domain\n  where:    do(left)\n  got:      1 (int)\n  expected: {False, True}\n"
        "  do:       write True (bool): it equals 1 in Python but is another value here"
    )
    assert text_of(lambda: equality.run(zeros(), {"left": np.array([0, 2])})) == (
        "not a column of left\n  got:      code 2 in row 1\n"
        "  expected: int64 codes from 0 to 1 of {False, True}\n"
        "  do:       encode plain values: algorithm.domain('left').encode(values)"
    )
    assert "an array of dtype bool and shape (2,)" in text_of(
        lambda: equality.run(zeros(), {"left": np.array([True, False])})
    )


def test_an_intervention_outside_a_space():
    a = Algorithm("real")
    a.input("x", domain=reals(0, 1))
    a.add("out", "x", f=lambda x: x > 0.5, domain=bool, output=True)
    assert text_of(lambda: a.run({"x": np.array([0.5])}, {"x": np.array([2.0])})) == (
        "not a column of x\n  got:      2.0 in row 0\n  expected: float64 values of real numbers in [0, 1]\n"
        "  do:       encode plain values: algorithm.domain('x').encode(values)"
    )


def test_an_intervention_of_another_length(equality):
    assert text_of(lambda: equality.run(zeros(3), {"left": np.zeros(1, dtype=np.int64)})) == (
        "the intervention on left and the inputs differ in length\n  got:      1 values for 3 inputs\n"
        "  do:       give one value per row; nothing is repeated silently"
    )
    assert "2 values for 3 inputs" in text_of(lambda: equality.interchange(zeros(3), {"left": zeros(2)}))


def test_an_intervention_given_twice(equality):
    column = np.zeros(2, dtype=np.int64)
    expected = "left is given twice\n  got:      by name and as a variable\n  do:       give it once"
    left = equality["left"]
    assert text_of(lambda: equality.run(zeros(), {left: column, "left": column})) == expected
    assert text_of(lambda: equality.interchange(zeros(), {left: zeros(), "left": zeros()})) == expected
    row = dict.fromkeys("wxyz", 0)
    assert text_of(lambda: equality.evaluate(row, do={left: True, "left": False})) == expected


def test_a_variable_of_another_algorithm(equality, make_equality):
    other = make_equality(3)
    with pytest.raises(AlgorithmError, match="left belongs to another algorithm"):
        equality.domain(other["left"])
    assert other["left"] not in equality
    assert equality["left"] in equality
    assert "left" in equality


def test_inputs_that_are_missing_or_of_unequal_length_or_not_inputs(equality):
    row = {"w": [0], "x": [0], "y": [0]}
    assert text_of(lambda: equality.columns(row)) == (
        "no values for z\n  got:      values of w, x, y\n  expected: values of w, x, y, z\n"
        "  do:       give every input"
    )
    assert text_of(lambda: equality.run({})).startswith(
        "no values for w, x, y, z\n  got:      values of nothing"
    )
    assert text_of(lambda: equality.columns({**row, "z": [0, 1]})) == (
        "columns of unequal length\n  got:      w: 1, x: 1, y: 1, z: 2\n"
        "  expected: one value of every input per row"
    )
    assert text_of(lambda: equality.columns({**row, "z": [0], "left": [True]})) == (
        "left is not an input: it has a mechanism\n  expected: values of w, x, y, z\n"
        "  do:       intervene on it: do={'left': ...}"
    )
    assert "has no variable 'zz'" in text_of(lambda: equality.columns({**row, "zz": [0]}))
    assert "w is given twice" in text_of(lambda: equality.columns({**row, "z": [0], equality["w"]: [0]}))


def test_an_input_outside_its_domain(equality):
    values = {"w": [0, 20], "x": [0, 0], "y": [0, 0], "z": [0, 0]}
    assert text_of(lambda: equality.columns(values)) == (
        "value outside the domain\n  where:    w, row 1\n  got:      20 (int)\n"
        "  expected: {0, 1, 2, ..., 19}\n  do:       the nearest value is 19"
    )


def test_columns_take_any_sequence_and_run_any_integer_dtype(equality):
    columns = equality.columns(
        {"w": (1, 2), equality["x"]: np.array([1, 3], dtype=np.int8), "y": range(2), "z": iter([0, 1])}
    )
    assert all(column.dtype == np.int64 for column in columns.values())
    small = {name: column.astype(np.uint8) for name, column in columns.items()}
    assert equality.run(small)["same"].tolist() == [1, 0]
    assert equality.run(small)["w"].dtype == np.int64


def test_no_rows_at_all(equality):
    result = equality.run(equality.columns({name: [] for name in "wxyz"}))
    assert {len(column) for column in result.values()} == {0}
    a = Algorithm("real")
    a.inputs("x y", domain=vectors(2))
    a.add("out", "x", "y", f=lambda x, y: x == y, domain=bool, output=True)
    assert a.run(a.columns({"x": [], "y": []}))["out"].shape == (0,)


def test_values_and_arrays_refuse_codes_that_would_count_from_the_end(equality):
    assert equality.values("left", np.array([1, 0])) == [True, False]
    assert equality.arrays({"left": np.array([1, 0])})["left"].tolist() == [True, False]
    for ask in (lambda c: equality.values("left", c), lambda c: equality.arrays({"left": c})):
        assert "code -1 in row 0" in text_of(lambda ask=ask: ask(np.array([-1])))


def test_nothing_of_the_callers_is_changed(equality):
    base, sources = zeros(), {equality["left"]: zeros()}
    kept = {name: column.copy() for name, column in base.items()}
    result = equality.interchange(base, sources)
    result["left"][:] = 0
    assert list(base) == list(kept)
    assert all((base[name] == kept[name]).all() for name in kept)
    assert equality.run(base)["left"].tolist() == [1, 1]


def test_finite_domains_of_vectors_become_arrays_of_rows():
    a = Algorithm("symbols")
    symbols = [(0.0, 1.0), (1.0, 0.0), (0.5, 0.5)]
    a.inputs("x y", domain=symbols)
    a.add("out", "x", "y", f=lambda x, y: x == y, output=True)
    columns = a.columns({"x": np.array(symbols), "y": [symbols[0]] * 3})
    assert a.arrays(columns)["x"].tolist() == [list(symbol) for symbol in symbols]
    assert a.run(columns)["out"].tolist() == [1, 0, 0]
    assert a.domain("x") == Finite(symbols)

"""Labels against an oracle in plain Python that shares no code with the package: dictionaries and loops."""

from __future__ import annotations

import itertools
import random
from collections import Counter, defaultdict
from dataclasses import dataclass

import numpy as np
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from commutes.algorithm import Algorithm
from commutes.counterfactuals import Counterfactuals, Swap, census, counterfactuals, one_source
from commutes.errors import AlgorithmError, DataError


@dataclass
class Plain:
    """A model as tables: values are domain values, a mechanism is a dictionary from parents' values."""

    domains: dict[str, tuple]
    inputs: list[str]
    tables: dict[str, tuple[tuple[str, ...], dict]]

    def run(self, row: dict, do: dict | None = None) -> dict:
        values = dict(row)
        values.update(do or {})
        for name, (parents, table) in self.tables.items():
            if name not in (do or {}):
                values[name] = table[tuple(values[p] for p in parents)]
        return values

    def rows(self) -> list[dict]:
        spaces = [self.domains[name] for name in self.inputs]
        return [dict(zip(self.inputs, row, strict=True)) for row in itertools.product(*spaces)]


def make(seed: int) -> tuple[Plain, Algorithm]:
    """A random model: 2-4 inputs, 1-3 inner variables, tables drawn at random, two or three values each."""
    rng = random.Random(seed)
    domains, tables = {}, {}
    inputs = list("abcd")[: rng.randint(2, 4)]
    for name in inputs:
        domains[name] = tuple(range(10, 10 + rng.randint(2, 3)))
    known = list(inputs)
    inner = [f"v{i}" for i in range(rng.randint(1, 3))]
    for name in [*inner, "out"]:
        count = min(len(known), rng.randint(1, 3))
        parents = rng.sample(known, count)
        if name == "out":
            parents = [*inner, *rng.sample(inputs, rng.randint(0, 1))]
        domains[name] = tuple(f"{name}{i}" for i in range(rng.randint(2, 3)))
        grid = itertools.product(*(domains[p] for p in parents))
        tables[name] = (tuple(parents), {row: rng.choice(domains[name]) for row in grid})
        known.append(name)
    plain = Plain(domains, inputs, tables)
    algorithm = Algorithm("random")
    for name in inputs:
        algorithm.input(name, domain=domains[name])
    for name, (parents, table) in tables.items():
        algorithm.add(
            name,
            *parents,
            f=lambda *row, table=table: table[row],
            domain=domains[name],
            output=name == "out",
        )
    return plain, algorithm


def usable(seed: int) -> tuple[Plain, Algorithm]:
    plain, algorithm = make(seed)
    try:
        algorithm.check()
    except AlgorithmError:
        assume(False)
    return plain, algorithm


def stratum_of(expected: object, base: object, sources: list) -> str:
    agree = [expected == s for s in sources]
    if len(sources) == 1:
        names = {
            (False, True): "flip",
            (True, False): "placebo",
            (False, False): "novel",
            (True, True): "neutral",
        }
        return names[expected == base, agree[0]]
    if len(sources) == 2:
        return f"b={int(expected == base)} s1={int(agree[0])} s2={int(agree[1])}"
    spread = "all" if all(agree) else "some" if any(agree) else "none"
    return f"b={int(expected == base)} sources={spread}"


def weights_by_loops(plain: Plain, inner: list[str], swap: list[list[str]]) -> dict[str, float]:
    """Uniform over the inner variables' joint values, then over inputs that give them; all pairs in loops."""
    rows = plain.rows()
    clean = [plain.run(row) for row in rows]
    groups = defaultdict(list)
    for i, values in enumerate(clean):
        groups[tuple(values[v] for v in inner)].append(i)
    mass = [0.0] * len(rows)
    for members in groups.values():
        for i in members:
            mass[i] = 1 / len(groups) / len(members)
    found: dict[str, float] = defaultdict(float)
    for pair in itertools.product(range(len(rows)), repeat=1 + len(swap)):
        do = {v: clean[s][v] for names, s in zip(swap, pair[1:], strict=True) for v in names}
        expected = plain.run(rows[pair[0]], do)["out"]
        answers = [clean[s]["out"] for s in pair[1:]]
        weight = np.prod([mass[i] for i in pair])
        found[stratum_of(expected, clean[pair[0]]["out"], answers)] += weight
    return dict(found)


def check_rows(plain: Plain, pairs: Counterfactuals, rows: range) -> None:
    """Every column of these pairs, recomputed by hand."""
    algorithm = pairs.algorithm
    decoded = {name: algorithm.values(name, column) for name, column in pairs.inputs.items()}
    inputs = [{name: decoded[name][i] for name in plain.inputs} for i in range(len(pairs.ids))]
    expected = algorithm.values("out", pairs.expected)
    for i in rows:
        swap = pairs.swaps[pairs.swap[i]]
        base = inputs[pairs.base[i]]
        slots = [s for s in pairs.source[i] if s >= 0]
        assert len(slots) == len(swap.slots)
        clean = [plain.run(inputs[s]) for s in slots]
        do = {v.name: c[v.name] for vs, c in zip(swap.slots, clean, strict=True) for v in vs}
        y_b = plain.run(base)["out"]
        y = plain.run(base, do)["out"]
        assert y == expected[i]
        assert pairs.strata[pairs.stratum[i]] == stratum_of(y, y_b, [c["out"] for c in clean])
        assert algorithm.values("out", pairs.base_answer[[i]]) == [y_b]
        assert algorithm.values("out", pairs.source_answer[i, : len(slots)]) == [c["out"] for c in clean]
        assert bool(pairs.effective[i]) == (y != y_b)
        for v in pairs.variables:
            assert bool(pairs.swapped(v)[i]) == (v in swap.variables)
            if v in swap.variables:
                assert algorithm.values(v, pairs.source_value(v)[[i]]) == [do[v.name]]
                assert inputs[pairs.source_of(v)[i]] == inputs[pairs.source[i, pairs.slot_of(v)[i]]]
            else:
                assert pairs.source_value(v)[i] == -1
                assert pairs.source_of(v)[i] == -1
            assert algorithm.values(v, pairs.base_value(v)[[i]]) == [plain.run(base)[v.name]]


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 100_000), st.integers(0, 2**40))
def test_every_column_equals_the_oracles(model: int, seed: int) -> None:
    plain, algorithm = usable(model)
    names = [v.name for v in algorithm.inner_variables]
    sets: list = [{name} for name in names]
    if len(names) > 1:
        sets += [set(names[:2]), one_source(*algorithm.inner_variables[:2])]
    if len(names) > 2:
        sets.append(set(names))
    try:
        pairs = counterfactuals(algorithm, 60, swap=sets, seed=seed)
    except DataError:  # a variable that never matters, alone or jointly
        assume(False)
        raise
    assert [s.label for s in pairs.swaps][: len(names)] == names
    check_rows(plain, pairs, range(len(pairs)))
    assert len(set(pairs.ids.tolist())) == len(pairs.ids) == len(np.unique(pairs.members[pairs.members >= 0]))


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 100_000))
def test_weights_and_possible_strata_equal_exact_enumeration(model: int) -> None:
    plain, algorithm = usable(model)
    inner = [v.name for v in algorithm.inner_variables]
    sets = [[[inner[0]]]] + ([[[inner[0]], [inner[1]]]] if len(inner) > 1 and len(plain.rows()) <= 30 else [])
    for slots in sets:
        swap = {v for names in slots for v in names}
        exact = weights_by_loops(plain, inner, slots)
        try:
            pairs = counterfactuals(algorithm, 100, swap=swap, seed=0)
        except DataError:
            assume(False)
            raise
        assert pairs.weight_draws == 0
        assert abs(sum(pairs.weights.values()) - 1) < 1e-12
        counts = np.bincount(pairs.stratum, minlength=len(pairs.strata))
        for stratum, count in zip(pairs.strata, counts, strict=True):
            weight = exact.get(stratum, 0.0)
            assert abs(pairs.weights[pairs.swaps[0].label, stratum] - weight) < 1e-12
            assert (count > 0) == (weight > 0)
        assert counts[counts > 0].max() - counts[counts > 0].min() <= 1


@settings(max_examples=12, deadline=None)
@given(st.integers(0, 100_000))
def test_a_census_is_every_pair_once_with_the_same_weights(model: int) -> None:
    plain, algorithm = usable(model)
    name = algorithm.inner_variables[0].name
    try:
        pairs = census(algorithm, swap={name})
    except DataError:
        assume(False)
        raise
    m = len(plain.rows())
    assert pairs.complete
    assert pairs.reused
    assert set(zip(pairs.base.tolist(), pairs.source[:, 0].tolist(), strict=True)) == set(
        itertools.product(range(m), repeat=2)
    )
    assert len(pairs) == m * m
    check_rows(plain, pairs, range(0, m * m, max(1, m * m // 50)))
    exact = weights_by_loops(plain, [v.name for v in algorithm.inner_variables], [[name]])
    for stratum in pairs.strata:
        assert abs(pairs.weights[name, stratum] - exact.get(stratum, 0.0)) < 1e-12


def test_a_joint_swap_of_one_source_is_labelled_and_differs_from_one_of_two(equality_of) -> None:
    algorithm = equality_of(4)
    left, right = algorithm["left"], algorithm["right"]
    joint, shared = Swap((left, right)), one_source(left, right)
    assert joint.label == "left+right"
    assert shared.label == "left+right (one source)"
    pairs = counterfactuals(algorithm, 400, swap=[joint, shared], seed=0)
    assert pairs.source.shape == (400, 2)
    assert (pairs.source[pairs.swap == 1, 1] == -1).all()
    assert (pairs.source[pairs.swap == 0] >= 0).all()
    # All variables from one source: the expected answer is the source's.
    one = pairs.swap == 1
    assert (pairs.expected[one] == pairs.source_answer[one, 0]).all()
    assert (pairs.expected[~one] != pairs.source_answer[~one, 0]).any()
    assert pairs.slot_of(right)[one].tolist() == [0] * one.sum()
    assert pairs.slot_of(right)[~one].tolist() == [1] * (~one).sum()


def test_three_sources_have_their_own_strata() -> None:
    algorithm = Algorithm("majority")
    algorithm.inputs("a b c", domain=[0, 1])
    for name in "abc":
        algorithm.add(f"v{name}", name, f=lambda x: int(x > 0), domain=[0, 1])
    algorithm.add("out", "va", "vb", "vc", f=lambda x, y, z: int(x + y + z > 1), domain=[0, 1], output=True)
    pairs = census(algorithm, swap={"va", "vb", "vc"})
    assert len(pairs) == 8**4
    clean = {
        i: int(sum(v > 0 for v in row) > 1) for i, row in enumerate(itertools.product(range(2), repeat=3))
    }
    rows = list(itertools.product(range(2), repeat=3))
    decoded = np.stack([pairs.inputs[k] for k in "abc"], axis=1).tolist()
    assert [tuple(r) for r in decoded] == rows
    want: Counter = Counter()
    for b, s1, s2, s3 in itertools.product(range(8), repeat=4):
        y = int((rows[s1][0] > 0) + (rows[s2][1] > 0) + (rows[s3][2] > 0) > 1)
        want[stratum_of(y, clean[b], [clean[s1], clean[s2], clean[s3]])] += 1
    got = Counter(pairs.strata[s] for s in pairs.stratum.tolist())
    assert got == want
    assert pairs.strata == tuple(f"b={b} sources={s}" for b in (0, 1) for s in ("all", "some", "none"))


def test_the_oracle_can_fail() -> None:
    """The inverse test: a wrong label does not pass the oracle."""
    plain, algorithm = make(3)
    algorithm.check()
    pairs = counterfactuals(algorithm, 40, swap=[{algorithm.inner_variables[0]}], seed=0)
    size = len(plain.domains["out"])
    pairs.expected[0] = (pairs.expected[0] + 1) % size
    try:
        check_rows(plain, pairs, range(1))
    except AssertionError:
        return
    raise AssertionError("a wrong label passed")

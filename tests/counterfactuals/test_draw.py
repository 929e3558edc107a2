"""Balance, reuse, distributions and determinism of drawing."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from commutes.algorithm import Algorithm, reals, vectors
from commutes.counterfactuals import Distribution, census, counterfactuals
from commutes.counterfactuals._codes import Gathered, joint_codes, level, unit
from commutes.errors import DataError

SCRIPT = """
import hashlib
from commutes.algorithm import Algorithm
from commutes.counterfactuals import counterfactuals, one_source
a = Algorithm("colours")
a.inputs("w x y", domain=["red", "green", "blue", ("a", 1), None, frozenset({"p", "q"})])
a.add("left", "w", "x", f=lambda w, x: w == x, domain=[False, True])
a.add("right", "x", "y", f=lambda x, y: x == y, domain=[False, True])
a.add("out", "left", "right", f=lambda left, right: left != right, domain=[False, True], output=True)
pairs = counterfactuals(a, 999, swap=[{"left"}, {"right", "left"}, {"x"}], seed=5)
parts = pairs.split(train=0.4, test=0.6)
flipped = counterfactuals(a, 99, flip={"left"}, hold={"right"}, seed=5)
digest = hashlib.sha256()
for q in (pairs, *parts, flipped):
    for column in (q.ids, q.base, q.source, q.swap, q.expected, q.stratum, *q.inputs.values()):
        digest.update(column.tobytes())
    digest.update(repr((q.strata, sorted(q.weights.items()))).encode())
print(digest.hexdigest())
"""


def test_the_same_seed_gives_the_same_bits_under_any_hash_seed() -> None:
    digests = [
        subprocess.run(
            [sys.executable, "-c", SCRIPT],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "271828")
    ]
    assert digests[0] == digests[1]
    assert len(digests[0].strip()) == 64


def test_another_seed_gives_other_pairs(equality: Algorithm) -> None:
    one, same, other = (counterfactuals(equality, 500, seed=s) for s in (1, 1, 2))
    assert np.array_equal(one.ids, same.ids)
    assert np.array_equal(one.members, same.members)
    assert not np.array_equal(one.ids, other.ids)


@pytest.mark.parametrize("n", [8, 100, 101, 4_003])
def test_balance_over_swap_sets_strata_and_answers(equality: Algorithm, n: int) -> None:
    pairs = counterfactuals(equality, n, seed=0)
    assert len(pairs) == n
    per_swap = np.bincount(pairs.swap)
    assert per_swap.max() - per_swap.min() <= 1
    for index in range(2):
        mine = pairs.swap == index
        strata = np.bincount(pairs.stratum[mine], minlength=4)
        assert strata.max() - strata.min() <= 1
        for stratum in range(4):
            answers = np.bincount(pairs.expected[mine & (pairs.stratum == stratum)], minlength=2)
            assert answers.max() - answers.min() <= 1


def test_within_a_cell_pairs_follow_the_distribution(equality: Algorithm) -> None:
    """Reweighted by the natural weights, bases are uniform over the inner variables, then over inputs."""
    pairs = counterfactuals(equality, 64_000, swap={"left"}, seed=0)
    # Within a stratum the answers are balanced; here both answers of each stratum are equally likely anyway.
    joint = Counter(zip(pairs.base_value("left").tolist(), pairs.base_value("right").tolist(), strict=True))
    for count in joint.values():
        assert abs(count / len(pairs) - 0.25) < 0.01
    w = pairs.inputs["w"][pairs.base[pairs.base_value("left") == 1]]
    assert np.abs(np.bincount(w, minlength=20) / len(w) - 0.05).max() < 0.01


def test_uniform_inputs_have_their_own_weights(equality_of) -> None:
    pairs = counterfactuals(equality_of(4), 100, swap={"left"}, distribution="inputs", seed=0)
    same, other = 1 / 4, 3 / 4
    # Neutral: source agrees in both variables (any answer), or the answers agree otherwise.
    assert pairs.weights["left", "neutral"] == pytest.approx((same**2 + other**2) ** 2)
    assert pairs.weights["left", "flip"] == pytest.approx(2 * same * other * (same**2 + other**2))
    assert pairs.distribution == "uniform over the inputs"


def test_values_are_drawn_uniformly_where_the_domain_is_too_large_to_list(equality_of) -> None:
    pairs = counterfactuals(equality_of(500), 4_000, seed=0)
    assert pairs.weight_draws > 0
    for weight in pairs.weights.values():
        assert weight == pytest.approx(0.25, abs=0.01)
    w, x = (pairs.inputs[k][pairs.base] for k in "wx")
    assert np.array_equal(w == x, pairs.base_value("left") == 1)
    assert len(pairs.ids) > 6_000


def fresh(rng: np.random.Generator, n: int) -> dict[str, np.ndarray]:
    columns = {k: rng.uniform(-1, 1, (n, 3)) for k in "wxyz"}
    for a, b in ("wx", "yz"):
        same = rng.random(n) < 0.5
        columns[b][same] = columns[a][same]
    return columns


FRESH = Distribution("fresh vectors, equal half of the time", fresh)


def vector_equality() -> Algorithm:
    equality = Algorithm("vector equality")
    equality.inputs("w x y z", domain=vectors(3))
    equality.add("left", "w", "x", f=lambda w, x: w == x, domain=[False, True])
    equality.add("right", "y", "z", f=lambda y, z: y == z, domain=[False, True])
    equality.add("same", "left", "right", f=lambda a, b: a == b, domain=[False, True], output=True)
    return equality


def test_a_distribution_of_ones_own_over_an_infinite_domain() -> None:
    pairs = counterfactuals(vector_equality(), 800, distribution=FRESH, seed=0)
    assert pairs.distribution == "fresh vectors, equal half of the time"
    assert pairs.inputs["w"].shape == (len(pairs.ids), 3)
    equal = (pairs.inputs["w"] == pairs.inputs["x"]).all(axis=1)
    assert np.array_equal(equal[pairs.base], pairs.base_value("left") == 1)
    assert pairs.weights["left", "flip"] == pytest.approx(0.25, abs=0.02)
    train, test = pairs.split(train=0.5, test=0.5)
    assert train.reused
    assert not test.reused
    assert not set(train.ids.tolist()) & set(test.ids.tolist())


def test_a_distribution_that_draws_too_few_rows_is_refused(equality: Algorithm) -> None:
    short = Distribution("short", lambda rng, n: {k: [0] * 10 for k in "wxyz"})
    with pytest.raises(DataError) as caught:
        counterfactuals(equality, 100, distribution=short, seed=0)
    text = str(caught.value)
    assert text.startswith("the distribution 'short' drew the wrong number of rows")
    assert "w: 10" in text
    assert "do:       return n values for every input variable" in text


def test_a_real_output_has_one_stratum_and_float_answers() -> None:
    sums = Algorithm("sums")
    sums.inputs("a b c", domain=reals(0, 1))
    sums.add("s", "a", "b", f=lambda a, b: a + b, domain=reals(0, 2))
    sums.add("o", "s", "c", f=lambda s, c: s + c, domain=reals(0, 3, tolerance=1e-6), output=True)
    pairs = counterfactuals(sums, 200, seed=0)
    assert pairs.strata == ("agreement",)
    assert pairs.weights == {("s", "agreement"): 1.0}
    a, b, c = (pairs.inputs[k] for k in "abc")
    source = pairs.source[:, 0]
    assert pairs.expected == pytest.approx((a + b)[source] + c[pairs.base])
    assert pairs.effective.mean() > 0.99
    assert pairs.coverage()["s"]["do nothing"].count == pairs.effective.sum()


def test_measured_parts_use_each_input_once_and_say_otherwise(equality: Algorithm) -> None:
    train, select, test = counterfactuals(equality, 8_000, seed=1).split(train=0.5, select=0.2, test=0.3)
    assert [len(p) for p in (train, select, test)] == [4_000, 1_600, 2_400]
    assert train.reused
    for part in (select, test):
        assert not part.reused
        assert len(np.unique(part.members)) == 2 * len(part) == len(part.ids)
    small = counterfactuals(equality, 60_000, seed=1).split(test=0.3)[0]
    assert small.reused
    assert len(small) == 18_000
    # Where inputs must recur they recur evenly: nearly all of the scarce ones are used.
    both = small.columns["left"] & small.columns["right"]
    assert both.sum() >= 100


def test_balance_over_answers_gives_way_to_disjoint_inputs_only_so_far(equality: Algorithm) -> None:
    """The novel stratum with answer False needs an input with both equal, of which a part has about 120."""
    test = counterfactuals(equality, 8_000, seed=3).split(test=0.3)[0]
    novel = test.stratum == test.strata.index("novel")
    for index in range(2):
        counts = np.bincount(test.expected[novel & (test.swap == index)], minlength=2)
        assert counts.sum() == 300
        assert 37 <= counts[0] < 150
    larger = counterfactuals(equality, 40_000, seed=3).split(test=0.3)[0]
    novel = larger.stratum == larger.strata.index("novel")
    assert np.bincount(larger.expected[novel]).tolist() == [1_500, 1_500]
    assert larger.reused


def test_reuse_true_and_false_are_kept(equality: Algorithm) -> None:
    never = counterfactuals(equality, 1_000, reuse=False, seed=0)
    assert not never.reused
    assert len(never.ids) == 2_000
    assert not never.split(train=0.5, test=0.5)[0].reused
    always = counterfactuals(equality, 8_000, reuse=True, seed=0).split(test=0.5)[0]
    assert always.reused


def test_more_disjoint_pairs_than_the_domain_has(equality_of) -> None:
    algorithm = equality_of(4)
    with pytest.raises(DataError) as caught:
        counterfactuals(algorithm, 5_000, reuse=False, seed=0)
    text = str(caught.value)
    most = int(re.search(r"at most ([\d,]+) pairs", text)[1].replace(",", ""))
    assert text == (
        "more disjoint pairs than the domain has\n"
        "  where:    algorithm 'hierarchical equality', swapping left, right\n"
        "  got:      n = 5,000 with reuse=False, from 256 inputs in the domain\n"
        f"  expected: at most {most:,} pairs that share no input, in equal numbers per stratum\n"
        f"  do:       ask for n={most}, or let inputs recur: reuse='auto'"
    )
    assert 20 < most <= 128
    pairs = counterfactuals(algorithm, most, reuse=False, seed=0)
    assert len(pairs.ids) == 2 * most
    counts = np.bincount(pairs.swap * 4 + pairs.stratum)
    assert counts.max() - counts.min() <= 1


def test_a_part_prints_the_weights_of_the_distribution(equality: Algorithm) -> None:
    pairs = counterfactuals(equality, 1_000, distribution="inputs", seed=0)
    for part in pairs.split(train=0.3, test=0.1):
        assert part.weights == pairs.weights
        assert part.weight_draws == 0


def test_text_says_what_there_is(equality: Algorithm) -> None:
    pairs = counterfactuals(equality, 800, seed=0)
    lines = str(pairs).splitlines()
    assert lines[0] == (
        f"800 pairs of {len(pairs.ids):,} distinct inputs under 'hierarchical equality' (inputs recur)"
    )
    assert lines[1] == "inputs uniform over the values of left, right, then over the inputs that give them"
    assert lines[2].split() == ["left", "flip", "100", "weight", "0.2500"]
    assert repr(pairs) == f"<Counterfactuals 'hierarchical equality': 800 pairs of {len(pairs.ids):,} inputs>"
    assert "part 'test' (inputs used once)" in str(pairs.split(test=0.5)[0])


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 500), st.lists(st.integers(0, 60), min_size=1, max_size=8), st.integers(0, 99))
def test_level_is_as_equal_as_possible(total: int, caps: list[int], seed: int) -> None:
    share = level(total, np.array(caps), np.random.default_rng(seed))
    assert share.sum() == min(total, sum(caps))
    assert (share <= caps).all()
    free = share[share < caps]
    if len(free):
        assert free.max() - free.min() <= 1
        assert share.max() <= free.min() + 1


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(0, 3), st.integers(0, 2**40), st.sampled_from([0.5, -0.0, 0.0])), min_size=1
    )
)
def test_joint_codes_are_equal_if_and_only_if_the_rows_are(rows: list[tuple[int, int, float]]) -> None:
    columns = [np.array([row[k] for row in rows]) for k in range(3)]
    code = joint_codes([columns[0], columns[1], columns[1] * 2, columns[2]], len(rows))
    assert sorted(set(code.tolist())) == list(range(len(set(rows))))
    for i, row in enumerate(rows):
        assert [bool(c == code[i]) for c in code] == [other == row for other in rows]


def test_rows_are_picked_in_proportion_to_their_weights() -> None:
    labels = np.array([0, 1, 0, 1, 0])
    weights = np.array([1.0, 5.0, 3.0, 0.0, 0.0])
    rng = np.random.default_rng(0)
    picked = Gathered(labels, weights, 2).pick(rng, np.array([0] * 40_000 + [1] * 100))
    counts = np.bincount(picked, minlength=5)
    assert counts[1] == 100
    assert counts[3] == counts[4] == 0
    assert counts[2] / 40_000 == pytest.approx(0.75, abs=0.01)


def test_the_partition_is_uniform_and_depends_on_the_seed() -> None:
    ids = np.arange(20_000, dtype=np.uint64)
    at = unit(ids, 3)
    assert np.abs(np.bincount((at * 10).astype(int), minlength=10) / 20_000 - 0.1).max() < 0.01
    assert abs(np.corrcoef(at, unit(ids, 4))[0, 1]) < 0.03
    assert np.array_equal(at[:5], unit(ids[:5], 3))


def test_the_package_is_its_own_verb(boolean: Algorithm) -> None:
    """`commutes.counterfactuals` is a package and a verb; importing the one must not take away the other."""
    import inspect

    import commutes
    import commutes.counterfactuals as package

    assert len(commutes.counterfactuals(boolean, 10, seed=0)) == 10
    assert list(inspect.signature(package).parameters)[:2] == ["algorithm", "n"]
    assert len(census(boolean)) == 128

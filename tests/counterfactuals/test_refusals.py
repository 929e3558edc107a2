"""Every refusal of `counterfactuals` and `census`, by its text."""

from __future__ import annotations

import numpy as np
import pytest

from commutes.algorithm import Algorithm, reals
from commutes.counterfactuals import Distribution, Swap, census, counterfactuals, one_source
from commutes.errors import AlgorithmError, DataError


def refused(call) -> str:
    with pytest.raises(DataError) as caught:
        call()
    return str(caught.value)


def test_no_data(equality: Algorithm) -> None:
    for n in (0, -3):
        assert refused(lambda n=n: counterfactuals(equality, n, seed=0)) == (
            "no data: fewer than one pair was asked for\n"
            "  where:    counterfactuals, n\n"
            f"  got:      n = {n}\n"
            "  expected: 1 pair or more\n"
            "  do:       ask for at least 59 pairs per stratum that is to be gated"
        )
    for n in (True, 8_000.0, "8000", None):
        assert refused(lambda n=n: counterfactuals(equality, n, seed=0)) == (
            "the number of pairs is not a whole number\n"
            "  where:    counterfactuals, n\n"
            f"  got:      {n!r} ({type(n).__name__})\n"
            "  expected: a whole number of pairs, 1 or more\n"
            "  do:       write n=8_000, say"
        )
    assert refused(lambda: counterfactuals(equality, 1, seed=0)) == (
        "fewer pairs than swap sets\n"
        "  where:    counterfactuals\n"
        "  got:      n = 1 for 2 swap sets: left, right\n"
        "  expected: at least 2\n"
        "  do:       ask for at least 59 pairs per stratum of each set"
    )
    assert len(counterfactuals(equality, np.int64(10), seed=np.int64(3))) == 10


@pytest.mark.parametrize("seed", [True, False, 1.0, "1", None, -1])
def test_wrong_seeds(equality: Algorithm, seed: object) -> None:
    assert refused(lambda: counterfactuals(equality, 10, seed=seed)) == (  # pyright: ignore[reportArgumentType]
        "the seed is not a whole number\n"
        "  where:    counterfactuals, seed\n"
        f"  got:      {seed!r} ({type(seed).__name__})\n"
        "  expected: a whole number that is not negative\n"
        "  do:       write seed=0, or any other whole number"
    )
    assert "where:    replicate(seed)" in refused(
        lambda: counterfactuals(equality, 10, seed=0).replicate(seed)  # pyright: ignore[reportArgumentType]
    )


def test_swaps_of_what_cannot_be_swapped(equality: Algorithm) -> None:
    assert refused(lambda: counterfactuals(equality, 10, swap=["lefft"], seed=0)) == (
        "no variable 'lefft' to swap\n"
        "  where:    swap= of algorithm 'hierarchical equality'\n"
        "  got:      'lefft'\n"
        "  expected: one of w, x, y, z, left, right\n"
        "  do:       write 'left'"
    )
    assert refused(lambda: counterfactuals(equality, 10, swap=[{"left", "same"}], seed=0)) == (
        "the output 'same' cannot be used for swap=\n"
        "  where:    swap= of algorithm 'hierarchical equality'\n"
        "  got:      same\n"
        "  expected: one of w, x, y, z, left, right\n"
        "  do:       choose a variable that lies before the output"
    )
    assert refused(lambda: counterfactuals(equality, 10, swap=[{"left"}, 3], seed=0)) == (  # pyright: ignore[reportArgumentType]
        "swap= takes variables or their names\n"
        "  where:    swap= of algorithm 'hierarchical equality'\n"
        "  got:      3 (int)\n"
        "  expected: one of w, x, y, z, left, right\n"
        "  do:       pass the variable itself, as in {left}"
    )
    with pytest.raises(AlgorithmError):
        other = Algorithm("other")
        other.inputs("a", domain=[0, 1])
        left = other.add("left", "a", f=lambda a: a)
        other.add("out", "left", f=lambda left: left, output=True)
        counterfactuals(equality, 10, swap={left}, seed=0)


def test_an_input_may_be_swapped(equality: Algorithm) -> None:
    pairs = counterfactuals(equality, 100, swap=["w"], seed=0)
    left = pairs.inputs["w"][pairs.source[:, 0]] == pairs.inputs["x"][pairs.base]
    assert np.array_equal(pairs.expected == 1, left == (pairs.base_value("right") == 1))


def test_duplicate_and_empty_swap_sets(equality: Algorithm) -> None:
    left, right = equality["left"], equality["right"]
    assert refused(
        lambda: counterfactuals(equality, 10, swap=[{left, right}, left, {right, left}], seed=0)
    ) == (
        "the swap set left+right is listed twice\n"
        "  where:    swap= of algorithm 'hierarchical equality', entries 1 and 3\n"
        "  got:      left+right, left, left+right\n"
        "  expected: each set once\n"
        "  do:       remove the repetition"
    )
    assert refused(lambda: counterfactuals(equality, 10, swap=[{left}, set()], seed=0)) == (
        "an empty set of variables to swap\n"
        "  where:    swap= of algorithm 'hierarchical equality'\n"
        "  got:      set()\n"
        "  expected: at least one variable in every set\n"
        "  do:       remove the empty set"
    )
    assert refused(lambda: counterfactuals(equality, 10, swap=[], seed=0)).startswith("swap= is empty\n")
    assert refused(lambda: one_source(left, left)) == (
        "a variable is swapped twice at once\n"
        "  where:    one_source\n"
        "  got:      left, left\n"
        "  expected: each variable once\n"
        "  do:       remove the repetition"
    )
    assert refused(one_source).startswith("one_source was given no variable\n")
    # Forms that mean the same thing.
    for swap in (left, "left", {left}, [left], [{"left"}], Swap((left,)), [Swap((left,), shared=True)]):
        assert [s.label for s in counterfactuals(equality, 10, swap=swap, seed=0).swaps] == ["left"]
    both = counterfactuals(equality, 10, swap={right, left}, seed=0)
    assert [s.label for s in both.swaps] == ["left+right"]


def test_nothing_to_swap() -> None:
    bare = Algorithm("bare")
    bare.inputs("a b", domain=[0, 1])
    bare.add("out", "a", "b", f=lambda a, b: a ^ b, domain=[0, 1], output=True)
    assert refused(lambda: counterfactuals(bare, 10, seed=0)) == (
        "there is nothing to swap\n"
        "  where:    algorithm 'bare'\n"
        "  got:      no inner variable\n"
        "  expected: at least one variable between the inputs and the output\n"
        "  do:       declare the variables that the network is said to compute, or name inputs in swap="
    )
    pairs = counterfactuals(bare, 40, swap=["a"], seed=0)
    # Without inner variables "values" are the output's.
    assert pairs.distribution == "uniform over the values of out, then over the inputs that give them"


def test_swaps_that_test_nothing() -> None:
    constant = Distribution("a = 0", lambda rng, n: {"a": np.zeros(n, dtype=int), "b": rng.integers(0, 3, n)})
    idle = Algorithm("idle")
    idle.inputs("a b", domain=[0, 1, 2])
    idle.add("even", "a", f=lambda a: a % 2 == 0, domain=[False, True])
    idle.add("big", "b", f=lambda b: b > 1, domain=[False, True])
    idle.add("out", "even", "big", f=lambda even, big: even and big, domain=[False, True], output=True)
    assert refused(lambda: counterfactuals(idle, 10, distribution=constant, seed=0)) == (
        "the variable 'even' never changes, so that swapping it tests nothing\n"
        "  where:    algorithm 'idle', 3 sampled inputs\n"
        "  got:      even = True throughout\n"
        "  expected: at least two values\n"
        "  do:       leave it out of swap=, or draw inputs on which it matters: "
        "distribution=Distribution(name, draw)"
    )
    small = Distribution("b = 0", lambda rng, n: {"a": rng.integers(0, 3, n), "b": np.zeros(n, dtype=int)})
    assert refused(lambda: counterfactuals(idle, 10, swap={"even"}, distribution=small, seed=0)) == (
        "no pair in which the answer changes\n"
        "  where:    algorithm 'idle', swapping even\n"
        "  got:      out stays as it was in every pair of 3 sampled inputs\n"
        "  expected: pairs in which the expected answer differs from the base's\n"
        "  do:       leave this set out of swap=, or draw inputs on which it matters: "
        "distribution=Distribution(name, draw)"
    )


def test_wrong_distributions_and_reuse(equality: Algorithm) -> None:
    assert refused(lambda: counterfactuals(equality, 10, distribution="value", seed=0)) == (
        "no distribution 'value'\n"
        "  where:    counterfactuals, distribution\n"
        "  got:      'value' (str)\n"
        "  expected: 'values', 'inputs' or a Distribution(name, draw)\n"
        "  do:       write distribution='values'"
    )
    assert refused(lambda: counterfactuals(equality, 10, reuse="never", seed=0)) == (  # pyright: ignore[reportArgumentType]
        "reuse= cannot be 'never'\n"
        "  where:    counterfactuals\n"
        "  got:      'never' (str)\n"
        "  expected: 'auto', True or False\n"
        "  do:       leave it out: measured parts then use each input once while they can"
    )


def test_a_census_that_is_too_large_names_the_sizes(equality: Algorithm) -> None:
    assert refused(lambda: census(equality)) == (
        "the census is too large\n"
        "  where:    algorithm 'hierarchical equality', swapping left\n"
        "  got:      160,000 bases x 160,000 sources = 25,600,000,000 pairs\n"
        "  expected: at most 1,000,000 pairs per swap set\n"
        "  do:       sample instead: counterfactuals(algorithm, n, seed=...); or declare a smaller domain"
    )
    small = Algorithm("small")
    small.inputs("a b c d e f g", domain=[0, 1])
    small.add("u", "a", "b", "c", "d", f=lambda a, b, c, d: a ^ b ^ c ^ d, domain=[0, 1])
    small.add("v", "e", "f", "g", f=lambda e, f, g: e ^ f ^ g, domain=[0, 1])
    small.add("out", "u", "v", f=lambda u, v: u & v, domain=[0, 1], output=True)
    assert len(census(small)) == 2 * 128**2
    assert "got:      128 bases x 128 sources x 128 sources = 2,097,152 pairs" in refused(
        lambda: census(small, swap=["u", {"u", "v"}])
    )
    signs = Algorithm("signs")
    signs.inputs("a b", domain=reals(-1, 1))
    signs.add("positive", "a", f=lambda a: a > 0, domain=[False, True])
    signs.add("out", "positive", "b", f=lambda p, b: p == (b > 0), domain=[False, True], output=True)
    assert refused(lambda: census(signs)) == (
        "a census needs a domain that can be listed\n"
        "  where:    algorithm 'signs', swapping positive\n"
        "  got:      infinitely many inputs\n"
        "  expected: at most 1,000,000 pairs\n"
        "  do:       sample instead: counterfactuals(algorithm, n, seed=...); or declare a smaller domain"
    )

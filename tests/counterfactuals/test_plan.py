"""Plans: the pairs a gate needs, the ceiling of the domain, the cost."""

from __future__ import annotations

import pytest

from commutes.algorithm import Algorithm, reals
from commutes.counterfactuals import counterfactuals, plan
from commutes.counterfactuals._plan import _Gate, pairs_needed
from commutes.errors import DataError


def passes(n: int, target: float, truth: float, alpha: float, power: float) -> bool:
    """By the definition: the binomial tail at the target decides, hit by hit."""
    from math import comb

    def tail(hits: int, p: float) -> float:
        return sum(comb(n, k) * p**k * (1 - p) ** (n - k) for k in range(hits, n + 1))

    # The lower bound of `hits` clears the target exactly when P(X >= hits | target) <= alpha.
    cleared = [hits for hits in range(1, n + 1) if tail(hits, target) <= alpha]
    return bool(cleared) and tail(cleared[0], truth) >= power


@pytest.mark.parametrize(
    ("target", "truth", "alpha", "power"),
    [
        (0.9, 1.0, 0.05, 0.8),
        (0.95, 1.0, 0.05, 0.8),
        (0.9, 0.97, 0.05, 0.8),
        (0.5, 0.8, 0.01, 0.9),
        (0.9, 0.95, 0.1, 0.5),
    ],
)
def test_pairs_needed_is_the_first_n_that_passes(
    target: float, truth: float, alpha: float, power: float
) -> None:
    n = pairs_needed(_Gate(target, truth, alpha, power))
    assert passes(n, target, truth, alpha, power)
    assert not any(passes(k, target, truth, alpha, power) for k in range(1, n))


def test_the_plan_for_equality(equality: Algorithm) -> None:
    planned = plan(equality, share=0.3)
    assert planned.needed == 59
    assert planned.n == 59 * 8
    assert planned.total == 1_574
    assert planned.together == 59
    assert planned.enough
    assert planned.passes == 3 * planned.n
    assert [c.stratum for c in planned.cells if c.swap == "left"] == ["flip", "placebo", "novel", "neutral"]
    assert all(c.enough and c.weight == pytest.approx(0.25) and c.ceiling > 1_000 for c in planned.cells)
    # The promise is kept: a part of that share measures as many per cell.
    test = counterfactuals(equality, planned.total, seed=0).split(test=0.3)[0]
    assert len(test) >= planned.n
    text = str(planned)
    assert text.startswith(
        "To pass a gate at 0.9 (one-sided, alpha 0.05) with probability 0.8 if the truth is 1: "
        "59 pairs per swap set and stratum.\n"
        "Inputs uniform over the values of left, right, then over the inputs that give them.\n"
        "  left   flip     weight 0.2500  at most "
    )
    assert text.endswith(
        "Measure 472 pairs: counterfactuals(algorithm, 1_574, seed=...), split with a share of 0.3; "
        "1,416 forward passes."
    )


def test_a_small_domain_has_a_ceiling_and_a_best_bound(boolean: Algorithm) -> None:
    planned = plan(boolean)
    assert not planned.enough
    for cell in planned.cells:
        assert cell.ceiling <= 4
        assert cell.best == pytest.approx(0.05 ** (1 / cell.ceiling))
        assert not cell.enough
    assert planned.together < 2
    assert "TOO FEW" in str(planned)
    assert "A census of a small domain has no interval: census(algorithm)." in str(planned)
    # Novel: base and source must be (b or c) apart with a: p and q hold one input each.
    novel = next(c for c in planned.cells if c.stratum == "novel" and c.swap == "p")
    assert novel.ceiling == 1


def test_an_impossible_stratum_is_said_to_be(equality: Algorithm) -> None:
    identity = Algorithm("identity")
    identity.inputs("a b", domain=range(7))
    identity.add("s", "a", "b", f=lambda a, b: (a + b) % 7, domain=range(7))
    identity.add("out", "s", f=lambda s: s, domain=range(7), output=True)
    planned = plan(identity)
    assert [c.stratum for c in planned.cells if c.weight == 0] == ["placebo", "novel"]
    assert "s  placebo  weight 0.0000  impossible" in str(planned)
    assert planned.n == 59 * 2


def test_an_unlimited_domain_has_no_ceiling() -> None:
    signs = Algorithm("signs")
    signs.inputs("a b", domain=reals(-1, 1))
    signs.add("positive", "a", f=lambda a: a > 0, domain=[False, True])
    signs.add("out", "positive", "b", f=lambda p, b: p == (b > 0), domain=[False, True], output=True)
    planned = plan(signs)
    assert planned.enough
    assert planned.together is None
    assert all(c.ceiling is None for c in planned.cells)
    assert "no limit on disjoint pairs" in str(planned)


def test_gates_that_cannot_pass_are_refused(boolean: Algorithm) -> None:
    with pytest.raises(DataError) as caught:
        plan(boolean, target=0.95, truth=0.9)
    assert str(caught.value) == (
        "no number of pairs passes this gate\n"
        "  where:    plan\n"
        "  got:      target=0.95, truth=0.9\n"
        "  expected: a truth above the target\n"
        "  do:       lower the target"
    )
    with pytest.raises(DataError) as caught:
        plan(boolean, target=0.9, truth=0.9005)
    assert str(caught.value).startswith("the gate needs more than a million pairs\n")
    for name, value, bound in (
        ("alpha", 1, "below 1"),
        ("power", 0, "below 1"),
        ("share", True, "at most 1"),
    ):
        with pytest.raises(DataError) as caught:
            plan(boolean, **{name: value})
        assert str(caught.value) == (
            f"{name}= is not a share\n"
            "  where:    plan\n"
            f"  got:      {value!r}\n"
            f"  expected: a number above 0 and {bound}\n"
            f"  do:       write {name}=0.9, say"
        )

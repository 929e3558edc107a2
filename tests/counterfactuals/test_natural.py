"""The weights of cells and pairs under the distribution, against loops over all pairs of a domain."""

from __future__ import annotations

import itertools
from collections import defaultdict

import numpy as np
import pytest

from commutes.algorithm import Algorithm
from commutes.counterfactuals import census, counterfactuals, one_source

ROWS = list(itertools.product(range(4), repeat=3))


def conjunction() -> Algorithm:
    algorithm = Algorithm("conjunction")
    algorithm.inputs("p q r", domain=range(4))
    algorithm.add("u", "p", f=lambda p: p > 0, domain=[False, True])
    algorithm.add("v", "q", "r", f=lambda q, r: q == r, domain=[False, True])
    algorithm.add("o", "u", "v", f=lambda u, v: u and v, domain=[False, True], output=True)
    return algorithm.check()


def values(row: tuple) -> dict[str, bool]:
    u, v = row[0] > 0, row[1] == row[2]
    return {"u": u, "v": v, "o": u and v}


def chance(row: tuple, distribution: str) -> float:
    """Of an input: uniform, or uniform over (u, v) and then over the inputs that give them."""
    alike = [other for other in ROWS if values(other) == values(row)]
    return 1 / len(ROWS) if distribution == "inputs" else 1 / 4 / len(alike)


def by_hand(swap: str, distribution: str) -> dict[tuple, float]:
    found: dict[tuple, float] = defaultdict(float)
    for base, source in itertools.product(ROWS, repeat=2):
        b, s = values(base), values(source)
        got = {**b, swap: s[swap]}
        y = got["u"] and got["v"]
        kind = {(0, 1): "flip", (1, 0): "placebo", (0, 0): "novel", (1, 1): "neutral"}
        stratum = kind[int(y == b["o"]), int(y == s["o"])]
        found[swap, stratum, (int(y),)] += chance(base, distribution) * chance(source, distribution)
    return found


@pytest.mark.parametrize("distribution", ["inputs", "values"])
def test_the_weight_of_every_stratum_and_answer_is_the_loops(distribution: str) -> None:
    pairs = counterfactuals(conjunction(), 400, distribution=distribution, seed=0)
    wanted = by_hand("u", distribution) | by_hand("v", distribution)
    assert dict(pairs.balanced_weights) == pytest.approx(wanted)
    for (label, stratum), weight in pairs.weights.items():
        parts = [w for (a, b, _), w in pairs.balanced_weights.items() if (a, b) == (label, stratum)]
        assert weight == pytest.approx(sum(parts))


def test_pairs_share_their_cells_weight_equally_and_every_swapped_set_has_one() -> None:
    pairs = counterfactuals(conjunction(), 400, distribution="inputs", seed=0)
    code = {}
    for i in range(len(pairs)):
        key = (pairs.swap[i], pairs.stratum[i], pairs.expected[i])
        assert code.setdefault(key, pairs.natural_cell[i]) == pairs.natural_cell[i]
    assert len(set(code.values())) == len(code)
    for index in (0, 1):
        assert pairs.natural_weight[pairs.swap == index].sum() == pytest.approx(1)
    for (s, t, y), cell in code.items():
        own = pairs.natural_weight[pairs.natural_cell == cell]
        whole = pairs.balanced_weights[pairs.swaps[s].label, pairs.strata[t], (int(y),)]
        assert own == pytest.approx(np.full(len(own), whole / len(own)))


def test_a_swapped_set_that_lacks_a_cell_has_no_weights() -> None:
    pairs = counterfactuals(conjunction(), 400, distribution="inputs", seed=0)
    lacking = pairs.subset(~((pairs.swap == 0) & (pairs.stratum == 0) & (pairs.expected == 1)))
    assert np.isnan(lacking.natural_weight[lacking.swap == 0]).all()
    assert lacking.natural_weight[lacking.swap == 1].sum() == pytest.approx(1)


def test_parts_subsets_and_redrawings_have_the_weights_of_the_whole() -> None:
    algorithm = conjunction()
    pairs = counterfactuals(algorithm, 400, distribution="inputs", seed=0)
    train, test = pairs.split(train=0.5, test=0.5)
    others = [train, test, pairs.subset(range(50)), pairs.replicate(1), test.replicate(3)]
    for other in [*others, pairs.for_algorithm(conjunction()), test.for_algorithm(conjunction())]:
        assert other.balanced_weights == pairs.balanced_weights


def test_pairs_within_a_cell_follow_the_distribution() -> None:
    """Where v is False six of twelve inputs have q < r, whichever answer is balanced."""
    pairs = counterfactuals(conjunction(), 8000, distribution="inputs", seed=0)
    for cell in np.unique(pairs.natural_cell):
        rows = pairs.natural_cell == cell
        q, r = (pairs.inputs[n][pairs.base[rows]] for n in "qr")
        below, apart = (q < r).sum(), (q != r).sum()
        assert apart == 0 or abs(below / apart - 0.5) < 4 * 0.5 / np.sqrt(apart)


def test_a_census_weighs_each_pair_as_the_distribution_does() -> None:
    pairs = census(conjunction())
    rows = np.stack([pairs.inputs[n] for n in "pqr"], axis=1).tolist()
    mass = np.array([chance(tuple(row), "values") for row in rows])
    assert pairs.natural_weight == pytest.approx(mass[pairs.base] * mass[pairs.source[:, 0]])


@pytest.mark.parametrize("swap", ["joint", "one source"])
def test_joint_swaps_have_their_own(swap: str) -> None:
    algorithm = conjunction()
    both = (algorithm["u"], algorithm["v"])
    pairs = counterfactuals(algorithm, 600, swap=[{*both} if swap == "joint" else one_source(*both)], seed=0)
    assert sum(pairs.balanced_weights.values()) == pytest.approx(1)
    assert pairs.natural_weight.sum() == pytest.approx(1)


def test_controlled_pairs_are_weighed_by_transition() -> None:
    pairs = counterfactuals(conjunction(), 300, flip={"u"}, distribution="inputs", seed=0)
    changed = pairs.base_value("u")
    assert (changed == 0).sum() == (changed == 1).sum() == 150
    # Given that u differs and all else is the same, either order is as likely.
    assert pairs.natural_weight[changed == 0].sum() == pytest.approx(0.5)
    both = [{key[2] for key, weight in pairs.balanced_weights.items() if weight > 0}]
    assert both == [{(0, 1), (1, 0)}]


def test_numbers_have_no_answers_to_balance() -> None:
    from commutes.algorithm import reals

    algorithm = Algorithm("sum")
    algorithm.inputs("a b", domain=range(5))
    algorithm.add("first", "a", f=lambda a: a, domain=range(5))
    total = {"f": lambda first, b: float(first + b), "domain": reals(0, 10, 0.1), "output": True}
    algorithm.add("total", "first", "b", **total)
    pairs = counterfactuals(algorithm.check(), 100, seed=0)
    assert pairs.balanced_weights == {}
    assert pairs.natural_weight == pytest.approx(np.full(100, 0.01))
